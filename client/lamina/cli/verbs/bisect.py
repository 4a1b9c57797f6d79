"""The verb that finds what broke a command: bisect. search.py searches, processes/trials.py runs the command."""

import tempfile
from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

import lamina
from lamina.cli.arguments.options import POINT, Verb, chosen
from lamina.cli.candidates import COMMAND, CONFIG
from lamina.cli.errors import Refusal, tell
from lamina.cli.output.differences import print_changes
from lamina.cli.output.json_records import document, shape, shapes
from lamina.cli.output.screen import AUTHOR, QUIET, VERSION, cell, counted, first_line, screen
from lamina.cli.output.secrets import contents
from lamina.cli.processes.trials import Trials
from lamina.cli.search import Step, Verdict, first_bad, smallest_bad
from lamina.cli.session import connected
from lamina.cli.writing.writer import named


@click.command("bisect", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("good", type=POINT)
@click.argument("bad", type=POINT)
@click.argument("command", metavar="-- CMD...", nargs=-1, required=True, type=COMMAND)
@click.pass_context
def bisect_verb(
    ctx: click.Context, config: str, good: int | datetime, bad: int | datetime, command: tuple[str, ...]
) -> None:
    """Find the first version after GOOD with which a command fails, and the smallest set of its keys that makes it.

    The command runs once for each map that is tried, as in git bisect run. Exit code 0 means that the map is good, 125
    that the command cannot decide, and any other code up to 127 that the map is bad. A higher code or a signal ends the
    search. The command has the map as JSON on stdin and in the file LAMINA_BISECT_FILE, and as environment like that of
    exec, without the keys that cannot be variables. What it prints goes to stderr.

    First GOOD and BAD are tried, then versions between them. Then the changes of the first bad version are tried on the
    last good map, until no key can be left out: the keys that remain break the command together.
    """
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        cfg = client.config(config)
        low, high = (cfg.at(point).version for point in (good, bad))
        if low >= high:
            raise click.UsageError(f"GOOD must be older than BAD: they are versions {low} and {high}")
        # The folder is the inner block: a signal may end this process at the end of the outer block.
        with Trials(command) as trials, tempfile.TemporaryDirectory(prefix="lamina-bisect-") as folder:
            trials.file = Path(folder) / "map.json"
            bisection = _Bisection(cfg, trials)
            step = bisection.first_bad(low, high)
            changes = bisection.culprits(step)
        result = _Result(cfg, step, changes, trials.runs)
        if output == "json":
            print(document(result.shape()))
        else:
            result.print()


class _Bisection:
    """Tries versions, then keys, and prints each verdict."""

    def __init__(self, cfg: lamina.Config, trials: Trials) -> None:
        self._cfg, self._trials = cfg, trials

    def first_bad(self, good: int, bad: int) -> Step:
        """Return the step to the first bad version. Raise Refusal if GOOD is not good, or BAD not bad."""
        for number, expected in (good, Verdict.GOOD), (bad, Verdict.BAD):
            verdict, why = self._judge_version(number)
            if verdict is not expected:
                raise Refusal(f"version {number} is not {expected.value}: {why}")
        return first_bad(good, bad, lambda number: self._judge_version(number)[0])

    def culprits(self, step: Step) -> dict[str, lamina.Change]:
        """Return the changes to blame among all changes of the step."""
        changes = self._cfg.diff(step.good, step.bad)
        before = self._cfg.at(step.good).to_dict()

        def judge(keys: frozenset[str]) -> Verdict:
            ordered = [key for key in changes if key in keys]
            what = f"{len(keys)} of {counted(len(changes), 'key')} ({named(ordered)})"
            more = {"CONFIG": self._cfg.name, "VERSION": str(step.bad), "KEYS": "\n".join(ordered)}
            verdict, _ = self._trials.verdict(contents(_changed(before, changes, ordered)), what, more)
            tell(f"{what}: {verdict.value}")
            return verdict

        return {key: changes[key] for key in smallest_bad(list(changes), judge)}

    def _judge_version(self, number: int) -> tuple[Verdict, str]:
        what = f"version {number}"
        more = {"CONFIG": self._cfg.name, "VERSION": str(number)}
        verdict, why = self._trials.verdict(contents(self._cfg.at(number).to_dict()), what, more)
        tell(f"{what}: {verdict.value}")
        return verdict, why


class _Result:
    """The first bad version, and the changes in it that are to blame."""

    def __init__(self, cfg: lamina.Config, step: Step, changes: Mapping[str, lamina.Change], runs: int) -> None:
        self._step, self._changes, self._runs = step, changes, runs
        newer = takewhile(lambda version: version.number >= step.bad, cfg.log())
        self._version = list(newer)[-1]

    def shape(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "version": shape(self._version),
            "skipped": list(range(self._step.good + 1, self._step.bad)),
            "changes": shapes(self._changes),
            "runs": self._runs,
        }

    def print(self) -> None:
        """Print it for people."""
        version, skipped = self._version, self._step.bad - self._step.good - 1
        with screen() as out:
            if skipped:
                first = cell(str(self._step.good + 1), VERSION)
                last = cell(str(version.number), VERSION)
                out.line(
                    version.config,
                    ": the first bad version is one of ",
                    first,
                    " to ",
                    last,
                    "; the command could not decide the others",
                )
            else:
                out.line(version.config, " version ", cell(str(version.number), VERSION), " is the first bad one")
            out.columns([[out.time(version.time), cell(version.author, AUTHOR), first_line(version.message)]])
            print_changes(out, self._changes)
            of = "" if skipped else f" of {counted(version.change_count, 'changed key')}"
            out.line(cell(f"{len(self._changes)}{of} to blame, {counted(self._runs, 'run')}", QUIET))


def _changed(before: Mapping[str, Any], changes: Mapping[str, lamina.Change], keys: list[str]) -> dict[str, Any]:
    entries = dict(before)
    for key in keys:
        if changes[key].new is lamina.MISSING:
            entries.pop(key, None)
        else:
            entries[key] = changes[key].new
    return entries
