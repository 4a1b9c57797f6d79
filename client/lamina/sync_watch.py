"""A watch for threads: runs its machine over grpc's streams, and ends it at once when it is told to."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar
from weakref import WeakMethod

from lamina.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina.entries import Entries
from lamina.errors import DeadlineError, LaminaError
from lamina.forking import ForkedLock
from lamina.records import KeyChange, Version, VersionChanges
from lamina.rpcs import WATCH_KEY_HISTORY
from lamina.sync_shell import Shell, Stream, run
from lamina.verifying import Verifying
from lamina.watching import EndedError, Following, check_timeout
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")


class Watch:
    """Changes as they are committed: iterate over it, or over `versions()`. It resumes by itself until it is closed.

    Only a definite error ends it, such as a CursorError when the server's past is not the one that was seen.
    """

    def __init__(self, shell: Shell, following: Following, timeout: float | None) -> None:
        self._shell = shell
        self._following = following
        self._timeout = check_timeout(timeout)
        self._lock = ForkedLock()  # a forked child, too, closes the client's watches
        self._closed = threading.Event()
        self._stream: Stream | None = None
        self._alarm = None if timeout is None else _Alarm(timeout, self._drop)
        shell.adopt(self)

    @property
    def cursor(self) -> str:
        """Where it stands: what any `after=` takes, on any server, to go on from here.

        Moves with the last change of a version. Empty until a watch after a time has found its version.
        """
        return self._following.cursor

    def versions(self) -> Iterator[VersionChanges]:
        """Iterate over whole versions instead of single changes."""
        while True:
            try:
                version = self._next(self._following.next_version())
            except EndedError:
                return
            yield version

    def close(self) -> None:
        """End the loop at once, from whatever thread."""
        self._closed.set()
        if self._alarm is not None:
            self._alarm.stop()
        self._drop()

    def __iter__(self) -> Iterator[KeyChange]:
        return self

    def __next__(self) -> KeyChange:
        try:
            return self._next(self._following.next_change())
        except EndedError:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Watch after {self.cursor!r}>"

    def _next(self, flow: Flow[Result]) -> Result:
        if self._closed.is_set():
            raise EndedError  # whatever has arrived and was not taken
        if self._alarm is None:
            return self._run(flow)
        self._alarm.set()
        try:
            return self._run(flow)
        finally:
            self._alarm.unset()

    def _run(self, flow: Flow[Result]) -> Result:
        try:
            return run(flow, self._perform)
        except BaseException:
            # Definite, silence, closed or Ctrl-C: should the loop go on, a new stream resumes where this one was.
            self._following.drop_stream()
            self._drop()
            raise

    def _perform(self, effect: Effect) -> Any:
        if self._ended():
            raise EndedError
        match effect:
            case Open(request):
                return self._open(request)
            case Receive():
                return self._receive()
            case Sleep(seconds):
                left = seconds if self._alarm is None else min(seconds, self._alarm.left())
                self._closed.wait(left)
                if self._ended():
                    raise EndedError
                return None
            case Call() | Invoke():
                return self._shell.perform(effect)

    def _ended(self) -> bool:
        return self._closed.is_set() or (self._alarm is not None and self._alarm.rang)

    def _open(self, request: pb.WatchKeyHistoryRequest) -> None:
        self._drop()
        stream = self._shell.open_stream(WATCH_KEY_HISTORY, request)
        with self._lock:
            self._stream = stream
        if self._ended():  # meanwhile, by another thread, which could not yet see the stream
            self._drop()

    def _receive(self) -> Any:
        stream = self._stream
        if stream is None:
            raise EndedError
        try:
            return self._shell.receive(stream)
        except LaminaError:
            # At once, not after the pause: a channel that some watch still holds is waited for by gRPC's own backoff.
            self._drop()
            if self._ended():
                raise EndedError from None
            raise

    def _drop(self) -> None:
        """Give up the stream, from whatever thread."""
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            self._shell.close_stream(stream)


def verified(shell: Shell, base: Entries) -> Version:
    """Walk a config's hash chain up to the version that it stands on, and return that version's header."""
    return walked(shell, Verifying(shell.session, base))


def walked(shell: Shell, verifying: Verifying) -> Version:
    """Walk to the end of a hash chain, and return the last version's header."""
    with _Walk(shell, verifying, shell.session.timeout_seconds) as walk:
        return walk.end()


class _Walk(Watch):
    """A watch that takes digests instead of changes, and has an end.

    Long chains take longer than a verb's `timeout`: here that is how long the server may be silent.
    """

    def __init__(self, shell: Shell, verifying: Verifying, timeout: float) -> None:
        super().__init__(shell, verifying, timeout)
        self._verifying = verifying

    def end(self) -> Version:
        """Walk to the end."""
        try:
            while (version := self._next(self._verifying.step())) is None:
                pass
        except EndedError:
            raise DeadlineError(f"{self._verifying.place}; the server was silent for too long") from None
        return version


class _Alarm:
    """Rings when a wait lasts for more than so many seconds.

    grpc's streams cannot be waited for with a timeout; they can be cancelled by another thread. One thread serves all
    waits of a watch: it sleeps until the earliest moment at which it might have to ring, so a wait costs no switch. It
    ends with the watch, or soon after a watch that was just left lying.
    """

    def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
        self.rang = False
        self._seconds = seconds
        self._ring = WeakMethod(ring)
        self._lock = threading.Lock()
        self._due: float | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def set(self) -> None:
        """Begin a wait."""
        with self._lock:
            self.rang = False
            self._due = time.monotonic() + self._seconds
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="lamina-watch-timeout", daemon=True)
            self._thread.start()

    def unset(self) -> None:
        """End a wait."""
        with self._lock:
            self._due = None

    def left(self) -> float:
        """Tell how many seconds of the wait are left."""
        return 0.0 if self._due is None else max(self._due - time.monotonic(), 0.0)

    def stop(self) -> None:
        """Never ring again."""
        self._stopped.set()

    def _watch(self) -> None:
        pause = self._seconds
        while not self._stopped.wait(pause):
            with self._lock:
                pause = self._seconds if self._due is None else self._due - time.monotonic()
                if pause > 0 and self._ring() is not None:
                    continue
                self.rang, self._due, pause = True, None, self._seconds
            ring = self._ring()
            if ring is None:
                return
            ring()
