"""Client certificates: who one names. TLS has verified it before; nothing here does. Pure.

The name is the URI of the SAN (subject alternative name), else its DNS name; never the common name, which any
authority may fill with any text. It is read from the certificate itself: gRPC's own list of names cuts each one at
its first zero byte, so `admin.corp.example`, a zero byte and `.other.example` would pass for `admin.corp.example`.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509

from lamina_server.domain.access import Caller, of_principal
from lamina_server.domain.errors import Reason, ServerError

_NAME: Final = re.compile(r"[!-~]{1,195}")
"""Visible ASCII, as URIs and DNS names are. With "cert:" it has at most the bytes of a grant's subject."""

LEEWAY: Final = timedelta(hours=1)
"""How long a certificate counts after its end. TLS looks at the end when a connection begins, and a connection goes on
for half an hour (`connection_age_seconds`). But TLS sessions are resumed for days without another look.
"""
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1_024)
def caller(certificate: bytes) -> Caller:
    """Return who a certificate in PEM names. Raise ServerError(BAD_CREDENTIALS) unless it names exactly one."""
    loaded = _loaded(certificate)
    names = _names(loaded)
    uris = set(names.get_values_for_type(x509.UniformResourceIdentifier))
    hosts = {host.lower() for host in names.get_values_for_type(x509.DNSName)}
    found = uris or hosts
    if not found:
        raise _refusal("names nobody: its SAN needs one URI or one DNS name (the common name does not count)")
    if len(found) > 1:
        what = "URIs" if uris else "DNS names, and no URI"
        raise _refusal(f"has {len(found)} {what} in its SAN, so it is not clear who calls: it must have one")
    (name,) = found
    if not _NAME.fullmatch(name):
        raise _refusal("has a name in its SAN that is not valid: at most 195 visible characters of ASCII")
    return of_principal(f"cert:{name}", expires_us=(loaded.not_valid_after_utc - _EPOCH + LEEWAY) // _MICROSECOND)


def expired() -> ServerError:
    """Return the error for a certificate that was valid."""
    return _refusal("has expired: connect again with a new one")


def _loaded(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError:
        raise _refusal("cannot be read") from None


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise _refusal("has a SAN that cannot be read") from None


def _refusal(text: str) -> ServerError:
    return ServerError(Reason.BAD_CREDENTIALS, f"the client certificate {text}")
