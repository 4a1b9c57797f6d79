"""Runs a shell command for each version of a watch, one after the other, none left out; it knows no server.

The command has the version as a JSON object on stdin, and the short of it in variables named LAMINA_CHANGE_... . No
`lamina` reads those: one within the command is whoever it was, not the author of the change.

A signal that asks for the end while a command runs is the command's first: it gets its time to end, and whether it then
exits with 0 decides whether its version counts as done.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import IO, Any, Final, Self

import lamina
from lamina.cli.errors import Refusal, tell
from lamina.cli.shapes import change_shape, json_line
from lamina.cli.steps import Step
from lamina.cli.texts import bare, utc

_PREFIX: Final = "LAMINA_CHANGE_"
_VARIABLE_LIMIT_BYTES: Final = 128 * 1024
"""What Linux starts a program with: a variable with its name and the end of it; it refuses longer ones."""
_GRACE_SECONDS: Final = 5.0
"""So long a command may take to end once it was asked to; then it is killed."""
_SHELL: Final = "/bin/sh"
_OF_A_CHANGE: Final = ("key", "old", "value", "deleted")
"""What is a change's own; the rest is its version's."""


class Stopped(KeyboardInterrupt):
    """A signal asked for the end. `cursor` is where to go on, if the command that was running decides it."""

    def __init__(self, number: int, cursor: str = "") -> None:
        super().__init__(number)
        self.number, self.cursor = number, cursor


class Commands:
    """Runs the command for one step at a time. `with` holds the signals that end a watch."""

    def __init__(self, command: str, config: str, *, single: bool, stop_on_error: bool) -> None:
        self._command, self._config = command, config
        self._single, self._stop_on_error = single, stop_on_error
        self._running: _Running | None = None
        self._before: dict[int, Any] = {}

    def __call__(self, step: Step) -> None:
        """Run the command; return when it has ended."""
        self._running = running = _Running()
        try:
            code = running.run(
                [_SHELL, "-c", self._command],
                environment(variables(self._config, step, single=self._single)),
                json_line(document(self._config, step)) + "\n",
            )
        except OSError as error:
            raise _end(step, f"{_SHELL} does not start: {error.strerror}") from None
        finally:
            self._running = None
        if running.signal is not None:
            raise Stopped(running.signal, step.before if code else step.cursor)
        if code and self._stop_on_error:
            raise _end(step, _failure(code))
        if code:
            tell(f"version {step.version.version}: {_failure(code)}")

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as for a background job, or under nohup
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, Stopped) and error.number != signal.SIGINT:
            os.kill(os.getpid(), error.number)  # end by it, as whoever sent it expects

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._running is None:
            raise Stopped(number)
        self._running.end(number)


class _Running:
    """One command, from before its start until its end, so that no signal falls in between."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._own_group = False
        self._killer = threading.Timer(_GRACE_SECONDS, self._send, [signal.SIGKILL])
        self._killer.daemon = True

    def run(self, program: list[str], variables: dict[bytes, bytes], text: str) -> int:
        """Run it to its end; give its exit code, or minus the number of the signal that ended it."""
        # On a terminal the command stays in the group that Ctrl-C reaches, and that may ask for a password there. Else
        # it gets one of its own, so that what it started can be ended with it.
        self._own_group = not _in_foreground()
        ended, alive = os.pipe()  # all that the command starts holds the one end, so the other tells when all has ended
        with open(ended, "rb"):  # noqa: PTH123 - a descriptor has no path
            with _held(text) as change, open(alive, "wb"):  # noqa: PTH123
                self._process = process = subprocess.Popen(  # noqa: S603 - the user's own command
                    program,
                    stdin=change,
                    env=variables,
                    pass_fds=(alive,),
                    process_group=0 if self._own_group else None,
                )
            if self.signal is not None:  # while it was being started
                self._pass_on(self.signal)
            code = process.wait()
            if self.signal is not None:  # a shell may die at once, and what it ran take its time
                select.select([ended], [], [], _GRACE_SECONDS)
            self._killer.cancel()
        return code

    def end(self, number: int) -> None:
        """Ask it to end; when asked again, kill it."""
        if self.signal is not None:
            self._send(signal.SIGKILL)
            return
        self.signal = number
        self._killer.start()
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        if self._own_group or number != signal.SIGINT:  # which a terminal has given to it already
            self._send(number)

    def _send(self, number: int) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # ended just now; or another user's
            if self._own_group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)


def document(config: str, step: Step) -> dict[str, Any]:
    """Make the JSON object of a step, which holds all that there is to know."""
    version = step.version
    changes = [change_shape(change, old) for change, old in step.changes]
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
    """Give the variables of a step, without their prefix; the values too where a `single` key is watched."""
    version = step.version
    found = {
        "CONFIG": config,
        "VERSION": str(version.version),
        "AUTHOR": version.author,
        "MESSAGE": version.message,
        "TIME": utc(version.time),
        "CURSOR": step.cursor,
        "KEYS": "\n".join(change.key for change, _ in step.changes),  # no key has a line end in it
    }
    if single:
        ((change, old),) = step.changes
        sides = {"VALUE": change.value, "OLD": old}
        found |= {name: bare(value) for name, value in sides.items() if value is not lamina.MISSING}
    return found


def environment(values: dict[str, str]) -> dict[bytes, bytes]:
    """Lay variables over this process's own; those of a watch around this one go.

    What the system would not take is left out, never cut short. In bytes, for ours are UTF-8 whatever the locale.
    """
    inherited = {name: value for name, value in os.environb.items() if not name.startswith(_PREFIX.encode())}
    ours = {f"{_PREFIX}{name}".encode(): value.encode() for name, value in values.items() if "\0" not in value}
    return inherited | {
        name: value for name, value in ours.items() if len(name) + len(value) + len(b"=\0") <= _VARIABLE_LIMIT_BYTES
    }


def _failure(code: int) -> str:
    return f"the command exited with {code}" if code > 0 else f"the command was ended by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _end(step: Step, what: str) -> Refusal:
    return Refusal(f"version {step.version.version}: {what}; to go on from there: --after {step.before}")


def _held(text: str) -> IO[bytes]:
    """Hold a text in memory as a file: a pipe would break where nobody reads, or block where nobody reads on."""
    if sys.platform == "linux":
        file: IO[bytes] = os.fdopen(os.memfd_create("lamina-change"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asked for it closes it
    file.write(text.encode())
    file.seek(0)
    return file


def _in_foreground() -> bool:
    """Tell whether stdin is a terminal whose Ctrl-C reaches this process's group."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
