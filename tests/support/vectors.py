"""Examples of canonical values, digests and hashes, which the server's tests and the SDK's both read."""

import json
from pathlib import Path
from typing import Any, Final

_VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "protos" / "vectors.json").read_text(encoding="utf-8")
)

VALUES: Final[list[dict[str, Any]]] = _VECTORS["values"]
SECRETS: Final[list[dict[str, Any]]] = _VECTORS["secrets"]
"""Values, too, whose canonical bytes are sealed bytes."""
VERSIONS: Final[list[dict[str, Any]]] = _VECTORS["versions"]


def named(vector: dict[str, Any]) -> str:
    """Name an example, as a test's id."""
    return f"{vector['config']}@{vector['version']}" if "version" in vector else f"{vector['kind']} {vector['value']!r}"
