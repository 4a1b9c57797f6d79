"""TLS settings: the trusted roots and the client's certificate. Bad files are refused when they are given."""

import os
import re
import ssl
import stat
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import grpc

from lamina import _environment
from lamina._runtime.public import public
from lamina.errors import InvalidError, UnavailableError

Pem: TypeAlias = str | os.PathLike[str] | bytes

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@public("lamina")
@dataclass(frozen=True, slots=True)
class TLS:
    """How to speak TLS: whom to trust, and who this client is. Each is a file's path, or PEM as bytes.

    Without `ca` the system's roots are trusted. `cert` and `key` belong together. Files are read, and InvalidError is
    raised for what cannot be used; they are read anew for each connection, so that a certificate can be replaced.
    """

    ca: Pem | None = field(default=None, repr=False)
    cert: Pem | None = field(default=None, repr=False)
    key: Pem | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise InvalidError("TLS takes cert= and key= together, or neither")
        for name in ("ca", "cert", "key"):
            object.__setattr__(self, name, _lasting(getattr(self, name), name))
        self._read()

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files; UnavailableError if they became unusable, because they may just be being replaced."""
        try:
            ca, cert, key = self._read()
        except InvalidError as error:
            raise UnavailableError(str(error)) from error
        return grpc.ssl_channel_credentials(_system_roots() if ca is None else ca, key, cert)

    def _read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        ca = _checked_ca(self.ca)
        if self.cert is None or self.key is None:
            return ca, None, None
        cert, key = _content(self.cert), _content(self.key)
        _check_pair(cert, key, f"{_shown(self.cert, 'cert')} and {_shown(self.key, 'key')}")
        return ca, cert, key


def _lasting(source: Pem | None, name: str) -> Pem | None:
    """Return a source that can be read again: the content instead of a pipe; TypeError for any other type."""
    if source is None or isinstance(source, bytes):
        return source
    if not isinstance(source, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] - for who has no checker
        raise TypeError(f"TLS({name}=) takes a file's path or PEM as bytes, not {type(source).__name__}")
    if _environment.is_credential(source):
        raise InvalidError(f"TLS({name}=) takes a file's path or PEM as bytes, and was given a text that is no path")
    try:
        is_file = stat.S_ISREG(os.stat(source).st_mode)  # noqa: PTH116 - a path of text or not
    except OSError as error:
        raise _unreadable(source, error) from error
    return source if is_file else _content(source)


def _checked_ca(source: Pem | None) -> bytes | None:
    if source is None:
        return None
    found = _CERTIFICATE.findall(_content(source))
    if not found:
        raise InvalidError(f"{_shown(source, 'ca')} holds no certificate in PEM, so nobody would be trusted")
    content = b"\n".join(found) + b"\n"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii"))
    except (ValueError, ssl.SSLError) as error:  # UnicodeDecodeError is a ValueError
        raise InvalidError(f"{_shown(source, 'ca')} holds a certificate that is damaged: {_why(error)}") from error
    return content


def _check_pair(cert: bytes, key: bytes, shown: str) -> None:
    """Raise InvalidError unless a certificate and its key belong together. Python reads them only from files."""

    def refuse() -> str:
        raise InvalidError(f"{shown}: the key is encrypted, and gRPC asks for no password")

    # A key is never written to a disk for this. On systems without files in memory, gRPC reports a bad key later.
    if not hasattr(os, "memfd_create") or not os.path.isdir("/dev/fd"):  # noqa: PTH112 - the module's other paths are text
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")  # the server decides how strong they must be
    try:
        with os.fdopen(os.memfd_create("cert"), "wb") as cert_file, os.fdopen(os.memfd_create("key"), "wb") as key_file:
            for file, content in ((cert_file, cert), (key_file, key)):
                file.write(content)
                file.flush()
            context.load_cert_chain(f"/dev/fd/{cert_file.fileno()}", f"/dev/fd/{key_file.fileno()}", refuse)
    except ssl.SSLError as error:
        reason = "the key is another certificate's" if error.reason == "KEY_VALUES_MISMATCH" else _why(error)
        raise InvalidError(f"{shown} are no certificate and key in PEM that belong together: {reason}") from error


def _content(source: Pem) -> bytes:
    if isinstance(source, bytes):
        return source
    from pathlib import Path  # noqa: PLC0415 - only for files

    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str | os.PathLike[str], error: OSError) -> InvalidError:
    return InvalidError(f"cannot read the TLS file {os.fspath(source)}: {error.strerror}")


def _shown(source: Pem, name: str) -> str:
    return f"TLS({name}=)" if isinstance(source, bytes) else f"the TLS file {os.fspath(source)}"


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return (reason or "it is not PEM").lower().replace("_", " ")


def _system_roots() -> bytes | None:
    """Return the system's roots; None, for gRPC's own copy of Mozilla's, if the system has none."""
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, certificates)).encode() or None
