"""Points in a config's time, as people give them."""

from datetime import datetime
from operator import index
from typing import Final, SupportsIndex, TypeAlias

from lamina.errors import InvalidError
from lamina.records import Version

Point: TypeAlias = SupportsIndex | datetime
"""A point in a config's time: a version's number, a Version, or a datetime with a zone."""


VERSION_LIMIT: Final = 2**63 - 1


def number_of(point: SupportsIndex, config: str | None = None) -> int:
    """Return the number of a version that a user named; TypeError or InvalidError if it cannot be one."""
    if isinstance(point, Version) and config not in {None, point.config}:
        text = f"version {point.number} of {point.config!r} is no version of {config!r}"
        raise InvalidError(text, reason="BAD_REQUEST")
    try:
        number = index(point)
    except TypeError:
        kind = type(point).__name__
        raise TypeError(f"a version is an int, a Version or a datetime, not {kind}") from None
    if not 0 <= number <= VERSION_LIMIT:
        raise InvalidError(f"{number} is no version: they are numbered from 1, and 0 is empty", reason="BAD_REQUEST")
    return number
