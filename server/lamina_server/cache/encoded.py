"""New versions and their changes as wire bytes, encoded once for every reply and message that holds them."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from lamina_server.domain.record import record
from lamina_server.domain.records import CHANGED_KEYS_LIMIT, Entry, Version, VersionChanges


class Codec(Protocol):
    """Turns entries and headers into wire bytes."""

    def encode_entry(self, entry: Entry) -> bytes:
        """Encode an entry as a part of a version."""

    def decode_entry(self, encoded: bytes) -> Entry:
        """Decode an entry."""

    def encode_header(self, version: Version, keys: Sequence[str]) -> bytes:
        """Encode a version's header; `keys` are the first CHANGED_KEYS_LIMIT keys that it changed, in order."""


@record
class EncodedChanges:
    """One version and what it changed, as wire bytes in key order; None where a key was deleted.

    size_bytes  of all keys and entries together
    """

    version: Version
    header: bytes
    entries: Mapping[str, bytes | None]
    size_bytes: int

    @classmethod
    def of(cls, made: VersionChanges, codec: Codec) -> "EncodedChanges":
        """Encode what a version changed."""
        version = made.version
        entries: dict[str, bytes | None] = {}
        size_bytes = 0
        for change in made.changes:
            key, value = change.key, change.value
            encoded = None if value is None else codec.encode_entry(Entry(key, value, version.number))
            entries[key] = encoded
            size_bytes += len(key) + len(encoded or b"")
        return cls(
            version, codec.encode_header(version, list(islice(entries, CHANGED_KEYS_LIMIT))), entries, size_bytes
        )
