"""What a flow may ask of a shell; it names no gRPC and does no I/O.

A flow is a generator: it yields an effect, is sent the result or thrown the error, and returns what the verb returns.
Whatever is raised meanwhile is thrown in, Ctrl-C and a task's cancellation too; a flow stops for LaminaErrors alone.
Two shells run flows, _grpc/sync and _grpc/aio; tests run them against a script.

    reply = yield from operation.ask(GET_VERSION, request)      one call, tried again until the verb's time is over
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
    """Make one unary call, within so many seconds, and give its reply."""

    rpc: Rpc[Any, Any]
    request: Any
    timeout_seconds: float


class Sleep(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Open(NamedTuple):
    """Open a watch's stream in place of the one before."""

    request: pb.WatchKeyHistoryRequest


class Receive:
    """Wait for the open stream's next message and give it; its end, too, is an UnavailableError."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call a function of the user's; for asyncio it may be a coroutine function. What it raises is thrown in."""

    function: Callable[[Any], Any]
    argument: Any


Effect: TypeAlias = Call | Sleep | Open | Receive | Invoke
Flow: TypeAlias = Generator[Effect, Any, Result]
