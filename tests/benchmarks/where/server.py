"""A server that times the stages of its commits: `python -m tests.benchmarks.where.server DATABASE OUTPUT`.

It is the real application. Public functions are wrapped before it is made, so it has no probes of its own.

SIGUSR1  forget what was measured so far
SIGUSR2  stop measuring, and count calls and SQL statements instead
SIGTERM  write all of it to OUTPUT, as JSON
"""

import asyncio
import gc
import itertools
import json
import signal
import sqlite3
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool

from lamina_server import app
from lamina_server.access.authentication import Authentication
from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cache.heads import Heads
from lamina_server.cli.serve import COLLECTED_AFTER_OBJECTS
from lamina_server.commits import committer, writer
from lamina_server.commits.group import Group, GroupResult
from lamina_server.commits.keyframes import KeyframeScheduler
from lamina_server.commits.proposals import Proposals
from lamina_server.feed.feed import Feed
from lamina_server.feed.news import News
from lamina_server.rpc.handlers import ServiceHandler
from lamina_server.settings import Settings
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.sql.writing import SqlWriting
from lamina_server.store.sqlite.database import SqliteDatabase
from lamina_server.store.sqlite.open_files import OpenFiles
from lamina_server.wire import encode, parse
from tests.benchmarks.where.stages import Stages, Took

HANDLER, TO_WRITER, FROM_WRITER = "the whole handler", "to the writer", "back to the event loop"
FINISH, BEGIN, TRANSACTION, END, COMMIT = "finish a group", "begin", "the whole transaction", "end", "COMMIT"
HEARD = "heard signal {}."
"""Logged when a signal has had its effect; the first one is 1."""
LOOP_THREAD, WRITER_THREAD = "MainThread", "writer"

_WRAPPED: tuple[tuple[Any, str, str], ...] = (
    (Authentication, "caller", "caller"),
    (parse, "commit", "parse"),
    (Proposals, "add", "proposal"),
    (Proposals, "settle", "settle proposals"),
    (EncodedChanges, "of", "encode"),
    (Heads, "freeze", "freeze heads"),
    (Heads, "advance", "advance heads"),
    (Feed, "check_head", "check the feed's head"),
    (Feed, "append", "feed"),
    (News, "committed", "news"),
    (KeyframeScheduler, "committed", "keyframes"),
    (encode, "commit_response", "reply"),
    (OpenFiles, "changed", "look at the file"),
    (SqlWriting, "head_marks", "heads"),
    (SqlWriting, "replies", "request ids"),
    (writer, "hold", "check proposals"),
    (SqlWriting, "finish", "give ids"),
    (SqliteDatabase, "insert", "make and INSERT rows"),
    (DefaultDialect, "do_commit", COMMIT),
    (OpenFiles, "endangered", "confirm the file"),
)


class Meter:
    """What is measured in this process."""

    def __init__(self) -> None:
        self.stages = Stages()
        self._connections: list[sqlite3.Connection] = []
        self._statements: Counter[str] = Counter()
        self._last_statement = ""
        self._calls = 0
        self._handed_at = self._left_at = 0
        self._cpu_before: Mapping[str, float] = {}
        self._measured: dict[str, Any] = {}

    def wrap(self) -> None:
        """Wrap the functions of all stages, and what leads from one thread to the other."""
        for owner, function, name in _WRAPPED:
            self.stages.wrap(owner, function, name)
        for owner, function, wrapped in (
            (ServiceHandler, "_answer", self._whole(ServiceHandler._answer)),
            (SqliteDatabase, "writing", self._locked(SqliteDatabase.writing)),
            (SqlStore, "write", self._transaction(SqlStore.write)),
            (ServiceHandler, "service", self._counted(ServiceHandler.service)),
            (committer, "Writer", self._writer_class()),
        ):
            setattr(owner, function, wrapped)
        event.listen(Pool, "connect", lambda connection, _: self._connections.append(connection))

    def clear(self) -> None:
        """Forget what was measured so far."""
        self.stages.clear()
        self._cpu_before = _cpu_by_thread()

    def count(self) -> None:
        """Keep what was measured, and count from now on."""
        if not self._measured:
            spent = {name: us - self._cpu_before.get(name, 0) for name, us in _cpu_by_thread().items()}
            self._measured = {
                "cost_us": self.stages.cost.wall / 1_000,
                "threads_us": spent,
                "stages": {name: _summary(times) for name, times in self.stages.times.items() if times},
            }
        self.stages.clear()
        self._calls = 0
        self._statements.clear()
        for connection in self._connections:
            connection.set_trace_callback(self._heard)

    def result(self) -> Mapping[str, Any]:
        """Return all of it, in microseconds."""
        commits = len(self.stages.times[HANDLER])
        return self._measured | {"counted": commits, "calls": self._calls, "statements": dict(self._statements)}

    def _heard(self, statement: str) -> None:
        if statement != self._last_statement:  # else it is a trigger of the same one
            self._statements[statement.split(maxsplit=1)[0]] += 1
        self._last_statement = statement

    def _whole(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def timed(handler: ServiceHandler, method: str, *arguments: Any) -> Any:
            started = time.perf_counter_ns()
            try:
                return await answer(handler, method, *arguments)
            finally:
                if method == "Commit" and arguments[-1].__name__ == "answer":  # the other one receives the request
                    self.stages.note(HANDLER, time.perf_counter_ns() - started)

        return timed

    def _locked(self, writing: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: self.stages.block(writing(*arguments), begin=BEGIN, end=END)

    def _transaction(self, write: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def timed(*arguments: Any) -> Iterator[Any]:
            started = time.perf_counter_ns()
            self.stages.note(TO_WRITER, started - self._handed_at)
            with self.stages.block(write(*arguments), begin=BEGIN, end=END) as writing:
                yield writing
            self._left_at = time.perf_counter_ns()
            self.stages.note(TRANSACTION, self._left_at - started)

        return timed

    def _counted(self, service: Callable[..., Any]) -> Callable[..., Any]:
        def counted(handler: ServiceHandler, details: Any) -> Any:
            self._calls += 1
            return service(handler, details)

        return counted

    def _writer_class(self) -> type[writer.Writer]:
        meter = self

        class TimedWriter(writer.Writer):
            def __init__(self, *args: Any, on_written: Callable[[Group, GroupResult], None], **options: Any) -> None:
                finish = meter.stages.timed(FINISH, on_written)

                def written(group: Group, result: GroupResult) -> None:
                    meter.stages.note(FROM_WRITER, time.perf_counter_ns() - meter._left_at)
                    finish(group, result)

                super().__init__(*args, on_written=written, **options)

            def write(self, group: Group) -> None:
                meter._handed_at = time.perf_counter_ns()
                super().write(group)

        return TimedWriter


def _summary(times: list[Took]) -> tuple[int, float, float]:
    """Return how many there are, and microseconds: the median on the wall, and the mean of CPU, so that it adds up."""
    wall, cpu = zip(*times, strict=True)
    return len(times), statistics.median(wall) / 1_000, statistics.mean(cpu) / 1_000


def _cpu_by_thread() -> dict[str, float]:
    """Return the microseconds of CPU of the event loop's thread, the writer's, and the whole process so far."""
    spent = {"process": time.process_time_ns() / 1_000}
    for thread in threading.enumerate():
        if thread.ident and thread.name in {LOOP_THREAD, WRITER_THREAD}:
            spent[thread.name] = time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident)) / 1_000
    return spent


async def _serve(meter: Meter, database: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    heard = itertools.count(1)

    def hear(act: Callable[[], None]) -> None:
        act()
        print(HEARD.format(next(heard)), file=sys.stderr, flush=True)

    for number, act in ((signal.SIGUSR1, meter.clear), (signal.SIGUSR2, meter.count)):
        loop.add_signal_handler(number, hear, act)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    gc.set_threshold(COLLECTED_AFTER_OBJECTS, *gc.get_threshold()[1:])  # as `lamina-server serve` does
    async with app.serving(Settings(database=database, listen="localhost:0")) as application:
        print(f"lamina-server ready on {application.target}, measured from outside", flush=True)
        await stop.wait()


def main() -> None:
    """Serve until SIGTERM."""
    meter = Meter()
    meter.wrap()
    database, output = sys.argv[1:]
    asyncio.run(_serve(meter, database))
    Path(output).write_text(json.dumps(meter.result()), encoding="utf-8")


if __name__ == "__main__":
    main()
