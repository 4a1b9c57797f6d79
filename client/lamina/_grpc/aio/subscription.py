"""One config as it is followed, for all lives of it: the tasks."""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, SupportsIndex

from lamina._grpc.aio.shell import Shell, is_cancelled
from lamina._grpc.aio.watch import Watch
from lamina._live import offline
from lamina._live.pins import Pins
from lamina._live.tracking import CALLBACKS_BEHIND, ENDING_SECONDS, HeadTracker, Made
from lamina._live.view import Callbacks, reached, to_be_told
from lamina._runtime.log import log
from lamina._settings.bound import Bindings, Bound, Notification
from lamina._streams.watch import WatchEnded
from lamina.errors import DeadlineError, LaminaError
from lamina.records import VersionChanges


class Subscription:
    """What all lives of one config share: begun for the first of them, ended with the last."""

    def __init__(
        self,
        shell: Shell,
        tracking: HeadTracker,
        keeping: offline.CacheWriter,
        on_end: Callable[["Subscription"], None],
    ) -> None:
        self._on_end = on_end
        self.tracking = tracking
        self._keeping = keeping
        self.pins = Pins()
        self.loop = asyncio.get_running_loop()
        self._lives: list[Callbacks] = []
        self.is_over = False
        self._moved = asyncio.Condition()
        self._made: deque[Made | Notification] = deque()
        self.bounds = Bindings()
        self._calling: asyncio.Task[None] | None = None
        self._stream = _Stream(shell, self.tracking)
        self._task = asyncio.create_task(self._move_to_head(), context=self.pins.without())
        self._keeper = asyncio.create_task(self._keep(), context=self.pins.without())

    def join(self, callbacks: Callbacks) -> bool:
        """Count a live in; not once it is over."""
        if not self.is_over:
            self._lives.append(callbacks)
        return not self.is_over

    async def leave(self, callbacks: Callbacks) -> None:
        """Count a live off."""
        self.bounds.drop(callbacks)
        self._lives = [each for each in self._lives if each is not callbacks]
        if not self._lives:
            await self.close()
        else:
            async with self._moved:
                self._moved.notify_all()  # whoever waits by this live, and by no other

    def abandon(self, callbacks: Callbacks) -> None:
        """Count a live off that was left lying, from whatever thread."""
        with suppress(RuntimeError):  # the loop is closed, and so is all that ran in it
            self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self.leave(callbacks)))

    async def wait(self, version: SupportsIndex, seconds: float, check_open: Callable[[], None]) -> None:
        """Wait until a version was reached."""
        try:
            async with asyncio.timeout(seconds), self._moved:
                while not reached(self.tracking, version):
                    check_open()
                    await self._moved.wait()
        except TimeoutError:
            text = f"{self.tracking.place}, and not at {version!r}, after {seconds:g} s"
            raise DeadlineError(text) from None

    def begin_calling(self) -> None:
        """Have a task for callbacks."""
        if self._calling is None and not self.is_over:
            self._calling = asyncio.create_task(self._call(), context=self.pins.without())

    def bind(self, callbacks: Callbacks, bound: Bound[Any]) -> None:
        """Have something that is bound look at what comes."""
        self.bounds.add(callbacks, bound)

    def tell(self, telling: Notification) -> None:
        """Have the functions of something bound called, after what waits already. For the task that follows."""
        self._made.append(telling)  # of which it is notified with the version that it is about

    async def close(self) -> None:
        """End the stream and the tasks."""
        self.is_over = True
        await self._stream.close()
        await self._end(None)
        await asyncio.wait([self._keeper], timeout=ENDING_SECONDS)
        tasks = {self._task, self._keeper, self._calling} - {asyncio.current_task(), None}
        for task in tasks:
            assert task is not None
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    async def _end(self, failure: LaminaError | None) -> None:
        self.is_over = True
        self.tracking.end(failure or self.tracking.failure)
        async with self._moved:
            self._moved.notify_all()
        self._on_end(self)

    async def _move_to_head(self) -> None:
        failure: LaminaError | None = None
        try:
            async for made in self._stream.steps():
                # Nobody else has run since the map was swapped: what is bound is never seen behind it.
                for bound in self.bounds.behind(self.tracking.entries):
                    bound.look(self.tracking.entries)
                await self._hand_over(made)
        except LaminaError as error:
            failure = error
            log.error("%s, and does not follow any more: %s", self.tracking.place, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits has to hear of it
            failure = LaminaError(f"a defect has ended it: {error!r}")
            log.exception("%s, and does not follow any more", self.tracking.place)
        finally:
            await self._end(failure)
            await self._stream.close()

    async def _hand_over(self, made: list[Made]) -> None:
        """Wake who waits, and leave what came to the callbacks."""
        async with self._moved:
            if self._calling is not None:
                self._made.extend(made)
            self._moved.notify_all()
            if len(self._made) > CALLBACKS_BEHIND:
                with self.tracking.held_up():
                    await self._moved.wait_for(lambda: len(self._made) <= CALLBACKS_BEHIND or self.is_over)

    async def _keep(self) -> None:
        is_over = not self._keeping.is_on
        while not is_over:
            async with self._moved:
                await self._moved.wait_for(lambda: self.is_over or self._keeping.is_due(self.tracking))
                is_over = self.is_over
            rest = 0.0
            if self._keeping.is_due(self.tracking):
                rest = await asyncio.to_thread(self._keeping.keep, self.tracking)
            with suppress(TimeoutError):
                async with asyncio.timeout(rest), self._moved:
                    await self._moved.wait_for(lambda: self.is_over)

    async def _call(self) -> None:
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: self._made or self.is_over)
                if self.is_over:
                    return
                made = self._made.popleft()
                self._moved.notify_all()
            if isinstance(made, Notification):
                await _tell_bound(made)
            elif version := to_be_told(made):
                await self._tell(version)

    async def _tell(self, version: VersionChanges) -> None:
        for callbacks in list(self._lives):
            for callback in list(callbacks):
                if version.version > callback.since and callback in callbacks:  # not closed meanwhile
                    try:
                        result = callback.function(version)
                        if inspect.isawaitable(result):
                            await result
                    except asyncio.CancelledError:
                        if is_cancelled():
                            raise
                        log.exception("on_change: %r failed at version %d", callback.function, version.version)
                    except Exception:  # noqa: BLE001 - the user's, and reported
                        log.exception("on_change: %r failed at version %d", callback.function, version.version)


async def _tell_bound(telling: Notification) -> None:
    for function in telling.wanted():
        try:
            result = function(*telling.arguments)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            telling.failed(function)
        except Exception:  # noqa: BLE001 - the user's, and reported
            telling.failed(function)


class _Stream(Watch):
    """The watch by which a config is followed."""

    def __init__(self, shell: Shell, tracking: HeadTracker) -> None:
        super().__init__(shell, tracking, None)
        self._tracking = tracking

    async def steps(self) -> AsyncIterator[list[Made]]:
        """Follow, message by message, until it is closed."""
        while True:
            try:
                made = await self._next(self._tracking.step())
            except WatchEnded:
                return
            yield made
