"""How an object that is one version becomes the next, and how a rollback takes it back. Knows no event.

Worked example, of one object over one transaction with a savepoint in it:

    id 7, version 1       data["x"] = 28, flush:    left (depth 0, id 7)
    id 8, version 2       savepoint, edit, flush:   left (depth 0, id 7), (depth 1, id 8)
    id 9, version 3       the savepoint rolls back: it goes back to id 8
    id 8, version 2       the transaction does:     it goes back to id 7
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, inspect, select
from sqlalchemy.orm import Session, SessionTransaction, make_transient, make_transient_to_detached

from lamina_server.domain.errors import ExistsError
from lamina_server.domain.planning import Plan, plan
from lamina_server.domain.records import Version
from lamina_server.models.locking import lock_writers
from lamina_server.models.orm.base import ConfigName
from lamina_server.models.orm.config_data import ConfigData, Memento
from lamina_server.models.orm.data_map import MAP_LIMITS
from lamina_server.models.orm.errors import StaleVersion
from lamina_server.models.rows import version_of

_LEFT = "lamina.left"
"""The key in Session.info of what the open transaction's objects left behind, oldest first."""
_AWAY = "lamina.away"
"""The key in Session.info of the objects to attach when the next transaction begins."""


@dataclass(frozen=True)
class _Previous:
    """What an object was before it became a version; depth counts the savepoints around that."""

    config: ConfigData
    was: Memento
    depth: int


def next_versions(session: Session, configs: Sequence[ConfigData]) -> None:
    """Make each object into the next version of its config, to be inserted by the flush under way.

    Raises StaleVersion, ExistsError or LimitError, and has changed nothing then.
    """
    connection = session.connection(bind_arguments={"mapper": inspect(ConfigData)})
    lock_writers(connection)
    plans: dict[str, Plan] = {}
    for config in configs:
        if config.config in plans:
            raise ExistsError(config.config)
        plans[config.config] = _plan(config, _head(connection, config.config))
    left = session.info.setdefault(_LEFT, [])
    depth = _depth(session.get_nested_transaction())
    for config in configs:
        left.append(_Previous(config, config.memento(), depth))
        if not config.is_first:
            make_transient(config)
        config.become(plans[config.config])
        session.add(config)


def restore_rolled_back(session: Session, transaction: SessionTransaction) -> None:
    """Take every object back that became a version in a transaction or savepoint now rolled back."""
    depth = _depth(transaction)
    left: list[_Previous] = session.info.get(_LEFT, [])
    oldest: dict[ConfigData, Memento] = {}
    while left and left[-1].depth >= depth:
        one = left.pop()
        oldest[one.config] = one.was
    for config, was in oldest.items():
        if inspect(config).transient:  # else its owner has taken it out of the session
            config.restore(was)
            if was.row:
                make_transient_to_detached(config)
                config.detach(session)
                session.info.setdefault(_AWAY, []).append(config)
    if session.in_transaction():  # else attaching an object would begin one behind the caller's back
        reattach(session)


def reattach(session: Session) -> None:
    """Attach the objects again that a rollback took back."""
    for config in session.info.pop(_AWAY, []):
        if inspect(config).key not in session.identity_map:  # else it stays away, and says so when it is edited
            config.reattach()


def settle(session: Session) -> None:
    """Forget what was left, as the transaction is committed; what a savepoint left goes to what is around it."""
    depth = _depth(session.get_nested_transaction())
    left: list[_Previous] = session.info.pop(_LEFT, [])
    if depth:
        session.info[_LEFT] = [replace(one, depth=min(one.depth, depth - 1)) for one in left]


def _head(connection: Connection, name: str) -> Version | None:
    row = connection.execute(
        select(ConfigData.__table__)
        .join(ConfigName, ConfigName.id == ConfigData.config_name_id)
        .where(ConfigName.name == name)
        .order_by(ConfigData.version.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else version_of(row, name)


def _plan(config: ConfigData, head: Version | None) -> Plan:
    if config.is_first:
        if head is not None:
            raise ExistsError(config.config)
    elif head is None or (head.number, head.hash) != (config.version, config.hash):
        raise StaleVersion(config.config, config.version, head.number if head else 0)
    author, message = config.header
    return plan(
        config.data.changes,
        config=config.config,
        head=head,
        values=config.data.edited_values,
        author=author,
        message=message,
        now_us=time.time_ns() // 1000,
        limits=MAP_LIMITS,
    )


def _depth(transaction: SessionTransaction | None) -> int:
    depth = 0
    while transaction is not None:
        depth += transaction.nested
        transaction = transaction.parent
    return depth
