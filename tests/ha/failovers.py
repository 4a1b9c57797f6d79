"""Faults that take the leader away, until another one leads; and how long committing clients were without one."""

import random
import signal
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from tests.faults.campaign import Result, Struck
from tests.faults.histories import Outcome
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
    commits = (commit for commit in result.history.commits if commit.outcome is Outcome.OK and commit.ended)
    return _pauses(_by_client((commit.client, commit.ended or 0) for commit in commits), result.struck)


def silences(result: Result) -> list[float]:
    """Return for each failover and watcher the longest time between two versions that it received, in seconds."""
    return _pauses(_by_client((seen.client, seen.at) for seen in result.history.seen), result.struck)


def stalled(result: Result) -> Iterator[Violation]:
    """Yield the watchers that received nothing between a fault and the next one, or after the last one."""
    received = _by_client((seen.client, seen.at) for seen in result.history.seen)
    watchers = {watch.client for watch in result.history.watches}
    end = max(times[-1] for times in received.values())
    for number, (begin, until) in enumerate(_windows(result.struck, end), start=1):
        for watcher in watchers:
            times = received.get(watcher, [])
            if bisect_right(times, begin) == bisect_right(times, until):
                yield Violation(Check.IDLE, f"{watcher} after failover {number}")


def _by_client(times: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Return the times of each client, in order."""
    found: dict[str, list[int]] = {}
    for client, moment in sorted(times):
        found.setdefault(client, []).append(moment)
    return found


def _pauses(by_client: Mapping[str, Sequence[int]], struck: Sequence[Struck]) -> list[float]:
    end = max(times[-1] for times in by_client.values())
    return [
        longest / 1e9
        for begin, until in _windows(struck, end)
        for times in by_client.values()
        if (longest := _longest(times, begin, until))
    ]


def _longest(times: Sequence[int], begin: int, end: int) -> int:
    """Return the longest pause that began before `end`, from the last time before `begin` on; 0 if there is none."""
    first, after = bisect_right(times, begin), bisect_right(times, end)
    if not first:
        return 0
    return max((later - earlier for earlier, later in pairwise(times[first - 1 : after + 1])), default=0)


def _windows(struck: Sequence[Struck], end: int) -> Iterator[tuple[int, int]]:
    """Yield the time of each fault with that of the next one, or with the end."""
    yield from pairwise([*(fault.at for fault in struck), end])
