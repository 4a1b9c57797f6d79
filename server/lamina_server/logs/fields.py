"""What each line of the log has beside its event, such as the ids of a trace. Knows none of these fields."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

_sources: list[Callable[[], Mapping[str, str]]] = []


@contextmanager
def with_fields(source: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Ask a function for more fields of each line while the block lasts. It is called where the event happens."""
    _sources.append(source)
    try:
        yield
    finally:
        _sources.remove(source)


def add_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields: a processor of structlog."""
    for source in _sources:
        event.update(source())
    return event
