"""Who makes a call: the principal of its credential. Knows metadata and certificates as plain values.

A call has one credential: a token or an identity provider's JWT in the metadata `authorization`, or a
client certificate. Two at once are refused, because it would not be clear who calls.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from lamina_server.access import tokens
from lamina_server.access.issuers import Issuers
from lamina_server.access.live import LiveAccess
from lamina_server.domain.access import Access, Caller, Token, of_principal
from lamina_server.domain.errors import InvalidError, Reason, ServerError, Violation
from lamina_server.domain.names import NOT_A_NAME, BadNameError, check_author, holds_token
from lamina_server.domain.planning import Author

AUTHOR_KEY: Final = "lamina-author"
CREDENTIAL_KEY: Final = "authorization"
ANONYMOUS: Final = "anonymous"
_BEARER: Final = "bearer "
_ANONYMOUS: Final = Caller("", frozenset(), Author(ANONYMOUS))

Metadata = Sequence[tuple[str, str | bytes]]


class Authentication:
    """Finds the caller of each call.

    by_certificate  whether callers are known by their client certificates, and by nothing else
    """

    def __init__(
        self, access: LiveAccess, issuers: Issuers, *, now_us: Callable[[], int], by_certificate: bool = False
    ) -> None:
        self._access = access
        self._issuers = issuers
        self._now_us = now_us
        self._by_certificate = by_certificate

    @property
    def needs_certificate(self) -> bool:
        """Return whether `caller` needs the client certificate, which costs some microseconds to get."""
        return self._by_certificate and not self._access.is_open

    @property
    def access(self) -> Access:
        """Return the access on which callers are found now."""
        return self._access.current

    def is_still(self, caller: Caller, access: Access) -> bool:
        """Return whether nothing has happened to a caller's credential since it was found on an access."""
        has_ended = caller.expires_us is not None and caller.expires_us <= self._now_us()
        return access is self._access.current and not has_ended

    async def caller(self, metadata: Metadata, certificate: bytes = b"") -> Caller:
        """Return who calls.

        certificate  the client certificate in PEM, which TLS has verified; empty without one

        Raises InvalidError; ServerError with NO_CREDENTIALS or BAD_CREDENTIALS.
        """
        if self._access.is_open:
            return _named(metadata)
        credentials = _given(metadata, CREDENTIAL_KEY)
        if self._by_certificate or certificate:
            caller = self._of_certificate(certificate, credentials)
        else:
            text = _bearer(credentials)
            caller = self._of_token(text) if text.startswith(tokens.BEGINNING) else await self._issuers.caller(text)
        if _given(metadata, AUTHOR_KEY):
            raise _refusal(
                "is refused, because this server knows its callers: leave out author=, --author and LAMINA_AUTHOR"
            )
        return caller

    def _of_token(self, text: str) -> Caller:
        return _holder(tokens.find(text, self._access.current, self._now_us()))

    def _of_certificate(self, certificate: bytes, credentials: Sequence[str]) -> Caller:
        from lamina_server.access import certificates  # noqa: PLC0415 - slow to import, and few servers need it

        if credentials:
            text = "the call has two credentials, a client certificate and a token: leave out one of them"
            raise ServerError(Reason.BAD_CREDENTIALS, text)
        if not certificate:
            text = "this server is closed, and the call has no client certificate: give TLS(cert=, key=) or --tls-cert"
            raise ServerError(Reason.NO_CREDENTIALS, text)
        caller = certificates.caller(certificate)
        if caller.expires_us is not None and caller.expires_us <= self._now_us():
            raise certificates.expired()
        return caller


@lru_cache(maxsize=10_000)
def _holder(token: Token) -> Caller:
    return of_principal(f"token:{token.name}", expires_us=token.expires_us)


def _bearer(credentials: Sequence[str]) -> str:
    """Return the text of the one credential."""
    if not credentials:
        ways = "give token=, --token-file, LAMINA_TOKEN or LAMINA_TOKEN_FILE, or sign in with `lamina login`"
        raise ServerError(Reason.NO_CREDENTIALS, f"this server is closed, and the call has no token: {ways}")
    if len(credentials) > 1:
        text = f"the call has {len(credentials)} credentials: it must have one"
        raise ServerError(Reason.BAD_CREDENTIALS, text)
    kind, text = credentials[0][: len(_BEARER)], credentials[0][len(_BEARER) :].strip(" ")
    if kind.lower() != _BEARER or not text:
        text = "the call's metadata 'authorization' must be 'Bearer TOKEN'"
        raise ServerError(Reason.BAD_CREDENTIALS, text)
    return text


def _given(metadata: Metadata, key: str) -> list[str]:
    return [str(value) for name, value in metadata if name == key]


def _named(metadata: Metadata) -> Caller:
    """Return a caller of an open server, by the name that it gives: percent-encoded, as metadata is ASCII."""
    given = _given(metadata, AUTHOR_KEY)
    if not given:
        return _ANONYMOUS
    if len(given) > 1:
        raise _refusal("is given more than once")
    return Caller("", frozenset(), _author(given[0]))


@lru_cache(maxsize=1_024)
def _author(given: str) -> Author:
    try:
        author = check_author(unquote(given, errors="strict"))
    except UnicodeDecodeError:
        raise _refusal("is not percent-encoded UTF-8") from None
    except BadNameError as error:
        raise _refusal(str(error)) from None
    if holds_token(author):
        raise _refusal(NOT_A_NAME)
    return Author(author)


def _refusal(description: str) -> InvalidError:
    error = InvalidError(Reason.BAD_REQUEST, [Violation(f"metadata.{AUTHOR_KEY}", description)])
    error.args = (f"the author that the client names {description}",)
    return error
