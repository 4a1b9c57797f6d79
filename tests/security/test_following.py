"""A revocation reaches every server at once, and a closed server that starts again has the same access."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.app import Application
from lamina_server.commits import giants
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.settings import Settings
from lamina_server.store.contract import Store
from lamina_server.store.open import open_store
from tests.security.closed import Closed, closed
from tests.security.people import People, Person, changes
from tests.server.bare_client import refusal
from tests.support.postgres import Postgres

SAME_SERVER_SECONDS, OTHER_SERVER_SECONDS = 1.0, 3.0
TRIES = 10


@asynccontextmanager
async def serving(store: Store) -> AsyncIterator[str]:
    """Run one more closed server."""
    application = Application(Settings(listen="localhost:0", access="closed"), store)
    try:
        yield await application.start()
    finally:
        await application.stop()


async def until_refused(target: str, person: Person) -> float:
    """Call a server until it does not know the caller any more; return when that was."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = ConfigServiceStub(channel)
        async with asyncio.timeout(10):
            while True:
                try:
                    await stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=person.metadata)
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAUTHENTICATED, error  # noqa: PT017 - it is a loop
                    return time.monotonic()


async def revoke(server: Closed, target: str, admin: Person, workers: list[Person]) -> list[float]:
    """Revoke one token after the other; return how long a server has taken each of them after the reply, in order."""
    seconds = []
    for worker in workers:
        refused = asyncio.create_task(until_refused(target, worker))
        await server.change({f"tokens/{worker.token_id}": None}, admin)
        replied = time.monotonic()
        seconds.append(max(await refused - replied, 0.0))
    seconds.sort()
    print(f"revoked: {seconds[0] * 1e3:.1f} ms at least, {seconds[len(seconds) // 2] * 1e3:.1f} in the middle")
    print(f"         {seconds[-1] * 1e3:.1f} ms at most")
    return seconds


def a_team() -> tuple[People, Person, list[Person]]:
    people = People()
    return people, people.admin(), [people.reader(f"worker-{number}", "shop/**") for number in range(TRIES)]


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def test_a_revoked_token_is_refused_by_the_same_server(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/lamina.db"
    people, admin, workers = a_team()
    with closing(open_store(url)) as store:
        async with closed(store, people) as server:
            assert (await revoke(server, server.target, admin, workers))[-1] < SAME_SERVER_SECONDS


async def test_a_revoked_token_is_refused_by_another_server(postgres_url: str) -> None:
    people, admin, workers = a_team()
    with closing(open_store(postgres_url)) as store, closing(open_store(postgres_url)) as other:
        async with closed(store, people) as server, serving(other) as target:
            assert (await revoke(server, target, admin, workers))[-1] < OTHER_SERVER_SECONDS


async def test_a_restart_has_the_same_access(tmp_path: Path) -> None:
    people = People()
    admin, worker = people.admin(), people.reader("worker", "shop/**")
    with closing(open_store(f"sqlite:///{tmp_path}/lamina.db")) as store:
        async with closed(store, people) as server:
            await server.change({f"tokens/{worker.token_id}": None}, admin)
        async with serving(store) as target, grpc.aio.insecure_channel(target) as channel:
            stub = ConfigServiceStub(channel)
            info = await stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=admin.metadata)
            assert info.author == "token:admin"
            refused = await refusal(stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=worker.metadata))
            assert refused.reason == "BAD_CREDENTIALS"


async def test_servers_follow_an_admin_whom_a_reset_has_made(postgres: Postgres) -> None:
    """See test_first_admin; here a server hears of it by its poll alone, within the promised time."""
    url = postgres.new_database()
    people = People()
    people.admin()
    worker = people.reader("admin-of-old", "shop/**")
    with closing(open_store(url)) as store, closing(open_store(url)) as other:
        async with closed(store, people) as server:
            refused = asyncio.ensure_future(until_refused(server.target, worker))
            await asyncio.to_thread(_write_elsewhere, other, f"tokens/{worker.token_id}")
            began = time.monotonic()
            assert await refused - began < OTHER_SERVER_SECONDS
    postgres.drop_database(url)


def _write_elsewhere(store: Store, key: str) -> None:
    """Delete a key as another program does, which tells nobody."""
    from tests.server.commits.test_access import write_by_other_means  # noqa: PLC0415 - it has fixtures of its own

    write_by_other_means(store, {key: None})


# A PostgreSQL that is killed leaves connections behind that nobody can close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_database_that_is_away_takes_nobody_s_access(postgres: Postgres) -> None:
    """Whoever had a right still has it, and nobody else gets one; and a revocation after the outage is followed."""
    people = People()
    admin, worker = people.admin(), people.reader("worker", "shop/**")
    stranger = People().token("worker")
    with Postgres.start(in_memory=True) as cluster, closing(open_store(cluster.new_database())) as store:
        async with closed(store, people) as server:
            await asyncio.to_thread(cluster.kill)
            refused = await refusal(server.stub(worker).ListConfigs(pb.ListConfigsRequest()))
            assert refused.reason == "STORE_UNAVAILABLE"
            info = await server.stub(worker).GetServerInfo(pb.GetServerInfoRequest())
            assert info.author == "token:worker"
            refused = await refusal(server.stub(stranger).GetServerInfo(pb.GetServerInfoRequest()))
            assert refused.reason == "BAD_CREDENTIALS"
            await asyncio.to_thread(cluster.restart)
            await server.change({f"tokens/{worker.token_id}": None}, admin)
            await until_refused(server.target, worker)


async def test_a_revert_of_very_many_keys_is_checked(tmp_path: Path) -> None:
    """It is decided before its transaction; see commits/giants.py."""
    people = People()
    admin = people.admin()
    many = {f"groups/group-{number}": ["token:admin"] for number in range(giants.GIANT_CHANGES)}
    with closing(open_store(f"sqlite:///{tmp_path}/lamina.db")) as store:
        async with closed(store, people) as server:
            assert await server.change(many, admin) == 2
            stub = server.stub(admin)
            for to, reason in ((0, "BAD_VALUE"), (1, "")):
                request = pb.RevertConfigRequest(
                    config=ACCESS_CONFIG, to_version=to, base_version=2, request_id=f"to {to}"
                )
                if reason:
                    assert (await refusal(stub.RevertConfig(request))).reason == reason
                else:
                    assert (await stub.RevertConfig(request)).version.version == 3
            commit = pb.CommitRequest(config=ACCESS_CONFIG, changes=changes({"groups/x": []}), request_id="x")
            assert (await stub.Commit(commit)).version.version == 4
