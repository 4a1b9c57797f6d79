"""Read one version's map through its session, in at most four statements however long the past is. Writes nothing.

The map at version V = what the newest valid keyframe K <= V associates, overlaid with
the values that originated in (K, V], the later over the earlier, tombstones taking away.
A keyframe that is not the whole map is passed over, at the cost of the way to the next.
"""

from typing import Any

from sqlalchemy import Row, Select, exists, func, select
from sqlalchemy.orm import Session, aliased, object_session
from sqlalchemy.orm.exc import DetachedInstanceError

from lamina_server.errors import HashMismatchError
from lamina_server.models.rows import checked_value_of
from lamina_server.models.tables import ConfigValue, ConfigValueAssociation, VersionRow
from lamina_server.planning import entry_size
from lamina_server.versions import Entry

_COLUMNS = tuple(
    column for column in ConfigValue.__table__.c if column.name not in {"id", "config_name_id", "originating_config_id"}
)


def read_entries(config: VersionRow, name: str) -> dict[str, Entry]:
    """Read what a version of the config of that name holds, by key.

    Raises HashMismatchError where the database does not hold it intact.
    """
    session = object_session(config)
    if session is None:
        raise DetachedInstanceError(
            f"version {config.version} of {name!r} is in no session, and its data was not read while it was"
        )
    with session.no_autoflush:  # reading one version is no reason to make another
        keyframe = config.version + 1
        while keyframe:
            keyframe = _newest_keyframe(session, config, below=keyframe)
            entries = _overlay(session, config, name, keyframe)
            if _is_whole(config, entries):
                return entries
    raise HashMismatchError(f"the map of {name!r} at version {config.version}")


def _newest_keyframe(session: Session, config: VersionRow, *, below: int) -> int:
    """Find the newest version below another that has as many associations as keys; 0, the empty map, without one."""
    row = type(config)
    associated = select(func.count()).where(ConfigValueAssociation.config_id == row.id).correlate(row).scalar_subquery()
    statement = (
        select(row.version)
        .where(
            row.config_name_id == config.config_name_id,
            row.version < below,
            row.key_count > 0,
            row.key_count == associated,
        )
        .order_by(row.version.desc())
        .limit(1)
    )
    return session.scalar(statement) or 0


def _overlay(session: Session, config: VersionRow, name: str, keyframe: int) -> dict[str, Entry]:
    rows = {row.name: row for row in session.execute(_associated(config, keyframe))} if keyframe else {}
    rows |= {row.name: row for row in session.execute(_originated(config, keyframe))}
    entries = (_entry(row, name) for row in rows.values())
    return {entry.key: entry for entry in entries if entry is not None}


def _associated(config: VersionRow, keyframe: int) -> Select[*tuple[Any, ...]]:
    # A line counts if it is the newest value of its key by then, and of this config; without one the map is not whole.
    row = type(config)
    newer = aliased(ConfigValue)
    is_superseded = exists().where(
        newer.config_name_id == ConfigValue.config_name_id,
        newer.name == ConfigValue.name,
        newer.version > ConfigValue.version,
        newer.version <= keyframe,
    )
    return (
        select(*_COLUMNS)
        .join(ConfigValueAssociation, ConfigValueAssociation.config_value_id == ConfigValue.id)
        .join(row, ConfigValueAssociation.config_id == row.id)
        .where(
            row.config_name_id == config.config_name_id,
            row.version == keyframe,
            ConfigValue.config_name_id == config.config_name_id,
            ConfigValue.version <= keyframe,
            ~is_superseded,
        )
    )


def _originated(config: VersionRow, keyframe: int) -> Select[*tuple[Any, ...]]:
    return (
        select(*_COLUMNS)
        .where(
            ConfigValue.config_name_id == config.config_name_id,
            ConfigValue.version > keyframe,
            ConfigValue.version <= config.version,
        )
        .order_by(ConfigValue.version)
    )


def _entry(row: Row[*tuple[Any, ...]], config: str) -> Entry | None:
    value = checked_value_of(row, config)
    return None if value is None else Entry(row.name, value, row.version)


def _is_whole(config: VersionRow, entries: dict[str, Entry]) -> bool:
    """Tell whether no row is missing: as many keys and bytes as the version's header says."""
    size_bytes = sum(entry_size(entry.key, entry.value) for entry in entries.values())
    return (len(entries), size_bytes) == (config.key_count, config.size_bytes)
