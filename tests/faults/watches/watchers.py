"""Watchers of four kinds, which watch their configs through all faults: bare stubs and SDK, threads and asyncio.

A watcher on the bare stubs opens each stream at the next server, after its last cursor. The SDK resumes by itself; now
and then a watcher closes the SDK's watch, and opens another one after its cursor.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import grpc

import lamina
import lamina.aio
from lamina_protos.v1 import lamina_pb2_grpc
from tests.faults.clients import CHANNEL_OPTIONS, answer_of
from tests.faults.watches.logbook import Logbook, parse

PAUSE_SECONDS = 0.2
"""The longest pause before a stream is opened again, so that a server that is down is not asked all the time."""
STOP_SECONDS = 20.0


def watch_by_stubs(log: Logbook, targets: Sequence[str]) -> None:
    """Watch with the stubs, in a thread."""
    pause = threading.Event()
    with ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(target, options=CHANNEL_OPTIONS))
            for target in _turned(log, targets)
        ]
        for channel in itertools.cycle(channels):
            stream = lamina_pb2_grpc.ConfigServiceStub(channel).WatchKeyHistory(log.open())
            log.cancellable(stream.cancel)
            try:
                for message in stream:
                    if not log.take(message):
                        break
            except grpc.RpcError as error:
                log.ended(answer_of(error).reason)
            stream.cancel()
            if log.done:
                return
            pause.wait(log.dice.uniform(0, PAUSE_SECONDS))


def watch_by_sdk(log: Logbook, targets: Sequence[str]) -> None:
    """Watch with the SDK, in a thread."""
    with lamina.connect(",".join(_turned(log, targets))) as client:
        config = None
        wanted = log.watcher.filter
        after = log.start_of_sdk()
        while not log.done:
            try:
                config = config or client.config(log.watcher.config)
            except lamina.UnavailableError:
                continue  # it has tried for `timeout` seconds
            watch = config.watch(*wanted.keys, prefix=wanted.prefixes, after=after)
            log.cancellable(watch.close)
            log.began(parse(watch.cursor))
            with watch:
                try:
                    for version in watch.versions():
                        if not log.take_version(version):
                            break
                except lamina.LaminaError as error:
                    log.ended(error.reason or type(error).__name__)
            after = watch.cursor
            log.mark(parse(after))


async def watch_by_stubs_in_asyncio(log: Logbook, targets: Sequence[str]) -> None:
    """Watch with the stubs, in a task."""
    channels = [grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) for target in _turned(log, targets)]
    try:
        for channel in itertools.cycle(channels):
            stream = lamina_pb2_grpc.ConfigServiceStub(channel).WatchKeyHistory(log.open())
            try:
                async for message in stream:
                    if not log.take(message):
                        break
            except grpc.RpcError as error:
                log.ended(answer_of(error).reason)
            finally:
                stream.cancel()
            if log.done:
                return
            await asyncio.sleep(log.dice.uniform(0, PAUSE_SECONDS))
    finally:
        for channel in channels:
            await channel.close()


async def watch_by_sdk_in_asyncio(log: Logbook, targets: Sequence[str]) -> None:
    """Watch with the SDK, in a task."""
    async with lamina.aio.connect(",".join(_turned(log, targets))) as client:
        config = None
        wanted = log.watcher.filter
        after = log.start_of_sdk()
        while not log.done:
            try:
                config = config or await client.config(log.watcher.config)
            except lamina.UnavailableError:
                continue  # it has tried for `timeout` seconds
            watch = config.watch(*wanted.keys, prefix=wanted.prefixes, after=after)
            log.began(parse(watch.cursor))
            async with watch:
                try:
                    async for version in watch.versions():
                        if not log.take_version(version):
                            break
                except lamina.LaminaError as error:
                    log.ended(error.reason or type(error).__name__)
            after = watch.cursor
            log.mark(parse(after))


async def _cancellable(log: Logbook, watching: Coroutine[Any, Any, None]) -> None:
    """Run a watcher as a task that its logbook can end from another thread."""
    task = asyncio.create_task(watching)
    loop = asyncio.get_running_loop()
    log.cancellable(lambda: loop.call_soon_threadsafe(task.cancel))
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _turned(log: Logbook, targets: Sequence[str]) -> list[str]:
    """Return the servers in an order that differs from watcher to watcher."""
    turn = log.dice.randrange(len(targets))
    return [*targets[turn:], *targets[:turn]]


class Watchers:
    """All watchers of a run, from the start of the block until each has received its config's last version."""

    def __init__(self, logs: Sequence[Logbook], targets: Sequence[str]) -> None:
        self.logs = logs
        self._targets = targets
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._pool = ThreadPoolExecutor(max_workers=len(logs) + 1)
        self._ends: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._pool.submit(self._run_loop)
        for number, log in enumerate(self.logs):
            if number % 10 in _IN_THREADS:
                self._ends.append(self._pool.submit(_IN_THREADS[number % 10], log, self._targets))
                continue
            kind = watch_by_sdk_in_asyncio if number % 10 in _BY_SDK_IN_ASYNCIO else watch_by_stubs_in_asyncio
            self._ends.append(asyncio.run_coroutine_threadsafe(_cancellable(log, kind(log, self._targets)), self._loop))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for log in self.logs:
            log.stop()
        wait(self._ends, STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._ended.set)
        self._pool.shutdown()
        if error is None:
            for end in self._ends:
                end.result()

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # it also waits for what gRPC leaves behind
            runner.run(self._ended.wait())

    def wait_until_begun(self, seconds: float) -> None:
        """Wait until all have begun: a watch from now that begins after the last version would wait for ever."""
        for log in self.logs:
            assert log.begun.wait(seconds), f"{log.watcher.name} received nothing for {seconds} s"

    def wait(self, seconds: float) -> None:
        """Wait until all have received the last version, or for so long."""
        wait(self._ends, seconds)


_IN_THREADS: dict[int, Callable[[Logbook, Sequence[str]], None]] = {
    0: watch_by_stubs,
    1: watch_by_sdk,
    5: watch_by_stubs,
}
_BY_SDK_IN_ASYNCIO = (2, 6)
"""The kinds of ten watchers: in threads two with the stubs and one with the SDK; in asyncio five and two."""
