"""Records -> the bytes of a reply, or of a part of one.

A part of a page or of a watch's message (`entry`, `origin`, `listed_version` …) is encoded
as the reply's message with only this field set. So the joined bytes of the parts are the
whole reply.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.access import Caller, Grant, Rights
from lamina_server.domain.planning import Author
from lamina_server.domain.records import (
    CHANGED_KEYS_LIMIT,
    Change,
    ConfigSummary,
    Difference,
    Entry,
    KeyChange,
    Reply,
    Version,
)
from lamina_server.domain.secrets import WrappedKey
from lamina_server.wire.requests import Cursor
from lamina_server.wire.values import to_message, write

_MICROSECONDS = 1_000_000

# A field's number and wire type 2, which means that its length follows; one byte up to field 15.
_VERSION_TAG = bytes([pb.CommitResponse.VERSION_FIELD_NUMBER << 3 | 2])
_ENTRIES_TAG = bytes([pb.ConfigVersion.ENTRIES_FIELD_NUMBER << 3 | 2])
_VERSION_CHANGES_TAG = bytes([pb.WatchKeyHistoryResponse.CHANGES_FIELD_NUMBER << 3 | 2])
_VERSION_CHANGES_VERSION_TAG = bytes([pb.VersionChanges.VERSION_FIELD_NUMBER << 3 | 2])
_CHANGES_TAG = bytes([pb.VersionChanges.CHANGES_FIELD_NUMBER << 3 | 2])

Keys = Sequence[str]
"""The keys that a version has changed, in order: at least the first CHANGED_KEYS_LIMIT of them."""


def commit_response(reply: Reply, header: bytes, changes: Mapping[str, bytes | None] | None = None) -> bytes:
    """Encode the outcome of a write, with its version's header.

    changes  what turns the map at the base into the version's: entries, encoded as parts of a version, and None for
             a key that is not there; None: it was not asked for, or is not known
    """
    flags = pb.CommitResponse(created=reply.created, merged=reply.merged)
    if changes is not None:
        flags.has_changes = True
        flags.deleted_keys.extend(key for key, encoded in changes.items() if encoded is None)
        header = b"".join([header, *(encoded for encoded in changes.values() if encoded is not None)])
    return b"".join([_VERSION_TAG, _length(header), header, flags.SerializeToString()])


def version(version: Version, keys: Keys) -> bytes:
    """Encode a version's header, which the entries follow."""
    return _header(version, keys).SerializeToString()


def empty_map(config: str) -> bytes:
    """Encode version 0, the empty map before the first version. Its header has only the config's name."""
    return pb.ConfigVersion(config=config).SerializeToString()


def server_info(release: str, author: Author, not_ready: str) -> bytes:
    """Encode what answers, as whom it knows the caller, and why it takes no commits."""
    message = pb.ServerInfo(version=release, author=author.name, author_verified=author.verified, not_ready=not_ready)
    return message.SerializeToString()


def who_am_i(caller: Caller, groups: Iterable[str], grants: Iterable[Grant], *, is_open: bool) -> bytes:
    """Encode as whom the server knows the caller, with its groups and grants."""
    message = pb.WhoAmIResponse(principal=caller.principal, groups=sorted(groups), open=is_open)
    message.grants.extend(map(_grant, grants))
    return message.SerializeToString()


def check_access(rights: Rights, grants: Iterable[Grant]) -> bytes:
    """Encode what a principal may do with a config, and the grants that say so."""
    message = pb.CheckAccessResponse(role=pb.Role.ValueType(rights.role), reveal=rights.reveal)
    message.grants.extend(map(_grant, grants))
    return message.SerializeToString()


def entry(entry: Entry) -> bytes:
    """Encode an entry of a version."""
    # Field by field, which takes half as long as all at once; it runs for each key of a map that is read.
    message = pb.Entry()
    message.key = entry.key
    write(entry.value, message.value)
    message.origin_version = entry.origin
    encoded = message.SerializeToString()
    return b"".join((_ENTRIES_TAG, _length(encoded), encoded))


def origin_of(encoded: bytes) -> int:
    """Read from an entry that `entry` has encoded which version it originated in."""
    (message,) = pb.ConfigVersion.FromString(encoded).entries
    number: int = message.origin_version
    return number


def origin(version: Version, keys: Keys) -> bytes:
    """Encode a version that set one of the entries of another."""
    return pb.ConfigVersion(origins=[_header(version, keys)]).SerializeToString()


def future_head_time(time_us: int) -> bytes:
    """Encode that a head is dated later than the clock, for a page of a version."""
    return pb.ConfigVersion(future_head_time=_timestamp(time_us)).SerializeToString()


def version_end(next_page_token: str) -> bytes:
    """Encode the end of a page of a version."""
    return pb.ConfigVersion(next_page_token=next_page_token).SerializeToString()


def listed_version(version: Version, keys: Keys) -> bytes:
    """Encode a version of a list."""
    return pb.ListVersionsResponse(versions=[_header(version, keys)]).SerializeToString()


def versions_end(next_page_token: str) -> bytes:
    """Encode the end of a page of versions."""
    return pb.ListVersionsResponse(next_page_token=next_page_token).SerializeToString()


def oldest_version(number: int) -> bytes:
    """Encode the oldest version whose map can be read, for a page of versions."""
    return pb.ListVersionsResponse(oldest_version=number).SerializeToString()


def difference(difference: Difference) -> bytes:
    """Encode a difference between two versions."""
    message = pb.Difference(key=difference.key, to=to_message(difference.new) if difference.new else None)
    if difference.old:
        # The field is called `from`, a keyword of Python.
        getattr(message, "from").CopyFrom(to_message(difference.old))
    return pb.DiffVersionsResponse(differences=[message]).SerializeToString()


def differences_end(next_page_token: str) -> bytes:
    """Encode the end of a page of differences."""
    return pb.DiffVersionsResponse(next_page_token=next_page_token).SerializeToString()


def key_history(config: str, key: str) -> bytes:
    """Encode the beginning of a key's history."""
    return pb.KeyHistory(config=config, key=key).SerializeToString()


def key_change(change: KeyChange) -> bytes:
    """Encode a change of a key's history."""
    message = pb.KeyChange(
        key=change.key,
        version=change.version,
        author=change.author,
        message=change.message,
        commit_time=_timestamp(change.commit_time_us),
    )
    if change.digest:
        message.compacted, message.digest = True, change.digest
    elif change.value is None:
        message.deleted = True
    else:
        message.value.CopyFrom(to_message(change.value))
    return pb.KeyHistory(changes=[message]).SerializeToString()


def key_history_end(next_page_token: str) -> bytes:
    """Encode the end of a page of a key's history."""
    return pb.KeyHistory(next_page_token=next_page_token).SerializeToString()


def config(summary: ConfigSummary, keys: Keys) -> bytes:
    """Encode a config of a list."""
    message = pb.ConfigSummary(
        name=summary.name,
        head=_header(summary.head, keys),
        create_time=_timestamp(summary.create_time_us),
        oldest_version=summary.oldest,
    )
    return pb.ListConfigsResponse(configs=[message]).SerializeToString()


def configs_end(next_page_token: str) -> bytes:
    """Encode the end of a page of configs."""
    return pb.ListConfigsResponse(next_page_token=next_page_token).SerializeToString()


def secret_keys(keys: Iterable[WrappedKey]) -> bytes:
    """Encode data keys as they are kept."""
    messages = [
        pb.SecretKey(number=key.number, check=key.check, outer_key=key.outer, wrapped=key.wrapped) for key in keys
    ]
    return pb.ListSecretKeysResponse(keys=messages).SerializeToString()


def version_changes(version: Version, keys: Keys, changes: Sequence[bytes], *, more: bool) -> bytes:
    """Encode the changes of a version, or some of them, for a watch, from encoded changes."""
    end = [pb.VersionChanges(more=True).SerializeToString()] if more else ()
    return whole_version(_header(version, keys).SerializeToString(), (*changes, *end))


def stored_change(change: Change) -> bytes:
    """Encode one key's change for `version_changes`."""
    encoded = _change(change).SerializeToString()
    return b"".join((_CHANGES_TAG, _length(encoded), encoded))


def change(key: str, entry: bytes | None, version: int) -> bytes:
    """Encode one key's change for `whole_version`, from the new encoded entry (see `entry`); None: deleted."""
    if entry is None:
        encoded = pb.Change(key=key, deleted=True).SerializeToString()
    else:
        # A Change is an Entry without its origin, which comes last. So nothing is parsed or encoded again.
        origin = pb.Entry(origin_version=version).SerializeToString()
        assert entry.endswith(origin)
        encoded = payload(entry)[: -len(origin)]
    return b"".join((_CHANGES_TAG, _length(encoded), encoded))


def whole_version(header: bytes, changes: Iterable[bytes]) -> bytes:
    """Encode a version for a watch, from its header and its changes."""
    encoded = b"".join((_VERSION_CHANGES_VERSION_TAG, _length(header), header, *changes))
    return b"".join((_VERSION_CHANGES_TAG, _length(encoded), encoded))


@lru_cache(maxsize=1_024)
def bookmark(cursor: Cursor) -> bytes:
    """Encode a watch's message that has only a bookmark. For a quiet config it is always the same."""
    message = pb.Bookmark(version=cursor.number, hash=cursor.hash)
    return pb.WatchKeyHistoryResponse(bookmark=message).SerializeToString()


def payload(field: bytes) -> bytes:
    """Return a field's content, which follows a tag of one byte and a varint."""
    place = 1
    while field[place] > 0x7F:  # noqa: PLR2004 - more bytes of the varint follow
        place += 1
    return field[place + 1 :]


def parts_of(message: bytes) -> list[bytes]:
    """Return the parts of a message that was joined of entries: each has a tag of one byte, and a varint."""
    parts, start = [], 0
    while start < len(message):
        place, length, shift = start + 1, 0, 0
        while True:
            byte = message[place]
            place, length, shift = place + 1, length | (byte & 0x7F) << shift, shift + 7
            if byte <= 0x7F:  # noqa: PLR2004 - the last byte of the varint
                break
        parts.append(message[start : place + length])
        start = place + length
    return parts


def _length(encoded: bytes) -> bytes:
    """Encode the number of bytes that follow, as a varint."""
    rest, parts = len(encoded), []
    if rest <= 0x7F:  # noqa: PLR2004 - the usual case
        return _ONE_BYTE[rest]
    while rest > 0x7F:  # noqa: PLR2004 - seven bits a byte; the eighth says that more bytes follow
        parts.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*parts, rest])


_ONE_BYTE = [bytes([number]) for number in range(0x80)]


def _header(version: Version, keys: Keys) -> pb.ConfigVersion:
    message = pb.ConfigVersion(
        config=version.config,
        version=version.number,
        hash=version.hash,
        author=version.author,
        message=version.message,
        key_count=version.key_count,
        change_count=version.change_count,
    )
    # To set a field afterwards, or not at all, takes half as long; each row of a replay has a header.
    message.changed_keys.extend(keys[:CHANGED_KEYS_LIMIT])
    if version.author_verified:
        message.author_verified = True
    if version.number:  # a preview has no number and no time
        message.parent = version.number - 1
        time = message.commit_time
        seconds, microseconds = divmod(version.commit_time_us, _MICROSECONDS)
        time.seconds, time.nanos = seconds, microseconds * 1_000
    if version.source:
        message.source_config = version.source.config
        message.source_version = version.source.version
        message.source_hash = version.source.hash
    return message


def _change(change: Change) -> pb.Change:
    if change.value is None:
        return pb.Change(key=change.key, deleted=True)
    return pb.Change(key=change.key, value=to_message(change.value))


def _grant(grant: Grant) -> pb.Grant:
    role = pb.Role.ValueType(grant.role)
    return pb.Grant(subject=grant.subject, role=role, pattern=grant.pattern, reveal=grant.reveal)


def _timestamp(time_us: int) -> Timestamp:
    seconds, microseconds = divmod(time_us, _MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=microseconds * 1_000)
