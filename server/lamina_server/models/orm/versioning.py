"""How an object becomes the next version, and how a rollback restores it. Knows no event.

Worked example: one object in one transaction with a savepoint.

    id 7, version 1       data["x"] = 28, flush:        previous (depth 0, id 7)
    id 8, version 2       savepoint, edit, flush:       previous (depth 0, id 7), (depth 1, id 8)
    id 9, version 3       the savepoint rolls back:     the object is id 8 again
    id 8, version 2       the transaction rolls back:   the object is id 7 again
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, inspect
from sqlalchemy.orm import Session, SessionTransaction, make_transient, make_transient_to_detached

from lamina_server.domain import access_checks
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import ExistsError
from lamina_server.domain.planning import Plan, plan
from lamina_server.domain.records import Version
from lamina_server.models import queries
from lamina_server.models.locking import lock_writers
from lamina_server.models.orm.config_data import ConfigData, Memento
from lamina_server.models.orm.data_map import MAP_LIMITS
from lamina_server.models.orm.errors import StaleVersion
from lamina_server.models.rows import version_of

_PREVIOUS = "lamina.previous"
"""The key in Session.info of the states before the open transaction's flushes, oldest first."""
_DETACHED = "lamina.detached"
"""The key in Session.info of the objects to attach when the next transaction begins."""


@dataclass(frozen=True)
class _Previous:
    """The state of an object before it became a version; `depth` counts the savepoints around that flush."""

    config: ConfigData
    was: Memento
    depth: int


def next_versions(session: Session, configs: Sequence[ConfigData]) -> None:
    """Make each object the next version of its config; the flush under way inserts it.

    Raises StaleVersion, ExistsError, LimitError, or InvalidError for a bad `_lamina/access`, before any object has
    changed.
    """
    connection = session.connection(bind_arguments={"mapper": inspect(ConfigData)})
    lock_writers(connection)
    plans: dict[str, Plan] = {}
    for config in configs:
        if config.config in plans:
            raise ExistsError(config.config)
        plans[config.config] = _plan(config, _head(connection, config.config))
    previous = session.info.setdefault(_PREVIOUS, [])
    depth = _depth(session.get_nested_transaction())
    for config in configs:
        previous.append(_Previous(config, config.memento(), depth))
        if not config.is_first:
            make_transient(config)
        config.become(plans[config.config])
        session.add(config)


def restore_rolled_back(session: Session, transaction: SessionTransaction) -> None:
    """Restore each object to its state before the transaction or savepoint that is rolled back."""
    depth = _depth(transaction)
    previous: list[_Previous] = session.info.get(_PREVIOUS, [])
    oldest: dict[ConfigData, Memento] = {}
    while previous and previous[-1].depth >= depth:
        one = previous.pop()
        oldest[one.config] = one.was
    for config, was in oldest.items():
        if inspect(config).transient:  # otherwise the application has expunged it
            config.restore(was)
            if was.row:
                make_transient_to_detached(config)
                config.remember_session(session)
                session.info.setdefault(_DETACHED, []).append(config)
    if session.in_transaction():  # otherwise attaching an object would begin one
        reattach(session)


def reattach(session: Session) -> None:
    """Attach again the objects that a rollback has detached."""
    for config in session.info.pop(_DETACHED, []):
        if inspect(config).key not in session.identity_map:  # otherwise it stays detached, and an edit raises
            config.reattach()


def forget_committed(session: Session) -> None:
    """Forget the states before a committed transaction; those of a savepoint pass to the transaction around it."""
    depth = _depth(session.get_nested_transaction())
    previous: list[_Previous] = session.info.pop(_PREVIOUS, [])
    if depth:
        session.info[_PREVIOUS] = [replace(one, depth=min(one.depth, depth - 1)) for one in previous]


def _head(connection: Connection, name: str) -> Version | None:
    row = connection.execute(queries.head(), {"config": name}).one_or_none()
    return None if row is None else version_of(row, name)


def _plan(config: ConfigData, head: Version | None) -> Plan:
    if config.is_first:
        if head is not None:
            raise ExistsError(config.config)
    elif head is None or (head.number, head.hash) != (config.version, config.hash):
        raise StaleVersion(config.config, config.version, head.number if head else 0)
    author, message = config.header
    now_us = time.time_ns() // 1000
    if config.config == ACCESS_CONFIG:
        values = {key: entry.value for key, entry in config.data.entries.items()}
        access_checks.check(values, config.data.changes, now_us)
    return plan(
        config.data.changes,
        config=config.config,
        head=head,
        values=config.data.edited_values,
        author=author,
        message=message,
        now_us=now_us,
        limits=MAP_LIMITS,
    )


def _depth(transaction: SessionTransaction | None) -> int:
    depth = 0
    while transaction is not None:
        depth += transaction.nested
        transaction = transaction.parent
    return depth
