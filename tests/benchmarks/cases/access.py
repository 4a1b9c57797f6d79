"""Closed servers: what it costs to know the caller and to decide, and how soon a revocation ends a watch."""

import asyncio
import itertools
import time
from contextlib import suppress
from typing import Any

import grpc

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.domain.access import ACCESS_CONFIG, Access, Grant, Role, members, of_principal
from tests.benchmarks import ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Check, Figure, ratio
from tests.benchmarks.measuring import Call, Samples
from tests.security.closed import ClosedProcess
from tests.security.people import People, Person, changes
from tests.security.provider import Provider
from tests.support.server import ServerProcess

CONFIG, SIZE = "bench/small", 10
GRANTS, GROUPS, GROUPS_OF_CALLER = 1_000, 200, 20
ROUNDS = 20
"""Revocations measured: each is a commit."""


def small_read_with_token(bench: Bench) -> Figure:
    """Read a small map from a closed server with a token, and from an open one."""
    people = People()
    return _small_read(bench, "A1", "a token", people, people.reader("bench", "bench/**"), must=1.15)


def small_read_with_jwt(bench: Bench) -> Figure:
    """Read a small map from a closed server with an identity provider's JWT, and from an open one."""
    people = People()
    with Provider() as provider:
        keys = bench.folder / "keys.json"
        keys.write_bytes(provider.document)
        people.values["issuers/corp"] = provider.issuer(jwks=f"file://{keys}")
        people.grant("oidc:ada", "reader", "bench/**")
        person = Person("oidc:ada", provider.token(exp=int(time.time()) + 86_400))
        return _small_read(bench, "A2", "a JWT", people, person, must=1.2)


def decision(_bench: Bench) -> Figure:
    """Decide what a caller may do with a config, for the first time and again."""
    groups = {f"g{number}": ["token:bench"] if number < GROUPS_OF_CALLER else [] for number in range(GROUPS)}
    patterns = [f"team-{number // 2}/{'**' if number % 2 else '*/prod'}" for number in range(GRANTS)]
    grants = [Grant(f"group:g{number % GROUPS}", Role.WRITER, pattern) for number, pattern in enumerate(patterns)]
    caller, configs = of_principal("token:bench"), [f"team-{number}/app/prod" for number in range(GRANTS // 2)]
    first, again = Samples("uncached", "µs"), Samples("cached", "µs")
    for _ in range(ROUNDS):
        access = Access(groups=members(groups), grants=tuple(grants))
        for samples in (first, again):
            started = time.perf_counter()
            for config in configs:
                access.rights(caller, config)
            samples.values.append((time.perf_counter() - started) / len(configs) * 1_000_000)
    return Figure(
        "A3",
        f"deciding a call, {GRANTS:,} grants and {GROUPS} groups",
        [first, again],
        checks=[Check("deciding a call, uncached, p50", first.median, must=20, aim=5, unit="µs")],
        remark=f"The caller is in {GROUPS_OF_CALLER} of the groups. Each config is another one.",
    )


def revocation(bench: Bench) -> Figure:
    """Revoke a grant, and wait until a watch has ended: on the same server, and on another one of one PostgreSQL."""
    people = People()
    admin = people.admin()
    ada = people.reader("ada", "bench/**")
    with ClosedProcess(f"sqlite:///{bench.new_database()}", people) as server:
        same = asyncio.run(_revocations("same server", server.target, server.target, admin, ada))
    found = [same]
    checks = [Check("revocation until the watch has ended, p50", same.median, must=1_000, aim=50, unit="ms")]
    if bench.postgres is not None:
        url = bench.postgres.new_database()
        with ClosedProcess(url, people) as near, ServerProcess(url, LAMINA_SERVER_ACCESS="closed") as far:
            other = asyncio.run(_revocations("another server, PostgreSQL", near.target, far.target, admin, ada))
        found.append(other)
        checks.append(Check("the same, on another server, p50", other.median, must=3_000, aim=100, unit="ms"))
    return Figure(
        "A4",
        "revocation of a grant until an open watch has ended",
        found,
        checks=checks,
        remark="From the call that revokes, which is a commit, until the client has the watch's end.",
    )


def _small_read(bench: Bench, name: str, credential: str, people: People, person: Person, *, must: float) -> Figure:
    admin = people.admin()
    request = pb.GetVersionRequest(config=CONFIG)
    with (
        bench.server() as opened,
        ClosedProcess(f"sqlite:///{bench.new_database()}", people) as server,
        ours.stub_of(opened.target) as of_open,
        ours.stub_of(server.target) as of_closed,
    ):
        ours.load(of_open, CONFIG, ours.a_map(SIZE))
        values = [ours.change(key, text) for key, text in ours.a_map(SIZE).items()]
        commit = pb.CommitRequest(config=CONFIG, changes=values, request_id="load")
        of_closed.Commit(commit, metadata=tuple(admin.metadata))
        metadata = tuple(person.metadata)
        sides: dict[str, Call] = {
            "open": lambda: of_open.GetVersion(request),
            f"closed, with {credential}": lambda: of_closed.GetVersion(request, metadata=metadata),
        }
        samples = bench.in_turn(sides)
    is_open, is_closed = samples.values()
    return Figure(
        name,
        f"one small read, one caller, with {credential}",
        [is_open, is_closed],
        checks=[ratio(f"read with {credential} vs open, p50", is_closed, is_open, must=must, aim=1.05)],
        reference=is_open,
    )


async def _revocations(name: str, near: str, far: str, admin: Person, ada: Person) -> Samples:
    """Revoke at one server, and watch at another one, again and again."""
    samples, ids, config = Samples(name), itertools.count(), "bench/watched"
    grant = "grants/token:ada bench/**"
    async with grpc.aio.insecure_channel(near) as channel, grpc.aio.insecure_channel(far) as other:
        stub: Any = ConfigServiceStub(channel)
        watching: Any = ConfigServiceStub(other)

        async def change(value: Any) -> None:
            request = pb.CommitRequest(
                config=ACCESS_CONFIG, changes=changes({grant: value}), request_id=f"{name}-{next(ids)}"
            )
            await stub.Commit(request, metadata=admin.metadata)

        commit = pb.CommitRequest(config=config, changes=[ours.change("a", "1")], request_id=f"{name}-first")
        await stub.Commit(commit, metadata=admin.metadata)
        for _ in range(ROUNDS):
            watch = await _begun(watching, config, ada)
            started = time.perf_counter()
            await change(None)
            assert await watch.code() is grpc.StatusCode.PERMISSION_DENIED
            samples.values.append((time.perf_counter() - started) * 1_000)
            await change({"role": "reader"})
    return samples


async def _begun(stub: Any, config: str, person: Person) -> Any:
    """Begin a watch that sees the config; the grant of before may still be on its way."""
    while True:
        watch = stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=config), metadata=person.metadata)
        with suppress(grpc.aio.AioRpcError):
            if (await watch.read()).bookmark.version:
                return watch
        watch.cancel()
