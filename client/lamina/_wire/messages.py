"""Wire messages as records, and points in time as messages; it decides nothing and makes no call."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain, count
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from lamina._mapping.secret import Source
from lamina._mapping.values import decode, load
from lamina.errors import InvalidError
from lamina.records import (
    COMPACTED,
    MISSING,
    AccessCheck,
    Change,
    ConfigInfo,
    Conflict,
    Grant,
    KeyChange,
    ServerInfo,
    Version,
    VersionChanges,
    WhoAmI,
)
from lamina_protos.v1 import lamina_pb2 as pb

_EPOCH = datetime.fromtimestamp(0, UTC)


def version_of(header: pb.ConfigVersion, *, oldest: int = 0) -> Version:
    """Make the record of a version's header; `oldest` is the oldest version that is not compacted, if that is known."""
    return Version(
        number=header.version,
        config=header.config,
        parent=header.parent,
        author=header.author,
        message=header.message,
        time=time_of(header.commit_time),
        hash=header.hash.hex(),
        author_verified=header.author_verified,
        key_count=header.key_count,
        change_count=header.change_count,
        changed_keys=tuple(header.changed_keys),
        source_config=header.source_config or None,
        source_version=header.source_version if header.source_config else None,
        compacted=header.version < oldest,
    )


def header_of(version: Version) -> pb.ConfigVersion:
    """Make the message of a version's record."""
    header = pb.ConfigVersion(
        version=version.number,
        config=version.config,
        parent=version.parent,
        author=version.author,
        message=version.message,
        commit_time=timestamp_of(version.time),
        hash=bytes.fromhex(version.hash),
        author_verified=version.author_verified,
        key_count=version.key_count,
        change_count=version.change_count,
        changed_keys=version.changed_keys,
    )
    if version.source_config is not None and version.source_version is not None:
        header.source_config, header.source_version = version.source_config, version.source_version
    return header


def changes_in(reply: pb.CommitResponse) -> dict[str, pb.Entry | None]:
    """Return what a commit's reply says that the new version has other than the base; None for a key that it has not.

    The entries are copies: one alone would keep the whole reply in memory.
    """
    changes: dict[str, pb.Entry | None] = dict.fromkeys(reply.deleted_keys)
    for entry in reply.version.entries:
        copy = changes[entry.key] = pb.Entry()
        copy.CopyFrom(entry)
    return changes


class PagedEntries(Mapping[str, pb.Entry]):
    """The entries of a version's pages, by key in key order.

    It keeps only positions: the Python objects of a large map would keep the garbage collector busy, which took longer
    than all the rest of opening the map.
    """

    def __init__(self, pages: Iterable[pb.ConfigVersion]) -> None:
        self._pages = [page.entries for page in pages]
        self._starts = [0, *accumulate(len(entries) for entries in self._pages)]
        keys = chain.from_iterable([entry.key for entry in entries] for entries in self._pages)
        self._places = dict(zip(keys, count(), strict=False))

    def __getitem__(self, key: str) -> pb.Entry:
        place = self._places[key]
        number = bisect_right(self._starts, place) - 1
        return self._pages[number][place - self._starts[number]]

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def key_change_of(change: pb.KeyChange, source: Source) -> KeyChange:
    """Make the record of one change in a key's history."""
    if change.compacted:
        value: Any = COMPACTED
    else:
        value = MISSING if change.deleted else decode(load(change.value, change.key, source))
    return KeyChange(
        key=change.key,
        value=value,
        deleted=change.deleted,
        version=change.version,
        author=change.author,
        message=change.message,
        time=time_of(change.commit_time),
        compacted=change.compacted,
        digest=change.digest.hex(),
    )


def version_changes_of(version: pb.ConfigVersion, changes: Iterable[pb.Change]) -> VersionChanges:
    """Make the record of what one version changed."""
    time, source = time_of(version.commit_time), Source(version.config)

    def record(change: pb.Change) -> KeyChange:
        value = MISSING if change.deleted else decode(load(change.value, change.key, source))
        return KeyChange(change.key, value, change.deleted, version.version, version.author, version.message, time)

    records = tuple(record(change) for change in changes)
    return VersionChanges(version.version, records, version.author, version.message, time, version.hash.hex())


def differences_of(pages: Iterable[pb.DiffVersionsResponse], source: Source) -> dict[str, Change]:
    """Gather the differences of a diff's pages, which come in key order."""
    return {
        difference.key: Change(_side(difference, "from", source), _side(difference, "to", source))
        for page in pages
        for difference in page.differences
    }


def conflict_of(conflict: pb.KeyConflict, source: Source) -> Conflict:
    """Make the record of one conflict; an omitted value is MISSING."""
    return Conflict(
        key=conflict.key,
        base=_side(conflict, "base", source),
        theirs=_side(conflict, "theirs", source),
        yours=_side(conflict, "yours", source),
        version=conflict.their_version,
        author=conflict.their_author,
    )


def server_info_of(info: pb.ServerInfo) -> ServerInfo:
    """Make the record of a server."""
    return ServerInfo(
        version=info.version, author=info.author, author_verified=info.author_verified, not_ready=info.not_ready
    )


def who_am_i_of(reply: pb.WhoAmIResponse) -> WhoAmI:
    """Make the record of a caller."""
    return WhoAmI(
        principal=reply.principal, groups=tuple(reply.groups), grants=_grants_of(reply.grants), open=reply.open
    )


def access_check_of(reply: pb.CheckAccessResponse) -> AccessCheck:
    """Make the record of what a principal may do."""
    return AccessCheck(
        role=_role_of(reply.role) if reply.role else None, reveal=reply.reveal, grants=_grants_of(reply.grants)
    )


def _grants_of(grants: Iterable[pb.Grant]) -> tuple[Grant, ...]:
    return tuple(Grant(each.subject, _role_of(each.role), each.pattern, each.reveal) for each in grants)


def _role_of(role: int) -> str:
    """Return a role's name; the number of a role that this client does not know yet."""
    known = pb.Role.DESCRIPTOR.values_by_number.get(role)
    return known.name.lower() if known else str(role)


def config_info_of(summary: pb.ConfigSummary) -> ConfigInfo:
    """Make the record of a listed config."""
    return ConfigInfo(
        name=summary.name,
        head=summary.head.version,
        time=time_of(summary.head.commit_time),
        created=time_of(summary.create_time),
        oldest=summary.oldest_version or 1,
    )


def blame_of(pages: Iterable[pb.ConfigVersion]) -> dict[str, Version]:
    """Return by key the version that set its value, from pages read with the view BLAME."""
    blame: dict[str, Version] = {}
    for page in pages:
        origins: Mapping[int, Version] = {origin.version: version_of(origin) for origin in page.origins}
        blame |= {entry.key: origins[entry.origin_version] for entry in page.entries}
    return blame


def time_of(timestamp: Timestamp) -> datetime:
    """Make an aware datetime, in UTC; the server's times are whole microseconds, as Python's are."""
    # A quarter of the time that Timestamp.ToDatetime takes; each commit and each version of a log makes one.
    return _EPOCH + timedelta(0, timestamp.seconds, timestamp.nanos // 1_000)


def timestamp_of(time: datetime) -> Timestamp:
    """Make the wire's time of an aware datetime; InvalidError for one without a zone."""
    if time.utcoffset() is None:
        raise InvalidError("a point in time needs a zone: time.astimezone() takes the local one", reason="BAD_REQUEST")
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def _side(message: pb.Difference | pb.KeyConflict, name: Any, source: Source) -> Any:
    return decode(load(getattr(message, name), message.key, source)) if message.HasField(name) else MISSING
