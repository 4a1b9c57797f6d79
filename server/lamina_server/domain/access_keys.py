"""One key of the config `_lamina/access`: what it and its value say, or what is wrong with them. Pure.

One key of each kind is in the worked example of access_map.py.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from lamina_server.domain.access import ACCESS_CONFIG, GROUP, PRINCIPAL, CallerLimits, Grant, Issuer, Role, Token
from lamina_server.domain.names import CONFIG_NAME_LIMIT_BYTES
from lamina_server.domain.values import Kind, Value

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those whose keys can be public."""
SUBJECT_LIMIT_BYTES: Final = 200
"""A grant's key holds a subject and a pattern, and a key has at most 512 bytes."""

_PARSED_KEYS_KEPT: Final = 50_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TOKEN_ID: Final = re.compile(r"[a-z0-9]{4,32}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PREFIX: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*/)?")
_PATTERN: Final = re.compile(r"[A-Za-z0-9._/*-]+")
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ROLES: Final = {"reader": Role.READER, "writer": Role.WRITER, "admin": Role.ADMIN}


class BadKeyError(Exception):
    """What is wrong with one key, and what would do."""


@lru_cache(maxsize=_PARSED_KEYS_KEPT)  # because of each change, the whole map is read
def read_key(key: str, value: Value) -> Any:
    """Return what a key says: a Token, Grant, Issuer or CallerLimits, or the members of a group. Raise BadKeyError."""
    kind, slash, name = key.partition("/")
    if not slash or kind not in KINDS:
        kinds = ", ".join(f"{kind}/" for kind in KINDS)
        raise BadKeyError(f"is no key of {ACCESS_CONFIG}: its keys begin with {kinds}")
    return KINDS[kind](name, _json(value))


# --- the kinds of keys ------------------------------------------------------------------------


def _token(name: str, value: Any) -> Token:
    if not _TOKEN_ID.fullmatch(name):
        raise BadKeyError("is no token's id: 4 to 32 lower-case letters and digits; `lamina token create` makes one")
    item = _Item(value, ("name", "sha256", "expires"))
    expires = item.optional("expires", str)
    return Token(
        id=name,
        name=item.text("name", _NAME, "letters, digits, '.', '_' and '-', at most 100"),
        sha256=bytes.fromhex(item.text("sha256", _SHA256, "64 hexadecimal digits: the SHA-256 of the secret")),
        expires_us=None if expires is None else _time_us(expires),
    )


def _grant(name: str, value: Any) -> Grant:
    subject, space, pattern = name.partition(" ")
    if not space or not (PRINCIPAL.fullmatch(subject) or GROUP.fullmatch(subject)):
        text = "is no grant's key: write grants/SUBJECT PATTERN, such as 'grants/token:deployer payments/**'"
        raise BadKeyError(text)
    _check_subject(subject)
    if not _PATTERN.fullmatch(pattern) or "***" in pattern or len(pattern) > CONFIG_NAME_LIMIT_BYTES:
        raise BadKeyError("has a pattern that matches no config: a config's name, with '*' and '**' as wildcards")
    item = _Item(value, ("role", "reveal"))
    role = item.choice("role", tuple(_ROLES))
    return Grant(subject, _ROLES[role], pattern, reveal=item.optional("reveal", bool) or False)


def _group(name: str, value: Any) -> frozenset[str]:
    _check_name(name)
    if not isinstance(value, list) or not all(isinstance(each, str) and PRINCIPAL.fullmatch(each) for each in value):
        raise BadKeyError('must be a list of principals, such as ["token:deployer", "oidc:ada@corp.example"]')
    for each in value:
        _check_subject(each)
    return frozenset(value)


def _issuer(name: str, value: Any) -> Issuer:
    _check_name(name)
    item = _Item(value, ("url", "audience", "algorithm", "jwks", "person", "groups", "prefix"))
    keys = item.required("jwks", str)
    if not _is_https(keys) and not keys.startswith("file:///"):
        text = "needs in 'jwks' an https: URL without a user and a password, or file:///PATH of a file of the server"
        raise BadKeyError(text)
    return Issuer(
        name=name,
        url=item.required("url", str),
        audience=item.required("audience", str),
        algorithm=item.choice("algorithm", ALGORITHMS),
        jwks=keys,
        person=item.optional("person", str) or "sub",
        groups=item.optional("groups", str) or "",
        prefix=item.text("prefix", _PREFIX, "a name and a '/', such as 'corp/'", default=""),
    )


def _limits(name: str, value: Any) -> CallerLimits:
    if not PRINCIPAL.fullmatch(name):
        raise BadKeyError("is no principal: write limits/PRINCIPAL, such as 'limits/token:deployer'")
    item = _Item(value, ("calls_per_second", "watches", "bytes_per_second"))
    return CallerLimits(item.count("calls_per_second"), item.count("watches"), item.count("bytes_per_second"))


KINDS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "tokens": _token,
    "grants": _grant,
    "groups": _group,
    "issuers": _issuer,
    "limits": _limits,
}
"""What reads the name and the value of a key, by what the key begins with."""


# --- the fields of a value ----------------------------------------------------------------------


class _Item:
    """A JSON object whose fields are taken one by one."""

    def __init__(self, value: Any, names: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise BadKeyError(f"must be a JSON object with {', '.join(names)}")
        if value.keys() - set(names):
            raise BadKeyError(f"has a field that means nothing; it may have {', '.join(names)}")
        self._value: dict[str, Any] = value

    def required(self, name: str, kind: type) -> Any:
        found = self.optional(name, kind)
        if found is None or found == "":
            raise BadKeyError(f"has no {name!r}, which it needs")
        return found

    def optional(self, name: str, kind: type) -> Any:
        found = self._value.get(name)
        if found is not None and type(found) is not kind:
            words = {str: "a text", bool: "true or false", int: "a whole number"}
            raise BadKeyError(f"has a {name!r} that is not {words[kind]}")
        return found

    def text(self, name: str, allowed: "re.Pattern[str]", what: str, *, default: str | None = None) -> str:
        given = self.optional(name, str) if default is not None else self.required(name, str)
        found = str(default if given is None else given)
        if not allowed.fullmatch(found):
            raise BadKeyError(f"has a {name!r} that is not valid: it must be {what}")
        return found

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        found = self.required(name, str)
        if found not in allowed:
            raise BadKeyError(f"has a {name!r} that is none of {', '.join(allowed)}")
        return str(found)

    def count(self, name: str) -> int | None:
        found: int | None = self.optional(name, int)
        if found is not None and found < 1:
            raise BadKeyError(f"has a {name!r} that is less than 1")
        return found


def _json(value: Value) -> Any:
    if value.kind is not Kind.JSON:
        raise BadKeyError("must be JSON: an object or a list")
    return json.loads(str(value.data))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadKeyError("has a bad name: letters, digits, '.', '_' and '-', at most 100")


def _check_subject(subject: str) -> None:
    if (size := len(subject.encode())) > SUBJECT_LIMIT_BYTES:
        raise BadKeyError(f"names a principal of {size} bytes; the limit is {SUBJECT_LIMIT_BYTES} bytes")


def _time_us(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime(1970, 1, 1)  # noqa: DTZ001 - refused below
    if time.tzinfo is None:
        raise BadKeyError("has an 'expires' that is no time with a zone, such as 2027-01-01T00:00:00Z")
    return (time - _EPOCH) // timedelta(microseconds=1)


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    is_private = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    return has_place and is_plain and is_private
