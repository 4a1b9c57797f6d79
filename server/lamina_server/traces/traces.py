"""What is told of calls and transactions while traces are off: nothing. otel.py tells OpenTelemetry."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Self

from lamina_server.domain.errors import OperatorError

UNKNOWN_METHOD: Final = "_OTHER"
"""What is told of a method that does not exist: its name is a text of the caller."""


class TracesError(OperatorError):
    """Traces cannot be turned on. The text says why, and what to do."""


class CallTrace:
    """The span of one call, which lasts as long as the block. It is current within the block."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def failed(self, code: str, reason: str) -> None:
        """Take the status code with which the call ends, and the reason code; empty if it has none."""


class QueueTrace:
    """The span of a command's wait for its transaction. It ends with the block at the latest."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class BatchTrace:
    """The span of the transaction of a batch of commands."""

    __slots__ = ()

    def current(self) -> AbstractContextManager[object]:
        """Make the span current within the block, on any thread."""
        return _NOTHING

    def end(self) -> None:
        """End the span."""


class Traces:
    """Makes spans. This one makes none."""

    def call(self, method: str, headers: Iterable[tuple[str, str | bytes]]) -> CallTrace:
        """Return the span of a call of a method, by its full name, that continues the trace of its headers."""
        return _NO_CALL

    def about(self, config: str) -> None:
        """Take which config the current call is about."""

    def queue(self) -> QueueTrace:
        """Return the span of a wait that begins now, within the current call."""
        return NO_QUEUE

    def batch(self, waits: Iterable[QueueTrace]) -> BatchTrace:
        """End these waits, and return the span of the transaction that begins now, with links to the calls."""
        return NO_BATCH


_NOTHING: Final = nullcontext()
_NO_CALL: Final = CallTrace()
NO_QUEUE: Final = QueueTrace()
NO_BATCH: Final = BatchTrace()
NO_TRACES: Final = Traces()
