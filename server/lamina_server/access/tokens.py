"""Tokens: how they are made, and whose one is. Pure.

A token is `lamina_<id>_<secret>`. Of the secret, which has 256 random bits, only the SHA-256 is kept: so many bits
need no slower hash. A token is looked up by its id and this hash at once. A wrong secret has another hash in all its
bits, so it is not found, as an unknown id is not: no time tells how much of a guess is right.
"""

import hashlib
import secrets
import string
from typing import Final

from lamina_server.domain import names
from lamina_server.domain.access import Access, Token
from lamina_server.domain.errors import Reason, ServerError

BEGINNING: Final = "lamina_"
_ID_LENGTH: Final = 12
_SECRET_BYTES: Final = 32


def make() -> tuple[str, str, bytes]:
    """Make a token: its id, its whole text, and the SHA-256 of its secret."""
    alphabet = string.ascii_lowercase + string.digits
    token_id = "".join(secrets.choice(alphabet) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return token_id, f"{BEGINNING}{token_id}_{secret}", _digest(secret)


def find(text: str, access: Access, now_us: int) -> Token:
    """Return the token that a text is. Raise ServerError(BAD_CREDENTIALS) if it is none, or has expired."""
    parsed = parse(text)
    if parsed is None:
        raise _refusal("the token is malformed: it was cut off, or has other characters before or after it")
    found = access.token(*parsed)
    if found is None:
        raise _refusal("the token is not valid: it is unknown, or was revoked; ask an admin for another one")
    if found.has_expired(now_us):
        raise _refusal(f"the token {found.name!r} has expired: ask an admin for another one")
    return found


def parse(text: str) -> tuple[str, bytes] | None:
    """Return the id in a token's text, and the SHA-256 of its secret; None if it has not the form of a token."""
    found = names.TOKEN.fullmatch(text)
    return (found[1], _digest(found[2])) if found else None


def _refusal(text: str) -> ServerError:
    return ServerError(Reason.BAD_CREDENTIALS, text)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
