"""Redis with `appendfsync always`, through redis-py."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import AsyncCall, Call
from tests.benchmarks.ours import key, new_text
from tests.benchmarks.peers.peer import HOST, free_ports, process, program, require


class Redis:
    """A running Redis."""

    name = "Redis: SET"
    durable = "synced before the answer (appendfsync always)"

    def __init__(self, port: int, version: str, pid: int) -> None:
        self._port = port
        self.version = version
        self.pid = pid

    @contextmanager
    def put(self) -> Iterator[Call]:
        """Give a call that sets a key."""
        with _client(self._port) as client:
            yield lambda: client.set("one", new_text())

    @asynccontextmanager
    async def callers(self, number: int) -> AsyncIterator[Sequence[AsyncCall]]:
        """Give callers that share a client, with a connection for each."""
        async with import_module("redis.asyncio").Redis(host=HOST, port=self._port, max_connections=number) as client:

            def caller(name: str) -> AsyncCall:
                return lambda: client.set(name, new_text())

            yield [caller(key(each)) for each in range(number)]


@contextmanager
def running(folder: Path) -> Iterator[Redis]:
    """Run a Redis with its data in a folder; raise PeerAbsentError where there is none."""
    require("redis")
    (port,) = free_ports(1)
    data = folder / "redis"
    data.mkdir()
    options = {"port": port, "bind": HOST, "dir": data, "appendonly": "yes", "appendfsync": "always", "save": ""}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with process([program("redis-server", "redis-server"), *words], folder / "redis.log", port=port) as pid:
        with _client(port) as client:
            version = client.info("server")["redis_version"]
        yield Redis(port, version, pid)


def _client(port: int) -> Any:
    return import_module("redis").Redis(host=HOST, port=port)
