"""A peer that speaks just enough HTTP/2 to answer each request as a proxy would: a status, some headers, a body.

The frames are of RFC 9113; the headers are written as literals of RFC 7541, so that nothing here compresses.
"""

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, Self

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0x0, 0x1, 0x4, 0x6
ACK = END_STREAM = 0x1
END_HEADERS: Final = 0x4
HTML: Final = MappingProxyType({"content-type": "text/html"})


class Http2Peer:
    """Answer every request with `status`: `with Http2Peer(413) as peer:` listens at `peer.target`.

    requests   how many requests came
    """

    def __init__(self, status: int, headers: Mapping[str, str] = HTML, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.target = "127.0.0.1:{1}".format(*self._listener.getsockname())

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._connections):
            with suppress(OSError):  # the other side has closed it
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection.makefile("rb") as reader:
            if reader.read(len(PREFACE)) != PREFACE:
                return
            connection.sendall(_frame(SETTINGS))
            while header := reader.read(9):
                length, kind, flags, stream = (
                    struct.unpack(">I", b"\0" + header[:3])[0],
                    *struct.unpack(">BBI", header[3:]),
                )
                payload = reader.read(length)
                if kind == SETTINGS and not flags & ACK:
                    connection.sendall(_frame(SETTINGS, flags=ACK))
                elif kind == PING and not flags & ACK:
                    connection.sendall(_frame(PING, payload, flags=ACK))
                elif kind == HEADERS:
                    self.requests += 1
                    connection.sendall(self._answer(stream))

    def _answer(self, stream: int) -> bytes:
        fields = {":status": str(self.status), **self.headers}
        block = b"".join(_literal(name) + _literal(value, index=False) for name, value in fields.items())
        ends = 0 if self.body else END_STREAM
        answer = _frame(HEADERS, block, flags=END_HEADERS | ends, stream=stream)
        return answer + (_frame(DATA, self.body, flags=END_STREAM, stream=stream) if self.body else b"")


def _frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(text: str, *, index: bool = True) -> bytes:
    """Write a name (which begins a field that is not indexed) or a value, of less than 127 bytes."""
    return (b"\0" if index else b"") + bytes([len(text)]) + text.encode("ascii")
