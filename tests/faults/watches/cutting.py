"""Faults of the network between watchers and servers. Knows the proxies alone.

Each fault lasts until the next one on the same proxy: nothing here waits.
"""

import random
from collections.abc import Callable, Sequence

from tests.faults.nemesis import Fault
from tests.faults.proxy import BOTH_WAYS, PASS, Mode, Proxy, Way

SHARE = 0.5
CUT_DOWN_BYTES, CUT_UP_BYTES = (500, 300_000), (50, 2_000)
LATENCY_SECONDS, JITTER_SECONDS = 0.05, 0.1


def _passing(_: random.Random) -> Mode:
    return PASS


def _cutting(dice: random.Random) -> Mode:
    return Mode(cut_after_bytes={Way.DOWN: dice.randint(*CUT_DOWN_BYTES), Way.UP: dice.randint(*CUT_UP_BYTES)})


def _slowing(_: random.Random) -> Mode:
    return Mode(latency_seconds=LATENCY_SECONDS, jitter_seconds=JITTER_SECONDS)


def _swallowing(dice: random.Random) -> Mode:
    return Mode(blackholes=dice.choice([{Way.UP}, {Way.DOWN}, BOTH_WAYS]))


def _refusing(_: random.Random) -> Mode:
    return Mode(refuses=True)


_MODES: dict[str, Callable[[random.Random], Mode]] = {
    "reset": _passing,
    "cut after bytes": _cutting,
    "latency": _slowing,
    "blackhole": _swallowing,
    "refused": _refusing,
}


def cuts(proxies: Sequence[Proxy], count: int, dice: random.Random) -> list[Fault]:
    """Return so many faults of all kinds, in a random order; each ends some connections, too."""
    kinds = [name for name, _ in zip(list(_MODES) * count, range(count), strict=False)]
    dice.shuffle(kinds)
    return [_fault(kind, proxies) for kind in kinds]


def _fault(kind: str, proxies: Sequence[Proxy]) -> Fault:
    def strike(dice: random.Random) -> None:
        proxy = dice.choice(proxies)
        proxy.reset_some(SHARE)  # before the switch: the mode so far may hold the connections back
        proxy.switch(_MODES[kind](dice))

    return Fault(kind, strike)
