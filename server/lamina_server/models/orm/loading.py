"""Read one version's map through its session, in at most four statements however long the past is. Writes nothing.

The map at version V = what the newest valid keyframe K <= V associates, overlaid with
the values that originated in (K, V], the later over the earlier, tombstones taking away.
A keyframe that is not the whole map is passed over, at the cost of the way to the next.
"""

from typing import Any

from sqlalchemy import Row, Select, exists, func, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError

from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.planning import entry_size
from lamina_server.domain.records import Entry, Version
from lamina_server.models.rows import checked_value_of
from lamina_server.models.tables import LINES, VALUES, VERSIONS

_COLUMNS = tuple(column for column in VALUES.c if column.name not in {"id", "config_name_id", "originating_config_id"})


def read_entries(session: Session | None, version: Version, name_id: int) -> dict[str, Entry]:
    """Read what a version of the config of that name holds, by key.

    Raises HashMismatchError where the database does not hold it intact.
    """
    if session is None:
        raise DetachedInstanceError(
            f"version {version.number} of {version.config!r} is in no session, and its data was not read while it was"
        )
    with session.no_autoflush:  # reading one version is no reason to make another
        keyframe = version.number + 1
        while keyframe:
            keyframe = _newest_keyframe(session, name_id, below=keyframe)
            entries = _overlay(session, version, name_id, keyframe)
            if _is_whole(version, entries):
                return entries
    raise HashMismatchError(f"the map of {version.config!r} at version {version.number}")


def _newest_keyframe(session: Session, name_id: int, *, below: int) -> int:
    """Find the newest version below another that has as many associations as keys; 0, the empty map, without one."""
    row = VERSIONS.c
    associated = select(func.count()).where(LINES.c.config_id == row.id).correlate(VERSIONS).scalar_subquery()
    statement = (
        select(row.version)
        .where(
            row.config_name_id == name_id,
            row.version < below,
            row.key_count > 0,
            row.key_count == associated,
        )
        .order_by(row.version.desc())
        .limit(1)
    )
    return session.scalar(statement) or 0


def _overlay(session: Session, version: Version, name_id: int, keyframe: int) -> dict[str, Entry]:
    rows = {row.name: row for row in session.execute(_associated(name_id, keyframe))} if keyframe else {}
    rows |= {row.name: row for row in session.execute(_originated(version, name_id, keyframe))}
    entries = (_entry(row, version.config) for row in rows.values())
    return {entry.key: entry for entry in entries if entry is not None}


def _associated(name_id: int, keyframe: int) -> Select[*tuple[Any, ...]]:
    # A line counts if it is the newest value of its key by then, and of this config; without one the map is not whole.
    newer = VALUES.alias()
    is_superseded = exists().where(
        newer.c.config_name_id == VALUES.c.config_name_id,
        newer.c.name == VALUES.c.name,
        newer.c.version > VALUES.c.version,
        newer.c.version <= keyframe,
    )
    return (
        select(*_COLUMNS)
        .join(LINES, LINES.c.config_value_id == VALUES.c.id)
        .join(VERSIONS, LINES.c.config_id == VERSIONS.c.id)
        .where(
            VERSIONS.c.config_name_id == name_id,
            VERSIONS.c.version == keyframe,
            VALUES.c.config_name_id == name_id,
            VALUES.c.version <= keyframe,
            ~is_superseded,
        )
    )


def _originated(version: Version, name_id: int, keyframe: int) -> Select[*tuple[Any, ...]]:
    return (
        select(*_COLUMNS)
        .where(
            VALUES.c.config_name_id == name_id,
            VALUES.c.version > keyframe,
            VALUES.c.version <= version.number,
        )
        .order_by(VALUES.c.version)
    )


def _entry(row: Row[*tuple[Any, ...]], config: str) -> Entry | None:
    value = checked_value_of(row, config)
    return None if value is None else Entry(row.name, value, row.version)


def _is_whole(version: Version, entries: dict[str, Entry]) -> bool:
    """Tell whether no row is missing: as many keys and bytes as the version's header says."""
    size_bytes = sum(entry_size(entry.key, entry.value) for entry in entries.values())
    return (len(entries), size_bytes) == (version.key_count, version.size_bytes)
