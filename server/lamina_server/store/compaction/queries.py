"""The statements of compaction. Pure; runs none of them.

Parameters beside those in models/queries.py:

    config_id  the id of a config's name
    cut        the oldest version whose map stays
    after_id   of the versions after `low`, and of the values of version `low` with a higher id
    keys       the ids of values, as a JSON list
    keyframe   the id of the version that a keyframe is at
"""

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Delete, LargeBinary, Select, and_, bindparam, cast, delete, func, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from lamina_server.models.queries import HIGH, KEYFRAME, LIMIT, LOW, Statement
from lamina_server.models.tables import CUTS, LINES, NAMES, VALUES, VERSIONS
from lamina_server.store.sql.queries.clauses import wanted_keys

_CONFIG_ID = bindparam("config_id", type_=BigInteger)
_CUT = bindparam("cut", type_=BigInteger)

POINT_COLUMNS = ("config_name_id", "version", "name", "deleted", "digest", "superseded_by")
"""The columns of a change point."""


class _Octets(FunctionElement[int]):
    """The number of bytes of a text."""

    name = "octets"
    type = BigInteger()
    inherit_cache = True


@compiles(_Octets, "sqlite")
def _octets_sqlite(element: _Octets, compiler: SQLCompiler, **keywords: Any) -> str:
    (text,) = element.clauses
    return compiler.process(func.length(cast(text, LargeBinary)), **keywords)


@compiles(_Octets, "postgresql")
def _octets_postgresql(element: _Octets, compiler: SQLCompiler, **keywords: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **keywords)})"


@cache
def configs() -> Statement:
    """Ask for all configs, by name: (id, name, head, oldest)."""
    newest = select(func.max(VERSIONS.c.version)).where(VERSIONS.c.config_name_id == NAMES.c.id).scalar_subquery()
    cut = select(func.max(CUTS.c.version)).where(CUTS.c.config_name_id == NAMES.c.id).scalar_subquery()
    columns = (func.coalesce(newest, 0).label("head"), func.coalesce(cut, 1).label("oldest"))
    return select(NAMES.c.id, NAMES.c.name, *columns).order_by(NAMES.c.name)


@cache
def versions() -> Statement:
    """Ask for the first `limit` versions in (low, high], in order: (id, version, change_count, has_lines)."""
    line = select(LINES.c.config_id).where(LINES.c.config_id == VERSIONS.c.id).limit(1).scalar_subquery()
    return (
        select(VERSIONS.c.id, VERSIONS.c.version, VERSIONS.c.change_count, line.is_not(None).label("has_lines"))
        .where(VERSIONS.c.config_name_id == _CONFIG_ID, VERSIONS.c.version > LOW, VERSIONS.c.version <= HIGH)
        .order_by(VERSIONS.c.version)
        .limit(LIMIT)
    )


@cache
def values() -> Statement:
    """Ask for `limit` values of versions up to `high` that follow a position, in order of version and id.

    Each with all that its change point needs, with the size of its content, and with the next version up to the cut
    that changed its key: NULL if there is none.
    """
    newer = VALUES.alias("newer")
    superseded_by = (
        select(newer.c.version)
        .where(
            newer.c.config_name_id == VALUES.c.config_name_id,
            newer.c.name == VALUES.c.name,
            newer.c.version > VALUES.c.version,
            newer.c.version <= _CUT,
        )
        .order_by(newer.c.version)
        .limit(1)
        .scalar_subquery()
    )
    size_bytes = func.coalesce(_Octets(VALUES.c.string_value), func.length(VALUES.c.bytes_value), 0)
    after_id = bindparam("after_id", type_=BigInteger)
    after = or_(VALUES.c.version > LOW, and_(VALUES.c.version == LOW, VALUES.c.id > after_id))
    point = [VALUES.c[name] for name in POINT_COLUMNS[:-1]]
    return (
        select(VALUES.c.id, *point, superseded_by.label(POINT_COLUMNS[-1]), size_bytes.label("size_bytes"))
        .where(VALUES.c.config_name_id == _CONFIG_ID, VALUES.c.version >= LOW, VALUES.c.version <= HIGH, after)
        .order_by(VALUES.c.version, VALUES.c.id)
        .limit(LIMIT)
    )


@cache
def delete_values() -> Delete:
    """Delete the values `keys`."""
    return delete(VALUES).where(VALUES.c.id.in_(_ids()))


@cache
def delete_lines() -> Delete:
    """Delete `limit` lines of the keyframe `keyframe`."""
    some = select(LINES.c.config_value_id).where(LINES.c.config_id == KEYFRAME).order_by(LINES.c.config_value_id)
    return delete(LINES).where(LINES.c.config_id == KEYFRAME, LINES.c.config_value_id.in_(some.limit(LIMIT)))


def _ids() -> Select[int]:
    ids = wanted_keys()
    return select(cast(ids.c.value, BigInteger))
