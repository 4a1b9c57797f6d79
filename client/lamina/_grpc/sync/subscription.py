"""One config as it is followed, for all lives of it: the threads."""

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex
from weakref import WeakSet

from lamina._grpc.sync.shell import Shell
from lamina._grpc.sync.watch import Watch
from lamina._live import offline
from lamina._live.pins import Pins
from lamina._live.tracking import CALLBACKS_BEHIND, ENDING_SECONDS, HeadTracker, Made
from lamina._live.view import Callback, Callbacks, reached, to_be_told
from lamina._runtime import forking
from lamina._runtime.arguments import finished
from lamina._runtime.forking import ForkSafeLock
from lamina._runtime.log import log
from lamina._settings.bound import Bindings, Bound, Notification
from lamina._streams.watch import WatchEnded
from lamina.errors import DeadlineError, LaminaError
from lamina.records import VersionChanges


class Subscription:
    """What all lives of one config share: begun for the first of them, ended with the last.

    process    where its threads are
    abandoned  lives that were left lying: the thread looks there after each message
    """

    def __init__(
        self,
        shell: Shell,
        tracking: HeadTracker,
        keeping: offline.CacheWriter,
        on_end: Callable[["Subscription"], None],
    ) -> None:
        self._shell = shell
        self._keeping = keeping
        self._on_end = on_end
        self._lock = ForkSafeLock()
        self._lives: list[Callbacks] = []
        self._thread: threading.Thread | None = None
        self._keeper: threading.Thread | None = None
        self._calling: threading.Thread | None = None
        self._binding: threading.Thread | None = None
        self.bounds = Bindings()
        self.abandoned: deque[Callbacks] = deque()
        self.pins = Pins()
        self.is_over = False
        self._begin(tracking)
        _all.add(self)

    def join(self, callbacks: Callbacks) -> bool:
        """Count a live in; not once it is over."""
        self.begin_again()
        with self._lock:
            if not self.is_over:
                self._lives.append(callbacks)
            return not self.is_over

    def leave(self, callbacks: Callbacks) -> None:
        """Count a live off."""
        with self._lock:
            self.bounds.drop(callbacks)
            self._lives = [each for each in self._lives if each is not callbacks]
            is_last = not self._lives
            self.is_over = self.is_over or is_last  # so that nobody joins what is about to end
        if is_last:
            self.close()
        else:
            with self._moved:
                self._moved.notify_all()  # whoever waits by this live, and by no other

    def wait(
        self, version: SupportsIndex, seconds: float, check_open: Callable[[], None], callbacks: Callbacks
    ) -> None:
        """Wait until a version was reached, and seen by what is bound to the live with these callbacks."""
        ends = time.monotonic() + min(seconds, threading.TIMEOUT_MAX)
        with self._moved:
            while not (has_it := reached(self.tracking, version)) or not self.bounds.have_seen(callbacks, version):
                if not has_it:
                    check_open()
                if ends <= time.monotonic():
                    late = "what is bound to it is " if has_it else ""
                    raise DeadlineError(f"{self.tracking.place}, and {late}not at {version!r}, after {seconds:g} s")
                self._moved.wait(max(ends - time.monotonic(), 0))

    @property
    def has_functions(self) -> bool:
        """Whether there is anybody to be told."""
        return any(self._lives) or bool(self.bounds)

    def listen(self, callbacks: Callbacks, function: Callable[[VersionChanges], Any], live: object) -> None:
        """Have a function called with what comes after the version that is shown."""
        self.begin_calling()
        with self._moved:  # so a version is either shown already, or will be handed over when the function is there
            callbacks.append(Callback(function, self.tracking.shown_already, live))

    def begin_calling(self) -> None:
        """Have a thread for callbacks."""
        with self._lock:
            if self._calling is None and not self.is_over:
                self._calling = _begin_thread(self._call, "lamina-on-change")

    def bind(self, callbacks: Callbacks, bound: Bound[Any]) -> None:
        """Have something that is bound look at what comes, and now at what came since it was made."""
        with self._lock:
            if any(each is callbacks for each in self._lives):  # not closed meanwhile
                self.bounds.add(callbacks, bound)
        self._begin_binding()
        with self._moved:
            self._moved.notify_all()

    def tell(self, telling: Notification) -> None:
        """Have the functions of something bound called, after what waits already."""
        with self._moved:
            self._made.append(telling)
            self._moved.notify_all()

    def forked(self) -> None:
        """See to it, in a forked child, that a live finds nothing without looking here: see `LiveView.__getitem__`."""
        self.tracking.entries = self.tracking.entries.without_read_cache()

    def begin_again(self) -> None:
        """Go on in a forked child, where no thread is, from what the parent knew."""
        with self._lock:
            if self.process is forking.process:
                return
            calls, parents = self._calling is not None, self.tracking
            # Not the parent's very entries: what is seen here is none of the tracking's that lives still have.
            entries, known_at, is_offline = parents.entries.without_read_cache(), parents.known_at, parents.is_offline
            tracking = HeadTracker(self._shell.session, entries, known_at=known_at, is_offline=is_offline)
            self._begin(tracking, calls=calls)
            if self.is_over:
                self.tracking.end(parents.failure)
        if self.bounds:
            self._begin_binding()

    def close(self) -> None:
        """End the stream and the threads; in a forked child, what is known of the parent's."""
        self.is_over = True
        if self.process is not forking.process:
            self.begin_again()
        self._stream.close()
        self._end(None)
        for thread in {self._thread, self._calling, self._binding, self._keeper} - {threading.current_thread(), None}:
            assert thread is not None
            thread.join(ENDING_SECONDS)

    def _begin(self, tracking: HeadTracker, *, calls: bool = False) -> None:
        self.tracking = tracking
        self._moved = threading.Condition()
        self._made: deque[Made | Notification] = deque()
        self._calling = self._binding = None
        self._stream = _Stream(self._shell, self.tracking)
        self._thread = self._keeper = None
        if not self.is_over:
            if calls:  # before there is anything to be told of, or that would not be
                self._calling = _begin_thread(self._call, "lamina-on-change")
            self._thread = _begin_thread(self._move_to_head, "lamina-live")
            if self._keeping.is_on:
                self._keeper = _begin_thread(self._keep, "lamina-cache")
        self.process = forking.process  # last: who sees it finds all the rest

    def _begin_binding(self) -> None:
        with self._lock:
            if self._binding is None and not self.is_over:
                self._binding = _begin_thread(self._bind, "lamina-bind")

    def _end(self, failure: LaminaError | None) -> None:
        self.is_over = True
        self.tracking.end(failure or self.tracking.failure)
        with self._moved:
            self._moved.notify_all()
        self._on_end(self)

    # --- on the thread that follows -----------------------------------------------------------

    def _move_to_head(self) -> None:
        failure: LaminaError | None = None
        try:
            for made in self._stream.steps():
                self._hand_over(made)
                if self.abandoned and self._is_left():
                    break
        except LaminaError as error:
            failure = error
            log.error("%s, and does not follow any more: %s", self.tracking.place, error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, who waits has to hear of it
            failure = LaminaError(f"a defect has ended it: {error!r}")
            log.exception("%s, and does not follow any more", self.tracking.place)
        finally:
            self._end(failure)
            self._stream.close()

    def _hand_over(self, made: list[Made]) -> None:
        """Wake who waits, and leave what came to the callbacks."""
        with self._moved:
            if self._calling is not None:
                self._made.extend(made)
            self._moved.notify_all()
            if len(self._made) > CALLBACKS_BEHIND:
                with self.tracking.held_up():
                    self._moved.wait_for(lambda: len(self._made) <= CALLBACKS_BEHIND or self.is_over)

    def _is_left(self) -> bool:
        while self.abandoned:
            callbacks = self.abandoned.popleft()
            with self._lock:
                self._lives = [each for each in self._lives if each is not callbacks]
                if not self._lives:
                    self.is_over = True
                    return True
        return False

    # --- on the thread that keeps the last-known-good file ------------------------------------------

    def _keep(self) -> None:
        is_over = False
        while not is_over:
            with self._moved:
                self._moved.wait_for(lambda: self.is_over or self._keeping.is_due(self.tracking))
                is_over = self.is_over
            rest = self._keeping.keep(self.tracking) if self._keeping.is_due(self.tracking) else 0.0
            with self._moved:
                self._moved.wait_for(lambda: self.is_over, rest)

    # --- on the thread that calls ---------------------------------------------------------------

    def _call(self) -> None:
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self._made or self.is_over)
                if self.is_over:
                    return
                made = self._made.popleft()
                self._moved.notify_all()
            if isinstance(made, Notification):
                _tell_bound(made)
            elif version := to_be_told(made):
                self._tell(version)

    def _tell(self, version: VersionChanges) -> None:
        for callbacks in list(self._lives):
            for callback in list(callbacks):
                if version.version > callback.since and callback in callbacks:  # not closed meanwhile
                    try:
                        finished(callback.function(version))
                    except BaseException:  # noqa: BLE001 - the user's, and reported; also what would end the thread
                        log.exception("on_change: %r failed at version %d", callback.function, version.version)

    # --- on the thread that looks for what is bound ---------------------------------------------

    def _bind(self) -> None:
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self.is_over or self.bounds.behind(self.tracking.entries))
            entries = self.tracking.entries
            if not (behind := self.bounds.behind(entries)):
                return
            for bound in behind:
                bound.look(entries)
            with self._moved:
                self._moved.notify_all()


def _tell_bound(telling: Notification) -> None:
    for function in telling.wanted():
        try:
            finished(function(*telling.arguments))
        except BaseException:  # noqa: BLE001 - the user's, and reported; also what would end the thread
            telling.failed(function)


class _Stream(Watch):
    """The watch by which a config is followed."""

    def __init__(self, shell: Shell, tracking: HeadTracker) -> None:
        super().__init__(shell, tracking, None)
        self._tracking = tracking

    def steps(self) -> Iterator[list[Made]]:
        """Follow, message by message, until it is closed."""
        while True:
            try:
                made = self._next(self._tracking.step())
            except WatchEnded:
                return
            yield made


def _begin_thread(run: Callable[[], None], name: str) -> threading.Thread:
    # A daemon, so that a program may end without closing what it follows; it is closed before Python goes.
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


_all: WeakSet[Subscription] = WeakSet()


def call_again() -> None:
    """See in a forked child that functions are called there, too, though nobody may ever look at their live."""
    for followed in list(_all):
        followed.forked()
        if followed.has_functions:
            followed.begin_again()


@atexit.register
def _close_all() -> None:
    for followed in list(_all):
        if followed.process is forking.process:
            followed.close()
