"""A live config for threads: one stream, one map and one thread for all lives of a config; aio_live.py is its sibling.

The thread reads the stream and swaps the map. Callbacks have a thread of their own, begun with the first of them, so
that one that takes long does not keep the map from moving on. In a forked child neither is there: the first one to look
begins them anew, from the map that the parent had; at once where there are functions to be called. Settings that are
bound are made on a third one, so that a validator that takes long keeps back neither.
"""

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, SupportsIndex
from weakref import WeakSet, finalize

from lamina import flows, forking, offline
from lamina.binding import BindOptions, Bound, Bounds, OnInvalid, Settings, Telling
from lamina.cache import Cache
from lamina.draft import Snapshot
from lamina.effects import log
from lamina.entries import Entries
from lamina.errors import DeadlineError, InvalidError, LaminaError, NotFoundError, UnavailableError
from lamina.forking import ForkedLock
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
from lamina.sync_shell import Shell
from lamina.sync_verbs import Reader
from lamina.sync_watch import Watch
from lamina.values import Value
from lamina.watching import EndedError


class Live(LiveView, Reader):
    """A config that follows its head: `live["x"]`, `live.current` for several keys of one version, and `on_change`.

    Threads may share it, and it survives a fork. Reading takes no lock and makes no call. It resumes by itself until it
    is closed; only a definite error ends it, which is logged, kept as `error`, and raised by `wait`.
    """

    __slots__ = ("_at_rest", "_callbacks", "_followed", "_left", "_shell")

    def __init__(self, shell: Shell, followed: "Followed", callbacks: Callbacks) -> None:
        self._shell = shell
        self._followed = followed
        self._tracking = followed.tracking
        self._pins = followed.pins
        self._at_rest: Tracking | None = None
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
        seconds = self._shell.session.timeout_seconds if timeout is None else timeout
        self._followed.wait(version, seconds, self._check_open, self._callbacks)

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

    def _tracked(self) -> Tracking:
        if self._at_rest is not None:
            return self._at_rest
        if self._followed.process is not forking.process:
            self._followed.begin_again()
        if self._tracking is not self._followed.tracking:
            self._show(self._followed.tracking)
        return self._tracking

    def _show(self, tracking: Tracking) -> None:
        self._tracking = tracking
        if self._at_rest is not None:  # just now, by another thread
            self._tracking = self._at_rest


class Lives:
    """The lives of a client."""

    def __init__(self, shell: Shell, cache: Cache) -> None:
        self._shell = shell
        self._cache = cache
        self._lock = ForkedLock()
        self._followed: dict[str, Followed] = {}

    def open(self, name: str, default: Mapping[str, Value] | None) -> Live:
        """Follow a config, or join those who follow it already; what is shown is no older than what the client saw.

        That it may be where no server could be reached.
        """
        spare = None if default is None else offline.made_up(name, default)
        callbacks: Callbacks = []
        followed = self._join(name, callbacks, None)
        if followed is None:
            followed = self._join(name, callbacks, self._begin(name, spare))
            assert followed is not None
        live = Live(self._shell, followed, callbacks)
        if not followed.tracking.is_offline:
            live.wait(self._shell.session.horizon.least(name))
        return live

    def _begin(self, name: str, spare: Entries | None) -> Tracking:
        session = self._shell.session
        try:
            return Tracking(session, self._shell.run(flows.open_config(session, name, create=False)))
        except (UnavailableError, NotFoundError) as error:
            return offline.without_server(session, self._cache, name, spare, error)

    def close(self) -> None:
        """End them all."""
        with self._lock:
            followed = list(self._followed.values())
        for each in followed:
            each.close()

    def _join(self, name: str, callbacks: Callbacks, tracking: Tracking | None) -> "Followed | None":
        with self._lock:
            followed = self._followed.get(name)
            if followed is not None and followed.join(callbacks):
                return followed
            if tracking is None:
                return None
            keeping = offline.Keeping(self._cache)
            followed = self._followed[name] = Followed(self._shell, tracking, keeping, self._forget)
            followed.join(callbacks)
            return followed

    def _forget(self, ended: "Followed") -> None:
        with self._lock:
            self._followed = {name: each for name, each in self._followed.items() if each is not ended}


class Followed:
    """What all lives of one config share: begun for the first of them, ended with the last.

    process    where its threads are
    abandoned  lives that were left lying: the thread looks there after each message
    """

    def __init__(
        self, shell: Shell, tracking: Tracking, keeping: offline.Keeping, on_end: Callable[["Followed"], None]
    ) -> None:
        self._shell = shell
        self._keeping = keeping
        self._on_end = on_end
        self._lock = ForkedLock()
        self._lives: list[Callbacks] = []
        self._thread: threading.Thread | None = None
        self._keeper: threading.Thread | None = None
        self._calling: threading.Thread | None = None
        self._binding: threading.Thread | None = None
        self.bounds = Bounds()
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

    def tell(self, telling: Telling) -> None:
        """Have the functions of something bound called, after what waits already."""
        with self._moved:
            self._made.append(telling)
            self._moved.notify_all()

    def forked(self) -> None:
        """See to it, in a forked child, that a live finds nothing without looking here: see `LiveView.__getitem__`."""
        self.tracking.entries = self.tracking.entries.unseen()

    def begin_again(self) -> None:
        """Go on in a forked child, where no thread is, from what the parent knew."""
        with self._lock:
            if self.process is forking.process:
                return
            calls, parents = self._calling is not None, self.tracking
            # Not the parent's very entries: what is seen here is none of the tracking's that lives still have.
            entries, known_at, is_offline = parents.entries.unseen(), parents.known_at, parents.is_offline
            tracking = Tracking(self._shell.session, entries, known_at=known_at, is_offline=is_offline)
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

    def _begin(self, tracking: Tracking, *, calls: bool = False) -> None:
        self.tracking = tracking
        self._moved = threading.Condition()
        self._made: deque[Made | Telling] = deque()
        self._calling = self._binding = None
        self._stream = _Stream(self._shell, self.tracking)
        self._thread = self._keeper = None
        if not self.is_over:
            if calls:  # before there is anything to be told of, or that would not be
                self._calling = _begin_thread(self._call, "lamina-on-change")
            self._thread = _begin_thread(self._follow, "lamina-live")
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

    def _follow(self) -> None:
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
            if isinstance(made, Telling):
                _tell_bound(made)
            elif version := to_be_told(made):
                self._tell(version)

    def _tell(self, version: VersionChanges) -> None:
        for callbacks in list(self._lives):
            for callback in list(callbacks):
                if version.version > callback.since and callback in callbacks:  # not closed meanwhile
                    try:
                        callback.function(version)
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


def _tell_bound(telling: Telling) -> None:
    for function in telling.wanted():
        try:
            function(*telling.arguments)
        except BaseException:  # noqa: BLE001 - the user's, and reported; also what would end the thread
            telling.failed(function)


class _Stream(Watch):
    """The watch by which a config is followed."""

    def __init__(self, shell: Shell, tracking: Tracking) -> None:
        super().__init__(shell, tracking, None)
        self._tracking = tracking

    def steps(self) -> Iterator[list[Made]]:
        """Follow, message by message, until it is closed."""
        while True:
            try:
                made = self._next(self._tracking.step())
            except EndedError:
                return
            yield made


def _begin_thread(run: Callable[[], None], name: str) -> threading.Thread:
    # A daemon, so that a program may end without closing what it follows; it is closed before Python goes.
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


_all: WeakSet[Followed] = WeakSet()


def _call_again() -> None:
    """See in a forked child that functions are called there, too, though nobody may ever look at their live."""
    for followed in list(_all):
        followed.forked()
        if followed.has_functions:
            followed.begin_again()


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=_call_again)


@atexit.register
def _close_all() -> None:
    for followed in list(_all):
        if followed.process is forking.process:
            followed.close()
