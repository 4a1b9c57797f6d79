"""Rows to our nouns and back: the same for the ORM models and for a store that uses the tables directly. Pure.

A "row" is whatever has the columns as attributes: a ConfigValue, or a Core row.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

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
    Kind.SECRET: "bytes_value",
}

_CELL_COLUMNS = ("kind", "deleted", "int_value", "float_value", "string_value", "bytes_value")
_DELETED = (int(Kind.NULL), True, None, None, None, None)
_NULL = (int(Kind.NULL), False, None, None, None, None)

VALUE_COLUMNS = ("config_name_id", "version", "originating_config_id", "name", *_CELL_COLUMNS, "digest")
"""The columns of a value's row, in the order of `value_rows`."""

VERSION_COLUMNS = (
    "version",
    "author",
    "author_verified",
    "message",
    "commit_time_us",
    "key_count",
    "change_count",
    "size_bytes",
    "hash",
    "source_config",
    "source_version",
    "source_hash",
)
"""The columns of a version's header, in the order of `version_cells`."""

Row: TypeAlias = tuple[Any, ...]


def value_cells(value: Value | None) -> Row:
    """Spread a value over six columns of config_value: its kind, whether it is deleted, and four of which one is set.

    None is a tombstone.
    """
    if value is None:
        return _DELETED
    kind, data = int(value.kind), value.data
    if isinstance(data, str):
        return kind, False, None, None, data, None
    if isinstance(data, int):  # a boolean, too
        return kind, False, int(data), None, None, None
    if isinstance(data, float):
        return kind, False, None, data, None, None
    return _NULL if data is None else (kind, False, None, None, None, data)


def value_columns(value: Value | None) -> dict[str, Any]:
    """Spread a value over the same six columns, by name."""
    return dict(zip(_CELL_COLUMNS, value_cells(value), strict=True))


def value_rows(plan: Plan, name_id: int, version_id: int) -> Iterator[Row]:
    """Yield a planned version's rows of config_value, but for their ids."""
    number = plan.version.number
    for planned in plan.values:
        yield name_id, number, version_id, planned.key, *value_cells(planned.value), planned.digest


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


def version_cells(version: Version) -> Row:
    """Spread a version's header over config's columns, but for the two ids."""
    source = version.source
    return (
        version.number,
        version.author,
        version.author_verified,
        version.message,
        version.commit_time_us,
        version.key_count,
        version.change_count,
        version.size_bytes,
        version.hash,
        source.config if source else None,
        source.version if source else None,
        source.hash if source else None,
    )


def version_columns(version: Version) -> dict[str, Any]:
    """Spread a version's header over the same columns, by name."""
    return dict(zip(VERSION_COLUMNS, version_cells(version), strict=True))


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
