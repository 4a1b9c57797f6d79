"""Progress on a terminal's stderr while something takes long; nothing elsewhere. It knows no verb."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lamina.cli.output.screen import cell, error_console

_LONG_BYTES: Final = 256 * 1024
"""A smaller file is read at once."""


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Show a spinner while a large file or standard input is read."""
    console = error_console()
    size = Path(file).stat().st_size if file != "-" and Path(file).is_file() else 0
    if console is None or size < _LONG_BYTES:
        yield
        return
    with console.status(cell(f"reading {file}")):
        yield


@contextmanager
def working(what: str, total: int, noun: str) -> Iterator[Callable[[int], None]]:
    """Show a bar, and yield the function that advances it."""
    console = error_console()
    if console is None:
        yield lambda _done: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn(noun), TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(cell(what).plain.replace("[", "\\["), total=total)
        yield lambda done: progress.advance(task, done)
