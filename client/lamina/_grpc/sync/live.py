"""A live config for threads: one stream, one map and one thread for all lives of a config; aio_live.py is its sibling.

The thread reads the stream and swaps the map. Callbacks have a thread of their own, begun with the first of them, so
that one that takes long does not keep the map from moving on. In a forked child neither is there: the first one to look
begins them anew, from the map that the parent had; at once where there are functions to be called. Settings that are
bound are made on a third one, so that a validator that takes long keeps back neither.
"""

import os
from collections.abc import Mapping
from typing import Self, SupportsIndex
from weakref import finalize

from lamina._flows import reads
from lamina._grpc.sync.reader import Reader
from lamina._grpc.sync.shell import Shell
from lamina._grpc.sync.subscription import Subscription, call_again
from lamina._live import offline
from lamina._live.cache import Cache
from lamina._live.tracking import HeadTracker
from lamina._live.view import Callbacks, LiveView, OnChange, reached
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._mapping.values import Value
from lamina._runtime import forking
from lamina._runtime.arguments import checked, seconds
from lamina._runtime.forking import ForkSafeLock
from lamina._runtime.public import public
from lamina._settings.bound import BindOptions, Bound, OnInvalid, Settings
from lamina.errors import InvalidError, NotFoundError, UnavailableError


@public("lamina")
class Live(LiveView, Reader):
    """A config that follows its head: `live["x"]`, `live.current` for several keys of one version, and `on_change`.

    Threads may share it, and it survives a fork. Reading takes no lock and makes no call. It resumes by itself until it
    is closed; only a definite error ends it, which is logged, kept as `error`, and raised by `wait`.
    """

    __slots__ = ("_at_rest", "_callbacks", "_followed", "_left", "_shell")

    def __init__(self, shell: Shell, followed: "Subscription", callbacks: Callbacks) -> None:
        self._shell = shell
        self._followed = followed
        self._tracking = followed.tracking
        self._pins = followed.pins
        self._at_rest: HeadTracker | None = None
        self._callbacks = callbacks
        # Left lying, it lets go of the stream as well. What runs then may take no lock, so it only says so.
        self._left = finalize(self, followed.abandoned.append, callbacks)
        self._left.atexit = False

    def wait(self, version: SupportsIndex, timeout: float | None = None) -> None:
        """Wait until it shows this version or a later one, and what is bound has looked at it; woken by the stream.

        DeadlineError after `timeout` seconds, by default the client's; the error that has ended it, if one did.
        """
        if not reached(self._tracked(), version):
            self._check_open()
        elif self._followed.bounds.have_seen(self._callbacks, version):
            return
        limit = self._shell.session.timeout_seconds if timeout is None else seconds(timeout, "timeout=")
        self._followed.wait(version, limit, self._check_open, self._callbacks)

    def carried(self, versions: Mapping[str, int]) -> Snapshot:
        """Give the version that a request carries, to be pinned: `live.pin(live.carried(versions))`.

        `versions` are by config, as `lamina.carry` reads them. The version is at hand, or read, which takes a second at
        most. Where the request carries none of this config, none that there is, or none that can be read now, it is the
        version that is shown: a header fails no request.
        """
        return Snapshot(self._shell.run(self._carried(self._shell.session, versions)))

    def on_change(self, function: OnChange) -> OnChange:
        """Call a function with each whole version that comes from now on, in order; may be used as a decorator.

        All functions of a config run one after the other, on a thread of their own. What one raises is logged, with
        its traceback, and stops neither the others nor the next version. They are called until this live is closed.
        """
        if failure := self._tracked().failure:
            raise failure
        self._check_open()
        checked(function, "on_change")
        self._followed.listen(self._callbacks, function, self)
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
        After `wait(version)` it has looked at that one. Validators run on a thread of their own.
        """
        if failure := self._tracked().failure:
            raise failure
        self._check_open()
        options = BindOptions(prefix, delimiter, on_invalid)
        bound = Bound(self, self._tracked().entries, settings, options, self._followed)
        self._followed.bind(self._callbacks, bound)
        return bound

    def close(self) -> None:
        """Follow no more. What it shows stays as it is; other lives of the config go on."""
        self._left.detach()
        self._at_rest = self._tracked().at_rest()
        self._show(self._at_rest)
        self._callbacks.clear()
        self._followed.leave(self._callbacks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._at_rest is not None or self._followed.is_over:
            raise InvalidError("this live is closed")

    def _tracked(self) -> HeadTracker:
        if self._at_rest is not None:
            return self._at_rest
        if self._followed.process is not forking.process:
            self._followed.begin_again()
        if self._tracking is not self._followed.tracking:
            self._show(self._followed.tracking)
        return self._tracking

    def _show(self, tracking: HeadTracker) -> None:
        self._tracking = tracking
        if self._at_rest is not None:  # just now, by another thread
            self._tracking = self._at_rest


class LiveRegistry:
    """The lives of a client."""

    def __init__(self, shell: Shell, cache: Cache) -> None:
        self._shell = shell
        self._cache = cache
        self._lock = ForkSafeLock()
        self._followed: dict[str, Subscription] = {}

    def open(self, name: str, default: Mapping[str, Value] | None) -> Live:
        """Follow a config, or join those who follow it already; what is shown is no older than what the client saw.

        That it may be where no server could be reached.
        """
        spare = None if default is None else offline.entries_of_default(name, default)
        callbacks: Callbacks = []
        followed = self._join(name, callbacks, None)
        if followed is None:
            followed = self._join(name, callbacks, self._begin(name, spare))
            assert followed is not None
        live = Live(self._shell, followed, callbacks)
        if not followed.tracking.is_offline:
            live.wait(self._shell.session.horizon.least(name))
        return live

    def _begin(self, name: str, spare: Entries | None) -> HeadTracker:
        session = self._shell.session
        try:
            return HeadTracker(session, self._shell.run(reads.open_config(session, name, create=False)))
        except (UnavailableError, NotFoundError) as error:
            return offline.start_offline(session, self._cache, name, spare, error)

    def close(self) -> None:
        """End them all."""
        with self._lock:
            followed = list(self._followed.values())
        for each in followed:
            each.close()

    def _join(self, name: str, callbacks: Callbacks, tracking: HeadTracker | None) -> "Subscription | None":
        with self._lock:
            followed = self._followed.get(name)
            if followed is not None and followed.join(callbacks):
                return followed
            if tracking is None:
                return None
            keeping = offline.CacheWriter(self._cache)
            followed = self._followed[name] = Subscription(self._shell, tracking, keeping, self._forget)
            followed.join(callbacks)
            return followed

    def _forget(self, ended: "Subscription") -> None:
        with self._lock:
            self._followed = {name: each for name, each in self._followed.items() if each is not ended}


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=call_again)
