"""Notices between servers on a real PostgreSQL, through killed, frozen and forbidden connections."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from lamina_server.logs import lines
from lamina_server.store.contract import Store
from lamina_server.store.postgresql.notices import PostgresqlNotices
from tests.server.sessions import LISTENING, TELLING, Operator
from tests.support.postgres import postgresql_address

LONG_SECONDS = 1_000.0

pytestmark = pytest.mark.postgres


class Ear:
    """What one server hears, and how often it began to listen."""

    def __init__(self) -> None:
        self.listened = 0
        self.heard: list[str] = []
        self._news = asyncio.Event()

    def on_listening(self) -> None:
        self.listened += 1
        self._news.set()

    def on_heard(self, config: str) -> None:
        self.heard.append(config)
        self._news.set()

    async def until(self, is_so: Callable[["Ear"], bool], *, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not is_so(self):
                await self._news.wait()
                self._news.clear()


@asynccontextmanager
async def hearing(server: PostgresqlNotices) -> AsyncIterator[Ear]:
    """Listen while the block lasts."""
    ear = Ear()
    task = asyncio.create_task(server.hear(ear.on_listening, ear.on_heard))
    try:
        await ear.until(lambda ear: ear.listened == 1)
        yield ear
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def closing(server: PostgresqlNotices) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await server.close()


@pytest.fixture
async def make(postgres_url: str) -> AsyncIterator[Callable[..., PostgresqlNotices]]:
    """Make the notices of one more server on the same database."""
    made: list[PostgresqlNotices] = []

    def make(**timings: float) -> PostgresqlNotices:
        made.append(PostgresqlNotices(postgresql_address(postgres_url), **timings))
        return made[-1]

    yield make
    for each in made:
        await each.close()


Make = Callable[..., PostgresqlNotices]


async def test_a_store_has_notices_if_it_is_shared(store: Store) -> None:
    assert (store.notices() is not None) == store.is_shared


async def test_each_hears_what_the_others_tell_and_nothing_of_its_own(make: Make) -> None:
    one, other = make(), make()
    longest = "ü" * 127
    async with hearing(one) as ear, hearing(other) as other_ear:
        await one.tell(["shop/prod", "with spaces: in it", longest])
        await one.tell([f"c/{number}" for number in range(2_000)])
        await other.tell(["end"])
        await ear.until(lambda ear: bool(ear.heard))
        await other_ear.until(lambda ear: len(ear.heard) == 2_003)
    assert ear.heard == ["end"]
    assert other_ear.heard == ["shop/prod", "with spaces: in it", longest, *(f"c/{n}" for n in range(2_000))]


async def test_a_killed_listening_connection_is_replaced(make: Make, operator: Operator) -> None:
    """F18: and its server is called, because it has missed the notices in between."""
    one, other = make(), make()
    with capture_logs() as log:
        async with hearing(one) as ear:
            operator.kill(LISTENING)
            await ear.until(lambda ear: ear.listened == 2)
            await other.tell(["x"])
            await ear.until(lambda ear: ear.heard == ["x"])
    assert [line["event"] for line in log] == ["notices not heard", "notices heard again"]


async def test_a_frozen_listening_connection_is_replaced(make: Make, operator: Operator) -> None:
    """F18: no error is raised; only the ping gets no answer."""
    one, other = make(ping_interval_seconds=0.2, ping_timeout_seconds=0.5), make()
    with capture_logs() as log:
        async with hearing(one) as ear:
            with operator.frozen(LISTENING):
                await ear.until(lambda ear: ear.listened >= 2)
                await tell_until_heard(other, "x", ear)
    assert log[0]["event"] == "notices not heard"
    assert str(log[0]["exc_info"]).endswith("cannot be used: it did not answer in time")


async def test_pings_lose_no_notice(make: Make) -> None:
    one, other = make(ping_interval_seconds=0.001), make()
    names = [str(number) for number in range(200)]
    async with hearing(one) as ear:
        for name in names:
            await other.tell([name])
        await ear.until(lambda ear: len(ear.heard) >= len(names))
    assert ear.heard == names
    assert ear.listened == 1


async def test_a_sending_connection_that_died_while_idle_is_replaced_at_once(make: Make, operator: Operator) -> None:
    one, other = make(), make()
    with capture_logs() as log:
        async with hearing(one) as ear:
            await other.tell(["x"])
            operator.kill(TELLING)
            await other.tell(["y"])
            await ear.until(lambda ear: ear.heard == ["x", "y"])
    assert log == []


async def test_a_frozen_sending_connection_is_given_up(make: Make, operator: Operator) -> None:
    one, other = make(), make(tell_timeout_seconds=1)
    with capture_logs() as log:
        async with hearing(one) as ear:
            await other.tell(["x"])
            with operator.frozen(TELLING):
                await other.tell(["lost"])
                assert [line["event"] for line in log] == ["notices not sent"]
                await tell_until_heard(other, "y", ear)
        assert [line["event"] for line in log] == ["notices not sent", "notices sent again"]
    assert ear.heard[0] == "x"


async def tell_until_heard(server: PostgresqlNotices, config: str, ear: Ear) -> None:
    """Tell of a config again and again: after a failure, nothing is sent for a while."""
    while config not in ear.heard:
        await server.tell([config])
        try:
            await ear.until(lambda ear: config in ear.heard, seconds=0.05)
        except TimeoutError:
            continue


async def test_a_wait_for_a_frozen_backend_can_be_cancelled(
    make: Make, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver would ask the database to cancel the statement, and wait for that."""
    caplog.set_level(logging.DEBUG, "psycopg")
    server = make(tell_timeout_seconds=LONG_SECONDS)
    await server.tell(["x"])
    with operator.frozen(TELLING):
        telling = asyncio.create_task(server.tell(["y"]))
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 3  # the test, `telling`, and its question to the database
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class Connections:
    """The connections that the driver has opened, and how often each kind was tried, by its application name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries: Counter[str] = Counter()
        self.opened: list[psycopg.AsyncConnection[Any]] = []
        self._connect = psycopg.AsyncConnection.connect
        monkeypatch.setattr(psycopg.AsyncConnection, "connect", self._note)

    async def _note(self, **arguments: Any) -> psycopg.AsyncConnection[Any]:
        self.tries[arguments["application_name"]] += 1
        self.opened.append(await self._connect(**arguments))
        return self.opened[-1]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    return Connections(monkeypatch)


async def test_an_outage_of_the_database_is_logged_once_and_without_secrets(
    postgres_url: str, operator: Operator, connections: Connections
) -> None:
    """Tries go on until it is back, for hearing as for telling."""
    address = postgresql_address(postgres_url.replace("lamina@", "lamina:canary@"))
    one, other = (PostgresqlNotices(address, backoff_limit_seconds=0.05) for _ in range(2))
    with capture_logs() as log:
        async with closing(other), hearing(one) as ear:
            await other.tell(["x"])
            operator.allow(is_allowed=False)
            operator.kill(LISTENING)
            operator.kill(TELLING)
            while min(connections.tries[LISTENING], connections.tries[TELLING]) < 5:
                await other.tell(["lost"])
                await asyncio.sleep(0)
            assert sorted(line["event"] for line in log) == ["notices not heard", "notices not sent"]
            operator.allow(is_allowed=True)
            await ear.until(lambda ear: ear.listened == 2)
            await tell_until_heard(other, "y", ear)
    assert "lost" not in ear.heard
    assert len(log) == 4
    written = "".join(lines.render(None, "", lines.describe_exception(None, "", {**line})) for line in log)
    assert "canary" not in written
    assert f"{address} cannot be used: the database accepts no connections at present" in written


async def test_the_sending_connection_has_the_settings_of_all_sessions(make: Make, connections: Connections) -> None:
    """P19 is about commits: a notice alone must wait for no disk and no standby, with the lock of all notices."""
    await make().tell(["x"])
    (teller,) = connections.opened
    wanted = {"application_name": TELLING, "client_encoding": "UTF8", "synchronous_commit": "off"}
    found = {name: (await (await teller.execute(f"SHOW {name}")).fetchone() or [""])[0] for name in wanted}
    assert found == wanted
    options = {option.keyword: option.val for option in teller.pgconn.info if option.val is not None}
    ours = {"keepalives_idle": b"10", "connect_timeout": b"5", "target_session_attrs": b"primary"}
    assert {name.encode(): value for name, value in ours.items()}.items() <= options.items()
