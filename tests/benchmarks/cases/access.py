"""Closed servers: what it costs to know the caller, to decide, and to reveal; how soon a revocation ends a watch."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import grpc

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.domain.access import ACCESS_CONFIG, Access, Grant, Role, members, of_principal
from tests.benchmarks import ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Check, Figure, ratio
from tests.benchmarks.measuring import Call, Samples, TimedCall, times_in_turn
from tests.security.closed import ClosedProcess
from tests.security.people import People, Person, changes
from tests.security.provider import Provider
from tests.security.secret_helpers import key_file
from tests.support.server import ServerProcess

CONFIG, SIZE = "bench/small", 10
GRANTS, GROUPS, GROUPS_OF_CALLER = 1_000, 200, 20
TEXTS, SECRETS, SECRETS_SIZE = "bench/texts", "bench/secrets", 1_000
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


def secrets_after_a_commit(bench: Bench) -> Figure:
    """Read and reveal 1,000 secrets after each commit of one of them, and the same map of strings."""
    people = People()
    admin = people.admin()
    service = people.reader("bench", "bench/**", reveal=True)
    url, key = f"sqlite:///{bench.new_database()}", key_file(bench.folder)
    with (
        ClosedProcess(url, people, "--secret-key-file", str(key)) as server,
        ours.stub_of(server.target) as stub,
        server.connect(service) as client,
    ):
        writer, metadata = _OfBoth(stub, admin), tuple(service.metadata)
        for config in (TEXTS, SECRETS):
            writer.commit(config, ours.a_map(SECRETS_SIZE))

        def through_stub(config: str) -> list[str]:
            entries = stub.GetVersion(pb.GetVersionRequest(config=config), metadata=metadata).entries
            return [entry.value.string or entry.value.secret.string for entry in entries]

        def through_sdk(config: str) -> list[str]:
            values = client.config(config).values()
            return [value.reveal() if isinstance(value, lamina.Secret) else value for value in values]

        first = Samples("secrets, the very first read, stub")
        first.time(lambda: through_stub(SECRETS))
        sides = {
            f"{name}, {way}": writer.then(config, call)
            for way, call in (("stub", through_stub), ("SDK", through_sdk))
            for name, config in (("strings", TEXTS), ("secrets", SECRETS))
        }
        samples = asyncio.run(times_in_turn(sides, bench.scale.few_rounds, warm_up=bench.scale.warm_up))
    checks = [
        ratio(
            f"{SECRETS_SIZE:,} secrets vs strings after a commit of one, {way}, p50",
            samples[f"secrets, {way}"],
            samples[f"strings, {way}"],
            must=2,
            aim=1.3,
        )
        for way in ("stub", "SDK")
    ]
    return Figure(
        "A5",
        f"reading {SECRETS_SIZE:,} secrets after a commit of one",
        [*samples.values(), first],
        checks=checks,
        remark="Before each read one key is changed, outside of the time. By the SDK: opened, and each value read.",
        reference=samples["strings, stub"],
    )


class _OfBoth:
    """Commits the same texts to the config of strings and, as secrets, to the other one."""

    def __init__(self, stub: ConfigServiceStub, person: Person) -> None:
        self._stub = stub
        self._metadata = tuple(person.metadata)
        self._ids = itertools.count()
        self._keys: dict[str, Iterator[str]] = {config: ours.keys_all_over(SECRETS_SIZE) for config in (TEXTS, SECRETS)}

    def commit(self, config: str, texts: Mapping[str, str]) -> None:
        """Set keys of one of the configs."""
        values = {
            key: pb.Value(secret=pb.Secret(string=text)) if config == SECRETS else pb.Value(string=text)
            for key, text in texts.items()
        }
        changed = [pb.Change(key=key, value=value) for key, value in values.items()]
        request = pb.CommitRequest(config=config, changes=changed, request_id=f"bench-{next(self._ids)}")
        assert self._stub.Commit(request, metadata=self._metadata).created

    def then(self, config: str, read: Callable[[str], list[str]]) -> TimedCall:
        """Return a call that commits a new text, and returns how long a read took after it."""

        async def call() -> float:
            text = ours.new_text()
            self.commit(config, {next(self._keys[config]): text})
            started = time.perf_counter()
            texts = read(config)
            taken = (time.perf_counter() - started) * 1_000
            assert len(texts) == SECRETS_SIZE
            assert text in texts
            return taken

        return call


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
