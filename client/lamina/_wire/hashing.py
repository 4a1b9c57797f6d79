"""Digests of values and hashes of versions, computed from wire messages; pure. See protos/HASHING.md.

The server has its own code for this on purpose: shared code would always agree with itself. A change here or there
breaks the chain of every existing config.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from lamina._mapping.secret import Secret, sealed_of
from lamina._mapping.values import Kind, Stored, load
from lamina.records import MISSING, Missing, Version
from lamina_protos.v1 import lamina_pb2 as pb

Field: TypeAlias = bytes | str | int

NO_PARENT: Final = b""
"""The hash of version 0."""

_VALUE_TAG: Final = b"lamina/value/1"
_VERSION_TAG: Final = b"lamina/version/1"
_TOMBSTONE: Final = "DELETED"
_KINDS: Final[dict[Kind, str]] = {
    "null": "NULL",
    "bool": "BOOLEAN",
    "int64": "INTEGER",
    "double": "FLOAT",
    "string": "STRING",
    "bytes": "BYTES",
    "json": "JSON",
    "secret": "SECRET",
}


def value_digest(config: str, version: int, key: str, value: Stored | Missing) -> bytes:
    """Return the digest of the value that a version set a key to; MISSING is a deletion."""
    if value is MISSING:
        return _sha256(_VALUE_TAG, config, version, key, _TOMBSTONE, b"")
    return _sha256(_VALUE_TAG, config, version, key, _KINDS[value.kind], _canonical(value))


def change_digest(header: pb.ConfigVersion, change: pb.Change) -> bytes:
    """Return the digest of a change by the version with this header."""
    value = MISSING if change.deleted else load(change.value)
    return value_digest(header.config, header.version, change.key, value)


def version_hash(header: pb.ConfigVersion, parent_hash: bytes, digests: Sequence[bytes]) -> bytes:
    """Return a version's hash: of its parent's hash, its header, and the digests of its changes in key order."""
    source = (header.source_config, header.source_version, header.source_hash) if header.source_config else ()
    return _sha256(
        _VERSION_TAG,
        parent_hash,
        header.config,
        header.version,
        header.author,
        int(header.author_verified),
        header.message,
        header.commit_time.ToMicroseconds(),
        header.key_count,
        len(digests),
        len(source),
        *source,
        *digests,
    )


def is_made_of(header: pb.ConfigVersion, parent: Version, changes: Iterable[pb.Change]) -> bool:
    """Return whether a version has exactly this parent and these changes, which are in key order."""
    digests = [change_digest(header, change) for change in changes]
    return version_hash(header, bytes.fromhex(parent.hash), digests) == header.hash


def _canonical(value: Stored) -> bytes:
    """Return a value's canonical bytes. JSON is canonical on the wire already; a secret's are the sealed ones."""
    match value.data:
        case None | bool():
            return b"" if value.data is None else bytes([value.data])
        case int():
            return _integer(value.data)
        case float():
            return struct.pack(">d", value.data)
        case str():
            return value.data.encode()
        case bytes():
            return value.data
        case Secret():
            return sealed_of(value.data)


def _sha256(*fields: Field) -> bytes:
    parts: list[bytes] = []
    for field in fields:
        encoded = field if isinstance(field, bytes) else field.encode() if isinstance(field, str) else _integer(field)
        parts += (len(encoded).to_bytes(8, "big"), encoded)
    return hashlib.sha256(b"".join(parts)).digest()


def _integer(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)
