"""Faults on demand: calls end with the errors that a test has asked for. Knows no method's meaning.

An interceptor between gRPC and the methods. Only the embedded server has one (embedded.py).
It keeps to the contract: an error that says that nothing was written never follows a write.
"""

import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from lamina_server.domain.errors import Reason, ServerError
from lamina_server.rpc import status
from lamina_server.rpc.guard import Context
from lamina_server.rpc.handlers import SERVICE, Handler

INDETERMINATE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)
"""The codes that leave open whether something was written."""

_PREFIX = f"/{SERVICE.full_name}/"
_STREAMING = {method.name for method in SERVICE.methods if method.server_streaming}

Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"


@dataclass(slots=True)
class _Fault:
    """How the next calls of a method, or of any method, end."""

    method: str | None
    end: status.Status
    after: bool
    times: int

    def fits(self, method: str) -> bool:
        return self.method in {None, method} and not (self.after and method in _STREAMING)


class FaultInjector(grpc.aio.ServerInterceptor):
    """Ends calls with the faults that a test has added: each call takes the oldest fault that fits it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: list[_Fault] = []
        self._calls: Counter[str] = Counter()

    @property
    def calls(self) -> Counter[str]:
        """Return how many calls of each method have come in, as a copy."""
        with self._lock:
            return self._calls.copy()

    def add(self, method: str | None, *, reason: str | None, code: str | None, times: int, after: bool) -> None:
        """Make the next calls fail: those of one method, or, if it is None, of any method.

        reason  a reason of the contract; STORE_UNAVAILABLE if neither a reason nor a code is given
        code    a status code without a reason, as a proxy would send it
        times   how many calls fail
        after   whether the call is carried out first, so that only its answer is lost

        Raises ValueError for a failure that no server would have.
        """
        if method is not None and method not in SERVICE.methods_by_name:
            raise ValueError(f"there is no method {method!r}: {', '.join(SERVICE.methods_by_name)}")
        if times < 1:
            raise ValueError(f"times={times}: at least one call fails")
        end = _end(reason, code)
        if after and method in _STREAMING:
            raise ValueError(f"after=True: {method} has no single answer that could be lost")
        if after and end.code not in INDETERMINATE:
            names = ", ".join(each.name for each in INDETERMINATE)
            raise ValueError(f"after=True: {end.code.name} says that nothing was written; {names} leave it open")
        with self._lock:
            self._wanted.append(_Fault(method, end, after, times))

    def clear(self) -> None:
        """Remove all faults: calls succeed again."""
        with self._lock:
            self._wanted.clear()

    async def intercept_service(  # type: ignore[override] # ours are on raw bytes; gRPC's stub is generic
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        """Return a handler that fails if a fault fits the call, and else the method's own."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.removeprefix(_PREFIX)
        if handler is None or method not in SERVICE.methods_by_name:
            return handler
        wanted = self._take(method)
        if wanted is None:
            return handler
        if method in _STREAMING:
            return grpc.stream_stream_rpc_method_handler(_ending(wanted.end))
        answer: Any = handler.stream_unary if wanted.after else None  # a coroutine function, whatever the stub says
        return grpc.stream_unary_rpc_method_handler(_ending(wanted.end, answer))

    def _take(self, method: str) -> _Fault | None:
        with self._lock:
            self._calls[method] += 1
            wanted = next((each for each in self._wanted if each.fits(method)), None)
            if wanted is not None:
                wanted.times -= 1
                if wanted.times < 1:
                    self._wanted.remove(wanted)
            return wanted


def _end(reason: str | None, code: str | None) -> status.Status:
    if code is None:
        return _refusal(Reason.STORE_UNAVAILABLE if reason is None else _reason(reason))
    if reason is not None:
        raise ValueError("a failure has a reason, which has its code, or just a code")
    if code not in grpc.StatusCode.__members__ or code == grpc.StatusCode.OK.name:
        names = ", ".join(name for name in grpc.StatusCode.__members__ if name != grpc.StatusCode.OK.name)
        raise ValueError(f"there is no error code {code!r}: {names}")
    return status.Status(grpc.StatusCode[code], "as the test wanted", ())


def _reason(name: str) -> Reason:
    if name not in Reason.__members__:
        raise ValueError(f"there is no reason {name!r}: {', '.join(Reason.__members__)}")
    if name == Reason.CONFLICT:
        raise ValueError("a conflict has two sides: commit another value of the same key beside the draft")
    return Reason[name]


def _refusal(reason: Reason) -> status.Status:
    return status.of(ServerError(reason, "as the test wanted"))


def _ending(
    end: status.Status, answer: Callable[[Any, Context], Awaitable[bytes]] | None = None
) -> Callable[[Any, Context], Awaitable[bytes]]:
    """Return a method that ends with a status. It calls `answer` first, if there is one; a refusal of that stands."""

    async def handle(requests: Any, context: Context) -> bytes:
        if answer is not None:
            await answer(requests, context)
        await context.abort(end.code, end.details, end.trailing_metadata)

    return handle
