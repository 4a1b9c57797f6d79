"""A server behind a pooler: it works where its sessions last, and otherwise refuses to start."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from lamina_server.domain.errors import Reason
from lamina_server.store.contract import UnansweredError, UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.verify.inspection import inspecting
from tests.conformance.commits import CONFIG
from tests.server.bare_client import running
from tests.support.pooler import SOCKET, pooling

pytestmark = pytest.mark.postgres

_END_SERVERS_SESSIONS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE application_name = 'lamina-server' AND datname = current_database()"
)
REFUSED = "a pooler gives each transaction another connection to PostgreSQL, but the server needs sessions"


def use_server(url: str) -> None:
    open_store(url).close()


def use_verify(url: str) -> None:
    with inspecting(url):
        pass


def session(url: str) -> psycopg.Connection[Any]:
    database = make_url(url)
    return psycopg.connect(
        host=str(database.query["host"]), user=database.username, dbname=database.database, autocommit=True
    )


@pytest.mark.parametrize("use", [use_server, use_verify])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_its_sessions_is_refused(postgres_url: str, mode: str, use: Callable[[str], None]) -> None:
    """Even if nobody else uses it, so that every transaction happens to have the same backend."""
    open_store(postgres_url).close()
    with pooling(postgres_url, mode) as url:
        with pytest.raises(UnusableStoreError, match=REFUSED):
            use(url)
        with session(url) as other:  # and nothing of ours stays in the backends that others use
            assert other.execute("SHOW enable_seqscan").fetchone() == ("on",)


@pytest.mark.parametrize("backends", [1, 2, 3, 4])
def test_also_if_it_gives_out_its_backends_in_turn(postgres_url: str, backends: int) -> None:
    with pooling(postgres_url, "transaction", round_robin=True) as url:
        with ExitStack() as transactions:
            for _ in range(backends):
                transactions.enter_context(transactions.enter_context(session(url)).transaction())
        with pytest.raises(UnusableStoreError, match=REFUSED):
            open_store(url)


def test_a_pooler_that_is_put_before_a_running_database_is_refused(postgres_url: str, tmp_path: Path) -> None:
    """A symbolic link leads to the database, then to the pooler, and back; the server connects anew each time."""
    link = tmp_path / SOCKET

    def lead_to(url: str) -> None:
        link.unlink(missing_ok=True)
        link.symlink_to(Path(str(make_url(url).query["host"])) / SOCKET)
        with session(postgres_url) as operator:
            operator.execute(_END_SERVERS_SESSIONS)

    lead_to(postgres_url)
    url = make_url(postgres_url).set(query={"host": str(tmp_path)}).render_as_string()
    with closing(open_store(url)) as store, pooling(postgres_url, "transaction") as pooled:
        lead_to(pooled)
        with pytest.raises(UnansweredError, match=REFUSED), store.read() as reading:
            reading.head(CONFIG)
        with pytest.raises(UnansweredError, match=REFUSED) as refused:
            store.check_writable()
        assert refused.value.reason is Reason.STORE_UNUSABLE
        lead_to(postgres_url)
        store.check_writable()
        with store.read() as reading:
            assert reading.head(CONFIG) is None


async def test_servers_behind_a_pooler_of_sessions_work(postgres_url: str) -> None:
    """The poll comes too late here, so a notice has told the other server."""
    with (
        pooling(postgres_url, "session") as url,
        closing(open_store(url)) as one,
        closing(open_store(url)) as other,
    ):
        async with (
            running(one, news_interval_seconds=60) as wire,
            running(other, news_interval_seconds=60) as other_wire,
        ):
            watching = other_wire.watch(CONFIG, after=0)
            await wire.commit(CONFIG, {"x": 1})
            assert await watching.numbers(1) == [1]
            await wire.commit(CONFIG, {"x": 2})
            assert await watching.numbers(2) == [2]
            await other_wire.commit(CONFIG, {"x": 3})
            assert await wire.map(CONFIG, version=3) == {"x": 3}
            assert await watching.numbers(3) == [3]
