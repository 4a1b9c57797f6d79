"""Standard streams that are closed, full or cut off: a server works without them. Knows no command."""

import os
import sys
from contextlib import suppress
from typing import TextIO

import click


def open_missing() -> None:
    """Open closed standard streams on nothing, stderr for Python too.

    Otherwise a file or a socket would get the number of one, and receive what others write to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the process ends


def say(text: str) -> None:
    """Print to stdout; end the process with 1 if that is impossible."""
    try:
        click.echo(text)
    except OSError as error:
        let_go(sys.stdout)
        click.echo(f"lamina-server: cannot write to stdout: {error.strerror}", err=True)
        sys.exit(1)


def flush() -> None:
    """Write what is left, as far as that is possible: Python would change the exit code if it could not."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            let_go(stream)


def let_go(stream: TextIO) -> None:
    """Point a stream at nothing."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
