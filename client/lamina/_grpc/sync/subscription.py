"""The subscription to one config, for all its lives, as threads.

One thread reads the stream and swaps the map. Callbacks run on another thread, which begins with the first
callback, so that a slow one does not delay the map. Bound settings are made on a third thread, so that a slow validator
delays neither, and a fourth one writes the last-known-good file.
"""

import atexit
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex, TypeAlias
from weakref import WeakSet

from lamina._grpc.sync.runner import StreamRunner
from lamina._grpc.sync.shell import Shell
from lamina._live.audience import (
    ENDING_SECONDS,
    Audience,
    Binding,
    Callback,
    Due,
    Listener,
    Notification,
    has_reached,
)
from lamina._live.offline import CacheWriter
from lamina._live.pins import Pins
from lamina._live.tracking import HeadTracker
from lamina._runtime import forking
from lamina._runtime.arguments import finished
from lamina._runtime.forking import ForkSafeLock
from lamina._runtime.log import log
from lamina._streams.watch import WatchEnded
from lamina.errors import DeadlineError, LaminaError
from lamina.records import VersionChanges

BeginThread: TypeAlias = Callable[[Callable[[], None], str], threading.Thread]


def begin_thread(run: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread: a daemon, so that a program may end without closing its lives."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class Subscription:
    """The state that all lives of one config share: it begins with the first live and ends with the last.

    tracker    the version that is shown; a forked child has another tracker
    process    the process that has its threads
    abandoned  lives that were garbage collected: the thread that reads the stream looks there after each message
    """

    def __init__(
        self,
        shell: Shell,
        tracker: HeadTracker,
        cache_writer: CacheWriter,
        audience: Audience,
        *,
        on_end: Callable[["Subscription"], None],
        begin_thread: BeginThread,
    ) -> None:
        self._shell = shell
        self._cache_writer = cache_writer
        self._audience = audience
        self._on_end = on_end
        self._begin_thread = begin_thread
        self._lock = ForkSafeLock()
        self.abandoned: deque[Listener] = deque()
        self.pins = Pins()
        self.is_over = False
        self._caller: threading.Thread | None = None
        self._begin(tracker)
        _subscriptions.add(self)

    @property
    def has_functions(self) -> bool:
        """Whether there are callbacks or bound settings."""
        return self._audience.has_functions

    def join(self, listener: Listener) -> bool:
        """Register a live, unless the subscription has ended; return whether it was registered."""
        self.begin_again()
        with self._lock:
            if not self.is_over:
                self._audience.join(listener)
            return not self.is_over

    def leave(self, listener: Listener) -> None:
        """Unregister a live, and end with the last one."""
        if self._is_last(listener):
            self.close()
        else:
            self._notify()  # wakes the calls that wait for this live

    def wait(self, version: SupportsIndex, seconds: float, check_open: Callable[[], None], listener: Listener) -> None:
        """Wait until a version was reached, and the settings bound to this live have seen it.

        The seconds begin again with each part of a version in several parts.
        """
        clock = self._shell.session.clock
        began = clock()
        with self._changed:
            while not (has_it := has_reached(self.tracker, version)) or not listener.has_seen(version):
                if not has_it:
                    check_open()
                counted_from = began if has_it else max(began, self.tracker.part_at)
                left = counted_from + min(seconds, threading.TIMEOUT_MAX) - clock()
                if left <= 0:
                    late = "what is bound to it is " if has_it else ""
                    text = f"{self.tracker.place}, and {late}not at {version!r}, after {seconds:g} s"
                    raise DeadlineError(text + self.tracker.why)
                self._changed.wait(left)

    def listen(self, listener: Listener, function: Callable[[VersionChanges], Any], live: object) -> None:
        """Call a function with each version after the one that is shown."""
        self.begin_calling()
        with self._changed:  # so each version is either shown already, or passed to the function
            listener.add(Callback(function, self.tracker.shown_already, live))

    def begin_calling(self) -> None:
        """Start the thread for callbacks, unless it runs already."""
        with self._lock:
            if self._caller is None and not self.is_over:
                self._caller = self._begin_thread(self._call, "lamina-on-change")

    def bind(self, listener: Listener, binding: Binding) -> None:
        """Show new versions to bound settings, and those that came since they were made."""
        with self._lock:
            if listener in self._audience.listeners:  # unless it was closed in the meantime
                listener.bind(binding)
        self._begin_binding()
        self._notify()

    def tell(self, notification: Notification) -> None:
        """Queue the callbacks of bound settings."""
        with self._changed:
            self._audience.put([notification])
            self._changed.notify_all()

    def forked(self) -> None:
        """Empty the read cache in a forked child, so that the next read comes through here: `LiveView.__getitem__`."""
        self.tracker.entries = self.tracker.entries.without_read_cache()

    def begin_again(self) -> None:
        """Start again in a forked child, which has no threads, from the parent's version."""
        with self._lock:
            if self.process is forking.process:
                return
            calls, parents = self._caller is not None, self.tracker
            # The child's read cache must not be shared with the parent's tracker, which the lives still have.
            entries, known_at, is_offline = parents.entries.without_read_cache(), parents.known_at, parents.is_offline
            tracker = HeadTracker(self._shell.session, entries, known_at=known_at, is_offline=is_offline)
            self._audience.forget_due()
            self._begin(tracker, calls=calls)
            if self.is_over:
                self.tracker.end(parents.failure)
        if self._audience.has_bindings:
            self._begin_binding()

    def close(self) -> None:
        """End the stream and the threads; a forked child forgets those of the parent."""
        self.is_over = True
        if self.process is not forking.process:
            self.begin_again()
        self._runner.close()
        self._end(None)
        for thread in {self._reader, self._caller, self._binder, self._keeper} - {threading.current_thread(), None}:
            assert thread is not None
            thread.join(ENDING_SECONDS)

    def _begin(self, tracker: HeadTracker, *, calls: bool = False) -> None:
        self.tracker = tracker
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._runner = StreamRunner(self._shell, tracker.stream)
        self._caller = None
        self._reader: threading.Thread | None = None
        self._binder: threading.Thread | None = None
        self._keeper: threading.Thread | None = None
        if not self.is_over:
            if calls:  # before a version can arrive, so that the callbacks receive it
                self._caller = self._begin_thread(self._call, "lamina-on-change")
            self._reader = self._begin_thread(self._read, "lamina-live")
            if self._cache_writer.is_on:
                self._keeper = self._begin_thread(self._keep, "lamina-cache")
        self.process = forking.process  # last: a thread that sees it finds everything else ready

    def _begin_binding(self) -> None:
        with self._lock:
            if self._binder is None and not self.is_over:
                self._binder = self._begin_thread(self._bind, "lamina-bind")

    def _is_last(self, listener: Listener) -> bool:
        with self._lock:
            is_last = self._audience.leave(listener)
            self.is_over = self.is_over or is_last  # so that no live joins a subscription that is about to end
            return is_last

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _end(self, failure: LaminaError | None) -> None:
        self.is_over = True
        self._ended.set()
        self.tracker.end(failure or self.tracker.failure)
        self._notify()
        self._on_end(self)

    # --- on the thread that reads the stream ----------------------------------------------------

    def _read(self) -> None:
        failure: LaminaError | None = None
        try:
            while not any(map(self._is_last, self._taken_from_abandoned())):
                self._hand_over(self._runner.run(self.tracker.step()))
        except WatchEnded:
            pass
        except LaminaError as error:
            failure = error
            log.error("%s, and does not follow any more: %s", self.tracker.place, error)
        except BaseException as error:  # noqa: BLE001 - `wait` has to raise any error
            failure = LaminaError(f"a defect has ended it: {error!r}")
            log.exception("%s, and does not follow any more", self.tracker.place)
        finally:
            self._end(failure)
            self._runner.close()

    def _taken_from_abandoned(self) -> Iterable[Listener]:
        while self.abandoned:
            yield self.abandoned.popleft()

    def _hand_over(self, received: Iterable[Due]) -> None:
        """Wake the waiting calls, and queue new versions for the callbacks."""
        with self._changed:
            if self._caller is not None:
                self._audience.put(received)
            self._changed.notify_all()
            if self._audience.is_behind:
                with self.tracker.held_up():
                    self._changed.wait_for(lambda: not self._audience.is_behind or self.is_over)

    # --- on the thread that keeps the last-known-good file ------------------------------------------

    def _keep(self) -> None:
        is_over = False
        while not is_over:
            with self._changed:
                self._changed.wait_for(lambda: self.is_over or self._cache_writer.is_due(self.tracker))
                is_over = self.is_over
            if self._cache_writer.is_due(self.tracker):
                self._ended.wait(self._cache_writer.keep(self.tracker))  # new versions do not wake it

    # --- on the thread that calls ---------------------------------------------------------------

    def _call(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._audience.is_due or self.is_over)
                if self.is_over:
                    return
                was_behind, due = self._audience.is_behind, self._audience.take()
                if was_behind:
                    self._changed.notify_all()
            for call in self._audience.calls(due):
                try:
                    finished(call.function(*call.arguments))
                except BaseException:  # noqa: BLE001 - the user's, and logged; also SystemExit, which would end the thread
                    call.failed()

    # --- on the thread that makes bound settings ------------------------------------------------

    def _bind(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.is_over or self._audience.behind(self.tracker.entries))
            entries = self.tracker.entries
            if not (behind := self._audience.behind(entries)):
                return
            for binding in behind:
                binding.look(entries)
            self._notify()


_subscriptions: WeakSet[Subscription] = WeakSet()


def call_again() -> None:
    """Continue callbacks in a forked child, even if the child never reads their live."""
    for subscription in list(_subscriptions):
        subscription.forked()
        if subscription.has_functions:
            subscription.begin_again()


@atexit.register
def _close_all() -> None:
    for subscription in list(_subscriptions):
        if subscription.process is forking.process:
            subscription.close()
