"""TLS as the server speaks it, and its files as they change under a server that goes on."""

import asyncio
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.rpc import tls, transport
from lamina_server.rpc.tls import TlsFiles
from lamina_server.rpc.transport import UnsafeError
from tests.support.server import ServerProcess

ECDSA = trustme.KeyType.ECDSA


class Files:
    """The TLS files of a server, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate, self.key, self.clients = folder / "cert.pem", folder / "key.pem", folder / "clients.pem"
        self.authority = trustme.CA(key_type=ECDSA)
        self.serial = self.replace()

    def issue(self, **options: Any) -> trustme.LeafCert:
        return self.authority.issue_cert("localhost", key_type=ECDSA, **options)

    def replace(self, **options: Any) -> int:
        """Write another certificate and its key; return its serial number."""
        leaf = self.issue(**options)
        self.write(self.key, leaf.private_key_pem.bytes())
        self.write(self.certificate, leaf.cert_chain_pems[0].bytes())
        return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number

    def write(self, path: Path, content: bytes | None) -> None:
        """Replace a file at once, as those do who write such files; None: remove it."""
        if content is None:
            path.unlink()
            return
        (self.folder / "new").write_bytes(content)
        (self.folder / "new").replace(path)

    def trust(self, *authorities: trustme.CA) -> None:
        self.write(self.clients, b"".join(authority.cert_pem.bytes() for authority in authorities))

    def open(self, *, with_clients: bool = False) -> TlsFiles:
        return TlsFiles(self.certificate, self.key, self.clients if with_clients else None, check_seconds=0)

    def credentials(self, client: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
        roots = self.authority.cert_pem.bytes()
        if client is None:
            return grpc.ssl_channel_credentials(roots)
        return grpc.ssl_channel_credentials(roots, client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def listening(found: TlsFiles) -> AsyncIterator[int]:
    """Run a server that answers `/x/Who` with the certificate of its caller; yield its port."""

    async def who(_: bytes, context: Any) -> bytes:
        return transport.client_certificate(context)

    handlers: dict[str, Any] = {"Who": grpc.unary_unary_rpc_method_handler(who)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("x", handlers),))
    target = transport.bind(server, transport.parse("localhost:0"), found)
    await server.start()
    try:
        yield int(target.rpartition(":")[2])
    finally:
        await server.stop(None)


def serial(host: str, port: int, context: ssl.SSLContext | None = None) -> int:
    """Return the serial number of the certificate that a server shows."""
    if context is None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, port), 10) as raw, context.wrap_socket(raw) as secured:
        shown = secured.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


async def shown(port: int, host: str = "127.0.0.1") -> int:
    return await asyncio.to_thread(serial, host, port)


async def answers(port: int, credentials: grpc.ChannelCredentials) -> bool:
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        code = await cast("Any", channel).unary_unary("/x/Who")(b"", timeout=10).code()
        assert code in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        return code is grpc.StatusCode.OK


async def test_a_new_certificate_is_shown_on_every_address_to_those_who_connect_after_it(files: Files) -> None:
    async with listening(files.open()) as port:
        async with grpc.aio.secure_channel(f"localhost:{port}", files.credentials()) as channel:
            who: Any = channel.unary_unary("/x/Who")
            await who(b"")
            assert [await shown(port), await shown(port, "::1")] == [files.serial] * 2
            for _ in range(3):
                new = files.replace()
                assert [await shown(port), await shown(port, "::1"), await shown(port)] == [new] * 3
            await who(b"")  # the old connection goes on
        assert await answers(port, files.credentials())


async def test_links_that_are_turned_to_other_files_are_followed(files: Files, tmp_path: Path) -> None:
    """As Kubernetes changes the files of a mounted secret."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = Files(tmp_path / "one"), Files(tmp_path / "two")
    (tmp_path / "data").symlink_to("one")
    certificate, key = tmp_path / "data" / "cert.pem", tmp_path / "data" / "key.pem"
    async with listening(TlsFiles(certificate, key, None, check_seconds=0)) as port:
        assert await shown(port) == one.serial
        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").replace(tmp_path / "data")
        assert await shown(port) == two.serial


async def test_authorities_of_clients_are_followed(files: Files) -> None:
    old, new = trustme.CA(key_type=ECDSA), trustme.CA(key_type=ECDSA)
    by_old, by_new = (files.credentials(ca.issue_cert("shop.example", key_type=ECDSA)) for ca in (old, new))
    files.trust(old)
    async with listening(files.open(with_clients=True)) as port:
        assert [await answers(port, one) for one in (by_old, by_new, files.credentials())] == [True, False, False]
        files.trust(old, new)
        assert [await answers(port, one) for one in (by_old, by_new, files.credentials())] == [True, True, False]
        files.trust(new)
        assert [await answers(port, one) for one in (by_old, by_new, files.credentials())] == [False, True, False]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_that_is_resumed_does_not_outlive_its_authority(files: Files, version: ssl.TLSVersion) -> None:
    old, new = trustme.CA(key_type=ECDSA), trustme.CA(key_type=ECDSA)
    context = client_of(version)
    context.set_alpn_protocols(["h2"])
    old.issue_cert("shop.example", key_type=ECDSA).configure_cert(context)

    def connect(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None] | None:
        """Shake hands, and return the session and whether it was resumed; None if the server takes no certificate."""
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw, session=session) as secured,
        ):
            secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            if secured.recv(1):  # after this, TLS 1.3 has sent its tickets
                return secured.session, secured.session_reused
        return None

    files.trust(old)
    async with listening(files.open(with_clients=True)) as port:
        first = await asyncio.to_thread(connect, None)
        assert first is not None
        second = await asyncio.to_thread(connect, first[0])
        assert second is not None
        assert second[1], "it can be resumed as long as its authority is trusted"
        files.trust(new)
        assert await asyncio.to_thread(connect, second[0]) is None


@pytest.mark.parametrize(
    ("which", "how"),
    [
        *product(["certificate", "key", "clients"], ["nothing", "garbage", "gone"]),
        ("certificate", "another"),
        ("key", "another"),
    ],
)
async def test_files_that_are_not_in_order_change_nothing_and_are_logged_once(
    files: Files, which: str, how: str
) -> None:
    authority = trustme.CA(key_type=ECDSA)
    files.trust(authority)
    client = files.credentials(authority.issue_cert("shop.example", key_type=ECDSA))
    path: Path = getattr(files, which)
    other = files.issue()
    content = {"certificate": other.cert_chain_pems[0].bytes(), "key": other.private_key_pem.bytes()}.get(which, b"")
    async with listening(files.open(with_clients=True)) as port:
        with capture_logs() as logged:
            files.write(path, {"nothing": b"", "garbage": b"-----BEGIN X-----", "another": content}.get(how))
            assert [await answers(port, client) for _ in range(3)] == [True] * 3
            assert [line["log_level"] for line in logged] == ["error"]
            assert str(path) in logged[0]["why"]
            files.replace()
            files.trust(authority)
            assert await answers(port, client)
        assert logged[-1]["event"] == "TLS files read again"


def test_the_files_are_looked_at_once_a_second_at_most(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tls.CHECK_SECONDS == 1
    found = TlsFiles(files.certificate, files.key, None, check_seconds=3_600)
    files.replace()
    with capture_logs() as logged:
        found._follow()
    assert logged == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda files: files.certificate.unlink(), "cannot read .*cert.pem"),
        (lambda files: files.key.write_bytes(b""), "key.pem holds no private key"),
        (lambda files: files.certificate.write_bytes(files.key.read_bytes()), "cert.pem holds no certificate"),
        (lambda files: files.key.write_bytes(files.issue().private_key_pem.bytes()), "is not the one of the first"),
        (lambda files: files.key.write_bytes(encrypted(files.key.read_bytes())), "is encrypted"),
        (lambda files: files.trust(), "clients.pem holds no certificate"),
    ],
)
def test_a_server_does_not_start_with_files_that_are_not_in_order(files: Files, change: Any, says: str) -> None:
    files.trust(files.authority)
    change(files)
    with pytest.raises(UnsafeError, match=says) as caught:
        files.open(with_clients=True)
    assert caught.value.setting.startswith("tls_")


def encrypted(key: bytes) -> bytes:
    loaded = serialization.load_pem_private_key(key, None)
    encryption = serialization.BestAvailableEncryption(b"password")
    return loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(("days", "warns"), [(29, True), (31, False)])
def test_the_log_warns_of_a_certificate_that_ends_soon(files: Files, days: int, warns: bool) -> None:
    files.replace(not_after=datetime.now(UTC) + timedelta(days=days, hours=1))
    with capture_logs() as logged:
        files.open()
    events = [(line["event"], line["days"], line["every_seconds"]) for line in logged]
    assert events == ([("the server's certificate ends soon", days, 86_400)] if warns else [])


def client_of(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_of_tls_are_refused(files: Files, version: ssl.TLSVersion) -> None:
    async with listening(files.open()) as port:
        with pytest.raises(ssl.SSLEOFError):  # the server hangs up
            await asyncio.to_thread(serial, "127.0.0.1", port, client_of(version))
        for good in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert await asyncio.to_thread(serial, "127.0.0.1", port, client_of(good)) == files.serial


def test_a_process_follows_its_files(files: Files, tmp_path: Path) -> None:
    arguments = ["--tls-cert", str(files.certificate), "--tls-key", str(files.key)]
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", *arguments) as server:
        port = int(server.target.rpartition(":")[2])
        assert serial("127.0.0.1", port) == files.serial
        new = files.replace()
        while serial("127.0.0.1", port) != new:  # a second at most
            pass
        with grpc.secure_channel(server.target, files.credentials()) as channel:
            ConfigServiceStub(channel).ListConfigs(pb.ListConfigsRequest())
