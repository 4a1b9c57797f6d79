"""Those who call a closed server, and the content of `_lamina/access` that gives them their rights.

    people = People()
    ada = people.token("ada")                             # a principal with a credential
    people.grant(ada, "admin", "**", reveal=True)
    shop = people.certificate("uri:spiffe://corp.example/shop")
    people.group("platform", [ada, shop])
    people.grant("group:platform", "writer", "payments/**")
    people.values                                         # the map, for a commit

They change nothing on a server: `tests.security.closed` starts one that has them, and changes it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.access import tokens

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Person:
    """Who calls, and by which credential: a bearer token, or a certificate and its key in PEM; neither: nobody.

    principal  such as "token:ada"
    token_id   of one of our own tokens: its key is `tokens/ID`
    """

    principal: str = ""
    token: str = field(default="", repr=False)
    token_id: str = ""
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """The metadata that a call of this person has."""
        return [("authorization", f"Bearer {self.token}")] if self.token else []


NOBODY = Person()


class People:
    """The principals of a test, their grants, and the authority that signs their certificates.

    values  the map of `_lamina/access`; a test may change it
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    @cached_property
    def authority(self) -> trustme.CA:
        """The authority that signs the clients' certificates."""
        return trustme.CA(key_type=trustme.KeyType.ECDSA)

    def token(self, name: str, *, expires: datetime | None = None) -> Person:
        """Make a token."""
        token_id, text, sha256 = tokens.make()
        value = {"name": name, "sha256": sha256.hex()}
        if expires is not None:
            value["expires"] = expires.isoformat()
        self.values[f"tokens/{token_id}"] = value
        return Person(f"token:{name}", text, token_id)

    def certificate(self, *names: str, common_name: str = "nobody", ends: datetime | None = None) -> Person:
        """Issue a certificate with names such as "uri:spiffe://corp.example/shop" and "dns:shop.corp.example"."""
        principal = f"cert:{names[0].partition(':')[2]}" if names else ""
        return Person(principal, certificate=issue(self.authority, *names, common_name=common_name, ends=ends))

    def grant(self, subject: Person | str, role: str, pattern: str, *, reveal: bool = False) -> str:
        """Give a role to a principal or a group; return the key of the grant."""
        key = f"grants/{_name(subject)} {pattern}"
        self.values[key] = {"role": role, **({"reveal": True} if reveal else {})}
        return key

    def group(self, name: str, members: Iterable[Person | str]) -> str:
        """List the members of a group; return its key."""
        self.values[f"groups/{name}"] = [_name(member) for member in members]
        return f"groups/{name}"

    def reader(self, name: str, pattern: str, **options: Any) -> Person:
        """Make a token with one grant."""
        return self._with("reader", name, pattern, **options)

    def writer(self, name: str, pattern: str, **options: Any) -> Person:
        """Make a token with one grant."""
        return self._with("writer", name, pattern, **options)

    def admin(self, name: str = "admin", pattern: str = "**", **options: Any) -> Person:
        """Make a token with one grant, by default on everything."""
        return self._with("admin", name, pattern, **options)

    def _with(self, role: str, name: str, pattern: str, **options: Any) -> Person:
        person = self.token(name)
        self.grant(person, role, pattern, **options)
        return person


def changes(values: dict[str, Any]) -> list[pb.Change]:
    """Return the changes that set these keys of `_lamina/access`; None deletes one."""
    return [
        pb.Change(key=key, deleted=True)
        if value is None
        else pb.Change(key=key, value=pb.Value(json=json.dumps(value)))
        for key, value in values.items()
    ]


def issue(
    authority: trustme.CA, *names: str, common_name: str = "nobody", ends: datetime | None = None
) -> tuple[bytes, bytes]:
    """Issue a certificate for any subject alternative names; return it and its key. trustme itself issues no URIs."""
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends or now) - _DAY)
        .not_valid_after(ends or now + _DAY)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), False)
    certificate = builder.sign(signer, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _alternative(name: str) -> x509.GeneralName:
    kind, _, text = name.partition(":")
    kinds: dict[str, Callable[[str], x509.GeneralName]] = {
        "uri": x509.UniformResourceIdentifier,
        "dns": x509.DNSName,
        "email": x509.RFC822Name,
    }
    return kinds[kind](text)


def _name(subject: Person | str) -> str:
    return subject.principal if isinstance(subject, Person) else subject
