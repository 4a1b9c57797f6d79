"""ZooKeeper with its defaults, by which it syncs each write, through kazoo."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import AsyncCall, Call
from tests.benchmarks.ours import key, new_text
from tests.benchmarks.peers.peer import (
    HOST,
    START_SECONDS,
    PeerAbsentError,
    free_ports,
    process,
    program,
    require,
)

JAR = Path("/usr/share/java/zookeeper.jar")
PATH = "/one"


class ZooKeeper:
    """A running ZooKeeper."""

    name = "ZooKeeper: set"
    watch_name = "ZooKeeper: DataWatch"
    durable = "synced before the answer (forceSync, the default)"

    def __init__(self, target: str, version: str, pid: int) -> None:
        self._target = target
        self.version = version
        self.pid = pid

    @contextmanager
    def put(self) -> Iterator[Call]:
        """Give a call that sets a node."""
        with _connected(self._target) as client:
            client.ensure_path(PATH)
            yield lambda: client.set(PATH, new_text().encode())

    @asynccontextmanager
    async def callers(self, number: int) -> AsyncIterator[Sequence[AsyncCall]]:
        """Give callers that share a client; kazoo has its own thread, so each waits for what that tells the loop."""
        loop = asyncio.get_running_loop()
        with _connected(self._target) as client:
            paths = [f"/{key(each)}" for each in range(number)]
            for path in paths:
                client.ensure_path(path)

            def caller(path: str) -> AsyncCall:
                async def call() -> None:
                    answer: asyncio.Future[Any] = loop.create_future()
                    result = client.set_async(path, new_text().encode())
                    result.rawlink(lambda done: loop.call_soon_threadsafe(answer.set_result, done))
                    (await answer).get()

                return call

            yield [caller(path) for path in paths]

    @contextmanager
    def until_called(self) -> Iterator[Call]:
        """Give a call that sets a node, and waits for its DataWatch."""
        with _connected(self._target) as client:
            client.ensure_path(PATH)
            called = threading.Event()
            client.DataWatch(PATH, lambda *_: called.set())
            called.wait(START_SECONDS)

            def call() -> None:
                called.clear()
                client.set(PATH, new_text().encode())
                assert called.wait(START_SECONDS)

            yield call


@contextmanager
def running(folder: Path) -> Iterator[ZooKeeper]:
    """Run a ZooKeeper with its data in a folder; raise PeerAbsentError where there is none."""
    require("kazoo")
    if not JAR.exists():
        raise PeerAbsentError("there is no ZooKeeper (Debian: apt install zookeeper)")
    (port,) = free_ports(1)
    settings = folder / "zookeeper.cfg"
    lines = {
        "dataDir": folder / "zookeeper",
        "clientPort": port,
        "clientPortAddress": HOST,
        "4lw.commands.whitelist": "envi",  # which tells the version
    }
    settings.write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    java = [program("java", "default-jre-headless"), "-Dzookeeper.admin.enableServer=false", "-cp", str(JAR)]
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    with process([*java, main, str(settings)], folder / "zookeeper.log", port=port) as pid:
        target = f"{HOST}:{port}"
        with _connected(target) as client:
            version = ".".join(map(str, client.server_version()))
        yield ZooKeeper(target, version, pid)


@contextmanager
def _connected(target: str) -> Iterator[Any]:
    client = import_module("kazoo.client").KazooClient(hosts=target)
    client.start(timeout=START_SECONDS)
    try:
        yield client
    finally:
        client.stop()
        client.close()
