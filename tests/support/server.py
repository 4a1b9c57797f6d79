"""A real server as a process of its own, for tests that go through real sockets. Knows the command line alone."""

import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

import pytest

from tests.support.forking import ForkedCommand

START_SECONDS = 30.0
"""A busy machine takes long to start Python; no test waits for this in the normal case."""
STOP_SECONDS = 20.0
"""Longer than the server's grace for the calls under way."""
READY = re.compile(r"^lamina-server ready on (?P<target>\S+), ", re.MULTILINE)


class ServerProcess:
    """`lamina-server serve` on a database: `with ServerProcess(url) as server:` has it ready.

    target   where clients reach it
    printed  its standard output so far
    log      its standard error so far
    log_file where to write that, too, through all restarts; None: nowhere
    forks    whether servers are forked from one that has imported all of it, in a quarter of the time
    """

    forks: ClassVar[bool] = False

    def __init__(self, database: str, *arguments: str, **environment: str) -> None:
        python = os.environ.get("LAMINA_TEST_SERVER_PYTHON", sys.executable)
        serve = [python, "-m", "lamina_server", "serve", "--database", database]
        self._program: Sequence[str] = [*serve, *arguments]
        self._listen: str | None = None if "--listen" in arguments else "localhost:0"
        self._environment = environment
        self._cwd: Path | None = None
        self._process: subprocess.Popen[bytes] | ForkedCommand | None = None
        self._readers: list[threading.Thread] = []
        self._heard = threading.Condition()
        self.target = ""
        self.log_file: Path | None = None

    @classmethod
    def of_program(cls, program: Sequence[str], *, cwd: Path | None = None) -> Self:
        """Wait for the ready line of any program that starts a server."""
        server = cls("")
        server._program, server._listen, server._cwd = program, None, cwd
        return server

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        try:
            self.stop()
        finally:
            if self._process is not None:
                self.kill()

    @property
    def printed(self) -> str:
        return self._printed.decode()

    @property
    def log(self) -> str:
        return self._log.decode()

    @property
    def pid(self) -> int:
        return self._running.pid

    def start(self) -> None:
        """Start the server and wait until it says that it is ready."""
        self._printed, self._log, self._ready = bytearray(), bytearray(), threading.Event()
        program = [*self._program, "--listen", self._listen] if self._listen else self._program
        self._process = process = self._launched(program)
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._collect, args=(stream.fileno(), buffer), daemon=True)
            for stream, buffer in ((process.stdout, self._printed), (process.stderr, self._log))
        ]
        for reader in self._readers:
            reader.start()
        ready = self._ready.wait(START_SECONDS)
        match = READY.search(self.printed)
        if not ready or not match:
            self.kill()
            raise RuntimeError(f"the server did not get ready\n{self.printed}\n{self.log}")
        self.target = match["target"]

    def stop(self, number: int = signal.SIGTERM, *, expected: int = 0) -> None:
        """Ask the server to end, wait for it, and check its exit code."""
        self.signal(number)
        code = self.wait()
        assert code == expected, f"the server ended with {code}\n{self.log}"

    def signal(self, number: int) -> None:
        """Send a signal to the server, and to the program that runs it if there is one."""
        with suppress(ProcessLookupError):  # it has ended already: `wait` says how
            os.killpg(self._running.pid, number)

    def kill(self) -> int:
        """End the server as a crash would."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def restart(self) -> None:
        """Start the server again, on the same port; stop it before, if it still runs."""
        if self._process is not None:
            self.stop()
        self._listen = self.target
        self.start()

    def until_logged(self, text: str) -> None:
        """Wait until the server has logged something."""
        with self._heard:
            heard = self._heard.wait_for(lambda: text in self.log, STOP_SECONDS)
        assert heard, f"not logged: {text}\n{self.log}"

    def wait(self) -> int:
        """Wait until the process has ended for any reason; return its exit code."""
        process = self._running
        code = process.wait(STOP_SECONDS)
        self._process = None  # only now: a process that does not end can still be killed
        for reader in self._readers:
            reader.join()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        return code

    def _launched(self, program: Sequence[str]) -> subprocess.Popen[bytes] | ForkedCommand:
        environment = {**os.environ, **self._environment}
        # Variables that Python, its libraries or the system read at their start have no effect after a fork.
        if self.forks and program[:3] == [sys.executable, "-m", "lamina_server"] and self._is_ours():
            return ForkedCommand("lamina-server", program[3:], environment)
        # A session of its own, so that a Ctrl-C at the tests ends it through `stop` and not by itself.
        return subprocess.Popen(
            program,
            cwd=self._cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _is_ours(self) -> bool:
        return all(name.startswith("LAMINA_") for name in self._environment)

    @property
    def _running(self) -> subprocess.Popen[bytes] | ForkedCommand:
        assert self._process is not None, "the server does not run"
        return self._process

    def _collect(self, descriptor: int, into: bytearray) -> None:
        # Lines that are written together are read together, so `printed` also has those after the ready line.
        while chunk := os.read(descriptor, 65536):
            with self._heard:
                into.extend(chunk)
                self._heard.notify_all()
            if into is self._log and self.log_file is not None:
                with self.log_file.open("ab") as file:
                    file.write(chunk)
            if READY.search(self.printed):
                self._ready.set()
        if into is self._printed:
            self._ready.set()  # the output has ended: there is nothing more to wait for


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for the whole run on each kind of database; use a `config_name` of your own on it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('server') / 'lamina.db'}"
    else:
        url = request.getfixturevalue("postgres").new_database()
    with ServerProcess(url) as process:
        yield process


@pytest.fixture
def target(server: ServerProcess) -> str:
    """The address of the session's server."""
    return server.target


@pytest.fixture
def config_name(request: pytest.FixtureRequest) -> str:
    """A config's name that no other test uses."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:64].strip("-")
    return f"tests/{name}/{uuid.uuid4().hex[:12]}"
