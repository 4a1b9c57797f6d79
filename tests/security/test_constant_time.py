"""How long a token's check takes tells nothing about a token."""

import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from lamina_server.access import tokens
from lamina_server.domain.access import Access, Token
from lamina_server.domain.errors import ServerError

CHECKS = 50_000
LIMIT = 4.5
"""Of |t|: the usual bound for a leak of time."""
KEPT = 0.8
"""The slowest checks are those in which the machine did something else."""
MEASUREMENTS, ROUNDS = 3, 9
"""Each round measures a part of the checks. A leak shows in most of them, and has the same sign; the noise of a busy
machine does neither. (A median, because the best or the worst of them would hide a leak, or invent one.)"""


def other(character: str) -> str:
    return "A" if character != "A" else "B"


def took_ns(check: Callable[[str], object], given: str) -> int:
    copied = given[:1] + given[1:]  # where it lies in memory, and since when, has no part in it
    begun = time.perf_counter_ns()
    with suppress(ServerError):
        check(copied)
    return time.perf_counter_ns() - begun


def yuen(one: list[int], two: list[int]) -> float:
    """Return Yuen's t of two samples: Welch's, without their slowest parts, whose number counts in the variance."""
    means, errors = [], []
    for sample in map(sorted, (one, two)):
        kept = int(len(sample) * KEPT)
        means.append(statistics.fmean(sample[:kept]))
        winsorized = sample[:kept] + [sample[kept - 1]] * (len(sample) - kept)
        errors.append(statistics.variance(winsorized) * len(sample) / kept**2)
    return (means[0] - means[1]) / math.sqrt(sum(errors))


def difference(check: Callable[[str], object], one: Sequence[str], two: Sequence[str]) -> float:
    """Return the t of the checks of two kinds, which take turns in a random order: each is first as often."""
    order = [number % 2 for number in range(len(one))]
    random.shuffle(order)
    samples: tuple[list[int], list[int]] = ([], [])
    gc.disable()
    try:
        for first, pair in zip(order, zip(one, two, strict=True), strict=True):
            for which in (first, 1 - first):
                samples[which].append(took_ns(check, pair[which]))
    finally:
        gc.enable()
    return yuen(*samples)


def leak(check: Callable[[str], object], one: Sequence[str], two: Sequence[str]) -> float:
    """Return t: the median of some measurements, each the median of its rounds, scaled to all its checks at once."""
    measured = []
    for _ in range(MEASUREMENTS):
        rounds = [difference(check, one[first::ROUNDS], two[first::ROUNDS]) for first in range(ROUNDS)]
        measured.append(statistics.median(rounds) * math.sqrt(ROUNDS))
    return statistics.median(measured)


class Tokens:
    """Tokens that are wrong in one way each, 25,000 of each way, and the access that knows the right ones."""

    def __init__(self) -> None:
        made = [tokens.make() for _ in range(100)]
        self.access = Access(tokens={token_id: Token(token_id, "one", sha256) for token_id, _, sha256 in made})
        self.texts = {text.split("_")[1]: text.split("_", 2)[2] for _, text, _ in made}
        self.wrong_first, self.wrong_last, self.unknown_id = [], [], []
        for number in range(CHECKS // 2):
            token_id, text, _ = made[number % len(made)]
            secret = text.split("_", 2)[2]
            self.wrong_first.append(f"lamina_{token_id}_{other(secret[0])}{secret[1:]}")
            self.wrong_last.append(f"lamina_{token_id}_{secret[:-1]}{other(secret[-1])}")
            self.unknown_id.append(f"lamina_{token_id[::-1]}_{secret}")

    def check(self, text: str) -> Token:
        return tokens.find(text, self.access, 0)

    def check_letters(self, text: str) -> None:
        """Check as a server would that leaks: letter by letter, until one is wrong."""
        _, token_id, secret = text.split("_", 2)
        for given, right in zip(secret, self.texts.get(token_id, secret), strict=False):
            if given != right:
                return

    def check_id_first(self, text: str) -> None:
        """Check as a server would that leaks: an unknown id is refused before anything is computed."""
        token_id = text.split("_", 2)[1]
        if token_id in self.access.tokens:
            self.access.token(*tokens.parse(text) or ("", b""))


@pytest.fixture(scope="module")
def made() -> Tokens:
    return Tokens()


def test_the_time_of_a_check_tells_nothing(made: Tokens) -> None:
    """Test 4: 50,000 checks, a wrong first byte against a wrong last, a known id against an unknown one."""
    assert abs(leak(made.check, made.wrong_first, made.wrong_last)) < LIMIT
    assert abs(leak(made.check, made.wrong_first, made.unknown_id)) < LIMIT


def test_a_check_that_leaks_is_found(made: Tokens) -> None:
    """The same measurement finds both leaks, on tokens of the same length."""
    assert leak(made.check_letters, made.wrong_first, made.wrong_last) < -LIMIT
    assert leak(made.check_id_first, made.unknown_id, made.wrong_first) < -LIMIT


def steps(check: Callable[[str], object], text: str) -> list[tuple[str, int]]:
    """Return each instruction of Python that a check carries out: its function, and where it is."""
    found: list[tuple[str, int]] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode":
            found.append((frame.f_code.co_qualname, frame.f_lasti))
        return trace

    before = sys.gettrace()
    gc.disable()  # other libraries' callbacks of a collection would be counted, too
    sys.settrace(trace)
    try:
        with suppress(ServerError):
            check(text)
    finally:
        sys.settrace(before)
        gc.enable()
    return found


def test_a_check_does_the_same_whatever_is_wrong(made: Tokens) -> None:
    """Without a clock: the same instructions, for each kind of a wrong token."""
    kinds = (made.wrong_first, made.wrong_last, made.unknown_id)
    first, last, unknown = ([steps(made.check, text) for text in kind[:100]] for kind in kinds)
    assert len(first[0]) > 20
    assert first == last == unknown
    assert steps(made.check_letters, made.wrong_first[0]) != steps(made.check_letters, made.wrong_last[0])
    assert steps(made.check_id_first, made.wrong_first[0]) != steps(made.check_id_first, made.unknown_id[0])
