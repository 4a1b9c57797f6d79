"""What both the ORM and the store ask of the tables: a config's head, and its keyframes. Pure; runs nothing.

Made to walk indexes, whatever the planner knows about the tables. Parameters, where a statement has them:

    config      its name
    number      a version
    low, high   the versions in (low, high]
    keyframe    the id of the version whose lines are the keyframe
    limit       rows
"""

from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Select, Text, and_, bindparam, case, func, select

from lamina_server.models.tables import CUTS, LINES, NAMES, VALUES, VERSIONS

Statement: TypeAlias = Select[*tuple[Any, ...]]
Conditions: TypeAlias = list[ColumnElement[bool]]

NUMBER = bindparam("number", type_=BigInteger)
LOW = bindparam("low", type_=BigInteger)
HIGH = bindparam("high", type_=BigInteger)
LIMIT = bindparam("limit", type_=BigInteger)
KEYFRAME = bindparam("keyframe", type_=BigInteger)

# Each statement looks the id up, because a restored backup may have other ids.
CONFIG = select(NAMES.c.id).where(NAMES.c.name == bindparam("config", type_=Text)).scalar_subquery()

# A key in a form that no index has, so that a range of versions is read by the index by version. SQLite would take the
# index by name, because it has the names in order, and walk the config's whole past. COALESCE also keeps an outer join:
# a plain comparison would make it an inner join, whose sides the planner may swap.
KEY = func.coalesce(VALUES.c.name, "")

HEADER = [each for each in VERSIONS.c if each.name not in {"id", "config_name_id"}]
_VALUE = [each for each in VALUES.c if each.name not in {"config_name_id", "originating_config_id"}]


def originated() -> Conditions:
    """Return the conditions that a value originated in the versions (low, high] of a config."""
    return [VALUES.c.config_name_id == CONFIG, VALUES.c.version > LOW, VALUES.c.version <= HIGH]


@cache
def cut() -> Statement:
    """Ask for the oldest version whose map can be read: (oldest), 1 if the config was never compacted."""
    return select(func.coalesce(func.max(CUTS.c.version), 1).label("oldest")).where(CUTS.c.config_name_id == CONFIG)


@cache
def head() -> Statement:
    """Ask for the newest header."""
    newest = select(*HEADER).where(VERSIONS.c.config_name_id == CONFIG)
    return newest.order_by(VERSIONS.c.version.desc()).limit(1)


@cache
def keyframe() -> Statement:
    """Ask for the newest version up to `number` that has lines: (id, version, key_count).

    It walks back over the versions since; a keyframe is written before there are many more
    of those than keys. A subquery with LIMIT, as EXISTS might be planned as a join of all.
    """
    line = select(LINES.c.config_id).where(LINES.c.config_id == VERSIONS.c.id).limit(1).scalar_subquery()
    return (
        select(VERSIONS.c.id, VERSIONS.c.version, VERSIONS.c.key_count)
        .where(VERSIONS.c.config_name_id == CONFIG, VERSIONS.c.version <= NUMBER, line.is_not(None))
        .order_by(VERSIONS.c.version.desc())
        .limit(1)
    )


@cache
def keyframe_lines() -> Statement:
    """Count the lines of the keyframe `keyframe` at version `number`: (all, right).

    Right is a line with a value of this config that is no tombstone, and the newest of its
    key by then. Where all are right and as many as the version has keys, nothing is missing.
    """
    older = VALUES.alias("older")
    newest = (
        select(func.max(older.c.version))
        .where(older.c.config_name_id == CONFIG, older.c.name == VALUES.c.name, older.c.version <= NUMBER)
        .correlate(VALUES)
        .scalar_subquery()
    )
    right = and_(VALUES.c.config_name_id == CONFIG, VALUES.c.deleted.is_(False), VALUES.c.version == newest)
    return (
        select(func.count().label("lines"), func.count(case((right, 1))).label("right"))
        .select_from(LINES.outerjoin(VALUES, VALUES.c.id == LINES.c.config_value_id))
        .where(LINES.c.config_id == KEYFRAME)
    )


@cache
def lines_with_values() -> Statement:
    """Ask for the values of the lines of the keyframe `keyframe`, NULLs where gone, and whether they are `config`'s."""
    is_ours = (VALUES.c.config_name_id == CONFIG).label("is_ours")
    joined = LINES.outerjoin(VALUES, VALUES.c.id == LINES.c.config_value_id)
    return select(*_VALUE, is_ours).select_from(joined).where(LINES.c.config_id == KEYFRAME)


@cache
def line_ids() -> Statement:
    """Ask for the ids of the values of the lines of the keyframe `keyframe`."""
    return select(LINES.c.config_value_id.label("id")).where(LINES.c.config_id == KEYFRAME)


@cache
def younger() -> Statement:
    """Ask for the newest value of each key that originated in (low, high]: the others may be large, and many."""
    newest = select(func.max(VALUES.c.id).label("id")).where(*originated()).group_by(KEY).subquery("newest")
    return select(*_VALUE).select_from(newest.join(VALUES, VALUES.c.id == newest.c.id))


@cache
def younger_ids() -> Statement:
    """Ask which values originated in (low, high], oldest first: (name, id)."""
    return select(VALUES.c.name, VALUES.c.id).where(*originated()).order_by(VALUES.c.version).limit(LIMIT)
