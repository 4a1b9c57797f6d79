"""Digests of values and the hash chain of versions.

Pure. Each hash covers a sequence of fields. Each field is preceded by its length as 8
bytes, big-endian, so that no two different sequences have the same bytes. Text is UTF-8;
integers are 8 bytes, big-endian, signed.
"""

import hashlib
import struct
from collections.abc import Iterable
from typing import TypeAlias

from lamina_server.domain.records import Source
from lamina_server.domain.values import Kind, Value

_VALUE_TAG = b"lamina/value/1"
_VERSION_TAG = b"lamina/version/1"
_TOMBSTONE = b"DELETED"

NO_PARENT = b""
"""The hash of version 0, the empty map before the first version."""

Field: TypeAlias = bytes | str | int

_INTEGER_BYTES = 8
_pack_length = struct.Struct(">Q").pack
_pack_integer = struct.Struct(">Qq").pack  # preceded by its length


def _frame(field: bytes) -> bytes:
    return _pack_length(len(field)) + field


_FRAMED_VALUE_TAG = _frame(_VALUE_TAG)
_FRAMED_TOMBSTONE = _frame(_TOMBSTONE)
_FRAMED_KINDS = {kind: _frame(kind.name.encode()) for kind in Kind}


def value_digest(config: str, version: int, key: str, value: Value | None) -> bytes:
    """Return the digest of one value at its place; None is a tombstone. 32 bytes (SHA-256).

    Fields: tag, config, version, key, kind's name ("INTEGER" …, or "DELETED"), canonical bytes.

    The config, version and key are part of it, so that an intact row at a wrong place is
    noticed too.
    """
    # Written out for speed, because it runs for each row that is read or written.
    name, text, canonical = config.encode(), key.encode(), b"" if value is None else value.canonical
    return hashlib.sha256(
        b"".join(
            (
                _FRAMED_VALUE_TAG,
                _pack_length(len(name)),
                name,
                _pack_integer(_INTEGER_BYTES, version),
                _pack_length(len(text)),
                text,
                _FRAMED_TOMBSTONE if value is None else _FRAMED_KINDS[value.kind],
                _pack_length(len(canonical)),
                canonical,
            )
        )
    ).digest()


def version_hash(
    *,
    parent_hash: bytes,
    config: str,
    number: int,
    author: str,
    author_verified: bool,
    message: str,
    commit_time_us: int,
    key_count: int,
    source: Source | None,
    digests: Iterable[bytes],
) -> bytes:
    """Return the hash of one version: of its parent's hash, its header, and its changes' digests in key order.

    Equal hashes mean equal pasts. 32 bytes (SHA-256).
    """
    origin: tuple[Field, ...] = (source.config, source.version, source.hash) if source else ()
    changes = list(digests)
    return _sha256(
        _VERSION_TAG,
        parent_hash,
        config,
        number,
        author,
        int(author_verified),
        message,
        commit_time_us,
        key_count,
        len(changes),
        len(origin),
        *origin,
        *changes,
    )


def content_digest(*fields: Field) -> bytes:
    """Return the digest of a request's content, which tells a retry from another request with the same id."""
    return _sha256(*fields)


def _sha256(*fields: Field) -> bytes:
    # For speed: one call of sha256, and no function call for each field.
    parts: list[bytes] = []
    for field in fields:
        if isinstance(field, int):
            parts.append(_pack_integer(_INTEGER_BYTES, field))
        else:
            encoded = field.encode() if isinstance(field, str) else field
            parts += (_pack_length(len(encoded)), encoded)
    return hashlib.sha256(b"".join(parts)).digest()
