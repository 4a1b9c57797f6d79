"""What gRPC says of a server that is not there, in a person's words."""

import pytest

from lamina.cli.errors import shortened

FAILED = "unavailable: failed to connect to all addresses; last error: "
LAST = "no answer within 1.5 s; the last try ended with: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            FAILED + "UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused",
            "no server answers at here:1 (connection refused)",
        ),
        (
            LAST
            + FAILED
            + "FAILED_PRECONDITION: unix:/a: connect failed: addr: unix:/a error: No such file or directory",
            "no answer within 1.5 s: no server answers at here:1 (there is no such socket)",
        ),
        (
            "unavailable: errors resolving here:1: [field:hostname lookup error:Domain name not found]",
            "no server answers at here:1 (its name cannot be resolved)",
        ),
        (
            FAILED + "UNKNOWN: Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED",
            "no server answers at here:1 (its certificate is not trusted)",
        ),
        ("unavailable: the moon is in the way", "no server answers at here:1 (the moon is in the way)"),
        ("deadline exceeded: Deadline Exceeded", "no answer in time from here:1"),
        (LAST + "deadline exceeded: Deadline Exceeded", "no answer within 1.5 s from here:1"),
        ("the server ended the watch", "the server ended the watch"),
    ],
)
def test_what_is_said(text: str, said: str) -> None:
    assert shortened(text, "here:1") == said
