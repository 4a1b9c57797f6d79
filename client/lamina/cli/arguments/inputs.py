"""Files that are named on the command line, read whole; `-` is standard input. Prompts. It knows no format."""

import errno
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

_STDIN: Final = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})


def is_stdin(path: str) -> bool:
    """Return whether a path names standard input."""
    return path in _STDIN


def ask_secret(key: str, read: Callable[[str], bytes]) -> bytes:
    """Return the content of a secret: typed twice without an echo, or standard input without its last line end."""
    if not sys.stdin.isatty():
        return read("-").removesuffix(b"\n").removesuffix(b"\r")
    text: str = click.prompt(
        f"Secret for {key}",
        hide_input=True,
        confirmation_prompt="The same again",
        default="",
        show_default=False,
        err=True,
    )
    return text.encode(errors="surrogateescape")


def read_input(path: str) -> bytes:
    """Return a file's bytes. Raise OSError if it cannot be read, also for a closed standard input."""
    if not path:
        raise OSError(errno.EINVAL, "the name of the file is empty")
    if not is_stdin(path):
        return Path(path).read_bytes()
    try:
        return sys.stdin.buffer.read()
    except io.UnsupportedOperation:
        raise OSError(errno.EBADF, "standard input is closed") from None
