"""Forks and reverts that are prepared before their transaction: others commit meanwhile."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from lamina_server.cache.heads import Heads
from lamina_server.commits import giants
from lamina_server.commits.committer import Committer
from lamina_server.domain.commands import Command, CommitCommand, ForkCommand, RevertCommand
from lamina_server.domain.errors import ConflictError, ExistsError
from lamina_server.domain.planning import Author, MapLimits, Plan
from lamina_server.domain.records import Change, HeadMark, Reply, RequestKey
from lamina_server.domain.values import Value
from lamina_server.metrics.recorder import Recorder
from lamina_server.models.locking import STAGING_LOCK_ID
from lamina_server.store.contract import Reading, Staged
from lamina_server.store.open import open_store
from lamina_server.store.postgresql.database import PostgresqlDatabase
from lamina_server.store.postgresql.exchange import Exchange
from lamina_server.store.postgresql.staging import LOCK_TRY_MS
from lamina_server.store.readers import Readers
from lamina_server.store.silence import Silence, SilentError
from lamina_server.store.sql.reading import SqlReading
from lamina_server.store.sql.store import SqlStore
from lamina_server.wire.codec import WireCodec
from tests.conformance.commits import commit, insert, map_at, values
from tests.server.recording_feed import RecordingFeed

CONFIG = "payments/prod"
FIRST = {f"k{number}": number for number in range(10)}
SECOND = {f"k{number}": -number for number in range(1, 10)}
BACK = RevertCommand(CONFIG, 1, 2, b"", "back", Author("ada"))


END_STAGING_SESSION = f"""
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
WHERE locktype = 'advisory' AND objid = CAST({STAGING_LOCK_ID & 0xFFFF_FFFF} AS oid)
"""


def small(config: str) -> CommitCommand:
    return CommitCommand(config, None, b"", (Change("k1", Value.of_integer(5)),), (), "", Author("ada"), False)


class Desk:
    """A committer, and another server's store of the same database, which may commit whenever a version is staged."""

    def __init__(self, url: str) -> None:
        self.store = open_store(url)
        self.other = open_store(url) if self.store.is_shared else self.store
        self.feed = RecordingFeed()
        self.on_staged: list[Callable[[], object]] = []
        self.staged: list[Staged] = []
        self._stage: Any = self.store.stage
        self.store.stage = self.stage  # type: ignore[method-assign,assignment]
        self.silence = Silence()
        self.readers = Readers(self.store, threads=2, silence=self.silence)
        codec, is_shared = WireCodec(), self.store.is_shared
        self.heads = Heads(self.readers, codec, limit_bytes=0, is_shared=is_shared)
        self.committer = Committer(
            self.store,
            self.heads,
            codec,
            self.feed,
            recorder=Recorder(),
            map_limits=MapLimits(keys=10_000, size_bytes=10_000_000),
            on_commit=lambda _: None,
            on_failure=lambda: None,
            group_limit_changes=100,
            silence=self.silence,
        )

    @contextmanager
    def stage(self, plan: Plan, parent: HeadMark | None) -> Iterator[Staged]:
        """Stage, and let the next of `on_staged` happen before the writer hears of it."""
        with self._stage(plan, parent) as staged:
            self.staged.append(staged)
            if self.on_staged:
                threading.Thread(target=staged.wait).start()  # which gives way to others
                self.on_staged.pop(0)()
            yield staged

    @property
    def stages(self) -> int:
        return len(self.staged)

    def overtake(self, config: str = CONFIG) -> None:
        commit(self.other, {"other": 1}, config=config)

    async def ask(self, command: Command, request_id: str = "one") -> Reply:
        outcome = await self.committer.submit(RequestKey("", request_id, command.digest()), command)
        return outcome.reply

    def map(self, number: int, config: str = CONFIG) -> dict[str, Value]:
        with self.store.read() as reading:
            return map_at(reading, number, config=config)

    def head(self, config: str = CONFIG) -> int:
        with self.store.read() as reading:
            head = reading.head(config)
            return head.number if head else 0

    async def close(self) -> None:
        await self.committer.stop()
        await self.readers.close()
        self.store.close()
        self.other.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A desk at which four changes are a giant, and a config with two versions."""
    monkeypatch.setattr(giants, "GIANT_CHANGES", 4)
    is_file = request.param == "sqlite"
    desk = Desk(f"sqlite:///{tmp_path}/lamina.db" if is_file else request.getfixturevalue("postgres_url"))
    commit(desk.store, FIRST)
    commit(desk.store, SECOND)
    yield desk
    await desk.close()


async def test_a_revert_is_written_once(desk: Desk) -> None:
    """P8: its request id has one outcome."""
    reply = await desk.ask(BACK)
    assert reply.version is not None
    assert (reply.version.number, reply.created, desk.stages) == (3, True, 1)
    assert desk.map(3) == values(FIRST)
    assert [version.number for version in desk.feed.announced] == [3]
    assert await desk.ask(BACK) == reply
    assert desk.head() == 3


async def test_a_writer_that_fails_after_all_overtakes_nobody(desk: Desk) -> None:
    """On PostgreSQL it made the revert give way, which is prepared again."""

    def fail() -> None:
        with pytest.raises(ZeroDivisionError), desk.other.write() as writing:
            insert(writing, CONFIG, {"other": 1})
            writing.head(CONFIG)  # so that the rows are inserted now
            raise ZeroDivisionError

    desk.on_staged = [fail] * (giants.TRIES_LIMIT - 1)
    reply = await desk.ask(BACK)
    assert desk.stages == (giants.TRIES_LIMIT if desk.store.is_shared else 1)
    assert reply.version is not None
    assert reply.version.number == desk.head() == 3
    assert desk.map(3) == values(FIRST)


async def test_who_is_overtaken_hears_what_is_in_the_way(desk: Desk) -> None:
    """P2, P7: a base that is the head no longer, and a name that is taken; nothing is written."""
    desk.on_staged = [desk.overtake, lambda: desk.overtake("fork")]
    with pytest.raises(ConflictError):
        await desk.ask(BACK)
    with pytest.raises(ExistsError):
        await desk.ask(ForkCommand(CONFIG, 1, "fork", "branch", Author("ada")), "two")
    assert (desk.head(), desk.head("fork")) == (3, 1)


async def test_others_commit_while_a_fork_is_staged(desk: Desk) -> None:
    """P3: also to the config that is forked, and through the same server."""
    loop = asyncio.get_running_loop()

    def commit_here() -> None:
        asyncio.run_coroutine_threadsafe(desk.ask(small(CONFIG), "small"), loop).result(10)

    desk.on_staged = [commit_here]
    reply = await desk.ask(ForkCommand(CONFIG, None, "fork", "branch", Author("ada")))
    assert reply.version is not None
    assert reply.version.source is not None
    assert (reply.version.source.version, desk.stages) == (2, 1)
    assert desk.map(1, "fork") == values(FIRST | SECOND)
    assert desk.head() == 3


async def test_two_calls_of_one_request_have_one_outcome(desk: Desk) -> None:
    """P8: the second call was staged before the first one was written, or waits for it."""
    first, second = await asyncio.gather(desk.ask(BACK), desk.ask(BACK))
    assert first == second
    assert desk.head() == 3


async def test_a_caller_that_leaves_before_the_transaction_writes_nothing(desk: Desk) -> None:
    """P2: and the server ends."""
    loop = asyncio.get_running_loop()
    call = asyncio.create_task(desk.ask(BACK))

    async def leave() -> None:
        call.cancel()
        await asyncio.wait({call})

    desk.on_staged = [lambda: asyncio.run_coroutine_threadsafe(leave(), loop).result(10)]
    with pytest.raises(asyncio.CancelledError):
        await call
    await desk.committer.stop()
    assert desk.head() == 2


async def test_a_silent_database_answers_who_waits_for_what_is_staged(desk: Desk) -> None:
    """P2: nothing was written, and nothing will be."""
    loop = asyncio.get_running_loop()

    async def fall_silent() -> None:
        desk.silence.begin(0.0)

    desk.on_staged = [lambda: asyncio.run_coroutine_threadsafe(fall_silent(), loop).result(10)]
    with pytest.raises(SilentError) as silent:
        await desk.ask(BACK)
    assert silent.value.wrote_nothing
    await desk.committer.stop()
    assert desk.head() == 2


@pytest.mark.parametrize("committed", [True, False], ids=["written", "not written"])
@pytest.mark.parametrize("desk", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
async def test_a_lost_commit_is_found_by_its_request_id(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    """P2, P8: the version is made once, and watches are told of it."""
    confirm, lost = PostgresqlDatabase._commit, threading.Event()

    def lose(database: PostgresqlDatabase, connection: Connection) -> None:
        if threading.current_thread().name == "writer" and not lost.is_set():
            lost.set()
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            if committed:
                Exchange.of(connection).run()  # the last INSERTs
                driver.execute("COMMIT")
            driver.close()
        confirm(database, connection)

    monkeypatch.setattr(PostgresqlDatabase, "_commit", lose)
    reply = await desk.ask(BACK)
    assert lost.is_set()
    assert reply.version is not None
    assert reply.version.number == desk.head() == 3
    assert [version.number for version in desk.feed.announced] + [mark.number for mark in desk.feed.skipped] == [3]


@pytest.mark.parametrize("desk", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
async def test_what_a_lost_session_has_staged_is_staged_again(desk: Desk) -> None:
    """P2."""

    def lose() -> None:
        with desk.other.read() as reading:
            assert isinstance(reading, SqlReading)
            assert reading._connection.exec_driver_sql(END_STAGING_SESSION).all() == [(True,)]
        desk.staged[-1].wait()  # which notices

    desk.on_staged = [lose]
    reply = await desk.ask(BACK)
    assert reply.version is not None
    assert (reply.version.number, desk.stages) == (3, 2)


@pytest.mark.parametrize("desk", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
async def test_a_version_that_gets_no_lock_in_time_is_staged_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: it is no error that others write for a long time."""
    assert isinstance(desk.store, SqlStore)
    monkeypatch.setattr(desk.store._database, "_lock_timeout_ms", LOCK_TRY_MS)
    release, writer = threading.Event(), threading.Event()

    def keep() -> None:
        with pytest.raises(ZeroDivisionError), desk.other.write():
            writer.set()
            release.wait(10)
            raise ZeroDivisionError

    keeper = threading.Thread(target=keep)

    def start() -> None:
        keeper.start()
        writer.wait(10)

    def stop() -> None:
        release.set()
        keeper.join(10)

    desk.on_staged = [start, stop]
    reply = await desk.ask(BACK)
    assert reply.version is not None
    assert (reply.version.number, desk.stages) == (3, 2)


async def test_who_is_overtaken_while_the_server_stops_is_answered(desk: Desk) -> None:
    """P2: and the server ends."""
    desk.on_staged = [desk.overtake]
    call = asyncio.create_task(desk.ask(BACK))
    await asyncio.sleep(0)  # so that it is asked
    async with asyncio.timeout(10):
        await desk.committer.stop()
        with pytest.raises(ConflictError):
            await call


async def test_the_server_ends_while_the_database_keeps_a_thread_that_stages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giants, "GIVEN_UP_SECONDS", 0.01)
    frozen, thawed = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def freeze() -> None:
        threads.append(threading.current_thread())
        frozen.set()
        thawed.wait(10)

    desk.on_staged = [freeze]
    call = asyncio.create_task(desk.ask(BACK))
    await asyncio.to_thread(frozen.wait, 10)
    desk.silence.begin(0.0)
    with pytest.raises(SilentError):
        await call
    await desk.committer.stop()
    assert not thawed.is_set()
    thawed.set()
    await asyncio.to_thread(threads[0].join, 10)
    assert desk.head() == 2


async def test_few_threads_look_whether_commands_are_giants(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the database is."""
    read, gate = desk.store.read, threading.Event()

    @contextmanager
    def slow() -> Iterator[Reading]:
        gate.wait(10)
        with read() as reading:
            yield reading

    monkeypatch.setattr(desk.store, "read", slow)
    calls = [asyncio.create_task(desk.ask(BACK, f"{number}")) for number in range(3 * giants.LOOKS_AT_ONCE)]
    for _ in range(5):  # more turns of the event loop than a thread needs to be started
        await asyncio.sleep(0)
    looks = sum(1 for thread in threading.enumerate() if thread.name == "giants")
    gate.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert looks == giants.LOOKS_AT_ONCE
    assert sum(1 for each in outcomes if isinstance(each, Reply)) == 1
