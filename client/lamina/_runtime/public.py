"""The module that users import a class or function from, which is not always the one that holds its code."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def public(module: str) -> Callable[[T], T]:
    """Make a decorator that names the module from which users import a class or function.

    Tracebacks and reprs show that name, and pickles look there: none of them depends on where the code lies.
    """

    def name(it: T) -> T:
        it.__module__ = module
        return it

    return name
