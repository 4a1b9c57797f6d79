"""Every question that a store asks of its tables, as statements. Pure; runs none of them.

Made to walk indexes, whatever the planner knows about the tables: no cost grows with a
config's past, but for the versions that were asked for. Parameters, where a statement has
them:

    config               its name
    number               a version
    low, high            the versions in (low, high]
    first_key, end_key   as KeyRange has it
    keys                 texts, as a JSON list
    limit                rows
"""

from functools import cache
from typing import Any, NamedTuple, Self, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from lamina_server.models import ConfigData, ConfigName, ConfigRequest, ConfigValue, ConfigValueAssociation
from lamina_server.store.contract import CHANGED_KEYS_LIMIT
from lamina_server.store.selection import KeyRange

Statement: TypeAlias = Select[*tuple[Any, ...]]
Conditions: TypeAlias = list[ColumnElement[bool]]

NAMES: Any = ConfigName.__table__
VERSIONS: Any = ConfigData.__table__
VALUES: Any = ConfigValue.__table__
LINES: Any = ConfigValueAssociation.__table__
REQUESTS: Any = ConfigRequest.__table__

_IDS = {"id", "config_name_id", "originating_config_id"}
_HEADER = [each for each in VERSIONS.c if each.name not in _IDS]
_VALUE = [each for each in VALUES.c if each.name not in _IDS]

_NUMBER = bindparam("number", type_=BigInteger)
_LOW = bindparam("low", type_=BigInteger)
_HIGH = bindparam("high", type_=BigInteger)
_LIMIT = bindparam("limit", type_=BigInteger)
_NUMBERS = bindparam("numbers", type_=BigInteger, expanding=True)
_KEYFRAME = bindparam("keyframe", type_=BigInteger)

# In each statement rather than remembered: ids are other ones in a restored backup.
_CONFIG = select(NAMES.c.id).where(NAMES.c.name == bindparam("config", type_=Text)).scalar_subquery()


class RangeShape(NamedTuple):
    """Which conditions a KeyRange makes: its text goes into parameters, its shape into the statement."""

    inclusive: bool
    bounded: bool

    @classmethod
    def of(cls, key_range: KeyRange) -> Self:
        """Tell a range's shape."""
        return cls(key_range.inclusive, key_range.high is not None)


# A key in a form that no index has. The versions asked for are to be walked by version: over the index by name, which
# SQLite would take because it has the names in order, a range of versions costs the config's whole past. And COALESCE
# lets an outer join stay one, where a plain comparison would make it an inner join, with its sides in any order.
_KEY = func.coalesce(VALUES.c.name, "")

WHOLE = RangeShape(inclusive=True, bounded=False)


class EachText(FunctionElement[str]):
    """A table with one row for each text of a JSON list: thousands of keys as one parameter."""

    name = "each_text"
    inherit_cache = True


@compiles(EachText, "sqlite")
def _each_text_sqlite(element: EachText, compiler: SQLCompiler, **keywords: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **keywords)})"


@compiles(EachText, "postgresql")
def _each_text_postgresql(element: EachText, compiler: SQLCompiler, **keywords: Any) -> str:
    return f"json_array_elements_text(({compiler.process(element.clauses, **keywords)})::json)"


def _wanted_keys() -> FromClause:
    return EachText(bindparam("keys", type_=Text)).table_valued(column("value", Text), name="wanted")


def _in_range(name: ColumnElement[str], shape: RangeShape) -> Conditions:
    # Not LIKE: it folds case on SQLite, and an index of another collation does not serve it on PostgreSQL.
    first, end = bindparam("first_key", type_=Text), bindparam("end_key", type_=Text)
    from_first = name >= first if shape.inclusive else name > first
    return [from_first, name < end] if shape.bounded else [from_first]


# --- versions ---------------------------------------------------------------------------


@cache
def head() -> Statement:
    """Ask for the newest header."""
    return _headers().order_by(VERSIONS.c.version.desc()).limit(1)


@cache
def headers() -> Statement:
    """Ask for the headers of the versions `numbers`."""
    return _headers().where(VERSIONS.c.version.in_(_NUMBERS))


@cache
def log(*, newest_first: bool) -> Statement:
    """Ask for the headers of low < version < high."""
    version = VERSIONS.c.version
    inside = _headers().where(version > _LOW, version < _HIGH)
    return inside.order_by(version.desc() if newest_first else version).limit(_LIMIT)


@cache
def version_at() -> Statement:
    """Ask for the newest version committed at or before `time_us`, by bisection: commit times rise.

    Worked example: five versions, committed at 10, 20, 30, 40 and 50; asked for 35. The
    rows of `span` are (0, 5); (3, 5), as version 3 is not too late; (3, 3), as version 4
    is. Of a million versions it looks at twenty.
    """
    newest = select(func.coalesce(func.max(VERSIONS.c.version), 0)).where(VERSIONS.c.config_name_id == _CONFIG)
    first = select(literal(0, BigInteger).label("low"), newest.scalar_subquery().label("high"))
    span = first.cte("span", recursive=True)
    middle = and_(
        VERSIONS.c.config_name_id == _CONFIG,
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
    rank = func.row_number().over(partition_by=VALUES.c.version, order_by=VALUES.c.name)
    ranked = (
        select(VALUES.c.version, VALUES.c.name, rank.label("rank"))
        .where(VALUES.c.config_name_id == _CONFIG, VALUES.c.version.in_(_NUMBERS))
        .subquery()
    )
    first = select(ranked.c.version, ranked.c.name).where(ranked.c.rank <= CHANGED_KEYS_LIMIT)
    return first.order_by(ranked.c.version, ranked.c.name)


@cache
def configs(shape: RangeShape) -> Statement:
    """Ask for the configs in a range of names: head's header, name and create_time_us."""
    first, newer = VERSIONS.alias("first"), VERSIONS.alias("newer")
    created = select(first.c.commit_time_us).where(first.c.config_name_id == NAMES.c.id, first.c.version == 1)
    newest = select(func.max(newer.c.version)).where(newer.c.config_name_id == NAMES.c.id).scalar_subquery()
    return (
        select(NAMES.c.name, created.scalar_subquery().label("create_time_us"), *_HEADER)
        .select_from(NAMES)
        .join(VERSIONS, and_(VERSIONS.c.config_name_id == NAMES.c.id, VERSIONS.c.version == newest))
        .where(*_in_range(NAMES.c.name, shape))
        .order_by(NAMES.c.name)
        .limit(_LIMIT)
    )


def _headers() -> Statement:
    return select(*_HEADER).where(VERSIONS.c.config_name_id == _CONFIG)


# --- values -----------------------------------------------------------------------------


@cache
def values() -> Statement:
    """Ask for the values with the ids `ids`, in no order."""
    return select(VALUES.c.id, *_VALUE).where(VALUES.c.id.in_(bindparam("ids", type_=BigInteger, expanding=True)))


@cache
def states() -> Statement:
    """Ask for what `keys` were at version `number`: the newest value of each that is not younger.

    Two index look-ups for each key. The id is found first, because the look-up for the
    newest then ends at its first row on both databases.
    """
    keys, older = _wanted_keys(), VALUES.alias("older")
    newest = (
        select(older.c.id)
        .where(older.c.config_name_id == _CONFIG, older.c.name == keys.c.value, older.c.version <= _NUMBER)
        .order_by(older.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    exists = select(VERSIONS.c.id).where(VERSIONS.c.config_name_id == _CONFIG, VERSIONS.c.version == _NUMBER)
    return select(*_VALUE).select_from(keys.join(VALUES, VALUES.c.id == newest)).where(exists.exists())


@cache
def live(shape: RangeShape) -> Statement:
    """Ask where the entries of version `high` stand: (name, id), in key order.

    They are the lines of the keyframe with the id `keyframe`, overlaid with the values
    that originated in (low, high], `low` being the keyframe's version. Of two values of a
    key the later has the higher id, because ids are given under the write lock. Tombstones
    are among them. Without a keyframe, `keyframe` and `low` are 0.
    """
    # An outer join, so that the lines lead to their values, and it is not each value there is that is looked up.
    associated = (
        select(_KEY.label("name"), VALUES.c.id)
        .select_from(LINES.outerjoin(VALUES, VALUES.c.id == LINES.c.config_value_id))
        .where(LINES.c.config_id == _KEYFRAME, *_in_range(_KEY, shape))
    )
    originated = select(_KEY.label("name"), VALUES.c.id).where(*_originated(), *_in_range(_KEY, shape))
    both = union_all(associated, originated).subquery("both")
    newest = func.max(both.c.id).label("id")
    return select(both.c.name, newest).group_by(both.c.name).order_by(both.c.name).limit(_LIMIT)


@cache
def changed(shape: RangeShape) -> Statement:
    """Ask for the keys in a range that versions in (low, high] changed, in order."""
    names = select(_KEY.label("name")).distinct().where(*_originated(), *_in_range(_KEY, shape))
    return names.order_by(_KEY).limit(_LIMIT)


@cache
def changed_among() -> Statement:
    """Ask which of `keys` versions in (low, high] changed, in no order."""
    keys = _wanted_keys()
    one = select(VALUES.c.version).where(*_originated(), VALUES.c.name == keys.c.value).limit(1)
    return select(keys.c.value.label("name")).where(one.scalar_subquery().is_not(None))


@cache
def changes(shape: RangeShape) -> Statement:
    """Ask where the changes of keys in a range stand: (version, name, id), in order of version and name.

    They follow (after_version, after_key), and their versions go up to `high`.
    """
    return _changes().where(*_in_range(_KEY, shape))


@cache
def changes_among() -> Statement:
    """Ask the same of the keys `keys`: it costs what they changed, not what the config did."""
    keys = _wanted_keys()
    return _changes().join(keys, VALUES.c.name == keys.c.value)


@cache
def key_history(*, newest_first: bool) -> Statement:
    """Ask for the values of key `key` in low < version < high, each with what its version's header says.

    Compared and ordered by (name, version), which only the index by name can do: the one
    by version would serve just as well in the eyes of a planner that knows nothing yet.
    """
    name, version = VALUES.c.name, VALUES.c.version
    place, key = tuple_(name, version), bindparam("key", type_=Text)
    its_version = and_(VERSIONS.c.config_name_id == VALUES.c.config_name_id, VERSIONS.c.version == version)
    return (
        select(*_VALUE, VERSIONS.c.author, VERSIONS.c.message, VERSIONS.c.commit_time_us)
        .select_from(VALUES)
        .join(VERSIONS, its_version)
        .where(VALUES.c.config_name_id == _CONFIG, place > tuple_(key, _LOW), place < tuple_(key, _HIGH))
        .order_by(*((name.desc(), version.desc()) if newest_first else (name, version)))
        .limit(_LIMIT)
    )


def _changes() -> Statement:
    after_version = bindparam("after_version", type_=BigInteger)
    version, name = VALUES.c.version, VALUES.c.name
    # `version >= …` says the same again, in a form that an index can begin at.
    return (
        select(version, name, VALUES.c.id)
        .where(VALUES.c.config_name_id == _CONFIG, version >= after_version, version <= _HIGH)
        .where(or_(version > after_version, bindparam("after_key", type_=Text) < _KEY))
        .order_by(version, name)
        .limit(_LIMIT)
    )


def _originated() -> Conditions:
    return [VALUES.c.config_name_id == _CONFIG, VALUES.c.version > _LOW, VALUES.c.version <= _HIGH]


# --- keyframes --------------------------------------------------------------------------


@cache
def target() -> Statement:
    """Ask for the version that a keyframe would be written at: the head's (id, version, key_count)."""
    newest = select(VERSIONS.c.id, VERSIONS.c.version, VERSIONS.c.key_count)
    return newest.where(VERSIONS.c.config_name_id == _CONFIG).order_by(VERSIONS.c.version.desc()).limit(1)


@cache
def keyframe() -> Statement:
    """Ask for the newest version up to `number` that has lines: (id, version, key_count).

    It walks back over the versions since; a keyframe is written before there are many more
    of those than keys. A subquery with LIMIT, as EXISTS might be planned as a join of all.
    """
    line = select(LINES.c.config_id).where(LINES.c.config_id == VERSIONS.c.id).limit(1).scalar_subquery()
    return (
        select(VERSIONS.c.id, VERSIONS.c.version, VERSIONS.c.key_count)
        .where(VERSIONS.c.config_name_id == _CONFIG, VERSIONS.c.version <= _NUMBER, line.is_not(None))
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
        .where(older.c.config_name_id == _CONFIG, older.c.name == VALUES.c.name, older.c.version <= _NUMBER)
        .correlate(VALUES)
        .scalar_subquery()
    )
    right = and_(VALUES.c.config_name_id == _CONFIG, VALUES.c.deleted.is_(False), VALUES.c.version == newest)
    return (
        select(func.count().label("lines"), func.count(case((right, 1))).label("right"))
        .select_from(LINES.outerjoin(VALUES, VALUES.c.id == LINES.c.config_value_id))
        .where(LINES.c.config_id == _KEYFRAME)
    )


@cache
def lines_to_write() -> Statement:
    """Ask for the lines of a keyframe at the version with the id `target` and the number `high`.

    In order of ids, so that two servers writing the same lines wait for each other at the
    first and not crosswise.
    """
    newest = live(WHOLE).order_by(None).limit(None).subquery("newest")
    target = cast(bindparam("target", type_=BigInteger), BigInteger).label("config_id")
    lines = select(target, VALUES.c.id).join(newest, newest.c.id == VALUES.c.id)
    return lines.where(VALUES.c.deleted.is_(False)).order_by(VALUES.c.id)


@cache
def originated_count() -> Statement:
    """Count the values that originated after version `low`."""
    return select(func.count()).where(VALUES.c.config_name_id == _CONFIG, VALUES.c.version > _LOW)


# --- writes -----------------------------------------------------------------------------


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
            *_HEADER,
        )
        .select_from(REQUESTS)
        .outerjoin(VERSIONS, VERSIONS.c.id == REQUESTS.c.config_id)
        .where(REQUESTS.c.caller == bindparam("caller", type_=Text))
        .where(REQUESTS.c.request_id == bindparam("request_id", type_=Text))
    )


@cache
def heads() -> Statement:
    """Ask for the id and the head's number of the configs `names`, as far as they exist."""
    newest = select(func.max(VERSIONS.c.version)).where(VERSIONS.c.config_name_id == NAMES.c.id).scalar_subquery()
    names = bindparam("names", type_=Text, expanding=True)
    return select(NAMES.c.name, NAMES.c.id, newest.label("head")).where(NAMES.c.name.in_(names))
