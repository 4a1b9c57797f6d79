"""Where the secrets are in each kind of reply, and how a content is put beside its sealed bytes. Pure."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from google.protobuf.message import Message

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.record import record
from lamina_server.domain.secrets import Content
from lamina_server.domain.values import Kind
from lamina_server.wire import encode

Secrets: TypeAlias = list[tuple[str, pb.Secret]]
"""The secrets of a reply, each with its key."""
Reply: TypeAlias = Callable[[bytes], tuple[Message, Secrets]]
"""Reads one kind of reply: its message, and the secrets in it."""


@record
class Revealed:
    """A part of a reply with contents, which version it says it is of (0: none), and the keys whose contents it has."""

    part: bytes
    version: int
    keys: tuple[str, ...]

    def __repr__(self) -> str:
        return "<Revealed>"


def version(reply: bytes) -> tuple[Message, Secrets]:
    """Read the reply of GetVersion."""
    message = pb.ConfigVersion.FromString(reply)
    return message, _of(message.entries)


def commit_response(reply: bytes) -> tuple[Message, Secrets]:
    """Read the reply of Commit, RevertConfig and ForkConfig."""
    message = pb.CommitResponse.FromString(reply)
    return message, _of(message.version.entries)


def differences(reply: bytes) -> tuple[Message, Secrets]:
    """Read the reply of DiffVersions."""
    message = pb.DiffVersionsResponse.FromString(reply)
    both = [(each.key, value) for each in message.differences for value in (getattr(each, "from"), each.to)]
    return message, [(key, value.secret) for key, value in both if value.HasField("secret")]


def key_history(reply: bytes) -> tuple[Message, Secrets]:
    """Read the reply of GetKeyHistory."""
    message = pb.KeyHistory.FromString(reply)
    values = [change.value for change in message.changes]
    return message, [(message.key, value.secret) for value in values if value.HasField("secret")]


def watch(reply: bytes) -> tuple[Message, Secrets]:
    """Read a message of WatchKeyHistory."""
    message = pb.WatchKeyHistoryResponse.FromString(reply)
    return message, [found for version in message.changes for found in _of(version.changes)]


def number_in(message: Message) -> int:
    """Return the number of the version that a reply is about; 0 if there are several."""
    match message:
        case pb.ConfigVersion():
            return message.version
        case pb.CommitResponse():
            return message.version.version
        case _:
            return 0


def parts(message: Message, keys: list[str], number: int) -> list[Revealed]:
    """Encode a reply with contents under some keys, as so many parts as it was read from: several are entries."""
    encoded = message.SerializeToString()
    if number == 1:
        return [Revealed(encoded, number_in(message), tuple(keys))]
    assert isinstance(message, pb.ConfigVersion)
    filled = set(keys)
    pairs = zip(message.entries, encode.parts_of(encoded), strict=True)
    return [Revealed(part, 0, (key,) if (key := entry.key) in filled else ()) for entry, part in pairs]


def fill(secret: pb.Secret, content: Content) -> None:
    """Put a content beside its sealed bytes."""
    if content.kind is Kind.BYTES:
        secret.bytes = content.data
    elif content.kind is Kind.STRING:
        secret.string = content.data.decode()
    else:
        secret.json = content.data.decode()


def _of(items: Iterable[pb.Entry] | Iterable[pb.Change]) -> Secrets:
    return [(item.key, value.secret) for item in items if (value := item.value).HasField("secret")]
