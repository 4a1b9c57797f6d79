"""How much a database holds: its tables on the disk, its configs, and what has come in the last days.

*Content* is the bytes of all keys and values that versions have set. The disk needs more: rows, indexes, keyframes.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import LargeBinary, cast, func, literal_column, select, text

from lamina_server.domain.record import record
from lamina_server.models.tables import METADATA, NAMES, VALUES, VERSIONS
from lamina_server.store.verify.inspection import Inspection

DAY_US = 86_400 * 1_000_000
PERIODS_DAYS = (1, 7, 30)


@record
class TableSize:
    """A table with its indexes. `size_bytes` is None where the database cannot tell it."""

    name: str
    rows: int
    size_bytes: int | None


@record
class ConfigSize:
    """All versions of one config. `map_bytes` is the content of its head alone."""

    name: str
    versions: int
    changes: int
    content_bytes: int
    keys: int
    map_bytes: int


@record
class Growth:
    """What came in the last days, by the times of the versions."""

    days: int
    versions: int
    changes: int
    content_bytes: int


@record
class Sizes:
    """What `sizes` found. `configs` has those with the most content first."""

    tables: Sequence[TableSize]
    configs: Sequence[ConfigSize]
    growth: Sequence[Growth]


def sizes(inspection: Inspection, now_us: int) -> Sizes:
    """Measure a database. Reads each value's length, so this takes a second for each million of values or so."""
    return Sizes(_tables(inspection), _configs(inspection), _growth(inspection, now_us))


def _tables(inspection: Inspection) -> list[TableSize]:
    on_disk = dict(inspection.ask(text(_ON_DISK[inspection.dialect]))) if _can_tell(inspection) else {}
    found = []
    for name, table in METADATA.tables.items():
        ((rows,),) = inspection.ask(select(func.count()).select_from(table))
        found.append(TableSize(name, rows, on_disk.get(name)))
    return found


def _can_tell(inspection: Inspection) -> bool:
    if inspection.dialect != "sqlite":
        return True
    return bool(inspection.ask(text("SELECT 1 FROM pragma_compile_options WHERE compile_options LIKE '%DBSTAT%'")))


def _configs(inspection: Inspection) -> list[ConfigSize]:
    contents = (
        select(VALUES.c.config_name_id, func.count().label("changes"), _content(inspection.dialect).label("bytes"))
        .group_by(VALUES.c.config_name_id)
        .subquery()
    )
    newest = (
        select(VERSIONS.c.config_name_id, func.max(VERSIONS.c.version).label("version"))
        .group_by(VERSIONS.c.config_name_id)
        .subquery()
    )
    statement = (
        select(NAMES.c.name, VERSIONS.c.version, contents.c.changes, contents.c.bytes, VERSIONS.c.key_count)
        .add_columns(VERSIONS.c.size_bytes)
        .join_from(NAMES, newest, newest.c.config_name_id == NAMES.c.id)
        .join(VERSIONS, (VERSIONS.c.config_name_id == NAMES.c.id) & (VERSIONS.c.version == newest.c.version))
        .outerjoin(contents, contents.c.config_name_id == NAMES.c.id)
    )
    found = [
        ConfigSize(name, versions, changes or 0, content_bytes or 0, keys, map_bytes)
        for name, versions, changes, content_bytes, keys, map_bytes in inspection.ask(statement)
    ]
    return sorted(found, key=lambda each: (-each.content_bytes, each.name))


def _growth(inspection: Inspection, now_us: int) -> list[Growth]:
    found = []
    for days in PERIODS_DAYS:
        since = VERSIONS.c.commit_time_us > now_us - days * DAY_US
        ((versions,),) = inspection.ask(select(func.count()).where(since))
        joined = VALUES.join(VERSIONS, VERSIONS.c.id == VALUES.c.originating_config_id)
        statement = select(func.count(), _content(inspection.dialect)).select_from(joined).where(since)
        ((changes, content_bytes),) = inspection.ask(statement)
        found.append(Growth(days, versions, changes, content_bytes or 0))
    return found


def _content(dialect: str) -> Any:
    """Return the sum of the sizes of keys and values; numbers count as eight bytes, booleans as one."""
    values = VALUES.c

    def size(column: Any) -> Any:
        return func.octet_length(column) if dialect == "postgresql" else func.length(cast(column, LargeBinary))

    number: Any = literal_column("CASE WHEN kind IN (2, 3) THEN 8 WHEN kind = 1 THEN 1 ELSE 0 END")
    parts = size(values.name) + func.coalesce(size(values.string_value), 0) + number
    return func.sum(parts + func.coalesce(func.length(values.bytes_value), 0))


_ON_DISK = {
    "sqlite": (
        "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name"
        " WHERE d.aggregate = 1 GROUP BY s.tbl_name"
    ),
    "postgresql": (
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
    ),
}
"""A table's bytes with its indexes."""
