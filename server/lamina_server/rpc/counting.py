"""How each call is counted: by its method, its status and its time. Knows no caller, and nothing of its contents."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from lamina_server.metrics.recorder import Recorder
from lamina_server.rpc.ended import code_name

Answer = TypeVar("Answer")
Handle: TypeAlias = Callable[[Any, Any], Awaitable[Answer]]
"""Takes a request and gRPC's context of the call."""


def counted(recorder: Recorder, method: str, handle: Handle[Answer]) -> Handle[Answer]:
    """Return a function that counts the calls which it handles. If nothing is counted, that is the same one."""
    if not recorder.counts:
        return handle

    async def handle_counted(request: Any, context: Any) -> Answer:
        with Counted(recorder, method, context):
            return await handle(request, context)

    return handle_counted


class Counted:
    """One call, which lasts as long as the block."""

    __slots__ = ("_began", "_context", "_method", "_recorder")

    def __init__(self, recorder: Recorder, method: str, context: Any) -> None:
        self._recorder = recorder
        self._method = method
        self._context = context

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        code = "OK" if kind is None else code_name(kind, self._context)
        self._recorder.call(self._method, code, time.perf_counter() - self._began)
