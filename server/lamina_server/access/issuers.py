"""The tokens (JWTs) of trusted identity providers: who has one. Lives on the event loop.

A token is verified once. Its hash is remembered until the token expires, or the issuers or their keys change.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from lamina_server.access.key_sets import DEFAULT_TIMES, KeySet, KeyTimes
from lamina_server.access.live import LiveAccess
from lamina_server.domain.access import Caller, Issuer
from lamina_server.domain.errors import Reason, ServerError

if TYPE_CHECKING:
    from lamina_server.access.jwts import Unverified

TOKEN_LIMIT_BYTES: Final = 16 * 1024
"""Twice what the metadata of a call may have by default."""
_REMEMBERED: Final = 10_000


class Issuers:
    """Finds the callers of identity providers' tokens, and follows the issuers of the access that holds.

    times  how often keys are fetched
    """

    def __init__(self, access: LiveAccess, *, now_us: Callable[[], int], times: KeyTimes = DEFAULT_TIMES) -> None:
        self._access = access
        self._now_us = now_us
        self._times = times
        self._issuers: Mapping[str, Issuer] = {}
        self._key_sets: dict[tuple[str, str], KeySet] = {}
        self._remembered: dict[bytes, Caller] = {}
        access.call_on_swap(self._follow)

    async def caller(self, text: str) -> Caller:
        """Return who has a token. Raise ServerError(BAD_CREDENTIALS) if it is not valid."""
        # The hash, so that no credential stays in memory.
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        caller = self._remembered.get(digest) or await self._verified(text, digest)
        if caller.expires_us is not None and caller.expires_us <= self._now_us():
            from lamina_server.access import jwts  # noqa: PLC0415

            raise jwts.expired()
        return caller

    def stop(self) -> None:
        """Fetch no more keys."""
        for keys in self._key_sets.values():
            keys.stop()

    async def _verified(self, text: str, digest: bytes) -> Caller:
        if text.count(".") != 2 or len(text) > TOKEN_LIMIT_BYTES:  # noqa: PLR2004 - between the three parts
            raise _refusal("the credential is no token: neither lamina_… nor an identity provider's JWT")
        if not self._access.current.issuers:
            raise _refusal("the token is an identity provider's, and this server trusts none")
        from lamina_server.access import jwts  # noqa: PLC0415 - slow to import, and many servers trust no provider

        token = jwts.parse(text)
        issuer = self._issuer(token)
        key = await self._key_sets[_source(issuer)].find(token.key_id)
        if self._issuer(token) != issuer:  # it was changed while we waited
            raise _refusal("the issuer of the identity provider's token has changed: try again")
        if key is None:
            raise _refusal(
                "the identity provider's token is signed with a key (kid) that this server does not know: it is not "
                "its issuer's, or the keys cannot be fetched now, which the server's log says"
            )
        caller = jwts.verify(token, issuer, key, self._now_us())
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = caller
        return caller

    def _issuer(self, token: "Unverified") -> Issuer:
        found = self._access.current.issuers.get(token.issuer)
        if found is None:
            raise _refusal("the identity provider's token has an issuer (iss) that is none of _lamina/access")
        return found

    def _follow(self) -> None:
        """Fetch the keys of new issuers, and those of others no more."""
        issuers = {} if self._access.is_open else self._access.current.issuers
        if issuers == self._issuers:
            return  # so that the open watches, which are decided anew now, need not be verified anew
        self._issuers = issuers
        self._remembered.clear()
        wanted = {_source(issuer): issuer for issuer in issuers.values()}
        for source in self._key_sets.keys() - wanted:
            self._key_sets.pop(source).stop()
        for source in wanted.keys() - self._key_sets:
            self._key_sets[source] = KeySet(wanted[source], self._times, on_change=self._remembered.clear)


def _source(issuer: Issuer) -> tuple[str, str]:
    """Return what the keys depend on: they are kept if something else of an issuer changes."""
    return issuer.jwks, issuer.algorithm


def _refusal(text: str) -> ServerError:
    return ServerError(Reason.BAD_CREDENTIALS, text)
