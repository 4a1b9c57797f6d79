"""Output for people: columns, colours, a pager, relative times. It knows no config and asks no server.

On a terminal a time is "3 min ago", text is coloured unless NO_COLOR says otherwise, and long output goes through
$PAGER. A file or a pipe gets the same text without colours, with times in UTC. No control character ever reaches a
terminal: `cell` escapes its text.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Final

import click
from rich.console import Console
from rich.text import Text

from lamina.cli.arguments.options import chosen
from lamina.cli.output.text import escape

VERSION, AUTHOR, TIME, KEY, OLD, NEW, QUIET = "yellow", "cyan", "blue", "bold", "red", "green", "dim"
Row = Sequence[Text]

_FIRST_ROWS: Final = 100
"""Columns are as wide as these rows need. Later rows may be wider, but nobody waits until a whole log is read."""
_GAP: Final = "  "
_DAY_SECONDS: Final = 86400
_WEEK_SECONDS: Final = 7 * _DAY_SECONDS
_RECENT_SECONDS: Final = 10
_UNITS: Final = ((_DAY_SECONDS, "day"), (3600, "hour"), (60, "min"), (1, "s"))
_PAGER_SETTINGS: Final = {"LESS": "FRX"}
"""As in git: less shows colours, and ends at once if everything fits on the screen."""


@dataclass(slots=True)
class Screen:
    """A verb's output for people. `live` is true on a terminal, also behind a pager."""

    console: Console
    live: bool
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def line(self, *parts: str | Text) -> None:
        """Write a line of parts; plain text is escaped."""
        self.console.print(Text.assemble(*(part if isinstance(part, Text) else cell(part) for part in parts)))

    def columns(self, rows: Iterable[Row], header: Sequence[str] = (), *, clip: bool = False) -> None:
        """Write aligned rows as they arrive; on a terminal with a header.

        With `clip`, rows are no wider than the terminal: long cells are cut, and end in an ellipsis.
        """
        left = iter(rows)
        first = list(islice(left, _FIRST_ROWS))
        if first and header and self.live:
            first.insert(0, [cell(title, QUIET) for title in header])
        widths = [max(map(_width, column)) for column in zip(*first, strict=True)]
        is_clipped = clip and self.live
        is_plain = self.console.color_system is None
        if is_clipped:
            widths = fitted(widths, self.console.width - len(_GAP) * (len(widths) - 1))
        chunk = first
        while chunk:
            if is_clipped:
                for row in chunk:
                    for part, width in zip(row, widths, strict=True):
                        part.truncate(width, overflow="ellipsis")
            if is_plain:  # rich would need ten times as long for the same lines
                self.console.file.write("".join([_plain_line(row, widths) for row in chunk]))
                self.console.file.flush()
            else:
                for row in chunk:
                    self.console.print(_joined(row, widths))
            chunk = list(islice(left, _FIRST_ROWS))

    def time(self, time: datetime) -> Text:
        """Write a time: on a terminal, how long ago, or the date of an old one; elsewhere exactly."""
        if not self.live:
            return Text(time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return Text(ago(time, self.now), TIME)


def cell(text: str, style: str = "") -> Text:
    """Make a part of a line, escaped, so that it stays in one line."""
    return Text(escape(text), style)


def clipped(text: str, width: int, style: str = "") -> Text:
    """Make a cell of a limited width; longer text ends in an ellipsis."""
    clip = cell(text, style)
    clip.truncate(width, overflow="ellipsis")
    return clip


def first_line(message: str) -> Text:
    """Make a cell of a message's first line."""
    head, _, more = message.partition("\n")
    return cell(f"{head} …" if more.strip() else head)


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Return column widths that need no more than `room`: narrow columns keep theirs, the others share what is left.

    Each column gets at least one character, so that a long author leaves room for the value and the message.
    """
    left, fit = room, list(widths)
    by_width = sorted(range(len(widths)), key=lambda index: widths[index])
    for done, index in enumerate(by_width):
        fit[index] = max(min(widths[index], left // (len(widths) - done)), 1)
        left -= fit[index]
    return fit


def ago(time: datetime, now: datetime) -> str:
    """Return how long ago a time was; after a week, the time itself in the local zone."""
    seconds = int((now - time).total_seconds())
    if seconds < _RECENT_SECONDS:
        return "now"
    if seconds >= _WEEK_SECONDS:
        return time.astimezone().strftime("%Y-%m-%d %H:%M")
    unit_seconds, unit = next((size, name) for size, name in _UNITS if seconds >= size)
    number = seconds // unit_seconds
    return f"{number} {unit}{'s' if unit in {'day', 'hour'} and number > 1 else ''} ago"


def emit(data: str) -> None:
    """Write data unchanged; on a terminal with control characters escaped."""
    print(escape(data, keep_layout=True) if sys.stdout.isatty() else data, end="")


def counted(number: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def screen(*, paged: bool = False) -> Iterator[Screen]:
    """Yield the screen on stdout, behind the pager if that is wanted and stdout is a terminal."""
    if not sys.stdout.isatty():
        yield Screen(_console(sys.stdout, colours=_wants_colours(is_terminal=False)), live=False)
        return
    pager = _pager() if paged else None
    if pager is None:
        yield Screen(_console(sys.stdout, colours=_wants_colours(is_terminal=True)), live=True)
        return
    with _through(pager) as into:
        yield Screen(_console(into, colours=_wants_colours(is_terminal=True)), live=True)


def error_screen() -> Screen:
    """Return the screen on stderr, for people even if stdout goes elsewhere."""
    is_live = sys.stderr.isatty()
    return Screen(_console(sys.stderr, colours=_wants_colours(is_terminal=is_live)), live=is_live)


def error_console() -> Console | None:
    """Return a console on stderr for progress, if it is a terminal."""
    return Console(stderr=True, no_color=not _wants_colours(is_terminal=True)) if sys.stderr.isatty() else None


class _Console(Console):
    """A console that raises BrokenPipeError for a closed pipe: rich itself would end the program with an error."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError again."""
        raise  # noqa: PLE0704 - rich calls this in its `except` block


def _console(file: IO[str], *, colours: bool) -> Console:
    """Make a console that writes lines as they are: no wrapping, no markup, no highlighting."""
    return _Console(
        file=file,
        force_terminal=colours,
        color_system="standard" if colours else None,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
    )


def _wants_colours(*, is_terminal: bool) -> bool:
    """Return whether to write colours: --color decides, then NO_COLOR, then FORCE_COLOR, then the terminal."""
    context = click.get_current_context(silent=True)
    wish = chosen(context).values.get("color", "auto") if context else "auto"
    if wish != "auto":
        return bool(wish == "always")
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal and os.environ.get("TERM") not in {None, "", "dumb"}


def _pager() -> list[str] | None:
    """Return the pager's command; none if it would do nothing, or does not exist."""
    try:
        command = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:
        return None
    return command if command and command != ["cat"] and shutil.which(command[0]) else None


@contextmanager
def _through(pager: list[str]) -> Iterator[IO[str]]:
    """Run the pager, and always wait for it: otherwise the terminal would keep the pager's mode."""
    environment = {**_PAGER_SETTINGS, **os.environ}
    process = subprocess.Popen(pager, stdin=subprocess.PIPE, env=environment, text=True, encoding="utf-8")  # noqa: S603
    assert process.stdin is not None
    try:
        yield process.stdin
        process.stdin.flush()
    except BrokenPipeError:
        pass  # the pager has closed the pipe
    finally:
        _wait_for(process)


def _wait_for(process: "subprocess.Popen[str]") -> None:
    try:
        process.communicate()
    except KeyboardInterrupt:  # for the pager, which goes on
        _wait_for(process)


def _joined(row: Row, widths: Sequence[int]) -> Text:
    """Join cells into a line. The last one is not padded, so that no line ends in spaces."""
    line = Text()
    for part, padding in _padded(row, widths):
        line.append_text(part)
        line.append(padding)
    return line


def _plain_line(row: Row, widths: Sequence[int]) -> str:
    """Join cells into a line without styles."""
    return "".join([part.plain + padding for part, padding in _padded(row, widths)]) + "\n"


def _padded(row: Row, widths: Sequence[int]) -> Iterator[tuple[Text, str]]:
    """Yield each cell with the spaces that follow it, without the empty cells at the end."""
    last = max((index for index, part in enumerate(row) if part), default=-1)
    for index, part in enumerate(row[: last + 1]):
        yield part, " " * max(widths[index] - _width(part), 0) + _GAP if index < last else ""


def _width(part: Text) -> int:
    return part.cell_len
