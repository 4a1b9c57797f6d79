"""Tokens: how they are made, and whose one is. Pure.

A token is `lamina_<id>_<secret>`. The id finds it, so that there is one comparison, in constant time. Of
the secret, which has 256 random bits, only the SHA-256 is kept: so many bits need no slower hash.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from typing import Final

from lamina_server.domain.access import Token
from lamina_server.domain.errors import Reason, ServerError

BEGINNING: Final = "lamina_"
_ID_LENGTH: Final = 12
_SECRET_BYTES: Final = 32
_TEXT: Final = re.compile(rf"{BEGINNING}(?P<id>[a-z0-9]{{{_ID_LENGTH}}})_(?P<secret>[A-Za-z0-9_-]{{43}})")
_UNKNOWN: Final = Token("", "", hashlib.sha256(secrets.token_bytes(_SECRET_BYTES)).digest())
"""Compared with if there is no such token, so that an unknown id takes as long as a known one."""


def make() -> tuple[str, str, bytes]:
    """Make a token: its id, its whole text, and the SHA-256 of its secret."""
    alphabet = string.ascii_lowercase + string.digits
    token_id = "".join(secrets.choice(alphabet) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return token_id, f"{BEGINNING}{token_id}_{secret}", _digest(secret)


def find(text: str, tokens: Mapping[str, Token], now_us: int) -> Token:
    """Return the token that a text is. Raise ServerError(BAD_CREDENTIALS) if it is none, or has expired."""
    token_id, _, secret = text.removeprefix(BEGINNING).partition("_")
    found = tokens.get(token_id)
    is_right = hmac.compare_digest(_digest(secret), (found or _UNKNOWN).sha256)
    if found is None or not is_right:
        raise ServerError(Reason.BAD_CREDENTIALS, "the token is not valid: it is unknown, or was revoked")
    if found.has_expired(now_us):
        raise ServerError(Reason.BAD_CREDENTIALS, f"the token {found.name!r} has expired: ask an admin for a new one")
    return found


def parse(text: str) -> tuple[str, bytes] | None:
    """Return the id in a token's text, and the SHA-256 of its secret; None if `make` makes no such text."""
    found = _TEXT.fullmatch(text)
    return (found["id"], _digest(found["secret"])) if found else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
