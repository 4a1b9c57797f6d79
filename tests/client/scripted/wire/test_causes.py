"""The words of gRPC, or of a proxy, about a server that does not answer, as text for people."""

import pytest

import lamina
from lamina._wire.causes import PROXY, Peer
from lamina._wire.status import error_of

FAILED = "failed to connect to all addresses; last error: "
HERE, SECURE = Peer("here:1"), Peer("here:1", is_tls=True)


@pytest.mark.parametrize(
    ("peer", "text", "said"),
    [
        (HERE, "UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", "connection refused"),
        (HERE, "FAILED_PRECONDITION: unix:/a: error: No such file or directory", "there is no such socket"),
        (HERE, "Failed to connect to remote host: getsockopt(SO_ERROR): No route to host", "the network does not"),
        (
            SECURE,
            "Tls handshake failed: CERTIFICATE_VERIFY_FAILED: self signed",
            r"not trusted: TLS\(ca=...\) or --tls-ca",
        ),
        (SECURE, "CERTIFICATE_VERIFY_FAILED: certificate has expired", "its certificate has expired"),
        (SECURE, "UNAUTHENTICATED: Hostname Verification Check failed.", "its certificate is for another name"),
        (SECURE, "Tls handshake failed: WRONG_VERSION_NUMBER", "does not speak TLS: tls=False or --plaintext"),
        (SECURE, "Cannot check peer: missing selected ALPN property.", "not HTTP/2"),
        (SECURE, "Unwrap failed (TSI_DATA_CORRUPTED)", "--tls-cert"),
        (HERE, "Failed parsing HTTP/2 (Trying to connect an http1.x server (HTTP status 400))", "it speaks HTTP/1"),
        (HERE, "recvmsg:Connection reset by peer (104)", "does it speak TLS"),
        (SECURE, "Socket closed", "does it want a certificate, or another one"),
        (HERE, "the moon is in the way", "the moon is in the way"),
    ],
)
def test_the_error_says_why_it_cannot_connect(peer: Peer, text: str, said: str) -> None:
    error = error_of("UNAVAILABLE", FAILED + text, (), peer)
    assert type(error) is lamina.UnavailableError
    with pytest.raises(lamina.UnavailableError, match=rf"no server answers at here:1 \(.*{said}"):
        raise error


def test_a_lost_connection_does_not_mention_tls() -> None:
    assert (
        str(error_of("UNAVAILABLE", "Socket closed", (), HERE))
        == "no server answers at here:1 (the connection was lost)"
    )
    assert "(the connection was lost)" in str(error_of("UNAVAILABLE", "Socket closed", (), SECURE))
    unresolved = "errors resolving here:1: [field:hostname lookup error:Domain name not found]"
    assert "(its name cannot be resolved)" in str(error_of("UNAVAILABLE", unresolved, (), HERE))


def test_silence_is_a_deadline_error() -> None:
    error = error_of("DEADLINE_EXCEEDED", "Deadline Exceeded", (), HERE)
    assert type(error) is lamina.DeadlineError
    assert str(error) == "no answer in time from here:1 or its database"


@pytest.mark.parametrize(
    ("code", "status", "kind", "said"),
    [
        ("UNKNOWN", 302, lamina.LaminaError, "here:1 is no Lamina server (HTTP 302)"),
        ("INTERNAL", 400, lamina.LaminaError, "here:1 is no Lamina server (HTTP 400)"),
        ("UNAUTHENTICATED", 401, lamina.UnauthenticatedError, "demands credentials of its own (HTTP 401)"),
        ("PERMISSION_DENIED", 403, lamina.PermissionDeniedError, "does not let this request pass (HTTP 403)"),
        ("UNIMPLEMENTED", 404, lamina.LaminaError, "here:1 is no Lamina server (HTTP 404)"),
        ("UNKNOWN", 405, lamina.LaminaError, "here:1 is no Lamina server (HTTP 405)"),
        ("UNKNOWN", 413, lamina.LimitError, "client_max_body_size"),
        ("UNKNOWN", 415, lamina.LaminaError, "here:1 is no Lamina server (HTTP 415)"),
        ("UNKNOWN", 431, lamina.LimitError, "headers of this size (HTTP 431)"),
    ],
)
def test_a_proxy_s_refusal_is_definite(code: str, status: int, kind: type[lamina.LaminaError], said: str) -> None:
    error = error_of(code, f"Received http2 header with status: {status}", (), HERE)
    assert (type(error), error.reason) == (kind, PROXY)
    assert said in str(error)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_proxy_s_failure_is_temporary(status: int) -> None:
    error = error_of("UNAVAILABLE", f"Received http2 header with status: {status}", (), HERE)
    assert (type(error), error.reason) == (lamina.UnavailableError, None)
    assert str(error) == f"a proxy before here:1 could not get an answer (HTTP {status})"
