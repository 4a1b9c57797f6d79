"""Threads that race to commit to a few configs: batches of all sizes, some larger than a message. Knows no watcher.

The bare stubs, so that each commit is sent again to the next server, under its request id, until its answer is
definite. Every value is written once in a run.
"""

import itertools
import queue
import random
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1 import lamina_pb2_grpc
from tests.faults.clients import CALL_SECONDS, CHANNEL_OPTIONS, OPEN
from tests.faults.progress import Progress

FOLDERS, SHARED = ("a/", "b/", "c/", "d/"), 10
BLOBS, BLOB_LENGTH = "blob/", 120_000
"""The keys and values of a large version: its twelve values are much larger than a message of a mebibyte."""
SMALL_KEYS = tuple(f"{folder}{number}" for folder in FOLDERS for number in range(SHARED))
BLOB_KEYS = tuple(f"{BLOBS}{number}" for number in range(12))
RARE_KEY = "rare/key"
"""Set by the last version alone: until then, its watchers get nothing but bookmarks."""
FIRST_VERSIONS = 20
PER_CONFIG = 2
END = "end"
"""The message of the last version of a config, which changes every key: each watcher receives it."""
_SIZES = ((0.70, 3), (0.95, 10), (1.0, len(SMALL_KEYS)))
_DELETED = 0.15
_PAUSE_SECONDS = 0.05


class Writers:
    """Threads that commit from `start` on, until so many versions are acknowledged.

    Commits are released step by step: otherwise all of them would be written while one of two servers comes back.

    first  the headers of each config's first versions, which are there when the block begins
    left   how many commits are not released yet
    """

    def __init__(self, configs: Sequence[str], targets: Sequence[str], *, versions: int, large: int, seed: int) -> None:
        self.configs = configs
        self.first: dict[str, list[pb.ConfigVersion]] = {config: [] for config in configs}
        self.progress = Progress()
        self._targets = targets
        self._dice = random.Random(f"{seed} writers")
        # There is one ticket for each version; which versions are large is drawn.
        self.left = versions - len(configs) * (FIRST_VERSIONS + 1)
        self._large = frozenset(self._dice.sample(range(self.left), min(large, self.left)))
        self._tickets: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._given = itertools.count()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        with _Writer("first", self._targets, self._stop) as writer:
            for config in self.configs:
                for number in range(FIRST_VERSIONS):
                    self.first[config].append(writer.commit(config, {SMALL_KEYS[number]: f"first-{number}"}))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._join()

    def start(self) -> None:
        """Begin to race."""
        for number, config in enumerate([*self.configs] * PER_CONFIG):
            dice = random.Random(self._dice.random())
            thread = threading.Thread(target=self._work, args=(f"w{number}", config, dice), name=f"writer {number}")
            self._threads.append(thread)
            thread.start()

    def release(self, count: int) -> None:
        """Release so many more commits."""
        for _ in range(min(count, self.left)):
            self._tickets.put(next(self._given))
            self.left -= 1

    def finish(self) -> None:
        """Wait until all have been acknowledged, and write each config's last version."""
        self.release(self.left)
        self._join()
        self.progress.check()
        with _Writer(END, self._targets, self._stop) as writer:
            for config in self.configs:
                keys = (*SMALL_KEYS, *BLOB_KEYS, RARE_KEY)
                writer.commit(config, {key: f"end-{key}" for key in keys}, message=END)

    def _join(self) -> None:
        for _ in self._threads:
            self._tickets.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _work(self, name: str, config: str, dice: random.Random) -> None:
        try:
            with _Writer(name, self._targets, self._stop) as writer:
                while (ticket := self._tickets.get()) is not None and not self._stop.is_set():
                    writer.commit(config, self._changes(ticket, dice, name))
                    self.progress.add()
        except grpc.RpcError as error:
            self.progress.fail(error)

    def _changes(self, ticket: int, dice: random.Random, name: str) -> Mapping[str, str | None]:
        if ticket in self._large:
            return {key: f"{name}-{ticket}-{key}".ljust(BLOB_LENGTH, ".") for key in BLOB_KEYS}
        drawn = dice.random()
        most = next(most for share, most in _SIZES if drawn < share)
        keys = dice.sample(SMALL_KEYS, dice.randint(1, most))
        # Never all of them: a commit that changes nothing makes no version.
        deleted = [key for key in keys[1:] if dice.random() < _DELETED]
        return {key: None if key in deleted else f"{name}-{ticket}" for key in keys}


class _Writer:
    """One thread's connections to the servers, which it uses in turn."""

    def __init__(self, name: str, targets: Sequence[str], stop: threading.Event) -> None:
        self._name = name
        self._stop = stop
        self._channels = [grpc.insecure_channel(target, options=CHANNEL_OPTIONS) for target in targets]
        self._stubs = itertools.cycle([lamina_pb2_grpc.ConfigServiceStub(channel) for channel in self._channels])
        self._stub = next(self._stubs)
        self._count = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()

    def commit(self, config: str, changes: Mapping[str, str | None], message: str = "") -> pb.ConfigVersion:
        """Commit until the answer is definite, and return the version; raise RpcError if it is refused."""
        request = pb.CommitRequest(
            config=config,
            changes=[_change(key, value) for key, value in changes.items()],
            message=message,
            request_id=f"{self._name}-{next(self._count)}",
        )
        while True:
            try:
                reply: pb.CommitResponse = self._stub.Commit(request, timeout=CALL_SECONDS)
                return reply.version
            except grpc.RpcError as error:
                ended: Any = error
                if ended.code() not in OPEN or self._stop.wait(_PAUSE_SECONDS):
                    raise
                self._stub = next(self._stubs)


def _change(key: str, value: str | None) -> pb.Change:
    return pb.Change(key=key, deleted=True) if value is None else pb.Change(key=key, value=pb.Value(string=value))
