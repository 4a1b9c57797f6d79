"""Databases with the models' tables, and the statements that they get."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from lamina_server.models import Base, ConfigData
from tests.server import databases


@pytest.fixture(params=databases.ALL)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine as any application makes it, with no pragma or setting of ours."""
    with databases.fresh_engine(request.param, request) as engine:
        Base.metadata.create_all(engine)
        yield engine


@pytest.fixture(params=databases.SHARED)
def shared_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine over a database that several connections can be open to."""
    with databases.fresh_engine(request.param, request) as engine:
        Base.metadata.create_all(engine)
        yield engine


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def committed(session: Session) -> Callable[..., ConfigData]:
    """Make and commit a first version: `committed({"x": 1}, config="one")`."""

    def commit(data: dict[str, Any], **options: str) -> ConfigData:
        config = ConfigData(data, **options)
        session.add(config)
        session.commit()
        return config

    return commit


@pytest.fixture
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements so far: "SELECT", or for each inserted row "INSERT" and its table. Others are an error."""
    noted: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        match = re.match(r"SELECT\b|INSERT INTO (\w+)", statement)
        assert match, statement
        rows = len(parameters) if isinstance(parameters, list) else 1
        noted.extend([f"INSERT {match[1]}" if match[1] else "SELECT"] * rows)

    event.listen(engine, "before_cursor_execute", note)
    yield noted
    event.remove(engine, "before_cursor_execute", note)
