"""The schema of the config `_lamina/access`: its map of keys and values <-> an Access. Pure.

Worked example, one line for each kind of key:

    tokens/k3v9q2x7m4d1                {"name": "deployer", "sha256": "9f86…", "expires": "2027-01-01T00:00:00Z"}
    grants/token:deployer payments/**  {"role": "writer", "reveal": true}
    groups/platform                    ["token:deployer", "oidc:ada@corp.example"]
    issuers/corp                       {"url": "https://…", "audience": "lamina", "algorithm": "RS256", "jwks": "https://…"}
    limits/token:deployer              {"calls_per_second": 100}

One grant is one key, so that two admins who change different grants do not conflict, and the
history of a key is the history of a grant.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from lamina_server.domain.access import (
    ACCESS_CONFIG,
    GROUP,
    PRINCIPAL,
    Access,
    CallerLimits,
    Grant,
    Issuer,
    Role,
    Token,
    compiled,
    members,
)
from lamina_server.domain.errors import InvalidError, Reason, Violation
from lamina_server.domain.names import CONFIG_NAME_LIMIT_BYTES, NOT_A_NAME, holds_token, without_token
from lamina_server.domain.records import Change
from lamina_server.domain.values import Kind, Value

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those whose keys can be public."""
SUBJECT_LIMIT_BYTES: Final = 200
"""A grant's key holds a subject and a pattern, and a key has at most 512 bytes."""

_SHOWN: Final = 16
_PARSED_KEYS_KEPT: Final = 50_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TOKEN_ID: Final = re.compile(r"[a-z0-9]{4,32}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PREFIX: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*/)?")
_PATTERN: Final = re.compile(r"[A-Za-z0-9._/*-]+")
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ROLES: Final = {"reader": Role.READER, "writer": Role.WRITER, "admin": Role.ADMIN}


_Found: TypeAlias = dict[str, dict[str, Any]]
"""What the keys of each kind say, by their names."""


class _BadError(Exception):
    """What is wrong with one key, and what would do."""


def read(values: Mapping[str, Value], version: int = 0) -> Access:
    """Return the access that a map gives. Raise InvalidError, which names each key that is wrong and what would do."""
    found, faults = _parsed(values)
    if faults:
        raise InvalidError(Reason.BAD_VALUE, faults[:_SHOWN])
    return _access(found, version)


def salvage(values: Mapping[str, Value]) -> tuple[Access, tuple[str, ...]]:
    """Return the access that the sound keys of a map give, and the keys that are wrong."""
    wrong = {fault.field for fault in _parsed(values)[1]}
    sound = {key: value for key, value in values.items() if key not in wrong}
    return read(sound), tuple(sorted(wrong))


def check(values: Mapping[str, Value], changes: Iterable[Change], now_us: int) -> None:
    """Raise InvalidError as `check_whole` does, and also if what the changes set has a token in it."""
    changes = tuple(changes)
    texts = {change.key: f"{change.key} {change.value.data!s}" for change in changes if change.value is not None}
    if found := [Violation(without_token(key), NOT_A_NAME) for key, text in texts.items() if holds_token(text)]:
        raise InvalidError(Reason.BAD_VALUE, found[:_SHOWN])
    check_whole(values, changes, now_us)


def check_whole(values: Mapping[str, Value], changes: Iterable[Change], now_us: int) -> None:
    """Raise InvalidError if changes of a map leave no access, or nobody who could change it back."""
    new = read(_changed(values, changes))
    lost = admins(salvage(values)[0], now_us)
    if lost and not admins(new, now_us):
        text = (
            f"would leave no admin of {ACCESS_CONFIG}, which is now {min(lost)!r}: first grant the role admin on it to "
            "another principal, whose token has not expired"
        )
        raise InvalidError(Reason.BAD_VALUE, [Violation("grants", text)])


def admins(access: Access, now_us: int | None = None) -> frozenset[str]:
    """Return the principals and groups who may change who may do what, and who can exist.

    now_us  the clock: a token that has expired by then counts no more; None: it counts
    """
    subjects = {
        g.subject for g in access.grants if g.role is Role.ADMIN and compiled(g.pattern).fullmatch(ACCESS_CONFIG)
    }
    return frozenset(subject for subject in subjects if _may_exist(access, subject, now_us))


def admin_changes(values: Mapping[str, Value], principal: str, token: Token | None = None) -> tuple[Change, ...]:
    """Return the changes that make a principal the admin of everything, and leave out the keys that are wrong.

    token  a new one of the principal's name; its others go, because whoever has one would be the same principal

    Raises InvalidError if nobody can be that principal.
    """
    old, wrong = salvage(values)
    gone, made = set(wrong), {f"grants/{principal} **": {"role": "admin", "reveal": True}}
    if token is not None:
        gone |= {f"tokens/{each.id}" for each in old.tokens.values() if each.name == token.name}
        made[f"tokens/{token.id}"] = {"name": token.name, "sha256": token.sha256.hex()}
    changes = (
        *(Change(key, None) for key in gone - made.keys()),
        *(Change(key, Value.of_json(json.dumps(item))) for key, item in made.items()),
    )
    if principal not in admins(read(_changed(values, changes))):
        text = "names nobody who can call: there is no such token, or no issuer that vouches for this person or group"
        raise InvalidError(Reason.BAD_VALUE, [Violation(f"grants/{principal} **", text)])
    return changes


def _changed(values: Mapping[str, Value], changes: Iterable[Change]) -> dict[str, Value]:
    changed = {**values, **{change.key: change.value for change in changes}}
    return {key: value for key, value in changed.items() if value is not None}


def _may_exist(access: Access, subject: str, now_us: int | None) -> bool:
    kind, _, name = subject.partition(":")
    if kind == "token":
        return any(token.name == name and not token.has_expired(now_us) for token in access.tokens.values())
    if kind == "oidc":
        return any(name.startswith(issuer.prefix) for issuer in access.issuers.values())
    if kind == "group":
        claimed = any(issuer.groups and name.startswith(issuer.prefix) for issuer in access.issuers.values())
        return claimed or any(_may_exist(access, member, now_us) for member in access.groups.get(name, ()))
    return True


# --- a whole map ------------------------------------------------------------------------------


def _parsed(values: Mapping[str, Value]) -> tuple[_Found, list[Violation]]:
    """Return what the keys say, and what is wrong with those that cannot be read or contradict others."""
    found: _Found = {kind: {} for kind in _READERS}
    faults: list[Violation] = []
    for key, value in sorted(values.items()):
        kind, _, name = key.partition("/")
        try:
            found.setdefault(kind, {})[name] = _read_key(key, value)
        except _BadError as error:
            faults.append(Violation(key, str(error)))
    return found, faults + list(_contradictions(found["issuers"]))


@lru_cache(maxsize=_PARSED_KEYS_KEPT)  # because of each change, the whole map is read
def _read_key(key: str, value: Value) -> Any:
    kind, slash, name = key.partition("/")
    if not slash or kind not in _READERS:
        kinds = ", ".join(f"{kind}/" for kind in _READERS)
        raise _BadError(f"is no key of {ACCESS_CONFIG}: its keys begin with {kinds}")
    return _READERS[kind](name, _json(value))


def _access(found: _Found, version: int) -> Access:
    return Access(
        tokens=found["tokens"],
        issuers={issuer.url: issuer for issuer in found["issuers"].values()},
        groups=members(found["groups"]),
        grants=tuple(found["grants"].values()),
        limits=found["limits"],
        version=version,
    )


# --- one key ----------------------------------------------------------------------------------


def _token(name: str, value: Any) -> Token:
    if not _TOKEN_ID.fullmatch(name):
        raise _BadError("is no token's id: 4 to 32 lower-case letters and digits; `lamina token create` makes one")
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
        raise _BadError("is no grant's key: write grants/SUBJECT PATTERN, such as 'grants/token:deployer payments/**'")
    _check_subject(subject)
    if not _PATTERN.fullmatch(pattern) or "***" in pattern or len(pattern) > CONFIG_NAME_LIMIT_BYTES:
        raise _BadError("has a pattern that matches no config: a config's name, with '*' and '**' as wildcards")
    item = _Item(value, ("role", "reveal"))
    role = item.choice("role", tuple(_ROLES))
    return Grant(subject, _ROLES[role], pattern, reveal=item.optional("reveal", bool) or False)


def _group(name: str, value: Any) -> frozenset[str]:
    _check_name(name)
    if not isinstance(value, list) or not all(isinstance(each, str) and PRINCIPAL.fullmatch(each) for each in value):
        raise _BadError('must be a list of principals, such as ["token:deployer", "oidc:ada@corp.example"]')
    for each in value:
        _check_subject(each)
    return frozenset(value)


def _issuer(name: str, value: Any) -> Issuer:
    _check_name(name)
    item = _Item(value, ("url", "audience", "algorithm", "jwks", "person", "groups", "prefix"))
    keys = item.required("jwks", str)
    if not _is_https(keys) and not keys.startswith("file:///"):
        text = "needs in 'jwks' an https: URL without a user and a password, or file:///PATH of a file of the server"
        raise _BadError(text)
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
        raise _BadError("is no principal: write limits/PRINCIPAL, such as 'limits/token:deployer'")
    item = _Item(value, ("calls_per_second", "watches", "bytes_per_second"))
    return CallerLimits(item.count("calls_per_second"), item.count("watches"), item.count("bytes_per_second"))


_READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "tokens": _token,
    "grants": _grant,
    "groups": _group,
    "issuers": _issuer,
    "limits": _limits,
}


def _contradictions(issuers: Mapping[str, Issuer]) -> Iterator[Violation]:
    """Yield what would make one issuer's person pass for another's."""
    urls: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for name, issuer in issuers.items():
        key = f"issuers/{name}"
        if other := urls.setdefault(issuer.url, name) != name and urls[issuer.url]:
            yield Violation(key, f"has the url of issuers/{other}: one issuer has one key")
        elif not issuer.prefix and len(issuers) > 1:
            yield Violation(key, "needs a 'prefix', such as 'corp/', because there is more than one issuer")
        elif other := prefixes.setdefault(issuer.prefix, name) != name and prefixes[issuer.prefix]:
            yield Violation(key, f"has the prefix of issuers/{other}, so their persons could not be told apart")


# --- the fields of a value ----------------------------------------------------------------------


class _Item:
    """A JSON object whose fields are taken one by one."""

    def __init__(self, value: Any, names: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise _BadError(f"must be a JSON object with {', '.join(names)}")
        if value.keys() - set(names):
            raise _BadError(f"has a field that means nothing; it may have {', '.join(names)}")
        self._value: dict[str, Any] = value

    def required(self, name: str, kind: type) -> Any:
        found = self.optional(name, kind)
        if found is None or found == "":
            raise _BadError(f"has no {name!r}, which it needs")
        return found

    def optional(self, name: str, kind: type) -> Any:
        found = self._value.get(name)
        if found is not None and type(found) is not kind:
            words = {str: "a text", bool: "true or false", int: "a whole number"}
            raise _BadError(f"has a {name!r} that is not {words[kind]}")
        return found

    def text(self, name: str, allowed: "re.Pattern[str]", what: str, *, default: str | None = None) -> str:
        given = self.optional(name, str) if default is not None else self.required(name, str)
        found = str(default if given is None else given)
        if not allowed.fullmatch(found):
            raise _BadError(f"has a {name!r} that is not valid: it must be {what}")
        return found

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        found = self.required(name, str)
        if found not in allowed:
            raise _BadError(f"has a {name!r} that is none of {', '.join(allowed)}")
        return str(found)

    def count(self, name: str) -> int | None:
        found: int | None = self.optional(name, int)
        if found is not None and found < 1:
            raise _BadError(f"has a {name!r} that is less than 1")
        return found


def _json(value: Value) -> Any:
    if value.kind is not Kind.JSON:
        raise _BadError("must be JSON: an object or a list")
    return json.loads(str(value.data))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise _BadError("has a bad name: letters, digits, '.', '_' and '-', at most 100")


def _check_subject(subject: str) -> None:
    if len(subject.encode()) > SUBJECT_LIMIT_BYTES:
        raise _BadError(f"names a principal of {len(subject.encode())} bytes; the limit is {SUBJECT_LIMIT_BYTES} bytes")


def _time_us(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime(1970, 1, 1)  # noqa: DTZ001 - refused below
    if time.tzinfo is None:
        raise _BadError("has an 'expires' that is no time with a zone, such as 2027-01-01T00:00:00Z")
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
