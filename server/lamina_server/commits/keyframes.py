"""When keyframes are written: apart from commits, on a thread of their own, and only when they pay.

A keyframe of a map of n keys is n rows. It is due once as many values have originated since
the last keyframe as the map has keys, and at least KEYFRAME_VALUES_MINIMUM. So a map costs
O(1) rows per change, amortised, and reading it never replays more than about twice its size.
A due keyframe waits for a moment without commits, but not for ever: at OVERDUE_FACTOR times as many
values it is written anyway.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import structlog

from lamina_server.domain.records import Version
from lamina_server.metrics.recorder import Recorder
from lamina_server.store.background import in_background
from lamina_server.store.contract import Store

KEYFRAME_VALUES_MINIMUM = 256
"""A keyframe pays only if it saves more rows than its own transaction costs."""
OVERDUE_FACTOR = 2
"""At so many times the values that make a keyframe due, it no longer waits for a moment without commits."""
LAST_KEYFRAME_SECONDS = 0.2
"""How long the end waits for a keyframe under way. A slow database must not use up the time that commits need."""

_log = structlog.get_logger(__name__)


class KeyframeScheduler:
    """Counts values since the last keyframe of each config, and writes the next. Lives on the event loop.

    on_failure  called on the event loop when a keyframe's transaction has made the store fail
    """

    def __init__(self, store: Store, recorder: Recorder, *, on_failure: Callable[[], None]) -> None:
        self._store = store
        self._recorder = recorder
        self._on_failure = on_failure
        self._since: dict[str, int] = {}
        self._under_way: asyncio.Task[None] | None = None
        self._is_stopping = False

    def committed(self, version: Version, *, is_busy: bool) -> None:
        """Count a new version's values, and begin to write a keyframe if one is due."""
        config = version.config
        is_known = config in self._since or version.number == 1
        since = self._since.get(config, 0) + version.change_count
        self._since[config] = since
        due = max(version.key_count, KEYFRAME_VALUES_MINIMUM)
        if self._under_way is not None or (is_known and since < due) or (is_busy and since < OVERDUE_FACTOR * due):
            return
        self._under_way = asyncio.get_running_loop().create_task(self._write(config, due))

    async def stop(self) -> None:
        """Begin no other keyframe. Wait for the one under way, but not for long.

        No answer depends on it. When its connection is closed, the database rolls it back.
        """
        self._is_stopping = True
        if self._under_way:
            await asyncio.wait({self._under_way}, timeout=LAST_KEYFRAME_SECONDS)
        if self._under_way:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})

    async def _write(self, config: str, due: int) -> None:
        counted = self._since[config]
        try:
            since = await in_background(partial(self._write_if_due, config, due), name="keyframes")
        except RuntimeError as error:  # no thread is left
            _log.error("keyframe not written", config=config, exc_info=error)
            since = 0
        # Values committed meanwhile are added, some perhaps twice: then the next keyframe comes a little early.
        self._since[config] += since - counted
        self._under_way = None
        if self._store.failure:
            self._on_failure()

    def _write_if_due(self, config: str, due: int) -> int:
        """Write a keyframe unless another server did; return how many values have originated since the last one."""
        began = time.perf_counter()
        try:
            since = self._store.originated_since_keyframe(config)
            if since >= due:
                self._store.write_keyframe(config)
                self._recorder.keyframe("written", time.perf_counter() - began)
                since = 0
        except Exception:  # noqa: BLE001 - a keyframe only saves time: every commit stands. The next try is the next due
            if not self._is_stopping:
                _log.exception("keyframe not written", config=config)
                self._recorder.keyframe("failed", time.perf_counter() - began)
            since = 0
        return since
