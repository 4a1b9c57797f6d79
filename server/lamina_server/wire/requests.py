"""The parsed and checked requests of all methods, as frozen records. Pure; no protobuf message has these names."""

from collections.abc import Mapping
from dataclasses import field

from lamina_server.domain.access import Visible
from lamina_server.domain.commands import Command
from lamina_server.domain.record import record
from lamina_server.domain.secrets import Content
from lamina_server.domain.selection import KeyFilter
from lamina_server.wire.paging import PageRequest


@record
class WriteRequest:
    """Carry out a command once under this id; or, with validate_only, say what it would do.

    digest               the command's digest, computed here because this takes long for a large command
    changes_limit_bytes  up to how many bytes the reply says what is different from the base
    secrets              by key, what is to be sealed; None for a secret that was given as sealed bytes. Until it is
                         sealed, the command has UNSEALED in its place
    """

    command: Command
    digest: bytes
    request_id: str
    validate_only: bool = False
    changes_limit_bytes: int = 0
    secrets: Mapping[str, Content | None] = field(default_factory=dict)


@record
class GetVersionRequest:
    """Read one version: by number, by time (microseconds since the epoch), or the head if both are None."""

    config: str
    number: int | None
    time_us: int | None
    wanted: KeyFilter
    with_entries: bool
    with_origins: bool
    min_version: int
    page: PageRequest


@record
class ListSecretKeysRequest:
    """List the data keys, for who may read a config."""

    config: str


@record
class ListVersionsRequest:
    """List the versions before one, the newest first; None: from the head."""

    config: str
    before: int | None
    page: PageRequest


@record
class DiffVersionsRequest:
    """Compare two versions; None is the head."""

    config: str
    old: int | None
    new: int | None
    wanted: KeyFilter
    page: PageRequest


@record
class GetKeyHistoryRequest:
    """List all changes of a key."""

    config: str
    key: str
    newest_first: bool
    page: PageRequest


@record
class ListConfigsRequest:
    """List the configs whose names have a prefix. `visible` are those that the caller may read; None: all."""

    prefix: str
    page: PageRequest
    visible: Visible | None = None


@record
class CheckAccessRequest:
    """Say what a principal may do with a config, with groups that an identity provider would claim for it."""

    principal: str
    groups: frozenset[str]
    config: str


@record
class Cursor:
    """The last version that a watcher has seen. An empty hash is not checked."""

    number: int
    hash: bytes


@record
class WatchRequest:
    """Follow a config after a cursor; None: from now."""

    config: str
    wanted: KeyFilter
    after: Cursor | None
    bookmark_interval_seconds: float
