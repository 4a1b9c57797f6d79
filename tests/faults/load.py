"""Clients that commit to one config, read it and watch it until they must stop. Knows no fault.

They run in a process of their own, so that the test cannot disturb their records:

    python -m tests.faults.load --config shop/prod --target localhost:7440 --folder DIR --clients 8 --seed 1

It writes one byte to its standard output for each acknowledged commit. It stops when its standard input ends.
"""

import argparse
import os
import random
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from tests.faults.clients import Answer, Client, Intent
from tests.faults.histories import Outcome, Recorder

OWN_KEYS, SHARED_KEYS = 4, 16
READS, DISJOINT, SAME_KEYS = 0.25, 0.70, 0.85
"""Bounds of a drawn number: below the first a client reads, below the second it commits to its own keys, below the
third to its own and shared keys, and otherwise to a shared key with a required base."""
LEFT_OPEN = 0.3
"""The probability that a client leaves a commit without an answer to be resolved at the end."""
PAUSE_SECONDS = 0.01, 0.2
"""The pause between two attempts, so that a database that is gone is not asked all the time."""


class Worker:
    """The calls of one client, one after the other."""

    def __init__(self, client: Client, dice: random.Random, stop: threading.Event) -> None:
        self._client = client
        self._name = client.name
        self._dice = dice
        self._stop = stop
        self._count = 0

    def run(self) -> None:
        """Make calls until `stop` is set."""
        while not self._stop.is_set():
            if self._dice.random() < READS:
                self._read()
            else:
                self._commit(self._intent())

    def _intent(self) -> Intent:
        self._count += 1
        request = f"{self._name}-{self._count}"
        own, shared = f"{self._name}/{self._dice.randrange(OWN_KEYS)}", f"shared/{self._dice.randrange(SHARED_KEYS)}"
        kind = READS + self._dice.random() * (1 - READS)
        if kind < DISJOINT:
            return Intent(request, {own: request, f"{self._name}/count": request}, base=self._client.known)
        if kind < SAME_KEYS:
            return Intent(request, {shared: request, own: request})
        return Intent(request, {shared: request}, base=self._client.known, require=True)

    def _commit(self, intent: Intent) -> None:
        """Try until the answer is definite, or leave the commit open."""
        while True:
            answer = self._client.commit(intent)
            if answer.outcome is Outcome.OK:
                os.write(sys.stdout.fileno(), b".")
            if answer.outcome is not Outcome.INDETERMINATE:
                break
            if self._stop.wait(self._dice.uniform(*PAUSE_SECONDS)) or self._dice.random() < LEFT_OPEN:
                break
        if answer.outcome is not Outcome.OK:
            self._read()  # for another base
        if answer.reason == "DISK_FULL":
            self._stop.wait(self._dice.uniform(*PAUSE_SECONDS))

    def _read(self) -> None:
        answer = self._client.read(f"shared/{self._dice.randrange(SHARED_KEYS)}")
        if answer.outcome is not Outcome.OK:
            self._stop.wait(self._dice.uniform(*PAUSE_SECONDS))


def watch(client: Client, dice: random.Random, stop: threading.Event) -> None:
    """Watch the config through every cut, until `stop` is set or the server refuses the cursor."""
    answer = Answer(Outcome.INDETERMINATE)
    while answer.outcome is not Outcome.REFUSED:
        answer = client.watch()
        if stop.wait(dice.uniform(*PAUSE_SECONDS)):
            return


def main(arguments: Sequence[str] | None = None) -> None:
    """Run some clients and watchers until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--target", required=True, action="append", help="the clients begin with different ones")
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--name", default="c", help="the beginning of these clients' names")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--watchers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with ThreadPoolExecutor(options.clients + options.watchers) as threads:
        stop = threading.Event()
        clients = [make(options, number) for number in range(options.clients)]
        watchers = [make(options, number, "-watcher") for number in range(options.watchers)]
        working = [threads.submit(Worker(client, dice_of(options, client), stop).run) for client in clients]
        watching = [threads.submit(watch, watcher, dice_of(options, watcher), stop) for watcher in watchers]
        sys.stdin.buffer.read()
        stop.set()
        wait(working)
        for watcher in watchers:
            watcher.cancel()
        for done in [*working, *watching]:
            done.result()
        for client in [*clients, *watchers]:
            client.close()


def make(options: argparse.Namespace, number: int, kind: str = "") -> Client:
    """Make one client; `kind` is a part of its name."""
    targets: list[str] = options.target
    turn = number % len(targets)
    recorder = Recorder(options.folder, f"{options.name}{kind}{number}")
    return Client(options.config, [*targets[turn:], *targets[:turn]], recorder)


def dice_of(options: argparse.Namespace, client: Client) -> random.Random:
    """Return a client's random numbers: the same for the same seed."""
    return random.Random(f"{options.seed} {client.name}")


if __name__ == "__main__":
    main()
