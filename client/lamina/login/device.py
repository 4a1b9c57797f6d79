"""The device flow of RFC 8628: a person opens a page in any browser, and enters a code; meanwhile this polls.

Worked example: the provider says "every 5 s, for 10 minutes". Polls after 5 s and 10 s find `authorization_pending`.
The next one finds `slow_down`, so that it is every 10 s from now on. Then the person has confirmed, and the poll brings
the tokens.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeGuard

from lamina._runtime.copies import Uncopyable
from lamina._runtime.public import public
from lamina.errors import DeadlineError, InvalidError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from lamina.login.kept import Login, login_of
from lamina.login.provider import RefusedError, discover, endpoint, seconds_in, submit

DEFAULT_CLIENT_ID: Final = "lamina"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_SECONDS: Final = 5.0
"""By RFC 8628, `slow_down` adds this much; and it is the pause if the provider names none."""
_LIFETIME_SECONDS: Final = 600.0
_LEAST_SECONDS: Final = 0.01
_OFFLINE: Final = "offline_access"


@public("lamina.login")
@dataclass(frozen=True)
class DeviceLogin(Uncopyable):
    """A login that has begun: `url` is the page to open, `code` what to enter there. `wait` waits for the person."""

    _instead: ClassVar[str] = "begin another one where it is needed"

    url: str
    code: str = field(repr=False)
    complete_url: str | None = field(repr=False)
    """The page with the code in its address, if the provider has one."""
    expires_seconds: float
    _token_endpoint: str = field(repr=False)
    _device_code: str = field(repr=False)
    _interval_seconds: float = field(repr=False)
    _issuer: str = field(repr=False)
    _client_id: str = field(repr=False)

    def wait(self, sleep: Callable[[float], None] = time.sleep) -> Login:
        """Poll until the person has confirmed; return the login.

        PermissionDeniedError if the person refused, DeadlineError if the code has expired, UnauthenticatedError if the
        provider refuses for another reason. While the provider cannot be reached, it goes on.
        """
        form = {"grant_type": GRANT_TYPE, "device_code": self._device_code, "client_id": self._client_id}
        pause, end = self._interval_seconds, time.monotonic() + self.expires_seconds
        while time.monotonic() + pause < end:
            sleep(pause)
            try:
                answer = submit(self._token_endpoint, form)
            except RefusedError as error:
                pause += self._slower(error)
            except UnavailableError:
                pause *= 2  # by RFC 8628, after a time-out
            else:
                return login_of(answer, self._issuer, self._client_id, self._token_endpoint)
        raise self._expired()

    def _slower(self, error: RefusedError) -> float:
        """Return by how much to pause longer, or raise the error that ends the login."""
        match error.code:
            case "authorization_pending":
                return 0.0
            case "slow_down":
                return SLOWER_SECONDS
            case "access_denied":
                raise PermissionDeniedError("the login was refused at the provider") from None
            case "expired_token":
                raise self._expired() from None
            case _:
                raise UnauthenticatedError(f"{self._issuer} refuses the login: {error}") from None

    @staticmethod
    def _expired() -> DeadlineError:
        return DeadlineError("nobody has confirmed the login, and its code has expired: begin again")


@public("lamina.login")
def begin(
    issuer: str, *, client_id: str = DEFAULT_CLIENT_ID, audience: str | None = None, scope: str | None = None
) -> DeviceLogin:
    """Begin a login at a provider, which is found by its discovery document. `url` and `code` are for the person.

    `client_id` is the name under which the provider knows Lamina. `audience` is for providers that take one, such as
    Auth0. `scope` is "openid", with "offline_access" if the provider has that, so that the login can be renewed.
    InvalidError if the provider does not support this, UnavailableError if it cannot be reached.
    """
    document = discover(issuer)
    token_endpoint = endpoint(document, "token_endpoint")
    form = {"client_id": client_id, "scope": scope or _scope(document), "audience": audience or ""}
    try:
        answer = submit(endpoint(document, "device_authorization_endpoint"), form)
    except RefusedError as error:
        text = f"{issuer} refuses to begin a login for the client {client_id!r}: {error}"
        raise UnauthenticatedError(text) from None
    url, code, device_code = (answer.get(name) for name in ("verification_uri", "user_code", "device_code"))
    if not (_is_shown(url) and _is_shown(code) and isinstance(device_code, str)):
        raise InvalidError(f"{issuer} answers without a page and a code: it does not keep to RFC 8628")
    complete = answer.get("verification_uri_complete")
    return DeviceLogin(
        url=url,
        code=code,
        complete_url=complete if _is_shown(complete) else None,
        expires_seconds=seconds_in(answer, "expires_in", _LIFETIME_SECONDS),
        _token_endpoint=token_endpoint,
        _device_code=device_code,
        _interval_seconds=max(seconds_in(answer, "interval", SLOWER_SECONDS), _LEAST_SECONDS),
        _issuer=issuer,
        _client_id=client_id,
    )


def _scope(document: Mapping[str, Any]) -> str:
    supported = document.get("scopes_supported")
    return f"openid {_OFFLINE}" if isinstance(supported, list) and _OFFLINE in supported else "openid"


def _is_shown(text: object) -> TypeGuard[str]:
    """Return whether a person can be shown a text: one line, without anything that a terminal would obey."""
    return isinstance(text, str) and text != "" and text.isprintable()
