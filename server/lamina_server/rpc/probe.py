"""Asks the health service of a server that runs with given settings, as an orchestrator's probe does."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lamina_server.rpc import transport
from lamina_server.rpc.transport import UnsafeError
from lamina_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the probe trusts, and who it is: PEM files. Without `ca`, it trusts the server's own certificate alone."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def ask(settings: Settings, service: str, identity: Identity, seconds: float) -> str:
    """Return why the server is not healthy, in words; empty if it is.

    Raises UnsafeError if the settings name no server that can be asked.
    """
    target = _target(settings)
    with _channel(target, settings, identity) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=seconds, wait_for_ready=False)
        except grpc.RpcError as error:
            return _failure(target, error, settings, identity, seconds)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"{target} says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


def _failure(target: str, error: grpc.RpcError, settings: Settings, identity: Identity, seconds: float) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{target} did not answer within {seconds:g} s"
    needs = settings.tls_client_ca is not None and identity.cert is None
    unsigned = "if --tls-client-ca has not signed the server's own certificate"
    told = f"; {unsigned}, give the probe a certificate: --cert and --key" if needs else ""
    return f"cannot reach {target}: {error.details()}{told}"


def _target(settings: Settings) -> str:
    """Return where a program of the same machine reaches the server."""
    address = transport.parse(settings.listen)
    if address.path is not None:
        return settings.listen
    if address.port == 0:
        raise UnsafeError("port 0 is any free port: name the server's port", "listen")
    host = address.hosts[0][1]
    ip = ipaddress.ip_address(host.partition("%")[0])
    if ip.is_unspecified:
        host = "127.0.0.1" if ip.version == 4 else "::1"  # noqa: PLR2004 - IPv4
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _channel(target: str, settings: Settings, identity: Identity) -> grpc.Channel:
    if settings.tls_cert is None or settings.tls_key is None:
        return grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)])
    own = _read(settings.tls_cert)
    cert, key = identity.cert, identity.key
    if cert is None and settings.tls_client_ca is not None:
        cert, key = settings.tls_cert, settings.tls_key
    credentials = grpc.ssl_channel_credentials(
        own if identity.ca is None else _read(identity.ca),
        None if key is None else _read(key),
        None if cert is None else _read(cert),
    )
    # The probe reaches the server by another name than its clients do: it asks for a name that the certificate has.
    options = [("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", _name_in(own))]
    return grpc.secure_channel(target, credentials, options)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnsafeError(f"cannot read {path}: {error.strerror}") from None


def _name_in(certificate: bytes) -> str:
    """Return the first name of a certificate in PEM."""
    try:
        read = x509.load_pem_x509_certificate(certificate)
        alternatives = [each.value for each in read.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
    except ValueError:
        raise UnsafeError("the file holds no certificate in PEM", "tls_cert") from None
    dns = [name for names in alternatives for name in names.get_values_for_type(x509.DNSName)]
    ips = [str(ip) for names in alternatives for ip in names.get_values_for_type(x509.IPAddress)]
    common = (
        [] if alternatives else [str(each.value) for each in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    )
    if not (names := [*dns, *ips, *common]):
        raise UnsafeError("the certificate has no name of a host, so no client can trust it", "tls_cert")
    return names[0].replace("*", "any", 1)
