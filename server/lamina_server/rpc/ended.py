"""With which status gRPC ends a call that has failed, for metrics and traces."""

import asyncio
from typing import Any

import grpc


def code_name(kind: type[BaseException], context: Any) -> str:
    """Return the name of the status code of a call, by the class of what its handler has raised."""
    if issubclass(kind, grpc.aio.AbortError):
        code: str = context.code().name
        return code
    # The caller has left, or its deadline has passed: gRPC does not tell which.
    return "CANCELLED" if issubclass(kind, (asyncio.CancelledError, grpc.aio.BaseError)) else "UNKNOWN"
