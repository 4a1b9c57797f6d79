"""One small document from a URL, within limits of time and size. Blocks: for a thread. Knows nothing of keys.

Redirects are not followed, and proxies are not used: the document comes from the host that an admin has named.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from lamina_server.domain.errors import OperatorError

LIMIT_BYTES: Final = 256 * 1024
"""A JWKS has some kilobytes."""
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "lamina-server"}
"""Some hosts refuse requests of nobody."""


class DownloadError(OperatorError):
    """The document cannot be had. The text says why, and quotes nothing that was received."""


def read(url: str, *, limit_seconds: float) -> bytes:
    """Return the content of an https:, http: or file: URL. Raise DownloadError."""
    parts = urlsplit(url)
    try:
        return _file(Path(unquote(parts.path))) if parts.scheme == "file" else _answer(parts, limit_seconds)
    except ssl.SSLCertVerificationError as error:
        raise DownloadError(f"the host's certificate is not valid: {error.verify_message}") from None
    except TimeoutError:
        raise DownloadError(f"there was no answer within {limit_seconds:g} s") from None
    except http.client.HTTPException as error:
        raise DownloadError(f"the answer is no HTTP: {type(error).__name__}") from None
    except OSError as error:
        raise DownloadError(f"it cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:  # such as a port out of range
        raise DownloadError("the address is not valid") from None


def _file(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a device or a pipe may have no end
        raise DownloadError("it is no file")
    with path.open("rb") as file:
        return _limited(file.read(LIMIT_BYTES + 1))


def _answer(parts: SplitResult, limit_seconds: float) -> bytes:
    connection = _connection(parts, limit_seconds)
    try:
        connection.connect()
        with _cut_off_after(limit_seconds, connection.sock):
            target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            connection.request("GET", target, headers=_HEADERS)
            with connection.getresponse() as response:
                return _body(response)
    finally:
        connection.close()


def _connection(parts: SplitResult, limit_seconds: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=limit_seconds)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, parts.port, timeout=limit_seconds, context=context)


def _body(response: http.client.HTTPResponse) -> bytes:
    if response.status in range(300, 400):
        raise DownloadError(f"the host redirects (HTTP {response.status}): name the last address instead")
    if response.status != http.client.OK:
        raise DownloadError(f"the host answers HTTP {response.status}")
    return _limited(response.read(LIMIT_BYTES + 1))


@contextmanager
def _cut_off_after(seconds: float, connection: socket.socket) -> Iterator[None]:
    """Cut a connection off after a time. Its own time limit begins anew with each byte that arrives."""
    cut_off_at = time.monotonic() + seconds

    def cut_off() -> None:
        with suppress(OSError):  # it has ended already
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, DownloadError) as error:
        raise (TimeoutError if time.monotonic() >= cut_off_at else error) from None
    finally:
        timer.cancel()


def _limited(content: bytes) -> bytes:
    if len(content) > LIMIT_BYTES:
        raise DownloadError(f"it has more than {LIMIT_BYTES:,} bytes")
    return content
