"""What each method is asked for, as frozen records, parsed and checked. Pure; no message goes by these names."""

from dataclasses import dataclass

from lamina_server.domain.commands import Command
from lamina_server.domain.selection import KeyFilter
from lamina_server.wire.paging import PageRequest


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Carry out a command once under this id; or, with validate_only, say what it would do.

    digest  the command's own: made with it, because that takes long for a large one
    """

    command: Command
    digest: bytes
    request_id: str
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class GetVersionRequest:
    """Read one version: by number, or by time (microseconds since the epoch), or else the head."""

    config: str
    number: int | None
    time_us: int | None
    wanted: KeyFilter
    with_entries: bool
    with_origins: bool
    min_version: int
    page: PageRequest


@dataclass(frozen=True, slots=True)
class ListVersionsRequest:
    """List the versions before one; None: from the head."""

    config: str
    before: int | None
    page: PageRequest


@dataclass(frozen=True, slots=True)
class DiffVersionsRequest:
    """Compare two versions; None is the head."""

    config: str
    old: int | None
    new: int | None
    wanted: KeyFilter
    page: PageRequest


@dataclass(frozen=True, slots=True)
class GetKeyHistoryRequest:
    """List every change of a key."""

    config: str
    key: str
    newest_first: bool
    page: PageRequest


@dataclass(frozen=True, slots=True)
class ListConfigsRequest:
    """List the configs whose names begin with a prefix."""

    prefix: str
    page: PageRequest


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last version a watcher has seen; an empty hash is not checked."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """Follow a config after a cursor; None: from now."""

    config: str
    wanted: KeyFilter
    after: Cursor | None
    bookmark_interval_seconds: float
