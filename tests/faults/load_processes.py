"""Starts the processes of a load, counts their commits, and ends them. Knows their command line alone."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.progress import Progress

ROOT = Path(__file__).parents[2]
PROCESSES, CLIENTS = 2, 16
END_SECONDS = 30.0
"""Longer than the last call of each client may take."""


class Loads:
    """Clients and watchers in PROCESSES processes, working while the block lasts; their histories go to `folder`."""

    def __init__(
        self,
        config: str,
        targets: Sequence[str],
        folder: Path,
        *,
        seed: int,
        name: str = "c",
        clients: int = CLIENTS,
        watchers: int = PROCESSES,
    ) -> None:
        self._commands = [
            [
                *(sys.executable, "-m", "tests.faults.load", "--config", config, "--folder", str(folder)),
                *(part for target in targets for part in ("--target", target)),
                *("--name", f"{name}{'abcdefgh'[number]}", "--clients", str(clients // PROCESSES)),
                *("--watchers", str(watchers // PROCESSES)),
                *("--seed", str(seed)),
            ]
            for number in range(PROCESSES)
        ]
        self._progress = Progress()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for command in self._commands:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._processes.append(process)
            self._readers.append(threading.Thread(target=self._count, args=(process,), daemon=True))
            self._readers[-1].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            codes = [self._end(process) for process in self._processes]
        finally:
            for process in self._processes:
                process.kill()
                process.wait()
            for reader in self._readers:
                reader.join()
            for process in self._processes:
                assert process.stdout is not None
                process.stdout.close()
        if error is None and any(codes):
            raise RuntimeError(f"the clients' processes ended with {codes}; their output is above")

    @property
    def acknowledged(self) -> int:
        """How many commits were acknowledged so far."""
        return self._progress.acknowledged

    def wait_for(self, more: int) -> None:
        """Wait until so many more commits are acknowledged; raise StalledError if none is for long."""
        self._progress.wait_for(more)

    def _count(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        while dots := process.stdout.read1(4096):  # type: ignore[attr-defined]
            self._progress.add(len(dots))

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        assert process.stdin is not None
        process.stdin.close()
        return process.wait(END_SECONDS)
