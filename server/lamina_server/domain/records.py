"""The records of the versioned map, which all rooms pass to each other. Pure.

No protobuf message and no database row has these names.
"""

from collections.abc import Mapping
from dataclasses import field

from lamina_server.domain.record import record
from lamina_server.domain.values import Value

CHANGED_KEYS_LIMIT = 100
"""How many of the keys that a version has changed its header names."""


@record
class Source:
    """Where a forked config came from."""

    config: str
    version: int
    hash: bytes


@record
class Version:
    """The header of one version: everything except its map.

    number          1, 2, 3 ... per config
    hash            32 bytes; see hashing.version_hash
    commit_time_us  microseconds since the epoch, strictly rising from version to version
    key_count       keys of the whole map
    change_count    keys that this version changed
    size_bytes      keys and canonical values of the whole map together
    """

    config: str
    number: int
    hash: bytes
    author: str
    author_verified: bool
    message: str
    commit_time_us: int
    key_count: int
    change_count: int
    size_bytes: int
    source: Source | None = None


@record
class Change:
    """One key and its new value; None if it is deleted."""

    key: str
    value: Value | None


@record
class VersionChanges:
    """One version and all of its changes, in key order."""

    version: Version
    changes: tuple[Change, ...]


@record
class HeadMark:
    """A config's head: its number, and its hash, which identifies the whole past.

    oldest  the oldest version whose map could be read when the store was asked for the head; 1 if it was not asked
    """

    number: int
    hash: bytes
    oldest: int = field(default=1, compare=False)


NO_VERSION = HeadMark(0, b"")
"""The empty map before version 1. It also stands for an unknown head."""


@record
class Entry:
    """One key of a map, with the version its value originated in."""

    key: str
    value: Value
    origin: int


@record
class State:
    """One key at a version: its value, or None if it is deleted, and the version that set or deleted it.

    A key that was never set has no state.
    """

    value: Value | None
    origin: int


@record
class KeyChange:
    """One change of one key, with the version that made it.

    digest  of the value, if compaction has taken the value away; else empty
    """

    key: str
    value: Value | None
    version: int
    author: str
    message: str
    commit_time_us: int
    digest: bytes = b""


@record
class Difference:
    """One key whose value differs between two versions; None if the key is not in the map."""

    key: str
    old: Value | None
    new: Value | None


@record
class Reply:
    """The outcome of a write, remembered under its request id.

    version is None if there is no version: a commit has changed nothing in a config that
    does not exist.
    """

    config: str
    version: Version | None
    created: bool
    merged: bool


@record
class RequestKey:
    """The identity of a write request.

    digest  SHA-256 of the request's content; the same id with another digest is refused
    """

    caller: str
    request_id: str
    digest: bytes


@record
class ConfigSummary:
    """One config of a list.

    create_time_us  the commit time of its version 1
    oldest          the oldest version whose map can be read
    """

    name: str
    head: Version
    create_time_us: int
    oldest: int = 1


def live_values(states: Mapping[str, State]) -> dict[str, Value]:
    """Return the values of the keys that are not deleted."""
    return {key: state.value for key, state in states.items() if state.value is not None}
