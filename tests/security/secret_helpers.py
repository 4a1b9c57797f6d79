"""Outer keys, databases with secrets, and short ways to write and read them, for the tests of secrets."""

import base64
import os
from pathlib import Path
from typing import Any

from lamina_protos.v1 import lamina_pb2 as pb
from tests.server.bare_client import Wire

CANARY = "canary-7f3a9c"
"""What must be nowhere but in a secret."""


def key_file(folder: Path, name: str = "secret.key") -> Path:
    """Make a file with a new outer key."""
    path = folder / name
    path.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    path.chmod(0o600)
    return path


def secret(content: str | bytes = CANARY) -> pb.Value:
    given: Any = {"string": content} if isinstance(content, str) else {"bytes": content}
    return pb.Value(secret=pb.Secret(**given))


def sealed(value: pb.Value) -> pb.Value:
    """Return what stands for a secret in a request of a caller who may not reveal it."""
    return pb.Value(secret=pb.Secret(sealed=value.secret.sealed))


async def value_of(wire: Wire, config: str, key: str, version: int | None = None) -> pb.Value:
    """Read one key."""
    request = pb.GetVersionRequest(config=config, keys=[key])
    if version is not None:
        request.version = version
    found = await wire.stub.GetVersion(request)
    (entry,) = found.entries
    return entry.value


async def plain_of(wire: Wire, config: str, key: str, version: int | None = None) -> str | None:
    """Read the text of a secret; None if the server does not send it."""
    found = (await value_of(wire, config, key, version)).secret
    assert found.sealed
    return found.string if found.HasField("string") else None
