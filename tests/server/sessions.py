"""The sessions for the notices between servers, as an operator sees them, and faults of these sessions."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, text

LISTENING, TELLING = "lamina-server listening", "lamina-server telling"


class Operator:
    """The operator's connection to the cluster, which can kill, refuse and freeze our sessions."""

    def __init__(self, engine: Engine, database: str) -> None:
        self._engine = engine
        self._database = database

    def pids(self, application_name: str) -> list[int]:
        statement = "SELECT pid FROM pg_stat_activity WHERE datname = :database AND application_name = :name"
        return [pid for (pid,) in self._ask(statement, database=self._database, name=application_name)]

    def kill(self, application_name: str) -> None:
        for pid in self.pids(application_name):
            assert self._ask("SELECT pg_terminate_backend(:pid, 5000)", pid=pid) == [(True,)]

    def allow(self, *, is_allowed: bool) -> None:
        """Allow or refuse new sessions."""
        self._ask(f"ALTER DATABASE {self._database} ALLOW_CONNECTIONS {is_allowed}")

    @contextmanager
    def frozen(self, application_name: str) -> Iterator[None]:
        """Freeze a backend, which then neither answers nor ends."""
        (pid,) = self.pids(application_name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _ask(self, statement: str, **parameters: Any) -> list[Any]:
        with self._engine.connect() as connection:
            result = connection.execute(text(statement), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []
