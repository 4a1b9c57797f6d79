"""One version's whole map, read from the newest valid keyframe and the values after it. Knows no connection.

A keyframe is a version's map as lines (version, value). It is valid if and only if it has
as many lines as the version has keys, and every line is right: it names the newest value
of its key up to the version, of the same config, and no tombstone. So no line is missing
either. An invalid keyframe is never used, and the next one is written at the head.

The map at version V = what the newest valid keyframe K <= V holds, overlaid with the values
that originated in (K, V], the later over the earlier, tombstones taking away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.planning import entry_size
from lamina_server.domain.records import Entry, Version
from lamina_server.models import queries
from lamina_server.models.queries import Statement
from lamina_server.models.rows import checked_value_of

Rows: TypeAlias = Sequence[Any]
"""Each with its columns as attributes."""


class Ask(Protocol):
    """How a statement is run: on a store's connection, or on a Session's."""

    def __call__(self, statement: Statement, **parameters: Any) -> Rows:
        """Run a statement and return all its rows."""


@dataclass(frozen=True, slots=True)
class Keyframe:
    """The version whose lines a map is read from, by id and number."""

    id: int
    version: int


NO_KEYFRAME = Keyframe(0, 0)
"""The empty map before version 1. No id is 0, so it has no lines, and every value is younger."""

_AGREEMENT_LIMIT, KEYFRAME_ROWS = 8, 256
"""With more values than that times the keys since the keyframe before, a look-up of each line is no slower.

The number of keys counts as at least KEYFRAME_ROWS.
"""


def newest_keyframe(ask: Ask, config: str, number: int) -> Keyframe:
    """Return the newest valid keyframe up to a version.

    The check costs a look-up for each line, as reading the keyframe does.
    """
    while rows := ask(queries.keyframe(), config=config, number=number):
        found = rows[0]
        if _is_valid(ask, config, found):
            return Keyframe(found.id, found.version)
        number = found.version - 1
    return NO_KEYFRAME


def whole_map(ask: Ask, version: Version) -> Iterator[Entry]:
    """Yield all entries of a version in key order, each held to its digest.

    Raises HashMismatchError at a row that is not what was written, and at the end where one is missing.
    """
    key_count = size_bytes = 0
    for entry in live_entries(_rows(ask, version.config, version.number), version.config):
        key_count += 1
        size_bytes += entry_size(entry.key, entry.value)
        yield entry
    if (key_count, size_bytes) != (version.key_count, version.size_bytes):
        raise HashMismatchError(f"the map of {version.config!r} at version {version.number}")


def live_entries(rows: Iterator[Any], config: str) -> Iterator[Entry]:
    """Yield the entries of rows of values, but for tombstones.

    Raises HashMismatchError at a row that is not what was written.
    """
    for row in rows:
        value = checked_value_of(row, config)
        if value is not None:
            yield Entry(row.name, value, row.version)


def _rows(ask: Ask, config: str, number: int) -> Iterator[Any]:
    """Yield the rows of all keys of a version in key order, with the tombstones among them."""
    keyframe, lines = _believable_keyframe(ask, config, number)
    rows = {row.name: row for row in lines}
    for row in ask(queries.younger(), config=config, low=keyframe.version, high=number):
        rows[row.name] = row
    return (rows[name] for name in sorted(rows))


def _believable_keyframe(ask: Ask, config: str, number: int) -> tuple[Keyframe, Rows]:
    """Find the newest keyframe up to a version that is certainly right, and read its values.

    A look-up for each line would read a page of the disk for each. So the keyframe is first
    compared with the keyframe before it and the values in between, which are stored side by
    side: if both agree, neither is damaged. If they do not agree, each line is looked up.
    """
    while found := ask(queries.keyframe(), config=config, number=number):
        head = found[0]
        lines = ask(queries.lines_with_values(), config=config, keyframe=head.id)
        if _agrees(ask, config, head, lines) or _is_valid(ask, config, head):
            return Keyframe(head.id, head.version), lines
        number = head.version - 1
    return NO_KEYFRAME, ()


def _agrees(ask: Ask, config: str, version: Any, lines: Rows) -> bool:
    """Return whether a keyframe's lines agree with the keyframe before it and the values since."""
    before = ask(queries.keyframe(), config=config, number=version.version - 1)
    low, ids = 0, set()
    if before:
        low, ids = before[0].version, {row.id for row in ask(queries.line_ids(), keyframe=before[0].id)}
    limit = _AGREEMENT_LIMIT * max(version.key_count, KEYFRAME_ROWS)
    younger = ask(queries.younger_ids(), config=config, low=low, high=version.version, limit=limit)
    newest = {row.name: row.id for row in younger}
    return (
        len(lines) == version.key_count
        and len(younger) < limit
        and all(line.is_ours and not line.deleted and (newest.get(line.name) or line.id) == line.id for line in lines)
        and all(line.name in newest or line.id in ids for line in lines)
    )


def _is_valid(ask: Ask, config: str, version: Any) -> bool:
    """Return whether the lines of a version (id, version, key_count) are its map."""
    (count,) = ask(queries.keyframe_lines(), config=config, keyframe=version.id, number=version.version)
    return bool(count.lines == count.right == version.key_count)
