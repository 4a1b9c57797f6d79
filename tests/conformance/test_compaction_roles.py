"""On PostgreSQL, servers may not delete, and the role that may has no other right than the README says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from lamina_server.store.compaction.compaction import Compaction, Keep, opened
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_store
from tests.conformance.commits import CONFIG, commit, map_at, values

README = Path(__file__).parents[2] / "server" / "README.md"
SERVES, COMPACTS = "lamina_serve", "lamina_compact"
SERVING = (
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT INSERT ON config_name, config, config_value, config_value_association TO {role}",
    "GRANT INSERT ON config_request, config_secret_key TO {role}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
)


def as_role(url: str, role: str) -> str:
    return make_url(url).set(username=role).render_as_string(hide_password=False)


@pytest.fixture
def roles(operator: Engine) -> Iterator[None]:
    """The two roles, with the rights that the README names."""
    (granted,) = re.findall(r"```pgsql\n(GRANT SELECT ON ALL TABLES.*?)```", README.read_text("utf-8"), re.DOTALL)
    with operator.connect() as connection:
        for role in (SERVES, COMPACTS):
            connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        for statement in (*granted.split(";"), *(each.format(role=SERVES) for each in SERVING)):
            if statement.strip():
                connection.execute(text(statement))
    yield
    with operator.connect() as connection:
        for role in (SERVES, COMPACTS):
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.usefixtures("roles")
def test_each_role_has_the_rights_that_it_needs(database_url: str) -> None:
    serving = open_store(as_role(database_url, SERVES))
    for number in range(1, 5):
        commit(serving, {"x": number})
    engine = create_engine(as_role(database_url, SERVES))
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text("DELETE FROM config_value"))
    engine.dispose()
    with opened(as_role(database_url, COMPACTS)) as database:
        compaction = Compaction(database)
        (target,) = compaction.targets(lambda _: True, Keep(versions=2))
        assert compaction.compact(target, "test", 1, lambda _: None).values == 2
    commit(serving, {"x": 5})
    with serving.read() as reading:
        assert map_at(reading, 3) == values({"x": 3})
        assert reading.oldest(CONFIG) == 3
    serving.close()


def test_only_one_compaction_runs_at_a_time(database_url: str) -> None:
    refused = pytest.raises(UnusableStoreError, match="another compaction of this database is under way")
    with opened(database_url), refused, opened(database_url):
        pass
    with opened(database_url):
        pass
