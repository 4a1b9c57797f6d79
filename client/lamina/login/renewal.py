"""The token of a login, renewed before it ends, by one process at a time.

Worked example: two processes find that the token ends in 30 s. Both ask for the lock; the first renews the token and
writes the file. The second one reads the file again, finds the new token, and asks nobody. It matters which one was
first: most providers make a refresh token invalid when it was used.
"""

import shlex
import time
from dataclasses import replace
from typing import ClassVar, Final

from lamina._runtime.log import log
from lamina._runtime.public import public
from lamina.errors import LaminaError, UnauthenticatedError
from lamina.login.kept import Login, addresses, find, joined, locked, login_of, write
from lamina.login.provider import RefusedError, submit

RENEWED_BEFORE_SECONDS: Final = 60.0
RENEWED_BEFORE_PART: Final = 0.25
"""A token is renewed this long before it ends, or in the last quarter of a short life."""
RETRIED_SECONDS: Final = 10.0
"""While the provider is away and the token is still valid, it is asked again after this time."""
NO_CREDENTIALS: Final = "NO_CREDENTIALS"


@public("lamina")
class LoginToken:
    """The token of this user's login for a target, made by `lamina login` or `lamina.login`, and renewed in time.

    `lamina.connect(target, token=lamina.LoginToken(target))`. UnauthenticatedError, which says how to log in, if there
    is no login, or if the provider does not renew it any more. Threads and processes may share a login.
    """

    blocks: ClassVar[bool] = True
    """It may ask the provider: lamina.aio calls it beside the event loop."""

    def __init__(self, target: str | None = None) -> None:
        self._target = joined(addresses(target))
        self._known: Login | None = None
        self._asked_at = -RETRIED_SECONDS

    def __call__(self) -> str:
        """Return the token; it asks the provider only if the token ends soon."""
        login = self._known
        if login is None or self._is_to_renew(login):
            login = self._known = self._present()
        return login.token

    def _is_to_renew(self, login: Login) -> bool:
        was_just_tried = time.monotonic() - self._asked_at < RETRIED_SECONDS
        return _is_due(login) and (not was_just_tried or login.expires <= time.time())

    def _present(self) -> Login:
        login = self._kept()
        if not _is_due(login):
            return login  # another process has renewed it
        with locked():
            login = self._kept()
            if not self._is_to_renew(login):
                return login  # or another thread has just found the provider away
            try:
                renewed = replace(_renewed(login), targets=login.targets)
                write(renewed)
            except (LaminaError, OSError) as error:
                if login.expires <= time.time():
                    raise self._ended(login, error) from None
                self._asked_at = time.monotonic()
                log.warning("the login at %s is not renewed yet: %s", login.issuer, error)
                return login
            return renewed

    def _kept(self) -> Login:
        login = find(self._target)
        if login is None:
            text = f"no login is kept for {self._target}: lamina login ISSUER --target {shlex.quote(self._target)}"
            raise UnauthenticatedError(text, reason=NO_CREDENTIALS)
        return login

    def _ended(self, login: Login, error: Exception) -> UnauthenticatedError:
        again = shlex.join(["lamina", "login", login.issuer, "--target", self._target])
        return UnauthenticatedError(
            f"the login at {login.issuer} has ended: {error}; log in again: {again}", reason=NO_CREDENTIALS
        )

    def __reduce__(self) -> tuple[type["LoginToken"], tuple[str]]:
        return LoginToken, (self._target,)

    def __repr__(self) -> str:
        return f"lamina.LoginToken({self._target!r})"


def _is_due(login: Login) -> bool:
    ahead = min(RENEWED_BEFORE_SECONDS, RENEWED_BEFORE_PART * (login.expires - login.obtained))
    return time.time() >= login.expires - ahead


def _renewed(login: Login) -> Login:
    """Ask the provider for a new token; UnauthenticatedError if it refuses."""
    if login.refresh_token is None:
        raise UnauthenticatedError("the provider gave nothing to renew it with")
    form = {"grant_type": "refresh_token", "refresh_token": login.refresh_token, "client_id": login.client_id}
    try:
        answer = submit(login.token_endpoint, form)
    except RefusedError as error:
        raise UnauthenticatedError(f"the provider refuses to renew it ({error})") from None
    found = login_of(answer, login.issuer, login.client_id, login.token_endpoint)
    return found if found.refresh_token else replace(found, refresh_token=login.refresh_token)
