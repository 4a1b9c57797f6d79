"""What gRPC's texts mean, in words that say what to do: one table for the SDK and the command line. Pure.

gRPC itself, or a proxy, can end a call without the server's answer. gRPC's texts for this are made for people who know
gRPC; a proxy's HTTP status is such a text too.
"""

import re
from dataclasses import dataclass
from typing import Final

from lamina.errors import (
    DeadlineError,
    LaminaError,
    LimitError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

PROXY: Final = "PROXY"
"""The reason of an error if a proxy refuses a call, and would refuse it again."""

UNREACHABLE: Final = "failed to connect to all addresses"
"""The beginning of gRPC's text if it could connect to no address of a name; the rest is about the last address only."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The peer of a call: its address as the user writes it, whether TLS is used, and the proxy on the way."""

    name: str = "the target"
    is_tls: bool = False
    proxy: str | None = None

    def __str__(self) -> str:
        return f"{self.name} through the proxy {self.proxy}" if self.proxy else self.name


_REASONS: Final = (
    ("Hostname Verification Check failed", "its certificate is for another name: connect by a name that it has"),
    ("certificate has expired", "its certificate has expired"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted: TLS(ca=...) or --tls-ca says whom to trust"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS: tls=False or --plaintext connects without"),
    ("TSI_DATA_CORRUPTED", "it ended the TLS handshake: does it want a certificate? TLS(cert=, key=) or --tls-cert"),
    ("ALPN", "it speaks TLS, but not HTTP/2: is it a Lamina server?"),
    ("andshake", "the TLS handshake failed"),
    ("http1.x", "it speaks HTTP/1, so it is no Lamina server: is the port right?"),
    ("Expected SETTINGS frame", "it does not speak HTTP/2, so it is no Lamina server: is the port right?"),
    ("HTTP proxy returned response code", "the proxy does not let it pass"),
    ("Permission denied", "this user may not open the socket"),
    ("resolving", "its name cannot be resolved"),
    ("No such file", "there is no such socket"),
    ("nreachable", "the network does not reach it"),
    ("No route to host", "the network does not reach it"),
    ("timed out", "it does not answer"),
    ("Socket closed", "the connection was lost"),
    ("Connection reset", "the connection was lost"),
    ("Broken pipe", "the connection was lost"),
    ("FD Shutdown", "the connection was lost"),
    ("Connection refused", "connection refused"),
)
"""Parts of gRPC's texts, and their meaning. The first match counts: the most helpful ones come first."""

_LOST: Final = "the connection was lost"
_HUNG_UP: Final = "it hung up at once: does it speak TLS? tls=True, TLS(ca=...) or --tls-ca"
_HUNG_UP_ON_TLS: Final = (
    "it hung up at once: does it want a certificate, or another one? TLS(cert=, key=) or --tls-cert"
)
_STATUS: Final = re.compile(r"http2 header with status: (\d{3})")
_NO_STATUS: Final = ("No status received", "Stream removed (Data frame with END_STREAM flag received)")
_TOO_LARGE: Final = re.compile(r"larger than max \((\d+) vs\.? (\d+)\)")
"""gRPC's text about a message that is too large."""

_PASSING: Final = frozenset({408, 421, 425, 429})
"""HTTP statuses below 500 that say "try again"."""


def cause(code: str, text: str, peer: Peer) -> LaminaError | None:
    """Return the error for a status that gRPC or a proxy made; None if only the status code is known."""
    if answered := _STATUS.search(text):
        return _answered(int(answered[1]), peer)
    if text.startswith(_NO_STATUS):
        said = "has no gRPC status: it is a web page, or a proxy on the way drops gRPC's trailers"
        return UnavailableError(f"the answer of {peer} {said}", reason=PROXY)
    return _of_grpc(code, text, peer)


def _of_grpc(code: str, text: str, peer: Peer) -> LaminaError | None:
    match code:
        case "DEADLINE_EXCEEDED":
            return DeadlineError(f"no answer in time from {peer} or its database")
        case "UNAVAILABLE":
            return UnavailableError(f"no server answers at {peer} ({_why(text, peer)})")
        case "UNIMPLEMENTED":
            return LaminaError(f"{peer} is no Lamina server, or an older one: {text or code}")
        case "RESOURCE_EXHAUSTED" if too_large := _TOO_LARGE.search(text):
            actual, limit = map(int, too_large.groups())
            return LimitError(f"a message: {actual:,} bytes, at most {limit:,} pass", limit=limit, actual=actual)
        case _:
            return None


def rank(text: str) -> int:
    """Return the place of a text's reason in the table; the lowest is the most telling."""
    return next((place for place, (sign, _) in enumerate(_REASONS) if sign in text), len(_REASONS))


def _why(text: str, peer: Peer) -> str:
    meaning = next((meaning for sign, meaning in _REASONS if sign in text), text)
    # The connection is lost; or there was none yet, because the server wants TLS, or a certificate.
    if meaning == _LOST and text.startswith(UNREACHABLE):
        return _HUNG_UP_ON_TLS if peer.is_tls else _HUNG_UP
    return meaning


def _answered(status: int, peer: Peer) -> LaminaError:
    """Return the error of an HTTP status. A Lamina server always answers with 200, so it is another program's."""
    http = f"(HTTP {status})"
    if status >= 500 or status in _PASSING:  # noqa: PLR2004 - server errors, by RFC 9110
        return UnavailableError(f"a proxy before {peer} could not get an answer {http}")
    match status:
        case 413:
            limit = "raise its limit (nginx: client_max_body_size, 1 MB unless set) or commit less at once"
            return LimitError(
                f"a proxy before {peer} does not take a request of this size {http}: {limit}", reason=PROXY
            )
        case 431:
            return LimitError(f"a proxy before {peer} does not take headers of this size {http}", reason=PROXY)
        case 401 | 407:
            return UnauthenticatedError(f"a proxy before {peer} demands credentials of its own {http}", reason=PROXY)
        case 403:
            return PermissionDeniedError(f"a proxy before {peer} does not let this request pass {http}", reason=PROXY)
        case _:
            said = "a web server or a proxy answers, and passes no gRPC on: is the address right?"
            return LaminaError(f"{peer} is no Lamina server {http}: {said}", reason=PROXY)
