"""The subscription to one config, for all its lives, as tasks.

One task reads the stream and swaps the map. Callbacks run in another task, which begins with the first callback, so
that a slow one does not delay the map. A third writes the last-known-good file.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, SupportsIndex

from lamina._grpc.aio.runner import StreamRunner
from lamina._grpc.aio.shell import Shell, is_cancelled
from lamina._live.audience import (
    ENDING_SECONDS,
    Audience,
    Binding,
    Callback,
    Due,
    DueCall,
    Listener,
    Notification,
    has_reached,
)
from lamina._live.offline import CacheWriter
from lamina._live.pins import Pins
from lamina._live.tracking import HeadTracker
from lamina._runtime.log import log
from lamina._streams.watch import WatchEnded
from lamina.errors import DeadlineError, LaminaError
from lamina.records import VersionChanges


class Subscription:
    """The state that all lives of one config share: it begins with the first live and ends with the last."""

    def __init__(
        self,
        shell: Shell,
        tracker: HeadTracker,
        cache_writer: CacheWriter,
        audience: Audience,
        *,
        on_end: Callable[["Subscription"], None],
    ) -> None:
        self._clock = shell.session.clock
        self.tracker = tracker
        self._cache_writer = cache_writer
        self._audience = audience
        self._on_end = on_end
        self.loop = asyncio.get_running_loop()
        self._changed = asyncio.Condition()
        self._ended = asyncio.Event()
        self.pins = Pins()
        self.is_over = False
        self._runner = StreamRunner(shell, tracker.stream)
        self._caller: asyncio.Task[None] | None = None
        self._reader = asyncio.create_task(self._read(), context=self.pins.without())
        self._keeper = asyncio.create_task(self._keep(), context=self.pins.without())

    def join(self, listener: Listener) -> bool:
        """Register a live, unless the subscription has ended; return whether it was registered."""
        if not self.is_over:
            self._audience.join(listener)
        return not self.is_over

    async def leave(self, listener: Listener) -> None:
        """Unregister a live, and end with the last one."""
        if self._audience.leave(listener):
            await self.close()
        else:
            await self._notify()  # wakes the calls that wait for this live

    def abandon(self, listener: Listener) -> None:
        """Unregister a live that was garbage collected. Called on any thread."""
        with suppress(RuntimeError):  # the loop is closed, and so are its tasks
            self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self.leave(listener)))

    async def wait(self, version: SupportsIndex, seconds: float, check_open: Callable[[], None]) -> None:
        """Wait until a version was reached. The seconds begin again with each part of a version in several parts."""
        began = self._clock()
        async with self._changed:
            while not has_reached(self.tracker, version):
                check_open()
                left = max(began, self.tracker.part_at) + seconds - self._clock()
                if left <= 0:
                    text = f"{self.tracker.place}, and not at {version!r}, after {seconds:g} s"
                    raise DeadlineError(text + self.tracker.why)
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()

    def listen(self, listener: Listener, function: Callable[[VersionChanges], Any], live: object) -> None:
        """Call a function with each version after the one that is shown."""
        listener.add(Callback(function, self.tracker.shown_already, live))
        self.begin_calling()

    def begin_calling(self) -> None:
        """Begin the task for callbacks, unless it runs already."""
        if self._caller is None and not self.is_over:
            self._caller = asyncio.create_task(self._call(), context=self.pins.without())

    def bind(self, listener: Listener, binding: Binding) -> None:
        """Show new versions to bound settings."""
        listener.bind(binding)

    def tell(self, notification: Notification) -> None:
        """Queue the callbacks of bound settings. Called by the task that reads the stream."""
        self._audience.put([notification])  # the caller is woken with the version that it is about

    async def close(self) -> None:
        """End the stream and the tasks."""
        self.is_over = True
        await self._runner.close()
        await self._end(None)
        await asyncio.wait([self._keeper], timeout=ENDING_SECONDS)
        tasks = {self._reader, self._keeper, self._caller} - {asyncio.current_task(), None}
        for task in tasks:
            assert task is not None
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _end(self, failure: LaminaError | None) -> None:
        self.is_over = True
        self._ended.set()
        self.tracker.end(failure or self.tracker.failure)
        await self._notify()
        self._on_end(self)

    # --- in the task that reads the stream ------------------------------------------------------

    async def _read(self) -> None:
        failure: LaminaError | None = None
        try:
            while True:
                received = await self._runner.run(self.tracker.step())
                # No other task has run since the map was swapped, so bound settings are never seen behind it.
                for binding in self._audience.behind(self.tracker.entries):
                    binding.look(self.tracker.entries)
                await self._hand_over(received)
        except WatchEnded:
            pass
        except LaminaError as error:
            failure = error
            log.error("%s, and does not follow any more: %s", self.tracker.place, error)
        except Exception as error:  # noqa: BLE001 - `wait` has to raise any error
            failure = LaminaError(f"a defect has ended it: {error!r}")
            log.exception("%s, and does not follow any more", self.tracker.place)
        finally:
            await self._end(failure)
            await self._runner.close()

    async def _hand_over(self, received: Iterable[Due]) -> None:
        """Wake the waiting calls, and queue new versions for the callbacks."""
        async with self._changed:
            if self._caller is not None:
                self._audience.put(received)
            self._changed.notify_all()
            if self._audience.is_behind:
                with self.tracker.held_up():
                    await self._changed.wait_for(lambda: not self._audience.is_behind or self.is_over)

    # --- in the task that keeps the last-known-good file -------------------------------------------

    async def _keep(self) -> None:
        is_over = not self._cache_writer.is_on
        while not is_over:
            async with self._changed:
                await self._changed.wait_for(lambda: self.is_over or self._cache_writer.is_due(self.tracker))
                is_over = self.is_over
            if self._cache_writer.is_due(self.tracker):
                rest = await asyncio.to_thread(self._cache_writer.keep, self.tracker)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), rest)  # new versions do not wake it

    # --- in the task that calls -----------------------------------------------------------------

    async def _call(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._audience.is_due or self.is_over)
                if self.is_over:
                    return
                was_behind, due = self._audience.is_behind, self._audience.take()
                if was_behind:
                    self._changed.notify_all()
            for call in self._audience.calls(due):
                await _called(call)


async def _called(call: DueCall) -> None:
    """Call a function, and await its result; log its error, unless this task itself is cancelled."""
    try:
        result = call.function(*call.arguments)
        if inspect.isawaitable(result):
            await result
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        call.failed()
    except Exception:  # noqa: BLE001 - the user's, and reported
        call.failed()
