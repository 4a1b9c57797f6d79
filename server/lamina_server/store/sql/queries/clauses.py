"""What the statements of a store have in common, beside models/queries.py: parameters and conditions. Pure.

Parameters beside those in models/queries.py:

    numbers              versions
    first_key, end_key   as KeyRange has it
    keys                 texts, as a JSON list
"""

from typing import Any, NamedTuple, Self

from sqlalchemy import BigInteger, ColumnElement, FromClause, Text, bindparam, column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from lamina_server.domain.selection import KeyRange
from lamina_server.models.queries import Conditions

NUMBERS = bindparam("numbers", type_=BigInteger, expanding=True)


class RangeShape(NamedTuple):
    """Which conditions a KeyRange needs. Its texts are parameters; its shape is part of the statement."""

    inclusive: bool
    bounded: bool

    @classmethod
    def of(cls, key_range: KeyRange) -> Self:
        """Return a range's shape."""
        return cls(key_range.inclusive, key_range.high is not None)


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
