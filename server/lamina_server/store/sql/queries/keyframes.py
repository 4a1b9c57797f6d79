"""The statements about keyframes, and about the maps that are read from them. Pure; runs none of them.

They are made to walk indexes, as those of versions.py. Parameters beside those in clauses.py:

    keyframe   the id of the version whose lines are the keyframe
    target     the id of the version that a keyframe is written at
"""

from functools import cache

from sqlalchemy import BigInteger, and_, bindparam, case, cast, func, select, union_all

from lamina_server.models.tables import LINES, VALUES, VERSIONS
from lamina_server.store.sql.queries.clauses import (
    CONFIG,
    KEY,
    KEYFRAME,
    LIMIT,
    LOW,
    NUMBER,
    WHOLE,
    RangeShape,
    Statement,
    in_range,
    originated,
    wanted_keys,
)

_VALUE = [each for each in VALUES.c if each.name not in {"config_name_id", "originating_config_id"}]


@cache
def live(shape: RangeShape) -> Statement:
    """Ask where the entries of version `high` stand: (name, id), in key order.

    They are the lines of the keyframe with the id `keyframe`, overlaid with the values
    that originated in (low, high], `low` being the keyframe's version. Of two values of a
    key the later has the higher id, because ids are given under the write lock. Tombstones
    are among them. Without a keyframe, `keyframe` and `low` are 0.
    """
    # With an outer join the planner goes from each line to its value. Otherwise it might go through all values.
    associated = (
        select(KEY.label("name"), VALUES.c.id)
        .select_from(LINES.outerjoin(VALUES, VALUES.c.id == LINES.c.config_value_id))
        .where(LINES.c.config_id == KEYFRAME, *in_range(KEY, shape))
    )
    younger = select(KEY.label("name"), VALUES.c.id).where(*originated(), *in_range(KEY, shape))
    both = union_all(associated, younger).subquery("both")
    newest = func.max(both.c.id).label("id")
    return select(both.c.name, newest).group_by(both.c.name).order_by(both.c.name).limit(LIMIT)


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


@cache
def target() -> Statement:
    """Ask for the version that a keyframe would be written at: the head's (id, version, key_count)."""
    newest = select(VERSIONS.c.id, VERSIONS.c.version, VERSIONS.c.key_count)
    return newest.where(VERSIONS.c.config_name_id == CONFIG).order_by(VERSIONS.c.version.desc()).limit(1)


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
def live_ids() -> Statement:
    """Ask for the ids of the values of all live entries of version `high`, rising."""
    newest = live(WHOLE).order_by(None).limit(None).subquery("newest")
    ids = select(VALUES.c.id).select_from(newest.join(VALUES, newest.c.id == VALUES.c.id))
    return ids.where(VALUES.c.deleted.is_(False)).order_by(VALUES.c.id)


@cache
def lines() -> Statement:
    """Make the lines of a keyframe: the version `target`, and each of the values `keys`."""
    ids = wanted_keys()
    return select(cast(bindparam("target", type_=BigInteger), BigInteger), cast(ids.c.value, BigInteger))


@cache
def originated_count() -> Statement:
    """Count the values that originated after version `low`."""
    return select(func.count()).where(VALUES.c.config_name_id == CONFIG, VALUES.c.version > LOW)
