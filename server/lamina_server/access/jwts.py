"""JWTs of identity providers: who one names, and whether a key of its issuer has signed it. Pure.

What a token says about itself decides nothing: its `iss` and `kid` only find the issuer and the key that we
know, and its `alg` must be the one of the issuer. Headers that bring or name keys (`jku`, `x5u`, `jwk`, `x5c`)
are not read. No error repeats a part of a token.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import jwt

from lamina_server.domain.access import Caller, Issuer, of_principal
from lamina_server.domain.access_keys import SUBJECT_LIMIT_BYTES
from lamina_server.domain.errors import OperatorError, Reason, ServerError
from lamina_server.domain.record import record

LEEWAY_SECONDS: Final = 30
"""How much later than ours an issuer's clock may be: for `nbf` and `iat`. An expired token has no leeway."""
RSA_LEAST_BITS: Final = 2_048

_MICROSECONDS: Final = 1_000_000
_LAST_SECOND: Final = 253_402_300_800
"""The end of the year 9999."""
_OPTIONS: Final[Any] = {
    "require": ["exp", "aud", "iss"],
    "verify_exp": False,  # the times are checked below, by the server's clock
    "verify_nbf": False,
    "verify_iat": False,
}

Keys = Mapping[str | None, jwt.PyJWK]
"""The keys of an issuer by their ids. None is the key of a token without an id, if the issuer has only one."""


class KeysError(OperatorError):
    """The keys of an issuer cannot be had. The text continues "the keys …", and quotes nothing that was received."""


@record
class Unverified:
    """A token that nobody has verified yet: its text, and what it says about its issuer and its key."""

    text: str
    issuer: str
    key_id: str | None


# --- keys ---------------------------------------------------------------------------------------


def keys(document: bytes, algorithm: str) -> Keys:
    """Return the keys of a JWKS that can have signed with an algorithm. Raise KeysError if there is none."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise KeysError("are no JSON") from None
    items = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(items, list):
        raise KeysError('are no JWKS: a JSON object with a list "keys"')
    usable = [(item, key) for item in items if (key := _key(item, algorithm))]
    if not usable:
        raise KeysError(f"have none that is fit for {algorithm}")
    by_id: dict[str | None, tuple[Any, jwt.PyJWK]] = {}
    doubtful: set[str | None] = set()
    for item, key in usable:
        if by_id.setdefault(item.get("kid"), (item, key))[0] != item:
            doubtful.add(item.get("kid"))  # it is not clear which one the issuer means: neither
    chosen = {key_id: key for key_id, (_, key) in by_id.items() if key_id not in doubtful}
    if not chosen:
        raise KeysError("have several with one id")
    if len(usable) == 1:
        chosen[None] = usable[0][1]
    return MappingProxyType(chosen)


def _key(item: Any, algorithm: str) -> jwt.PyJWK | None:
    """Return a key of a JWKS; None if it is not a public key that checks signatures of the algorithm."""
    if not isinstance(item, dict) or not isinstance(item.get("kid", ""), str) or "d" in item:
        return None
    if item.get("use", "sig") != "sig" or item.get("alg", algorithm) != algorithm:
        return None
    operations = item.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = jwt.PyJWK(item, algorithm)
        key.Algorithm.prepare_key(key.key)  # which checks that the curve is the algorithm's
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):  # whatever stands in its fields
        return None
    is_weak = algorithm[:2] in {"RS", "PS"} and key.key.key_size < RSA_LEAST_BITS
    return None if is_weak else key


# --- tokens -------------------------------------------------------------------------------------


def parse(text: str) -> Unverified:
    """Return what a token says about its issuer and its key. Raise ServerError(BAD_CREDENTIALS) if it is no JWT."""
    try:
        found = jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError):  # ValueError: a number of more digits than Python reads
        raise _refusal("is malformed") from None
    issuer = found["payload"].get("iss")
    if not isinstance(issuer, str):
        raise _refusal("names no issuer (iss)")
    return Unverified(text, issuer, found["header"].get("kid"))


def verify(token: Unverified, issuer: Issuer, key: jwt.PyJWK, now_us: int) -> Caller:
    """Return who a token names. Raise ServerError(BAD_CREDENTIALS) unless the key has signed it, and it is valid now.

    key  one of the issuer, made for its algorithm
    """
    claims = _claims(token, issuer, key)
    expires_us = _time_us(claims, "exp")
    if expires_us <= now_us:
        raise expired()
    for name in ("nbf", "iat"):
        if claims.get(name) is not None and _time_us(claims, name) > now_us + LEEWAY_SECONDS * _MICROSECONDS:
            raise _refusal(f"is not valid yet ({name}): does its issuer's clock agree with this server's?")
    return of_principal(_person(claims, issuer), _groups(claims, issuer), expires_us)


def expired() -> ServerError:
    """Return the error for a token that was valid."""
    return _refusal("has expired (exp): get a new one")


def _claims(token: Unverified, issuer: Issuer, key: jwt.PyJWK) -> Mapping[str, Any]:
    try:
        return jwt.decode(
            token.text,
            key,
            algorithms=[issuer.algorithm],
            audience=issuer.audience,
            issuer=issuer.url,
            options=_OPTIONS,
        )
    except jwt.MissingRequiredClaimError as error:
        raise _refusal(f"has no {error.claim}, which it needs") from None
    except jwt.InvalidAudienceError:
        raise _refusal("is meant for another audience (aud) than its issuer's entry in _lamina/access has") from None
    except jwt.InvalidAlgorithmError:
        text = "is signed with another algorithm (alg) than its issuer's entry in _lamina/access has"
        raise _refusal(text) from None
    except jwt.InvalidSignatureError:
        raise _refusal("has a signature that is not its issuer's") from None
    except jwt.PyJWTError:
        raise _refusal("is malformed") from None


def _time_us(claims: Mapping[str, Any], name: str) -> int:
    seconds = claims[name]
    if type(seconds) not in {int, float} or not 0 <= seconds < _LAST_SECOND:  # NaN is in no range
        raise _refusal(f"has a time that is none ({name})")
    return int(seconds * _MICROSECONDS)


def _person(claims: Mapping[str, Any], issuer: Issuer) -> str:
    name = claims.get(issuer.person)
    principal = f"oidc:{issuer.prefix}{name}"
    if not isinstance(name, str) or not _is_name(name, principal):
        raise _refusal(
            f"has a claim {issuer.person!r} that is no caller's name: a text without white space and control "
            f"characters, of at most {SUBJECT_LIMIT_BYTES} bytes with what precedes it"
        )
    if issuer.person == "email" and claims.get("email_verified", True) is not True:
        raise _refusal("has an e-mail address that its issuer has not verified (email_verified)")
    return principal


def _groups(claims: Mapping[str, Any], issuer: Issuer) -> frozenset[str]:
    """Return the groups that a grant can name. Others are left out: they could give no right."""
    found = claims.get(issuer.groups) if issuer.groups else None
    if found is None:
        return frozenset()
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _refusal(f"has a claim {issuer.groups!r} that is no list of texts")
    named = ((name, f"group:{issuer.prefix}{name}") for name in found)
    return frozenset(group for name, group in named if _is_name(name, group))


def _is_name(name: str, subject: str) -> bool:
    is_plain = bool(name) and name.isprintable() and " " not in name  # every other white space is not printable
    return is_plain and len(subject.encode()) <= SUBJECT_LIMIT_BYTES


def _refusal(text: str) -> ServerError:
    return ServerError(Reason.BAD_CREDENTIALS, f"the identity provider's token {text}")
