"""Records the statements to databases, from SQLAlchemy and from the store's prepared statements on the driver."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from sqlalchemy import Engine, event

from lamina_server.rpc import readiness
from lamina_server.store.sql.prepared import Numbered, Prepared, PreparedInsert


class Said(NamedTuple):
    """One statement, with its parameters and its thread."""

    statement: str
    parameters: Any
    thread: threading.Thread


@contextmanager
def said() -> Iterator[list[Said]]:
    """Record all statements to all databases, from all threads, while the block lasts.

    Not those with which a server asks from time to time whether its database takes commits.
    """
    noted: list[Said] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if threading.current_thread().name != readiness.NAME:
            noted.append(Said(statement, parameters, threading.current_thread()))

    def noting(bind: Callable[[Prepared, Any], Any]) -> Callable[[Prepared, Any], Any]:
        def noted_bind(prepared: Prepared, parameters: Any) -> Any:
            bound = bind(prepared, parameters)
            note(None, None, prepared.text, bound)
            return bound

        return noted_bind

    statements = PreparedInsert.statements

    def noted_statements(prepared: PreparedInsert, rows: Iterable[Any]) -> Iterator[Numbered]:
        for text, numbered in statements(prepared, rows):
            note(None, None, text, numbered)
            yield text, numbered

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with (
            patch.object(Prepared, "_bind", noting(Prepared._bind)),
            patch.object(PreparedInsert, "statements", noted_statements),
        ):
            yield noted
    finally:
        event.remove(Engine, "before_cursor_execute", note)
