"""When a command is restarted, asked to end, and killed: the state machine alone, with a clock of the test."""

import signal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamina.cli.processes.restart_policy import End, RestartPolicy, Send, Start

KILL = Send(signal.SIGKILL)
TERM = Send(signal.SIGTERM)


def supervisor(jitter: float = 0, grace: float = 10) -> RestartPolicy[str]:
    made = RestartPolicy("a", number=signal.SIGTERM, grace_seconds=grace, jitter=lambda: jitter)
    assert made.begin() == [Start("a")]
    return made


def test_a_change_restarts_the_command() -> None:
    machine = supervisor()
    assert machine.changed("b", 100) == []
    assert machine.passed(100) == [TERM]
    assert machine.ended(-15) == []  # processes that it started may still run
    assert machine.gone() == [Start("b")]
    assert machine.deadline is None
    assert machine.ended(3) == [End(3)]


def test_a_command_that_does_not_end_within_the_grace_is_killed() -> None:
    machine = supervisor()
    machine.changed("b", 100)
    machine.passed(100)
    assert machine.deadline == 110
    assert machine.passed(109.9) == []
    assert machine.passed(110) == [KILL]
    assert machine.ended(-9) == [Start("b")]  # does not wait for processes that have left the group


def test_processes_that_the_command_left_are_killed() -> None:
    machine = supervisor()
    machine.changed("b", 100)
    machine.passed(100)
    assert machine.ended(0) == []
    assert machine.passed(110) == [KILL, Start("b")]


def test_changes_during_jitter_and_grace_are_one_restart() -> None:
    machine = supervisor(jitter=5)
    machine.changed("b", 100)
    machine.changed("c", 104)
    assert machine.passed(104.9) == []
    assert machine.passed(105) == [TERM]
    machine.changed("d", 106)
    machine.changed("e", 107)
    machine.ended(0)
    assert machine.gone() == [Start("e")]
    assert machine.deadline is None


def test_a_change_that_is_reverted_during_the_jitter_restarts_nothing() -> None:
    machine = supervisor(jitter=5)
    machine.changed("b", 100)
    machine.changed("a", 101)
    assert machine.deadline is None
    assert machine.passed(200) == []


def test_a_command_that_ends_during_the_jitter_is_not_restarted() -> None:
    machine = supervisor(jitter=5)
    machine.changed("b", 100)
    assert machine.ended(4) == [End(4)]


def test_a_terminating_signal_ends_the_command() -> None:
    machine = supervisor()
    assert machine.signalled(signal.SIGTERM, 100) == [TERM]
    assert machine.signalled(signal.SIGTERM, 105) == [TERM]
    machine.changed("b", 106)
    assert machine.deadline == 110
    assert machine.passed(110) == [KILL]
    assert machine.ended(-9) == [End(-9)]


def test_a_terminating_signal_during_a_restart_ends_the_command() -> None:
    machine = supervisor()
    machine.changed("b", 100)
    machine.passed(100)
    assert machine.signalled(signal.SIGINT, 105) == [Send(signal.SIGINT)]
    assert machine.deadline == 110  # the grace period has begun already
    machine.ended(-15)
    assert machine.gone() == [End(-15)]


def test_other_signals_are_passed_to_the_command() -> None:
    machine = supervisor()
    assert machine.signalled(signal.SIGHUP, 100) == [Send(signal.SIGHUP)]
    assert machine.deadline is None
    machine.changed("b", 101)
    assert machine.passed(101) == [TERM]


class Machine(RuleBasedStateMachine):
    """Any events in any order; the checks use only what can be seen of the command from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.machine = RestartPolicy("0", number=signal.SIGTERM, grace_seconds=10, jitter=lambda: 3.0)
        self.newest, self.started, self.asked, self.killed = "0", "", False, False
        self.lives, self.group, self.left, self.over = False, False, False, False
        self.do(self.machine.begin())

    def do(self, actions: list[Start[str] | Send | End]) -> None:
        for action in actions:
            assert not self.over
            if isinstance(action, Start):
                assert not self.lives, "two at once"
                assert not self.left, "started again although the end was asked for"
                assert action.plan == self.newest
                assert not self.group or self.killed
                self.started, self.lives, self.group, self.asked, self.killed = action.plan, True, True, False, False
            elif isinstance(action, Send):
                self.killed |= action.number == signal.SIGKILL
                self.asked |= action.number in {signal.SIGTERM, signal.SIGINT}
            else:
                assert not self.lives
                self.over = True

    @precondition(lambda self: not self.over)
    @rule(plan=st.sampled_from("0123"), seconds=st.floats(0, 12))
    def change(self, plan: str, seconds: float) -> None:
        self.newest = plan
        self.do(self.machine.changed(plan, self.now))
        self.wait(seconds)

    @precondition(lambda self: not self.over)
    @rule(number=st.sampled_from([signal.SIGTERM, signal.SIGHUP]))
    def signal(self, number: int) -> None:
        self.left |= number == signal.SIGTERM
        self.do(self.machine.signalled(number, self.now))

    @precondition(lambda self: not self.over)
    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while not self.over and self.machine.deadline is not None and self.machine.deadline <= end:
            self.now = max(self.now, self.machine.deadline)
            self.do(self.machine.passed(self.now))
        self.now = end

    @precondition(lambda self: self.lives and not self.over)
    @rule()
    def end(self) -> None:
        self.lives = False
        unasked = not self.asked
        self.do(self.machine.ended(0))
        assert self.over or not unasked

    @precondition(lambda self: not self.lives and self.group and not self.over)
    @rule()
    def go(self) -> None:
        self.group = False
        self.do(self.machine.gone())

    @precondition(lambda self: self.over)
    @rule()
    def rest(self) -> None:
        assert self.machine.deadline is None or not self.lives

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Assert that an outdated command has a deadline, or was asked to end."""
        if not self.over and self.newest != self.started:
            assert self.machine.deadline is not None or self.asked or self.killed
        if not self.over and self.asked and not self.killed:
            assert self.machine.deadline is not None


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestMachine = Machine.TestCase
