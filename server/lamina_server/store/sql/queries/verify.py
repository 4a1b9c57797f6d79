"""The statements of `verify`. They go by ids, because a name itself may be damaged. Pure; runs none of them.

Parameters beside those in models/queries.py:

    config_id   the id of a config's name
    after       an id, or a request's caller and id
"""

from functools import cache

from sqlalchemy import BigInteger, Select, Text, bindparam, exists, func, select, tuple_

from lamina_server.models.queries import HIGH, KEYFRAME, LIMIT, LOW, Statement
from lamina_server.models.tables import CUTS, LINES, NAMES, POINTS, REQUESTS, VALUES, VERSIONS

_CONFIG_ID = bindparam("config_id", type_=BigInteger)


@cache
def version_count() -> Statement:
    """Count all versions."""
    return select(func.count()).select_from(VERSIONS)


@cache
def configs() -> Statement:
    """Ask for the configs after an id: (id, name, head), the head being 0 where there is no version."""
    newest = select(func.max(VERSIONS.c.version)).where(VERSIONS.c.config_name_id == NAMES.c.id).scalar_subquery()
    named = select(NAMES.c.id, NAMES.c.name, func.coalesce(newest, 0).label("head"))
    return named.where(NAMES.c.id > bindparam("after", type_=BigInteger)).order_by(NAMES.c.id).limit(LIMIT)


@cache
def headers() -> Statement:
    """Ask for the rows of the versions in (low, high], in order."""
    return _in_span(select(VERSIONS), VERSIONS).order_by(VERSIONS.c.version).limit(LIMIT)


@cache
def values() -> Statement:
    """Ask for the rows of the values that originated in (low, high], in order of version and name."""
    return _in_span(select(VALUES), VALUES).order_by(VALUES.c.version, VALUES.c.name)


@cache
def points() -> Statement:
    """Ask for what is left of the changes of the versions in (low, high], in order of version and name."""
    return _in_span(select(POINTS), POINTS).order_by(POINTS.c.version, POINTS.c.name)


@cache
def oldest() -> Statement:
    """Ask for the oldest version whose map must be there: (oldest)."""
    newest = func.coalesce(func.max(CUTS.c.version), 1).label("oldest")
    return select(newest).where(CUTS.c.config_name_id == _CONFIG_ID)


@cache
def keyframes() -> Statement:
    """Ask for the ids of the versions in (low, high] that have lines."""
    line = select(LINES.c.config_id).where(LINES.c.config_id == VERSIONS.c.id).limit(1).scalar_subquery()
    return _in_span(select(VERSIONS.c.id), VERSIONS).where(line.is_not(None))


@cache
def lines() -> Statement:
    """Ask for the ids of the values in a keyframe, in no order."""
    return select(LINES.c.config_value_id).where(LINES.c.config_id == KEYFRAME).limit(LIMIT)


@cache
def beyond() -> Statement:
    """Ask for the first version after a config's head of which there is a value; one statement, so one moment."""
    newest = select(func.max(VERSIONS.c.version)).where(VERSIONS.c.config_name_id == _CONFIG_ID).scalar_subquery()
    later = select(func.min(VALUES.c.version)).where(VALUES.c.config_name_id == _CONFIG_ID)
    return later.where(VALUES.c.version > func.coalesce(newest, 0))


@cache
def without_config(kind: str) -> Statement:
    """Ask for the id of a config that has no name, if there are "version" or "value" rows of one."""
    table = {"version": VERSIONS, "value": VALUES}[kind]
    return select(func.min(table.c.config_name_id)).where(~exists().where(NAMES.c.id == table.c.config_name_id))


@cache
def lines_without_version() -> Statement:
    """Ask for the id of a version that has lines and is not there."""
    return select(func.min(LINES.c.config_id)).where(~exists().where(VERSIONS.c.id == LINES.c.config_id))


@cache
def outcomes() -> Statement:
    """Ask for the outcomes of requests after a caller's id, each with the config that its version is of."""
    place = tuple_(REQUESTS.c.caller, REQUESTS.c.request_id)
    after = tuple_(bindparam("after_caller", type_=Text), bindparam("after_id", type_=Text))
    version_of = REQUESTS.outerjoin(VERSIONS, VERSIONS.c.id == REQUESTS.c.config_id)
    return (
        select(
            REQUESTS.c.caller,
            REQUESTS.c.request_id,
            REQUESTS.c.config_name,
            REQUESTS.c.config_id,
            REQUESTS.c.created,
            NAMES.c.name.label("found"),
        )
        .select_from(version_of.outerjoin(NAMES, NAMES.c.id == VERSIONS.c.config_name_id))
        .where(place > after)
        .order_by(REQUESTS.c.caller, REQUESTS.c.request_id)
        .limit(LIMIT)
    )


def _in_span(statement: Select[*tuple[object, ...]], table: object) -> Statement:
    columns = table.c  # type: ignore[attr-defined]
    return statement.where(columns.config_name_id == _CONFIG_ID, columns.version > LOW, columns.version <= HIGH)
