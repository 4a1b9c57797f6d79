"""Thousands of watchers in a process of their own, so that their cost is not counted as the server's."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Plan:
    """The watchers, and what they watch.

    config            of which every second watcher watches everything, and the others a key each; none: the floor
    first             the number of the first watcher, and so of its key
    only_keys         whether all of them watch a key
    bookmark_seconds  how often they hear at least
    """

    target: str
    watchers: int
    connections: int
    config: str | None
    first: int = 0
    only_keys: bool = False
    bookmark_seconds: int = 30


class Crowd:
    """The process. Use it as a context manager: it starts when all its streams are open."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.opening_seconds = 0.0

    def __enter__(self) -> Self:
        program = [sys.executable, "-m", "tests.benchmarks.crowding", json.dumps(asdict(self._plan))]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.opening_seconds = self._answer()["opened"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # its end waits for the process
            self._process.kill()  # ten thousand streams need not be ended one by one

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **question: Any) -> Any:
        """Ask, and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of the watchers has ended")
        return json.loads(line)
