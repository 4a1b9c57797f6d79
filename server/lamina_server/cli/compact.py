"""`lamina-server compact`: old versions of a config give up their values."""

import gc
import getpass
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lamina_server.app import describe_database, has_database, open_audit_file
from lamina_server.audit.audit import Audit
from lamina_server.cli.options import FAILED, database_option, refusals
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say
from lamina_server.commits.clock import system_now_us
from lamina_server.domain.access import RESERVED, compiled
from lamina_server.domain.errors import ServerError
from lamina_server.store.contract import UnusableStoreError

if TYPE_CHECKING:
    from lamina_server.store.compaction.compaction import Advance, Compaction, Freed, Target

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"([1-9][0-9]{0,8})([smhdw])")


class Age(click.ParamType[str]):
    """A span of time, such as 90d."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check what was typed."""
        if not _AGE.fullmatch(value):
            self.fail("must be a number and a unit, s, m, h, d or w, such as 90d", param, ctx)
        return str(value)


def _seconds(age: str) -> int:
    return int(age[:-1]) * _SECONDS[age[-1]]


@click.command()
@click.argument("pattern", metavar="CONFIG|PATTERN")
@click.option("--keep", "age", type=Age(), metavar="AGE", help="Keep every map of this time, such as 90d or 12h.")
@click.option("--keep-versions", "count", type=click.IntRange(min=1), metavar="N", help="Keep the newest N maps.")
@click.option("--dry-run", is_flag=True, help="Print what would go, and change nothing.")
@database_option
@click.option("--audit-file", metavar="FILE", help="Write a line before and after each config; -: to stdout.")
def compact(pattern: str, age: str | None, count: int | None, *, dry_run: bool, **options: Any) -> None:
    """Let the old versions of a config give up their values.

    A version that is older than those kept can no longer be read, compared, reverted to or watched: this is the error
    VERSION_COMPACTED. What stays of it is its author, time, reason and hash, and which keys it changed. So each key
    keeps its history, and all hashes can still be checked. Only a backup brings the values back.

    In a PATTERN, "*" is any text within a segment, and "**" any text. A pattern never means _lamina/access, unless it
    begins with _lamina/.

    The command may be stopped at any time, and run again. On PostgreSQL, servers go on meanwhile. A SQLite database
    must not be in use by a server. Its file does not become smaller, but later commits use the room in it.
    """
    if (age is None) == (count is None):
        raise click.UsageError("say what to keep, by --keep or by --keep-versions")
    from lamina_server.store.compaction.compaction import Compaction, Keep, opened  # noqa: PLC0415 - as in verify

    settings, now_us = settings_of(options), system_now_us()
    keep = Keep(count, None if age is None else now_us - _seconds(age) * 1_000_000)
    asked = f"--keep-versions {count}" if age is None else f"--keep {age}"
    with refusals(), open_audit_file(settings) as audit_file:
        if not has_database(settings):
            raise UnusableStoreError(f"there is no database {describe_database(settings)!r}")
        audit = Audit(audit_file, now_us=system_now_us, is_best_effort=settings.audit_best_effort)
        with opened(settings.database) as database:
            compaction = Compaction(database)
            targets = compaction.targets(_matching(pattern), keep)
            if not targets:
                raise UnusableStoreError(f"there is no config {pattern!r}, nor one that it matches as a pattern")
            gc.disable()  # as in verify
            work = compaction.measure if dry_run else _Work(compaction, asked, audit if audit_file else None)
            words = ("measuring", "would go") if dry_run else ("compacting", "have gone")
            done = [_carried_out(work, target, *words) for target in targets]
    sys.exit(0 if all(done) else FAILED)


def _matching(pattern: str) -> Callable[[str], bool]:
    names, is_own = compiled(pattern), pattern.startswith(RESERVED)
    return lambda name: names.fullmatch(name) is not None and (is_own or not name.startswith(RESERVED))


class _Work:
    """The compaction of one config after the other, each with two lines of the audit, if there is one."""

    def __init__(self, compaction: "Compaction", asked: str, audit: Audit | None) -> None:
        self._compaction = compaction
        self._audit = audit
        self._account = getpass.getuser()
        self._reason = f"{asked}, by {self._account}"

    def __call__(self, target: "Target", advance: "Advance") -> "Freed":
        """Compact a config."""
        fields = {"config": target.name, "account": self._account}
        if self._audit is not None:
            asked = fields | {"oldest_version": target.cut, "reason": self._reason}
            self._audit.tell_first("compact", asked, (), wrote_nothing=True)
        freed = self._compaction.compact(target, self._reason, system_now_us(), advance)
        if self._audit is not None:
            found = {"oldest_version": freed.oldest, "values": freed.values, "bytes": freed.size_bytes}
            self._audit.tell("compacted", fields | found)
        return freed


def _carried_out(work: "Callable[[Target, Advance], Freed]", target: "Target", label: str, verb: str) -> bool:
    """Do the work on a config, and print what goes; return whether that was possible."""
    if target.cut == 1:
        say(f"lamina-server: {target.name}: nothing to do, because it keeps all of its {target.head} versions")
        return True
    is_for_people = sys.stderr.isatty()
    try:
        with click.progressbar(length=target.cut - 1, label=label, file=sys.stderr, hidden=not is_for_people) as bar:
            freed = work(target, bar.update)
    except ServerError as error:
        click.echo(f"lamina-server: {target.name}: {error}", err=True)
        return False
    gone = f"{freed.values} values ({freed.size_bytes} bytes) of versions 1 to {freed.oldest - 1}"
    say(f"lamina-server: {target.name}: {gone} {verb}; versions {freed.oldest} to {target.head} can be read")
    return True
