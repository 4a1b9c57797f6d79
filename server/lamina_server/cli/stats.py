"""`lamina-server stats`: how much a database holds, and how fast it grows."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from lamina_server.app import describe_database
from lamina_server.cli.options import database_option, refusals
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say

if TYPE_CHECKING:
    from lamina_server.store.verify.sizes import Sizes

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


@click.command()
@database_option
@click.option("--configs", type=click.IntRange(0), default=20, metavar="N", help="How many configs. [default: 20]")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="[default: table]")
def stats(*, configs: int, output: str, **options: Any) -> None:
    """Print how much a database holds, and how fast it grows.

    Content is the bytes of all keys and values that versions have set; the disk needs more. A server may use the
    database at the same time. The command changes nothing.
    """
    from lamina_server.store.verify.inspection import inspecting  # noqa: PLC0415 - no other command needs them
    from lamina_server.store.verify.sizes import sizes  # noqa: PLC0415

    settings = settings_of(options)
    with refusals(), inspecting(settings.database) as inspection:
        found = sizes(inspection, time.time_ns() // 1000)
    if output == "json":
        say(json.dumps({"database": describe_database(settings), **asdict(found)}, indent=2, ensure_ascii=False))
        return
    say(f"{describe_database(settings)}: {len(found.configs)} configs\n")
    for lines in (_tables(found), _growth(found), _configs(found, configs)):
        for line in _aligned(lines):
            say(line)
        say("")


def _tables(found: "Sizes") -> list[Sequence[str]]:
    rows = [(each.name, f"{each.rows:,}", _size(each.size_bytes)) for each in found.tables]
    known = [each.size_bytes for each in found.tables if each.size_bytes is not None]
    return [("table, with its indexes", "rows", "on disk"), *rows, ("all", "", _size(sum(known) if known else None))]


def _growth(found: "Sizes") -> list[Sequence[str]]:
    rows = [
        (
            f"in {each.days} days" if each.days > 1 else "in a day",
            f"{each.versions:,}",
            f"{each.changes:,}",
            _size(each.content_bytes),
            f"{_size(each.content_bytes // each.days)}/day",
        )
        for each in found.growth
    ]
    return [("growth", "versions", "changes", "content", "content a day"), *rows]


def _configs(found: "Sizes", limit: int) -> list[Sequence[str]]:
    rows = [
        (
            each.name,
            f"{each.versions:,}",
            f"{each.changes:,}",
            _size(each.content_bytes),
            f"{each.keys:,}",
            _size(each.map_bytes),
        )
        for each in found.configs[:limit]
    ]
    if len(found.configs) > limit:
        rows.append((f"… and {len(found.configs) - limit:,} more", "", "", "", "", ""))
    return [("config", "versions", "changes", "content", "keys now", "map now"), *rows]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        numbers = (f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True))
        yield "  ".join((f"{first:{widths[0]}}", *numbers)).rstrip()


def _size(size_bytes: int | None) -> str:
    """Write a size with the unit that fits."""
    if size_bytes is None:
        return "-"
    size, units = float(size_bytes), iter(_UNITS)
    unit = next(units)
    while size >= _STEP and unit != _UNITS[-1]:
        size, unit = size / _STEP, next(units)
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
