"""A PostgreSQL that says nothing at all: calls are refused early, in words that say what is silent and what to do."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.cli.running import InProcess
from tests.faults.outages import connected
from tests.security.secret_helpers import key_file, secret
from tests.server.bare_client import Refusal, Watching, commit_request, refusal
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

CONFIG = "shop/prod"
LONG_SECONDS = 60.0
KNOWN_SECONDS = 5.0
"""By then the server knows of a silence and refuses. Without load it takes 2.5 to 3.75 s."""
AT_ONCE_SECONDS = 1.0
VERB_SECONDS = 6.0
OUTLASTS_SECONDS = 4.0
"""Longer than a server takes to call a database silent."""

SAID = r"the server is up, but its database has not answered for \d+ s"

_WAITS_FOR_STANDBY = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_TRIAL = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'lamina-server' AND query LIKE '%regclass%'"
    " ORDER BY query_start DESC LIMIT 1"
)
_POSTMASTER = "SELECT CAST(split_part(pg_read_file('postmaster.pid'), chr(10), 1) AS int)"
_NONE_IS_LEFT = "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE '%asking')"


@pytest.fixture
def url(mortal_postgres: Postgres) -> str:
    return mortal_postgres.new_database()


@pytest.fixture
def server(url: str) -> Iterator[ServerProcess]:
    with ServerProcess(url) as process:
        yield process


@asynccontextmanager
async def stub_of(server: ServerProcess) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield ConfigServiceStub(channel)


@contextmanager
def without_its_standby(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Make each COMMIT wait for a standby that is not there, while the block lasts."""
    with connected(url) as operator:
        try:
            operator.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            operator.execute("SELECT pg_reload_conf()")
            yield operator
        finally:
            operator.execute("ALTER SYSTEM RESET synchronous_standby_names")
            operator.execute("SELECT pg_reload_conf()")


@contextmanager
def frozen_process(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def until(operator: psycopg.Connection[Any], question: str) -> Any:
    while not (row := await asyncio.to_thread(lambda: operator.execute(question).fetchone())):
        pass
    return row[0]


async def test_calls_are_refused_long_before_their_deadlines(mortal_postgres: Postgres, server: ServerProcess) -> None:
    """Those under way, and those that come later. Afterwards everything goes on by itself."""
    async with stub_of(server) as stub:
        head = (await stub.Commit(commit_request(CONFIG, {"x": 1}))).version
        watch = Watching(stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG)))
        assert await watch.bookmark() == (1, head.hash)
        commit, large = commit_request(CONFIG, {"x": 2}), commit_request(CONFIG, {"y": "y" * 100_000})
        with mortal_postgres.frozen():
            for limit in (KNOWN_SECONDS, AT_ONCE_SECONDS):
                began = time.monotonic()
                written = [refusal(stub.Commit(one, timeout=LONG_SECONDS)) for one in (commit, large)]
                read = [
                    refusal(stub.GetVersion(pb.GetVersionRequest(config=CONFIG), timeout=LONG_SECONDS)),
                    refusal(stub.ListVersions(pb.ListVersionsRequest(config=CONFIG), timeout=LONG_SECONDS)),
                ]
                refusals = await asyncio.gather(*written, *read)
                assert time.monotonic() - began < limit
                for refused in refusals:
                    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
                for refused in refusals[: len(written)]:
                    assert_said(refused, "; nothing was written")
                    assert refused.metadata["nothing_written"] == "true"
                for refused in refusals[len(written) :]:
                    assert_said(refused)
            info = await stub.GetServerInfo(pb.GetServerInfoRequest())
            assert info.not_ready.startswith("its database has not answered for ")
        while await outcome(stub.Commit(commit)) != "OK":
            pass
        assert [version.version for version in await versions(stub)] == [1, 2]
        assert await watch.numbers(2) == [2]


async def test_what_needs_a_data_key_is_refused_as_early(mortal_postgres: Postgres, url: str, tmp_path: Path) -> None:
    """Commits of secrets, forks, and dry runs: each asks the database for the newest data key first."""
    with ServerProcess(url, "--secret-key-file", str(key_file(tmp_path))) as server:
        async with stub_of(server) as stub:
            await stub.Commit(commit_request(CONFIG, {"x": secret()}))
            commit, dry = (commit_request(CONFIG, {"x": secret("2")}, validate_only=is_dry) for is_dry in (False, True))
            fork = pb.ForkConfigRequest(source=CONFIG, target="shop/fork", request_id="f")
            with mortal_postgres.frozen():
                for limit in (KNOWN_SECONDS, AT_ONCE_SECONDS):
                    began = time.monotonic()
                    calls = [refusal(stub.Commit(each, timeout=LONG_SECONDS)) for each in (commit, dry)]
                    calls.append(refusal(stub.ForkConfig(fork, timeout=LONG_SECONDS)))
                    refusals = await asyncio.gather(*calls)
                    assert time.monotonic() - began < limit
                    for refused in refusals:
                        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
                        assert_said(refused, "; nothing was written")
                        assert refused.metadata["nothing_written"] == "true"
            while await outcome(stub.Commit(commit)) != "OK":
                pass
            assert [version.version for version in await versions(stub)] == [1, 2]


async def test_a_commit_that_has_begun_may_be_written(
    mortal_postgres: Postgres, url: str, server: ServerProcess
) -> None:
    """P1, P8: its caller hears so, and the same request finds it."""
    async with stub_of(server) as stub:
        await stub.Commit(commit_request(CONFIG, {"x": 1}))
        begun, other = commit_request(CONFIG, {"x": 2}), commit_request(CONFIG, {"y": 1})
        with without_its_standby(url) as operator:
            commits = [asyncio.ensure_future(refusal(stub.Commit(begun, timeout=LONG_SECONDS)))]
            await until(operator, _WAITS_FOR_STANDBY)
            with mortal_postgres.frozen():
                commits.append(asyncio.ensure_future(refusal(stub.Commit(other, timeout=LONG_SECONDS))))
                open_one, waiting_one = await asyncio.gather(*commits)
                assert_said(open_one, "; the commit has begun, and may be written")
                assert_said(waiting_one, "; nothing was written")
                assert ["nothing_written" in each.metadata for each in (open_one, waiting_one)] == [False, True]
        while await outcome(stub.Commit(begun)) != "OK":
            pass
        assert (await stub.Commit(begun)).version.version == 2
        assert [version.version for version in await versions(stub)] == [1, 2]


async def test_the_sdk_and_the_command_line_say_what_is_silent_and_what_to_do(
    mortal_postgres: Postgres, server: ServerProcess
) -> None:
    async with lamina.aio.connect(server.target, timeout=VERB_SECONDS) as client:
        cfg = await client.config(CONFIG, create=True)
        cfg["x"] = 1
        await cfg.commit()
        live = await client.live(CONFIG)
        cfg["x"] = 2
        lamina_ = InProcess(server.target)
        with mortal_postgres.frozen():
            get = partial(lamina_, "get", CONFIG, "--timeout", f"{VERB_SECONDS:g}", code=5)
            told = asyncio.create_task(asyncio.to_thread(get))
            with pytest.raises(lamina.DeadlineError) as refused:
                await cfg.commit()
            assert re.fullmatch(f"no answer within 6 s: {SAID}; nothing was written", str(refused.value))
            assert (refused.value.reason, refused.value.wrote_nothing) == ("STORE_UNAVAILABLE", True)
            assert re.search(f"^lamina: no answer within 6 s: {SAID}$", (await told).stderr, re.MULTILINE)
            status = await asyncio.to_thread(lamina_.out, "status")
            assert "but takes no commits: its database has not answered for " in status
        assert (await cfg.commit()).number == 2
        await live.wait(2)


async def test_one_session_that_is_silent_is_no_silent_database(url: str, server: ServerProcess) -> None:
    """The server's own question has no answer, so it is not ready. Nobody else asks, but the database would answer.

    The server refuses nothing until new sessions have no answer either, and goes on when one has.
    """
    async with stub_of(server) as stub:
        await stub.Commit(commit_request(CONFIG, {"x": 1}))
        with connected(url) as operator, frozen_process(await until(operator, _TRIAL)):
            while not (await stub.GetServerInfo(pb.GetServerInfoRequest())).not_ready:
                pass
            end = time.monotonic() + OUTLASTS_SECONDS
            while time.monotonic() < end:
                info = await stub.GetServerInfo(pb.GetServerInfoRequest())
                assert info.not_ready == "the database cannot be used: no answer within 1.25 s"
            await stub.GetVersion(pb.GetVersionRequest(config=CONFIG))
            assert (await stub.Commit(commit_request(CONFIG, {"x": 2}))).version.version == 2
            with frozen_process(await until(operator, _POSTMASTER)):  # no new session can be opened
                while "has not answered" not in (await stub.GetServerInfo(pb.GetServerInfoRequest())).not_ready:
                    pass
            while await outcome(stub.Commit(commit_request(CONFIG, {"x": 3}))) != "OK":
                pass
            await until(operator, _NONE_IS_LEFT)


def assert_said(refused: Refusal, outcome: str = "") -> None:
    assert re.fullmatch(SAID + outcome, refused.text), refused.text


async def outcome(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return Refusal.of(error).reason
    return "OK"


async def versions(stub: Any) -> list[pb.ConfigVersion]:
    return list((await stub.ListVersions(pb.ListVersionsRequest(config=CONFIG))).versions)[::-1]
