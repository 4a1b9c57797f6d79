"""A property: whatever is committed to `_lamina/access`, there is an admin from the first one on."""

import itertools
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina_server.commits.decide import perform, preview
from lamina_server.domain import access_checks, access_map
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.commands import Command, CommitCommand, RevertCommand
from lamina_server.domain.errors import ServerError
from lamina_server.domain.planning import Author, MapLimits
from lamina_server.domain.records import Change, RequestKey
from lamina_server.domain.values import Value
from lamina_server.store.memory import MemoryStore

LIMITS = MapLimits(keys=100, size_bytes=100_000)
AUTHOR = Author("ada")
SECOND_US = 1_000_000
NAMES = ("ada", "grace")
SUBJECTS = (
    "token:ada",
    "token:grace",
    "oidc:corp/ada",
    "oidc:ada",
    "group:platform",
    "group:corp/platform",
    "cert:ada",
)
ISSUER = {"url": "https://id.example", "audience": "lamina", "algorithm": "RS256", "jwks": "https://id.example/keys"}

# Times as of second 0 to 9, in which the commits are made: some tokens expire meanwhile.
expires = st.one_of(st.none(), st.integers(0, 9).map(lambda second: f"1970-01-01T00:00:0{second}Z"))
tokens = st.builds(
    lambda name, end: {"name": name, "sha256": "ab" * 32, **({"expires": end} if end else {})},
    st.sampled_from(NAMES),
    expires,
)
grants = st.sampled_from(["reader", "writer", "admin"]).map(lambda role: {"role": role})
groups = st.lists(st.sampled_from([subject for subject in SUBJECTS if not subject.startswith("group:")]), max_size=2)
issuers = st.builds(lambda claim, prefix: {**ISSUER, **claim, **prefix}, *[
    st.sampled_from([{}, {"groups": "groups"}]),
    st.sampled_from([{}, {"prefix": "corp/"}]),
])  # fmt: skip
patterns = st.sampled_from(["**", "_lamina/*", "_lamina/access", "shop/**", "*"])

items: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.sampled_from(["tokens/aaaa", "tokens/bbbb"]), tokens),
    st.tuples(st.builds("grants/{} {}".format, st.sampled_from(SUBJECTS), patterns), grants),
    st.tuples(st.sampled_from(["groups/platform", "groups/corp"]), groups),
    st.tuples(st.just("issuers/corp"), issuers),
    st.tuples(st.just("users/ada"), st.just({})),  # no key of this config
)
deletions = items.map(lambda item: (item[0], None))
commits = st.lists(st.one_of(items, deletions), min_size=1, max_size=4, unique_by=lambda item: item[0])
steps = st.lists(st.one_of(commits, st.integers(0, 12)), min_size=1, max_size=25)
"""Each is a commit's changes, or the version that a revert goes back to."""


def value(item: Any) -> Value | None:
    return None if item is None else Value.of_json(json.dumps(item))


def command(step: Any, head: int) -> Command:
    if isinstance(step, int):
        return RevertCommand(ACCESS_CONFIG, step, head, b"", "", AUTHOR)
    changes = tuple(Change(key, value(item)) for key, item in step)
    return CommitCommand(ACCESS_CONFIG, None, b"", changes, (), "", AUTHOR, require_base=False)


class History:
    """`_lamina/access` in a store, and the clock that its versions are committed by."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._ids = itertools.count()
        self.now_us = 0

    def values(self) -> dict[str, Value]:
        with self._store.read() as reading:
            head = reading.head(ACCESS_CONFIG)
            return {e.key: e.value for e in reading.entries(ACCESS_CONFIG, head.number)} if head else {}

    def carry_out(self, step: Any) -> str:
        """Commit or revert; return how it was refused. A preview must say the same."""
        with self._store.read() as reading:
            head = reading.head(ACCESS_CONFIG)
            asked = command(step, head.number if head else 0)
            said = refusal(lambda: preview(reading, asked, now_us=self.now_us, limits=LIMITS))
        request = RequestKey("", str(next(self._ids)), asked.digest())

        def write() -> None:
            with self._store.write() as writing:
                perform(writing, request, asked, now_us=self.now_us, limits=LIMITS)

        done = refusal(write)
        assert done == said
        return done


def refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except ServerError as error:
        return f"{error.reason}: {error}"
    return ""


@settings(max_examples=300)
@given(steps)
def test_there_is_an_admin_from_the_first_one_on(steps: list[Any]) -> None:
    history = History()
    for number, step in enumerate(steps):
        history.now_us = number * SECOND_US // 3
        before = access_checks.admins(access_map.read(history.values()), history.now_us)
        refused = history.carry_out(step)
        after = access_checks.admins(
            access_map.read(history.values()), history.now_us
        )  # it can be read, whatever was sent
        assert after or not before
        if "would leave no admin" in refused:
            assert before == after


def test_the_property_meets_both_answers() -> None:
    """A test that nothing refuses, or that never has an admin, would show nothing."""
    history = History()
    admin = [("tokens/aaaa", {"name": "ada", "sha256": "ab" * 32}), ("grants/token:ada **", {"role": "admin"})]
    assert history.carry_out(admin) == ""
    assert access_checks.admins(access_map.read(history.values()), 0) == {"token:ada"}
    assert "would leave no admin" in history.carry_out([("tokens/aaaa", None)])
    assert "would leave no admin" in history.carry_out(0)
    assert "users/ada" in history.carry_out([("users/ada", {})])
