"""The statements of readers and writers. Pure; runs none of them.

They are made to walk indexes, whatever the planner knows about the tables. So no cost grows
with a config's past; it grows with the versions that are asked for. The parameters are
explained in clauses.py.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from lamina_server.domain.records import CHANGED_KEYS_LIMIT
from lamina_server.models.queries import (
    CONFIG,
    HEADER,
    HIGH,
    KEY,
    LIMIT,
    LOW,
    NUMBER,
    Conditions,
    Statement,
    originated,
)
from lamina_server.models.tables import CUTS, NAMES, POINTS, REQUESTS, SECRET_KEYS, VALUES, VERSIONS
from lamina_server.store.sql.queries.clauses import NUMBERS, RangeShape, in_range, wanted_keys

_VALUE = [each for each in VALUES.c if each.name not in {"id", "config_name_id", "originating_config_id"}]


# --- versions ---------------------------------------------------------------------------


@cache
def headers() -> Statement:
    """Ask for the headers of the versions `numbers`."""
    return _headers().where(VERSIONS.c.version.in_(NUMBERS))


@cache
def header() -> Statement:
    """Ask for the header of the version `number`."""
    return _headers().where(VERSIONS.c.version == NUMBER)


@cache
def log(*, newest_first: bool) -> Statement:
    """Ask for the headers of low < version < high."""
    version = VERSIONS.c.version
    inside = _headers().where(version > LOW, version < HIGH)
    return inside.order_by(version.desc() if newest_first else version).limit(LIMIT)


@cache
def newest_commit_time() -> Statement:
    """Ask for the commit time of the version that was written last.

    Ids rise in the order of commits. A large version took its id some seconds before its commit, and so its time.
    """
    last = select(func.max(VERSIONS.c.id)).scalar_subquery()
    return select(VERSIONS.c.commit_time_us).where(VERSIONS.c.id == last)


@cache
def version_at() -> Statement:
    """Ask for the newest version committed at or before `time_us`, by bisection: commit times rise.

    Worked example: five versions, committed at 10, 20, 30, 40 and 50; asked for 35. The
    rows of `span` are (0, 5); (3, 5), as version 3 is not too late; (3, 3), as version 4
    is. Of a million versions it looks at twenty.
    """
    newest = select(func.coalesce(func.max(VERSIONS.c.version), 0)).where(VERSIONS.c.config_name_id == CONFIG)
    first = select(literal(0, BigInteger).label("low"), newest.scalar_subquery().label("high"))
    span = first.cte("span", recursive=True)
    middle = and_(
        VERSIONS.c.config_name_id == CONFIG,
        VERSIONS.c.version == (span.c.low + span.c.high + 1) // 2,
    )
    in_time = VERSIONS.c.commit_time_us <= bindparam("time_us", type_=BigInteger)
    halves = (
        select(
            case((in_time, VERSIONS.c.version), else_=span.c.low),
            case((in_time, span.c.high), else_=VERSIONS.c.version - 1),
        )
        .select_from(span.join(VERSIONS, middle))
        .where(span.c.low < span.c.high)
    )
    halved = span.union_all(halves)
    return select(func.max(halved.c.low))


@cache
def changed_keys() -> Statement:
    """Ask for the first keys that each of the versions `numbers` changed: (version, name), in order."""
    both = _all_changes(lambda version: version.in_(NUMBERS))
    rank = func.row_number().over(partition_by=both.c.version, order_by=both.c.name)
    ranked = select(both.c.version, both.c.name, rank.label("rank")).subquery()
    first = select(ranked.c.version, ranked.c.name).where(ranked.c.rank <= CHANGED_KEYS_LIMIT)
    return first.order_by(ranked.c.version, ranked.c.name)


@cache
def changed_keys_of_one() -> Statement:
    """Ask for the first keys that the version `number` changed: (version, name), in order.

    The condition is a range of one version. For an equality SQLite prefers the index that has the names in it, and
    walks the config's whole past.
    """
    both = _all_changes(lambda version: and_(version >= NUMBER, version <= NUMBER))
    return select(both.c.version, both.c.name).order_by(both.c.name).limit(CHANGED_KEYS_LIMIT)


def _all_changes(is_wanted: Callable[[ColumnElement[int]], ColumnElement[bool]]) -> Subquery:
    """Select the changes of some versions, compacted or not: (version, name).

    The names are in a form that no index has: see KEY.
    """
    kept, left = VALUES.c, POINTS.c
    changes = select(kept.version, KEY.label("name")).where(kept.config_name_id == CONFIG, is_wanted(kept.version))
    points = select(left.version, func.coalesce(left.name, "").label("name"))
    return union_all(changes, points.where(left.config_name_id == CONFIG, is_wanted(left.version))).subquery("both")


@cache
def configs(shape: RangeShape) -> Statement:
    """Ask for the configs in a range of names: head's header, name, create_time_us and oldest."""
    first, newer = VERSIONS.alias("first"), VERSIONS.alias("newer")
    created = select(first.c.commit_time_us).where(first.c.config_name_id == NAMES.c.id, first.c.version == 1)
    newest = select(func.max(newer.c.version)).where(newer.c.config_name_id == NAMES.c.id).scalar_subquery()
    return (
        select(NAMES.c.name, created.scalar_subquery().label("create_time_us"), _oldest(), *HEADER)
        .select_from(NAMES)
        .join(VERSIONS, and_(VERSIONS.c.config_name_id == NAMES.c.id, VERSIONS.c.version == newest))
        .where(*in_range(NAMES.c.name, shape))
        .order_by(NAMES.c.name)
        .limit(LIMIT)
    )


def _oldest() -> ColumnElement[int]:
    """Return the oldest version of a config whose map can be read, as a column of NAMES."""
    newest = select(func.max(CUTS.c.version)).where(CUTS.c.config_name_id == NAMES.c.id).scalar_subquery()
    return func.coalesce(newest, 1).label("oldest")


def _headers() -> Statement:
    return select(*HEADER).where(VERSIONS.c.config_name_id == CONFIG)


# --- values -----------------------------------------------------------------------------


@cache
def values() -> Statement:
    """Ask for the values with the ids `ids`, in no order."""
    return select(VALUES.c.id, *_VALUE).where(VALUES.c.id.in_(bindparam("ids", type_=BigInteger, expanding=True)))


@cache
def states() -> Statement:
    """Ask for what `keys` were at version `number`: the newest value of each that is not younger.

    It costs two index look-ups for each key. The id is looked up first: on both databases
    that look-up then ends at its first row.
    """
    keys, older = wanted_keys(), VALUES.alias("older")
    newest = (
        select(older.c.id)
        .where(older.c.config_name_id == CONFIG, older.c.name == keys.c.value, older.c.version <= NUMBER)
        .order_by(older.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    exists = select(VERSIONS.c.id).where(VERSIONS.c.config_name_id == CONFIG, VERSIONS.c.version == NUMBER)
    return select(*_VALUE).select_from(keys.join(VALUES, VALUES.c.id == newest)).where(exists.exists())


@cache
def changed(shape: RangeShape) -> Statement:
    """Ask for the keys in a range that versions in (low, high] changed, in order."""
    names = select(KEY.label("name")).distinct().where(*originated(), *in_range(KEY, shape))
    return names.order_by(KEY).limit(LIMIT)


@cache
def changed_among() -> Statement:
    """Ask which of `keys` versions in (low, high] changed, in no order."""
    keys = wanted_keys()
    one = select(VALUES.c.version).where(*originated(), VALUES.c.name == keys.c.value).limit(1)
    return select(keys.c.value.label("name")).where(one.scalar_subquery().is_not(None))


@cache
def changes(shape: RangeShape) -> Statement:
    """Ask where the changes of keys in a range stand: (version, name, id), in order of version and name.

    They follow (after_version, after_key), and their versions go up to `high`.
    """
    return _changes().where(*in_range(KEY, shape))


@cache
def changes_among() -> Statement:
    """Ask the same of the keys `keys`. The cost grows with the changes of these keys, not of the whole config."""
    keys = wanted_keys()
    return _changes().join(keys, VALUES.c.name == keys.c.value)


@cache
def changed_values() -> Statement:
    """Ask for the changes of all keys, with their values."""
    return _changes(*_VALUE)


@cache
def key_history(*, newest_first: bool) -> Statement:
    """Ask for the values of key `key` in low < version < high, each with what its version's header says.

    Rows are compared and ordered by (name, version), which only the index by name can do.
    A planner without statistics might otherwise choose the index by version.
    """
    name, version = VALUES.c.name, VALUES.c.version
    place, key = tuple_(name, version), bindparam("key", type_=Text)
    its_version = and_(VERSIONS.c.config_name_id == VALUES.c.config_name_id, VERSIONS.c.version == version)
    return (
        select(*_VALUE, VERSIONS.c.author, VERSIONS.c.message, VERSIONS.c.commit_time_us)
        .select_from(VALUES)
        .join(VERSIONS, its_version)
        .where(VALUES.c.config_name_id == CONFIG, place > tuple_(key, LOW), place < tuple_(key, HIGH))
        .order_by(*((name.desc(), version.desc()) if newest_first else (name, version)))
        .limit(LIMIT)
    )


@cache
def compacted_key_history(*, newest_first: bool) -> Statement:
    """Ask for what is left of the changes of key `key`, in the same form: (version, deleted, digest), and its header.

    As in key_history, rows are compared and ordered by (name, version).
    """
    name, version = POINTS.c.name, POINTS.c.version
    place, key = tuple_(name, version), bindparam("key", type_=Text)
    its_version = and_(VERSIONS.c.config_name_id == POINTS.c.config_name_id, VERSIONS.c.version == version)
    header = (VERSIONS.c.author, VERSIONS.c.message, VERSIONS.c.commit_time_us)
    return (
        select(version, name, POINTS.c.deleted, POINTS.c.digest, *header)
        .select_from(POINTS)
        .join(VERSIONS, its_version)
        .where(POINTS.c.config_name_id == CONFIG, place > tuple_(key, LOW), place < tuple_(key, HIGH))
        .order_by(*((name.desc(), version.desc()) if newest_first else (name, version)))
        .limit(LIMIT)
    )


def _changes(*columns: ColumnElement[Any]) -> Statement:
    after_version = bindparam("after_version", type_=BigInteger)
    version, name = VALUES.c.version, VALUES.c.name
    # `version >= …` is implied by the rest, but it tells the index where to begin.
    return (
        select(*(columns or (version, name, VALUES.c.id)))
        .where(VALUES.c.config_name_id == CONFIG, version >= after_version, version <= HIGH)
        .where(or_(version > after_version, bindparam("after_key", type_=Text) < KEY))
        .order_by(version, name)
        .limit(LIMIT)
    )


# --- writes -----------------------------------------------------------------------------


@cache
def known_requests() -> Statement:
    """Ask which of the request ids `keys` of `caller` have an outcome; usually hardly any.

    Each has a subquery, which no planner turns into a join with all requests of the caller.
    """
    wanted = wanted_keys()
    one = select(REQUESTS.c.digest).where(*_request(wanted.c.value)).limit(1).scalar_subquery()
    return select(wanted.c.value.label("request_id")).where(one.is_not(None))


@cache
def reply() -> Statement:
    """Ask for the outcome of `request_id` of `caller`, with its version's header where there is one."""
    return (
        select(
            REQUESTS.c.digest,
            REQUESTS.c.config_name,
            REQUESTS.c.config_id,
            REQUESTS.c.created,
            REQUESTS.c.merged,
            *HEADER,
        )
        .select_from(REQUESTS)
        .outerjoin(VERSIONS, VERSIONS.c.id == REQUESTS.c.config_id)
        .where(*_request(bindparam("request_id", type_=Text)))
    )


def _request(request_id: ColumnElement[str]) -> Conditions:
    return [REQUESTS.c.caller == bindparam("caller", type_=Text), REQUESTS.c.request_id == request_id]


@cache
def heads() -> Statement:
    """Ask for the id, the head (version, hash) and the oldest version of those of the configs `keys` that exist."""
    wanted, newer = wanted_keys(), VERSIONS.alias("newer")
    newest = select(func.max(newer.c.version)).where(newer.c.config_name_id == NAMES.c.id).scalar_subquery()
    return (
        select(NAMES.c.name, NAMES.c.id, VERSIONS.c.version, VERSIONS.c.hash, _oldest())
        .select_from(wanted.join(NAMES, NAMES.c.name == wanted.c.value))
        .join(VERSIONS, and_(VERSIONS.c.config_name_id == NAMES.c.id, VERSIONS.c.version == newest))
    )


# --- secrets ----------------------------------------------------------------------------


@cache
def secret_keys() -> Statement:
    """Ask for all data keys in the order of their adding."""
    return select(SECRET_KEYS).order_by(SECRET_KEYS.c.id)
