"""Programs under gevent's monkey patching, in separate processes: some work, and the others fail with a clear error."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.server import ServerProcess

ALL_VERBS = """
from gevent import monkey; monkey.patch_all()
import gevent, lamina

ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.001)
gevent.spawn(tick)

with lamina.connect(TARGET) as client:
    cfg = client.config(NAME, create=True)
    cfg["x"] = 1
    cfg.commit()
    live = client.live(NAME)
    seen = []
    live.on_change(lambda version: seen.append(version.version))
    cfg["x"] = 2
    live.wait(cfg.commit())
    with cfg.watch(after=0) as watch:
        watched = [next(watch).value, next(watch).value]
    with cfg.watch(timeout=0.05) as watch:
        before = len(ticks)
        silent, meanwhile = list(watch), len(ticks) - before
    readers = [gevent.spawn(lambda: client.config(NAME)["x"]) for _ in range(20)]
    gevent.joinall(readers)
    print(live["x"], watched, silent, meanwhile > 10, {reader.value for reader in readers}, seen)
"""

PATCHED_LATE = """
import lamina
client = lamina.connect(TARGET)
from gevent import monkey; monkey.patch_all()
try:
    client.live(NAME)
except lamina.InvalidError as error:
    print(error)
"""

ASYNCIO = """
from gevent import monkey; monkey.patch_all()
import asyncio
from lamina import aio, InvalidError

async def main():
    async with aio.connect(TARGET) as client:
        await client.config(NAME, create=True)

try:
    asyncio.run(main())
except InvalidError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (ALL_VERBS, "2 [1, 2] [] True {2} [2]"),
        (PATCHED_LATE, "gevent has patched this process after this client was made: connect after monkey.patch_all()"),
        (ASYNCIO, "lamina.aio does not work under gevent's monkey patching: use lamina.connect"),
    ],
    ids=["threads", "patched late", "asyncio"],
)
def test_a_program_under_gevent_works_or_says_why_not(program: str, said: str, server: ServerProcess) -> None:
    script = f"TARGET, NAME = {server.target!r}, 'app'\n{program}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert said in done.stdout, done.stderr
