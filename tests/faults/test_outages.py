"""A PostgreSQL that is frozen, refuses or is slow: how servers answer meanwhile and afterwards, and how they end."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.models import WRITE_LOCK_ID
from tests.faults.outages import connected, frozen, stopped
from tests.server.bare_client import Refusal, Watching, commit_request
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

CONFIG = "shop/prod"
ANSWERED = "answered"
NOT_ANSWERED = {grpc.StatusCode.UNAVAILABLE.name, grpc.StatusCode.DEADLINE_EXCEEDED.name, "STORE_UNAVAILABLE"}
FROZEN_SECONDS = 1.5
"""The deadline of a call while the database does not answer at all."""
SLOW_SECONDS = 10.0
"""The deadline of a call whose server gives up by itself."""
BACK_SECONDS = 30.0
GRACE_SECONDS = 2.0
REFUSED_CALLS, CALLERS, LINES_LIMIT = 2_000, 40, 20
MARGIN_SECONDS = 1.0
"""How much longer the machine may need to end a process."""

_WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

Outage = Callable[[Postgres, str], AbstractContextManager[None]]


@contextmanager
def slow(_: Postgres, url: str) -> Iterator[None]:
    """Have every statement wait for a lock for longer than a server waits."""
    with connected(url) as operator, operator.transaction():
        operator.execute("LOCK TABLE config, config_name IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.fixture
def url(mortal_postgres: Postgres) -> str:
    return mortal_postgres.new_database()


@pytest.fixture
def server(url: str) -> Iterator[ServerProcess]:
    with ServerProcess(url, LAMINA_SERVER_STOP_GRACE_SECONDS=f"{GRACE_SECONDS:g}") as process:
        yield process


@asynccontextmanager
async def stub_of(server: ServerProcess) -> AsyncIterator[Any]:
    # It reconnects at once, so that a test waits for the server alone.
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        yield ConfigServiceStub(channel)


async def commit_two(stub: Any) -> pb.ConfigVersion:
    await stub.Commit(commit_request(CONFIG, {"x": 1}))
    version: pb.ConfigVersion = (await stub.Commit(commit_request(CONFIG, {"x": 2}))).version
    return version


async def outcomes(stub: Any, head: pb.ConfigVersion, seconds: float) -> Mapping[str, str]:
    """Make every kind of call for versions that are there, and return the outcomes."""
    base: dict[str, Any] = {"base_version": head.version, "base_hash": head.hash}
    calls = {
        "head": stub.GetVersion(pb.GetVersionRequest(config=CONFIG), timeout=seconds),
        "header": stub.GetVersion(pb.GetVersionRequest(config=CONFIG, view=pb.HEADER), timeout=seconds),
        "min_version": stub.GetVersion(pb.GetVersionRequest(config=CONFIG, min_version=head.version), timeout=seconds),
        "old version": stub.GetVersion(pb.GetVersionRequest(config=CONFIG, version=1), timeout=seconds),
        "origins": stub.GetVersion(
            pb.GetVersionRequest(config=CONFIG, min_version=head.version, view=pb.BLAME), timeout=seconds
        ),
        "log": stub.ListVersions(pb.ListVersionsRequest(config=CONFIG), timeout=seconds),
        "differences": stub.DiffVersions(
            pb.DiffVersionsRequest(config=CONFIG, from_version=1, to_version=head.version), timeout=seconds
        ),
        "key history": stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=CONFIG, key="x"), timeout=seconds),
        "preview": stub.Commit(commit_request(CONFIG, {"x": 3}, validate_only=True, **base), timeout=seconds),
        # These change nothing, so they can be sent again and again.
        "commit": stub.Commit(commit_request(CONFIG, {"x": 2}, **base), timeout=seconds),
        "revert": stub.RevertConfig(
            pb.RevertConfigRequest(
                config=CONFIG, to_version=head.version, request_id=commit_request(CONFIG, {}).request_id, **base
            ),
            timeout=seconds,
        ),
    }
    after = pb.Cursor(version=head.version, hash=head.hash)
    watches = {
        "watch": pb.WatchKeyHistoryRequest(config=CONFIG, after=after),
        "watch from the first": pb.WatchKeyHistoryRequest(config=CONFIG, after=pb.Cursor(version=1)),
    }
    asked = {name: _outcome(call) for name, call in calls.items()} | {
        name: _outcome(Watching(stub.WatchKeyHistory(request, timeout=seconds)).message())
        for name, request in watches.items()
    }
    return dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))


async def test_thousands_of_refused_calls_are_a_few_lines(
    mortal_postgres: Postgres, url: str, server: ServerProcess
) -> None:
    """Each cause has its first line at once, and then one line in 10 s with the number since."""
    async with stub_of(server) as stub:
        await commit_two(stub)
        request = pb.GetVersionRequest(config=CONFIG)
        with stopped(mortal_postgres, url):
            told = [await _outcome(stub.GetVersion(request))]
            logged = len(server.log)
            for _ in range(REFUSED_CALLS // CALLERS):
                told += await asyncio.gather(*(_outcome(stub.GetVersion(request)) for _ in range(CALLERS)))
        assert set(told) == {"STORE_UNAVAILABLE"}
    await asyncio.to_thread(server.stop)
    lines = [json.loads(line) for line in server.log[logged:].splitlines()]
    failed = [line for line in lines if line["event"] == "call failed"]
    assert sum(line.get("repeated", 1) for line in failed) >= REFUSED_CALLS
    assert len(lines) <= LINES_LIMIT, server.log
    assert len(server.log) < LINES_LIMIT * 1_000, "no traceback: this is no bug of ours"


async def _outcome(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        has_details = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
        return Refusal.of(error).reason if has_details else error.code().name
    return ANSWERED


@pytest.mark.parametrize("is_fresh", [False, True], ids=["warm", "just-started"])
@pytest.mark.parametrize(
    ("outage", "seconds"), [(frozen, FROZEN_SECONDS), (stopped, SLOW_SECONDS), (slow, SLOW_SECONDS)]
)
async def test_a_server_that_cannot_ask_the_database_says_so(
    mortal_postgres: Postgres, url: str, server: ServerProcess, outage: Outage, seconds: float, is_fresh: bool
) -> None:
    """P2, P10, P13: during an outage, and until the database answers, no server answers with what it does not know."""
    async with stub_of(server) as stub:
        head = await commit_two(stub)
        if is_fresh:
            await asyncio.to_thread(server.restart)
            await stub.ListConfigs(pb.ListConfigsRequest(), wait_for_ready=True)  # knows nothing of the config
        with outage(mortal_postgres, url):
            found = await outcomes(stub, head, seconds)
        assert set(found.values()) <= NOT_ANSWERED, found
        async with asyncio.timeout(BACK_SECONDS):
            while set(found.values()) != {ANSWERED}:
                found = await outcomes(stub, head, seconds)
                assert set(found.values()) <= {ANSWERED, *NOT_ANSWERED}, found


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_watches_go_on_after_a_frozen_database_and_a_restart(
    mortal_postgres: Postgres, server: ServerProcess, end: signal.Signals
) -> None:
    """P9, P10: the server comes back on its address, while the database is still frozen."""
    async with lamina.aio.connect(server.target) as client:
        cfg = await client.config(CONFIG, create=True)
        for number in (1, 2):
            cfg["x"] = number
            await cfg.commit()
        live = await client.live(CONFIG)
        async with cfg.watch(after=0) as watch:
            assert [(await anext(watch)).version for _ in range(2)] == [1, 2]
            with mortal_postgres.frozen():
                server.signal(end)
                await asyncio.to_thread(server.wait)
                restarting = asyncio.create_task(asyncio.to_thread(server.restart))
            await restarting
            cfg["x"] = 3
            await cfg.commit()
            async with asyncio.timeout(BACK_SECONDS):
                assert (await anext(watch)).version == 3
                await live.wait(3)
        assert live.error is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_ends_within_its_grace(
    mortal_postgres: Postgres, server: ServerProcess, number: signal.Signals
) -> None:
    """P1, P8: with a commit, reads and a watch under way; its request id resolves the commit afterwards."""
    async with stub_of(server) as stub:
        head = await commit_two(stub)
        watch = Watching(stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG)))
        assert await watch.bookmark() == (head.version, head.hash)
        open_commit = commit_request(CONFIG, {"x": 3})
        with mortal_postgres.frozen():
            # The calls take longer than a second, so the server's threads wait for the database.
            outcome, _ = await asyncio.gather(
                _outcome(stub.Commit(open_commit, timeout=1)), outcomes(stub, head, FROZEN_SECONDS)
            )
            assert outcome == grpc.StatusCode.DEADLINE_EXCEEDED.name
            began = time.monotonic()
            server.signal(number)
            assert await watch.bookmark() == (head.version, head.hash)
            assert await asyncio.to_thread(server.wait) == 1
            assert time.monotonic() - began < GRACE_SECONDS + MARGIN_SECONDS
            assert "ended without the database" in server.log
        await asyncio.to_thread(server.restart)
        version = (await stub.Commit(open_commit, wait_for_ready=True)).version
        assert (version.version, version.parent) == (head.version + 1, head.version)


async def test_a_server_that_is_starting_ends_at_once(mortal_postgres: Postgres, url: str) -> None:
    """It waits for another server's migration when the database freezes."""
    server = ServerProcess(url)
    with connected(url) as operator:
        operator.execute("SELECT pg_advisory_lock(%s)", [WRITE_LOCK_ID])
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        while not await asyncio.to_thread(lambda: operator.execute(_WAITING).fetchone()):
            pass
        with mortal_postgres.frozen():
            began = time.monotonic()
            server.signal(signal.SIGTERM)
            with pytest.raises(RuntimeError, match="did not get ready"):
                await starting
            assert time.monotonic() - began < MARGIN_SECONDS
