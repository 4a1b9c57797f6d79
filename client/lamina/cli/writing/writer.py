"""What all writers share: their options, the check of `--base`, the retry, and what they print. It knows no verb.

Without --base, a writer writes whatever the head is: if others commit in between, it reads the new head and tries
again. With --base V, it writes only if nobody has changed the same keys since V.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import click

import lamina
from lamina.cli.arguments.options import POINT, chosen
from lamina.cli.errors import NOT_FOUND, UNAVAILABLE, Refusal, explain
from lamina.cli.output.differences import differ, print_changes, summary
from lamina.cli.output.json_records import document, json_line, shape, shapes
from lamina.cli.output.screen import NEW, QUIET, VERSION, Screen, cell, screen
from lamina.cli.session import similar_config, time_of

ATTEMPTS: Final = 20
"""An attempt fails only if others commit the same key while it is under way: milliseconds, if it has few keys."""
_NAMED_KEYS: Final = 8
"""The line that undoes names up to this many keys; for more, it reverts the whole map."""
Changes = Mapping[str, lamina.Change]

_has_begun: ContextVar[bool] = ContextVar("has_begun", default=False)
"""Whether the verb has begun to write."""


class StaleBaseError(lamina.ConflictError):
    """Others have changed the same keys since --base: a conflict that another attempt does not end."""


@dataclass(frozen=True, slots=True)
class Write:
    """How to write: the options of all writers."""

    ctx: click.Context
    message: str
    dry_run: bool
    exit_code: bool
    base: int | datetime | None = None
    create: bool = False

    def with_message(self, message: str) -> "Write":
        """Return the same options with another message."""
        return replace(self, message=message)

    def creating(self) -> "Write":
        """Return the same options for a config that is made if there is none."""
        return replace(self, create=True)

    def open(self, client: lamina.Client, config: str) -> lamina.Config:
        """Read the config's head. Raise Refusal if there is none, which says how to make one."""
        try:
            return client.config(config, create=self.create)
        except lamina.NotFoundError:
            if "create" not in self.ctx.params:
                raise
            text = f"there is no config {config}; --create makes it{similar_config(client, config)}"
            raise Refusal(text, NOT_FOUND) from None

    def demand_base(self, cfg: lamina.Config, changes: Changes) -> None:
        """Raise ConflictError if others have changed these keys since --base, unless to the same values."""
        if self.base is None or self.base == cfg.version:
            return
        since = cfg.diff(self.base, cfg.version)
        stale = {key: since[key] for key in changes if key in since and differ(since[key].new, changes[key].new)}
        if stale:
            raise StaleBaseError("changed since --base", conflicts=_conflicts(cfg, stale, changes), head=cfg.version)


def writer(*, based: bool = True, creates: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a verb the options of all writers, as its argument `write`."""

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @click.pass_context
        def run(
            ctx: click.Context, /, message: str | None, *, dry_run: bool, exit_code: bool, **arguments: Any
        ) -> None:
            if exit_code and not dry_run:
                raise click.UsageError("--exit-code goes with --dry-run")
            mine = {name: arguments.pop(name) for name in ("base", "create") if name in arguments}
            with _nothing_written_told():
                verb(Write(ctx, message or "", dry_run, exit_code, **mine), **arguments)

        run.__doc__ = verb.__doc__
        options = [
            click.option("-m", "--message", help="The reason; the log shows it."),
            click.option("--dry-run", is_flag=True, help="Write nothing; print what would change."),
            click.option("--exit-code", is_flag=True, help="With --dry-run: exit with 1 if something would change."),
        ]
        if based:
            options.append(click.option("--base", type=POINT, help="Exit with 3 if others changed these keys since V."))
        if creates:
            options.append(click.option("--create", is_flag=True, help="Make the config if there is none."))
        for option in reversed(options):
            run = option(run)
        return run

    return decorate


def until_written(ctx: click.Context, attempt: Callable[[], None]) -> None:
    """Try until nobody commits in between, or the time is over. Each attempt reads the head anew, and checks --base."""
    end = time.monotonic() + time_of(ctx)
    for left in reversed(range(ATTEMPTS)):
        try:
            return attempt()
        except StaleBaseError:
            raise
        except lamina.ConflictError:
            if not left or time.monotonic() > end:
                raise
    return None


@contextmanager
def _nothing_written_told() -> Iterator[None]:
    """If the server could not be reached before the verb's first write, raise Refusal, which says so."""
    _has_begun.set(False)
    try:
        yield
    except lamina.UnavailableError as error:
        if _has_begun.get():
            raise
        raise Refusal(f"{explain(error)}\nnothing was written", UNAVAILABLE) from None


@contextmanager
def outcome_told(ctx: click.Context, config: str) -> Iterator[None]:
    """If it stays open whether a write has happened, raise Refusal, which says so, and how to find out."""
    _has_begun.set(True)
    try:
        yield
    except lamina.UnavailableError as error:
        if error.wrote_nothing or error.request_id is None:
            raise
        text = (
            f"{explain(error)}\nwhether it was written is not known: {chosen(ctx).command_line('log', [config])} tells"
        )
        raise Refusal(text, UNAVAILABLE) from None


def edit(
    write: Write,
    client: lamina.Client,
    config: str,
    stage: Callable[[lamina.Config, lamina.Snapshot], None],
    report: Callable[[Write, lamina.Version, Changes], None] | None = None,
) -> None:
    """Write the changes that `stage` makes to the head, and print the outcome, a new version by `report`.

    `stage` gets the draft, and the head to read from. A key that it read from the draft would count as a reason for the
    change, and conflict without need.
    """

    def attempt() -> None:
        cfg = write.open(client, config)
        stage(cfg, cfg.at(cfg.version))
        changes = cfg.changes
        write.demand_base(cfg, changes)
        if write.dry_run:
            planned = cfg.commit(write.message, dry_run=True)
            print_plan(write, _without_equal_secrets(changes, planned))
        elif changes:
            before = cfg.version
            with outcome_told(write.ctx, config):
                version = cfg.commit(write.message)
            if version.number == before:  # secrets that are what they were: only the server sees that
                print_unchanged(write, cfg)
            else:
                (report or print_written)(write, version, changes)
        else:
            print_unchanged(write, cfg)

    until_written(write.ctx, attempt)


def print_written(write: Write, version: lamina.Version, changes: Changes, *, before: int | None = None) -> None:
    """Print the new version, and the line that undoes it. That goes back to the version `before`, or to the parent.

    The line has a --base: a day later, it overwrites nothing that others have changed since.
    """
    if chosen(write.ctx).output(("text", "json")) == "json":
        print(json_line(shape(version)))
        return
    with screen() as out:
        lines_of_written(out, write, version, changes, before=before)


def lines_of_written(
    out: Screen, write: Write, version: lamina.Version, changes: Changes, *, before: int | None = None
) -> None:
    """Write the lines of `print_written` for people."""
    parent = version.parent if before is None else before
    options = chosen(write.ctx)
    keys = list(changes) if len(changes) <= _NAMED_KEYS else []
    undo = options.command_line("revert", [version.config, *keys], ["--to", str(parent), "--base", str(version.number)])
    out.line(version.config, " is now version ", cell(str(version.number), VERSION), f" ({summary(changes)})")
    out.line(cell("undo: ", QUIET), undo)


def print_unchanged(write: Write, cfg: lamina.Config) -> None:
    """Print that there was nothing to write."""
    if chosen(write.ctx).output(("text", "json")) == "json":
        head = next(cfg.log(limit=1), None) if cfg.version else None
        print(json_line(shape(head) if head else None))
        return
    with screen() as out:
        out.line("nothing to change: ", cfg.name, " stays at version ", cell(str(cfg.version), VERSION))


def print_plan(write: Write, changes: Changes) -> None:
    """Print the changes that --dry-run found; exit with 1 if there are any and --exit-code was given."""
    if chosen(write.ctx).output(("text", "json")) == "json":
        print(document(shapes(changes)))
    else:
        with screen() as out:
            print_changes(out, changes)
            if out.live:
                out.line(cell(f"dry run: {summary(changes)}, nothing written", NEW if changes else QUIET))
    if write.exit_code and changes:
        write.ctx.exit(1)


def _without_equal_secrets(changes: Changes, planned: lamina.Version) -> Changes:
    """Leave out secrets that are what they were, which only the server sees; none if it does not list all changes."""
    if planned.change_count > len(planned.changed_keys):
        return changes
    return {
        key: change
        for key, change in changes.items()
        if key in planned.changed_keys or not isinstance(change.new, lamina.Secret)
    }


def _conflicts(cfg: lamina.Config, stale: Changes, changes: Changes) -> dict[str, lamina.Conflict]:
    """Return a conflict for each key, with the author of its newest change."""
    conflicts: dict[str, lamina.Conflict] = {}
    for key, since in stale.items():
        last = next(cfg.history(key, newest_first=True, limit=1))
        conflicts[key] = lamina.Conflict(key, since.old, since.new, changes[key].new, last.version, last.author)
    return conflicts


def named(keys: Collection[str]) -> str:
    """Return the names of keys for a text: the first ones, and how many more there are."""
    first = list(keys)[:_NAMED_KEYS]
    more = len(keys) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
