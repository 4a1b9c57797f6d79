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

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from lamina_server.domain.access import Access, Issuer, members
from lamina_server.domain.access_keys import KINDS, BadKeyError, read_key
from lamina_server.domain.errors import InvalidError, Reason, Violation
from lamina_server.domain.values import Value

SHOWN: Final = 16
"""How many keys an error names."""

_Found: TypeAlias = dict[str, dict[str, Any]]
"""What the keys of each kind say, by their names."""


def read(values: Mapping[str, Value], version: int = 0) -> Access:
    """Return the access that a map gives. Raise InvalidError, which names each key that is wrong and what would do."""
    found, faults = _parsed(values)
    if faults:
        raise InvalidError(Reason.BAD_VALUE, faults[:SHOWN])
    return _access(found, version)


def salvage(values: Mapping[str, Value]) -> tuple[Access, tuple[str, ...]]:
    """Return the access that the sound keys of a map give, and the keys that are wrong."""
    wrong = {fault.field for fault in _parsed(values)[1]}
    sound = {key: value for key, value in values.items() if key not in wrong}
    return read(sound), tuple(sorted(wrong))


def _parsed(values: Mapping[str, Value]) -> tuple[_Found, list[Violation]]:
    """Return what the keys say, and what is wrong with those that cannot be read or contradict others."""
    found: _Found = {kind: {} for kind in KINDS}
    faults: list[Violation] = []
    for key, value in sorted(values.items()):
        kind, _, name = key.partition("/")
        try:
            found.setdefault(kind, {})[name] = read_key(key, value)
        except BadKeyError as error:
            faults.append(Violation(key, str(error)))
    return found, faults + list(_contradictions(found["issuers"]))


def _access(found: _Found, version: int) -> Access:
    return Access(
        tokens=found["tokens"],
        issuers={issuer.url: issuer for issuer in found["issuers"].values()},
        groups=members(found["groups"]),
        grants=tuple(found["grants"].values()),
        limits=found["limits"],
        version=version,
    )


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
