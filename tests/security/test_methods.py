"""Every method of every service, called with every kind of credential, over every kind of connection."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.access import tokens
from lamina_server.app import Application
from lamina_server.rpc import permissions
from lamina_server.rpc.permissions import Special
from lamina_server.rpc.transport import UnsafeError
from lamina_server.settings import Settings
from lamina_server.store.memory import MemoryStore
from tests.security.calls import METHODS, change, see
from tests.security.closed import Secured, closed
from tests.security.people import NOBODY, People, Person
from tests.security.provider import Provider
from tests.server.bare_client import changes

CONFIG = "shop/prod"

LAMINA = "lamina.v1.ConfigService"
HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

GOOD: Mapping[str, Message] = {
    f"{LAMINA}/Commit": pb.CommitRequest(config=CONFIG, changes=changes({"x": 2}), request_id="commit"),
    f"{LAMINA}/GetVersion": pb.GetVersionRequest(config=CONFIG),
    f"{LAMINA}/ListVersions": pb.ListVersionsRequest(config=CONFIG),
    f"{LAMINA}/DiffVersions": pb.DiffVersionsRequest(config=CONFIG, from_version=0),
    f"{LAMINA}/GetKeyHistory": pb.GetKeyHistoryRequest(config=CONFIG, key="x"),
    f"{LAMINA}/WatchKeyHistory": pb.WatchKeyHistoryRequest(config=CONFIG, after=pb.Cursor(version=0)),
    f"{LAMINA}/RevertConfig": pb.RevertConfigRequest(config=CONFIG, to_version=0, base_version=2, request_id="revert"),
    f"{LAMINA}/ForkConfig": pb.ForkConfigRequest(source=CONFIG, target="shop/fork", request_id="fork"),
    f"{LAMINA}/ListConfigs": pb.ListConfigsRequest(),
    f"{LAMINA}/ListSecretKeys": pb.ListSecretKeysRequest(config=CONFIG),
    f"{LAMINA}/GetServerInfo": pb.GetServerInfoRequest(),
    f"{LAMINA}/WhoAmI": pb.WhoAmIRequest(),
    f"{LAMINA}/CheckAccess": pb.CheckAccessRequest(principal="token:somebody", config=CONFIG),
    f"{HEALTH}/Check": health_pb2.HealthCheckRequest(),
    f"{HEALTH}/List": health_pb2.HealthListRequest(),
    f"{HEALTH}/Watch": health_pb2.HealthCheckRequest(),
    f"{REFLECTION}/ServerReflectionInfo": reflection_pb2.ServerReflectionRequest(list_services=""),
}
"""A request of each method, in the order in which they are called: each is answered for a caller who may make it."""

READ = f"{LAMINA}/GetVersion"

OK = "OK "
BAD = "UNAUTHENTICATED BAD_CREDENTIALS"
ABSENT = "NOT_FOUND CONFIG_NOT_FOUND"
REFUSED = "PERMISSION_DENIED NOT_ALLOWED"
UNREACHABLE = "UNAVAILABLE "
SPECIAL: Mapping[Any, str] = {Special.PUBLIC: OK, Special.NOT_SERVED: "UNIMPLEMENTED "}
ELSEWHERE = {
    **dict.fromkeys(("Commit", "RevertConfig", "ForkConfig", "CheckAccess"), REFUSED),
    **dict.fromkeys(("GetVersion", "ListVersions", "DiffVersions", "GetKeyHistory", "ListSecretKeys"), ABSENT),
}
"""What a caller hears who has no right on the config. The other methods answer: with nothing of the config."""


@dataclass(frozen=True)
class Attempt:
    """Calls with one kind of credential.

    says      what the caller hears, of a method that is not public
    revoked   what changes in `_lamina/access` before the calls
    """

    who: Person
    says: Callable[[str], str]
    metadata: tuple[tuple[str, str], ...] = ()
    revoked: Mapping[str, Any] = field(default_factory=dict)


def always(answer: str) -> Callable[[str], str]:
    return lambda _: answer


def elsewhere(method: str) -> str:
    return ELSEWHERE.get(method.rpartition("/")[2], OK)


def bearer(text: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", text),)


def unreachable(_: str) -> str:
    return UNREACHABLE


def token_attempts(people: People, _: Provider) -> Mapping[str, Attempt]:
    """Return a caller for each kind of token."""
    unknown = tokens.make()[1]
    known = people.admin("known", "shop/**")
    expired = people.token("expired", expires=datetime.now(UTC) - timedelta(seconds=1))
    revoked = people.admin("revoked", "shop/**")
    people.grant(expired, "admin", "shop/**")
    malformed = {
        "no scheme": bearer(known.token),
        "another scheme": bearer(f"Basic {known.token}"),
        "empty": bearer("Bearer "),
        "cut off": bearer(f"Bearer {known.token[:20]}"),
        "with more after it": bearer(f"Bearer {known.token} x"),
        "no secret": bearer(f"Bearer lamina_{known.token_id}"),
        "no token at all": bearer("Bearer \x7e"),
        "twice": bearer(f"Bearer {known.token}") * 2,
        "long": bearer("Bearer " + "a" * 4_000),
    }
    return {
        "no credential": Attempt(NOBODY, always("UNAUTHENTICATED NO_CREDENTIALS")),
        **{f"malformed: {name}": Attempt(NOBODY, always(BAD), given) for name, given in malformed.items()},
        "unknown": Attempt(Person(token=unknown), always(BAD)),
        "of another's secret": Attempt(Person(token=known.token[:-43] + revoked.token[-43:]), always(BAD)),
        "expired": Attempt(expired, always(BAD)),
        "revoked": Attempt(revoked, always(BAD), revoked={f"tokens/{revoked.token_id}": None}),
        "wrong pattern": Attempt(people.admin("elsewhere", "pay/**"), elsewhere),
        "no grant": Attempt(people.token("nobody"), elsewhere),
        "right": Attempt(known, always(OK)),
    }


def certificate_attempts(people: People, _: Provider) -> Mapping[str, Attempt]:
    """Return a caller for each kind of certificate. What TLS refuses does not even reach the public methods."""
    known, revoked, other = (people.certificate(f"uri:spiffe://corp/{name}") for name in ("known", "revoked", "other"))
    people.grant(known, "admin", "shop/**")
    grant = people.grant(revoked, "admin", "shop/**")
    people.grant(other, "admin", "pay/**")
    token = people.admin("token", "shop/**")
    past = datetime.now(UTC) - timedelta(seconds=1)
    malformed = {
        "no name": people.certificate(common_name="spiffe://corp/known"),
        "two names": people.certificate("uri:spiffe://corp/known", "uri:spiffe://corp/other"),
        "a zero byte": people.certificate("uri:spiffe://corp/known\0"),
    }
    return {
        "no credential": Attempt(NOBODY, unreachable),
        "a token alone": Attempt(token, unreachable),
        **{f"malformed: {name}": Attempt(person, always(BAD)) for name, person in malformed.items()},
        "a token beside it": Attempt(known, always(BAD), tuple(token.metadata)),
        "of another authority": Attempt(People().certificate("uri:spiffe://corp/known"), unreachable),
        "expired": Attempt(people.certificate("uri:spiffe://corp/known", ends=past), unreachable),
        "revoked": Attempt(revoked, elsewhere, revoked={grant: None}),
        "wrong pattern": Attempt(other, elsewhere),
        "no grant": Attempt(people.certificate("dns:nobody.corp.example"), elsewhere),
        "right": Attempt(known, always(OK)),
    }


def jwt_attempts(people: People, provider: Provider) -> Mapping[str, Attempt]:
    """Return a caller for each kind of an identity provider's token."""
    people.values["issuers/corp"] = provider.issuer(prefix="corp/", groups="groups")
    people.values["issuers/old"] = provider.issuer(prefix="old/", url="https://old.example")
    people.grant("group:corp/shop", "admin", "shop/**")
    people.grant("oidc:corp/other", "admin", "pay/**")
    people.grant("oidc:old/ada", "admin", "shop/**")
    header, claims, signature = provider.token(groups=["shop"]).split(".")
    bad = {
        "malformed: cut off": f"{header}.{claims}",
        "malformed: no signature": f"{header}.{claims}.",
        "malformed: two signatures": f"{header}.{claims}.{signature}.{signature}",
        "unknown: issuer": provider.token(iss="https://evil.example", groups=["shop"]),
        "unknown: key": provider.token({"kid": "../key-0"}, groups=["shop"]),
        "unknown: signature": f"{header}.{claims}.{'A' * len(signature)}",
        "unknown: audience": provider.token(aud="other", groups=["shop"]),
        "unknown: person": provider.token(sub=None, groups=["shop"]),
        "expired": provider.token(exp=int(time.time()) - 1, groups=["shop"]),
        "endless": provider.token(exp=None, groups=["shop"]),
        "not yet valid": provider.token(nbf=int(time.time()) + 3_600, groups=["shop"]),
    }
    revoked = Person(token=provider.token(iss="https://old.example"))
    return {
        "no credential": Attempt(NOBODY, always("UNAUTHENTICATED NO_CREDENTIALS")),
        **{name: Attempt(Person(token=text), always(BAD)) for name, text in bad.items()},
        "revoked": Attempt(revoked, always(BAD), revoked={"issuers/old": None, "grants/oidc:old/ada shop/**": None}),
        "wrong pattern": Attempt(Person(token=provider.token(sub="other")), elsewhere),
        "no grant": Attempt(Person(token=provider.token(groups=["Shop", "shop/"])), elsewhere),
        "right": Attempt(Person(token=provider.token(groups=["shop"])), always(OK)),
    }


@dataclass(frozen=True)
class Transport:
    """A kind of connection, and the callers who use it."""

    secured: Secured
    attempts: Callable[[People, Provider], Mapping[str, Attempt]]


TRANSPORTS: Mapping[str, Transport] = {
    "plaintext": Transport(Secured.PLAINTEXT, token_attempts),
    "TLS": Transport(Secured.TLS, token_attempts),
    "mTLS": Transport(Secured.MTLS, certificate_attempts),
    "OIDC": Transport(Secured.TLS, jwt_attempts),
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


def test_the_table_has_each_method_and_no_other() -> None:
    assert set(METHODS) == set(permissions.METHODS) == set(GOOD)


@pytest.mark.parametrize("method", METHODS)
async def test_a_method_without_a_line_stops_the_start(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on an open server: its line must be there when it is closed."""
    lines = {name: line for name, line in permissions.METHODS.items() if name != method}
    monkeypatch.setattr(permissions, "METHODS", lines)
    for mode in ("open", "closed"):
        with pytest.raises(UnsafeError, match=f"nothing says who may call {method}: add a line"):
            Application(Settings(listen="localhost:0", access=mode), MemoryStore())


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
async def test_every_method_with_every_credential(transport: Transport, provider: Provider) -> None:
    """P16. A call without a right credential learns nothing from the way in which its request is malformed."""
    people = People()
    admin = people.certificate("dns:admin.example") if transport.secured is Secured.MTLS else people.token("admin")
    people.grant(admin, "admin", "**")
    attempts = transport.attempts(people, provider)
    async with closed(MemoryStore(), people, secured=transport.secured) as server:
        await server.wire(admin).commit(CONFIG, {"x": 1})
        for attempt in attempts.values():
            if attempt.revoked:
                assert (await see(server, attempt.who, READ, GOOD[READ].SerializeToString())).code.name == "OK"
                await change(server, people, attempt.revoked, admin)
        wrong = []
        for name, attempt in attempts.items():
            for method, request in GOOD.items():
                expected = _expected(method, attempt)
                for data in _bytes(method, request, expected):
                    seen = await see(server, attempt.who, method, data, attempt.metadata)
                    heard = f"{seen.code.name} {seen.reason}"
                    if heard != expected:
                        wrong.append(f"{name}, {method}: {heard} instead of {expected}: {seen.text}")
        assert not wrong, "\n".join(wrong)
        assert (await server.wire(admin).get(CONFIG)).version == 3, "one commit and one revert"


def _expected(method: str, attempt: Attempt) -> str:
    said = attempt.says(method)
    return said if said == UNREACHABLE else SPECIAL.get(permissions.METHODS[method], said)


def _bytes(method: str, request: Message, expected: str) -> list[bytes]:
    """Return the good request, and a malformed one if nobody may learn that it is malformed."""
    good = request.SerializeToString()
    is_unknown = expected.startswith("UNAUTHENTICATED") and method.startswith(LAMINA)
    return [good, b"\xff"] if is_unknown else [good]
