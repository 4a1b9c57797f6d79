"""When a command is restarted, asked to end and killed: a state machine without a clock or a process.

    changed -> (jitter) -> Send(TERM) -> (grace) -> Send(KILL) -> ended, gone -> Start(the newest plan)

A plan is what the command is started with; equal plans need no restart. Changes during the jitter or the grace period
are not queued: the newest plan wins. If the command ends by itself, or after a signal that asks for the end, it is not
restarted.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, TypeVar

Plan = TypeVar("Plan")

ENDING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGQUIT})
"""These signals ask for the end. The command decides what others, such as SIGHUP, mean."""


@dataclass(frozen=True, slots=True)
class Start(Generic[Plan]):
    """Start the command."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Send:
    """Send a signal to the command and all its processes."""

    number: int


@dataclass(frozen=True, slots=True)
class End:
    """End, with the command's exit code, or minus the number of the signal that ended it."""

    code: int


class _State(Enum):
    RUNNING = auto()
    PLANNED = auto()
    """A restart waits for its moment."""
    STOPPING = auto()
    """To be started again."""
    LEAVING = auto()
    """Not to be started again."""


class RestartPolicy(Generic[Plan]):
    """Decides. `passed` must be called at `deadline` at the latest; if that is None, after the next event.

    `jitter` returns the seconds that a restart waits, so that a fleet does not restart at once.
    """

    def __init__(self, plan: Plan, *, number: int, grace_seconds: float, jitter: Callable[[], float]) -> None:
        self.deadline: float | None = None
        self._number, self._grace_seconds, self._jitter = number, grace_seconds, jitter
        self._running = self._newest = plan
        self._state = _State.RUNNING
        self._code: int | None = None
        self._killed = False

    def begin(self) -> "list[Start[Plan] | Send | End]":
        """Start it for the first time."""
        return [Start(self._running)]

    def changed(self, plan: Plan, now: float) -> "list[Start[Plan] | Send | End]":
        """Take the newest plan."""
        self._newest = plan
        if self._state is _State.RUNNING and plan != self._running:
            self._state, self.deadline = _State.PLANNED, now + self._jitter()
        elif self._state is _State.PLANNED and plan == self._running:
            self._state, self.deadline = _State.RUNNING, None  # the change was undone in time
        return []

    def signalled(self, number: int, now: float) -> "list[Start[Plan] | Send | End]":
        """Pass a signal on; a signal that asks for the end begins the grace period, unless it has begun already."""
        if number in ENDING and self._state is not _State.LEAVING:
            if self._state is not _State.STOPPING:
                self.deadline = now + self._grace_seconds
            self._state = _State.LEAVING
        return [Send(number)]

    def ended(self, code: int) -> "list[Start[Plan] | Send | End]":
        """Note that the command has ended. Programs that it started may still run."""
        if self._state in {_State.RUNNING, _State.PLANNED}:
            return [End(code)]
        self._code = code
        return self._next() if self._killed else []

    def gone(self) -> "list[Start[Plan] | Send | End]":
        """Note that all programs that it started have ended too."""
        return [] if self._code is None else self._next()

    def passed(self, now: float) -> "list[Start[Plan] | Send | End]":
        """Return the actions that are due."""
        if self.deadline is None or now < self.deadline:
            return []
        if self._state is _State.PLANNED:
            self._state, self.deadline = _State.STOPPING, now + self._grace_seconds
            return [Send(self._number)]
        self._killed, self.deadline = True, None
        kill = Send(signal.SIGKILL)
        # After the kill, it waits only for the command itself: a program that has left the group may run for ever.
        return [kill] if self._code is None else [kill, *self._next()]

    def _next(self) -> "list[Start[Plan] | Send | End]":
        assert self._code is not None
        if self._state is _State.LEAVING:
            return [End(self._code)]
        self._state, self._running = _State.RUNNING, self._newest
        self._code, self._killed, self.deadline = None, False, None
        return [Start(self._running)]
