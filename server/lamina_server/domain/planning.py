"""From changes to rows: the three-way merge, and the plan of what a commit inserts. Pure.

The server's committer and the ORM models both use this, so their versions have the same
numbers, digests and hashes.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from lamina_server.domain.errors import LimitError, Reason
from lamina_server.domain.hashing import NO_PARENT, value_digest, version_hash
from lamina_server.domain.record import record
from lamina_server.domain.records import Change, Source, Version
from lamina_server.domain.values import Value


@record
class Author:
    """The author of a version, and whether the server has verified the name."""

    name: str
    verified: bool = False


@record
class MapLimits:
    """The limits of a whole map."""

    keys: int
    size_bytes: int


@record
class PlannedValue:
    """One value to insert; None is a tombstone. digest is 32 bytes."""

    key: str
    value: Value | None
    digest: bytes


@record
class Plan:
    """One version to insert, with its values in key order."""

    version: Version
    values: tuple[PlannedValue, ...]


@record
class Merge:
    """The changes of a commit that are to be made on top of the head, and the keys in conflict, both sorted."""

    changes: tuple[Change, ...]
    conflicts: tuple[str, ...]


def merge(
    changes: Iterable[Change],
    read_keys: Collection[str],
    *,
    base: Mapping[str, Value],
    head: Mapping[str, Value],
    same: Callable[[str, Value | None, Value | None], bool] = lambda _key, one, other: one == other,
) -> Merge:
    """Merge changes made against a base into the head, three-way by value.

    An absent key counts as a value of its own. A change that equals the base changes nothing
    and is dropped; so is one that equals the head, which has it already. Any other changed
    key, and any read key, is in conflict if and only if its value in the head differs from
    the base. `same` says whether two values of a key are equal.

    >>> from lamina_server.domain.values import Value
    >>> one, two, three = (Value.of_integer(n) for n in (1, 2, 3))
    >>> merge([Change("x", three)], [], base={"x": one}, head={"x": two}).conflicts
    ('x',)
    >>> merge([Change("y", three)], [], base={"x": one}, head={"x": two}).conflicts
    ()
    """
    kept: list[Change] = []
    conflicts = {key for key in read_keys if not same(key, head.get(key), base.get(key))}
    for change in changes:
        key, ours, theirs, old = change.key, change.value, head.get(change.key), base.get(change.key)
        if same(key, ours, old) or same(key, ours, theirs):
            continue
        if same(key, theirs, old):
            kept.append(change)
        else:
            conflicts.add(key)
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
    """Return the next version, with its number, counts, digests and hash, which makes `changes` on top of `head`.

    changes  each differs from the head; no key twice
    values   the values of the changed keys at the head, if they have one
    now_us   the clock; the commit time is this, or 1 µs after the parent's if that is later

    Raises LimitError if the whole map would become too large.
    """
    number, key_count, size_bytes = (head.number + 1, head.key_count, head.size_bytes) if head else (1, 0, 0)
    planned: list[PlannedValue] = []
    for change in sorted(changes, key=_key):
        key, value, old = change.key, change.value, values.get(change.key)
        key_count += (value is not None) - (old is not None)
        size_bytes += entry_size(key, value) - entry_size(key, old)
        planned.append(PlannedValue(key, value, value_digest(config, number, key, value)))
    _check_limits(config, key_count, size_bytes, limits)
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
        digests=[each.digest for each in planned],
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
    return Plan(version, tuple(planned))


def entry_size(key: str, value: Value | None) -> int:
    """Return the size that one key adds to its map: key and canonical value, in bytes; 0 if it is absent."""
    if value is None:
        return 0
    return (len(key) if key.isascii() else len(key.encode())) + value.size_bytes


def _check_limits(config: str, key_count: int, size_bytes: int, limits: MapLimits) -> None:
    what = f"the map of {config!r}"
    if key_count > limits.keys:
        raise LimitError(Reason.TOO_MANY, what, limit=limits.keys, actual=key_count, unit="keys")
    if size_bytes > limits.size_bytes:
        raise LimitError(Reason.TOO_LARGE, what, limit=limits.size_bytes, actual=size_bytes, unit="bytes")


def _key(change: Change) -> str:
    return change.key
