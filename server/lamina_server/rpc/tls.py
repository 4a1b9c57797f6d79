"""The files of TLS, which the server follows without a restart: its certificate and key, and the clients' authorities.

gRPC asks for them at each handshake, on a thread of its own. What cannot be read, or does not fit together (as while
one of two files has been replaced), is logged once, and the old files stay in force. A connection keeps
the certificates of its handshake until its end, which is at most `connection_age_seconds` away.

gRPC accepts TLS 1.2 and newer.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lamina_server.domain.record import record
from lamina_server.rpc.transport import UnsafeError
from lamina_server.settings import DAY_SECONDS

CHECK_SECONDS: Final = 1.0
"""The files are looked at no more often than this."""
WARNED_BEFORE: Final = timedelta(days=30)
"""How long before its end a certificate is one that the log warns of, once a day."""

_log = structlog.get_logger(__name__)


@record
class _Content:
    """What the files hold, and when the server's certificate ends."""

    key: bytes
    chain: bytes
    authorities: bytes | None
    ends: datetime

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.authorities)


class TlsFiles:
    """The files, and what they held when they were last in order. Any thread may use it.

    authorities  of the clients' certificates; None: clients need no certificate

    Raises UnsafeError if they are not in order at the beginning.
    """

    def __init__(
        self, certificate: Path, key: Path, authorities: Path | None, *, check_seconds: float = CHECK_SECONDS
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._authorities = authorities
        self._check_seconds = check_seconds
        self._mutex = threading.Lock()
        self._check_at = time.monotonic() + check_seconds
        self._seen = self._stats()
        self._content = self._read()
        self._warn()

    @property
    def ends(self) -> datetime:
        """Return when the server's certificate ends that is in force."""
        return self._content.ends

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for one port: each has to be told of a change."""
        told = self._content

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal told
            self._follow()
            if self._content is told:
                return None
            told = self._content
            return told.configuration()

        needs_certificate = self._authorities is not None
        return grpc.dynamic_ssl_server_credentials(
            told.configuration(),
            fetch,  # type: ignore[arg-type] # None means no change; the stubs do not know it
            require_client_authentication=needs_certificate,
        )

    def _follow(self) -> None:
        if not self._mutex.acquire(blocking=False):  # another handshake is at it
            return
        try:
            if time.monotonic() < self._check_at:
                return
            self._check_at = time.monotonic() + self._check_seconds
            stats = self._stats()
            if stats != self._seen:
                self._seen = stats  # before they are read: a change in between is seen the next time
                self._content = self._read()
                _log.info("TLS files read again", ends=self._content.ends.isoformat())
            self._warn()
        except UnsafeError as error:
            _log.error("TLS files are not in order: the old ones stay in force", why=str(error))
        finally:
            self._mutex.release()

    def _stats(self) -> tuple[object, ...]:
        """Return what changes with the files, those that symbolic links lead to included."""
        paths = (self._certificate, self._key, self._authorities)
        return tuple(_stat(path) for path in paths if path is not None)

    def _read(self) -> _Content:
        key, chain = _bytes(self._key, "tls_key"), _bytes(self._certificate, "tls_cert")
        certificate = _certificates(self._certificate, chain, "tls_cert")[0]
        if _public_key(self._key, key) != certificate.public_key():
            text = f"the key in {self._key} is not the one of the first certificate in {self._certificate}"
            raise UnsafeError(text, "tls_key")
        authorities = None
        if self._authorities is not None:
            authorities = _bytes(self._authorities, "tls_client_ca")
            _certificates(self._authorities, authorities, "tls_client_ca")
        return _Content(key, chain, authorities, certificate.not_valid_after_utc)

    def _warn(self) -> None:
        left = self._content.ends - datetime.now(UTC)
        if left < WARNED_BEFORE:
            _log.warning(
                "the server's certificate ends soon",
                ends=self._content.ends.isoformat(),
                days=left.days,
                every_seconds=DAY_SECONDS,
            )


def _stat(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _bytes(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnsafeError(f"cannot read {path}: {error.strerror}", setting) from None


def _certificates(path: Path, content: bytes, setting: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise UnsafeError(f"{path} holds no certificate in PEM", setting) from None


def _public_key(path: Path, content: bytes) -> object:
    try:
        key = load_pem_private_key(content, None)
    except TypeError:
        raise UnsafeError(f"the key in {path} is encrypted: TLS needs one without a password", "tls_key") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnsafeError(f"{path} holds no private key in PEM", "tls_key") from None
    return key.public_key()
