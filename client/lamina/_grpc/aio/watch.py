"""A watch for asyncio: runs its machine over grpc.aio's streams, and ends it at once when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self, TypeVar

import grpc

from lamina._flows.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina._grpc.aio.shell import Shell, Stream, is_cancelled, run
from lamina._runtime.copies import Uncopyable
from lamina._runtime.public import public
from lamina._runtime.tracebacks import end_here
from lamina._streams.watch import WatchEnded, WatchStream, check_timeout
from lamina._wire.rpcs import WATCH_KEY_HISTORY
from lamina.errors import LaminaError, UnavailableError
from lamina.records import KeyChange, VersionChanges
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")


@public("lamina.aio")
class Watch(Uncopyable):
    """Changes as they are committed: iterate over it, or over `versions()`. It resumes by itself until it is closed.

    Only a definite error ends it, such as a CursorError when the server's past is not the one that was seen.
    """

    _instead = "begin another one where it is needed, with after=watch.cursor"

    def __init__(self, shell: Shell, following: WatchStream, timeout: float | None) -> None:
        self._shell = shell
        self._following = following
        self._timeout = check_timeout(timeout)
        self._closed = asyncio.Event()
        self._stream: Stream | None = None
        shell.adopt(self)

    @property
    def cursor(self) -> str:
        """Where it stands: what any `after=` takes, on any server, to go on from here.

        Moves with the last change of a version. Empty until a watch after a time has found its version.
        """
        return self._following.cursor

    async def versions(self) -> AsyncIterator[VersionChanges]:
        """Iterate over whole versions instead of single changes."""
        while True:
            try:
                version = await self._next(self._following.next_version())
            except WatchEnded:
                return
            except LaminaError as error:
                end_here(error)
                raise
            yield version

    async def close(self) -> None:
        """End the loop at once, from whatever task."""
        self._closed.set()
        await self._drop()

    def __aiter__(self) -> AsyncIterator[KeyChange]:
        return self

    async def __anext__(self) -> KeyChange:
        try:
            return await self._next(self._following.next_change())
        except WatchEnded:
            raise StopAsyncIteration from None
        except LaminaError as error:
            end_here(error)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Watch after {self.cursor!r}>"

    async def _next(self, flow: Flow[Result]) -> Result:
        if self._closed.is_set():
            raise WatchEnded  # whatever has arrived and was not taken
        silence = asyncio.timeout(self._timeout)
        try:
            async with silence:
                return await run(flow, self._perform)
        except BaseException as error:
            # Definite, silence, closed or cancelled: should the loop go on, a new stream resumes where this one was.
            self._following.drop_stream()
            await self._drop()
            if isinstance(error, TimeoutError) and silence.expired():
                raise WatchEnded from None
            raise

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
        self._stream = self._shell.open_stream(WATCH_KEY_HISTORY, request)

    async def _receive(self) -> Any:
        stream = self._stream
        if stream is None:
            raise WatchEnded
        try:
            message = await stream.call.read()
        except grpc.RpcError as error:
            failure = self._shell.failed(stream.link, error)
            # At once, not after the pause: a channel that some watch still holds is waited for by gRPC's own backoff.
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
        return message

    async def _drop(self) -> None:
        """Give up the stream."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await self._shell.close_stream(stream)
