"""A whole server within another program, in memory, for the tests of its clients. Knows no client.

It is the real server on a real socket. It differs from app.serving in four parts: its
store is in memory, its outer key too, its clock can be moved, and its calls can be made to fail. It runs on an
event loop and a thread of its own, and leaves the program alone: it uses no signals, no
configuration of logs, no environment and no working directory.

    server = EmbeddedServer()
    server.start()          # lamina.connect(server.target) reaches it
    server.stop()           # refuses connections, and keeps what was committed
    server.start()          # answers again, at the same address
    server.close()

A closed one has an admin before it starts, whose token is `admin_token`.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from lamina_server.access import tokens
from lamina_server.app import Application
from lamina_server.commits.clock import system_now_us
from lamina_server.commits.decide import perform
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.commands import CommitCommand
from lamina_server.domain.planning import Author, MapLimits
from lamina_server.domain.records import Change, RequestKey
from lamina_server.domain.values import Value
from lamina_server.secrets.outer import LocalKey
from lamina_server.settings import MIB, Settings
from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from lamina_server.testing.failures import FaultInjector

ADMIN = "lamina.testing"
"""The name of the token with which the test's own wishes are carried out on a closed server."""
MICROSECONDS = 1_000_000
STOP_GRACE_SECONDS = 0.2
"""Calls end within milliseconds of being asked to. Cut off at once, each would have gRPC print a line to stderr."""

T = TypeVar("T")


class MovableClock:
    """The system's clock, which can be moved ahead. Threads may share it."""

    def __init__(self) -> None:
        self._ahead_us = 0

    def now_us(self) -> int:
        """Return the time in microseconds since the epoch."""
        return system_now_us() + self._ahead_us

    def advance(self, seconds: float) -> None:
        """Move it ahead. Raise ValueError for a negative time: a server's versions never go back in time."""
        if not seconds >= 0:
            raise ValueError(f"a clock cannot go back: {seconds} s")
        self._ahead_us += round(seconds * MICROSECONDS)


class EmbeddedServer:
    """One server. Its methods block; any thread may call them, one at a time.

    target       where clients reach it, once it has been started; it never changes
    clock        the clock that versions are dated by
    failures     the faults that calls end with
    admin_token  of a closed server: the token of a principal who may do everything; empty if it is open
    """

    def __init__(self, *, is_closed: bool = False) -> None:
        self.target = ""
        self.admin_token = ""
        self.clock = MovableClock()
        self.failures = FaultInjector()
        self._store = MemoryStore()
        self._outer = LocalKey.random()
        if is_closed:
            self.admin_token = _make_admin(self._store)
        self._application: Application | None = None
        self._held: socket.socket | None = None
        self._access_swapped = asyncio.Event()
        self._loop = asyncio.SelectorEventLoop()  # whatever the program's own loops are
        # A daemon, so that a program that forgets to close it ends all the same.
        self._thread = threading.Thread(target=self._loop.run_forever, name="lamina-server", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Return whether it can be used: not after `close`, and not in a forked process."""
        return self._thread.is_alive()

    @property
    def is_down(self) -> bool:
        """Return whether it was stopped, and not started again."""
        return self._held is not None

    def start(self) -> None:
        """Listen and answer: the first time on a free port of this machine, later on the same port."""
        self._release()
        self._do(self._start())

    def stop(self) -> None:
        """End all calls and connections, finish the commits that have begun, and refuse new ones. Keeps the port."""
        self._do(self._stop())
        self._held = _hold(self.target)

    @staticmethod
    def make_token() -> tuple[str, str, bytes]:
        """Make a token: its id, its whole text, and the SHA-256 of its secret. The server does not know it yet."""
        return tokens.make()

    def wait_for_access(self, version: int) -> None:
        """Wait until this version of `_lamina/access`, or a later one, decides who may do what."""
        self._do(self._follow_access(version))

    def close(self) -> None:
        """End it for good."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._release()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        if not self.is_running:
            work.close()
            raise RuntimeError("this server is closed, or belongs to the process that this one was forked from")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        # Not Settings(): it would read the program's environment.
        listen = self.target or "127.0.0.1:0"
        settings = Settings.model_construct(
            listen=listen,
            stop_grace_seconds=STOP_GRACE_SECONDS,
            access="closed" if self.admin_token else "open",
        )
        application = Application(
            settings, self._store, now_us=self.clock.now_us, outer=self._outer, interceptors=[self.failures]
        )
        application.access.call_on_swap(self._access_swapped.set)
        self.target = await application.start()
        self._application = application

    async def _follow_access(self, version: int) -> None:
        while self._application is not None and self._application.access.current.version < version:
            self._access_swapped.clear()
            await self._access_swapped.wait()

    async def _stop(self) -> None:
        application, self._application = self._application, None
        if application is not None:
            await application.stop()

    async def _end(self) -> None:
        await self._stop()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _make_admin(store: Store) -> str:
    """Commit the first version of `_lamina/access`, with one admin; return the admin's token."""
    token_id, text, sha256 = tokens.make()
    values = {
        f"tokens/{token_id}": {"name": ADMIN, "sha256": sha256.hex()},
        f"grants/token:{ADMIN} **": {"role": "admin", "reveal": True},
    }
    changes = tuple(Change(key, Value.of_json(json.dumps(value))) for key, value in sorted(values.items()))
    command = CommitCommand(
        ACCESS_CONFIG, 0, b"", changes, (), "the first admin", author=Author("lamina-server"), require_base=True
    )
    request = RequestKey("", "the first admin", command.digest())
    with store.write() as writing:
        perform(writing, request, command, now_us=system_now_us(), limits=MapLimits(keys=2, size_bytes=MIB))
    return text


def _hold(target: str) -> socket.socket:
    """Reserve a port. It is bound, so no other program gets it, and not listened on, so it refuses connections."""
    host, _, port = target.rpartition(":")
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((host, int(port)))
    return held
