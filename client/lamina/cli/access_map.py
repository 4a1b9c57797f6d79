"""The config `_lamina/access` as it is written and read here: grants, groups and tokens by their keys. Pure.

    tokens/k3v9q2x7m4d1                {"name": "deployer", "sha256": "9f86…", "expires": "2027-01-01T00:00:00Z"}
    grants/token:deployer payments/**  {"role": "writer", "reveal": true}
    groups/platform                    ["token:deployer", "oidc:ada@corp.example"]

The server checks what is written, whoever writes it; a test compares the two.
"""

import hashlib
import re
import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import lamina

ACCESS_CONFIG: Final = "_lamina/access"
ROLES: Final = ("reader", "writer", "admin")
SUBJECTS: Final = "token:NAME, cert:NAME, oidc:PERSON or group:NAME"
SUBJECT: Final = re.compile(r"(token|cert|oidc|group):[^\s\x00-\x1f\x7f]+")
TOKEN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_GRANTS: Final = "grants/"
_GROUPS: Final = "groups/"
_TOKENS: Final = "tokens/"
_ID_LENGTH: Final = 12
_SECRET_BYTES: Final = 32
_WILDCARDS: Final = re.compile(r"(\*\*|\*)")


@dataclass(frozen=True, slots=True)
class Token:
    """One token as it is listed: without its secret."""

    id: str
    name: str
    expires: datetime | None

    @property
    def key(self) -> str:
        """Its key in the config."""
        return _TOKENS + self.id

    @property
    def principal(self) -> str:
        """Whom a caller with this token is."""
        return f"token:{self.name}"

    def has_expired(self, now: datetime) -> bool:
        """Return whether it is not valid any more."""
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made: its key and value for the config, and its text, which is kept nowhere."""

    token: Token
    sha256: str

    @property
    def value(self) -> dict[str, Any]:
        """What the config keeps of it."""
        expires = self.token.expires
        ends = {} if expires is None else {"expires": expires.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        return {"name": self.token.name, "sha256": self.sha256, **ends}


def make_token(name: str, expires: datetime | None) -> tuple[NewToken, str]:
    """Make a token with 256 random bits; return what is kept of it, and its text."""
    alphabet = string.ascii_lowercase + string.digits
    token_id = "".join(secrets.choice(alphabet) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    kept = NewToken(Token(token_id, name, expires), hashlib.sha256(secret.encode()).hexdigest())
    return kept, f"lamina_{token_id}_{secret}"


def grant_key(subject: str, pattern: str) -> str:
    """Return the key of the grant to a subject on a pattern: there is one."""
    return f"{_GRANTS}{subject} {pattern}"


def grant_value(role: str, *, reveal: bool) -> dict[str, Any]:
    """Return the value of a grant."""
    return {"role": role, "reveal": True} if reveal else {"role": role}


def grants_in(access: Mapping[str, Any]) -> Iterator[lamina.Grant]:
    """Yield the grants, by subject and pattern."""
    for key, value in access.items():
        if key.startswith(_GRANTS):
            subject, _, pattern = key.removeprefix(_GRANTS).partition(" ")
            yield lamina.Grant(subject, str(value["role"]), pattern, bool(value.get("reveal", False)))


def grants_to(access: Mapping[str, Any], principal: str) -> list[lamina.Grant]:
    """Return the grants to a principal and to the groups that list it; or to one group."""
    subjects = {principal, *groups_of(access, principal)}
    return [grant for grant in grants_in(access) if grant.subject in subjects]


def groups_of(access: Mapping[str, Any], principal: str) -> list[str]:
    """Return the groups that list a principal."""
    groups = ((key, value) for key, value in access.items() if key.startswith(_GROUPS))
    return [f"group:{key.removeprefix(_GROUPS)}" for key, members in groups if principal in members]


def tokens_in(access: Mapping[str, Any]) -> Iterator[Token]:
    """Yield the tokens, by id."""
    for key, value in access.items():
        if key.startswith(_TOKENS):
            expires = value.get("expires")
            ends = None if expires is None else datetime.fromisoformat(expires)
            yield Token(key.removeprefix(_TOKENS), str(value["name"]), ends)


def subjects_in(access: Mapping[str, Any]) -> list[str]:
    """Return all subjects that are named anywhere, in order."""
    members = {each for key, value in access.items() if key.startswith(_GROUPS) for each in value}
    groups = {f"group:{key.removeprefix(_GROUPS)}" for key in access if key.startswith(_GROUPS)}
    granted = {grant.subject for grant in grants_in(access)}
    return sorted(members | groups | granted | {token.principal for token in tokens_in(access)})


def matches(pattern: str, config: str) -> bool:
    """Return whether a pattern matches a config: `*` is any text within a segment, `**` any text."""
    parts = {"*": "[^/]*", "**": ".*"}
    written = "".join(parts.get(part) or re.escape(part) for part in _WILDCARDS.split(pattern))
    return re.fullmatch(written, config) is not None
