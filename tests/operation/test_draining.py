"""SIGTERM under load, and a start again: clients that try again see no error, and nothing acknowledged is lost."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import lamina
from lamina.aio import Client
from tests.support.server import ServerProcess

CLIENTS = 20
COMMITS_IN_FLIGHT = 100
WATCHES = 1_000
BUSY = [f"busy/{number}" for number in range(10)]
QUIET = "quiet"
LAST = "last"
COMMITS_EACH_BEFORE = 2
TIMEOUT_SECONDS = 90.0
"""Of each client, retries included. A busy machine takes long to start a server again."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> ServerProcess:
    """A server on SQLite, or two workers on PostgreSQL."""
    if request.param == "sqlite":
        return ServerProcess(f"sqlite:///{tmp_path}/lamina.db")
    return ServerProcess(request.getfixturevalue("postgres_url"), "--workers", "2")


@asynccontextmanager
async def connected(target: str) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        clients = [lamina.aio.connect(target, author=f"c{n}", timeout=TIMEOUT_SECONDS) for n in range(CLIENTS)]
        for client in clients:
            await stack.enter_async_context(client)
        yield clients


Commit: TypeAlias = tuple[str, int, str, Any]
"""Config, number of the version, key and value."""


class Load:
    """Writers that each have a commit in flight, and watches; an error in any of them fails the test.

    acknowledged  the commits that were answered
    is_ending     whether each writer ends after its next commit
    watching      released by each watch for each version
    written       released by each commit that was answered
    """

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self.acknowledged: set[Commit] = set()
        self.is_ending = False
        self.watching = asyncio.Semaphore(0)
        self.written = asyncio.Semaphore(0)

    async def begin(self, name: str) -> None:
        config = await self._clients[0].config(name, create=True)
        config["begun"] = True
        await config.commit()

    async def write(self, number: int) -> None:
        """Commit to a key of its own, again and again, and once more at the end."""
        key, name = f"w{number}", BUSY[number % len(BUSY)]
        config = await self._clients[number % CLIENTS].config(name)
        for value in count():
            is_last = self.is_ending
            config[key] = value
            version = await config.commit()
            self.acknowledged.add((name, version.number, key, value))
            self.written.release()
            if is_last:
                return

    async def watch(self, number: int) -> list[int]:
        """Follow the quiet config until its second version."""
        config = await self._clients[number % CLIENTS].config(QUIET)
        seen = []
        async with config.watch(after=0) as watch:
            async for version in watch.versions():
                seen.append(version.version)
                self.watching.release()
                if version.version == 2:
                    return seen
        return seen

    async def follow(self, name: str) -> set[Commit]:
        """Follow a busy config from its first version to its last; return what its versions have changed."""
        config = await self._clients[0].config(name)
        seen, changes = 0, set()
        async with config.watch(after=0) as watch:
            async for version in watch.versions():
                seen += 1
                assert version.version == seen
                changes |= {(name, version.version, each.key, each.value) for each in version.changes}
                if version.changes[0].key == LAST:
                    break
        return changes

    async def commit_last(self, name: str, key: str) -> None:
        config = await self._clients[0].config(name)
        config[key] = True
        await config.commit()


@pytest.mark.timeout(300)
async def test_clients_see_no_error(server: ServerProcess) -> None:
    """P1, P8, P9: an error of any commit or watch would end the group."""
    with server:
        async with connected(server.target) as clients, asyncio.TaskGroup() as tasks:
            load = Load(clients)
            for name in (*BUSY, QUIET):
                await load.begin(name)
            watches = [tasks.create_task(load.watch(number)) for number in range(WATCHES)]
            followers = [tasks.create_task(load.follow(name)) for name in BUSY]
            for _ in watches:
                await load.watching.acquire()
            writers = [tasks.create_task(load.write(number)) for number in range(COMMITS_IN_FLIGHT)]
            for _ in range(COMMITS_EACH_BEFORE * COMMITS_IN_FLIGHT):
                await load.written.acquire()
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            await asyncio.to_thread(server.restart)
            load.is_ending = True
            await asyncio.gather(*writers)
            for name in BUSY:
                await load.commit_last(name, LAST)
            await load.commit_last(QUIET, LAST)
            assert await asyncio.gather(*watches) == [[1, 2]] * WATCHES
            changes = set().union(*await asyncio.gather(*followers))
            assert load.acknowledged <= changes
            assert len(load.acknowledged) >= (COMMITS_EACH_BEFORE + 1) * COMMITS_IN_FLIGHT
