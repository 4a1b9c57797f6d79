"""The three-way merge and the plan of a version, against the rules as the contract words them."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina_server.domain.errors import LimitError, Reason
from lamina_server.domain.planning import Author, MapLimits, Plan, merge, plan
from lamina_server.domain.records import Change, Source, Version
from lamina_server.domain.values import Value

ADA = Author("ada")
ROOMY = MapLimits(keys=100, size_bytes=10_000)
keys = st.sampled_from("abcd")
small_values = st.none() | st.integers(0, 2).map(Value.of_integer)
maps = st.dictionaries(keys, small_values)


def live(values: dict[str, Value | None]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value is not None}


@given(base=maps, head=maps, yours=maps, reads=st.sets(keys))
def test_a_merge_is_three_way_by_value_and_absence_counts_as_a_value(
    base: dict[str, Value | None], head: dict[str, Value | None], yours: dict[str, Value | None], reads: set[str]
) -> None:
    merged = merge([Change(*item) for item in yours.items()], reads, base=live(base), head=live(head))
    for key in "abcd":
        old, theirs = base.get(key), head.get(key)
        changed = key in yours and yours[key] != old
        conflict = (changed and theirs not in (old, yours[key])) or (key in reads and theirs != old)
        assert (key in merged.conflicts) == conflict
        if not conflict:
            assert (key in {change.key for change in merged.changes}) == (changed and theirs != yours[key])


def make(changes: dict[str, Value | None], *, head: Version | None = None, now_us: int = 1_000_000) -> Plan:
    return plan(
        [Change(*item) for item in changes.items()],
        config="payments/prod",
        head=head,
        values={},
        author=ADA,
        message="why",
        now_us=now_us,
        limits=ROOMY,
    )


def fields(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def number(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def test_digests_and_hashes_are_as_documented() -> None:
    """Worked by hand, so that a client in another language can be written from this test."""
    first = make({"x": Value.of_integer(27)})
    digest = hashlib.sha256(
        fields(b"lamina/value/1", b"payments/prod", number(1), b"x", b"INTEGER", number(27))
    ).digest()
    assert [planned.digest for planned in first.values] == [digest]
    header = [b"ada", number(0), b"why", number(1_000_000), number(1), number(1), number(0)]
    assert (
        first.version.hash
        == hashlib.sha256(fields(b"lamina/version/1", b"", b"payments/prod", number(1), *header, digest)).digest()
    )
    second = make({"x": None}, head=first.version)
    tombstone = hashlib.sha256(fields(b"lamina/value/1", b"payments/prod", number(2), b"x", b"DELETED", b"")).digest()
    assert [planned.digest for planned in second.values] == [tombstone]


def test_a_forks_hash_includes_its_source() -> None:
    def forked(source: Source | None) -> bytes:
        return plan(
            [], config="b", head=None, values={}, author=ADA, message="", now_us=1, limits=ROOMY, source=source
        ).version.hash

    assert (
        len({forked(None), forked(Source("a", 1, b"1")), forked(Source("a", 2, b"1")), forked(Source("a", 1, b"2"))})
        == 4
    )


def test_commit_times_rise_even_if_the_clock_goes_back() -> None:
    first = make({"x": Value.of_integer(1)}, now_us=5_000)
    assert make({"y": Value.of_integer(1)}, head=first.version, now_us=4_000).version.commit_time_us == 5_001
    assert make({"y": Value.of_integer(1)}, head=first.version, now_us=9_000).version.commit_time_us == 9_000


def test_keys_and_bytes_of_the_whole_map_are_counted() -> None:
    first = make({"x": Value.of_integer(1), "naïve": Value.of_string("ü")}).version
    assert (first.key_count, first.size_bytes, first.change_count) == (2, 1 + 8 + 6 + 2, 2)
    second = plan(
        [Change("x", None), Change("naïve", Value.of_null())],
        config="payments/prod",
        head=first,
        values={"x": Value.of_integer(1), "naïve": Value.of_string("ü")},
        author=ADA,
        message="",
        now_us=1,
        limits=ROOMY,
    ).version
    assert (second.key_count, second.size_bytes, second.change_count) == (1, 6, 2)


def test_a_map_that_grows_too_large_is_refused_with_limit_and_size() -> None:
    with pytest.raises(LimitError, match=r"101 keys, the limit is 100 keys") as many:
        make({f"k{n}": Value.of_null() for n in range(101)})
    assert (many.value.reason, many.value.limit, many.value.actual) == (Reason.TOO_MANY, 100, 101)
    with pytest.raises(LimitError, match=r"10,001 bytes, the limit is 10,000 bytes") as large:
        make({"k": Value.of_bytes(bytes(10_000))})
    assert (large.value.reason, large.value.limit, large.value.actual) == (Reason.TOO_LARGE, 10_000, 10_001)
