"""P16. What a caller may not read looks as if it did not exist: the answers, the trailers and the statements.

A caller without a right on `shop/secret` makes each request twice: about this config, and about one that
does not exist and whose name is as long. Then the names are exchanged, and nothing else may differ.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.rpc.handlers import snake_case
from lamina_server.settings import DAY_SECONDS, Settings
from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from lamina_server.wire import parse
from lamina_server.wire.paging import PageRequest, Position
from tests.security.calls import change, see, settled, shown
from tests.security.closed import Closed, closed
from tests.security.people import People, Person
from tests.server.bare_client import MEMORY_ONLY, changes, refusal
from tests.support.statements import said

FORBIDDEN, ABSENT = "shop/secret", "shop/absent"
CANARY = "canary-of-a-forbidden-config"
OTHER_HASH = b"\x01" * 32
POSITIONS: Mapping[str, Position] = {
    "GetVersion": Position((1,), "a"),
    "ListVersions": Position((2,)),
    "DiffVersions": Position((0, 2), "a"),
    "GetKeyHistory": Position((2, 1)),
}
"""Where a page of a method may end."""

REQUESTS: Mapping[str, tuple[str, Any]] = {
    "read": ("GetVersion", lambda name: pb.GetVersionRequest(config=name)),
    "read a version": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, version=1)),
    "read version 0": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, version=0)),
    "read by time": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, time=Timestamp(seconds=2**32))),
    "read before all": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, time=Timestamp(seconds=1))),
    "read keys": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, keys=["a"], view=pb.BLAME)),
    "read a header": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, view=pb.HEADER)),
    "read at least": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, min_version=1)),
    "read far ahead": ("GetVersion", lambda name: pb.GetVersionRequest(config=name, min_version=9)),
    "log": ("ListVersions", lambda name: pb.ListVersionsRequest(config=name)),
    "diff": ("DiffVersions", lambda name: pb.DiffVersionsRequest(config=name, from_version=0)),
    "diff far ahead": ("DiffVersions", lambda name: pb.DiffVersionsRequest(config=name, from_version=9)),
    "history": ("GetKeyHistory", lambda name: pb.GetKeyHistoryRequest(config=name, key="a")),
    "keys of secrets": ("ListSecretKeys", lambda name: pb.ListSecretKeysRequest(config=name)),
    "watch": ("WatchKeyHistory", lambda name: pb.WatchKeyHistoryRequest(config=name)),
    "watch all": ("WatchKeyHistory", lambda name: pb.WatchKeyHistoryRequest(config=name, after=pb.Cursor(version=0))),
    "watch ahead": ("WatchKeyHistory", lambda name: pb.WatchKeyHistoryRequest(config=name, after=pb.Cursor(version=1))),
    "watch another past": (
        "WatchKeyHistory",
        lambda name: pb.WatchKeyHistoryRequest(config=name, after=pb.Cursor(version=0, hash=OTHER_HASH)),
    ),
    "commit": ("Commit", lambda name: pb.CommitRequest(config=name, changes=changes({"a": 1}), request_id="new")),
    "commit on a base": (
        "Commit",
        lambda name: pb.CommitRequest(config=name, changes=changes({"a": 1}), request_id="new", base_version=9),
    ),
    "commit, dry": (
        "Commit",
        lambda name: pb.CommitRequest(config=name, changes=changes({"a": 1}), validate_only=True),
    ),
    "commit again": (
        "Commit",
        lambda name: pb.CommitRequest(config=name, changes=changes({"a": 1}), request_id="used"),
    ),
    "revert": (
        "RevertConfig",
        lambda name: pb.RevertConfigRequest(config=name, to_version=1, base_version=2, request_id="new"),
    ),
    "fork into it": (
        "ForkConfig",
        lambda name: pb.ForkConfigRequest(source="mine/base", target=name, request_id="new"),
    ),
    "fork from it": ("ForkConfig", lambda name: pb.ForkConfigRequest(source=name, target="mine/new", request_id="new")),
    "fork a version": (
        "ForkConfig",
        lambda name: pb.ForkConfigRequest(source=name, source_version=1, target="mine/new", request_id="new"),
    ),
    "fork into what is there": (
        "ForkConfig",
        lambda name: pb.ForkConfigRequest(source=name, target="mine/base", request_id="new"),
    ),
    "fork by a used id": (
        "ForkConfig",
        lambda name: pb.ForkConfigRequest(source=name, target="mine/new", request_id="used"),
    ),
    "list": ("ListConfigs", lambda name: pb.ListConfigsRequest(prefix=name)),
    "list all": ("ListConfigs", lambda _: pb.ListConfigsRequest()),
    "check": ("CheckAccess", lambda name: pb.CheckAccessRequest(principal="token:eve", config=name)),
    "who": ("WhoAmI", lambda _: pb.WhoAmIRequest()),
}
"""Requests about a config, by what they ask."""


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    is_file = request.param == "sqlite"
    opened = open_store(f"sqlite:///{tmp_path}/lamina.db" if is_file else request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@asynccontextmanager
async def serving(store: Store, **settings: Any) -> AsyncIterator[tuple[Closed, People, Person, Person]]:
    """Run a server with an admin, and with Eve, who may write to `mine/**` alone."""
    people = People()
    admin, eve = people.admin(), people.writer("eve", "mine/**")
    async with closed(store, people, news_interval_seconds=DAY_SECONDS, **settings) as server:
        wire = server.wire(admin)
        await wire.commit(FORBIDDEN, {"a": CANARY, "b": 1}, message=CANARY)
        await wire.commit(FORBIDDEN, {"a": 2})
        await server.wire(eve).commit("mine/base", {"a": 1}, request_id="used")
        yield server, people, admin, eve


async def both(server: Closed, who: Person, method: str, forbidden: bytes, absent: bytes) -> None:
    """Call a method about the forbidden config and about the absent one, twice each, and compare."""
    for _ in range(2):
        with said() as of_forbidden:
            one = await see(server, who, f"lamina.v1.ConfigService/{method}", forbidden)
            await settled(server)
        with said() as of_absent:
            other = await see(server, who, f"lamina.v1.ConfigService/{method}", absent)
            await settled(server)
        assert one == other.renamed(ABSENT, FORBIDDEN)
        assert CANARY not in one
        assert shown(of_forbidden, FORBIDDEN) == shown(of_absent, ABSENT)


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "in memory"])
async def test_a_forbidden_config_looks_absent(store: Store, *, is_warm: bool) -> None:
    async with serving(store, **({} if is_warm else {"heads_limit_bytes": 0})) as (server, _, admin, eve):
        if is_warm:
            await server.wire(admin).get(FORBIDDEN)
        for method, make in REQUESTS.values():
            await both(server, eve, method, make(FORBIDDEN).SerializeToString(), make(ABSENT).SerializeToString())


@MEMORY_ONLY
@pytest.mark.parametrize("method", POSITIONS)
async def test_page_tokens_of_a_forbidden_config_tell_nothing(store: Store, method: str) -> None:
    """A token that was kept from better times, or made by hand: its form is no secret."""
    requests = [make for name, make in REQUESTS.values() if name == method]

    def page(name: str) -> bytes:
        request = requests[0](name)
        parsed = getattr(parse, snake_case(method))(request.SerializeToString(), Settings())
        assert isinstance(parsed.page, PageRequest)
        request.page_token = parsed.page.token_after(POSITIONS[method])
        return bytes(request.SerializeToString())

    async with serving(store) as (server, _, admin, eve):
        assert (await see(server, admin, f"lamina.v1.ConfigService/{method}", page(FORBIDDEN))).code.name == "OK"
        await both(server, eve, method, page(FORBIDDEN), page(ABSENT))


async def names(server: Closed, who: Person, **fields: Any) -> list[str]:
    """List configs, page by page."""
    found, token = [], ""
    while True:
        page = await server.stub(who).ListConfigs(pb.ListConfigsRequest(page_token=token, **fields))
        found += [config.name for config in page.configs]
        token = page.next_page_token
        if not token:
            return found
        assert len(page.configs) == fields.get("page_size")


@MEMORY_ONLY
async def test_lists_have_only_what_may_be_read(store: Store) -> None:
    """Pages are what they would be without the others: as long, with the same tokens, and none is empty."""
    people = People()
    admin = people.admin()
    all_names = [f"{team}/{kind}{number}" for team in ("a", "b", "c") for kind in ("x", "y") for number in range(3)]
    ada, bob, eve = people.token("ada"), people.token("bob"), people.token("eve")
    people.grant(ada, "reader", "b/**")
    people.grant(bob, "reader", "*/y1")
    people.grant(bob, "writer", "a/x2")
    people.grant("group:team", "reader", "c/x*")
    people.group("team", [bob])
    async with closed(store, people) as server:
        for name in all_names:
            await server.wire(admin).commit(name, {"a": 1})
        for who, expected in (
            (ada, [name for name in all_names if name.startswith("b/")]),
            (bob, ["a/x2", "a/y1", "b/y1", "c/x0", "c/x1", "c/x2", "c/y1"]),
            (eve, []),
            (admin, ["_lamina/access", *all_names]),
        ):
            assert await names(server, who) == expected
            for size in (1, 2, 3, 7):
                assert await names(server, who, page_size=size) == expected if len(expected) % size == 0 else True
            for prefix in ("a", "b/y", "c/x1", "_", "_lamina/", "_lamina/access"):
                assert await names(server, who, prefix=prefix) == [n for n in expected if n.startswith(prefix)]


async def test_a_list_passes_over_any_number_of_configs(store: Store) -> None:
    """Names that no pattern of the caller can match are not even looked at."""
    people = People()
    admin, ada, bob = people.admin(), people.reader("ada", "z/last"), people.reader("bob", "*/last")
    async with closed(store, people) as server:
        for some in range(0, 1_100, 100):  # a connection has a limit of calls
            commits = (server.wire(admin).commit(f"m/{number}", {"a": 1}) for number in range(some, some + 100))
            await asyncio.gather(*commits)
        await server.wire(admin).commit("z/last", {"a": 1})
        await settled(server)
        with said() as statements:
            assert await names(server, ada) == ["z/last"]
        assert not [each for each in statements if "'m/" in repr(each.parameters)]
        assert await names(server, bob) == ["z/last"]


@MEMORY_ONLY
async def test_a_retry_needs_the_right_that_the_first_try_had(store: Store) -> None:
    """The request id is not even looked up."""
    async with serving(store) as (server, people, admin, eve):
        request = pb.CommitRequest(config="mine/base", changes=changes({"b": 2}), request_id="retried")
        assert (await server.stub(eve).Commit(request)).created
        assert (await server.stub(eve).Commit(request)).created
        await change(server, people, {"grants/token:eve mine/**": {"role": "reader"}}, admin)
        refused = await refusal(server.stub(eve).Commit(request))
        assert (refused.code.name, refused.reason) == ("PERMISSION_DENIED", "NOT_ALLOWED")
        assert refused.text == (
            "this needs the role writer on 'mine/base', which 'token:eve' does not have: ask an admin for it"
        )
        assert (await server.wire(eve).map("mine/base")) == {"a": 1, "b": 2}


@MEMORY_ONLY
async def test_two_principals_may_use_one_request_id(store: Store) -> None:
    """P8: the same id of another principal is another request."""
    people = People()
    ada, bob = people.admin("ada"), people.admin("bob")
    async with closed(store, people) as server:
        replies = [
            await server.wire(who).commit("shop/prod", {who.principal: 1}, request_id="same") for who in (ada, bob, ada)
        ]
        assert [(reply.version.version, reply.version.author) for reply in replies] == [
            (1, "token:ada"),
            (2, "token:bob"),
            (1, "token:ada"),
        ]


@MEMORY_ONLY
async def test_a_fork_names_its_source_to_its_readers(store: Store) -> None:
    """The source is a part of the fork's header, and of its hash."""
    async with serving(store) as (server, people, admin, eve):
        people.grant(eve, "reader", FORBIDDEN)
        await change(server, people, {f"grants/token:eve {FORBIDDEN}": {"role": "reader"}}, admin)
        request = pb.ForkConfigRequest(source=FORBIDDEN, target="mine/fork", request_id="fork")
        assert (await server.stub(eve).ForkConfig(request)).created
        await change(server, people, {f"grants/token:eve {FORBIDDEN}": None}, admin)
        (first,) = (await server.stub(eve).ListVersions(pb.ListVersionsRequest(config="mine/fork"))).versions
        assert (first.source_config, first.source_version) == (FORBIDDEN, 2)
        again = pb.ForkConfigRequest(source=FORBIDDEN, target="mine/fork-2", request_id="fork-2")
        assert (await refusal(server.stub(eve).ForkConfig(again))).reason == "CONFIG_NOT_FOUND"


@MEMORY_ONLY
async def test_authors_are_principals_and_the_chain_holds(store: Store) -> None:
    people = People()
    admin = people.admin()
    async with closed(store, people) as server:
        for number in range(3):
            await server.wire(admin).commit("shop/prod", {"a": number})
        async with server.connect(admin) as client:
            config = await client.config("shop/prod")
            last = await config.verify()
            assert (last.number, last.author, last.author_verified) == (3, "token:admin", True)
        info = await server.stub(admin).GetServerInfo(pb.GetServerInfoRequest())
        assert (info.author, info.author_verified) == ("token:admin", True)


@MEMORY_ONLY
async def test_who_am_i_and_check_access(store: Store) -> None:
    people = People()
    admin, ada = people.admin(), people.token("ada")
    people.grant("group:team", "writer", "shop/**", reveal=True)
    people.grant(ada, "reader", "**")
    people.group("team", [ada])
    async with closed(store, people) as server:
        me = await server.stub(ada).WhoAmI(pb.WhoAmIRequest())
        assert (me.principal, list(me.groups), me.open) == ("token:ada", ["group:team"], False)
        assert [(g.subject, g.role, g.pattern, g.reveal) for g in me.grants] == [
            ("group:team", pb.WRITER, "shop/**", True),
            ("token:ada", pb.READER, "**", False),
        ]
        check = server.stub(admin).CheckAccess
        found = await check(pb.CheckAccessRequest(principal="token:ada", config="shop/prod"))
        assert (found.role, found.reveal, len(found.grants)) == (pb.WRITER, True, 2)
        found = await check(pb.CheckAccessRequest(principal="oidc:bob", groups=["group:team"], config="pay/prod"))
        assert (found.role, found.reveal, len(found.grants)) == (pb.ROLE_UNSPECIFIED, False, 0)
        found = await check(pb.CheckAccessRequest(principal="token:ada", config="_lamina/access"))
        assert found.role == pb.ROLE_UNSPECIFIED, "everything there needs the role admin"
        refused = await refusal(
            server.stub(ada).CheckAccess(pb.CheckAccessRequest(principal="token:ada", config="shop/prod"))
        )
        assert refused.reason == "NOT_ALLOWED"
        assert "the role admin on 'shop/prod'" in refused.text
