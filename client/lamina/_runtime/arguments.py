"""Checks of the users' arguments, made in the call itself, so that an error points at the mistake."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, SupportsFloat, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def checked(function: Function, what: str, *, awaits: bool = False) -> Function:
    """Return a function that can be called; raise TypeError for anything else.

    `what` names the place that takes it. A coroutine function is refused unless the place `awaits` what it returns. A
    generator function is always refused: to call one runs none of its lines.
    """
    if not callable(function):
        raise TypeError(f"{what} takes a function, not {_described(function)}")
    if _is(function, inspect.isgeneratorfunction) or _is(function, inspect.isasyncgenfunction):
        raise TypeError(f"{what} takes a function without yield: to call a generator function runs none of its lines")
    if not awaits and _is(function, inspect.iscoroutinefunction):
        raise TypeError(f"{what} takes a plain function here: nothing awaits what an `async def` returns")
    return function


def seconds(value: object, what: str) -> float:
    """Return a number of seconds as a float; raise TypeError if it is no number; True is none."""
    if isinstance(value, str | bool) or not isinstance(value, SupportsFloat):
        raise TypeError(f"{what} is a number of seconds, not {_described(value)}")
    return float(value)


def finished(result: Any) -> Any:
    """Return what a plain function returned; raise TypeError for a coroutine, which nothing here would await."""
    if isinstance(result, Coroutine):
        result.close()
        raise TypeError("the function returned a coroutine, which nothing here awaits: call a plain function")
    return result


def _is(function: object, test: Callable[[Any], bool]) -> bool:
    """Return whether a test holds for a function, or for the `__call__` of an object."""
    kind: Any = type(function)
    return test(function) or test(kind.__call__)


def _described(it: object) -> str:
    return "None" if it is None else type(it).__name__
