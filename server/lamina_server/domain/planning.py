"""From changes to rows: the three-way merge, and what a commit will insert.

Pure: the server's committer and the ORM models both go through here, so a version made
by either has the same numbers, digests and hash.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lamina_server.domain.errors import LimitError, Reason
from lamina_server.domain.hashing import NO_PARENT, value_digest, version_hash
from lamina_server.domain.records import Change, Source, Version
from lamina_server.domain.values import Value


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a version, and whether the server knows that for sure."""

    name: str
    verified: bool = False


@dataclass(frozen=True, slots=True)
class MapLimits:
    """How large a whole map may become."""

    keys: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedValue:
    """One value to insert; None is a tombstone. digest is 32 bytes."""

    key: str
    value: Value | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """One version to insert, with its values in key order."""

    version: Version
    values: tuple[PlannedValue, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """What is left of a commit's changes on top of the head, and the keys in conflict, sorted."""

    changes: tuple[Change, ...]
    conflicts: tuple[str, ...]


def merge(
    changes: Iterable[Change],
    read_keys: Collection[str],
    *,
    base: Mapping[str, Value],
    head: Mapping[str, Value],
) -> Merge:
    """Merge changes made against a base into the head, three-way by value.

    Absence is a value. A change equal to the base was never meant and is dropped; one
    equal to the head has happened already. Of the rest, a changed key conflicts if and
    only if the head differs from its base; a read key likewise.

    >>> from lamina_server.domain.values import Value
    >>> one, two, three = (Value.of_integer(n) for n in (1, 2, 3))
    >>> merge([Change("x", three)], [], base={"x": one}, head={"x": two}).conflicts
    ('x',)
    >>> merge([Change("y", three)], [], base={"x": one}, head={"x": two}).conflicts
    ()
    """
    kept: list[Change] = []
    conflicts = {key for key in read_keys if head.get(key) != base.get(key)}
    for change in changes:
        ours, theirs, old = change.value, head.get(change.key), base.get(change.key)
        if ours in (old, theirs):
            continue
        if theirs == old:
            kept.append(change)
        else:
            conflicts.add(change.key)
    return Merge(tuple(sorted(kept, key=_key)), tuple(sorted(conflicts)))


def plan(
    changes: Iterable[Change],
    *,
    config: str,
    head: Version | None,
    values: Mapping[str, Value],
    author: Author,
    message: str,
    now_us: int,
    limits: MapLimits,
    source: Source | None = None,
) -> Plan:
    """Work out the version, with its number, counts, digests and hash, that makes `changes` on top of `head`.

    changes  each differs from the head; no key twice
    values   what the changed keys hold at the head, as far as they hold anything
    now_us   the clock; the commit time is this or just after the parent's, whatever clocks do

    Raises LimitError where the whole map would become too large.
    """
    ordered = sorted(changes, key=_key)
    number = head.number + 1 if head else 1
    key_count, size_bytes = _grow(ordered, head, values)
    _check_limits(config, key_count, size_bytes, limits)
    planned = tuple(
        PlannedValue(change.key, change.value, value_digest(config, number, change.key, change.value))
        for change in ordered
    )
    commit_time_us = max(now_us, head.commit_time_us + 1) if head else now_us
    digest = version_hash(
        parent_hash=head.hash if head else NO_PARENT,
        config=config,
        number=number,
        author=author.name,
        author_verified=author.verified,
        message=message,
        commit_time_us=commit_time_us,
        key_count=key_count,
        source=source,
        digests=(each.digest for each in planned),
    )
    version = Version(
        config=config,
        number=number,
        hash=digest,
        author=author.name,
        author_verified=author.verified,
        message=message,
        commit_time_us=commit_time_us,
        key_count=key_count,
        change_count=len(planned),
        size_bytes=size_bytes,
        source=source,
    )
    return Plan(version, planned)


def entry_size(key: str, value: Value | None) -> int:
    """Measure what one key adds to its map: key and canonical value, in bytes; nothing if absent."""
    return 0 if value is None else len(key.encode()) + value.size_bytes


def _grow(changes: Iterable[Change], head: Version | None, values: Mapping[str, Value]) -> tuple[int, int]:
    key_count, size_bytes = (head.key_count, head.size_bytes) if head else (0, 0)
    for change in changes:
        old = values.get(change.key)
        key_count += (change.value is not None) - (old is not None)
        size_bytes += entry_size(change.key, change.value) - entry_size(change.key, old)
    return key_count, size_bytes


def _check_limits(config: str, key_count: int, size_bytes: int, limits: MapLimits) -> None:
    what = f"the map of {config!r}"
    if key_count > limits.keys:
        raise LimitError(Reason.TOO_MANY, what, limit=limits.keys, actual=key_count, unit="keys")
    if size_bytes > limits.size_bytes:
        raise LimitError(Reason.TOO_LARGE, what, limit=limits.size_bytes, actual=size_bytes, unit="bytes")


def _key(change: Change) -> str:
    return change.key
