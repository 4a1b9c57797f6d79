"""The statements about keyframes that only a store needs; models/queries.py has the others. Pure; runs none of them.

They are made to walk indexes. One parameter beside those in clauses.py:

    target     the id of the version that a keyframe is written at
"""

from functools import cache

from sqlalchemy import BigInteger, bindparam, cast, func, select, union_all

from lamina_server.models.queries import CONFIG, KEY, KEYFRAME, LIMIT, LOW, NUMBER, Statement, originated
from lamina_server.models.tables import LINES, VALUES, VERSIONS
from lamina_server.store.sql.queries.clauses import WHOLE, RangeShape, in_range, wanted_keys


@cache
def live(shape: RangeShape) -> Statement:
    """Ask where the entries of version `high` stand: (name, id), in key order.

    They are the lines of the keyframe with the id `keyframe`, overlaid with the values
    that originated in (low, high], `low` being the keyframe's version. Of two values of a
    key the later has the higher id, because a version takes its ids when the one before it
    is there. Tombstones are among them. Without a keyframe, `keyframe` and `low` are 0.
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
def target() -> Statement:
    """Ask for the newest version up to `number`, which a keyframe would be written at: (id, version, key_count)."""
    newest = select(VERSIONS.c.id, VERSIONS.c.version, VERSIONS.c.key_count)
    up_to = newest.where(VERSIONS.c.config_name_id == CONFIG, VERSIONS.c.version <= NUMBER)
    return up_to.order_by(VERSIONS.c.version.desc()).limit(1)


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
