"""A database whose operations are timed. Knows no table.

begin   to get a connection and the write lock
select  one SELECT
insert  INSERTs that are run together; on PostgreSQL the last ones of a block go with the commit
commit  the end of a writing block, until the database has confirmed it
trial   one part of the question whether commits are possible
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from types import TracebackType
from typing import Any, TypeAlias, cast

from sqlalchemy import Connection

from lamina_server.store.sql.beginning import Beginning
from lamina_server.store.sql.database import Database

Measure: TypeAlias = Callable[[str], Callable[[float], None]]
"""Returns what takes the seconds of an operation, by its name. Any thread calls both."""


def measured(database: Database, measure: Measure) -> Database:
    """Return a database that does the same, and whose operations are timed. What fails is not timed."""
    return cast("Database", _MeasuredDatabase(database, measure))  # it has no line for what it does not time


class _MeasuredDatabase:
    """Delegates to another database."""

    def __init__(self, database: Database, measure: Measure) -> None:
        self._database = database
        self._measure = cache(measure)
        # At hand: each commit asks for them.
        self.is_shared, self.reading, self.insert = database.is_shared, database.reading, database.insert

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def writing(self, beginning: Beginning | None = None) -> AbstractContextManager[Connection]:
        """Lend the connection with the write lock."""
        return _Writing(self._database.writing(beginning), self._measure("begin"), self._measure("commit"))

    def statement(self, operation: str = "select") -> AbstractContextManager[None]:
        """Return the context of one statement."""
        return _Statement(self._database.statement(operation), self._measure(operation))


class _Writing:
    __slots__ = ("_begin", "_commit", "_inner")

    def __init__(
        self,
        inner: AbstractContextManager[Connection],
        begin: Callable[[float], None],
        commit: Callable[[float], None],
    ) -> None:
        self._inner = inner
        self._begin = begin
        self._commit = commit

    def __enter__(self) -> Connection:
        asked = time.perf_counter()
        connection = self._inner.__enter__()
        self._begin(time.perf_counter() - asked)
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        ending = time.perf_counter()
        is_handled = self._inner.__exit__(kind, error, traceback)
        if kind is None:
            self._commit(time.perf_counter() - ending)
        return is_handled


class _Statement:
    __slots__ = ("_began", "_inner", "_measure")

    def __init__(self, inner: AbstractContextManager[None], measure: Callable[[float], None]) -> None:
        self._inner = inner
        self._measure = measure

    def __enter__(self) -> None:
        self._began = time.perf_counter()
        self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if kind is None:
            self._measure(time.perf_counter() - self._began)
        return self._inner.__exit__(kind, error, traceback)
