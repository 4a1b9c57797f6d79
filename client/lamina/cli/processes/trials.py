"""Runs a command once for each different map, and interprets its exit code; it knows no server.

    0 good   125 skipped   1 to 127 bad   128 and above, or a signal: unknown, the search ends

The exit codes mean what they mean to `git bisect run`.
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lamina.cli.errors import Refusal
from lamina.cli.formats import env
from lamina.cli.formats.env import EnvFileError
from lamina.cli.output.json_records import json_line
from lamina.cli.output.text import bare, write_json
from lamina.cli.processes.child import ForegroundCommand, Stopped, failure
from lamina.cli.processes.environment import fits, laid_over
from lamina.cli.search import Verdict

_PREFIX: Final = "LAMINA_BISECT_"
_SKIP: Final = 125
_STOP: Final = 128


class Trials(ForegroundCommand):
    """Runs the command. Its output goes to stderr, so that stdout has only the result.

    file   the path of the file with the map that is tried
    """

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__()
        self.file = Path(os.devnull)
        self._command = command
        self._known: dict[str, int] = {}

    @property
    def runs(self) -> int:
        """The number of times that the command was run."""
        return len(self._known)

    def verdict(self, entries: Mapping[str, Any], what: str, more: Mapping[str, str]) -> tuple[Verdict, str]:
        """Try a map; return the verdict, and how the command ended. Raise Refusal, which calls the map `what`."""
        map_hash = _hash(entries)
        if map_hash not in self._known:
            self._known[map_hash] = self._run(entries, what, more)
        code = self._known[map_hash]
        if code == 0:
            return Verdict.GOOD, failure(code)
        return (Verdict.SKIPPED if code == _SKIP else Verdict.BAD), failure(code)

    def _run(self, entries: Mapping[str, Any], what: str, more: Mapping[str, str]) -> int:
        text = json_line(dict(entries)) + "\n"
        self.file.unlink(missing_ok=True)  # the command may have changed or replaced it
        with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode())
        mine = {**more, "FILE": str(self.file)}
        try:
            found = _variables(entries) | {f"{_PREFIX}{name}": value for name, value in mine.items()}
            code, number = self.run(self._command, laid_over(found, without=_PREFIX), text, stdout=_stderr())
        except EnvFileError as error:
            raise Refusal(f"{what}: {error}") from None
        except OSError as error:
            raise Refusal(f"{what}: {self._command[0]} does not start: {error.strerror}") from None
        if number is not None:
            raise Stopped(number)
        if code < 0 or code >= _STOP:
            raise Refusal(f"{what}: {failure(code)}, which is neither good nor bad: the search has ended")
        return code


def _stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # not a real file: within another program
        return 2


def _variables(entries: Mapping[str, Any]) -> dict[str, str]:
    """Return a map's variables, without keys that cannot be variables: the file has every key."""
    keys = [key for key, value in entries.items() if value is not None and env.has_name(key)]
    found = {name: bare(entries[key]) for name, key in env.named(keys).items()}
    return {name: text for name, text in found.items() if fits(name, text)}


def _hash(entries: Mapping[str, Any]) -> str:
    """Return a hash of a map that tells bytes from their base64, and 1, 1.0 and true from each other."""
    parts = ([key, isinstance(entries[key], bytes), entries[key]] for key in sorted(entries))
    return hashlib.sha256("\n".join(map(write_json, parts)).encode()).hexdigest()
