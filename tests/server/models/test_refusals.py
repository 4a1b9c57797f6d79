"""The tables are insert-only: sessions refuse other statements on our models, and databases refuse them from all."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, PrimaryKeyConstraint, Table, UniqueConstraint, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, make_transient, mapped_column

from lamina_server.domain.values import Value
from lamina_server.models import (
    Base,
    ConfigData,
    ConfigName,
    ConfigRequest,
    ConfigValue,
    ConfigValueAssociation,
    InsertOnlyError,
    value_columns,
)
from lamina_server.models.tables import CUTS, POINTS, SECRET_KEYS
from lamina_server.models.triggers import keys_of
from tests.server import databases

Committed = Callable[..., ConfigData]

DIGEST = hashlib.sha256(b"").digest()
TABLES = Base.metadata.sorted_tables
CONFIG = Base.metadata.tables["config"]


# Sessions


def change_a_value(session: Session, _config: ConfigData) -> None:
    session.scalars(select(ConfigValue)).one().int_value = 2


def change_a_hash(_session: Session, config: ConfigData) -> None:
    config.hash = bytes(32)


def change_a_name(_session: Session, config: ConfigData) -> None:
    config.config_name.name = "another"


def change_a_message_and_a_number(_session: Session, config: ConfigData) -> None:
    config.message, config.version = "x", 7


def delete_a_version(session: Session, config: ConfigData) -> None:
    session.delete(config)


def delete_a_value(session: Session, _config: ConfigData) -> None:
    session.delete(session.scalars(select(ConfigValue)).one())


def add_a_value_by_hand(session: Session, _config: ConfigData) -> None:
    columns = {**value_columns(Value.of_integer(1)), "digest": DIGEST}
    session.add(ConfigValue(config_name_id=1, name="y", version=1, originating_config_id=1, **columns))


def add_a_keyframe_by_hand(session: Session, _config: ConfigData) -> None:
    session.add(ConfigValueAssociation(config_id=1, config_value_id=1))


def add_a_request_by_hand(session: Session, _config: ConfigData) -> None:
    session.add(ConfigRequest(caller="", request_id="1", digest=DIGEST, config_name="default"))


def add_a_name_by_hand(session: Session, _config: ConfigData) -> None:
    session.add(ConfigName(name="another"))


def add_a_version_again(session: Session, config: ConfigData) -> None:
    make_transient(config)
    session.add(config)


def merge_a_new_version(session: Session, _config: ConfigData) -> None:
    session.merge(ConfigData({}, config="another"))


@databases.ONE
@pytest.mark.parametrize(
    "attempt",
    [
        change_a_value,
        change_a_hash,
        change_a_name,
        change_a_message_and_a_number,
        delete_a_version,
        delete_a_value,
        add_a_value_by_hand,
        add_a_keyframe_by_hand,
        add_a_request_by_hand,
        add_a_name_by_hand,
        add_a_version_again,
        merge_a_new_version,
    ],
)
def test_a_flush_refuses(
    committed: Committed, session: Session, attempt: Callable[[Session, ConfigData], None]
) -> None:
    attempt(session, committed({"x": 1}))
    with pytest.raises(InsertOnlyError):
        session.flush()
    session.rollback()
    session.commit()
    assert {table.name: session.scalar(select(func.count()).select_from(table)) for table in TABLES} == {
        "config_name": 1,
        "config": 1,
        "config_value": 1,
        "config_value_association": 0,
        "config_request": 0,
        "config_secret_key": 0,
        "config_cut": 0,
        "config_change_point": 0,
    }


@databases.ONE
@pytest.mark.parametrize(
    "statement",
    [
        update(ConfigData).values(message="x"),
        update(CONFIG).values(message="x"),
        delete(ConfigValue),
        insert(ConfigName).values(name="another"),
        sqlite.insert(ConfigName).values(name="default").on_conflict_do_update(set_={"name": "x"}),
        postgresql.insert(ConfigName)
        .values(name="default")
        .on_conflict_do_update(index_elements=["name"], set_={"id": 9}),
    ],
)
def test_a_session_refuses_a_statement(committed: Committed, session: Session, statement: Any) -> None:
    committed({"x": 1})
    with pytest.raises(InsertOnlyError, match="no statement but SELECT"):
        session.execute(statement)


@databases.ONE
def test_a_session_refuses_a_query_that_changes(committed: Committed, session: Session) -> None:
    committed({"x": 1})
    with pytest.raises(InsertOnlyError):
        session.query(ConfigData).delete()
    with pytest.raises(InsertOnlyError):
        session.query(ConfigData).update({"message": "x"})


def test_the_database_refuses_statements_that_bypass_the_session(committed: Committed, session: Session) -> None:
    committed({"x": 1})
    with pytest.raises(IntegrityError, match="insert-only"):
        session.bulk_update_mappings(ConfigData.__mapper__, [{"id": 1, "message": "x"}])
    session.rollback()
    with pytest.raises(IntegrityError, match="insert-only"):
        session.connection().execute(update(ConfigData).values(message="x"))


class OtherBase(DeclarativeBase):
    """The base of another application's models."""


class Note(OtherBase):
    """A model whose rows can be changed."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str]


def test_rows_of_other_models_can_still_be_changed(engine: Engine, session: Session) -> None:
    OtherBase.metadata.create_all(engine)
    note, config = Note(words="one"), ConfigData({"x": 1})
    session.add_all([note, config])
    session.commit()
    note.words, config.data["x"] = "two", 2
    session.commit()
    session.execute(update(Note).values(words="three"))
    session.commit()
    assert (note.words, config.version) == ("three", 2)
    session.delete(note)
    session.commit()
    assert session.scalar(select(func.count(Note.id))) == 0


# Databases


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """The engine, with a row in every table."""
    with Session(engine) as session:
        session.add(ConfigData({"x": 1}))
        session.commit()
    with engine.begin() as connection:
        connection.execute(insert(ConfigValueAssociation).values(config_id=1, config_value_id=1))
        row = {"caller": "", "request_id": "1", "digest": DIGEST, "config_name": "default", "config_id": 1}
        connection.execute(insert(ConfigRequest).values(**row, created=True, merged=False))
        key = {"number": 1, "wrapping": 1, "is_foreign": False, "outer_key": "", "wrapped": b""}
        connection.execute(insert(SECRET_KEYS).values(**key, check_digest=DIGEST))
        connection.execute(insert(CUTS).values(config_name_id=1, version=1, cut_time_us=1, reason=""))
        with databases.lawless(connection, POINTS):  # the value is not superseded
            point = {
                "config_name_id": 1,
                "version": 1,
                "name": "x",
                "deleted": False,
                "digest": DIGEST,
                "superseded_by": 2,
            }
            connection.execute(insert(POINTS).values(**point))
    return engine


def rows(engine: Engine, table: Table) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(table))]


def refuse(engine: Engine, statement: Any, words: str = "insert-only") -> None:
    with engine.connect() as connection, pytest.raises(IntegrityError, match=words):
        connection.execute(text(statement) if isinstance(statement, str) else statement)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_database_refuses_to_change_and_to_delete_rows(filled: Engine, table: Table) -> None:
    """With raw SQL on a connection that has none of our settings."""
    before = rows(filled, table)
    assert len(before) == 1
    column = next(iter(table.columns)).name
    refuse(filled, f"UPDATE {table.name} SET {column} = {column}")
    refuse(filled, f"DELETE FROM {table.name}")
    if filled.dialect.name == "postgresql":
        refuse(filled, f"TRUNCATE {table.name} CASCADE")
        refuse(filled, f"UPDATE {table.name} SET {column} = {column} WHERE false")  # even if it changes no row
    assert rows(filled, table) == before


OTHER_VALUES = {"id": 77, "name": "another", "version": 88}


def conflicts(table: Table, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows that have one key in common with a row, and differ in the others."""
    return [
        {**row, **{name: value for name, value in OTHER_VALUES.items() if name in row and name not in key}}
        for key in keys_of(table)
    ]


def overwriting(dialect: str, table: Table, row: dict[str, Any]) -> list[Any]:
    """Return statements that would replace a row with the same key."""
    if dialect == "sqlite":
        replace = insert(table).values(row).prefix_with("OR REPLACE")
        return [replace, sqlite.insert(table).values(row).on_conflict_do_update(set_=row)]
    upsert = postgresql.insert(table).values(row)
    return [
        upsert.on_conflict_do_update(constraint=constraint, set_=row)
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_database_refuses_to_insert_over_a_row(filled: Engine, table: Table) -> None:
    """Whichever of its keys is the same. On SQLite recursive_triggers is off, so no DELETE trigger fires."""
    (before,) = rows(filled, table)
    for row in conflicts(table, dict(zip(table.columns.keys(), before, strict=True))):
        for statement in overwriting(filled.dialect.name, table, row):
            refuse(filled, statement)
    assert rows(filled, table) == [before]


@databases.ONE
def test_sqlite_refuses_to_replace_a_row_by_its_rowid(filled: Engine) -> None:
    for alias in ("rowid", "_rowid_", "oid"):
        refuse(filled, f"INSERT OR REPLACE INTO config_name ({alias}, name) VALUES (1, 'another')")
        refuse(filled, f"INSERT OR REPLACE INTO config_name ({alias}, name) VALUES ('1', 'another')")
        refuse(filled, f"INSERT INTO config_name ({alias}, name) VALUES (-1, 'another')", "positive_id")
    refuse(filled, "UPDATE OR REPLACE config_name SET name = 'another'")


@databases.ON_POSTGRESQL
def test_postgresql_accepts_on_conflict_do_nothing(filled: Engine) -> None:
    """Two servers may write the same keyframe. SQLite, which has one server, refuses every INSERT over a row."""
    line = postgresql.insert(ConfigValueAssociation).values(config_id=1, config_value_id=1)
    with filled.begin() as connection:
        connection.execute(line.on_conflict_do_nothing())
    merge = (
        "MERGE INTO config_name AS old USING (SELECT 1 AS id) AS new ON old.id = new.id"
        " WHEN MATCHED THEN UPDATE SET name = 'another'"
    )
    if (filled.dialect.server_version_info or ()) >= (15,):
        refuse(filled, merge)


def test_the_schema_refuses_invalid_versions(filled: Engine) -> None:
    (row,) = rows(filled, CONFIG)
    good = {**dict(zip(CONFIG.columns.keys(), row, strict=True)), "id": 2, "version": 2}
    bad: dict[str, dict[str, Any]] = {
        "hash_length": {"hash": b"short"},
        "positive_version": {"version": 0},
        "whole_source": {"source_config": "one"},
    }
    for constraint, columns in bad.items():
        refuse(filled, insert(CONFIG).values({**good, **columns}), constraint)


def test_the_schema_refuses_invalid_values(filled: Engine) -> None:
    row = {"config_name_id": 1, "version": 2, "originating_config_id": 1, "name": "y", "digest": DIGEST}
    bad: list[dict[str, Any]] = [
        {"kind": 7},
        {"kind": 2, "int_value": None},
        {"kind": 4, "int_value": 1},
        {"kind": 2, "int_value": 1, "string_value": "x"},
        {"kind": 2, "int_value": 1, "deleted": True},
        {"digest": b""},
    ]
    for columns in bad:
        values = {**row, **value_columns(Value.of_null()), **columns}
        refuse(filled, insert(ConfigValue).values(values), "ck_config_value")
