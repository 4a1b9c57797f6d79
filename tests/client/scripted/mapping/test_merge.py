"""The three-way merge, compared with the rule as the contract states it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina._mapping.merge import Merge, merge
from lamina._mapping.values import Stored, encode
from lamina.records import Missing
from tests.client.builders import entries

MISSING = lamina.MISSING
KEYS = ("a", "b", "c")
some = st.sampled_from([MISSING, 1, True, 2])
maps = st.fixed_dictionaries(dict.fromkeys(KEYS, some))


def stored(value: Any) -> Stored | Missing:
    return MISSING if value is MISSING else encode(value, key="k")


def merged(base: dict[str, Any], head: dict[str, Any], yours: dict[str, Any], read: set[str]) -> Merge:
    def of(content: dict[str, Any]) -> Any:
        return entries({key: value for key, value in content.items() if value is not MISSING})

    staged = {key: stored(value) for key, value in yours.items()}
    return merge(of(base), of(head), staged, read)


@given(maps, maps, st.dictionaries(st.sampled_from(KEYS), some), st.sets(st.sampled_from(KEYS)))
def test_merge_follows_the_contract_s_rule(
    base: dict[str, Any], head: dict[str, Any], yours: dict[str, Any], read: set[str]
) -> None:
    result = merged(base, head, yours, read)
    conflicts: set[str] = set()
    left = {}
    for key in KEYS:
        old, theirs = stored(base[key]), stored(head[key])
        if key in yours:
            mine = stored(yours[key])
            if theirs not in {old, mine}:
                conflicts.add(key)
            if mine != theirs:
                left[key] = mine
        if key in read and theirs != old:
            conflicts.add(key)
    assert set(result.conflicts) == conflicts
    assert list(result.conflicts) == sorted(conflicts)
    assert result.staged == left


def test_the_worked_example_of_the_contract() -> None:
    base, yours, theirs = {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "c": 2}, {"a": 1, "b": 3, "c": 2}
    assert merged(base, theirs, yours, set()) == Merge({"a": stored(2), "b": stored(2)}, ("b",))
    assert merged(base, theirs, yours, {"c"}).conflicts == ("b", "c")


def test_deletions_are_merged() -> None:
    here, gone = {"a": 1}, {"a": MISSING}
    assert merged(here, gone, gone, set()) == Merge({}, ())
    assert merged(here, gone, {"a": 2}, set()).conflicts == ("a",)
    assert merged(here, {"a": 2}, gone, set()).conflicts == ("a",)
    assert merged(gone, here, {"a": True}, set()).conflicts == ("a",)
