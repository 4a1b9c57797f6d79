"""Texts that must not get out, and where they were found.

A canary is a random text. It is searched in pieces, because an error may cut what it quotes, and in base64 and in
hexadecimal, because a log may write bytes so.
"""

import base64
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

PIECE = 10
"""So many characters of a canary do not come by chance."""


def canary(kind: str) -> str:
    """Return a new text, which says what it was."""
    return f"{kind}{secrets.token_hex(16)}{kind}"


def found_in(content: str | bytes, canaries: Iterable[str]) -> list[str]:
    """Return the canaries of which a piece is there."""
    data = content.encode(errors="replace") if isinstance(content, str) else content
    return [each for each in canaries if any(piece in data for piece in _pieces(each))]


def found_under(folder: Path, canaries: Iterable[str], *, except_for: Iterable[Path] = ()) -> list[tuple[str, str]]:
    """Return the files of a folder in which a piece of a canary is, with the canary."""
    left_out = set(except_for)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path not in left_out)
    return [(str(path), each) for path in files for each in found_in(path.read_bytes(), canaries)]


def _pieces(text: str) -> Iterator[bytes]:
    data = text.encode()
    for at in range(len(data) - PIECE + 1):
        yield data[at : at + PIECE]
    yield data.hex().encode()
    for shift in range(3):  # base64 depends on what stands before it
        whole = base64.b64encode(data[shift:])
        yield whole[4:-4]
