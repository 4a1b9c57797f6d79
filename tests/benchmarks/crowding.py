"""The process of a crowd: it opens thousands of watches, keeps them open, and reports on them.

`python -m tests.benchmarks.crowding PLAN` reports when all are open, and then answers each
line of its standard input with one line, all in JSON, until that input ends:

    {"count": true}                      the messages since the last such line: all, and of the watcher with the fewest
    {"await": VERSION, "keys": [...]}    wait from now on for a new stream of each watcher, and for this version
    {"resumed": true}                    when each watcher had both (time.monotonic), as soon as all have

The watchers use the generated stubs with the SDK's rules: its channel options, its number of
streams on a connection, its pauses before a stream is opened again.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import grpc

from lamina._grpc.connection import OPTIONS
from lamina._streams.watch import REOPEN_CEILING_SECONDS, REOPEN_FIRST_SECONDS
from lamina._wire.status import error_of
from lamina.errors import UnavailableError
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.benchmarks import floor, ours
from tests.benchmarks.crowd import Plan

LIMIT_SECONDS = 180.0
"""After this time something is broken: the goal is a sixth of it."""


class _Watcher:
    """One watcher of the floor: its messages have no meaning."""

    def __init__(self, watching: "_Watching", channel: grpc.aio.Channel) -> None:
        self._watching = watching
        self._channel = channel
        self.messages = 0
        self.is_new = True
        self.resumed_at = 0.0

    async def run(self) -> NoReturn:
        """Watch for ever, on one stream after another."""
        failures = 0
        while True:
            before = self.reached
            self.is_new = True
            try:
                stream = self.open()
                while (message := await stream.read()) is not grpc.aio.EOF:
                    self.messages += 1
                    self._watching.took(self, self.take(message))
            except grpc.aio.AioRpcError as error:
                if not isinstance(error_of(error.code().name, error.details() or "", ()), UnavailableError):
                    raise
            self._watching.lost += 1
            failures = 0 if self.reached > before else failures
            await asyncio.sleep(random.uniform(0, min(REOPEN_CEILING_SECONDS, REOPEN_FIRST_SECONDS * 2**failures)))
            failures = min(failures + 1, 16)

    @property
    def reached(self) -> int:
        """The version up to which the watcher has seen everything."""
        return 0

    def open(self) -> Any:
        """Open a stream."""
        return floor.open_stream(self._channel, self._watching.plan.bookmark_seconds)

    def take(self, _message: Any) -> int:
        """Take a message; return the version of its last event, or 0."""
        return 0

    def matches(self, _keys: Collection[str]) -> bool:
        """Return whether the watcher gets changes of these keys."""
        return False


class _Lamina(_Watcher):
    """One watcher of ours, of a key or of a whole config."""

    def __init__(self, watching: "_Watching", channel: grpc.aio.Channel, request: pb.WatchKeyHistoryRequest) -> None:
        super().__init__(watching, channel)
        self._request = request

    @property
    def reached(self) -> int:
        return self._request.after.version

    def open(self) -> Any:
        return ConfigServiceStub(self._channel).WatchKeyHistory(self._request)

    def take(self, message: pb.WatchKeyHistoryResponse) -> int:
        event = 0
        for part in message.changes:
            event = part.version.version
            self._request.after.CopyFrom(pb.Cursor(version=event, hash=part.version.hash))
        if message.HasField("bookmark"):
            bookmark = message.bookmark
            self._request.after.CopyFrom(pb.Cursor(version=bookmark.version, hash=bookmark.hash))
        return event

    def matches(self, keys: Collection[str]) -> bool:
        return not self._request.keys or self._request.keys[0] in keys


class _Watching:
    """All watchers, and the answers."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lost = 0
        channels = [grpc.aio.insecure_channel(plan.target, OPTIONS) for _ in range(plan.connections)]
        self._all = [self._watcher(number, channels[number % plan.connections]) for number in range(plan.watchers)]
        self._awaited = 0
        self._keys: Collection[str] = ()
        self._complete = asyncio.Event()
        self._missing = set(self._all)

    async def run(self) -> NoReturn:
        """Open all watches, and answer until there are no more questions."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for watcher in self._all:
                group.create_task(watcher.run())
            await self._until_complete()
            _print({"opened": time.monotonic() - started})
            while line := await asyncio.to_thread(sys.stdin.readline):
                _print(await self._answer(json.loads(line)))
            os._exit(0)  # the process that asks has ended

    def took(self, watcher: _Watcher, event: int) -> None:
        """Note that a watcher had a message, with this version as its last event."""
        if watcher not in self._missing or not watcher.is_new:
            return
        if event < self._awaited and watcher.matches(self._keys):
            return
        watcher.resumed_at = time.monotonic()
        self._missing.discard(watcher)
        if not self._missing:
            self._complete.set()

    async def _answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        if "await" in question:
            return self._await(question["await"], question["keys"])
        if "resumed" in question:
            await self._until_complete()
            return {"resumed": [watcher.resumed_at for watcher in self._all], "lost": self.lost}
        counts = [watcher.messages for watcher in self._all]
        for watcher in self._all:
            watcher.messages = 0
        return {"messages": sum(counts), "fewest": min(counts), "lost": self.lost}

    def _await(self, version: int, keys: Collection[str]) -> Mapping[str, Any]:
        self._awaited, self._keys = version, keys
        self._missing = set(self._all)
        self._complete.clear()
        for watcher in self._all:
            watcher.is_new = False
        return {}

    async def _until_complete(self) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await self._complete.wait()

    def _watcher(self, number: int, channel: grpc.aio.Channel) -> _Watcher:
        plan = self.plan
        if plan.config is None:
            return _Watcher(self, channel)
        request = pb.WatchKeyHistoryRequest(config=plan.config)
        request.bookmark_interval.FromSeconds(plan.bookmark_seconds)
        if plan.only_keys or number % 2:
            request.keys.append(ours.key(plan.first + number))
        return _Lamina(self, channel, request)


def _print(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def _main() -> None:
    await _Watching(Plan(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    asyncio.run(_main())
