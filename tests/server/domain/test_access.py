"""Who may do what: grants, groups and patterns, compared with a slow look at each grant."""

import re
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina_server.domain.access import (
    NO_ACCESS,
    NOTHING,
    Access,
    Caller,
    Grant,
    HiddenName,
    Rights,
    Role,
    Visible,
    compiled,
    members,
    of_principal,
)
from lamina_server.domain.names import BadNameError, check_config_name

NAMES = ("a", "a/b", "a/b/c", "ab/c", "b/a/b", "_lamina/access", "b")
PARTS = st.sampled_from(["a", "b", "/", "*", "**", "_lamina/access", "ab"])
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("".join).filter(lambda pattern: "***" not in pattern)
SUBJECTS = ("token:ada", "group:listed", "group:claimed", "group:other", "token:bob")
GRANTS = st.builds(
    Grant,
    subject=st.sampled_from(SUBJECTS),
    role=st.sampled_from([Role.READER, Role.WRITER, Role.ADMIN]),
    pattern=PATTERNS,
    reveal=st.booleans(),
)
ADA = of_principal("token:ada", frozenset({"group:claimed"}))
GROUPS = members({"listed": ["token:ada"], "other": ["token:bob"]})
ADAS = {"token:ada", "group:listed", "group:claimed"}


def matches(pattern: str, name: str) -> bool:
    expression = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return re.fullmatch(expression, name) is not None


def slowly(grants: Iterable[Grant], name: str) -> Rights:
    found = [grant for grant in grants if grant.subject in ADAS and matches(grant.pattern, name)]
    role = max((grant.role for grant in found), default=Role.NONE)
    if name.startswith("_lamina/") and role < Role.ADMIN:
        return NOTHING
    return Rights(role, any(grant.reveal for grant in found))


@given(st.lists(GRANTS, max_size=8))
def test_rights_are_those_of_all_grants_together(grants: list[Grant]) -> None:
    access = Access(groups=GROUPS, grants=tuple(grants))
    for name in NAMES:
        assert access.rights(ADA, name) == access.rights(ADA, name) == slowly(grants, name)


@given(st.lists(GRANTS, max_size=8), st.sampled_from(["", "a", "a/", "b", "_", "_lamina/", "ab/c"]))
def test_what_is_visible_lies_within_few_prefixes(grants: list[Grant], prefix: str) -> None:
    """None of them is within another, so that no name is listed twice."""
    visible = Visible(Access(groups=GROUPS, grants=tuple(grants)), ADA)
    within = visible.within(prefix)
    assert list(within) == sorted(within)
    assert not [one for one in within for other in within if one != other and one.startswith(other)]
    for name in NAMES:
        assert (name in visible) == (slowly(grants, name).role >= Role.READER)
        if name.startswith(prefix) and name in visible:
            assert name.startswith(within)


def test_without_grants_nobody_may_do_anything() -> None:
    assert NO_ACCESS.rights(ADA, "a") == NOTHING
    assert Visible(NO_ACCESS, ADA).within("") == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_hidden_name_is_no_name_and_shows_the_real_one(name: str) -> None:
    hidden = HiddenName.of(name)
    assert repr(hidden) == repr(name)
    with pytest.raises(BadNameError):
        check_config_name(hidden)


@pytest.mark.parametrize("pattern", ["*a" * 100, "**a" * 80, "*/" * 120 + "b", "**/*" * 60])
def test_no_pattern_takes_long(pattern: str) -> None:
    started = time.thread_time()
    assert not compiled(pattern).fullmatch("a" * 254 + "!")
    assert time.thread_time() - started < 0.1


def test_groups_are_those_that_are_claimed_and_those_that_list_a_caller() -> None:
    access = Access(groups=GROUPS, grants=(Grant("group:listed", Role.READER, "a"),))
    assert access.groups_of(ADA) == {"group:listed", "group:claimed"}
    assert access.grants_of(ADA) == access.grants_on(ADA, "a") == (Grant("group:listed", Role.READER, "a"),)


def test_a_listed_group_cannot_be_joined_by_a_claim() -> None:
    """Whoever names groups at the identity provider could else choose the name of one of ours."""
    access = Access(groups={"platform": frozenset()}, grants=(Grant("group:platform", Role.ADMIN, "**"),))
    eve = of_principal("oidc:eve", frozenset({"group:platform", "group:others"}))
    assert access.groups_of(eve) == {"group:others"}
    assert access.rights(eve, "shop/prod").role is Role.NONE
    assert access.grants_of(eve) == ()
    assert access.grants_on(ADA, "b") == ()
    assert access.rights(Caller("token:bob", frozenset(), ADA.author), "a") == NOTHING
