"""Who may do what: callers, roles, grants, and the decision. Pure.

Worked example. `_lamina/access` grants "group:platform" the role writer on `payments/**`, and lists
"token:deployer" in the group `platform`. A call with the token `deployer` that commits to
`payments/prod` needs the role writer there: one grant gives it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Self

from lamina_server.domain.planning import Author
from lamina_server.domain.record import record
from lamina_server.domain.selection import outermost

RESERVED: Final = "_lamina/"
"""What the names of the server's own configs begin with. Everything there needs the role admin."""
ACCESS_CONFIG: Final = "_lamina/access"
"""The config that holds tokens, issuers, groups, grants and limits."""
PRINCIPAL: Final = re.compile(r"(token|cert|oidc):[^\s\x00-\x1f\x7f]+")
"""What the name of a principal looks like."""
GROUP: Final = re.compile(r"group:[^\s\x00-\x1f\x7f]+")
"""What the name of a group looks like, where a principal could stand."""

_DECISIONS_KEPT: Final = 10_000


class Role(IntEnum):
    """What a principal may do with a config; each role includes the ones before it. The numbers are the wire's."""

    NONE = 0
    READER = 1
    WRITER = 2
    ADMIN = 3


@record
class Caller:
    """Who makes a call.

    principal   such as "token:deployer"; empty on an open server, where everybody may do everything
    groups      those that an identity provider claims, such as "group:platform"
    author      the author of what the caller writes: the principal, or the name that an open server was told
    expires_us  when the caller's credential ends, in µs since the epoch; None: it has no end of its own
    """

    principal: str
    groups: frozenset[str]
    author: Author
    expires_us: int | None = None


def of_principal(principal: str, groups: frozenset[str] = frozenset(), expires_us: int | None = None) -> Caller:
    """Return the caller that a principal is."""
    return Caller(principal, groups, Author(principal, verified=True), expires_us)


@record
class Grant:
    """One role for one subject, a principal or a group, on the configs of one pattern."""

    subject: str
    role: Role
    pattern: str
    reveal: bool = False


@record
class Rights:
    """What a caller may do with one config: nothing, with Role.NONE."""

    role: Role
    reveal: bool

    def joined(self, role: Role, *, reveal: bool) -> "Rights":
        """Return these rights and those of another grant together."""
        return Rights(max(self.role, role), self.reveal or reveal)


@record
class Token:
    """One token: its name, the SHA-256 of its secret (32 bytes), and its end in µs since the epoch; None: no end."""

    id: str
    name: str
    sha256: bytes
    expires_us: int | None = None

    def has_expired(self, now_us: int | None) -> bool:
        """Return whether its end has come; None, for a time before all ends: it has not."""
        return self.expires_us is not None and now_us is not None and self.expires_us <= now_us


@record
class Issuer:
    """One identity provider whose JWTs count.

    url        the claim `iss`, exactly
    audience   what the claim `aud` must have in it
    algorithm  the one that signs, such as "RS256"
    jwks       where its keys are: an https: URL, or a file: URL
    person     the claim that names the caller
    groups     the claim that lists the caller's groups; empty: none does
    prefix     what precedes the names of its persons and groups
    """

    name: str
    url: str
    audience: str
    algorithm: str
    jwks: str
    person: str = "sub"
    groups: str = ""
    prefix: str = ""


@record
class CallerLimits:
    """Limits of one principal that are not the server's defaults; None: the default."""

    calls_per_second: int | None = None
    watches: int | None = None
    bytes_per_second: int | None = None


OPEN: Final = Rights(Role.ADMIN, reveal=True)
NOTHING: Final = Rights(Role.NONE, reveal=False)


@dataclass(frozen=True)
class Access:
    """The content of `_lamina/access`, ready to decide by. Immutable; a new one takes its place as a whole.

    tokens   by their ids
    groups   by their names without "group:"; the members are principals
    limits   by their principals
    version  the version of the config that this is; 0: there is none
    """

    tokens: Mapping[str, Token] = field(default_factory=dict)
    issuers: Mapping[str, Issuer] = field(default_factory=dict)
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    limits: Mapping[str, CallerLimits] = field(default_factory=dict)
    version: int = 0
    _by_secret: Mapping[tuple[str, bytes], Token] = field(init=False, repr=False)
    _by_subject: Mapping[str, tuple[Grant, ...]] = field(init=False, repr=False)
    _by_beginning: Mapping[str, tuple["_Granted", ...]] = field(init=False, repr=False)
    _lengths: tuple[int, ...] = field(init=False, repr=False)
    _groups_of: Mapping[str, frozenset[str]] = field(init=False, repr=False)
    _subjects: dict[tuple[str, frozenset[str]], frozenset[str]] = field(init=False, repr=False, default_factory=dict)
    _decisions: dict[tuple[str, frozenset[str], str], Rights] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        by_subject: dict[str, list[Grant]] = {}
        by_pattern: dict[str, dict[str, Rights]] = {}
        for grant in self.grants:
            by_subject.setdefault(grant.subject, []).append(grant)
            granted = by_pattern.setdefault(grant.pattern, {})
            granted[grant.subject] = granted.get(grant.subject, NOTHING).joined(grant.role, reveal=grant.reveal)
        by_beginning: dict[str, list[_Granted]] = {}
        for pattern, granted in by_pattern.items():
            beginning, rest = _taken_apart(pattern)
            by_beginning.setdefault(beginning, []).append((rest, frozenset(granted), granted))
        groups_of: dict[str, set[str]] = {}
        for name, members in self.groups.items():
            for member in members:
                groups_of.setdefault(member, set()).add(f"group:{name}")
        for name, value in (
            ("_by_secret", {(token_id, token.sha256): token for token_id, token in self.tokens.items()}),
            ("_by_subject", {subject: tuple(found) for subject, found in by_subject.items()}),
            ("_by_beginning", {beginning: tuple(found) for beginning, found in by_beginning.items()}),
            ("_lengths", tuple(sorted({len(beginning) for beginning in by_beginning}))),
            ("_groups_of", {member: frozenset(found) for member, found in groups_of.items()}),
        ):
            object.__setattr__(self, name, value)

    def rights(self, caller: Caller, config: str) -> Rights:
        """Return what a caller may do with a config. A config of the server's own needs the role admin for all."""
        key = (caller.principal, caller.groups, config)
        found = self._decisions.get(key)
        if found is None:
            if len(self._decisions) >= _DECISIONS_KEPT:
                self._decisions.clear()
            found = self._decisions[key] = self.decide(self.subjects_of(caller), config)
        return found

    def token(self, token_id: str, sha256: bytes) -> Token | None:
        """Return the token that has an id and a secret of this SHA-256."""
        return self._by_secret.get((token_id, sha256))

    def groups_of(self, caller: Caller) -> frozenset[str]:
        """Return the groups of a caller: those that list it, and those that were claimed and are not listed.

        A listed group has the members that are listed, and no others: who may name groups at an identity provider
        must not be able to join one of ours.
        """
        claimed = {group for group in caller.groups if group.removeprefix("group:") not in self.groups}
        return self._groups_of.get(caller.principal, frozenset()) | claimed

    def subjects_of(self, caller: Caller) -> frozenset[str]:
        """Return whose grants a caller has: its own, and those of its groups. Any thread may call this."""
        key = (caller.principal, caller.groups)
        found = self._subjects.get(key)
        if found is None:
            if len(self._subjects) >= _DECISIONS_KEPT:
                self._subjects.clear()
            found = self._subjects[key] = self.groups_of(caller) | {caller.principal}
        return found

    def grants_of(self, caller: Caller) -> tuple[Grant, ...]:
        """Return the grants to a caller and its groups, on any config, by subject and pattern."""
        return tuple(
            sorted((g for each in self.subjects_of(caller) for g in self._by_subject.get(each, ())), key=_order)
        )

    def grants_on(self, caller: Caller, config: str) -> tuple[Grant, ...]:
        """Return the grants to a caller and its groups on a config."""
        return tuple(grant for grant in self.grants_of(caller) if compiled(grant.pattern).fullmatch(config))

    def decide(self, subjects: frozenset[str], config: str) -> Rights:
        """Return what a caller with these subjects may do with a config, without a look at earlier decisions.

        Of all grants, only those are looked at whose patterns begin as the config does. Any thread may call this.
        """
        role, reveal, text = Role.NONE, False, config + _END
        for length in self._lengths:
            if length > len(text):
                break
            for rest, names, granted in self._by_beginning.get(text[:length], ()):
                held = subjects & names  # looks through the smaller of both
                if held and (rest is None or rest.fullmatch(config)):
                    for subject in held:
                        rights = granted[subject]
                        role, reveal = max(role, rights.role), reveal or rights.reveal
        return NOTHING if config.startswith(RESERVED) and role < Role.ADMIN else Rights(role, reveal)


_END: Final = "\0"
"""Ends the text of a config's name that is compared with the beginnings of patterns."""
_Granted = tuple["re.Pattern[str] | None", frozenset[str], Mapping[str, Rights]]
"""A pattern, or None if its beginning says all; the subjects; and what each of them may do there."""

NO_ACCESS: Final = Access()
"""Nobody may do anything."""


class Visible:
    """The configs that a caller may read, for a list of them. Any thread may use it."""

    def __init__(self, access: Access, caller: Caller) -> None:
        self._access = access
        self._subjects = access.subjects_of(caller)
        self._grants = access.grants_of(caller)
        self._beginnings = outermost(beginning_of(grant.pattern) for grant in self._grants)

    def __eq__(self, other: object) -> bool:
        """Return whether the same configs are visible, by the same grants."""
        return isinstance(other, Visible) and (self._subjects, self._grants) == (other._subjects, other._grants)

    def __hash__(self) -> int:
        return hash((self._subjects, self._grants))

    def __contains__(self, config: str) -> bool:
        return self._access.decide(self._subjects, config).role >= Role.READER

    def within(self, prefix: str) -> tuple[str, ...]:
        """Return prefixes, in order and none within another, with which all visible names begin that have a prefix.

        So nobody has to look through the names that are not visible: how many there are takes no time.
        """
        if any(prefix.startswith(beginning) for beginning in self._beginnings):
            return (prefix,)
        return tuple(beginning for beginning in self._beginnings if beginning.startswith(prefix))


class HiddenName(str):
    """Stands for a config that its caller may not read: a name that no config can have. Errors show the real name.

    >>> name = HiddenName.of("shop/prod")
    >>> name == "shop/prod", f"there is no config {name!r}"
    (False, "there is no config 'shop/prod'")
    """

    __slots__ = ()

    @classmethod
    def of(cls, name: str) -> Self:
        """Return what stands for a name: no segment of a config's name begins with '-'."""
        return cls(f"-{name}")

    def __repr__(self) -> str:
        return repr(self[1:])


def beginning_of(pattern: str) -> str:
    """Return the text with which all names begin that a pattern matches."""
    return pattern.partition("*")[0]


def _taken_apart(pattern: str) -> "tuple[str, re.Pattern[str] | None]":
    """Return the text with which a name and its _END begin, and the pattern if that does not decide alone."""
    beginning = beginning_of(pattern)
    if beginning == pattern:
        return pattern + _END, None
    return beginning, None if pattern == f"{beginning}**" else compiled(pattern)


@lru_cache(maxsize=10_000)
def compiled(pattern: str) -> "re.Pattern[str]":
    """Return the regular expression of a pattern: `*` is any text within a segment, `**` any text.

    >>> bool(compiled("shop/*/eu").fullmatch("shop/web/eu")), bool(compiled("shop/*").fullmatch("shop/web/eu"))
    (True, False)

    Each wildcard takes the shortest text after which the next literal follows, and keeps to it (an atomic group),
    because a longer text could not help. So no pattern takes long: it is no way to keep the server busy.
    """
    first, *others = (_within_segments(part) for part in f"{pattern}\0".split("**"))
    return re.compile((first + "".join(f"(?>.*?{part})" for part in others)).replace("\0", r"\Z"))


def _within_segments(pattern: str) -> str:
    first, *others = map(re.escape, pattern.split("*"))
    return first + "".join(f"(?>[^/]*?{literal})" for literal in others)


def members(groups: Mapping[str, Iterable[str]]) -> Mapping[str, frozenset[str]]:
    """Return groups as an Access has them."""
    return MappingProxyType({name: frozenset(found) for name, found in groups.items()})


def _order(grant: Grant) -> tuple[str, str]:
    return grant.subject, grant.pattern
