"""A live config for asyncio: one stream, one map and one task for all lives of a config; sync_live.py is its sibling.

Callbacks have a task of their own, begun with the first of them, so that one that takes long does not keep the map from
moving on.
"""

import asyncio
from collections.abc import Mapping
from typing import Self, SupportsIndex
from weakref import finalize

from lamina._flows import reads
from lamina._grpc.aio.reader import Reader
from lamina._grpc.aio.shell import Shell
from lamina._grpc.aio.subscription import Subscription
from lamina._live import offline
from lamina._live.cache import Cache
from lamina._live.tracking import HeadTracker
from lamina._live.view import Callback, Callbacks, LiveView, OnChange, reached
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._mapping.values import Value
from lamina._runtime.arguments import checked, seconds
from lamina._runtime.public import public
from lamina._settings.bound import BindOptions, Bound, OnInvalid, Settings
from lamina.errors import InvalidError, NotFoundError, UnavailableError


@public("lamina.aio")
class Live(LiveView, Reader):
    """As `lamina.Live`. For the tasks of one event loop, the one that it was opened in."""

    __slots__ = ("_callbacks", "_followed", "_left", "_shell")

    def __init__(self, shell: Shell, followed: "Subscription", callbacks: Callbacks) -> None:
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
            limit = self._shell.session.timeout_seconds if timeout is None else seconds(timeout, "timeout=")
            await self._followed.wait(version, limit, self._check_open)

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
        checked(function, "on_change", awaits=True)
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
        options = BindOptions(prefix, delimiter, on_invalid, awaits=True)
        bound = Bound(self, self._tracked().entries, settings, options, self._followed)
        self._followed.bind(self._callbacks, bound)
        return bound

    async def close(self) -> None:
        """Follow no more. What it shows stays as it is; other lives of the config go on."""
        self._left.detach()
        self._tracking = self._tracking.at_rest()
        self._callbacks.clear()
        if not self._followed.loop.is_closed():
            await self._followed.leave(self._callbacks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def _tracked(self) -> HeadTracker:
        if self._left.alive and self._followed.loop.is_closed() and self._tracking.failure is None:
            text = f"the event loop that followed {self._tracking.place} has ended: open the live anew"
            self._tracking.end(InvalidError(text))
        return self._tracking

    def _check_open(self) -> None:
        if not self._left.alive or self._followed.is_over:
            raise InvalidError("this live is closed")


class LiveRegistry:
    """The lives of a client."""

    def __init__(self, shell: Shell, cache: Cache) -> None:
        self._shell = shell
        self._cache = cache
        self._followed: dict[tuple[str, asyncio.AbstractEventLoop], Subscription] = {}

    async def open(self, name: str, default: Mapping[str, Value] | None) -> Live:
        """Follow a config, or join those who follow it already; what is shown is no older than what the client saw.

        That it may be where no server could be reached.
        """
        spare = None if default is None else offline.entries_of_default(name, default)
        self._followed = {where: each for where, each in self._followed.items() if not where[1].is_closed()}
        callbacks: Callbacks = []
        where = name, asyncio.get_running_loop()
        if where not in self._followed or not self._followed[where].join(callbacks):
            tracking = await self._begin(name, spare)
            # Meanwhile another task may have opened it.
            if where not in self._followed or not self._followed[where].join(callbacks):
                keeping = offline.CacheWriter(self._cache)
                self._followed[where] = Subscription(self._shell, tracking, keeping, self._forget)
                self._followed[where].join(callbacks)
        live = Live(self._shell, self._followed[where], callbacks)
        if not self._followed[where].tracking.is_offline:
            await live.wait(self._shell.session.horizon.least(name))
        return live

    async def _begin(self, name: str, spare: Entries | None) -> HeadTracker:
        session = self._shell.session
        try:
            return HeadTracker(session, await self._shell.run(reads.open_config(session, name, create=False)))
        except (UnavailableError, NotFoundError) as error:
            return await asyncio.to_thread(offline.start_offline, session, self._cache, name, spare, error)

    def _forget(self, ended: "Subscription") -> None:
        self._followed = {where: each for where, each in self._followed.items() if each is not ended}

    async def close(self) -> None:
        """End those of this event loop."""
        for (_, loop), followed in list(self._followed.items()):
            if loop is asyncio.get_running_loop():
                await followed.close()
