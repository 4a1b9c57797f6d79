"""Keeps a command running on the newest map: its processes, signals, terminal and threads. restart_policy.py decides.

Each event is a function in one queue. The main thread takes them from there: it alone starts and signals the command.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final, TypeAlias

from lamina.cli.errors import Refusal, tell
from lamina.cli.processes.restart_policy import End, RestartPolicy, Send, Start

NOT_STARTED: Final = 126
NOT_FOUND: Final = 127
"""Exit codes as in env(1)."""
_PASSED_ON: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_STOPPED_BY_TERMINAL: Final = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""Whoever stops it by SIGSTOP lets it go on, too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The environment of a start. Plans with equal variables are equal: a restart would change nothing.

    variables     those of the map
    environment   these and all others
    """

    variables: Mapping[str, str] = field(repr=False)
    version: int = field(compare=False)
    environment: Mapping[bytes, bytes] = field(compare=False, repr=False)


Event: TypeAlias = "Callable[[float], Sequence[Start[Plan] | Send | End]]"


class Supervisor:
    """Runs a command until it ends for good. `changed` may be called by any thread."""

    def __init__(self, command: Sequence[str], policy: RestartPolicy[Plan]) -> None:
        self._command, self._policy = command, policy
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._child: _Child | None = None

    def changed(self, plan: Plan) -> None:
        """Take the newest plan."""
        self._events.put(lambda now: self._policy.changed(plan, now))

    def run(self) -> int:
        """Run the command; return the exit code of its last run, or minus the number of the signal that ended it."""
        with self._signals(), _terminal_given_back():
            try:
                return self._run()
            except BaseException:  # otherwise nobody would end the command
                self._send(signal.SIGKILL)
                raise

    def _run(self) -> int:
        code = self._done(self._policy.begin())
        while code is None:
            code = self._done(self._next_event()(time.monotonic()))
            if code is None:
                code = self._done(self._policy.passed(time.monotonic()))
        return code

    def _next_event(self) -> Event:
        deadline = self._policy.deadline
        try:
            return self._events.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0))
        except Empty:
            return self._policy.passed

    def _done(self, actions: "Sequence[Start[Plan] | Send | End]") -> int | None:
        for action in actions:
            match action:
                case Start(plan):
                    self._start(plan)
                case Send(number):
                    self._send(number)
                case End(code):
                    return code
        return None

    def _start(self, plan: Plan) -> None:
        if self._child is not None:
            tell(f"version {plan.version}: the command is started again")
        self._child = _Child(self._command, plan.environment, self._child, self._happened)

    def _send(self, number: int) -> None:
        if self._child is not None:
            self._child.send(number)

    def _happened(self, child: "_Child", what: str, number: int) -> None:
        """Queue an event of a child's thread; ignore it if there is a newer child."""
        self._events.put(lambda _now: self._told(what, number) if child is self._child else [])

    def _told(self, what: str, number: int) -> "Sequence[Start[Plan] | Send | End]":
        if what == "stopped":
            if number == signal.SIGTSTP:
                self._stop_with_it()
            else:
                self._let_use_terminal()
            return []
        return self._policy.ended(number) if what == "ended" else self._policy.gone()

    def _stop_with_it(self) -> None:
        """Stop like the command, which ^Z has stopped, so that the shell shows its prompt; then let both continue."""
        if self._child is not None and _take_terminal(self._child.group, os.getpgrp()):
            os.killpg(os.getpgrp(), signal.SIGTSTP)
            _take_terminal(os.getpgrp(), self._child.group)
            self._child.send(signal.SIGCONT)

    def _let_use_terminal(self) -> None:
        """Let the command go on if it has been stopped for the use of a terminal that it has got since.

        The system may stop it after the SIGCONT that came with the terminal.
        """
        if self._child is not None and _has_terminal(self._child.group):
            self._child.send(signal.SIGCONT)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before: dict[int, Any] = {}
        for number in _PASSED_ON:
            if signal.getsignal(number) != signal.SIG_IGN:  # under nohup, it stays ignored
                before[number] = signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for held, handler in before.items():
                signal.signal(held, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._events.put(lambda now: self._policy.signalled(number, now))


class _Child:
    """One run of the command, in its own process group, so that all its processes are ended with it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[bytes, bytes],
        before: "_Child | None",
        happened: "Callable[[_Child, str, int], None]",
    ) -> None:
        self._happened = happened
        ended, alive = os.pipe()  # `ended` is at its end when no process of the command holds `alive` any more
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                command, env=environment, pass_fds=(alive,), process_group=0
            )
        except OSError as error:
            os.close(ended)
            raise not_started(command, error) from None
        finally:
            os.close(alive)
        self.group = self._process.pid
        if _take_terminal(os.getpgrp() if before is None else before.group, self.group):
            self.send(signal.SIGCONT)  # if it wanted to read before it had the terminal
        threading.Thread(target=self._wait, args=(ended,), name="lamina-command", daemon=True).start()

    def send(self, number: int) -> None:
        """Send a signal to the command and all its processes."""
        with suppress(ProcessLookupError, PermissionError):  # it has just ended, or is another user's
            os.killpg(self.group, number)

    def _wait(self, ended: int) -> None:
        while True:
            _, status = os.waitpid(self.group, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            if os.WSTOPSIG(status) in _STOPPED_BY_TERMINAL:
                self._happened(self, "stopped", os.WSTOPSIG(status))
        self._process.returncode = os.waitstatus_to_exitcode(status)  # otherwise Popen would wait for it again
        self._happened(self, "ended", self._process.returncode)
        with open(ended, "rb") as pipe:
            pipe.read()
        self._happened(self, "gone", 0)


def not_started(command: Sequence[str], error: OSError) -> Refusal:
    """Return the error of a command that does not start, with the exit code of env(1)."""
    code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED
    return Refusal(f"{command[0]} does not start: {error.strerror}", code)


def end_as(code: int) -> int:
    """End by the signal that ended the command, if possible; else return the exit code, as a shell does."""
    if -code in _PASSED_ON and -code != signal.SIGQUIT:  # SIGQUIT would leave a core dump
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)  # this has no effect in the first process of a container
    return code if code >= 0 else 128 - code


def _has_terminal(group: int) -> bool:
    """Return whether a process group is in the foreground of the terminal on stdin."""
    try:
        return os.tcgetpgrp(0) == group
    except OSError:  # no terminal, or not this session's
        return False


def _take_terminal(before: int, after: int) -> bool:
    """Pass the terminal on stdin from one process group to another; return whether the first one had it."""
    if not _has_terminal(before):
        return False
    try:
        # In the background, this raises a signal. It must be blocked: the command would inherit an ignored signal.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            os.tcsetpgrp(0, after)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    except OSError:  # no terminal, or not this session's
        return False
    return True


@contextmanager
def _terminal_given_back() -> Iterator[None]:
    """Return the terminal to this process's group at the end, if it had the terminal at the beginning."""
    had = _has_terminal(os.getpgrp())
    try:
        yield
    finally:
        if had:
            with suppress(OSError):
                _take_terminal(os.tcgetpgrp(0), os.getpgrp())
