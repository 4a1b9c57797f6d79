"""The storage of the published recipe: each version is associated with each of its values.

It is our own models, committed by an ORM session, plus the recipe's rows: one association
for each key at each version, in the same transaction. Kinder than the recipe, which makes
an object of each row: here they go into one bulk INSERT.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, insert, select, text
from sqlalchemy.orm import Session

from lamina_server.models import Base, ConfigData, ConfigValue, ConfigValueAssociation
from tests.benchmarks import ours

_INSERT_LINES = insert(Base.metadata.tables[ConfigValueAssociation.__tablename__])


class FullCopy:
    """One config of `size` keys, stored in full at each of its versions."""

    def __init__(self, session: Session, size: int) -> None:
        self._session = session
        self._keys = ours.keys_all_over(size)
        self._config = ConfigData(ours.a_map(size), config="bench", author="bench")
        session.add(self._config)
        session.flush()
        self._value_ids = {row.name: row.id for row in session.execute(select(ConfigValue.name, ConfigValue.id))}
        self._associate_all()
        session.commit()

    def commit(self) -> None:
        """Change one key, and store the whole map again."""
        key = next(self._keys)
        self._config.data[key] = ours.new_text()
        self._session.flush()
        self._value_ids[key] = self._session.scalars(select(func.max(ConfigValue.id))).one()
        self._associate_all()
        self._session.commit()

    def _associate_all(self) -> None:
        version = self._config.id
        rows = [{"config_id": version, "config_value_id": id_} for id_ in self._value_ids.values()]
        self._session.connection().execute(_INSERT_LINES, rows)


@contextmanager
def stored(path: Path, size: int) -> Iterator[FullCopy]:
    """Store a config of `size` keys in a new SQLite file, with the durability that ours has."""
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _set_pragmas)
    try:
        Base.metadata.create_all(engine)
        with Session(engine, expire_on_commit=False) as session:  # else it would read the map again each time
            yield FullCopy(session, size)
            _checkpoint(engine, session)
    finally:
        engine.dispose()


def _set_pragmas(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _checkpoint(engine: Engine, session: Session) -> None:
    session.close()
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
