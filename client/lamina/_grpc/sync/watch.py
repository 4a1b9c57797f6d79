"""A watch for threads: runs its machine over grpc's streams, and ends it at once when it is told to."""

import threading
from collections.abc import Iterator
from typing import Any, Self, TypeVar

from lamina._flows.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina._flows.run import run
from lamina._grpc.sync.shell import Shell, Stream
from lamina._grpc.sync.silence import SilenceTimer
from lamina._runtime.copies import Uncopyable
from lamina._runtime.forking import ForkSafeLock
from lamina._runtime.public import public
from lamina._runtime.tracebacks import end_here
from lamina._streams.watch import WatchEnded, WatchStream, check_timeout
from lamina._wire.rpcs import WATCH_KEY_HISTORY
from lamina.errors import LaminaError
from lamina.records import KeyChange, VersionChanges
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")


@public("lamina")
class Watch(Uncopyable):
    """Changes as they are committed: iterate over it, or over `versions()`. It resumes by itself until it is closed.

    Only a definite error ends it, such as a CursorError when the server's past is not the one that was seen.
    """

    _instead = "begin another one where it is needed, with after=watch.cursor"

    def __init__(self, shell: Shell, following: WatchStream, timeout: float | None) -> None:
        self._shell = shell
        self._following = following
        self._timeout = check_timeout(timeout)
        self._lock = ForkSafeLock()  # a forked child, too, closes the client's watches
        self._closed = threading.Event()
        self._stream: Stream | None = None
        self._alarm = None if timeout is None else SilenceTimer(timeout, self._drop)
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
            except WatchEnded:
                return
            except LaminaError as error:
                end_here(error)
                raise
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
        except WatchEnded:
            raise StopIteration from None
        except LaminaError as error:
            end_here(error)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Watch after {self.cursor!r}>"

    def _next(self, flow: Flow[Result]) -> Result:
        if self._closed.is_set():
            raise WatchEnded  # whatever has arrived and was not taken
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
            raise WatchEnded
        match effect:
            case Open(request):
                return self._open(request)
            case Receive():
                return self._receive()
            case Sleep(seconds):
                left = seconds if self._alarm is None else min(seconds, self._alarm.left())
                self._closed.wait(left)
                if self._ended():
                    raise WatchEnded
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
            raise WatchEnded
        try:
            return self._shell.receive(stream)
        except LaminaError:
            # At once, not after the pause: a channel that some watch still holds is waited for by gRPC's own backoff.
            self._drop()
            if self._ended():
                raise WatchEnded from None
            raise

    def _drop(self) -> None:
        """Give up the stream, from whatever thread."""
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            self._shell.close_stream(stream)
