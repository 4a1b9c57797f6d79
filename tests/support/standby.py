"""A synchronous standby that does not exist, so that each COMMIT on the cluster waits until the wait is cancelled."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import psycopg

from tests.support.postgres import Postgres

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
LIMIT_SECONDS = 20.0


class MissingStandby:
    """While the block lasts, the cluster waits for a standby that never answers."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def __enter__(self) -> Self:
        self._name("nobody")
        try:
            self._until_commits_wait()
        except BaseException:
            self._name("")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._name("")

    def until_one_waits(self) -> int:
        """Return the process of a session that waits for the standby."""
        with self._postgres.connect() as session:
            return _first_waiting(session)

    def cancel_one(self) -> None:
        """Cancel the wait of a session, as an operator would."""
        with self._postgres.connect() as session:
            pid = _first_waiting(session)
            session.execute("SELECT pg_cancel_backend(%s)", [pid])

    @contextmanager
    def cancelling(self) -> Iterator[None]:
        """Cancel one wait that begins within the block."""
        with ThreadPoolExecutor(1) as thread:
            cancelled = thread.submit(self.cancel_one)
            yield
            cancelled.result()

    def _name(self, standby: str) -> None:
        with self._postgres.connect() as session:
            session.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'".encode())
            session.execute("SELECT pg_reload_conf()")

    def _until_commits_wait(self) -> None:
        """Commit until a commit waits: the cluster reads its settings a little later."""
        with ThreadPoolExecutor(1) as thread:
            probing = thread.submit(self._commit_until_cancelled)
            self.cancel_one()
            probing.result()

    def _commit_until_cancelled(self) -> None:
        warnings: list[Any] = []
        with self._postgres.connect() as session:
            session.add_notice_handler(warnings.append)
            for _ in _until_limit():
                session.execute("SELECT pg_logical_emit_message(true, 'probe', '')")
                if warnings:
                    return


def _first_waiting(session: psycopg.Connection[Any]) -> int:
    for _ in _until_limit():
        if found := session.execute(WAITING).fetchone():
            return int(found[0])
    raise AssertionError


def _until_limit() -> Iterator[None]:
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        yield
    raise AssertionError(f"it has not happened within {LIMIT_SECONDS:.0f} s")
