"""What users import: the module that they import it from, and where tracebacks end."""

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

from lamina._runtime.tracebacks import short, shorten_methods

T = TypeVar("T")


def public(module: str) -> Callable[[T], T]:
    """Make a decorator for a class or function that users import from a module, which may not hold its code.

    Tracebacks and reprs show that module, and pickles look there: none of them depends on where the code lies. The
    traceback of an error ends at the user's call of the function, or of one of the class's methods.
    """

    def decorated(it: T) -> T:
        it.__module__ = module
        if isinstance(it, type):
            shorten_methods(it)
        whole: Any = short(it) if isinstance(it, FunctionType) else it
        named: T = whole
        return named

    return decorated
