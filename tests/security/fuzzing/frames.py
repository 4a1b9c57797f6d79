"""HTTP/2 frames against a real server, as Hypothesis makes them: right, wrong, and in any order.

Whatever comes, the server closes the connection or answers with codes that the contract names; it stays up, its memory
bounded; and other callers get their answers.
"""

import socket
import struct
import time
from contextlib import suppress
from typing import Any, Final

import grpc
from hpack import Decoder, Encoder
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lamina_server.rpc.status import CODES
from tests.security.attacks import DATA, HEADERS, PREFACE, SETTINGS, frame, headers, message

LIMIT_SECONDS: Final = 1.0
DOCUMENTED: Final = {str(code.value[0]) for code in CODES.values()} | {
    str(code.value[0])
    for code in (
        grpc.StatusCode.OK,
        grpc.StatusCode.UNKNOWN,  # gRPC's own, for what is no call
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
}
_BLOCK: Final = headers(Encoder())

_streams = st.one_of(st.sampled_from([0, 1, 3, 5, 2, 2**31 - 1]), st.integers(0, 2**31 - 1))
_payloads = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([_BLOCK, message(), message("x" * 300), b"\0" * 8, struct.pack(">I", 1)]),
    st.builds(lambda one, more: one + more, st.sampled_from([_BLOCK, message()]), st.binary(max_size=16)),
)
_any_frame = st.builds(
    lambda kind, payload, flags, stream: frame(kind, payload, flags=flags, stream=stream),
    st.integers(0, 11),
    _payloads,
    st.one_of(st.sampled_from([0, 1, 4, 5, 8, 0x20]), st.integers(0, 255)),
    _streams,
)
_call = st.builds(
    lambda stream, payload, ends: (
        frame(HEADERS, _BLOCK, flags=4, stream=stream) + frame(DATA, payload, flags=ends, stream=stream)
    ),
    st.sampled_from(range(1, 40, 2)),
    _payloads,
    st.sampled_from([0, 1]),
)
CONVERSATIONS: Final = st.lists(
    st.one_of(_any_frame, _call, st.just(frame(SETTINGS)), st.binary(max_size=32)), max_size=12
)
"""What a peer sends after the preface."""


def converse(port: int, parts: list[bytes]) -> None:
    """Send frames, and check what the server answers."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with suppress(OSError):  # the server may close it at any time
            connection.sendall(PREFACE + frame(SETTINGS) + b"".join(parts))
            connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        with suppress(ConnectionError):
            while chunk := connection.recv(1 << 16):
                answer += chunk
    taken = time.perf_counter() - begun
    assert taken < LIMIT_SECONDS, f"the server took {taken:.1f} s"
    for status in statuses(bytes(answer)):
        assert status in DOCUMENTED, status


def statuses(answer: bytes) -> list[str]:
    """Return the codes of the calls in what a server sent."""
    decoder, found, at = Decoder(), [], 0
    while len(answer) - at >= 9:
        length = struct.unpack(">I", b"\0" + answer[at : at + 3])[0]
        if answer[at + 3] == HEADERS and len(answer) >= at + 9 + length:
            fields: Any = decoder.decode(answer[at + 9 : at + 9 + length], raw=True)
            found += [value.decode() for name, value in fields if name == b"grpc-status"]
        at += 9 + length
    return found


def fuzz(port: int, *, examples: int, is_seeded: bool) -> None:
    """Let Hypothesis try conversations; a failure shows the smallest one that it finds."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=is_seeded,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(CONVERSATIONS)
    def run(parts: list[bytes]) -> None:
        converse(port, parts)

    run()
