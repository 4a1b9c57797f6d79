"""The health service's `readiness` follows a real database within three seconds; liveness stays as it is."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from psycopg import sql
from sqlalchemy import make_url

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.cli.running import InProcess
from tests.faults.outages import connected, frozen, stopped
from tests.faults.test_waiting import Standby
from tests.server.bare_client import commit_request
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

pytestmark = pytest.mark.timeout(120)
on_postgresql = pytest.mark.postgres

CONFIG = "shop/prod"
FOLLOWS_SECONDS = 3.0
WAITING_SECONDS = 30.0
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
ROLE = sql.Identifier("clerk")

Outage = Callable[[Postgres, str], AbstractContextManager[None]]


class Health:
    """What the health service says."""

    def __init__(self, channel: Any) -> None:
        self._stub = HealthStub(channel)
        self._watch = self._stub.Watch(health_pb2.HealthCheckRequest(service="readiness"))

    async def follows(self, status: int) -> None:
        """Wait until the watch of the readiness tells of a status, which must be in time."""
        began = time.monotonic()
        async with asyncio.timeout(WAITING_SECONDS):
            assert (await self._watch.read()).status == status
        assert time.monotonic() - began < FOLLOWS_SECONDS

    async def check(self, service: str) -> int:
        status: int = (await self._stub.Check(health_pb2.HealthCheckRequest(service=service))).status
        return status


@asynccontextmanager
async def asking(server: ServerProcess) -> AsyncIterator[tuple[Health, Any]]:
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield Health(channel), ConfigServiceStub(channel)


@contextmanager
def locked(_: Postgres, url: str) -> Iterator[None]:
    with connected(url) as operator, operator.transaction():
        operator.execute("LOCK TABLE config_value IN EXCLUSIVE MODE")
        yield


@contextmanager
def refusing_rows(_: Postgres, url: str) -> Iterator[None]:
    with connected(url) as operator:
        operator.execute(sql.SQL("REVOKE INSERT ON config_value FROM {}").format(ROLE))
        yield
        operator.execute(sql.SQL("GRANT INSERT ON config_value TO {}").format(ROLE))


@contextmanager
def refusing_ids(_: Postgres, url: str) -> Iterator[None]:
    with connected(url) as operator:
        operator.execute(sql.SQL("REVOKE ALL ON SEQUENCE config_id_seq FROM {}").format(ROLE))
        yield
        operator.execute(sql.SQL("GRANT USAGE ON SEQUENCE config_id_seq TO {}").format(ROLE))


@contextmanager
def locked_out(_: Postgres, url: str) -> Iterator[None]:
    with connected(url) as operator:
        operator.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(ROLE))
        end_sessions(operator)
        yield
        operator.execute(sql.SQL("ALTER ROLE {} LOGIN").format(ROLE))


@contextmanager
def standby(postgres: Postgres, _: str) -> Iterator[None]:
    """Make the primary a standby, and promote it later."""
    cluster = Standby(postgres)
    cluster.stop(answers_reads=True)
    cluster.launch()
    try:
        cluster.until_ready()
        yield
    finally:
        cluster.promote()


def end_sessions(operator: psycopg.Connection[Any]) -> None:
    operator.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'clerk'")


def as_clerk(url: str) -> str:
    return make_url(url).set(username="clerk").render_as_string()


@pytest.fixture
def url(mortal_postgres: Postgres) -> Iterator[str]:
    """A database of a role that is no superuser, whose rights can be taken."""
    url = mortal_postgres.new_database()
    with connected(url) as operator:
        operator.execute(sql.SQL("CREATE ROLE {} LOGIN").format(ROLE))
        database = sql.Identifier(str(make_url(url).database))
        operator.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, ROLE))
    yield url
    mortal_postgres.until_ready()
    mortal_postgres.drop_database(url)
    with mortal_postgres.connect() as operator:
        operator.execute(sql.SQL("DROP ROLE {}").format(ROLE))


@pytest.fixture
def server(url: str) -> Iterator[ServerProcess]:
    with ServerProcess(as_clerk(url)) as process:
        yield process


@on_postgresql
@pytest.mark.parametrize(
    ("outage", "words"),
    [
        (frozen, "no answer within 1.25 s"),
        (stopped, "nothing listens there"),
        (locked, "another session held a lock for too long"),
        (refusing_rows, "the role lacks a right: permission denied for table config_value"),
        (refusing_ids, "the role lacks a right: permission denied for sequence config_id_seq"),
        (locked_out, "this role may not log in from here: see its LOGIN attribute and pg_hba.conf"),
        (standby, "it is a standby, which takes no writes: name the primary"),
    ],
)
async def test_it_follows_postgresql(
    mortal_postgres: Postgres, url: str, server: ServerProcess, outage: Outage, words: str
) -> None:
    async with asking(server) as (health, stub):
        await health.follows(SERVING)
        await stub.Commit(commit_request(CONFIG, {"x": 1}))
        with outage(mortal_postgres, url):
            await health.follows(NOT_SERVING)
            assert [await health.check(name) for name in ("", "lamina.v1.ConfigService")] == [SERVING, SERVING]
            assert words in (await stub.GetServerInfo(pb.GetServerInfoRequest())).not_ready
        await health.follows(SERVING)
        assert (await stub.GetServerInfo(pb.GetServerInfoRequest())).not_ready == ""
        await stub.Commit(commit_request(CONFIG, {"x": 2}))
        assert [server.log.count(event) for event in ('"not ready for', '"ready for commits again"')] == [1, 1]


@on_postgresql
async def test_a_commit_that_only_the_operator_can_make_possible_is_refused_at_once(
    url: str, server: ServerProcess
) -> None:
    """P2: with the words, and long before the deadline. A watch and a live config wait for the operator."""
    async with lamina.aio.connect(server.target, timeout=60) as client:
        cfg = await client.config(CONFIG, create=True)
        cfg["x"] = 1
        await cfg.commit()
        live = await client.live(CONFIG)
        with refusing_rows(None, url):  # type: ignore[arg-type] # it needs the database alone
            cfg["x"] = 2
            with pytest.raises(lamina.UnavailableError, match="permission denied for table config_value") as refused:
                await cfg.commit()
            assert "nothing was written" in str(refused.value)
            assert (refused.value.reason, type(refused.value)) == ("STORE_UNUSABLE", lamina.UnavailableError)
        assert (await cfg.commit()).number == 2
        await live.wait(2)


@on_postgresql
async def test_a_frozen_database_does_not_hold_up_the_end(mortal_postgres: Postgres, server: ServerProcess) -> None:
    """An idle server ends well, although its question has no answer yet."""
    async with asking(server) as (health, _):
        await health.follows(SERVING)
        with mortal_postgres.frozen():
            await health.follows(NOT_SERVING)
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
        assert "ended without the database" not in server.log


@on_postgresql
async def test_a_keyframe_under_way_does_not_hold_up_the_end(url: str) -> None:
    """It waits for a lock, for longer than the server may take to end."""
    with ServerProcess(as_clerk(url), LAMINA_SERVER_STOP_GRACE_SECONDS="1") as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub = ConfigServiceStub(channel)
            with connected(url) as operator, operator.transaction():
                operator.execute("LOCK TABLE config_value_association IN EXCLUSIVE MODE")
                await stub.Commit(commit_request(CONFIG, {f"k{number}": number for number in range(300)}))
                waiting = "SELECT 1 FROM pg_locks WHERE relation = 'config_value_association'::regclass AND NOT granted"
                while not await asyncio.to_thread(lambda: operator.execute(waiting).fetchone()):
                    pass
                server.signal(signal.SIGTERM)
                assert await asyncio.to_thread(server.wait) == 0
        assert "ended without the database" not in server.log


async def test_it_follows_a_sqlite_file_that_another_program_has_locked(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server:
        async with asking(server) as (health, stub):
            await health.follows(SERVING)
            await stub.Commit(commit_request(CONFIG, {"x": 1}))
            with closing(sqlite3.connect(tmp_path / "lamina.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await health.follows(NOT_SERVING)
                assert await health.check("") == SERVING
                status = await asyncio.to_thread(InProcess(server.target).out, "status")
                assert status.startswith(f"{server.target}  up")
                words = "the database cannot be used: another program holds it locked (SQLITE_BUSY)"
                assert f"but takes no commits: {words}" in status
            await health.follows(SERVING)
            await stub.Commit(commit_request(CONFIG, {"x": 2}))


async def test_to_wait_for_a_lock_does_not_show_that_one_can_be_had(tmp_path: Path) -> None:
    """A commit that waits has the writer's turn, like one that is being written."""
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server:
        async with asking(server) as (health, stub):
            await health.follows(SERVING)
            await stub.Commit(commit_request(CONFIG, {"x": 1}))
            with closing(sqlite3.connect(tmp_path / "lamina.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                waiting = asyncio.ensure_future(stub.Commit(commit_request(CONFIG, {"x": 2})))
                await health.follows(NOT_SERVING)
            await health.follows(SERVING)
            await asyncio.wait({waiting})  # whether it has waited for too long depends on the machine
