"""One line of the audit. Pure."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lamina_server.domain.names import without_token

LIMIT_BYTES: Final = 4096
"""A pipe takes a write of this size as a whole, or not at all (PIPE_BUF on Linux)."""
_KEYS_LISTED: Final = 100
"""As many as the header of a version lists."""


def line_of(time_us: int, event: str, fields: dict[str, Any], keys: Sequence[str] | None = None) -> bytes:
    """Return a line of at most LIMIT_BYTES. If not all keys fit, the first ones are listed, and `key_count` says more.

    Fields that are empty are left out. No value of a config may be among them.
    """
    seconds, microseconds = divmod(time_us, 1_000_000)
    time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    found = {"time": f"{time:%Y-%m-%dT%H:%M:%S.%fZ}", "event": event}
    found |= {name: value for name, value in fields.items() if value not in {"", None}}
    if keys is None:
        return _encoded(found)
    count = min(len(keys), _KEYS_LISTED)
    while len(line := _encoded(found | _listed(keys, count))) > LIMIT_BYTES:
        count //= 2
    return line


def _listed(keys: Sequence[str], count: int) -> dict[str, Any]:
    listed: dict[str, Any] = {"keys": list(keys[:count])}
    return listed if count == len(keys) else listed | {"key_count": len(keys)}


def _encoded(fields: dict[str, Any]) -> bytes:
    # As in the log: JSON escapes newlines and control characters, and with ensure_ascii all others too, but for DEL.
    text = json.dumps(fields, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")
    text = without_token(text)  # a token that was pasted in the place of a name is refused, and told here all the same
    return text.encode("ascii") + b"\n"
