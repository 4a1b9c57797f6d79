"""HTTP with an identity provider: its discovery document, and forms sent to its endpoints. It keeps nothing.

TLS is always verified. Only a provider on this machine may be reached without TLS. No redirect is followed, because it
could lead elsewhere with what is sent.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import urlencode, urlsplit

from lamina.errors import InvalidError, UnauthenticatedError, UnavailableError

HTTP_SECONDS: Final = 10.0
ANSWER_LIMIT_BYTES: Final = 1 << 20
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_SECONDS: Final = 100 * 366 * 86400.0
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class RefusedError(Exception):
    """The provider's answer to a form is an error, by its code of RFC 6749 or RFC 8628."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code


def discover(issuer: str) -> Mapping[str, Any]:
    """Read a provider's discovery document; InvalidError if the issuer has none, or another one's."""
    checked(issuer, "the issuer")
    url = issuer.rstrip("/") + _WELL_KNOWN
    status, found = _ask(url, None)
    if status is not None:
        raise InvalidError(f"{issuer} has no page {_WELL_KNOWN} (HTTP {status}): is it the issuer's URL, as in `iss`?")
    if found.get("issuer") != issuer:
        raise InvalidError(f"{url} is about the issuer {found.get('issuer')!r}: give exactly that name")
    return found


def endpoint(document: Mapping[str, Any], name: str) -> str:
    """Return one of the endpoints of a discovery document; InvalidError if it has none."""
    url = document.get(name)
    if not isinstance(url, str):
        raise InvalidError(f"{document.get('issuer')} has no {name}: it does not support signing in by device code")
    return checked(url, name)


def submit(url: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
    """Send a form, and return the answer; RefusedError if the provider refuses, UnavailableError if it is away."""
    data = urlencode({name: text for name, text in fields.items() if text}).encode()
    status, found = _ask(checked(url, "the endpoint"), data)
    if status is None:
        return found
    code = found.get("error")
    if not isinstance(code, str):
        raise UnauthenticatedError(f"{_host(url)} refuses to sign in (HTTP {status}), and does not say why")
    raise RefusedError(code, str(found.get("error_description") or ""))


def seconds_in(answer: Mapping[str, Any], name: str, default: float) -> float:
    """Return a number of seconds of an answer; the default if it has none, or one that no calendar has."""
    found = answer.get(name)
    return float(found) if isinstance(found, int | float) and 0 <= found <= _LONGEST_SECONDS else default


def checked(url: str, what: str) -> str:
    """Return a URL that may be asked: https, or http on this machine; InvalidError for any other."""
    try:
        parts = urlsplit(url)
        is_local = parts.scheme == "http" and parts.hostname in _LOCAL
    except ValueError:
        raise InvalidError(f"{what} is no URL: it is such as https://sso.example.com") from None
    if not parts.hostname or parts.username or not (parts.scheme == "https" or is_local):
        raise InvalidError(f"{what} must be an https: URL, such as https://sso.example.com")
    return url


def _ask(url: str, form: bytes | None) -> tuple[int | None, Mapping[str, Any]]:
    """Return the JSON object of an answer, and its HTTP status if that is an error. `url` was checked."""
    # Imported here, because they are slow to import, and each command looks whether there is a login.
    from http.client import HTTPException  # noqa: PLC0415
    from urllib.error import HTTPError  # noqa: PLC0415
    from urllib.request import HTTPRedirectHandler, Request, build_opener  # noqa: PLC0415

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
            """Follow no redirect: it ends as an error."""

    request = Request(url, form, {"accept": "application/json"})  # noqa: S310 - checked
    try:
        with build_opener(NoRedirect).open(request, timeout=HTTP_SECONDS) as answer:
            return None, _parsed(answer.read(ANSWER_LIMIT_BYTES + 1), url)
    except HTTPError as error:
        with error:
            return error.code, _refusal(error.code, error.read(ANSWER_LIMIT_BYTES + 1), url)
    except (HTTPException, OSError) as error:  # a URLError is an OSError
        why = getattr(error, "reason", None) or error
        raise UnavailableError(f"{_host(url)} cannot be reached: {why}") from None


def _refusal(status: int, body: bytes, url: str) -> Mapping[str, Any]:
    """Return what an answer with an error says; an empty one if it is no JSON."""
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        raise UnavailableError(f"{_host(url)} cannot answer now (HTTP {status})")
    try:
        return _parsed(body, url)
    except UnavailableError:
        return {}


def _parsed(body: bytes, shown: str) -> Mapping[str, Any]:
    try:
        found: Any = json.loads(body) if len(body) <= ANSWER_LIMIT_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnavailableError(f"{_host(shown)} answers with something that is no JSON object")
    return cast("dict[str, Any]", found)


def _host(url: str) -> str:
    return urlsplit(url).netloc
