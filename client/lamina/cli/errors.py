"""Errors for people and for scripts: each of the SDK's errors as a text and an exit code, in one table.

    0 done   1 failed or refused   2 bad usage   3 conflict   4 not found   5 unavailable   130 Ctrl-C

It must not know what the verbs do, and no text made here holds a value: those of a conflict stand in its table.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click

import lamina
from lamina import _environment
from lamina.cli.output.text import escape

REFUSED: Final = 1
USAGE: Final = 2
CONFLICT: Final = 3
NOT_FOUND: Final = 4
UNAVAILABLE: Final = 5
INTERRUPTED: Final = 130


class Refusal(Exception):  # noqa: N818 - no error of the program's, but its answer
    """An end that is not the SDK's: a text and an exit code."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: lamina.LaminaError) -> int:
    """Return the exit code of one of the SDK's errors."""
    table: tuple[tuple[type[lamina.LaminaError], int], ...] = (
        (lamina.ConflictError, CONFLICT),
        (lamina.NotFoundError, NOT_FOUND),
        (lamina.VersionCompactedError, NOT_FOUND),
        (lamina.UnavailableError, UNAVAILABLE),
        (lamina.InvalidError, USAGE),
    )
    return next((code for kind, code in table if isinstance(error, kind)), REFUSED)


def explain(error: lamina.LaminaError) -> str:
    """Return what happened and, if it helps, what to do."""
    if isinstance(error, lamina.ConflictError):
        return "nothing was written: " + ("others have changed what this changes" if error.conflicts else str(error))
    return str(error)


def tell(text: str) -> None:
    """Write a line to stderr. If that fails, go on."""
    with suppress(OSError):
        click.echo("lamina: " + escape(text, keep_layout=True), err=True)


def report(error: lamina.LaminaError) -> None:
    """Print one of the SDK's errors; for a conflict, with its table."""
    tell(explain(error))
    if isinstance(error, lamina.ConflictError):
        from lamina.cli.output.conflicts import print_conflicts  # noqa: PLC0415 - it imports rich, which is slow

        print_conflicts(error)


@contextmanager
def boundary(ctx: click.Context) -> Iterator[None]:
    """Turn any error of the verb in the block into a text and an exit code."""
    try:
        yield from _flushed()
    except Refusal as refusal:
        tell(str(refusal))
        ctx.exit(refusal.code)
    except lamina.LaminaError as error:
        report(error)
        ctx.exit(exit_code(error))
    except KeyboardInterrupt:
        _discard_stdout()
        ctx.exit(INTERRUPTED)
    except OSError as error:
        ctx.exit(report_of_system(error))


@contextmanager
def no_token_repeated() -> Iterator[None]:
    """Replace a usage error that would repeat a token, which stands where something else belongs."""
    try:
        yield
    except click.UsageError as error:
        if _environment.holds_token(error.format_message()):
            raise click.UsageError(f"an argument {_environment.NOT_A_NAME}", error.ctx) from None
        raise


def report_of_system(error: OSError) -> int:
    """Print an error of the system, discard what stdout still holds, and return the exit code."""
    _discard_stdout()
    if isinstance(error, BrokenPipeError):  # the reader has closed the pipe
        return 0
    where = f"{error.filename}: " if error.filename else ""
    is_closed = error.errno == errno.EBADF and not where
    tell("standard output is closed" if is_closed else f"{where}{error.strerror or error}")
    return REFUSED


def _flushed() -> Iterator[None]:
    """Run the verb, and flush its output while a closed pipe or a full disk can still be handled."""
    try:
        yield
    except click.exceptions.Exit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _discard_stdout() -> None:
    """Redirect stdout to nowhere: otherwise Python would try to write the rest at its end, and print an error."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
