"""What the statements of a store are made of: tables, parameters, and conditions. Pure.

Parameters, where a statement has them:

    config               its name
    number               a version
    low, high            the versions in (low, high]
    first_key, end_key   as KeyRange has it
    keys                 texts, as a JSON list
    limit                rows
"""

from typing import Any, NamedTuple, Self, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, FromClause, Select, Text, bindparam, column, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from lamina_server.domain.selection import KeyRange
from lamina_server.models.tables import NAMES, VALUES

Statement: TypeAlias = Select[*tuple[Any, ...]]
Conditions: TypeAlias = list[ColumnElement[bool]]

NUMBER = bindparam("number", type_=BigInteger)
LOW = bindparam("low", type_=BigInteger)
HIGH = bindparam("high", type_=BigInteger)
LIMIT = bindparam("limit", type_=BigInteger)
NUMBERS = bindparam("numbers", type_=BigInteger, expanding=True)
KEYFRAME = bindparam("keyframe", type_=BigInteger)

# In each statement rather than remembered: ids are other ones in a restored backup.
CONFIG = select(NAMES.c.id).where(NAMES.c.name == bindparam("config", type_=Text)).scalar_subquery()


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
KEY = func.coalesce(VALUES.c.name, "")

WHOLE = RangeShape(inclusive=True, bounded=False)


class EachText(FunctionElement[str]):
    """A table with one row for each item of a JSON list: thousands of them as one parameter."""

    name = "each_text"
    inherit_cache = True


@compiles(EachText, "sqlite")
def _each_text_sqlite(element: EachText, compiler: SQLCompiler, **keywords: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **keywords)})"


@compiles(EachText, "postgresql")
def _each_text_postgresql(element: EachText, compiler: SQLCompiler, **keywords: Any) -> str:
    return f"json_array_elements_text(({compiler.process(element.clauses, **keywords)})::json)"


def wanted_keys() -> FromClause:
    """Return the parameter `keys` as a table with the column `value`."""
    return EachText(bindparam("keys", type_=Text)).table_valued(column("value", Text), name="wanted")


def in_range(name: ColumnElement[str], shape: RangeShape) -> Conditions:
    """Hold a name to a range of keys.

    Not by LIKE: that folds case on SQLite, and on PostgreSQL only some indexes serve it.
    """
    first, end = bindparam("first_key", type_=Text), bindparam("end_key", type_=Text)
    from_first = name >= first if shape.inclusive else name > first
    return [from_first, name < end] if shape.bounded else [from_first]


def originated() -> Conditions:
    """Hold a value to the versions in (low, high] of a config."""
    return [VALUES.c.config_name_id == CONFIG, VALUES.c.version > LOW, VALUES.c.version <= HIGH]
