"""The lock and the gate with which a client survives a fork. The fork itself is in served/test_breaks.py."""

import subprocess
import sys
import threading

import pytest

from lamina._runtime.forking import ForkGate, ForkSafeLock

FORKING = f"""
import os, threading
from {ForkSafeLock.__module__} import ForkSafeLock

lock, held, over = ForkSafeLock(), threading.Event(), threading.Event()

def hold():
    with lock:
        held.set()
        over.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    with lock:
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over.set()
thread.join()
"""


def test_a_lock_is_free_in_a_forked_child() -> None:
    """Even if another thread of the parent held it during the fork."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("7\n", "")


class TestGate:
    """One thread inside, and a fork that waits for it."""

    def test_threads_inside_are_interrupted_and_waited_for(self) -> None:
        interrupted, entered, left = threading.Event(), threading.Event(), []
        gate = ForkGate(interrupted.set, settling_seconds=0.0)

        def call() -> None:
            with gate:
                entered.set()
                interrupted.wait(10)
                left.append("left")

        thread = threading.Thread(target=call)
        thread.start()
        assert entered.wait(10)
        gate.close()
        assert left == ["left"]
        thread.join()

    def test_no_thread_enters_a_closed_gate(self) -> None:
        gate, order = ForkGate(lambda: None), []

        def call() -> None:
            with gate:
                order.append("in")

        gate.close()
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(0.05)
        order.append("open")
        gate.open()
        thread.join()
        assert order == ["open", "in"]

    def test_an_empty_gate_interrupts_nothing(self) -> None:
        gate = ForkGate(lambda: pytest.fail("channels need not be closed"))
        gate.close()
        gate.open()

    def test_a_fork_does_not_wait_for_ever(self) -> None:
        gate = ForkGate(lambda: None, leaving_seconds=0.01, settling_seconds=0.0)
        with gate:
            gate.close()
            gate.open()

    def test_a_child_finds_the_gate_open_and_empty(self) -> None:
        interrupted: list[bool] = []
        gate = ForkGate(lambda: interrupted.append(True), leaving_seconds=0.01, settling_seconds=0.0)
        gate.__enter__()  # a thread that the child does not have
        gate.close()
        gate.renew()
        with gate:
            pass
        gate.close()
        gate.open()
        assert interrupted == [True]
