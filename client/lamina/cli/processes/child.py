"""Runs one command at a time to its end, and ends all its processes; it knows no config and no version.

A signal that asks this process to end while a command runs is passed to the command, which has a grace period to end.
The caller gets the signal's number.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import IO, Any, Final, Self

GRACE_SECONDS: Final = 5.0
"""A command has this long to end after it was asked to; then it is killed."""


class Stopped(KeyboardInterrupt):
    """A signal has asked this process to end. `cursor` is where to go on, if the running command decides it."""

    def __init__(self, number: int, cursor: str = "") -> None:
        super().__init__(number)
        self.number, self.cursor = number, cursor


class ForegroundCommand:
    """Runs commands. Within `with`, it handles the signals that ask this process to end."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._running: _Child | None = None
        self._before: dict[int, Any] = {}

    def run(
        self, program: Sequence[str], variables: Mapping[bytes, bytes], text: str, *, stdout: int | None = None
    ) -> tuple[int, int | None]:
        """Run a command to its end, with a text on its stdin.

        Return its exit code, or minus the number of the signal that ended it; and the signal that has asked this
        process to end meanwhile. Raise OSError if it does not start.
        """
        self._running = running = _Child(self._grace_seconds)
        try:
            code = running.run(program, variables, text, stdout)
        finally:
            self._running = None
        return code, running.signal  # in this order: a signal that comes now raises Stopped by itself

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # under nohup, it stays ignored
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, Stopped) and error.number != signal.SIGINT:
            os.kill(os.getpid(), error.number)  # end by the signal, as the sender expects

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._running is None:
            raise Stopped(number)
        self._running.end(number)


class _Child:
    """One command. It exists before the process does, so that a signal in between is not lost."""

    def __init__(self, grace_seconds: float) -> None:
        self.signal: int | None = None
        self._grace_seconds = grace_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._own_group = False
        self._killer = threading.Timer(grace_seconds, self._send, [signal.SIGKILL])
        self._killer.daemon = True

    def run(self, program: Sequence[str], variables: Mapping[bytes, bytes], text: str, stdout: int | None) -> int:
        """Run it to its end; return its exit code, or minus the number of the signal that ended it."""
        # On a terminal, the command stays in the group that Ctrl-C reaches, and can ask for a password there. Otherwise
        # it gets its own group, so that all its processes can be ended together.
        self._own_group = not _in_foreground()
        ended, alive = os.pipe()  # `ended` is at its end when no process of the command holds `alive` any more
        with open(ended, "rb"):  # noqa: PTH123 - a descriptor has no path
            with _held(text) as stdin, open(alive, "wb"):  # noqa: PTH123
                self._process = process = subprocess.Popen(  # noqa: S603 - the user's own command
                    program,
                    stdin=stdin,
                    stdout=stdout,
                    env=variables,
                    pass_fds=(alive,),
                    process_group=0 if self._own_group else None,
                )
            if self.signal is not None:  # the signal came while it was being started
                self._pass_on(self.signal)
            code = process.wait()
            if self.signal is not None:  # a shell may end at once, and the programs that it ran later
                select.select([ended], [], [], self._grace_seconds)
            self._killer.cancel()
        return code

    def end(self, number: int) -> None:
        """Ask it to end. The second time, kill it."""
        if self.signal is not None:
            self._send(signal.SIGKILL)
            return
        self.signal = number
        self._killer.start()
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        if self._own_group or number != signal.SIGINT:  # the terminal has already sent SIGINT to it
            self._send(number)

    def _send(self, number: int) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # it has just ended, or is another user's
            if self._own_group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)


def failure(code: int) -> str:
    """Return how a command ended, as a text."""
    return f"the command exited with {code}" if code >= 0 else f"the command was ended by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _held(text: str) -> IO[bytes]:
    """Return a file in memory that holds a text. A pipe would break or block if the command does not read it."""
    if sys.platform == "linux":
        file: IO[bytes] = os.fdopen(os.memfd_create("lamina-stdin"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(text.encode())
    file.seek(0)
    return file


def _in_foreground() -> bool:
    """Return whether stdin is a terminal whose Ctrl-C reaches this process's group."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
