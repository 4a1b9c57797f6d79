"""Where the secrets are in each kind of reply, and how a content is put beside its sealed bytes. Pure."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from google.protobuf.message import Message

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.secrets import Content
from lamina_server.domain.values import Kind

Secrets: TypeAlias = list[tuple[str, pb.Secret]]
"""The secrets of a reply, each with its key."""
Reply: TypeAlias = Callable[[bytes], tuple[Message, Secrets]]
"""Reads one kind of reply: its message, and the secrets in it."""


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


def fill(secret: pb.Secret, content: Content) -> None:
    """Put a content beside its sealed bytes."""
    if content.kind is Kind.BYTES:
        secret.bytes = content.data
    elif content.kind is Kind.STRING:
        secret.string = content.data.decode()
    else:
        secret.json = content.data.decode()


def _of(items: Iterable[pb.Entry] | Iterable[pb.Change]) -> Secrets:
    return [(item.key, item.value.secret) for item in items if item.value.HasField("secret")]
