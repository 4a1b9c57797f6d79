"""The addresses on which the server listens, and its refusals of others."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.rpc import transport
from lamina_server.rpc.transport import AddressError, UnsafeError
from lamina_server.settings import Settings
from tests.support.forking import ForkedCommand
from tests.support.server import ServerProcess


def serve(tmp_path: Path, *arguments: str, verb: str = "serve", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `serve`, or another command, with settings with which it ends by itself."""
    done = ForkedCommand("lamina-server", [verb, *arguments], environment, cwd=tmp_path).completed(20)
    assert not done.stdout
    return subprocess.CompletedProcess(done.args, done.returncode, "", done.stderr.decode())


def ask(channel: grpc.Channel) -> None:
    """Check that a server answers."""
    ConfigServiceStub(channel).ListConfigs(pb.ListConfigsRequest(), wait_for_ready=True, timeout=10)


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("0.0.0.0:7440", "other machines can reach"),
        ("[::]:7440", "--insecure-plaintext"),
        ("192.0.2.1:7440", "--tls-cert and --tls-key"),
        ("[::ffff:127.0.0.1]:0", "other machines can reach"),
        ("localhost", "neither HOST:PORT nor unix:PATH$"),
        ("ada:secret@localhost:0", "neither HOST:PORT nor unix:PATH$"),
        ("[::1]", "neither HOST:PORT nor unix:PATH$"),
        (":7440", "no host: write localhost:PORT"),
        ("*:7440", "no host: write localhost:PORT"),
        ("localhost:", "the port is not a number; port 0 takes any free one"),
        ("localhost:http", "the port is not a number"),
        ("localhost:-1", "the port is not a number"),
        ("localhost:65536", "the port is out of range: it must be from 0 to 65535"),
        ("localhost:999999", "the port is out of range"),
        ("unix:", "no path: write unix:PATH"),
        ("unix:///tmp/socket", "slashes before the path: write unix:PATH"),
        (f"unix:{'a' * 108}", "at most 107 bytes"),
        ("unix:a\nb", "cannot be printed"),
        ("localhost\udcff:0", "cannot be printed"),
    ],
)
def test_unsafe_and_malformed_addresses_are_refused(listen: str, says: str) -> None:
    with pytest.raises(UnsafeError, match=says):
        transport.tls_files(Settings(listen=listen), transport.parse(listen))


@pytest.mark.parametrize("listen", ["localhost:0", "127.0.0.1:0", "127.8.9.10:1", "[::1]:0", "unix:socket"])
def test_addresses_of_this_machine_need_no_tls(listen: str) -> None:
    assert transport.tls_files(Settings(listen=listen), transport.parse(listen)) is None


def test_plaintext_beyond_this_machine_needs_a_setting() -> None:
    settings = Settings(listen="0.0.0.0:0", insecure_plaintext=True)
    assert transport.tls_files(settings, transport.parse(settings.listen)) is None


@pytest.mark.parametrize(
    ("listen", "given", "is_open"),
    [
        ("localhost:0", {}, True),
        ("127.8.9.10:1", {}, True),
        ("[::1]:0", {}, True),
        ("unix:socket", {}, True),
        ("0.0.0.0:0", {}, False),
        ("[::]:0", {}, False),
        ("192.0.2.1:0", {}, False),
        ("localhost:0", {"access": "closed"}, False),
        ("0.0.0.0:0", {"insecure_open": True}, True),
        ("0.0.0.0:0", {"insecure_open": True, "access": "open"}, True),
    ],
)
def test_only_this_machine_finds_an_open_server(listen: str, given: dict[str, Any], is_open: bool) -> None:
    assert transport.is_open(Settings(listen=listen, **given), transport.parse(listen)) is is_open


def test_open_to_other_machines_must_be_meant() -> None:
    with pytest.raises(UnsafeError, match="would read and change everything without a credential") as raised:
        transport.is_open(Settings(listen="0.0.0.0:0", access="open"), transport.parse("0.0.0.0:0"))
    assert raised.value.setting == "access"


@pytest.mark.parametrize("host", ["no.such.invalid", ".", "a..b", "a" * 64])
def test_a_host_that_does_not_resolve(host: str) -> None:
    with pytest.raises(AddressError, match=f"cannot resolve '{re.escape(host)}'"):
        transport.parse(f"{host}:7440")


def test_refusals_end_the_command_with_2_and_touch_nothing(tmp_path: Path) -> None:
    done = serve(tmp_path, "--listen", "0.0.0.0:7440")
    assert done.returncode == 2
    assert done.stderr.startswith("lamina-server: --listen: other machines can reach 0.0.0.0:7440")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_database_url_is_refused_without_repeating_it(tmp_path: Path) -> None:
    done = serve(tmp_path, "--listen", "localhost:0", "--database", "s3cret")
    assert done.returncode == 2
    assert "the database's address is not a URL" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path, command: str) -> None:
    url = "postgresql://lamina:s3cret@127.0.0.1:1/lamina"
    done = serve(tmp_path, verb=command, LAMINA_SERVER_DATABASE=url, LAMINA_SERVER_LISTEN="localhost:0")
    assert done.returncode == 1
    text = "postgresql://lamina@127.0.0.1:1/lamina cannot be used: nothing listens there"
    assert done.stderr == f"lamina-server: {text}\n"
    assert "s3cret" not in done.stderr


def test_protobuf_in_pure_python_is_refused(tmp_path: Path) -> None:
    """P19."""
    program = [sys.executable, "-m", "lamina_server", "serve", "--listen", "localhost:0"]
    environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "pure-Python" in done.stderr) == (2, True)


def test_an_address_in_use(tmp_path: Path) -> None:
    """It is refused even if only one of its families is in use: two servers must not share a name."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as taken:
            taken.bind((host, 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = serve(tmp_path, "--listen", f"localhost:{port}")
        assert done.returncode == 1
        assert f":{port}: it is in use by another program" in done.stderr


def test_both_families_of_localhost(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server:
        port = server.target.rpartition(":")[2]
        assert server.target == f"localhost:{port}"
        assert f"data in {tmp_path}/lamina.db" in server.printed
        for host in ("127.0.0.1", "[::1]", "localhost"):
            with grpc.insecure_channel(f"{host}:{port}") as channel:
                ask(channel)


def test_a_unix_socket(tmp_path: Path) -> None:
    """The server takes over a socket that a killed server left behind, but no socket in use and no other file."""
    path = tmp_path / "socket"
    database = f"sqlite:///{tmp_path}/lamina.db"
    with ServerProcess(database, "--listen", f"unix:{path}") as server:
        assert server.target == f"unix:{path}"
        with grpc.insecure_channel(server.target) as channel:
            ask(channel)
        done = serve(tmp_path, "--listen", f"unix:{path}", "--database", f"sqlite:///{tmp_path}/other.db")
        assert (done.returncode, "in use by another program" in done.stderr) == (1, True)
        server.kill()
        server.start()
        with grpc.insecure_channel(server.target) as channel:
            ask(channel)
    file = tmp_path / "file"
    file.write_text("precious")
    for listen, says in ((f"unix:{file}", "not a socket"), (f"unix:{tmp_path}/no/socket", "no folder")):
        done = serve(tmp_path, "--listen", listen)
        assert (done.returncode, says in done.stderr) == (1, True), done.stderr
    assert file.read_text() == "precious"


def test_tls_with_and_without_client_certificates(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, client = authority.issue_cert("localhost"), authority.issue_cert("client@example.org")
    for name, blob in {
        "ca": authority.cert_pem,
        "cert": certificate.cert_chain_pems[0],
        "key": certificate.private_key_pem,
    }.items():
        blob.write_to_path(tmp_path / name)
    files = ["--tls-cert", str(tmp_path / "cert"), "--tls-key", str(tmp_path / "key")]
    roots = authority.cert_pem.bytes()
    anybody = grpc.ssl_channel_credentials(roots)
    known = grpc.ssl_channel_credentials(roots, client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", *files) as server:
        assert "import lamina" not in server.printed
        with grpc.secure_channel(server.target, anybody) as channel:
            ask(channel)
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", *files, "--tls-client-ca", str(tmp_path / "ca")) as server:
        with grpc.secure_channel(server.target, known) as channel:
            ask(channel)
        with grpc.secure_channel(server.target, anybody) as channel, pytest.raises(grpc.RpcError) as refused:
            ConfigServiceStub(channel).ListConfigs(pb.ListConfigsRequest())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls_files_that_hold_something_else(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("nothing")
    done = serve(tmp_path, "--listen", "localhost:0", "--tls-cert", "pem", "--tls-key", "pem")
    assert done.returncode == 2
    assert "pem holds no certificate in PEM" in done.stderr


def test_ctrl_c_ends_with_130_and_sigterm_with_0(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server:
        server.stop(signal.SIGINT, expected=130)
        server.start()
        server.stop(signal.SIGTERM, expected=0)
