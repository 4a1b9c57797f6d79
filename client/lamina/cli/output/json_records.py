"""The JSON of `-o json`: the SDK's records with the SDK's names, versions as numbers, times in UTC. It knows no verb.

A MISSING value is left out: a deletion's `value`, the `old` of a new key. So is the value of a compacted change; only
what is compacted has `compacted` and a `digest`. These shapes are a promise: a name may be
added, and none changes or disappears.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import lamina
from lamina.cli.output.text import escape_json, substitute, utc


def shape(record: Any) -> dict[str, Any]:
    """Make a JSON object of one of the SDK's records."""
    found = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: _plain(value) for name, value in found.items() if not _is_left_out(name, value)}


def shapes(records: Mapping[str, Any]) -> dict[str, Any]:
    """Make a JSON object of records by key."""
    return {key: shape(record) for key, record in records.items()}


def change_shape(change: lamina.KeyChange, old: Any) -> dict[str, Any]:
    """Make a JSON object of a change, with the value before it."""
    found = shape(change)
    before = {} if old is lamina.MISSING else {"old": old}
    return {"key": found.pop("key"), **before, **found}


def document(value: Any) -> str:
    """Write one value in several lines, for reading."""
    return escape_json(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=substitute))


def documents(records: Mapping[str, Any]) -> Iterator[str]:
    """Write records by key as one document, piece by piece: many keys may have the same record, which is long."""
    if not records:
        yield document({})
        return
    written: dict[int, str] = {}
    before = "{"
    for key, record in records.items():
        if id(record) not in written:
            written[id(record)] = document(shape(record)).replace("\n", "\n  ")
        yield f"{before}\n  {json_line(key)}: {written[id(record)]}"
        before = ","
    yield "\n}"


def json_line(value: Any) -> str:
    """Write one value in one line."""
    return escape_json(json.dumps(value, ensure_ascii=False, allow_nan=False, default=substitute))


def _is_left_out(name: str, value: Any) -> bool:
    return value is lamina.MISSING or value is lamina.COMPACTED or (name in {"compacted", "digest"} and not value)


def _plain(value: Any) -> Any:
    return utc(value) if isinstance(value, datetime) else value
