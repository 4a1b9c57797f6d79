"""Tracebacks that end at the user's line: the inner frames of a failed verb do not help the user.

An intended error is shortened: one that a `raise` statement of this library has raised, or a function of the user's, or
the system for a file that the user has named. Any other error, such as an AttributeError, is a defect of this library.
It keeps all its frames, so that a report shows where it is.
"""

# ruff: noqa: B904 - an error that is raised again is its own cause, and users see that line

from collections import ChainMap
from collections.abc import Callable, Iterator
from dis import opmap
from functools import wraps
from inspect import isawaitable, iscoroutinefunction
from itertools import dropwhile, zip_longest
from types import FunctionType, TracebackType
from typing import Any, Final, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE: Final = __name__.partition(".")[0]
_RUNNERS: Final = frozenset({"asyncio", "concurrent"})
"""What runs this library's own functions in other threads."""
_RAISE: Final = opmap["RAISE_VARARGS"]
"""What a `raise` statement is compiled to."""
_SHORTENED_OPERATORS: Final = frozenset({"__setitem__", "__delitem__"})
_LEFT_ALONE: Final = frozenset({"get"})
"""What is called as often as `[]`, and raises nothing."""


def short(function: Function) -> Function:
    """Make a function, or a coroutine function, show only one of our frames when it raises an intended error."""
    call: Any = _short_coroutine(function) if iscoroutinefunction(function) else _short_call(function)
    _wrappers.add(call)
    shortened: Function = call
    return shortened


def shorten_methods(it: type) -> None:
    """Make each public method of a class short, also those that it has from other classes of this library."""
    members = ChainMap(*(dict(vars(base)) for base in it.__mro__))
    for name, method in members.items():
        is_public = (not name.startswith("_") or name in _SHORTENED_OPERATORS) and name not in _LEFT_ALONE
        if (
            is_public
            and isinstance(method, FunctionType)
            and method.__module__.partition(".")[0] == _PACKAGE
            and method not in _wrappers
        ):
            setattr(it, name, short(method))


def call_users(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that the user handed over: what it raises is meant."""
    return function(*arguments)


async def await_users(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function or a coroutine function that the user handed over: what it raises is meant."""
    result = function(*arguments)
    return await result if isawaitable(result) else result


def end_here(error: BaseException) -> None:
    """Drop this library's frames from a traceback, below the frame that catches the error and raises it again.

        except LaminaError as error:
            end_here(error)
            raise

    Other people's frames stay: a function that the user handed over may have raised the error.
    """
    assert error.__traceback__ is not None, "an error that was raised has a traceback"
    error.__traceback__.tb_next = _of_others(error)


_USERS: Final = frozenset({call_users.__code__, await_users.__code__})
_wrappers: Final = set[Any]()


def _short_call(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Exception as error:
            if not _is_meant(error):
                raise
            raise _shortened(error)

    return call


def _short_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*arguments: Any, **options: Any) -> Any:
        try:
            return await function(*arguments, **options)
        except Exception as error:
            if not _is_meant(error):
                raise
            raise _shortened(error)

    return call


def _is_meant(error: BaseException) -> bool:
    """Return whether an error is no defect of this library: see the top of this module."""
    if isinstance(error, OSError):
        return True
    last = [entry for entry in _entries(error) if _is_ours_at(entry)][-1]
    code = last.tb_frame.f_code
    return code in _USERS or (code.co_code[last.tb_lasti] == _RAISE and not isinstance(error, AssertionError))


def _shortened(error: Exception) -> Exception:
    if error.__suppress_context__:
        # No traceback shows it, but its frames hold what was read or sent: whole maps, and contents of secrets.
        error.__context__ = None
    return error.with_traceback(_of_others(error))


def _of_others(error: BaseException) -> TracebackType | None:
    """Return a traceback of those frames that are not this library's, below the frame that has caught the error."""
    below = [entry for entry in list(_entries(error))[1:] if not _is_ours_at(entry)]
    others = list(dropwhile(lambda entry: _package_at(entry) in _RUNNERS, below))
    for entry, following in zip_longest(others, others[1:]):
        entry.tb_next = following
    return others[0] if others else None


def _entries(error: BaseException) -> Iterator[TracebackType]:
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _is_ours_at(entry: TracebackType) -> bool:
    return _package_at(entry) == _PACKAGE


def _package_at(entry: TracebackType) -> str:
    name: str = entry.tb_frame.f_globals.get("__name__", "")
    return name.partition(".")[0]
