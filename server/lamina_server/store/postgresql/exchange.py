"""Statements that go to the server at once, and whose answers come together: one round trip. Knows no table.

The driver has a pipeline of its own, which sends each statement as soon as it has it, and the Sync at its end. A
server that is stopped between the two would keep its transaction, and its locks, for as long as it is stopped: a
backend that waits for the rest of a pipeline has no timeout. Here nothing is sent before `run`, which gives all of it
to libpq at once, with the Sync. What is shorter than 8 KiB, as the question with the lock is, goes out with one system
call; of the rest, libpq sends each 8 KiB when it has them, some microseconds before the end.

The server runs the statements in order. READ COMMITTED gives each one its own snapshot, made after the one before it
has ended. After an error it runs nothing more up to the Sync, so a COMMIT behind a failed INSERT does not happen.

Each statement is prepared once for each connection. The driver must not prepare any of its own there: after a rollback
it would deallocate ours, too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import Diagnostic, error_from_result
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import Connection

_TEXT, _BINARY = 0, 1
_Encoding: TypeAlias = tuple[Callable[[Any], bytes | None], int]
_ENCODINGS: Mapping[type, _Encoding] = {
    str: (str.encode, _BINARY),  # as text, it would end at a NUL
    bytes: (bytes, _BINARY),
    bool: (lambda value: b"t" if value else b"f", _TEXT),
    int: (lambda value: b"%d" % value, _TEXT),
    float: (lambda value: repr(value).encode(), _TEXT),
    type(None): (lambda _: None, _TEXT),
}
"""How each type of parameter is sent. The server knows from the statement what type it needs."""

Warned: TypeAlias = tuple[str | None, str | None]
"""The severity of a message, in English, and its SQLSTATE. Its text depends on lc_messages."""

_DONE = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}
_REPLANNED = {"0A000", "26000"}
"""SQLSTATEs of a prepared statement that is gone, or that no longer fits its tables."""

_KEY = "lamina exchange"


class _Queued(NamedTuple):
    text: str
    values: Sequence[bytes | None]
    formats: Sequence[int]


@dataclass(slots=True)
class _Step:
    """What the server does at a time: it prepares a statement, or runs it."""

    text: str
    prepares: bool = False
    result: PGresult | None = None

    @property
    def is_done(self) -> bool:
        return self.result is not None and self.result.status in _DONE


class Exchange:
    """What is to be sent over one connection.

    refused   the text of the statement that the server has refused, in the last `run`; None if it has refused none, or
              if nobody knows what it did
    warnings  what the server has said, without an error, while it ran the last statement of the last `run`
    size      how many bytes wait for the next `run`, about
    """

    def __init__(self, driver: "psycopg.Connection[Any]") -> None:
        self._driver = driver
        self._queued: list[_Queued] = []
        self._names: dict[str, bytes] = {}
        self._names_made = 0
        self.refused: str | None = None
        self.warnings: list[Warned] = []
        self.size = 0

    @classmethod
    def of(cls, connection: Connection) -> "Exchange":
        """Return the exchange of a connection, which it keeps for as long as it is open."""
        found = connection.info.get(_KEY)
        if found is None:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            assert driver.prepare_threshold is None
            found = connection.info[_KEY] = cls(driver)
        assert isinstance(found, cls)
        return found

    def add(self, text: str, parameters: Sequence[Any] = ()) -> None:
        """Add a statement, with its parameters as $1, $2 and so on."""
        values, formats = [], []
        for each in parameters:
            encode, how = _ENCODINGS.get(type(each)) or _encoding_of(each)
            values.append(encode(each))
            formats.append(how)
        self._queued.append(_Queued(text, values, formats))
        self.size += len(text) + sum(map(len, filter(None, values)))

    def clear(self) -> None:
        """Forget what was added and not sent."""
        self._queued = []
        self.size = 0

    def run(self) -> "list[Answer]":
        """Send what was added, and return the answer to each statement.

        Raises psycopg.Error: that of the statement in `refused`, or else of the connection, which is closed then.
        """
        queued = self._queued
        self.clear()
        self.refused = None
        steps: list[_Step] = []
        connection = self._driver.pgconn
        try:
            connection.enter_pipeline_mode()
            self._put(queued, steps)
            with self._listening():
                self._driver.wait(self._communicate(steps))
            connection.exit_pipeline_mode()
        except BaseException as error:
            self._driver.close()  # nobody knows which answers are still to come
            if isinstance(error, psycopg.Error):
                self._raise_refusal(steps, error)
            raise
        self._raise_refusal(steps)
        return [Answer(self._driver, step.result) for step in steps if step.result and not step.prepares]

    def _put(self, queued: Sequence[_Queued], steps: list[_Step]) -> None:
        """Give statements to libpq, and the Sync behind them."""
        connection = self._driver.pgconn
        for text, values, formats in queued:
            name = self._names.get(text)
            if name is None:
                self._names_made += 1
                name = self._names[text] = b"lamina_%d" % self._names_made
                connection.send_prepare(name, text.encode())
                steps.append(_Step(text, prepares=True))
            connection.send_query_prepared(name, values, formats, result_format=_BINARY)
            steps.append(_Step(text))
        connection.pipeline_sync()

    def _communicate(self, steps: Sequence[_Step]) -> PQGen[None]:
        """Send everything, and receive the result of each step."""
        connection = self._driver.pgconn
        yield from generators.send(connection)
        for step in steps:
            self.warnings.clear()
            step.result = _only(connection, (yield from generators.fetch_many(connection)))
        _only(connection, (yield from generators.fetch_many(connection)))  # the answer to the Sync

    def _raise_refusal(self, steps: Sequence[_Step], cause: BaseException | None = None) -> None:
        """Raise the first error that the server itself has told."""
        refused = [step for step in steps if not step.is_done]
        for step in refused:
            if step.prepares:
                self._names.pop(step.text, None)
        first = next((step for step in refused if step.result), None)
        if first is None or first.result is None:
            return
        error = error_from_result(first.result)
        if error.sqlstate is None:  # libpq's own words: the connection was lost
            return
        self.refused = first.text
        if error.sqlstate in _REPLANNED:
            self._names.clear()
        raise error from cause

    @contextmanager
    def _listening(self) -> Iterator[None]:
        def note(message: Diagnostic) -> None:  # which is gone afterwards
            self.warnings.append((message.severity_nonlocalized, message.sqlstate))

        self._driver.add_notice_handler(note)
        try:
            yield
        finally:
            self._driver.remove_notice_handler(note)


class Answer:
    """The answer to one statement."""

    def __init__(self, driver: "psycopg.Connection[Any]", result: PGresult) -> None:
        self._driver = driver
        self._result = result

    @property
    def command(self) -> str:
        """What was done, in the server's words."""
        return (self._result.command_status or b"").decode()

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        transformer = Transformer(self._driver)
        transformer.set_pgresult(self._result)
        return transformer.load_rows(0, self._result.ntuples, tuple)


def _encoding_of(parameter: Any) -> _Encoding:
    """Return how a parameter of a type that is derived from one of ours is sent."""
    return next(encoding for kind, encoding in _ENCODINGS.items() if isinstance(parameter, kind))


def _only(connection: PGconn, results: Sequence[PGresult]) -> PGresult:
    if not results:
        raise psycopg.OperationalError("the connection was lost", pgconn=connection)
    return results[0]
