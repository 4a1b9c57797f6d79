"""Slow work, such as in a database, that nobody waits for at the server's end. Knows no event loop but the asker's."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

T = TypeVar("T")


def in_background(function: Callable[[], T], *, name: str) -> "asyncio.Future[T]":
    """Run a function on a thread of its own, and return the future of its result.

    An executor's threads would hold up the end of the process, and a database that does not
    answer may hold up a thread for ever. The future may be cancelled; the function goes on.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: Exception | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("T", result))

    def run() -> None:
        result, failure = None, None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - raised where the future is awaited
            failure = error
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
