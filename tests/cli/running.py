"""Ways to run the command: in this process, as a separate process, and on a separate terminal."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Self
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from lamina.cli.app import app
from tests.support import absent
from tests.support.forking import ForkedCommand

LAMINA = Path(sys.executable).with_name("lamina")
WAIT_SECONDS = 30.0
"""A limit far above what anything here needs, so that a busy machine is no failure."""
_DRESSING = re.compile(r"\a|\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\][^\a]*\a|\r")


class InProcess:
    """Runs the command in this process, and asserts its exit code."""

    def __init__(self, target: str) -> None:
        self.environment: dict[str, str | None] = {"LAMINA_TARGET": target, "LAMINA_AUTHOR": "ada"}

    def __call__(self, *arguments: str, code: int = 0, stdin: str | bytes = "", **environment: str) -> Result:
        return self._run(arguments, code, stdin, environment)

    def out(self, *arguments: str, stdin: str | bytes = "", **environment: str) -> str:
        """Return what it prints if it succeeds."""
        return self._run(arguments, 0, stdin, environment).stdout

    def _run(self, arguments: tuple[str, ...], code: int, stdin: str | bytes, environment: dict[str, str]) -> Result:
        runner = CliRunner(env={**self.environment, **environment})
        result = runner.invoke(app, arguments, input=stdin, prog_name="lamina")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, f"{arguments} exited with {result.exit_code}\n{result.output}"
        return result


def environment_of(target: str, **more: str) -> dict[str, str]:
    """Return the environment in which a process finds the command and the server."""
    path = f"{LAMINA.parent}{os.pathsep}{os.environ['PATH']}"
    # A server in this process set it.
    inherited = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    return {**inherited, "PATH": path, "LAMINA_TARGET": target, "LAMINA_AUTHOR": "ada", **more}


def run(
    *arguments: str | Path, target: str, cwd: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end, with an empty stdin.

    It is forked, unless there are variables that Python, its libraries or the system read at its start.
    """
    variables = environment_of(target, **environment)
    if all(name.startswith("LAMINA_") for name in environment):
        done = ForkedCommand(str(LAMINA), [str(each) for each in arguments], variables, cwd=cwd).completed(WAIT_SECONDS)
    else:
        done = subprocess.run(
            [LAMINA, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=cwd,
            env=variables,
            timeout=WAIT_SECONDS,
            check=False,
        )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def on_terminal(*arguments: str, target: str, code: int = 0, **environment: str) -> tuple[str, str]:
    """Run the command in this process on a terminal, 100 columns wide; return what it showed, plain and raw.

    A pager that it starts does not write to this terminal: use a `Terminal` for that.
    """
    master, inner = pty.openpty()
    shown = bytearray()
    reader = threading.Thread(target=_drain, args=(master, shown))
    reader.start()
    variables = {"TERM": "xterm", "COLUMNS": "100", "PAGER": "cat", "LAMINA_TARGET": target, "LAMINA_AUTHOR": "ada"}
    with (
        patch.dict(os.environ, variables | environment),
        open(inner, "w", encoding="utf-8") as terminal,  # noqa: PTH123 - a descriptor has no path
        redirect_stdout(terminal),
        redirect_stderr(terminal),
        pytest.raises(SystemExit) as ended,
    ):
        app.main(arguments, prog_name="lamina")
    reader.join()
    os.close(master)
    raw = shown.decode()
    assert ended.value.code == code, raw
    return _DRESSING.sub("", raw), raw


def _drain(master: int, into: bytearray) -> None:
    with suppress(OSError):  # on Linux, this means that no process has the terminal any more
        while data := os.read(master, 65536):
            into.extend(data)


@contextmanager
def started(
    *arguments: str | Path, target: str, program: Sequence[str | Path] = (LAMINA,), **environment: str
) -> "Iterator[subprocess.Popen[str]]":
    """Run the command for the duration of the block. `env` resets ^C, which background jobs ignore."""
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment_of(target, **environment),
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
            # Kill its children in other groups too: a command of `exec` may ignore the signals that end `exec`.
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)


def line_of(process: "subprocess.Popen[str]") -> str:
    """Wait for the next line of output, and return it."""
    assert process.stdout is not None
    return process.stdout.readline()


def end_of(process: "subprocess.Popen[str]", number: int | None = None) -> tuple[int, str, str]:
    """Send a signal, and wait until no process can still write; return exit code, stdout and stderr."""
    if number is not None:
        process.send_signal(number)
    assert process.stdout is not None
    assert process.stderr is not None
    printed, said = process.stdout.read(), process.stderr.read()
    return process.wait(WAIT_SECONDS), printed, said


class Terminal:
    """A program on a separate terminal, 100 columns wide: it has its output, and presses keys.

    It waits for text, never for a time.
    """

    def __init__(self, *program: str | Path, target: str, **environment: str) -> None:
        for tool, remedy in {"setsid": "util-linux", "env": "coreutils"}.items():
            if shutil.which(tool) is None:
                absent(tool, f"it is in {remedy}")
        self._master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        # With setsid, ^C in the terminal reaches it. `env` resets ^C, which background jobs ignore.
        prefix = ["setsid", "--ctty", "env", "--default-signal=INT"]
        self._process = subprocess.Popen(
            [*prefix, *program],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={"TERM": "xterm", **environment_of(target, **environment)},
        )
        os.close(inner)
        self.raw = ""

    @property
    def shown(self) -> str:
        """The text that was shown so far, without colours and cursor movements."""
        return _DRESSING.sub("", self.raw)

    def until(self, text: str) -> str:
        """Wait until a text has been shown; return everything that was shown."""
        end = time.monotonic() + WAIT_SECONDS
        while text not in self.shown:
            ready, _, _ = select.select([self._master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} was not shown within {WAIT_SECONDS} s:\n{self.raw!r}"
            assert self._read(), f"ended without showing {text!r}:\n{self.raw!r}"
        return self.shown

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def forget(self) -> None:
        """Forget what was shown so far."""
        self.raw = ""

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        while self._read():
            pass
        return self._process.wait(WAIT_SECONDS)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # on Linux, this means that no process has the terminal any more
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(WAIT_SECONDS)
        os.close(self._master)


def conflict_line(result: "Result | subprocess.CompletedProcess[str]", key: str) -> str:
    """Return a key's line of the table of conflicts."""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith(f"  {key} ")]
    return line
