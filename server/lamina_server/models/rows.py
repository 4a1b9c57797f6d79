"""Rows to our nouns and back: the same for the ORM models and for a store that uses the tables directly. Pure.

A "row" is whatever has the columns as attributes: a ConfigValue, or a Core row.
"""

from collections.abc import Iterator
from typing import Any

from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.hashing import value_digest
from lamina_server.domain.planning import Plan
from lamina_server.domain.records import Source, Version
from lamina_server.domain.values import Kind, Scalar, Value

_COLUMNS = {
    Kind.BOOLEAN: "int_value",
    Kind.INTEGER: "int_value",
    Kind.FLOAT: "float_value",
    Kind.STRING: "string_value",
    Kind.BYTES: "bytes_value",
    Kind.JSON: "string_value",
}


def value_columns(value: Value | None) -> dict[str, Any]:
    """Spread a value over config_value's columns; None is a tombstone.

    Always the same six columns, as a bulk INSERT wants it.
    """
    columns: dict[str, Any] = {
        "kind": Kind.NULL if value is None else value.kind,
        "deleted": value is None,
        "int_value": None,
        "float_value": None,
        "string_value": None,
        "bytes_value": None,
    }
    if value is not None and value.kind is not Kind.NULL:
        columns[_COLUMNS[value.kind]] = int(value.data) if isinstance(value.data, bool) else value.data
    columns["kind"] = int(columns["kind"])
    return columns


def value_rows(plan: Plan, name_id: int, version_id: int) -> Iterator[dict[str, Any]]:
    """Yield a planned version's rows of config_value, but for their ids."""
    for planned in plan.values:
        yield {
            "config_name_id": name_id,
            "version": plan.version.number,
            "originating_config_id": version_id,
            "name": planned.key,
            "digest": planned.digest,
            **value_columns(planned.value),
        }


def value_of(row: Any) -> Value | None:
    """Gather a value from config_value's columns; None is a tombstone. The digest is not looked at."""
    if row.deleted:
        return None
    kind = Kind(row.kind)
    if kind is Kind.NULL:
        return Value(kind, None)
    data: Scalar = getattr(row, _COLUMNS[kind])
    return Value(kind, bool(data) if kind is Kind.BOOLEAN else data)


def checked_value_of(row: Any, config: str) -> Value | None:
    """Gather a value and hold it against the row's digest.

    Needs the columns of value_of, and name, version and digest.
    Raises HashMismatchError where the row is not what was written under its name.
    """
    try:
        value = value_of(row)
        if value_digest(config, row.version, row.name, value) == row.digest:
            return value
    except (ArithmeticError, AttributeError, TypeError, ValueError):  # a column of another type than its kind says
        pass
    raise HashMismatchError(f"{row.name!r} as set by version {row.version} of {config!r}")


def version_columns(version: Version) -> dict[str, Any]:
    """Spread a version's header over config's columns, but for the two ids."""
    source = version.source
    return {
        "version": version.number,
        "author": version.author,
        "author_verified": version.author_verified,
        "message": version.message,
        "commit_time_us": version.commit_time_us,
        "key_count": version.key_count,
        "change_count": version.change_count,
        "size_bytes": version.size_bytes,
        "hash": version.hash,
        "source_config": source.config if source else None,
        "source_version": source.version if source else None,
        "source_hash": source.hash if source else None,
    }


def version_of(row: Any, config: str) -> Version:
    """Gather a version's header from config's columns."""
    source = Source(row.source_config, row.source_version, row.source_hash) if row.source_config is not None else None
    return Version(
        config=config,
        number=row.version,
        hash=row.hash,
        author=row.author,
        author_verified=row.author_verified,
        message=row.message,
        commit_time_us=row.commit_time_us,
        key_count=row.key_count,
        change_count=row.change_count,
        size_bytes=row.size_bytes,
        source=source,
    )
