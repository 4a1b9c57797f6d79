"""Many writers of one config, each on a connection of its own: nothing lost or doubled, every conflict named."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pytest

import lamina

WRITERS = 64
COMMITS_EACH = 5
COUNTERS = 50
SEED = 20_261_123

T = TypeVar("T")


@dataclass
class Outcome:
    """One writer's commit, and the answer to it."""

    keys: dict[str, int]
    version: lamina.Version | None
    base: int
    conflicts: dict[str, lamina.Conflict]


def in_parallel(count: int, work: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(count) as threads:
        return [future.result() for future in [threads.submit(work, number) for number in range(count)]]


def test_64_writers_partly_overlapping(target: str, config_name: str) -> None:
    """P3, P4, P6: versions contiguous, disjoint changes merged, conflicts named right, history the sum of diffs."""
    with lamina.connect(target) as client:
        setup = client.config(config_name, create=True)
        setup.update({f"shared-{n}": -1 for n in range(8)})
        setup.commit("before the race")

    def write(writer: int) -> list[Outcome]:
        dice = random.Random(SEED + writer)
        with lamina.connect(target, author=f"writer-{writer}") as client:
            cfg = client.config(config_name)
            return [commit_once(cfg, writer, round_, dice) for round_ in range(COMMITS_EACH)]

    outcomes = [outcome for one in in_parallel(WRITERS, write) for outcome in one]
    with lamina.connect(target) as client:
        check(client.config(config_name), outcomes)


def commit_once(cfg: lamina.Config, writer: int, round_: int, dice: random.Random) -> Outcome:
    """Change a key of one's own and, often, one that others change too; on a conflict, leave it and go on."""
    unique = writer * 1_000 + round_
    keys = {f"own-{writer}": unique}
    if dice.random() < 0.6:
        keys[f"shared-{dice.randrange(8)}"] = unique
    base = cfg.version
    cfg.update(keys)
    try:
        version = cfg.commit(f"round {round_}")
    except lamina.ConflictError as error:
        conflicts = dict(error.conflicts)
        cfg.discard()
        cfg.refresh()
        return Outcome(keys, None, base, conflicts)
    return Outcome(keys, version, base, {})


def check(cfg: lamina.Config, outcomes: list[Outcome]) -> None:
    log = list(cfg.log())[::-1]
    committed = {outcome.version.number: outcome for outcome in outcomes if outcome.version}
    refused = [outcome for outcome in outcomes if outcome.version is None]
    assert [version.number for version in log] == list(range(1, len(committed) + 2))
    assert set(committed) == set(range(2, len(committed) + 2))
    assert refused, "the writers never met: this run shows nothing"

    state: dict[str, object] = {}
    states = [dict(state)]
    for version in log:
        changes = cfg.diff(version.number - 1, version)
        if version.number in committed:
            assert {key: change.new for key, change in changes.items()} == committed[version.number].keys
        state |= {key: change.new for key, change in changes.items()}
        states.append(dict(state))
    assert cfg == state
    for key in state:
        changed = [(change.version, change.value) for change in cfg.history(key)]
        assert changed == [(n, s[key]) for n, s in enumerate(states) if n and s.get(key) != states[n - 1].get(key)]

    for outcome in refused:
        (conflict,) = outcome.conflicts.values()
        assert conflict.key in outcome.keys
        assert conflict.key.startswith("shared-")
        assert conflict.base == states[outcome.base][conflict.key]
        assert conflict.yours == outcome.keys[conflict.key]
        assert conflict.version > outcome.base
        assert conflict.theirs == states[conflict.version][conflict.key]
        assert conflict.author == log[conflict.version - 1].author


def test_50_counters_end_at_exactly_50(target: str, config_name: str) -> None:
    """P6: `cfg["n"] += 1` never loses an update, because what was read and changed is declared as read."""
    with lamina.connect(target) as client:
        setup = client.config(config_name, create=True)
        setup["n"] = 0
        setup.commit("zero")

    def count(_: int) -> int:
        with lamina.connect(target) as client:
            cfg = client.config(config_name)
            for attempt in attempts():
                cfg["n"] += 1
                try:
                    cfg.commit("one more")
                except lamina.ConflictError:
                    cfg.discard()
                    cfg.refresh()
                else:
                    return attempt
            pytest.fail("attempts do not end")

    tries = in_parallel(COUNTERS, count)
    with lamina.connect(target) as client:
        cfg = client.config(config_name)
        assert cfg["n"] == COUNTERS
        assert [change.value for change in cfg.history("n")] == list(range(COUNTERS + 1))
        assert cfg.version == COUNTERS + 1
    assert max(tries) > 1, "nobody met anybody: this run shows nothing"


def attempts() -> Iterator[int]:
    attempt = 0
    while True:
        attempt += 1
        yield attempt
