"""Test 6: identity providers whose keys rotate, and who go away, or lie. Each is a real HTTP server."""

import asyncio
import json
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from structlog.testing import capture_logs

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.access import jwts
from lamina_server.access.download import LIMIT_BYTES
from lamina_server.access.issuers import TOKEN_LIMIT_BYTES, Issuers
from lamina_server.access.key_sets import DEFAULT_TIMES, KeyTimes
from lamina_server.access.live import LiveAccess
from lamina_server.commits.clock import system_now_us
from lamina_server.domain import access_map
from lamina_server.domain.errors import ServerError
from lamina_server.domain.values import Value
from lamina_server.store.memory import MemoryStore
from tests.security.closed import closed
from tests.security.people import People, Person
from tests.security.provider import Provider, document, jwk, reply, rsa_key

QUICK = KeyTimes(refresh=0.02, retry=0.02, limit=5)
"""For tests that wait until the keys are fetched anew."""
MICROSECONDS = 1_000_000


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


class Trust:
    """The issuers of a server that trusts providers, and the time that it has."""

    def __init__(self, values: dict[str, Any], times: KeyTimes) -> None:
        self.access = LiveAccess(is_open=False)
        self.ahead_us = 0
        self.issuers = Issuers(self.access, now_us=lambda: system_now_us() + self.ahead_us, times=times)
        self.change(values)

    def change(self, values: dict[str, Any]) -> None:
        given = {f"issuers/{name}": Value.of_json(json.dumps(value)) for name, value in values.items()}
        self.access.swap(access_map.read(given, version=self.access.current.version + 1))

    async def principal(self, token: str) -> str:
        return (await self.issuers.caller(token)).principal

    async def refusal(self, token: str) -> str:
        with pytest.raises(ServerError) as caught:
            await self.issuers.caller(token)
        assert caught.value.reason == "BAD_CREDENTIALS"
        return str(caught.value)


@asynccontextmanager
async def trusting(times: KeyTimes = DEFAULT_TIMES, **values: Any) -> AsyncIterator[Trust]:
    trust = Trust(values, times)
    try:
        yield trust
    finally:
        trust.issuers.stop()
        await asyncio.sleep(0)


async def asked(provider: Provider, times: int) -> None:
    """Wait until the provider was asked so often again."""
    for _ in range(times):
        provider.asked.clear()
        assert await asyncio.to_thread(provider.asked.wait, 10)


async def test_callers_share_the_first_fetch(provider: Provider) -> None:
    tokens = [provider.token(sub=f"caller-{number}") for number in range(20)]
    async with trusting(corp=provider.issuer()) as trust:
        found = await asyncio.gather(*map(trust.principal, tokens))
    assert found == [f"oidc:caller-{number}" for number in range(20)]
    assert provider.requests == 1


async def test_an_unknown_key_is_fetched_once_for_all_and_at_most_once_a_minute(provider: Provider) -> None:
    async with trusting(corp=provider.issuer()) as trust:
        old = provider.token()
        assert await trust.principal(old) == "oidc:ada"
        provider.rotate()
        new = [provider.token(jti=str(number)) for number in range(20)]
        assert await asyncio.gather(*map(trust.principal, new)) == ["oidc:ada"] * 20
        assert provider.requests == 2
        assert "does not know" in await trust.refusal(old)  # its key was withdrawn
        for number in range(50):
            await trust.refusal(provider.token({"kid": f"unknown-{number}"}))
        assert provider.requests == 2


async def test_keys_are_followed_without_being_asked_for(provider: Provider) -> None:
    async with trusting(QUICK, corp=provider.issuer()) as trust:
        old = provider.token()
        assert await trust.principal(old) == "oidc:ada"
        provider.rotate("key-2", keep=True)
        await asked(provider, 3)
        assert await trust.principal(old) == "oidc:ada"
        assert await trust.principal(provider.token()) == "oidc:ada"
        provider.rotate("key-2")
        await asked(provider, 3)
        assert "does not know" in await trust.refusal(old)


async def test_old_keys_count_while_the_provider_is_away_and_the_log_says_so_once() -> None:
    with capture_logs() as logged:
        with Provider() as provider:
            port, times = provider.port, KeyTimes(refresh=0.02, retry=0.02, unknown=0.02, limit=5)
            values = {"corp": provider.issuer()}
            token = provider.token()
        async with trusting(times, **values) as trust:
            assert "the server's log says" in await trust.refusal(token)
            with Provider(port) as provider:
                await asked(provider, 2)
                assert await trust.principal(token) == "oidc:ada"
            provider.rotate()
            assert "does not know" in await trust.refusal(provider.token())
            assert await trust.principal(provider.token({"kid": "key-0"}, jti="1") and token) == "oidc:ada"
            trust.change({"corp": {**values["corp"], "prefix": "corp/"}})  # nothing is remembered any more
            assert await trust.principal(token) == "oidc:corp/ada"
    events = [(line["event"], line["issuer"]) for line in logged]
    assert set(events) == {("keys of an issuer not fetched", "corp"), ("keys of an issuer fetched again", "corp")}
    assert {line["every_seconds"] for line in logged if line["log_level"] == "error"} == {600}


def html(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, b"<html>sign in</html>")


def unavailable(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, document(jwk(rsa_key(1), "key-1")), status=503)


def redirect(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, b"", status=302, Location="http://127.0.0.1:9/keys")


def huge(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, document(jwk(rsa_key(1), "key-1")) + b" " * LIMIT_BYTES)


def other_algorithm(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, document(jwk(rsa_key(1), "key-1", alg="RS512"), {"kty": "oct", "k": "AAAA", "kid": "key-1"}))


def two_of_one_id(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, document(jwk(rsa_key(1), "key-1"), jwk(rsa_key(2), "key-1")))


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01\x02" * 100)


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    drip(handler)


def drip_body(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    drip(handler)


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.settimeout(0.02)
    try:
        while True:
            handler.connection.send(b"x")
            try:
                if not handler.connection.recv(1):
                    return
            except TimeoutError:
                pass
    except OSError:
        return


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.settimeout(10)
    handler.connection.recv(1)


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (html, "no JSON"),
        (unavailable, "HTTP 503"),
        (redirect, "redirects"),
        (huge, "more than 262,144 bytes"),
        (other_algorithm, "none that is fit for RS256"),
        (two_of_one_id, "several with one id"),
        (hang_up, "no HTTP"),
        (no_http, "no HTTP"),
        (drip_headers, "no answer within 0.3 s"),
        (drip_body, "no answer within 0.3 s"),
        (silent, "no answer within 0.3 s"),
    ],
)
async def test_old_keys_count_while_the_provider_lies(provider: Provider, lie: Any, says: str) -> None:
    async with trusting(KeyTimes(limit=0.3), corp=provider.issuer()) as trust:
        old = provider.token()
        assert await trust.principal(old) == "oidc:ada"
        provider.rotate()
        provider.answer = lie
        with capture_logs() as logged:
            begun = time.monotonic()
            waiting = asyncio.create_task(trust.refusal(provider.token()))
            longest = 0.0
            while not waiting.done():
                at = time.monotonic()
                assert await trust.principal(old) == "oidc:ada"
                await asyncio.sleep(0.005)
                longest = max(longest, time.monotonic() - at)
            assert "does not know" in await waiting
        assert time.monotonic() - begun < 3
        assert longest < 1  # the event loop went on
        (line,) = logged
        assert says in str(line["exc_info"])


async def test_a_key_id_is_nothing_but_a_name(provider: Provider) -> None:
    async with trusting(KeyTimes(unknown=0), corp=provider.issuer()) as trust:
        assert await trust.principal(provider.token()) == "oidc:ada"
        for key_id in ("../../../etc/passwd", "file:///dev/zero", "/dev/null", f"{provider.url}/other", "' OR 1=1", ""):
            assert "does not know" in await trust.refusal(provider.token({"kid": key_id}))


async def test_keys_that_a_token_names_are_not_fetched(provider: Provider) -> None:
    with Provider() as attacker:
        attacker.key, attacker.key_id = rsa_key(2), "key-0"
        attacker.document = document(jwk(attacker.key, "key-0"))
        async with trusting(corp=provider.issuer()) as trust:
            for header in ("jku", "x5u"):
                forged = attacker.token({header: f"{attacker.url}/keys"}, iss=provider.url)
                assert "signature" in await trust.refusal(forged)
            assert "none of _lamina/access" in await trust.refusal(attacker.token())
        assert attacker.requests == 0


async def test_a_token_without_a_key_id_is_the_only_keys(provider: Provider) -> None:
    async with trusting(KeyTimes(unknown=0), corp=provider.issuer()) as trust:
        text = jwt.encode(provider.claims(), provider.key, "RS256")
        assert await trust.principal(text) == "oidc:ada"
        provider.rotate(keep=True)
        await trust.refusal(provider.token({"kid": "another"}))  # which fetches the keys anew
        assert "does not know" in await trust.refusal(text)


async def test_what_was_verified_counts_until_its_end_or_until_the_access_changes(provider: Provider) -> None:
    async with trusting(corp=provider.issuer()) as trust:
        token = provider.token()
        first = await trust.issuers.caller(token)
        trust.access.swap(replace(trust.access.current, version=7))  # which changes no issuer
        assert await trust.issuers.caller(token) is first
        trust.ahead_us = 61 * MICROSECONDS
        assert "expired" in await trust.refusal(token)
        trust.ahead_us = 0
        trust.change({"corp": provider.issuer(prefix="corp/")})
        assert await trust.principal(token) == "oidc:corp/ada"
        trust.change({"corp": provider.issuer(audience="another")})
        assert "audience" in await trust.refusal(token)
        assert provider.requests == 1  # the keys were kept
        trust.change({})
        assert "trusts none" in await trust.refusal(token)


async def test_what_is_remembered_is_bounded(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who gets a new token for each call takes no memory without bound, and each token still counts."""
    monkeypatch.setattr("lamina_server.access.issuers._REMEMBERED", 3)
    verified = Counter[str]()
    verify = jwts.verify

    def counted(token: Any, *given: Any) -> Any:
        verified[token.text] += 1
        return verify(token, *given)

    monkeypatch.setattr(jwts, "verify", counted)
    tokens = [provider.token(jti=str(number)) for number in range(10)]
    async with trusting(corp=provider.issuer()) as trust:
        for token in tokens:
            for _ in range(2):
                assert await trust.principal(token) == "oidc:ada"
            assert len(trust.issuers._remembered) <= 3
    assert [verified[token] for token in tokens] == [1] * 10


async def test_what_was_verified_is_forgotten_when_its_key_is_withdrawn(provider: Provider) -> None:
    """Also by the fetch that another token's unknown key has made, and not before."""
    async with trusting(corp=provider.issuer()) as trust:
        old = provider.token()
        assert await trust.principal(old) == "oidc:ada"
        provider.rotate()
        assert await trust.principal(old) == "oidc:ada"
        assert await trust.principal(provider.token(sub="bob")) == "oidc:bob"
        assert "does not know" in await trust.refusal(old)


async def test_a_listed_group_is_not_joined_by_a_claim(provider: Provider) -> None:
    """In the whole server: see Access.groups_of. With a prefix no claim can have the name of a listed group."""
    people = People()
    people.admin()
    people.group("platform", ["token:ada"])
    people.grant("group:platform", "reader", "shop/**")
    people.grant("group:shop", "reader", "shop/**")
    people.values["issuers/corp"] = provider.issuer(groups="groups")
    async with closed(MemoryStore(), people) as server:
        for groups, found in (["platform"], []), (["shop"], ["group:shop"]), (["platform", "shop"], ["group:shop"]):
            person = Person(token=provider.token(groups=groups))
            caller = await server.stub(person).WhoAmI(pb.WhoAmIRequest())
            assert (caller.principal, list(caller.groups)) == ("oidc:ada", found)
            assert sorted({grant.subject for grant in caller.grants}) == found


async def test_an_issuer_that_is_removed_while_its_keys_are_fetched(provider: Provider) -> None:
    provider.answer = silent
    async with trusting(corp=provider.issuer()) as trust:
        waiting = asyncio.create_task(trust.refusal(provider.token()))
        await asked(provider, 1)
        trust.change({})
        assert "none of _lamina/access" in await waiting


async def test_two_issuers_have_their_own_keys_and_persons(provider: Provider) -> None:
    with Provider() as other:
        other.rotate("key-0")
        other.key = rsa_key(1)
        other.document = document(jwk(other.key, "key-0"))
        async with trusting(corp=provider.issuer(prefix="corp/"), lab=other.issuer(prefix="lab/")) as trust:
            assert await trust.principal(provider.token()) == "oidc:corp/ada"
            assert await trust.principal(other.token()) == "oidc:lab/ada"
            assert "signature" in await trust.refusal(other.token(iss=provider.url))


async def test_keys_in_a_file_are_followed(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "the keys.json"
    file.write_bytes(provider.document)
    jwks = file.as_uri()
    async with trusting(KeyTimes(unknown=0), corp=provider.issuer(jwks=jwks)) as trust:
        assert await trust.principal(provider.token()) == "oidc:ada"
        provider.rotate()
        file.write_bytes(provider.document)
        assert await trust.principal(provider.token()) == "oidc:ada"
        file.unlink()
        with capture_logs() as logged:
            await trust.refusal(provider.token({"kid": "unknown"}))
            os.mkfifo(file)
            await trust.refusal(provider.token({"kid": "unknown"}))
        assert ["No such file" in str(logged[0]["exc_info"]), "it is no file" in str(logged[1]["exc_info"])] == [
            True
        ] * 2
    assert provider.requests == 0


async def test_a_certificate_that_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    with Provider() as provider:
        certificate = authority.issue_cert("localhost")
        provider.secure(certificate)
        jwks = f"https://localhost:{provider.port}/keys"
        with capture_logs() as logged:
            async with trusting(corp=provider.issuer(jwks=jwks)) as trust:
                await trust.refusal(provider.token())
        assert "certificate is not valid" in str(logged[0]["exc_info"])
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with trusting(corp=provider.issuer(jwks=jwks)) as trust:
            assert await trust.principal(provider.token()) == "oidc:ada"


@pytest.mark.parametrize(
    "text", ["", "x", "Basic", "a.b", "a.b.c.d", "x" * 100_000, "a." + "x" * TOKEN_LIMIT_BYTES + ".c"]
)
async def test_what_is_no_token_is_told_so(provider: Provider, text: str) -> None:
    async with trusting(corp=provider.issuer()) as trust:
        assert "no token" in await trust.refusal(text)
