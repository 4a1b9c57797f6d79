"""Processes that increment one key by transactions while servers are killed: no increment may be lost or doubled.

    python -m tests.faults.counting --target localhost:7440 --config count --times 100

is one of these processes; each count that was acknowledged is one byte on its standard output.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import lamina
from tests.faults.nemesis import running
from tests.faults.watches.torture import Order, Outcome
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

CONFIG, KEY = "count", "n"
PROCESSES, TIMES, KILLS = 50, 100, 5
"""Of the long form."""
TIMEOUT_SECONDS = 10.0
END_SECONDS = 600.0
"""Far more than any run takes, so that a process which is still running then must be hanging."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The result of a run: the number in the end, how many versions made it, and how many answers were lost.

    open  how often no answer came within the timeout of a call, so that a process had to ask again
    """

    counted: int
    versions: int
    open: int


def run(servers: Sequence[ServerProcess], *, processes: int, times: int, kills: int, seed: int = 0) -> Counts:
    """Have processes count, and kill servers meanwhile, at counts that are drawn."""
    dice, target = random.Random(seed), ",".join(server.target for server in servers)
    with lamina.connect(target, timeout=TIMEOUT_SECONDS) as client, ExitStack() as stack:
        client.config(CONFIG, create=True).transact(lambda draft: draft.setdefault(KEY, 0))
        command = [sys.executable, "-m", "tests.faults.counting", "--target", target, "--times", str(times)]
        pipe, written = os.pipe()
        counting = [stack.enter_context(subprocess.Popen(command, stdout=written)) for _ in range(processes)]
        os.close(written)
        opened, due = 0, sorted(dice.sample(range(1, processes * times), kills))
        counted = 0
        while data := os.read(pipe, 1):
            counted += data == b"."
            opened += data == b"?"
            if due and counted >= due[0]:
                due.pop(0)
                server = dice.choice(servers)
                server.kill()
                server.restart()
        os.close(pipe)
        codes = [process.wait(END_SECONDS) for process in counting]
        assert not any(codes), f"processes ended with {codes}"
        assert not due, f"{len(due)} kills were not carried out"
        config = client.config(CONFIG)
        changes = list(config.history(KEY))
        assert [change.value for change in changes] == list(range(len(changes)))
        return Counts(config[KEY], config.version - 1, opened)


def _on_sqlite(order: Order) -> Outcome:
    with running([ServerProcess(order.url)], order.folder) as servers:
        return _outcome(servers, order)


def _on_postgresql(order: Order) -> Outcome:
    with Postgres.start() as postgres:
        url = postgres.new_database()
        with running([ServerProcess(url), ServerProcess(url)], order.folder) as servers:
            return _outcome(servers, order)


TRIALS: Mapping[str, Callable[[Order], Outcome]] = {"count-sqlite": _on_sqlite, "count-postgresql-2": _on_postgresql}


def _outcome(servers: Sequence[ServerProcess], order: Order) -> Outcome:
    began = time.monotonic()
    counts = run(servers, processes=PROCESSES, times=TIMES, kills=KILLS, seed=order.seed)
    order.on_fault(counts.counted)
    expected = PROCESSES * TIMES
    figures = {
        "processes, each so many times": f"{PROCESSES}, {TIMES}",
        "counted": f"{counts.counted:,}",
        "versions": f"{counts.versions:,}",
        "kills of a server": f"{KILLS}",
        "answers that did not come": f"{counts.open:,}",
        "seconds": f"{time.monotonic() - began:.0f}",
    }
    is_exact = counts.counted == counts.versions == expected
    return Outcome(figures, [] if is_exact else [f"{expected:,} were to be counted"])


def count(config: Any, times: int) -> None:
    """Count so many times, through all errors."""
    for _ in range(times):
        is_open = False
        while True:
            try:
                if is_open:
                    config.commit()
                else:
                    config.transact(_increment)
                break
            except lamina.UnavailableError as error:
                is_open = is_open or error.request_id is not None
                _say(b"?")
            except lamina.ConflictError:  # the open commit was not written
                config.discard()
                is_open = False
        _say(b".")


def _increment(draft: Any) -> None:
    draft[KEY] += 1


def _say(data: bytes) -> None:
    os.write(sys.stdout.fileno(), data)


def main() -> None:
    """Count as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--times", type=int, required=True)
    options = parser.parse_args()
    with lamina.connect(options.target, timeout=TIMEOUT_SECONDS) as client:
        while True:
            try:
                config = client.config(CONFIG)
                break
            except lamina.UnavailableError:
                continue
        count(config, options.times)


if __name__ == "__main__":
    main()
