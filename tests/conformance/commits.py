"""Commits for the suite: a plan of plain Python values, inserted in a writing block."""

from collections.abc import Callable, Mapping
from typing import Any

from lamina_server.domain.planning import Author, MapLimits, Plan, plan
from lamina_server.domain.records import Change, Reply, RequestKey, Source, Version
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.domain.values import Value, canonical_json
from lamina_server.store.contract import Reading, Store, Writing

ADA = Author("ada", verified=True)
CONFIG = "payments/prod"
LIMITS = MapLimits(keys=1_000_000, size_bytes=1 << 40)
DELETED: Any = type("Deleted", (), {"__repr__": lambda _: "DELETED"})()
"""A deletion; None would be the value null."""


_CONSTRUCTORS: Mapping[type, Callable[[Any], Value]] = {
    Value: lambda data: data,
    type(None): lambda _: Value.of_null(),
    bool: Value.of_boolean,
    int: Value.of_integer,
    float: Value.of_float,
    str: Value.of_string,
    bytes: Value.of_bytes,
    list: lambda data: Value.of_json(canonical_json(data)),
    dict: lambda data: Value.of_json(canonical_json(data)),
}


def value(data: Any) -> Value:
    """Make a value of the kind that a Python value suggests."""
    return _CONSTRUCTORS[type(data)](data)


def change(key: str, data: Any) -> Change:
    return Change(key, None if data is DELETED else value(data))


def planned(
    reading: Reading,
    config: str,
    changes: Mapping[str, Any],
    *,
    author: Author = ADA,
    message: str = "",
    now_us: int = 1_000,
    source: Source | None = None,
) -> Plan:
    """Plan the next version of a config, on top of its head."""
    head = reading.head(config)
    return plan(
        [change(*item) for item in changes.items()],
        config=config,
        head=head,
        values=reading.values(config, head.number if head else 0, list(changes)),
        author=author,
        message=message,
        now_us=now_us,
        limits=LIMITS,
        source=source,
    )


def insert(writing: Writing, config: str, changes: Mapping[str, Any], **options: Any) -> Version:
    """Insert the next version of a config."""
    made = planned(writing, config, changes, **options)
    writing.insert(made)
    return made.version


def commit(store: Store, changes: Mapping[str, Any], *, config: str = CONFIG, **options: Any) -> Version:
    """Insert the next version of a config, in a block of its own."""
    with store.write() as writing:
        return insert(writing, config, changes, **options)


def request(name: str, content: bytes = b"content") -> RequestKey:
    return RequestKey("ada", name, content.ljust(32))


def map_at(
    reading: Reading, number: int, wanted: KeyFilter = EVERYTHING, *, config: str = CONFIG, after: str = ""
) -> dict[str, Value]:
    """Read a version's entries as a dict, in the order in which they came."""
    return {entry.key: entry.value for entry in reading.entries(config, number, wanted, after=after)}


def values(data: Mapping[str, Any]) -> dict[str, Value]:
    return {key: value(each) for key, each in data.items()}


def remembered(reading: Reading, caller: str, request_id: str) -> tuple[bytes, Reply] | None:
    """Return the remembered outcome of one request id."""
    return reading.replies(caller, [request_id]).get(request_id)
