"""The nouns of the versioned map, as frozen records: what passes between the rooms.

Pure; no protobuf message and no database row goes by these names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lamina_server.domain.values import Value

CHANGED_KEYS_LIMIT = 100
"""How many of its changed keys a version's header names."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a forked config came from."""

    config: str
    version: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Version:
    """The header of one version: everything about it but its map.

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


@dataclass(frozen=True, slots=True)
class Change:
    """One key set to a value, or deleted where the value is None."""

    key: str
    value: Value | None


@dataclass(frozen=True, slots=True)
class VersionChanges:
    """One version and all that it changed, in key order."""

    version: Version
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class HeadMark:
    """Which version is a config's head: its number, and the hash that stands for its whole past."""

    number: int
    hash: bytes


NO_VERSION = HeadMark(0, b"")
"""Before version 1: the empty map, and where nothing is known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map, with the version its value originated in."""

    key: str
    value: Value
    origin: int


@dataclass(frozen=True, slots=True)
class State:
    """What one key was at a version: a value, or None for a deleted key; and since which version.

    A key that was never set has no state at all.
    """

    value: Value | None
    origin: int


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One change of one key, with the version that made it."""

    key: str
    value: Value | None
    version: int
    author: str
    message: str
    commit_time_us: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One key whose value differs between two versions; None where it has none."""

    key: str
    old: Value | None
    new: Value | None


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a write, remembered under its request id.

    version is None where nothing was written and there is no version at all: a commit
    that changes nothing in a config that does not exist.
    """

    config: str
    version: Version | None
    created: bool
    merged: bool


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Who asked, under which id, for what.

    digest  SHA-256 of the request's content: the same id with another digest is refused
    """

    caller: str
    request_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class ConfigSummary:
    """One config as it is listed; create_time_us is its version 1's commit time."""

    name: str
    head: Version
    create_time_us: int


def live_values(states: Mapping[str, State]) -> dict[str, Value]:
    """Leave out the keys that are deleted."""
    return {key: state.value for key, state in states.items() if state.value is not None}
