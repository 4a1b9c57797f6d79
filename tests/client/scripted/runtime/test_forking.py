"""What makes a client survive a fork: the lock and the gate. The fork itself is in served/test_breaks.py."""

import subprocess
import sys
import threading

import pytest

from lamina._runtime import forking
from lamina._runtime.forking import ForkGate

FORKING = """
import os, threading
from lamina._runtime.forking import ForkSafeLock

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
    """Also where another thread of the parent held it at that moment."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("7\n", "")


class TestGate:
    """One thread inside, and a fork that waits for it."""

    def test_who_is_inside_is_asked_out_and_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forking, "SETTLING_SECONDS", 0.0)
        asked, entered, left = threading.Event(), threading.Event(), []
        gate = ForkGate(asked.set)

        def call() -> None:
            with gate:
                entered.set()
                asked.wait(10)
                left.append("left")

        thread = threading.Thread(target=call)
        thread.start()
        assert entered.wait(10)
        gate.shut()
        assert left == ["left"]
        thread.join()

    def test_nobody_comes_in_before_it_is_open_again(self) -> None:
        gate, order = ForkGate(lambda: None), []

        def call() -> None:
            with gate:
                order.append("in")

        gate.shut()
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(0.05)
        order.append("open")
        gate.open()
        thread.join()
        assert order == ["open", "in"]

    def test_where_nobody_is_inside_nobody_is_asked(self) -> None:
        gate = ForkGate(lambda: pytest.fail("channels need not be closed"))
        gate.shut()
        gate.open()

    def test_a_fork_does_not_wait_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forking, "LEAVING_SECONDS", 0.01)
        gate = ForkGate(lambda: None)
        with gate:
            gate.shut()
            gate.open()

    def test_a_child_finds_it_open_and_empty(self) -> None:
        gate = ForkGate(lambda: pytest.fail("nobody is inside"))
        gate.__enter__()  # a thread that does not come along
        gate._shut = True
        gate.renew()
        with gate:
            pass
        gate.shut()
        gate.open()
