"""The rows of a large version in a temporary table, and the statement that copies them. Knows none of our tables.

A temporary table belongs to one connection: here the one that writes. So each batch waits for its turn, between the
transactions of others.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection

from lamina_server.store.contract import OvertakenError

OTHERS_SECONDS = 0.001
"""A pause after each batch: else this thread would have its next turn before those that wait wake up."""

_STAGED = "temp.lamina_staged"
_DROP = f"DROP TABLE IF EXISTS {_STAGED}"


class SqliteStaging:
    """A Staging in SQLite.

    turn     lends the writing connection between two transactions
    writing  lends it in a transaction
    """

    is_in_tables = False

    def __init__(
        self,
        turn: Callable[[], AbstractContextManager[sqlite3.Connection]],
        writing: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        self._turn = turn
        self._writing = writing
        self._ended = threading.Event()
        self._is_made = False

    def connection(self) -> AbstractContextManager[Connection]:
        """Refuse: there is no transaction yet."""
        raise NotImplementedError

    def add(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows."""
        del table  # `copy` names it
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with self._turn() as driver, driver:  # in one transaction, which has nothing to do with the file
            driver.execute("BEGIN")
            if not self._is_made:
                driver.execute(_DROP)  # of a version before this one, which could not be dropped
                driver.execute(f"CREATE TABLE {_STAGED} ({names})")
            driver.executemany(f"INSERT INTO {_STAGED} VALUES ({marks})", rows)  # noqa: S608 - our names
        self._is_made = True
        time.sleep(OTHERS_SECONDS)

    def copy(self, connection: Connection, table: str, columns: Sequence[str], same: Mapping[str, Any]) -> int:
        """Copy the rows into their table, in order; return how many they are."""
        names, marks = ", ".join((*same, *columns)), ", ".join((*("?" * len(same)), *columns))
        statement = f"INSERT INTO main.{table} ({names}) SELECT {marks} FROM {_STAGED} ORDER BY rowid"  # noqa: S608 - our names
        return connection.exec_driver_sql(statement, tuple(same.values())).rowcount

    def wait(self) -> None:
        """Wait for the end."""
        self._ended.wait()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend the connection in a transaction."""
        if self._ended.is_set():
            raise OvertakenError
        with self._writing() as connection:
            yield connection

    def end(self) -> None:
        """End the wait."""
        self._ended.set()

    def drop(self) -> None:
        """Drop the table."""
        with self._turn() as driver:
            driver.execute(_DROP)
