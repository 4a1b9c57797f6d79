"""What the statements of a store have in common: tables, parameters and conditions. Pure.

The parameters of a statement are among these:

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

# Each statement looks the id up, because a restored backup may have other ids.
CONFIG = select(NAMES.c.id).where(NAMES.c.name == bindparam("config", type_=Text)).scalar_subquery()


class RangeShape(NamedTuple):
    """Which conditions a KeyRange needs. Its texts are parameters; its shape is part of the statement."""

    inclusive: bool
    bounded: bool

    @classmethod
    def of(cls, key_range: KeyRange) -> Self:
        """Return a range's shape."""
        return cls(key_range.inclusive, key_range.high is not None)


# A key in a form that no index has, so that a range of versions is read by the index by version. SQLite would take the
# index by name, because it has the names in order, and walk the config's whole past. COALESCE also keeps an outer join:
# a plain comparison would make it an inner join, whose sides the planner may swap.
KEY = func.coalesce(VALUES.c.name, "")

WHOLE = RangeShape(inclusive=True, bounded=False)


class EachText(FunctionElement[str]):
    """A table with one row for each item of a JSON list, so that one parameter may hold thousands of texts."""

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
    """Return the conditions that a name is in a range of keys.

    Not by LIKE, which ignores case on SQLite, and which on PostgreSQL only some indexes serve.
    """
    first, end = bindparam("first_key", type_=Text), bindparam("end_key", type_=Text)
    from_first = name >= first if shape.inclusive else name > first
    return [from_first, name < end] if shape.bounded else [from_first]


def originated() -> Conditions:
    """Return the conditions that a value originated in the versions (low, high] of a config."""
    return [VALUES.c.config_name_id == CONFIG, VALUES.c.version > LOW, VALUES.c.version <= HIGH]
