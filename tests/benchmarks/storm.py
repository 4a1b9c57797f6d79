"""Many callers that commit to one config without a pause, in a process of their own that can be halted.

`python -m tests.benchmarks.storm TARGET CONFIG BASE CALLERS` is the process; it prints a line when it has begun.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import grpc

from tests.benchmarks import ours
from tests.benchmarks.measuring import at_once

FOR_EVER = 10**12


class Storm:
    """The process: halted at first. Use it as a context manager."""

    def __init__(self, target: str, config: str, *, base: int, callers: int) -> None:
        words = [target, config, str(base), str(callers)]
        self._program = [sys.executable, "-m", "tests.benchmarks.storm", *words]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._program, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the callers have not begun")
        self._process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # which waits for the end
            self._process.kill()

    @contextmanager
    def raging(self) -> Iterator[None]:
        """Let it go on while the block lasts."""
        self._process.send_signal(signal.SIGCONT)
        yield
        self._process.send_signal(signal.SIGSTOP)


async def _rage(target: str, config: str, base: str, callers: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        calls = ours.callers(channel, config, int(callers), base=int(base))
        await at_once(calls, 1)
        print("begun", flush=True)
        await at_once(calls, FOR_EVER)


if __name__ == "__main__":
    asyncio.run(_rage(*sys.argv[1:]))
