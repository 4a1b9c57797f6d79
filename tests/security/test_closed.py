"""The harness of this folder: closed servers know those who call them."""

from pathlib import Path

import grpc
import pytest

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.store.memory import MemoryStore
from tests.security.closed import ClosedProcess, Secured, closed
from tests.security.people import NOBODY, People, Person
from tests.server.bare_client import refusal


@pytest.mark.parametrize("secured", [Secured.PLAINTEXT, Secured.TLS])
async def test_a_token_names_the_author(secured: Secured) -> None:
    people = People()
    ada = people.admin("ada")
    async with closed(MemoryStore(), people, secured=secured) as server:
        reply = await server.wire(ada).commit("shop/prod", {"timeout": 30})
        assert (reply.version.author, reply.version.author_verified) == ("token:ada", True)
        watching = server.wire(ada).watch("shop/prod", 0)
        assert await watching.numbers(1) == [1]
        watching.cancel()
        assert (await refusal(server.stub(NOBODY).GetServerInfo(pb.GetServerInfoRequest()))).reason == "NO_CREDENTIALS"
        async with server.connect(ada) as client:
            assert (await client.config("shop/prod"))["timeout"] == 30


async def test_without_a_certificate_no_call_arrives() -> None:
    people = People()
    people.admin()
    shop = people.certificate("uri:spiffe://corp.example/shop")
    async with closed(MemoryStore(), people, secured=Secured.MTLS) as server:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.stub(NOBODY).GetServerInfo(pb.GetServerInfoRequest())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (await server.stub(shop).GetServerInfo(pb.GetServerInfoRequest())).author == shop.principal


def test_a_process_is_closed(tmp_path: Path) -> None:
    people = People()
    people.admin()
    url = f"sqlite:///{tmp_path}/lamina.db"
    with ClosedProcess(url, people, secured=Secured.TLS) as server, pytest.raises(lamina.UnauthenticatedError):
        server.connect(Person(token="lamina_unknown_unknown")).config("shop/prod")


async def test_a_change_holds_once_it_was_made() -> None:
    people = People()
    ada, shop = people.admin("ada"), people.reader("shop", "shop/**")
    async with closed(MemoryStore(), people) as server:
        await server.wire(ada).commit("shop/prod", {"timeout": 30})
        assert await server.wire(shop).map("shop/prod") == {"timeout": 30}
        await server.change({f"tokens/{shop.token_id}": None}, by=ada)
        assert (await refusal(server.wire(shop).get("shop/prod"))).reason == "BAD_CREDENTIALS"
