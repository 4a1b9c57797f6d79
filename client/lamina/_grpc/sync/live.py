"""A live config for threads. All lives of a config share one subscription, with its stream, its map and its threads.

A forked child has none of these threads. The first read of a live starts them again, from the parent's map; if there
are callbacks, they start at once.
"""

import os
from collections.abc import Mapping
from typing import Self, SupportsIndex
from weakref import finalize

from lamina._grpc.sync.reader import Reader
from lamina._grpc.sync.shell import Shell
from lamina._grpc.sync.subscription import BeginThread, Subscription, begin_thread, call_again
from lamina._live.audience import CALLBACKS_BEHIND, Audience, Listener, has_reached
from lamina._live.cache import Cache
from lamina._live.offline import CacheWriter, entries_of_default, read_head, start_offline
from lamina._live.tracking import HeadTracker
from lamina._live.view import LiveView, OnChange
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._mapping.values import Value
from lamina._runtime import forking
from lamina._runtime.arguments import checked, seconds
from lamina._runtime.forking import ForkSafeLock
from lamina._runtime.public import public
from lamina._settings.bound import BindOptions, Bound, OnInvalid, Settings
from lamina.errors import InvalidError, LaminaError


@public("lamina")
class Live(LiveView, Reader):
    """A config that follows its head: `live["x"]`, `live.current` for several keys of one version, and `on_change`.

    Threads may share it, and it survives a fork. Reading takes no lock and makes no call. It resumes by itself until it
    is closed; only a definite error ends it, which is logged, kept as `error`, and raised by `wait`. An expired token,
    or a right that was taken, does not end it: it is STALE, with that `error`, until it is let in again.
    """

    __slots__ = ("_at_rest", "_listener", "_reminder", "_shell", "_subscription")

    def __init__(self, shell: Shell, subscription: Subscription, listener: Listener) -> None:
        self._shell = shell
        self._subscription = subscription
        self._tracker = subscription.tracker
        self._pins = subscription.pins
        self._at_rest: HeadTracker | None = None
        self._listener = listener
        # A live that is garbage collected also releases the stream. This may take no lock, so it only leaves a note.
        self._reminder = finalize(self, subscription.abandoned.append, listener)
        self._reminder.atexit = False

    def wait(self, version: SupportsIndex, timeout: float | None = None) -> None:
        """Wait until it shows this version or a later one, and what is bound has looked at it; woken by the stream.

        DeadlineError after `timeout` seconds, by default the client's, which count anew from each part of a large
        version that arrives in several; the error that has ended it, if one did.
        """
        if not has_reached(self._head(), version):
            self._check_open()
        elif self._listener.has_seen(version):
            return
        limit = self._shell.session.timeout_seconds if timeout is None else seconds(timeout, "timeout=")
        self._subscription.wait(version, limit, self._check_open, self._listener)

    def carried(self, versions: Mapping[str, int]) -> Snapshot:
        """Return the version that a request carries, for a pin: `live.pin(live.carried(versions))`.

        `versions` are by config, as `lamina.carry` reads them. The version is cached, or read, which takes a second at
        most. If the request carries none of this config, or one that cannot be read, it is the version that is shown: a
        header fails no request.
        """
        return Snapshot(self._shell.run(self._carried(self._shell.session, versions)))

    def on_change(self, function: OnChange) -> OnChange:
        """Call a function with each whole version that comes from now on, in order; may be used as a decorator.

        All functions of a config run one after the other, on a thread of their own. What one raises is logged, with
        its traceback, and stops neither the others nor the next version. They are called until this live is closed.
        """
        if failure := self._head().failure:
            raise failure.with_traceback(None)
        self._check_open()
        checked(function, "on_change")
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
        After `wait(version)` it has looked at that one. Validators run on a thread of their own.
        """
        if failure := self._head().failure:
            raise failure.with_traceback(None)
        self._check_open()
        options = BindOptions(prefix, delimiter, on_invalid)
        bound = Bound(self, self._head().entries, settings, options, self._subscription)
        self._subscription.bind(self._listener, bound)
        return bound

    def close(self) -> None:
        """Stop following. The live keeps its last version; other lives of the config continue."""
        self._reminder.detach()
        self._at_rest = self._head().at_rest()
        self._show(self._at_rest)
        self._subscription.leave(self._listener)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._at_rest is not None or self._subscription.is_over:
            raise InvalidError("this live is closed")

    def _head(self) -> HeadTracker:
        if self._at_rest is not None:
            return self._at_rest
        if self._subscription.process is not forking.process:
            self._subscription.begin_again()
        if self._tracker is not self._subscription.tracker:
            self._show(self._subscription.tracker)
        return self._tracker

    def _show(self, tracker: HeadTracker) -> None:
        self._tracker = tracker
        if self._at_rest is not None:  # by another thread in the meantime
            self._tracker = self._at_rest


class LiveRegistry:
    """The lives of a client, and the limits of their callbacks."""

    def __init__(
        self,
        shell: Shell,
        cache: Cache,
        *,
        callbacks_behind: int = CALLBACKS_BEHIND,
        begin_thread: BeginThread = begin_thread,
    ) -> None:
        self._shell = shell
        self._cache = cache
        self._callbacks_behind = callbacks_behind
        self._begin_thread = begin_thread
        self._lock = ForkSafeLock()
        self._subscriptions: dict[str, Subscription] = {}

    def open(self, name: str, default: Mapping[str, Value] | None) -> Live:
        """Follow a config, or join its subscription. The live is no older than what the client saw, unless offline."""
        spare = None if default is None else entries_of_default(name, default)
        listener = Listener()
        subscription = self._join(name, listener, None)
        if subscription is None:
            subscription = self._join(name, listener, self._begin(name, spare))
            assert subscription is not None
        live = Live(self._shell, subscription, listener)
        if not subscription.tracker.is_offline:
            live.wait(self._shell.session.horizon.least(name))
        return live

    def close(self) -> None:
        """End all lives."""
        with self._lock:
            subscriptions = list(self._subscriptions.values())
        for each in subscriptions:
            each.close()

    def _begin(self, name: str, spare: Entries | None) -> HeadTracker:
        session = self._shell.session
        try:
            return HeadTracker(session, self._shell.run(read_head(session, self._cache, name, spare)))
        except LaminaError as error:
            return start_offline(session, self._cache, name, spare, error)

    def _join(self, name: str, listener: Listener, tracker: HeadTracker | None) -> Subscription | None:
        with self._lock:
            subscription = self._subscriptions.get(name)
            if subscription is None or not subscription.join(listener):
                if tracker is None:
                    return None
                audience, writer = Audience(self._callbacks_behind), CacheWriter(self._cache)
                subscription = Subscription(
                    self._shell, tracker, writer, audience, on_end=self._forget, begin_thread=self._begin_thread
                )
                subscription.join(listener)
                self._subscriptions[name] = subscription
            return subscription

    def _forget(self, ended: Subscription) -> None:
        with self._lock:
            self._subscriptions = {name: each for name, each in self._subscriptions.items() if each is not ended}


if hasattr(os, "register_at_fork"):  # some systems have no fork
    os.register_at_fork(after_in_child=call_again)
