"""One way to use both clients, so that each test is written once."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import lamina
from lamina import aio


class Sdk:
    """One of the two clients: `kind` is "sync" or "aio"."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._clients: list[Any] = []

    def connect(self, target: str, **options: Any) -> Any:
        """Connect a client, which is closed with the test."""
        module: Any = lamina if self.kind == "sync" else aio
        client = module.connect(target, **options)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await of(client.close())


async def of(result: Any) -> Any:
    """Return the result of a verb, awaited or not."""
    return await result if inspect.isawaitable(result) else result


def beside(sdk: Sdk, verb: Callable[..., Any], *arguments: Any, **options: Any) -> "asyncio.Task[Any]":
    """Start a verb in a task; a blocking verb runs in a thread."""
    if sdk.kind == "sync":
        return asyncio.create_task(asyncio.to_thread(verb, *arguments, **options))
    return asyncio.create_task(of(verb(*arguments, **options)))


async def listed(iterator: Any, number: int | None = None) -> list[Any]:
    """Take `number` items, or all; a blocking iterator runs in a thread."""
    items: list[Any] = []
    while number is None or len(items) < number:
        try:
            items.append(await following(iterator))
        except StopAsyncIteration:
            break
    return items


async def following(iterator: Any) -> Any:
    """Take the next item, or raise StopAsyncIteration."""
    if hasattr(iterator, "__anext__"):
        return await anext(iterator)
    end = object()
    item = await asyncio.to_thread(next, iterator, end)
    if item is end:
        raise StopAsyncIteration
    return item


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Enter either kind of context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as inside:
            yield inside
    else:
        with manager as inside:
            yield inside
