"""Servers forked from a process that has imported them already: a start is mostly imports. Knows no test.

`multiprocessing`'s fork server is an interpreter of its own, without the threads and connections of the tests. A fork
of it is what a started program is: a process, a session, an environment, pipes, signals and an exit code.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["lamina_server.cli.main", "lamina_server.store.open", "alembic.command", __name__])


class ForkedServer:
    """`python -m lamina_server` with these arguments; the part of `subprocess.Popen` that tests of a server need."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        out, out_inner = os.pipe()
        err, err_inner = os.pipe()
        inner = (_Descriptor(out_inner), _Descriptor(err_inner))
        # A daemon, so that it ends with the tests even if they forget it.
        self._process = _FORKS.Process(target=_serve, args=(list(arguments), dict(environment), *inner), daemon=True)
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
            raise subprocess.TimeoutExpired("a forked server", timeout)
        self._process.close()
        return code


class _Descriptor:
    """A descriptor that is there in the fork, under whatever number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self.number),)


def _received(sent: Any) -> _Descriptor:
    return _Descriptor(sent.detach())


def _serve(arguments: list[str], environment: dict[str, str], out: _Descriptor, err: _Descriptor) -> None:
    os.setsid()
    os.dup2(out.number, 1)
    os.dup2(err.number, 2)
    os.close(out.number)
    os.close(err.number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["lamina-server", *arguments]
    from lamina_server.cli.main import main  # noqa: PLC0415 - the tests' own process does not need it

    main(arguments, prog_name="lamina-server")
