"""The listeners by which sessions make edits into new versions, and refuse everything that is not an INSERT.

They listen to every session, but act only on instances of our Base: the models of other
applications work as before. How an edited version becomes the next one, in one flush:

    before_flush    takes the writers' lock, reads the heads and plans every version; each
                    step may refuse, and nothing has changed yet. Then each object gives up
                    its old identity, and is added as a new one (see versioning.py)
    the flush       INSERT INTO config, with config_name before it and config_value after it
    a rollback      gives each object its old identity and map again
"""

from typing import Any

from sqlalchemy import Connection, event, insert, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction

from lamina_server.models.orm import versioning
from lamina_server.models.orm.base import Base, ConfigName
from lamina_server.models.orm.config_data import ConfigData, ConfigValue
from lamina_server.models.orm.errors import InsertOnlyError
from lamina_server.models.rows import VALUE_COLUMNS, value_rows

_HEADER = {"author", "message"}


@event.listens_for(Session, "before_flush")
def _make_versions(session: Session, _context: Any, _instances: Any) -> None:
    for row in session.deleted:
        if isinstance(row, Base):
            raise InsertOnlyError(f"{row!r} cannot be deleted: what was committed stays")
    edited = _added(session) + _edited(session)
    if edited:
        versioning.next_versions(session, edited)


def _added(session: Session) -> list[ConfigData]:
    added = []
    for row in session.new:
        if isinstance(row, ConfigData):
            if not row.is_first:  # by make_transient or Session.merge
                raise InsertOnlyError(f"{row!r} cannot be added: add what ConfigData's constructor made, and no copy")
            added.append(row)
        elif isinstance(row, Base):
            raise InsertOnlyError(f"a {type(row).__name__} is not added by hand: flushing a ConfigData does that")
    return added


def _edited(session: Session) -> list[ConfigData]:
    edited = []
    for row in session.dirty:
        if not isinstance(row, Base):
            continue
        changed = {attribute.key for attribute in inspect(row).attrs if attribute.history.has_changes()}
        if not isinstance(row, ConfigData) or changed - _HEADER:
            if changed:
                raise InsertOnlyError(
                    f"{row!r} cannot be changed ({', '.join(sorted(changed))}): rows stay as they are"
                )
        elif row.data.changes:
            edited.append(row)
        elif changed:  # author or message of the next version: they must not change this one's row
            session.expire(row, changed)
    return edited


@event.listens_for(Session, "do_orm_execute")
def _refuse_statements(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        table = getattr(state.statement, "table", None)
        if getattr(table, "metadata", None) is Base.metadata:
            raise InsertOnlyError(f"no statement but SELECT on {table}: flushing a ConfigData adds its rows")


@event.listens_for(ConfigData, "before_insert")
def _insert_name(_mapper: Mapper[ConfigData], connection: Connection, config: ConfigData) -> None:
    if inspect(config).dict.get("config_name_id") is None:  # it is typed as it is in a row, without None
        statement = insert(ConfigName).values(name=config.config).returning(ConfigName.id)
        config.config_name_id = connection.execute(statement).scalar_one()


@event.listens_for(ConfigData, "after_insert")
def _insert_values(_mapper: Mapper[ConfigData], connection: Connection, config: ConfigData) -> None:
    rows = value_rows(config.take_plan(), config.config_name_id, config.id)
    if named := [dict(zip(VALUE_COLUMNS, row, strict=True)) for row in rows]:
        connection.execute(insert(ConfigValue), named)


@event.listens_for(ConfigData, "expire")
def _discard_edits(config: ConfigData, attributes: Any) -> None:
    if attributes is None:  # the whole object, as a rollback does
        config.discard()
    elif config.data.changes:
        config.load_row()


@event.listens_for(Session, "after_soft_rollback")
def _restore_rolled_back(session: Session, transaction: SessionTransaction) -> None:
    versioning.restore_rolled_back(session, transaction)


@event.listens_for(Session, "after_commit")
def _forget_committed(session: Session) -> None:
    versioning.forget_committed(session)


@event.listens_for(Session, "after_transaction_create")
def _reattach(session: Session, _transaction: SessionTransaction) -> None:
    versioning.reattach(session)
