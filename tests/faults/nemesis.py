"""Faults that kill: a server, a backend of its database, the whole database. Knows no history.

Each fault kills at once, and restarts what does not come back by itself, so that a run can go on.
"""

import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

_BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
    " OR (datname = current_database() AND application_name = 'lamina-server') ORDER BY pid"
)
"""The processes that may be writing the database's log. There is always one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. When `strike` returns, its victim is up again, or comes up by itself."""

    name: str
    strike: Callable[[random.Random], None]


def server_kill(servers: Sequence[ServerProcess], *, postgres: Postgres | None = None) -> Fault:
    """Kill one of the servers, and start it again on its port and database."""

    def strike(dice: random.Random) -> None:
        server = dice.choice(servers)
        server.kill()
        if postgres is not None:
            postgres.until_ready()  # a server that finds no database does not start
        server.restart()

    return Fault("server", strike)


def backend_kill(postgres: Postgres, url: str) -> Fault:
    """Kill a backend of a server: the postmaster then ends all others, and recovers, as after any crash."""

    def strike(dice: random.Random) -> None:
        with suppress(ProcessLookupError):
            os.kill(dice.choice(backends(postgres, url)), signal.SIGKILL)

    return Fault("backend", strike)


def backends(postgres: Postgres, url: str) -> list[int]:
    """Return the ids of the processes that write the database's log."""
    database = make_url(url)
    host, user, name = str(database.query["host"]), database.username, database.database
    while True:
        postgres.until_ready()  # it may still have to recover from the fault before
        try:
            with psycopg.connect(host=host, user=user, dbname=name, autocommit=True) as connection:
                return [pid for (pid,) in connection.execute(_BACKENDS)]
        except psycopg.OperationalError:
            continue


def postmaster_kill(postgres: Postgres) -> Fault:
    """Kill the postmaster and start it again on the same data."""

    def strike(_: random.Random) -> None:
        postgres.kill()
        postgres.restart()

    return Fault("postmaster", strike)


def mixture(
    servers: Sequence[ServerProcess], postgres: Postgres, url: str, seed: int, counts: tuple[int, int, int]
) -> list[Fault]:
    """Return so many kills of servers, of backends and of the postmaster, in a random order."""
    kinds = [server_kill(servers, postgres=postgres), backend_kill(postgres, url), postmaster_kill(postgres)]
    faults = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    random.Random(seed).shuffle(faults)
    return faults


@contextmanager
def running(servers: Sequence[ServerProcess], folder: Path) -> Iterator[Sequence[ServerProcess]]:
    """Run servers while the block lasts; their logs go to `folder`."""
    with ExitStack() as stack:
        for number, server in enumerate(servers, start=1):
            server.log_file = folder / f"server-{number}.log"
            stack.enter_context(server)
        yield servers
