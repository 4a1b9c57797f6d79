"""What the command line writes into `_lamina/access` is what the server reads there: both have their own code."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

import lamina
from lamina.cli import access_map
from lamina_server.access import tokens
from lamina_server.domain import access
from lamina_server.domain import access_map as schema
from lamina_server.domain.errors import InvalidError
from lamina_server.domain.values import Value

END = datetime(2027, 1, 1, 12, 30, tzinfo=UTC)


def read(values: dict[str, Any]) -> access.Access:
    """Return what the server reads; it refuses what it does not know."""
    return schema.read({key: Value.of_json(json.dumps(value)) for key, value in values.items()})


def test_the_names_are_the_server_s() -> None:
    assert access_map.ACCESS_CONFIG == access.ACCESS_CONFIG
    assert tuple(role.name.lower() for role in access.Role if role is not access.Role.NONE) == access_map.ROLES


def test_a_grant_is_read_as_it_was_meant() -> None:
    for role in access_map.ROLES:
        for reveal in (False, True):
            key = access_map.grant_key("token:ada", "shop/**")
            values = {key: access_map.grant_value(role, reveal=reveal)}
            (grant,) = read(values).grants
            assert grant == access.Grant("token:ada", access.Role[role.upper()], "shop/**", reveal)
            assert list(access_map.grants_in(values)) == [lamina.Grant("token:ada", role, "shop/**", reveal)]


def test_a_new_token_is_known_to_the_server() -> None:
    for expires in (None, END):
        made, text = access_map.make_token("deployer", expires)
        values = {made.token.key: made.value}
        found = tokens.find(text, read(values), now_us=0)
        assert (found.name, found.id) == ("deployer", made.token.id)
        assert found.expires_us == (None if expires is None else int(END.timestamp() * 1_000_000))
        assert list(access_map.tokens_in(values)) == [made.token]
        assert text not in repr(made)
        assert text.split("_", 2)[2] not in json.dumps(values)


def test_groups_are_those_of_the_server() -> None:
    values: dict[str, Any] = {
        "groups/platform": ["token:ada", "oidc:bob@corp.example"],
        access_map.grant_key("group:platform", "**"): access_map.grant_value("reader", reveal=False),
        access_map.grant_key("token:ada", "shop/*"): access_map.grant_value("writer", reveal=True),
    }
    theirs = [grant.pattern for grant in read(values).grants_of(access.of_principal("token:ada"))]
    assert [grant.pattern for grant in access_map.grants_to(values, "token:ada")] == theirs == ["**", "shop/*"]
    assert access_map.groups_of(values, "token:ada") == ["group:platform"]
    assert access_map.subjects_in(values) == ["group:platform", "oidc:bob@corp.example", "token:ada"]


@given(st.text("ab/*.", max_size=8), st.text("ab/.", max_size=8))
@example("a*b**c", "aXb/c")
def test_patterns_match_as_on_the_server(pattern: str, config: str) -> None:
    if "***" not in pattern:  # which the server refuses
        assert access_map.matches(pattern, config) == bool(access.compiled(pattern).fullmatch(config))


@given(st.text(max_size=12))
def test_subjects_are_those_of_the_server(subject: str) -> None:
    for text in (subject, f"token:{subject}", f"group:{subject}"):
        known = bool(access_map.SUBJECT.fullmatch(text))
        key = access_map.grant_key(text, "a")
        assert known == _accepts(key, access_map.grant_value("reader", reveal=False)), text


def _accepts(key: str, value: dict[str, Any]) -> bool:
    try:
        read({key: value})
    except InvalidError:
        return False
    return True
