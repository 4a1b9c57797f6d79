"""A last-known-good file that many processes write, some of which are killed."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from lamina._live.cache import Cache
from tests.client.live_helpers import SECONDS
from tests.client.served.test_cache import TARGET, entries, loaded

VERSIONS = 60


def write(folder: Path, seed: int, ready: Connection) -> None:
    """Write versions in a random order, again and again."""
    cache, dice = Cache(str(folder), TARGET), random.Random(seed)
    ready.send(None)
    for newest in range(1, VERSIONS + 1):
        for number in (newest - dice.randrange(5), newest, newest - dice.randrange(5)):
            cache.keep(entries(max(number, 1), keys=500), time.time())


@pytest.mark.parametrize("killed", [False, True])
def test_many_processes_can_share_one_file(tmp_path: Path, *, killed: bool) -> None:
    """P18: each read finds a whole version, and never an older one than the read before; also when writers die."""
    cache = Cache(str(tmp_path / "cache"), TARGET)
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe(duplex=False) for _ in range(2)]
    writers = [spawn.Process(target=write, args=(tmp_path / "cache", n, pipe[1])) for n, pipe in enumerate(pipes)]
    for writer in writers:
        writer.start()
    for pipe in pipes:
        assert pipe[0].poll(SECONDS)
    seen = [0]
    while any(writer.is_alive() for writer in writers):
        seen.append(loaded(cache))
        assert seen[-1] >= seen[-2]
        if killed and seen[-1] > VERSIONS // 3:
            for writer in writers[1:]:
                os.kill(writer.pid or 0, signal.SIGKILL)
                writer.join()
            killed = False
    for writer in writers:
        writer.join()
    assert loaded(cache) == VERSIONS
    assert len(set(seen)) > 3, "too few were seen to show anything"
