"""A live config for asyncio: one stream, one map and one task for all lives of a config; sync_live.py is its sibling.

Callbacks have a task of their own, begun with the first of them, so that one that takes long does not keep the map from
moving on.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Self, SupportsIndex
from weakref import finalize

from lamina import flows, offline
from lamina.aio_shell import Shell, is_cancelled
from lamina.aio_verbs import Reader
from lamina.aio_watch import Watch
from lamina.binding import BindOptions, Bound, Bounds, OnInvalid, Settings, Telling
from lamina.cache import Cache
from lamina.draft import Snapshot
from lamina.effects import log
from lamina.entries import Entries
from lamina.errors import DeadlineError, InvalidError, LaminaError, NotFoundError, UnavailableError
from lamina.live import (
    CALLBACKS_BEHIND,
    ENDING_SECONDS,
    Callback,
    Callbacks,
    LiveView,
    Made,
    OnChange,
    Tracking,
    reached,
    to_be_told,
)
from lamina.pinning import Pins
from lamina.records import VersionChanges
from lamina.values import Value
from lamina.watching import EndedError


class Live(LiveView, Reader):
    """As `lamina.Live`. For the tasks of one event loop, the one that it was opened in."""

    __slots__ = ("_callbacks", "_followed", "_left", "_shell")

    def __init__(self, shell: Shell, followed: "Followed", callbacks: Callbacks) -> None:
        self._shell = shell
        self._followed = followed
        self._tracking = followed.tracking
        self._pins = followed.pins
        self._callbacks = callbacks
        self._left = finalize(self, followed.abandon, callbacks)
        self._left.atexit = False

    async def wait(self, version: SupportsIndex, timeout: float | None = None) -> None:
        """Wait until it shows this version or a later one, woken by the stream.

        DeadlineError after `timeout` seconds, by default the client's; the error that has ended it, if one did.
        """
        if not reached(self._tracked(), version):
            self._check_open()
            seconds = self._shell.session.timeout_seconds if timeout is None else timeout
            await self._followed.wait(version, seconds, self._check_open)

    async def carried(self, versions: Mapping[str, int]) -> Snapshot:
        """Give the version that a request carries, to be pinned: `live.pin(await live.carried(versions))`.

        `versions` are by config, as `lamina.carry` reads them. Where there is none of this config, or none that can be
        read within a second, it is the version that is shown: a header fails no request.
        """
        return Snapshot(await self._shell.run(self._carried(self._shell.session, versions)))

    def on_change(self, function: OnChange) -> OnChange:
        """Call a function, or await a coroutine function, with each whole version that comes from now on, in order.

        May be used as a decorator. All functions of a config run one after the other, in a task of their own. What one
        raises is logged, and stops neither the others nor the next version.
        """
        if failure := self._tracked().failure:
            raise failure
        self._check_open()
        self._callbacks.append(Callback(function, self._tracked().shown_already, self))
        self._followed.begin_calling()
        return function

    def bind(
        self,
        settings: type[Settings],
        *,
        prefix: str = "",
        delimiter: str = "/",
        on_invalid: OnInvalid | None = None,
    ) -> Bound[Settings]:
        """Make an object of a pydantic model or a dataclass of each version; `current` is that of the newest that fits.

        A field is filled from the key of its name after `prefix`, a nested one from the keys below it (`db/host`) or
        from a dict. Other keys are ignored, unless the model forbids them. SettingsError if the version that is shown
        does not fit; a later one that does not is logged, kept as `error` until one fits, and given to `on_invalid`,
        and `current` stays as it is. TypeError for a class that cannot be checked.
        It has looked at a version by the time that the live shows it. Validators run in the event loop, and hold it up.
        """
        if failure := self._tracked().failure:
            raise failure
        self._check_open()
        options = BindOptions(prefix, delimiter, on_invalid)
        bound = Bound(self, self._tracked().entries, settings, options, self._followed)
        self._followed.bind(self._callbacks, bound)
        return bound

    async def close(self) -> None:
        """Follow no more. What it shows stays as it is; other lives of the config go on."""
        self._left.detach()
        self._tracking = self._tracking.at_rest()
        self._callbacks.clear()
        await self._followed.leave(self._callbacks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def _check_open(self) -> None:
        if not self._left.alive or self._followed.is_over:
            raise InvalidError("this live is closed")


class Lives:
    """The lives of a client."""

    def __init__(self, shell: Shell, cache: Cache) -> None:
        self._shell = shell
        self._cache = cache
        self._followed: dict[tuple[str, asyncio.AbstractEventLoop], Followed] = {}

    async def open(self, name: str, default: Mapping[str, Value] | None) -> Live:
        """Follow a config, or join those who follow it already; what is shown is no older than what the client saw.

        That it may be where no server could be reached.
        """
        spare = None if default is None else offline.made_up(name, default)
        self._followed = {where: each for where, each in self._followed.items() if not where[1].is_closed()}
        callbacks: Callbacks = []
        where = name, asyncio.get_running_loop()
        if where not in self._followed or not self._followed[where].join(callbacks):
            tracking = await self._begin(name, spare)
            # Meanwhile another task may have opened it.
            if where not in self._followed or not self._followed[where].join(callbacks):
                keeping = offline.Keeping(self._cache)
                self._followed[where] = Followed(self._shell, tracking, keeping, self._forget)
                self._followed[where].join(callbacks)
        live = Live(self._shell, self._followed[where], callbacks)
        if not self._followed[where].tracking.is_offline:
            await live.wait(self._shell.session.horizon.least(name))
        return live

    async def _begin(self, name: str, spare: Entries | None) -> Tracking:
        session = self._shell.session
        try:
            return Tracking(session, await self._shell.run(flows.open_config(session, name, create=False)))
        except (UnavailableError, NotFoundError) as error:
            return await asyncio.to_thread(offline.without_server, session, self._cache, name, spare, error)

    def _forget(self, ended: "Followed") -> None:
        self._followed = {where: each for where, each in self._followed.items() if each is not ended}

    async def close(self) -> None:
        """End those of this event loop."""
        for (_, loop), followed in list(self._followed.items()):
            if loop is asyncio.get_running_loop():
                await followed.close()


class Followed:
    """What all lives of one config share: begun for the first of them, ended with the last."""

    def __init__(
        self, shell: Shell, tracking: Tracking, keeping: offline.Keeping, on_end: Callable[["Followed"], None]
    ) -> None:
        self._on_end = on_end
        self.tracking = tracking
        self._keeping = keeping
        self.pins = Pins()
        self._loop = asyncio.get_running_loop()
        self._lives: list[Callbacks] = []
        self.is_over = False
        self._moved = asyncio.Condition()
        self._made: deque[Made | Telling] = deque()
        self.bounds = Bounds()
        self._calling: asyncio.Task[None] | None = None
        self._stream = _Stream(shell, self.tracking)
        self._task = asyncio.create_task(self._follow(), context=self.pins.without())
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
            self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self.leave(callbacks)))

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

    def tell(self, telling: Telling) -> None:
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

    async def _follow(self) -> None:
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
            if isinstance(made, Telling):
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


async def _tell_bound(telling: Telling) -> None:
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

    def __init__(self, shell: Shell, tracking: Tracking) -> None:
        super().__init__(shell, tracking, None)
        self._tracking = tracking

    async def steps(self) -> AsyncIterator[list[Made]]:
        """Follow, message by message, until it is closed."""
        while True:
            try:
                made = await self._next(self._tracking.step())
            except EndedError:
                return
            yield made
