"""Runs a shell command for each version of a watch, one after the other; it knows no server.

The command has the version as a JSON object on stdin, and a summary in variables named LAMINA_CHANGE_... . No `lamina`
reads these variables: one within the command keeps its own author.

A signal that asks this process to end while a command runs is passed to the command, which has a grace period to end.
Its version counts as done if the command exits with 0.
"""

from dataclasses import replace
from typing import Any, Final

import lamina
from lamina.cli.errors import Refusal, tell
from lamina.cli.output.json_records import change_shape, json_line
from lamina.cli.output.secrets import opened
from lamina.cli.output.text import bare, utc
from lamina.cli.processes.child import GRACE_SECONDS, ForegroundCommand, Stopped, failure
from lamina.cli.processes.environment import fits, laid_over
from lamina.cli.watch_steps import Step

_PREFIX: Final = "LAMINA_CHANGE_"
_SHELL: Final = "/bin/sh"
_OF_A_CHANGE: Final = ("key", "old", "value", "deleted")
"""The fields of a change; all others are the same for each change of a version."""


class Commands(ForegroundCommand):
    """Runs the command for one step at a time. Within `with`, it handles the signals that end a watch."""

    def __init__(
        self, command: str, config: str, *, single: bool, stop_on_error: bool, grace_seconds: float | None = None
    ) -> None:
        super().__init__(GRACE_SECONDS if grace_seconds is None else grace_seconds)
        self._command, self._config = command, config
        self._single, self._stop_on_error = single, stop_on_error

    def __call__(self, step: Step) -> None:
        """Run the command; return when it has ended."""
        try:
            code, number = self.run(
                [_SHELL, "-c", self._command],
                environment(variables(self._config, step, single=self._single)),
                json_line(document(self._config, step)) + "\n",
            )
        except OSError as error:
            raise _end(step, f"{_SHELL} does not start: {error.strerror}") from None
        if number is not None:
            raise Stopped(number, step.before if code else step.cursor)
        if code and self._stop_on_error:
            raise _end(step, failure(code))
        if code:
            tell(f"version {step.version.version}: {failure(code)}")


def document(config: str, step: Step) -> dict[str, Any]:
    """Return the JSON object of a step: the whole version, with the contents of the secrets that were revealed."""
    version = step.version
    changes = [change_shape(replace(change, value=opened(change.value)), opened(old)) for change, old in step.changes]
    return {
        "config": config,
        "version": version.version,
        "author": version.author,
        "message": version.message,
        "time": utc(version.time),
        "changes": [{name: shape[name] for name in _OF_A_CHANGE if name in shape} for shape in changes],
        "cursor": step.cursor,
    }


def variables(config: str, step: Step, *, single: bool) -> dict[str, str]:
    """Return the variables of a step, without their prefix; with the values if a `single` key is watched.

    A secret that was not revealed has no variable: the command would take a mask for its value.
    """
    version = step.version
    found = {
        "CONFIG": config,
        "VERSION": str(version.version),
        "AUTHOR": version.author,
        "MESSAGE": version.message,
        "TIME": utc(version.time),
        "CURSOR": step.cursor,
        "KEYS": "\n".join(change.key for change, _ in step.changes),  # keys have no line ends
    }
    if single:
        ((change, old),) = step.changes
        sides = {"VALUE": change.value, "OLD": old}
        known = {name: opened(value) for name, value in sides.items() if value is not lamina.MISSING}
        found |= {name: bare(value) for name, value in known.items() if not isinstance(value, lamina.Secret)}
    return found


def environment(values: dict[str, str]) -> dict[bytes, bytes]:
    """Return this process's variables, without those of an outer watch, and the given ones.

    A variable that the system does not accept is left out, never cut. The result is in bytes, in UTF-8 in every locale.
    """
    known = {f"{_PREFIX}{name}": value for name, value in values.items() if "\0" not in value}
    return laid_over({name: value for name, value in known.items() if fits(name, value)}, without=_PREFIX)


def _end(step: Step, what: str) -> Refusal:
    return Refusal(f"version {step.version.version}: {what}; to go on from there: --after {step.before}")
