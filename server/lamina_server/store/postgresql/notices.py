"""Notices between the servers of one PostgreSQL: what was committed, told by NOTIFY. Knows no table.

The only place that knows the driver's asynchronous side. A notice is sent after its commit,
in a transaction of its own: within the commit it would take an instance-wide lock, and
hold it for as long as a standby takes to answer. So a notice may be lost or late, and
whoever hears one asks the store.

The driver answers a cancelled statement by asking the database to cancel it, and waits for
that: of a frozen backend, for long. So nothing here is cancelled while it waits for an
answer. Its socket is shut down, which ends the waiting at once, whatever the other end does.
"""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Callable, Collection
from contextlib import aclosing, suppress
from typing import Any, NoReturn

import psycopg
from sqlalchemy import URL

from lamina_server.logs import OutageLog
from lamina_server.store.postgresql.sessions import APPLICATION_NAME, Settings, all_arguments, setup

CHANNEL = "lamina_news"
PAYLOAD_LIMIT_BYTES = 7_999
"""PostgreSQL's own. A config's name and an id are far below it."""

PING_INTERVAL_SECONDS = 10.0
PING_TIMEOUT_SECONDS = 5.0
"""A frozen backend, or a network that swallows packets, raises nothing: only an answer shows that somebody is there."""
TELL_TIMEOUT_SECONDS = 5.0

BACKOFF_FIRST_SECONDS, BACKOFF_LIMIT_SECONDS = 0.2, 10.0
"""Between tries, with full jitter: when a database comes back, so do all servers."""

_LISTEN = f"LISTEN {CHANNEL}"
_PING = "SELECT 1"
_TELL = "SELECT count(pg_notify(%s, payload)) FROM unnest(%s::text[]) AS payload"

_LISTENING: Settings = {}
# The transaction that notifies holds a lock that all others need. So it does not wait for a disk or a standby.
_TELLING: Settings = {"synchronous_commit": "off"}

_Connection = psycopg.AsyncConnection[Any]


class PostgresqlNotices:
    """Notices over a database of PostgreSQL."""

    def __init__(
        self,
        url: URL,
        *,
        ping_interval_seconds: float = PING_INTERVAL_SECONDS,
        ping_timeout_seconds: float = PING_TIMEOUT_SECONDS,
        tell_timeout_seconds: float = TELL_TIMEOUT_SECONDS,
        backoff_limit_seconds: float = BACKOFF_LIMIT_SECONDS,
    ) -> None:
        self._url = url
        self._ping_interval_seconds = ping_interval_seconds
        self._ping_timeout_seconds = ping_timeout_seconds
        self._tell_timeout_seconds = tell_timeout_seconds
        self._backoff_limit_seconds = backoff_limit_seconds
        self._me = secrets.token_hex(8)
        self._teller: _Connection | None = None
        self._tell_backoff = self._backoff()
        self._tell_not_before = 0.0
        self._not_told = OutageLog("notices not sent", "notices sent again")
        self._not_heard = OutageLog("notices not heard", "notices heard again")

    async def tell(self, configs: Collection[str]) -> None:
        """Tell the other servers of these configs, all in one statement."""
        if _now() < self._tell_not_before:  # it would come later than what the others find out by themselves
            return
        payloads = [f"{self._me} {config}" for config in configs]
        payloads = [payload for payload in payloads if len(payload.encode()) <= PAYLOAD_LIMIT_BYTES]
        try:
            await self._send(payloads)
        except Exception as error:  # noqa: BLE001 - whatever it is, the commits stand, and the next notice goes anew
            await self.close()
            self._tell_not_before = _now() + self._tell_backoff.next_seconds()
            self._not_told.failed(error)
        else:
            self._tell_backoff = self._backoff()
            self._not_told.recovered()

    async def hear(self, on_listening: Callable[[], None], on_heard: Callable[[str], None]) -> NoReturn:
        """Listen, and listen again after whatever has ended it."""
        backoff = self._backoff()
        while True:
            began = _now()
            try:
                await self._listen(on_listening, on_heard)
            except Exception as error:  # noqa: BLE001 - whatever it is, the poll goes on, and so must this
                self._not_heard.failed(error)
            if _now() - began > self._backoff_limit_seconds:
                backoff = self._backoff()  # it has worked for a while
            await asyncio.sleep(backoff.next_seconds())

    async def close(self) -> None:
        """Close the connection that tells."""
        teller, self._teller = self._teller, None
        if teller is not None:
            await teller.close()

    def _backoff(self) -> "_Backoff":
        return _Backoff(self._backoff_limit_seconds)

    async def _send(self, payloads: list[str]) -> None:
        if self._teller is not None:
            # It may have died since it was last used: that is no outage, as long as another one can be had.
            with suppress(psycopg.Error):
                await _ask(self._teller, self._tell_timeout_seconds, _TELL, [CHANNEL, payloads])
                return
            await self.close()
        self._teller = await self._connect("telling", _TELLING)
        await _ask(self._teller, self._tell_timeout_seconds, _TELL, [CHANNEL, payloads])

    async def _listen(self, on_listening: Callable[[], None], on_heard: Callable[[str], None]) -> NoReturn:
        connection = await self._connect("listening", _LISTENING)
        try:
            await _ask(connection, self._ping_timeout_seconds, _LISTEN)
            self._not_heard.recovered()
            on_listening()
            while True:
                async with aclosing(connection.notifies(timeout=self._ping_interval_seconds)) as notices:
                    async for notice in notices:
                        sender, _, config = notice.payload.partition(" ")
                        if config and sender != self._me:
                            on_heard(config)
                # What is heard meanwhile the driver keeps for the next round.
                await _ask(connection, self._ping_timeout_seconds, _PING)
        finally:
            await connection.close()

    async def _connect(self, what: str, settings: Settings) -> _Connection:
        arguments = all_arguments(self._url, name=f"{APPLICATION_NAME} {what}")
        connection = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
        try:
            await _ask(connection, self._tell_timeout_seconds, setup(connection.info.server_version, settings))
        except BaseException:
            await connection.close()
            raise
        return connection


class _Backoff:
    """How long to wait before the next try."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._limit_seconds = min(BACKOFF_FIRST_SECONDS, longest_seconds)

    def next_seconds(self) -> float:
        """Return a time between nothing and a limit that doubles with each try."""
        seconds = random.uniform(0, self._limit_seconds)  # noqa: S311 - no secret
        self._limit_seconds = min(2 * self._limit_seconds, self._longest_seconds)
        return seconds


async def _ask(connection: _Connection, timeout_seconds: float, statement: Any, parameters: Any = None) -> None:
    """Run a statement and wait for its answer; where none comes in time, or nobody waits, the connection is lost.

    Raises TimeoutError then.
    """
    asking = asyncio.ensure_future(connection.execute(statement, parameters, prepare=False))
    try:
        await asyncio.wait({asking}, timeout=timeout_seconds)
    finally:
        is_late = not asking.done()
        if is_late:
            _shut_down(connection)
            await asyncio.wait({asking})
            asking.exception()  # looked at: it only says that the connection is lost
    if is_late:
        raise TimeoutError
    await asking


def _shut_down(connection: _Connection) -> None:
    """End a connection's socket, so that who waits for it is told; the connection itself is still to be closed."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as ours:
        ours.shutdown(socket.SHUT_RDWR)


def _now() -> float:
    return asyncio.get_running_loop().time()
