"""The socket on which Prometheus reads the metrics. It has threads of its own: a scrape never holds up the event loop.

It is small on purpose: one path, no names of others, and limits on how many scrapes there are at once and on how long
one may take, so that a scraper that takes nothing holds up neither the server nor other scrapers for long.
"""

import selectors
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

PATH: Final = "/metrics"
SCRAPES_AT_ONCE: Final = 4
"""More than the pair of servers by which Prometheus is usually run."""
SCRAPE_SECONDS: Final = 10.0
"""How long one may take. This is as long as Prometheus itself waits."""
LOOK_SECONDS: Final = 1.0
"""After so long without a scrape, a socket that has a path is looked at."""
PAUSE_SECONDS: Final = 1.0
"""After an error of the socket, such as that no file may be opened any more: it would come again at once."""

_log = structlog.get_logger(__name__)


class Endpoint:
    """Answers scrapes on sockets that listen already, until it is stopped, and closes them.

    path     of the socket, if it has one: it is removed at the end
    at_once  how many scrapes there may be at once
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        registry: CollectorRegistry,
        path: Path | None = None,
        *,
        at_once: int = SCRAPES_AT_ONCE,
    ) -> None:
        slots = threading.BoundedSemaphore(at_once)
        self._servers = [_Server(each, registry, slots, path) for each in sockets]

    def start(self) -> None:
        """Begin to answer."""
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        """End. Scrapes under way are not waited for. Blocks for a moment."""
        for server in self._servers:
            server.end()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    timeout = 0

    def __init__(
        self,
        listening: socket.socket,
        registry: CollectorRegistry,
        slots: threading.BoundedSemaphore,
        path: Path | None,
    ) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()  # the one that it has made, which is of another kind
        self.socket = listening
        self.registry = registry
        self._slots = slots
        self._path = path
        self._inode = _inode(path)
        self._is_ending = False
        self._woken, self._wakes = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_ending = True
        self._wakes.close()  # which wakes the thread. To shut the socket down would end it for other workers, too
        if self._thread.ident is not None:
            self._thread.join(PAUSE_SECONDS)
        self._woken.close()
        self.server_close()
        if self._path is not None and _inode(self._path) == self._inode:
            self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        """Answer until the end, and tell if that comes too early."""
        try:
            with selectors.DefaultSelector() as selector:
                for each in (self.socket, self._woken):
                    selector.register(each, selectors.EVENT_READ)
                while not self._is_ending:
                    if not selector.select(LOOK_SECONDS):
                        self._look()
                    elif not self._is_ending:
                        self.handle_request()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            if not self._is_ending:
                _log.error("metrics are served no more", exc_info=error)

    def _look(self) -> None:
        """See whether the socket is still at its path."""
        if self._path is not None and _inode(self._path) != self._inode:
            reason = "somebody has removed or replaced the socket: start the server again"
            _log.error("metrics cannot be reached", path=str(self._path), reason=reason)
            self._path = None

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except BlockingIOError:  # another worker was first
            raise
        except OSError as error:
            if not self._is_ending:
                _log.warning("scrape not accepted", exc_info=error)
                time.sleep(PAUSE_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no thread is left
                self._slots.release()
                raise
        else:
            _log.warning("scrape refused", reason="too many at once")
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        cut = threading.Timer(SCRAPE_SECONDS, _cut, [request])
        cut.daemon = True
        cut.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's arguments
        _log.warning("scrape not answered", exc_info=True)


def _inode(path: Path | None) -> int:
    """Return the number of a file; 0 if there is none."""
    try:
        return path.lstat().st_ino if path else 0
    except OSError:
        return 0


def _cut(request: socket.socket) -> None:
    with suppress(OSError):  # it has ended just now
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "lamina-server", ""

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"the metrics are at {PATH}")
            return
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        try:
            content = encode(self.server.registry)
        except Exception:  # noqa: BLE001 - the scraper gets a status, and the log the bug
            _log.exception("bug", doing="scrape")
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
