"""When a keyframe is due, and how it is written. How one is found and read is in models/keyframes.py.

Knows no dialect.
"""

import json
from dataclasses import dataclass

from sqlalchemy import Connection

from lamina_server.domain.errors import HashMismatchError
from lamina_server.models.keyframes import NO_KEYFRAME, Ask, newest_keyframe
from lamina_server.models.queries import keyframe
from lamina_server.models.tables import LINES
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.queries import keyframes as queries

MAX_NUMBER = 2**63 - 1
"""No version is newer."""


def originated_since_keyframe(ask: Ask, config: str) -> int:
    """Count the values that originated after the newest valid keyframe."""
    heads = ask(queries.target(), config=config, number=MAX_NUMBER)
    if not heads:
        return 0
    newest = newest_keyframe(ask, config, heads[0].version)
    ((count,),) = ask(queries.originated_count(), config=config, low=newest.version)
    return int(count)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a keyframe to be written: the version's id, and the rising ids of its live values."""

    version_id: int
    value_ids: tuple[int, ...]


def lines_to_write(ask: Ask, config: str, number: int | None = None) -> Lines | None:
    """Find the live values of a version; None: of the head. Return None if it has no keys, or has a keyframe already.

    Raises HashMismatchError if there are not as many values as the head's header says.
    """
    heads = ask(queries.target(), config=config, number=MAX_NUMBER if number is None else number)
    if not heads or not heads[0].key_count:
        return None
    head = heads[0]
    there = ask(keyframe(), config=config, number=head.version)
    if there and there[0].version == head.version:
        return None
    # Compaction may take away the lines of the first one meanwhile; without a keyframe, all is in the values.
    for low in (newest_keyframe(ask, config, head.version), NO_KEYFRAME):
        parameters = {"config": config, "keyframe": low.id, "low": low.version, "high": head.version, "first_key": ""}
        ids = tuple(row.id for row in ask(queries.live_ids(), **parameters))
        if len(ids) == head.key_count:
            return Lines(head.id, ids)
    raise HashMismatchError(f"the map of {config!r} at version {head.version}")


def write_lines(connection: Connection, database: Database, lines: Lines) -> None:
    """Insert a keyframe's lines.

    They are in the order of ids. If two servers write the same lines, one waits for the
    other at the first line, and there is no deadlock.
    """
    insert = database.insert_new(LINES).from_select(["config_id", "config_value_id"], queries.lines())
    with database.statement("insert"):
        connection.execute(insert, {"target": lines.version_id, "keys": json.dumps(lines.value_ids)})
