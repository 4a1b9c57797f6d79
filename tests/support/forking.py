"""Commands forked from a process that has imported them already: a start is mostly imports. Knows no test.

`multiprocessing`'s fork server is an interpreter of its own, without the threads and connections of the tests. A fork
of it is what a started program is: a process, a session, an environment, pipes, signals and an exit code.
"""

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "lamina_server.cli.main",
        "lamina_server.store.open",
        "alembic.command",
        "lamina.cli.app",
        *(f"lamina.cli.verbs.{verb}" for verb in ("bisect", "exec", "read", "transfer", "watch", "write")),
        __name__,
    ]
)


class ForkedCommand:
    """`lamina` or `lamina-server` with these arguments; the part of `subprocess.Popen` that the tests need.

    program      the command's name, or its path as a shell has found it
    environment  variables that Python, its libraries or the system read at their start have no effect
    """

    def __init__(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str], *, cwd: Path | None = None
    ) -> None:
        out, out_inner = os.pipe()
        err, err_inner = os.pipe()
        inner = (_Descriptor(out_inner), _Descriptor(err_inner))
        # A daemon, so that it ends with the tests even if they forget it.
        given = ([program, *arguments], dict(environment), str(cwd or Path.cwd()))
        self._process = _FORKS.Process(target=_run, args=(*given, *inner), daemon=True)
        self._process.start()
        os.close(out_inner)
        os.close(err_inner)
        self.stdout, self.stderr = open(out, "rb", buffering=0), open(err, "rb", buffering=0)  # noqa: PTH123, SIM115

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if (code := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired("a forked command", timeout)
        self._process.close()
        return code

    def completed(self, timeout: float) -> "subprocess.CompletedProcess[bytes]":
        """Wait until it has ended and nothing holds its output any more; return how it ended and what it printed."""
        said: list[bytes] = []
        with self.stdout, self.stderr:
            reader = threading.Thread(target=lambda: said.append(self.stderr.read()))
            reader.start()
            printed = self.stdout.read()
            reader.join()
        return subprocess.CompletedProcess([], self.wait(timeout), printed, said[0])


class _Descriptor:
    """A descriptor that is there in the fork, under whatever number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self.number),)


def _received(sent: Any) -> _Descriptor:
    return _Descriptor(sent.detach())


def _run(argv: list[str], environment: dict[str, str], cwd: str, out: _Descriptor, err: _Descriptor) -> None:
    os.setsid()
    os.chdir(cwd)
    os.dup2(out.number, 1)
    os.dup2(err.number, 2)
    os.close(out.number)
    os.close(err.number)
    # Those of the fork server know whether its own streams can be sought.
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv
    if Path(argv[0]).name == "lamina":
        from lamina.cli import main as lamina  # noqa: PLC0415 - the tests' own process does not need it

        lamina()
    else:
        from lamina_server.cli.main import main as lamina_server  # noqa: PLC0415

        lamina_server(argv[1:], prog_name="lamina-server")
