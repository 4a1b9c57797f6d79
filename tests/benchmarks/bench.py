"""Shared by the cases of one run: its scale, its folder, and the rivals, each started when it is first needed."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Self, TypeVar

import grpc
from rich.console import Console

from tests.benchmarks import floor, machine
from tests.benchmarks.measuring import Call, Samples, in_turn
from tests.benchmarks.peers import PEERS, etcd
from tests.benchmarks.peers.etcd import Etcd
from tests.benchmarks.peers.peer import Peer, PeerAbsentError
from tests.benchmarks.scale import Scale
from tests.support.postgres import Postgres, PostgresAbsentError, find_bindir
from tests.support.server import ServerProcess

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "bench"
"""In the checkout, so that everything is on a real disk: /tmp may be in memory."""

T = TypeVar("T")


class Bench:
    """One run. Use it as a context manager, which stops everything that it has started."""

    def __init__(self, scale: Scale, console: Console) -> None:
        self.scale = scale
        self.console = console
        self._stack = ExitStack()
        self._databases = 0

    def __enter__(self) -> Self:
        CACHE.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def new_database(self) -> Path:
        """Return the path of a SQLite file that does not exist yet."""
        self._databases += 1
        return self.folder / f"lamina-{self._databases}.db"

    @contextmanager
    def server(self, database: Path | str | None = None) -> Iterator[ServerProcess]:
        """Run a server of ours, by default on a new SQLite file."""
        chosen = database or self.new_database()
        with ServerProcess(chosen if isinstance(chosen, str) else f"sqlite:///{chosen}") as server:
            yield server

    @cached_property
    def etcd(self) -> Etcd | None:
        """The run's etcd, if this environment has one."""
        return self._started(lambda: etcd.running(self.folder), PeerAbsentError)

    @cached_property
    def peers(self) -> Sequence[Peer]:
        """The run's peers, as far as this machine has them; etcd is the first."""
        others = (self._started(partial(PEERS[name], self.folder), PeerAbsentError) for name in PEERS if name != "etcd")
        return [peer for peer in (self.etcd, *others) if peer is not None]

    @cached_property
    def etcd_stub(self) -> tuple[Etcd, object] | None:
        """The run's etcd, and a stub of it for one caller."""
        if self.etcd is None:
            return None
        channel = self._stack.enter_context(grpc.insecure_channel(self.etcd.target))
        return self.etcd, self.etcd.stub(channel)

    @cached_property
    def postgres(self) -> Postgres | None:
        """The run's PostgreSQL, if this machine has one."""
        return self._started(Postgres.start, PostgresAbsentError)

    @cached_property
    def floor_server(self) -> ServerProcess:
        """The server of empty handlers."""
        return self._stack.enter_context(floor.server())

    @property
    def floor(self) -> str:
        """The target of the empty handler."""
        return self.floor_server.target

    @cached_property
    def floor_channel(self) -> grpc.Channel:
        """A channel to the empty handler for one caller."""
        return self._stack.enter_context(grpc.insecure_channel(self.floor))

    @cached_property
    def synced_insert(self) -> Call:
        """One row inserted into a SQLite file, and synced."""
        return self._stack.enter_context(floor.synced_inserts(self.folder))

    def in_turn(self, sides: Mapping[str, Call], *, rounds: int | None = None) -> dict[str, Samples]:
        """Measure sides in turn, at this run's scale."""
        return in_turn(sides, rounds or self.scale.rounds, warm_up=self.scale.warm_up)

    def versions(self) -> dict[str, str]:
        """List the versions of the rivals that took part."""
        found = {}
        if "etcd" in self.__dict__ and self.etcd:
            found["etcd"] = self.etcd.version
        if "peers" in self.__dict__:
            found |= {peer.name.partition(":")[0]: peer.version for peer in self.peers}
        if "postgres" in self.__dict__ and self.postgres:
            found["PostgreSQL"] = machine.postgres_version(find_bindir())
        return found

    def _started(self, start: Callable[[], AbstractContextManager[T]], absent: type[Exception]) -> T | None:
        try:
            return self._stack.enter_context(start())
        except absent as error:
            self.console.print(f"[yellow]left out: {error}[/]")
            return None
