"""A live config for asyncio. All lives of a config share one subscription, with its stream, its map and its tasks."""

import asyncio
from collections.abc import Mapping
from typing import Self, SupportsIndex
from weakref import finalize

from lamina._grpc.aio.reader import Reader
from lamina._grpc.aio.shell import Shell
from lamina._grpc.aio.subscription import Subscription
from lamina._live.audience import CALLBACKS_BEHIND, Audience, Listener, has_reached
from lamina._live.cache import Cache
from lamina._live.offline import CacheWriter, entries_of_default, read_head, start_offline
from lamina._live.tracking import HeadTracker
from lamina._live.view import LiveView, OnChange
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._mapping.values import Value
from lamina._runtime.arguments import checked, seconds
from lamina._runtime.public import public
from lamina._settings.bound import BindOptions, Bound, OnInvalid, Settings
from lamina.errors import InvalidError, LaminaError


@public("lamina.aio")
class Live(LiveView, Reader):
    """As `lamina.Live`. For the tasks of one event loop, the one that it was opened in."""

    __slots__ = ("_listener", "_reminder", "_shell", "_subscription")

    def __init__(self, shell: Shell, subscription: Subscription, listener: Listener) -> None:
        self._shell = shell
        self._subscription = subscription
        self._tracker = subscription.tracker
        self._pins = subscription.pins
        self._listener = listener
        self._reminder = finalize(self, subscription.abandon, listener)
        self._reminder.atexit = False

    async def wait(self, version: SupportsIndex, timeout: float | None = None) -> None:
        """Wait until it shows this version or a later one, woken by the stream.

        DeadlineError after `timeout` seconds, by default the client's, which count anew from each part of a large
        version that arrives in several; the error that has ended it, if one did.
        """
        if not has_reached(self._head(), version):
            self._check_open()
            limit = self._shell.session.timeout_seconds if timeout is None else seconds(timeout, "timeout=")
            await self._subscription.wait(version, limit, self._check_open)

    async def carried(self, versions: Mapping[str, int]) -> Snapshot:
        """Return the version that a request carries, for a pin: `live.pin(await live.carried(versions))`.

        `versions` are by config, as `lamina.carry` reads them. If there is none of this config, or one that cannot be
        read within a second, it is the version that is shown: a header fails no request.
        """
        return Snapshot(await self._shell.run(self._carried(self._shell.session, versions)))

    def on_change(self, function: OnChange) -> OnChange:
        """Call a function, or await a coroutine function, with each whole version that comes from now on, in order.

        May be used as a decorator. All functions of a config run one after the other, in a task of their own. What one
        raises is logged, and stops neither the others nor the next version.
        """
        if failure := self._head().failure:
            raise failure.with_traceback(None)
        self._check_open()
        checked(function, "on_change", awaits=True)
        self._subscription.listen(self._listener, function, self)
        return function

    def bind(
        self,
        settings: type[Settings],
        *,
        prefix: str = "",
        delimiter: str = "/",
        on_invalid: OnInvalid | None = None,
    ) -> Bound[Settings]:
        """Make an object of a pydantic model or a dataclass of each version; `current` is of the newest that fits.

        A field is filled from the key of its name after `prefix`, a nested one from the keys below it (`db/host`) or
        from a dict. Other keys are ignored, unless the model forbids them. SettingsError if the version that is shown
        does not fit; a later one that does not is logged, kept as `error` until one fits, and given to `on_invalid`,
        and `current` stays as it is. TypeError for a class that cannot be checked.
        It has looked at a version by the time that the live shows it. Validators run in the event loop, and hold it up.
        """
        if failure := self._head().failure:
            raise failure.with_traceback(None)
        self._check_open()
        options = BindOptions(prefix, delimiter, on_invalid, awaits=True)
        bound = Bound(self, self._tracker.entries, settings, options, self._subscription)
        self._subscription.bind(self._listener, bound)
        return bound

    async def close(self) -> None:
        """Stop following. The live keeps its last version; other lives of the config continue."""
        self._reminder.detach()
        self._tracker = self._tracker.at_rest()
        if not self._subscription.loop.is_closed():
            await self._subscription.leave(self._listener)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def _head(self) -> HeadTracker:
        if self._reminder.alive and self._subscription.loop.is_closed() and self._tracker.failure is None:
            text = f"{self._tracker.place}, and the event loop that followed it has ended: open the live anew"
            self._tracker.end(InvalidError(text))
        return self._tracker

    def _check_open(self) -> None:
        if not self._reminder.alive or self._subscription.is_over:
            raise InvalidError("this live is closed")


class LiveRegistry:
    """The lives of a client, and the limit of their callbacks."""

    def __init__(self, shell: Shell, cache: Cache, *, callbacks_behind: int = CALLBACKS_BEHIND) -> None:
        self._shell = shell
        self._cache = cache
        self._callbacks_behind = callbacks_behind
        self._subscriptions: dict[tuple[str, asyncio.AbstractEventLoop], Subscription] = {}

    async def open(self, name: str, default: Mapping[str, Value] | None) -> Live:
        """Follow a config, or join its subscription. The live is no older than what the client saw, unless offline."""
        spare = None if default is None else entries_of_default(name, default)
        self._subscriptions = {where: each for where, each in self._subscriptions.items() if not where[1].is_closed()}
        listener = Listener()
        subscription = self._join(name, listener, None)
        if subscription is None:
            # Another task may open it in the meantime.
            subscription = self._join(name, listener, await self._begin(name, spare))
            assert subscription is not None
        live = Live(self._shell, subscription, listener)
        if not subscription.tracker.is_offline:
            await live.wait(self._shell.session.horizon.least(name))
        return live

    async def close(self) -> None:
        """End the lives of this event loop."""
        for (_, loop), subscription in list(self._subscriptions.items()):
            if loop is asyncio.get_running_loop():
                await subscription.close()

    async def _begin(self, name: str, spare: Entries | None) -> HeadTracker:
        session = self._shell.session
        try:
            return HeadTracker(session, await self._shell.run(read_head(session, self._cache, name, spare)))
        except LaminaError as error:
            return await asyncio.to_thread(start_offline, session, self._cache, name, spare, error)

    def _join(self, name: str, listener: Listener, tracker: HeadTracker | None) -> Subscription | None:
        where = name, asyncio.get_running_loop()
        subscription = self._subscriptions.get(where)
        if subscription is None or not subscription.join(listener):
            if tracker is None:
                return None
            audience, writer = Audience(self._callbacks_behind), CacheWriter(self._cache)
            subscription = Subscription(self._shell, tracker, writer, audience, on_end=self._forget)
            subscription.join(listener)
            self._subscriptions[where] = subscription
        return subscription

    def _forget(self, ended: Subscription) -> None:
        self._subscriptions = {where: each for where, each in self._subscriptions.items() if each is not ended}
