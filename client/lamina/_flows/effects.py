"""What a flow may ask of a shell; it names no gRPC and does no I/O.

A flow is a generator: it yields an effect, is sent the result or thrown the error, and returns what the verb returns.
Every error is thrown into the flow, Ctrl-C and a task's cancellation too; a flow catches only LaminaErrors.
Two shells run flows, _grpc/sync and _grpc/aio; tests run them against a script.

    reply = yield from operation.ask(GET_VERSION, request)      one call, retried until the verb's timeout
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

from lamina._wire.rpcs import Rpc
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")
Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Call(NamedTuple):
    """Make one unary call with a timeout, and return its reply."""

    rpc: Rpc[Any, Any]
    request: Any
    timeout_seconds: float


class Sleep(NamedTuple):
    """Wait for a number of seconds."""

    seconds: float


class Open(NamedTuple):
    """Open a watch's stream, in place of the previous one."""

    request: pb.WatchKeyHistoryRequest


class Receive:
    """Wait for the open stream's next message, and return it; the stream's end is an UnavailableError too."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call a function of the user; for asyncio it may be a coroutine function. Its error is thrown into the flow."""

    function: Callable[[Any], Any]
    argument: Any


Effect: TypeAlias = Call | Sleep | Open | Receive | Invoke
Flow: TypeAlias = Generator[Effect, Any, Result]
