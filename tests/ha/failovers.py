"""Faults that take the leader away, until another one leads; and how long committing clients were without one."""

import random
import signal
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from tests.faults.campaign import Result, Struck
from tests.faults.histories import History, Outcome
from tests.faults.nemesis import Fault
from tests.faults.violations import Check, Violation
from tests.ha.cluster import Cluster, send

UNSENT_SECONDS = 1.0
"""How long the leader commits without sending its log to anybody, before it is killed."""


def killed(cluster: Cluster) -> Fault:
    """Kill the leader and its Patroni, and start them again when another one leads."""

    def strike(_: random.Random) -> None:
        leader = cluster.leader()
        leader.kill()
        cluster.until_led_by_another(leader)
        cluster.start(leader)
        cluster.until_whole()

    return Fault("killed", strike)


def frozen(cluster: Cluster) -> Fault:
    """Freeze the leader and its Patroni, and let them go on when another one leads."""

    def strike(_: random.Random) -> None:
        leader = cluster.leader()
        processes = leader.freeze()
        try:
            cluster.until_led_by_another(leader)
        finally:
            send(processes, signal.SIGCONT)
        cluster.until_whole()

    return Fault("frozen", strike)


def cut_off(cluster: Cluster) -> Fault:
    """Kill the leader when its standbys have not got its log for a while: its last commits are on no other machine."""

    def strike(_: random.Random) -> None:
        leader = cluster.leader()
        send(leader.senders(), signal.SIGSTOP)
        time.sleep(UNSENT_SECONDS)
        leader.kill()
        cluster.until_led_by_another(leader)
        cluster.start(leader)
        cluster.until_whole()

    return Fault("cut off", strike)


KINDS: Sequence[Callable[[Cluster], Fault]] = (killed, frozen, cut_off)


def outages(result: Result) -> list[float]:
    """Return for each failover and client the longest time between two of its acknowledged commits, in seconds."""
    ends: dict[str, list[int]] = {}
    for commit in result.history.commits:
        if commit.outcome is Outcome.OK and commit.ended is not None:
            ends.setdefault(commit.client, []).append(commit.ended)
    last = max(time for times in ends.values() for time in times)
    return [
        longest / 1e9
        for fault, until in _windows(result.struck, last)
        for times in ends.values()
        if (longest := _longest(sorted(times), fault.at, until))
    ]


def _longest(times: Sequence[int], begin: int, end: int) -> int:
    """Return the longest pause that began before `end`, from the last time before `begin` on; 0 if there is none."""
    first, after = bisect_right(times, begin), bisect_right(times, end)
    if not first:
        return 0
    return max((later - earlier for earlier, later in pairwise(times[first - 1 : after + 1])), default=0)


def stalled(history: History, struck: Sequence[Struck]) -> Iterator[Violation]:
    """Yield the watchers that received nothing between a failover and the next, or after the last."""
    seen: dict[str, list[int]] = {watch.client: [] for watch in history.watches}
    for one in history.seen:
        seen[one.client].append(one.at)
    last = max(time for times in seen.values() for time in times)
    for number, (fault, until) in enumerate(_windows(struck, last), start=1):
        for watcher, times in seen.items():
            if bisect_right(times, fault.recovered) == bisect_right(times, until):
                yield Violation(Check.IDLE, f"{watcher} after failover {number}")


def _windows(struck: Sequence[Struck], end: int) -> Iterator[tuple[Struck, int]]:
    """Yield each fault with the time of the next one, or of the end."""
    yield from zip(struck, [*(fault.at for fault in struck[1:]), end], strict=True)
