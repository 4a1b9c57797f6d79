"""Who calls, over real connections: one credential, and the author that it makes."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.store.memory import MemoryStore
from tests.security.closed import Secured, closed
from tests.security.people import NOBODY, People, Person
from tests.security.provider import Provider
from tests.server.bare_client import Refusal, commit_request

CANARY = "c4n4ry"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


async def refused(call: grpc.aio.UnaryUnaryCall[object, object]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    refusal = Refusal.of(caught.value)
    if refusal.code is grpc.StatusCode.UNAUTHENTICATED:
        assert CANARY not in refusal.text
    return refusal.reason, refusal.text


@pytest.mark.parametrize(
    ("metadata", "reason", "says"),
    [
        ([], "NO_CREDENTIALS", "LAMINA_TOKEN_FILE"),
        ([("authorization", CANARY)], "BAD_CREDENTIALS", "'Bearer TOKEN'"),
        ([("authorization", f"Basic {CANARY}")], "BAD_CREDENTIALS", "'Bearer TOKEN'"),
        ([("authorization", "Bearer ")], "BAD_CREDENTIALS", "'Bearer TOKEN'"),
        ([("authorization", f"Bearer {CANARY}")], "BAD_CREDENTIALS", "neither lamina_"),
        ([("authorization", f"Bearer lamina_{CANARY}")], "BAD_CREDENTIALS", "malformed"),
        ([("authorization", f"Bearer a.{CANARY}.c")], "BAD_CREDENTIALS", "trusts none"),
        ([("authorization", f"Bearer {CANARY}")] * 2, "BAD_CREDENTIALS", "has 2 credentials"),
        ([("lamina-author", "ada")], "NO_CREDENTIALS", "LAMINA_TOKEN_FILE"),
        ([("authorization", f"Bearer {CANARY}"), ("lamina-author", "ada")], "BAD_CREDENTIALS", "neither"),
    ],
)
async def test_a_call_without_one_good_credential_is_refused(
    metadata: Sequence[tuple[str, str]], reason: str, says: str
) -> None:
    people = People()
    people.admin()
    async with closed(MemoryStore(), people) as server:
        call = server.stub(NOBODY).GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata)
        assert (await refused(call))[0] == reason
        call = server.stub(NOBODY).GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata)
        assert says in (await refused(call))[1]


async def test_the_author_is_the_tokens_name_and_none_may_be_given() -> None:
    people = People()
    ada = people.admin("ada")
    async with closed(MemoryStore(), people) as server:
        version = (await server.stub(ada).Commit(commit_request("shop", {"a": 1}))).version
        assert (version.author, version.author_verified) == ("token:ada", True)
        own = [("lamina-author", "eve")]
        reason, says = await refused(server.stub(ada).Commit(commit_request("shop", {"a": 2}), metadata=own))
        assert (reason, "LAMINA_AUTHOR" in says) == ("BAD_REQUEST", True)


async def test_a_caller_by_certificate() -> None:
    people = People()
    shop = people.certificate("uri:spiffe://corp/shop", "dns:other.corp.example", common_name="admin")
    web = people.certificate("dns:web.corp.example")
    cases: dict[Person, str] = {
        people.certificate(common_name="spiffe://corp/shop"): "names nobody",
        people.certificate("uri:spiffe://corp/shop", "uri:spiffe://corp/admin"): "has 2 URIs",
        people.certificate("dns:web.corp.example", "dns:b.corp.example"): "has 2 DNS names",
        people.certificate("dns:web.corp.example\0.other.example"): "not valid",
    }
    for person in (shop, web):
        people.grant(person, "admin", "**")
    async with closed(MemoryStore(), people, secured=Secured.MTLS) as server:
        for person, principal in ((shop, "cert:spiffe://corp/shop"), (web, "cert:web.corp.example")):
            version = (await server.stub(person).Commit(commit_request(f"a/{principal[-4:]}", {"a": 1}))).version
            assert (version.author, version.author_verified) == (principal, True)
        for person, says in cases.items():
            reason, text = await refused(server.stub(person).GetServerInfo(pb.GetServerInfoRequest()))
            assert (reason, says in text) == ("BAD_CREDENTIALS", True), text
        token = [("authorization", f"Bearer {people.token('x').token}")]
        reason, text = await refused(server.stub(shop).GetServerInfo(pb.GetServerInfoRequest(), metadata=token))
        assert (reason, "two credentials" in text) == ("BAD_CREDENTIALS", True)


async def test_a_caller_of_an_identity_provider(provider: Provider) -> None:
    people = People()
    people.admin()
    people.values["issuers/corp"] = provider.issuer(groups="groups")
    people.grant("oidc:ada", "admin", "**")
    async with closed(MemoryStore(), people) as server:
        ada = Person("oidc:ada", provider.token(groups=["platform"]))
        version = (await server.stub(ada).Commit(commit_request("shop", {"a": 1}))).version
        assert (version.author, version.author_verified) == ("oidc:ada", True)
        forged = Person("oidc:ada", provider.token(sub="ada")[:-8] + "AAAAAAAA")
        reason, text = await refused(server.stub(forged).GetServerInfo(pb.GetServerInfoRequest()))
        assert (reason, "signature" in text) == ("BAD_CREDENTIALS", True)


async def test_a_watch_ends_with_the_token_of_its_caller(provider: Provider) -> None:
    people = People()
    people.admin()
    people.values["issuers/corp"] = provider.issuer()
    people.grant("oidc:ada", "reader", "**")
    async with closed(MemoryStore(), people) as server:
        ada = Person("oidc:ada", provider.token(exp=time.time() + 1))
        watching = server.wire(ada).watch("shop")
        await watching.bookmark()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watching.message()
        refusal = Refusal.of(caught.value)
        assert (refusal.reason, "expired" in refusal.text) == ("BAD_CREDENTIALS", True)


async def test_a_watch_ends_when_its_issuer_is_trusted_no_more(provider: Provider) -> None:
    people = People()
    admin = people.admin()
    people.values["issuers/corp"] = provider.issuer()
    people.grant("oidc:ada", "reader", "**")
    async with closed(MemoryStore(), people) as server:
        ada = Person("oidc:ada", provider.token())
        watching = server.wire(ada).watch("shop")
        await watching.bookmark()
        await server.change({"grants/token:other shop": {"role": "reader"}}, by=admin)
        await server.change({"issuers/corp": None}, by=admin)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watching.message()
        refusal = Refusal.of(caught.value)
        assert (refusal.reason, "trusts none" in refusal.text) == ("BAD_CREDENTIALS", True)


def test_a_server_without_identity_providers_does_not_import_their_library() -> None:
    """It takes a third of a second, and many start a server for each of their tests."""
    program = "import sys, lamina_server.app; print('jwt' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
