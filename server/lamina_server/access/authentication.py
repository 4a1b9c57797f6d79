"""Who makes a call: the principal of its credential. Knows metadata and certificates as plain values.

A call has one credential: a token or an identity provider's JWT in the metadata `authorization`, or a
client certificate. Two at once are refused, because it would not be clear who calls.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from lamina_server.access import tokens
from lamina_server.access.live import LiveAccess
from lamina_server.domain.access import Caller, of_principal
from lamina_server.domain.errors import InvalidError, Reason, ServerError, Violation
from lamina_server.domain.names import BadNameError, check_author
from lamina_server.domain.planning import Author

AUTHOR_KEY: Final = "lamina-author"
CREDENTIAL_KEY: Final = "authorization"
ANONYMOUS: Final = "anonymous"
_BEARER: Final = "bearer "
_ANONYMOUS: Final = Caller("", frozenset(), Author(ANONYMOUS))

Metadata = Sequence[tuple[str, str | bytes]]


class Authentication:
    """Finds the caller of each call."""

    def __init__(self, access: LiveAccess, *, now_us: Callable[[], int]) -> None:
        self._access = access
        self._now_us = now_us

    async def caller(self, metadata: Metadata, certificate: Sequence[str] = ()) -> Caller:
        """Return who calls.

        certificate  the names of the verified client certificate, such as "uri:spiffe://corp/shop" and
                     "dns:shop.corp"; empty without one

        Raises InvalidError; ServerError with NO_CREDENTIALS or BAD_CREDENTIALS.
        """
        if self._access.is_open:
            return _named(metadata)
        _refuse_author(metadata)
        if certificate:
            raise ServerError(Reason.BAD_CREDENTIALS, "this server does not know callers by certificates yet")
        return self._principal(_credential(metadata))

    def _principal(self, credential: str) -> Caller:
        found = tokens.find(credential, self._access.current.tokens, self._now_us())
        return of_principal(f"token:{found.name}", expires_us=found.expires_us)


def _credential(metadata: Metadata) -> str:
    given = [str(value) for key, value in metadata if key == CREDENTIAL_KEY]
    if not given:
        text = "this server is closed, and the call has no token: give token=, LAMINA_TOKEN or LAMINA_TOKEN_FILE"
        raise ServerError(Reason.NO_CREDENTIALS, text)
    if len(given) > 1 or not given[0].lower().startswith(_BEARER):
        raise ServerError(Reason.BAD_CREDENTIALS, "the call needs one credential: 'authorization: Bearer TOKEN'")
    return given[0][len(_BEARER) :]


def _refuse_author(metadata: Metadata) -> None:
    if any(key == AUTHOR_KEY for key, _ in metadata):
        raise _refusal("is refused, because this server knows its callers: leave out author= and LAMINA_AUTHOR")


def _named(metadata: Metadata) -> Caller:
    """Return a caller of an open server, by the name that it gives: percent-encoded, as metadata is ASCII."""
    given = [value for key, value in metadata if key == AUTHOR_KEY]
    if not given:
        return _ANONYMOUS
    if len(given) > 1:
        raise _refusal("is given more than once")
    return Caller("", frozenset(), _author(str(given[0])))


@lru_cache(maxsize=1_024)
def _author(given: str) -> Author:
    try:
        return Author(check_author(unquote(given, errors="strict")))
    except UnicodeDecodeError:
        raise _refusal("is not percent-encoded UTF-8") from None
    except BadNameError as error:
        raise _refusal(str(error)) from None


def _refusal(description: str) -> InvalidError:
    return InvalidError(Reason.BAD_REQUEST, [Violation(f"metadata.{AUTHOR_KEY}", description)])
