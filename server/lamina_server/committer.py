"""The only writer: one thread through which every command passes, in the order of arrival.

Knows no wire. One thread, because a database has one write lock anyway, and because what
is decided in order needs no other lock. A command that was begun is finished, whatever
becomes of its caller: a deadline or a lost connection must not decide whether a commit
that may already be durable is told to the watchers.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from lamina_server.commands import Command
from lamina_server.committing import Preview, perform, preview
from lamina_server.errors import Reason, UnavailableError
from lamina_server.planning import MapLimits
from lamina_server.store.contract import Store
from lamina_server.versions import Reply, RequestKey, Version

KEYFRAME_VALUES_MINIMUM = 256
"""A keyframe pays only where it saves more rows than its own transaction costs."""

_log = structlog.get_logger(__name__)


class Committer:
    """Commands in, replies out, versions announced in between.

    on_commit  called on the event loop with each new version, durable by then, before the
               reply to its command
    now_us     the clock, in microseconds since the epoch
    """

    def __init__(
        self,
        store: Store,
        *,
        limits: MapLimits,
        on_commit: Callable[[Version], None],
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._store = store
        self._limits = limits
        self._on_commit = on_commit
        self._now_us = now_us
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._begun: set[asyncio.Task[Reply]] = set()
        self._draining = False
        self._since_keyframe: dict[str, int] = {}

    async def submit(self, request: RequestKey, command: Command) -> Reply:
        """Carry a command out exactly once and return its reply.

        Cancelling the caller does not cancel the command. Raises what the command is
        refused with; UnavailableError(DRAINING) once `stop` was called.
        """
        if self._draining:
            raise UnavailableError(Reason.DRAINING, "the server is stopping; nothing was written")
        task = asyncio.get_running_loop().create_task(self._carry_out(request, command))
        self._begun.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def preview(self, command: Command) -> Preview:
        """Decide a command without writing. Blocks: call it on a reader's thread."""
        with self._store.read() as reading:
            return preview(reading, command, now_us=self._now_us(), limits=self._limits)

    async def stop(self) -> None:
        """Refuse new commands, finish those begun, and end the thread."""
        self._draining = True
        if self._begun:
            await asyncio.wait(self._begun)
        await asyncio.to_thread(self._thread.shutdown)

    async def _carry_out(self, request: RequestKey, command: Command) -> Reply:
        loop = asyncio.get_running_loop()
        reply = await loop.run_in_executor(self._thread, self._write, request, command)
        if reply.created and reply.version is not None:
            self._on_commit(reply.version)
            self._thread.submit(self._keep_keyframes, reply.version)
        return reply

    def _finished(self, task: "asyncio.Task[Reply]") -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: a caller that has left does not make it an unheard one

    def _write(self, request: RequestKey, command: Command) -> Reply:
        with self._store.write() as writing:
            return perform(writing, request, command, now_us=self._now_us(), limits=self._limits)

    def _keep_keyframes(self, version: Version) -> None:
        """Write a keyframe once as many values have originated as the map has keys.

        So a map costs O(1) associations per change, amortised, and reading one never
        replays more than about twice its size.
        """
        config = version.config
        try:
            if config in self._since_keyframe:
                since = self._since_keyframe[config] + version.change_count
            else:
                since = self._store.originated_since_keyframe(config)
            if since >= max(version.key_count, KEYFRAME_VALUES_MINIMUM):
                self._store.write_keyframe(config)
                since = 0
            self._since_keyframe[config] = since
        except Exception:  # noqa: BLE001 - a keyframe only saves time: the commit before it stands
            self._since_keyframe.pop(config, None)
            _log.exception("keyframe not written", config=config, version=version.number)
