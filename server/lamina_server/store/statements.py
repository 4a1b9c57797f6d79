"""A statement as a database's own text, compiled once. Knows no table.

SQLAlchemy writes each statement for its dialect; what it does around each execution costs
more than most of ours take to run. So the text is kept, and handed to the driver with
parameters and rows as the driver has them: our columns hold nothing that would need to be
turned into something else (a boolean comes back from SQLite as 0 or 1).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, Executable, Insert, Select

from lamina_server.store.database import Rows

Parameters: TypeAlias = Mapping[str, Any]

_KEPT_STATEMENTS = 512
"""More than there are, for the two databases."""


class Prepared:
    """A statement's text, and the order in which its parameters go into it."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        assert isinstance(statement, Insert | Select)
        compiled = statement.compile(dialect=dialect)
        # How many parameters there are is not known before they are there: SQLAlchemy's business.
        self._open = statement if any(each.expanding for each in compiled.binds.values()) else None
        self._text = compiled.string
        self._order: list[str] | None = compiled.positiontup if compiled.positional else None
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def ask(self, connection: Connection, parameters: Parameters) -> Rows:
        """Run a SELECT, and return all its rows."""
        if self._open is not None:
            return connection.execute(self._open, parameters).all()
        return connection.exec_driver_sql(self._text, self._bind(parameters)).all()

    def insert(self, connection: Connection, rows: Iterable[Parameters]) -> None:
        """Run an INSERT once for each row; there must be one."""
        connection.exec_driver_sql(self._text, [self._bind(row) for row in rows])

    def _bind(self, parameters: Parameters) -> Any:
        if self._fixed:
            parameters = {**self._fixed, **parameters}
        if self._order is None:
            return parameters
        return tuple([parameters[name] for name in self._order])


@lru_cache(_KEPT_STATEMENTS)
def prepared(statement: Executable, dialect: Dialect) -> Prepared:
    """Compile a statement, which must be made once and kept, for a dialect."""
    return Prepared(statement, dialect)
