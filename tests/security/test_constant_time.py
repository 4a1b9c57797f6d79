"""How long a token's check takes tells nothing about a token."""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from lamina_server.access import tokens
from lamina_server.domain.access import Access, Token
from lamina_server.domain.errors import ServerError

CHECKS = 50_000
LIMIT = 4.5
"""Of |t|: the usual bound for a leak of time."""
KEPT = 0.8
"""The slowest checks are those in which the machine did something else."""
TRIES = 5
"""A leak shows each time; the noise of a busy machine does not."""
SEED = 20_260_104

T = TypeVar("T")


def other(character: str) -> str:
    return "A" if character != "A" else "B"


def took_ns(check: Callable[[T], object], given: T) -> int:
    str(given).encode()  # where its bytes lie in memory has no part in it
    begun = time.perf_counter_ns()
    with suppress(ServerError):
        check(given)
    return time.perf_counter_ns() - begun


def welch(one: list[int], two: list[int]) -> float:
    """Return Welch's t of two samples, without their slowest parts."""
    kept = [sorted(sample)[: int(len(sample) * KEPT)] for sample in (one, two)]
    means = [statistics.fmean(sample) for sample in kept]
    errors = [statistics.variance(sample, mean) / len(sample) for sample, mean in zip(kept, means, strict=True)]
    return (means[0] - means[1]) / math.sqrt(sum(errors))


def difference(check: Callable[[T], object], one: Sequence[T], two: Sequence[T]) -> float:
    """Return the t of the checks of two kinds, which take turns in a random order."""
    order = random.Random(SEED)
    samples: tuple[list[int], list[int]] = ([], [])
    gc.disable()
    try:
        for pair in zip(one, two, strict=True):
            first = order.random() < 0.5
            for which in (first, not first):
                samples[which].append(took_ns(check, pair[which]))
    finally:
        gc.enable()
    return welch(*samples)


def leaks(check: Callable[[T], object], one: Sequence[T], two: Sequence[T]) -> bool:
    return all(abs(difference(check, one, two)) >= LIMIT for _ in range(TRIES))


def test_the_time_of_a_check_tells_nothing() -> None:
    """Test 4: 50,000 checks, a wrong first byte against a wrong last, a known id against an unknown one."""
    made = [tokens.make() for _ in range(100)]
    access = Access(tokens={token_id: Token(token_id, "one", sha256) for token_id, _, sha256 in made})
    wrong_first, wrong_last, unknown_id = [], [], []
    for number in range(CHECKS // 2):
        token_id, text, _ = made[number % len(made)]
        secret = text.split("_", 2)[2]
        wrong_first.append(f"lamina_{token_id}_{other(secret[0])}{secret[1:]}")
        wrong_last.append(f"lamina_{token_id}_{secret[:-1]}{other(secret[-1])}")
        unknown_id.append(f"lamina_{token_id[::-1]}_{secret}")

    def check(text: str) -> Token:
        return tokens.find(text, access, 0)

    assert not leaks(check, wrong_first, wrong_last)
    assert not leaks(check, wrong_first, unknown_id)


def test_a_check_that_leaks_is_found() -> None:
    """The measurement finds what `==` tells, on texts that are long enough to show it on any machine."""
    secret = "A" * 20_000
    first, last = ["B" + secret[1:]] * (CHECKS // 2), [secret[1:] + "B"] * (CHECKS // 2)
    assert leaks(secret.__eq__, first, last)
