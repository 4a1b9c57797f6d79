"""Runs a stream's machine over grpc.aio's streams, and ends it at once on demand."""

import asyncio
from typing import Any, TypeVar

import grpc

from lamina._flows.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina._grpc.aio.shell import Shell, Stream, is_cancelled, run
from lamina._streams.watch import WatchEnded, WatchStream
from lamina._wire.rpcs import WATCH_KEY_HISTORY
from lamina.errors import UnavailableError
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")


class StreamRunner:
    """Runs the flows of one watch's state machine. Any task may close it.

    `timeout` seconds without a change from the stream end the flow that waits. Bookmarks, which also come where nothing
    changes, do not count; each part of a large version counts.
    """

    def __init__(self, shell: Shell, stream: WatchStream, timeout: float | None = None) -> None:
        self._shell = shell
        self._machine = stream
        self._timeout = timeout
        self._silence: asyncio.Timeout | None = None
        self._closed = asyncio.Event()
        self._stream: Stream | None = None
        shell.adopt(self)

    async def run(self, flow: Flow[Result]) -> Result:
        """Perform a flow's effects until it returns; raise WatchEnded if that takes too long, or when it is closed."""
        if self._closed.is_set():
            raise WatchEnded  # even if changes have arrived that were not taken
        silence = self._silence = asyncio.timeout(self._timeout)
        try:
            async with silence:
                return await run(flow, self._perform)
        except BaseException as error:
            # A definite error, silence, a close or a cancellation: if the loop goes on, a new stream resumes here.
            self._machine.drop()
            await self._drop()
            if isinstance(error, TimeoutError) and silence.expired():
                raise WatchEnded from None
            raise

    async def close(self) -> None:
        """End the flow at once, from any task."""
        self._closed.set()
        await self._drop()

    async def _perform(self, effect: Effect) -> Any:
        if self._closed.is_set():
            raise WatchEnded
        match effect:
            case Open(request):
                return await self._open(request)
            case Receive():
                return await self._receive()
            case Sleep(seconds):
                return await self._sleep(seconds)
            case Call() | Invoke():
                return await self._shell.perform(effect)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except TimeoutError:
            return
        raise WatchEnded

    async def _open(self, request: pb.WatchKeyHistoryRequest) -> None:
        await self._drop()
        stream = await self._shell.open_stream(WATCH_KEY_HISTORY, request)
        if self._closed.is_set():  # meanwhile, by another task, which could not yet see the stream
            await self._shell.close_stream(stream)
            raise WatchEnded
        self._stream = stream

    async def _receive(self) -> pb.WatchKeyHistoryResponse:
        stream = self._stream
        if stream is None:
            raise WatchEnded
        message = await self._read(stream)
        if message.changes:
            self._extend_silence()
        return message

    def _extend_silence(self) -> None:
        if self._timeout is not None and self._silence is not None and not self._silence.expired():
            self._silence.reschedule(asyncio.get_running_loop().time() + self._timeout)

    async def _read(self, stream: Stream) -> pb.WatchKeyHistoryResponse:
        try:
            message: Any = await stream.call.read()
        except grpc.RpcError as error:
            failure = self._shell.failed(stream.link, error)
            # At once, not after the pause: otherwise gRPC's backoff would apply to a channel that a watch still holds.
            await self._drop()
            raise failure from None
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            if self._closed.is_set():
                raise WatchEnded from None
            raise UnavailableError("the connection was closed") from None
        if message is grpc.aio.EOF:
            raise UnavailableError("the server ended the watch")
        received: pb.WatchKeyHistoryResponse = message
        return received

    async def _drop(self) -> None:
        """Close the stream."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await self._shell.close_stream(stream)
