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


def _text(field: str) -> bytes:
    return _frame(field.encode())


def _integer(field: int) -> bytes:
    return _pack_integer(_INTEGER_BYTES, field)


_FRAMED_VALUE_TAG = _frame(_VALUE_TAG)
_FRAMED_VERSION_TAG = _frame(_VERSION_TAG)
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
    # Written out for speed, as in value_digest, because a version that is committed waits for it.
    name, by, why, changes = config.encode(), author.encode(), message.encode(), list(digests)
    origin = () if source is None else (_text(source.config), _integer(source.version), _frame(source.hash))
    parts = (
        _FRAMED_VERSION_TAG,
        _pack_length(len(parent_hash)),
        parent_hash,
        _pack_length(len(name)),
        name,
        _pack_integer(_INTEGER_BYTES, number),
        _pack_length(len(by)),
        by,
        _integer(author_verified),
        _pack_length(len(why)),
        why,
        _pack_integer(_INTEGER_BYTES, commit_time_us),
        _pack_integer(_INTEGER_BYTES, key_count),
        _pack_integer(_INTEGER_BYTES, len(changes)),
        _pack_integer(_INTEGER_BYTES, len(origin)),
        *origin,
        *map(_frame, changes),
    )
    return hashlib.sha256(b"".join(parts)).digest()


def content_digest(*fields: Field) -> bytes:
    """Return the digest of a request's content, which tells a retry from another request with the same id."""
    parts: list[bytes] = []
    add = parts.append
    for field in fields:
        if isinstance(field, str):
            encoded = field.encode()
        elif isinstance(field, int):
            add(_pack_integer(_INTEGER_BYTES, field))
            continue
        else:
            encoded = field
        add(_pack_length(len(encoded)))
        add(encoded)
    return hashlib.sha256(b"".join(parts)).digest()
