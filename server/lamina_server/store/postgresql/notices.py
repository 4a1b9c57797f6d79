"""Notices between the servers that share a PostgreSQL database: NOTIFY tells which configs have new versions.

Knows no table. This is the only module that uses the driver's asynchronous side.

A notice is sent after its commit, in a transaction of its own. Within the commit, NOTIFY
would take an instance-wide lock and hold it until a standby has answered. So a notice may
be lost or late, and a server that hears one asks the store.

When a statement is cancelled, the driver asks the database to cancel it and waits for an
answer, which a frozen backend does not give. So no task here is cancelled while it waits
for the database. Its socket is shut down instead, which ends the wait at once.
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

from lamina_server.logs import OutageLog
from lamina_server.store.address import PostgresqlAddress
from lamina_server.store.postgresql.errors import PostgresqlErrors
from lamina_server.store.postgresql.sessions import Settings, connect_arguments, setup
from lamina_server.store.sql.database import caused

CHANNEL = "lamina_news"
PAYLOAD_LIMIT_BYTES = 7_999
"""PostgreSQL's own limit. A config's name and an id are far below it."""

PING_INTERVAL_SECONDS = 10.0
PING_TIMEOUT_SECONDS = 5.0
"""A frozen backend, or a network that drops packets, raises no error. Only an answer shows that it is alive."""
TELL_TIMEOUT_SECONDS = 5.0

BACKOFF_FIRST_SECONDS, BACKOFF_LIMIT_SECONDS = 0.2, 10.0
"""Between tries, with full jitter, because all servers connect again when a database comes back."""

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
        address: PostgresqlAddress,
        *,
        ping_interval_seconds: float = PING_INTERVAL_SECONDS,
        ping_timeout_seconds: float = PING_TIMEOUT_SECONDS,
        tell_timeout_seconds: float = TELL_TIMEOUT_SECONDS,
        backoff_limit_seconds: float = BACKOFF_LIMIT_SECONDS,
    ) -> None:
        self._address = address
        self._errors = PostgresqlErrors(address)
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
        if _now() < self._tell_not_before:  # the others' polls will be sooner
            return
        payloads = [f"{self._me} {config}" for config in configs]
        payloads = [payload for payload in payloads if len(payload.encode()) <= PAYLOAD_LIMIT_BYTES]
        try:
            await self._send(payloads)
        except Exception as error:  # noqa: BLE001 - the commits stand in any case, and the next notice is tried again
            await self.close()
            self._tell_not_before = _now() + self._tell_backoff.next_seconds()
            self._not_told.failed(caused(self._errors.unusable(error), error))
        else:
            self._tell_backoff = self._backoff()
            self._not_told.recovered()

    async def hear(self, on_listening: Callable[[], None], on_heard: Callable[[str], None]) -> NoReturn:
        """Listen until cancelled, and connect again after each error."""
        backoff = self._backoff()
        while True:
            began = _now()
            try:
                await self._listen(on_listening, on_heard)
            except Exception as error:  # noqa: BLE001 - the server polls in any case, and must listen again
                self._not_heard.failed(caused(self._errors.unusable(error), error))
            if _now() - began > self._backoff_limit_seconds:
                backoff = self._backoff()  # it has worked for a while
            await asyncio.sleep(backoff.next_seconds())

    async def ping(self) -> None:
        """Open a session. To set it up takes an answer of its backend: a pooler may accept connections by itself."""
        connection = await self._connect("asking", {})
        await connection.close()

    async def close(self) -> None:
        """Close the connection that tells."""
        teller, self._teller = self._teller, None
        if teller is not None:
            await teller.close()

    def _backoff(self) -> "_Backoff":
        return _Backoff(self._backoff_limit_seconds)

    async def _send(self, payloads: list[str]) -> None:
        if self._teller is not None:
            # It may have died since it was last used. This is no outage if another connection can be opened.
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
                # The driver keeps the notices that arrive meanwhile for the next round.
                await _ask(connection, self._ping_timeout_seconds, _PING)
        finally:
            await connection.close()

    async def _connect(self, what: str, settings: Settings) -> _Connection:
        arguments = connect_arguments(self._address, purpose=what)
        connection = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
        try:
            await _ask(connection, self._tell_timeout_seconds, setup(connection.info.server_version, settings))
        except BaseException:
            await connection.close()
            raise
        return connection


class _Backoff:
    """Chooses the wait before the next try."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._limit_seconds = min(BACKOFF_FIRST_SECONDS, longest_seconds)

    def next_seconds(self) -> float:
        """Return a random time of at most a limit, which doubles with each try."""
        seconds = random.uniform(0, self._limit_seconds)  # noqa: S311 - no secret
        self._limit_seconds = min(2 * self._limit_seconds, self._longest_seconds)
        return seconds


async def _ask(connection: _Connection, timeout_seconds: float, statement: Any, parameters: Any = None) -> None:
    """Run a statement and wait for its answer.

    Raise TimeoutError if none comes in time. The connection is then lost, as it is if the caller is cancelled.
    """
    asking = asyncio.ensure_future(connection.execute(statement, parameters, prepare=False))
    try:
        await asyncio.wait({asking}, timeout=timeout_seconds)
    finally:
        is_late = not asking.done()
        if is_late:
            _shut_down(connection)
            await asyncio.wait({asking})
            asking.exception()  # retrieved, so that asyncio does not log it: the connection is lost
    if is_late:
        raise TimeoutError
    await asking


def _shut_down(connection: _Connection) -> None:
    """Shut down a connection's socket, which ends every wait for it. The connection must still be closed."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as ours:
        ours.shutdown(socket.SHUT_RDWR)


def _now() -> float:
    return asyncio.get_running_loop().time()
