"""NATS with the key-value store of JetStream in files, through nats-py."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import AsyncCall, Call
from tests.benchmarks.ours import key, new_text
from tests.benchmarks.peers.peer import HOST, START_SECONDS, free_ports, process, program, require

BUCKET = "bench"
KEY = "one"


class Nats:
    """A running NATS."""

    name = "NATS: KV put"
    watch_name = "NATS: KV watch"
    durable = "NOT synced before the answer: this version cannot do that for each write"

    def __init__(self, target: str, version: str, pid: int) -> None:
        self._target = target
        self.version = version
        self.pid = pid

    @contextmanager
    def put(self) -> Iterator[Call]:
        """Give a call that puts a key. The client is for asyncio alone, so each call runs its loop."""
        with asyncio.Runner() as runner:
            client, bucket = runner.run(_connected(self._target))
            loop = runner.get_loop()
            yield lambda: loop.run_until_complete(bucket.put(KEY, new_text().encode()))
            runner.run(client.close())

    @asynccontextmanager
    async def callers(self, number: int) -> AsyncIterator[Sequence[AsyncCall]]:
        """Give callers that share a client."""
        client, bucket = await _connected(self._target)

        def caller(name: str) -> AsyncCall:
            return lambda: bucket.put(name, new_text().encode())

        yield [caller(key(each)) for each in range(number)]
        await client.close()

    @contextmanager
    def until_called(self) -> Iterator[Call]:
        """Give a call that puts a key, and waits for the watch of it."""
        with asyncio.Runner() as runner:
            client, bucket = runner.run(_connected(self._target))
            loop = runner.get_loop()
            watch = runner.run(bucket.watch(KEY, ignore_deletes=True, inactive_threshold=None))

            async def once() -> None:
                await bucket.put(KEY, value := new_text().encode())
                while (update := await watch.updates(START_SECONDS)) is None or update.value != value:
                    pass  # None says that what was there before is told

            yield lambda: loop.run_until_complete(once())
            runner.run(client.close())


@contextmanager
def running(folder: Path) -> Iterator[Nats]:
    """Run a NATS with its data in a folder; raise PeerAbsentError where there is none."""
    require("nats")
    (port,) = free_ports(1)
    place = ["-a", HOST, "-p", str(port), "-js", "-sd", str(folder / "nats")]
    with process([program("nats-server", "nats-server"), *place], folder / "nats.log", port=port) as pid:
        target = f"nats://{HOST}:{port}"
        yield Nats(target, asyncio.run(_prepare(target)), pid)


async def _prepare(target: str) -> str:
    """Make the bucket; return the server's version."""
    client = await _client(target)
    await client.jetstream().create_key_value(bucket=BUCKET)
    version = str(client.connected_server_version)
    await client.close()
    return version


async def _connected(target: str) -> tuple[Any, Any]:
    client = await _client(target)
    return client, await client.jetstream().key_value(BUCKET)


async def _client(target: str) -> Any:
    return await import_module("nats").connect(target)
