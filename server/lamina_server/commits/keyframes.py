"""When keyframes are written: apart from commits, on a thread of their own, and never more than pay.

A keyframe of a map of n keys is n lines. It is due once as many values have originated
since the last one as the map has keys, and at least KEYFRAME_VALUES_MINIMUM: so a map
costs O(1) lines per change, amortised, and reading one never replays more than about twice
its size. A due one waits for a moment without commits, but not for ever: at twice as many
values it is written all the same.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from lamina_server.domain.records import Version
from lamina_server.store.contract import Store

KEYFRAME_VALUES_MINIMUM = 256
"""A keyframe pays only where it saves more rows than its own transaction costs."""
OVERDUE = 2

_log = structlog.get_logger(__name__)


class KeyframeScheduler:
    """Counts values since the last keyframe of each config, and writes the next. Lives on the event loop.

    on_failure  called there when the end of a keyframe's transaction has failed the store
    """

    def __init__(self, store: Store, *, on_failure: Callable[[], None]) -> None:
        self._store = store
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keyframes")
        self._since: dict[str, int] = {}
        self._under_way: asyncio.Task[None] | None = None

    def note(self, version: Version, *, is_busy: bool) -> None:
        """Count a new version's values, and begin to write a keyframe where one is due."""
        config = version.config
        is_known = config in self._since or version.number == 1
        since = self._since.get(config, 0) + version.change_count
        self._since[config] = since
        due = max(version.key_count, KEYFRAME_VALUES_MINIMUM)
        if self._under_way is not None or (is_known and since < due) or (is_busy and since < OVERDUE * due):
            return
        self._under_way = asyncio.get_running_loop().create_task(self._write(config, due))

    async def stop(self) -> None:
        """Wait for a keyframe that is being written, and end the thread."""
        if self._under_way:
            await self._under_way
        await asyncio.to_thread(self._thread.shutdown)

    async def _write(self, config: str, due: int) -> None:
        counted = self._since[config]
        since = await asyncio.get_running_loop().run_in_executor(self._thread, self._write_if_due, config, due)
        # What was committed meanwhile is counted on top, be it twice: then the next one comes a little early.
        self._since[config] += since - counted
        self._under_way = None
        if self._store.has_failed:
            self._on_failure()

    def _write_if_due(self, config: str, due: int) -> int:
        """Write a keyframe unless another server did; return how many values have originated since the last."""
        try:
            since = self._store.originated_since_keyframe(config)
            if since >= due:
                self._store.write_keyframe(config)
                since = 0
        except Exception:  # noqa: BLE001 - a keyframe only saves time: every commit stands. The next try is the next due
            _log.exception("keyframe not written", config=config)
            since = 0
        return since
