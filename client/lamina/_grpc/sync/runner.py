"""Runs a stream's machine over grpc's streams, for threads, and ends it at once on demand."""

import threading
from typing import Any, TypeVar

from lamina._flows.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina._flows.run import run
from lamina._grpc.sync.shell import Shell, Stream
from lamina._grpc.sync.silence import SilenceTimer
from lamina._runtime.forking import ForkSafeLock
from lamina._streams.watch import WatchEnded, WatchStream
from lamina._wire.rpcs import WATCH_KEY_HISTORY
from lamina.errors import LaminaError
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")


class StreamRunner:
    """Runs the flows of one watch's state machine. Any thread may close it.

    `timeout` seconds without a change from the stream end the flow that waits. Bookmarks, which also come where nothing
    changes, do not count; each part of a large version counts.
    """

    def __init__(self, shell: Shell, stream: WatchStream, timeout: float | None = None) -> None:
        self._shell = shell
        self._machine = stream
        self._lock = ForkSafeLock()  # a forked child also closes the client's watches
        self._closed = threading.Event()
        self._stream: Stream | None = None
        self._timer = None if timeout is None else SilenceTimer(timeout, self._drop)
        shell.adopt(self)

    def run(self, flow: Flow[Result]) -> Result:
        """Perform a flow's effects until it returns; raise WatchEnded if that takes too long, or when it is closed."""
        if self._closed.is_set():
            raise WatchEnded  # even if changes have arrived that were not taken
        if self._timer is None:
            return self._run(flow)
        self._timer.set()
        try:
            return self._run(flow)
        finally:
            self._timer.unset()
            if self._timer.rang:
                self._machine.drop()  # the last message may have arrived already: the next flow opens another stream

    def close(self) -> None:
        """End the flow at once, from any thread."""
        self._closed.set()
        if self._timer is not None:
            self._timer.stop()
        self._drop()

    def _run(self, flow: Flow[Result]) -> Result:
        try:
            return run(flow, self._perform)
        except BaseException:
            # A definite error, silence, a close or Ctrl-C: if the loop goes on, a new stream resumes here.
            self._machine.drop()
            self._drop()
            raise

    def _perform(self, effect: Effect) -> Any:
        if self._has_ended():
            raise WatchEnded
        match effect:
            case Open(request):
                return self._open(request)
            case Receive():
                return self._receive()
            case Sleep(seconds):
                return self._sleep(seconds)
            case Call() | Invoke():
                return self._shell.perform(effect)

    def _has_ended(self) -> bool:
        return self._closed.is_set() or (self._timer is not None and self._timer.rang)

    def _sleep(self, seconds: float) -> None:
        self._closed.wait(seconds if self._timer is None else min(seconds, self._timer.left()))
        if self._has_ended():
            raise WatchEnded

    def _open(self, request: pb.WatchKeyHistoryRequest) -> None:
        self._drop()
        stream = self._shell.open_stream(WATCH_KEY_HISTORY, request)
        with self._lock:
            self._stream = stream
        if self._has_ended():  # meanwhile, by another thread, which could not yet see the stream
            self._drop()

    def _receive(self) -> pb.WatchKeyHistoryResponse:
        stream = self._stream
        if stream is None:
            raise WatchEnded
        try:
            message: pb.WatchKeyHistoryResponse = self._shell.receive(stream)
        except LaminaError:
            # At once, not after the pause: otherwise gRPC's backoff would apply to a channel that a watch still holds.
            self._drop()
            if self._has_ended():
                raise WatchEnded from None
            raise
        if self._timer is not None and message.changes:
            self._timer.extend()
        return message

    def _drop(self) -> None:
        """Close the stream, from any thread."""
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            self._shell.close_stream(stream)
