"""Keyframes: which one a map is read from, and when and how the next is written. Knows no dialect.

A keyframe is a version's map as lines (version, value). It is valid if and only if it has
as many lines as the version has keys and every line is right: the newest value of its key
by then, of this config, and no tombstone. So none is missing either. An invalid keyframe
is passed over, for ever, and the next is written at the head.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from lamina_server.errors import HashMismatchError
from lamina_server.store import keyframe_queries as queries
from lamina_server.store.clauses import LINES, Statement
from lamina_server.store.database import Database, Rows


class Ask(Protocol):
    """How a statement is run: SqlReading.ask."""

    def __call__(self, statement: Statement, **parameters: Any) -> Rows:
        """Run a statement and return all its rows."""


@dataclass(frozen=True, slots=True)
class Keyframe:
    """The version whose lines a map is read from, by id and number."""

    id: int
    version: int


NO_KEYFRAME = Keyframe(0, 0)
"""The empty map before version 1: no id is 0, so no line is found, and every value is younger."""


def newest_keyframe(ask: Ask, config: str, number: int) -> Keyframe:
    """Find the newest valid keyframe up to a version.

    It is checked each time, which costs a look-up for each line, as reading it does.
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


def write_keyframe(connection: Connection, database: Database, ask: Ask, config: str) -> None:
    """Associate every live value with the head, where it has keys and no line yet.

    Raises HashMismatchError, and is to be rolled back, where the values do not make up the
    map that the head's header tells of.
    """
    heads = ask(queries.target(), config=config)
    if not heads or not heads[0].key_count:
        return
    head = heads[0]
    there = ask(queries.keyframe(), config=config, number=head.version)
    if there and there[0].version == head.version:
        return
    low = newest_keyframe(ask, config, head.version)
    lines = database.insert_new(LINES).from_select(["config_id", "config_value_id"], queries.lines_to_write())
    parameters = {
        "config": config,
        "target": head.id,
        "keyframe": low.id,
        "low": low.version,
        "high": head.version,
        "first_key": "",
    }
    with database.asking():
        connection.execute(lines, parameters)
    if not _is_valid(ask, config, head):
        raise HashMismatchError(f"the map of {config!r} at version {head.version}")


def _is_valid(ask: Ask, config: str, version: Any) -> bool:
    """Tell whether the lines of a version (id, version, key_count) are its map."""
    (count,) = ask(queries.keyframe_lines(), config=config, keyframe=version.id, number=version.version)
    return bool(count.lines == count.right == version.key_count)
