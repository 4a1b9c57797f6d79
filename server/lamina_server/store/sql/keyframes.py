"""Keyframes: which of them a map is read from, and how the next one is written. Knows no dialect.

A keyframe is a version's map as lines (version, value). It is valid if and only if it has
as many lines as the version has keys, and every line is right: it names the newest value
of its key up to the version, of the same config, and no tombstone. So no line is missing
either. An invalid keyframe is never used, and the next one is written at the head.
"""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from lamina_server.domain.errors import HashMismatchError
from lamina_server.models.tables import LINES
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.prepared import Rows
from lamina_server.store.sql.queries import keyframes as queries
from lamina_server.store.sql.queries.clauses import Statement


class Ask(Protocol):
    """How a statement is run: SqlReading.ask."""

    def __call__(self, statement: Statement, **parameters: Any) -> Rows:
        """Run a statement and return all its rows."""


@dataclass(frozen=True, slots=True)
class Keyframe:
    """The version whose lines a map is read from, by id and number."""

    id: int
    version: int


_AGREEMENT_LIMIT, KEYFRAME_ROWS = 8, 256
"""With more values than that times the keys since the keyframe before, a look-up of each line is no slower.

The number of keys counts as at least KEYFRAME_ROWS.
"""

NO_KEYFRAME = Keyframe(0, 0)
"""The empty map before version 1. No id is 0, so it has no lines, and every value is younger."""


def newest_keyframe(ask: Ask, config: str, number: int) -> Keyframe:
    """Find the newest valid keyframe up to a version.

    The check costs a look-up for each line, as reading the keyframe does.
    """
    while rows := ask(queries.keyframe(), config=config, number=number):
        found = rows[0]
        if _is_valid(ask, config, found):
            return Keyframe(found.id, found.version)
        number = found.version - 1
    return NO_KEYFRAME


def originated_since_keyframe(ask: Ask, config: str) -> int:
    """Count the values that originated after the newest valid keyframe."""
    heads = ask(queries.target(), config=config)
    if not heads:
        return 0
    keyframe = newest_keyframe(ask, config, heads[0].version)
    ((count,),) = ask(queries.originated_count(), config=config, low=keyframe.version)
    return int(count)


def whole_map(ask: Ask, config: str, number: int) -> Rows:
    """Return the rows of all keys of a version in key order, with the tombstones among them."""
    keyframe, lines = _believable_keyframe(ask, config, number)
    rows = {row.name: row for row in lines}
    for row in ask(queries.younger(), config=config, low=keyframe.version, high=number):
        rows[row.name] = row
    return [rows[name] for name in sorted(rows)]


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


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a keyframe to be written: the version's id, and the rising ids of its live values."""

    version_id: int
    value_ids: tuple[int, ...]


def lines_to_write(ask: Ask, config: str) -> Lines | None:
    """Find the live values of the head. Return None if it has no keys, or has a keyframe already.

    Raises HashMismatchError if there are not as many values as the head's header says.
    """
    heads = ask(queries.target(), config=config)
    if not heads or not heads[0].key_count:
        return None
    head = heads[0]
    there = ask(queries.keyframe(), config=config, number=head.version)
    if there and there[0].version == head.version:
        return None
    low = newest_keyframe(ask, config, head.version)
    parameters = {"config": config, "keyframe": low.id, "low": low.version, "high": head.version, "first_key": ""}
    ids = tuple(row.id for row in ask(queries.live_ids(), **parameters))
    if len(ids) != head.key_count:
        raise HashMismatchError(f"the map of {config!r} at version {head.version}")
    return Lines(head.id, ids)


def write_lines(connection: Connection, database: Database, lines: Lines) -> None:
    """Insert a keyframe's lines.

    They are in the order of ids. If two servers write the same lines, one waits for the
    other at the first line, and there is no deadlock.
    """
    insert = database.insert_new(LINES).from_select(["config_id", "config_value_id"], queries.lines())
    with database.statement():
        connection.execute(insert, {"target": lines.version_id, "keys": json.dumps(lines.value_ids)})


def _is_valid(ask: Ask, config: str, version: Any) -> bool:
    """Return whether the lines of a version (id, version, key_count) are its map."""
    (count,) = ask(queries.keyframe_lines(), config=config, keyframe=version.id, number=version.version)
    return bool(count.lines == count.right == version.key_count)
