"""Peers of a client that speak TLS, or no gRPC at all: they shake hands, answer with some bytes, and hang up."""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self


class Peer:
    """Listen at `host`, with TLS if there is a `context`, and answer whatever comes with `answer`.

    port   where it listens
    """

    def __init__(self, context: ssl.SSLContext | None = None, answer: bytes = b"", host: str = "127.0.0.1") -> None:
        self._context = context
        self._answer = answer
        self._listener = socket.create_server((host, 0))
        self._thread = threading.Thread(target=self._accept)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = self._listener.accept()
                with suppress(OSError), connection:  # a client that refuses the certificate hangs up
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        if self._context is not None:
            with self._context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1 << 16)
        else:
            connection.recv(1 << 16)
            connection.sendall(self._answer)
