"""gRPC's own log lines are not printed unless GRPC_VERBOSITY asks for them."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tests.cli.running import run
from tests.support.server import ServerProcess
from tests.support.tls_peer import Peer


@pytest.fixture
def untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


@pytest.mark.parametrize(("asked", "begins"), [({}, False), ({"GRPC_VERBOSITY": "INFO"}, True)])
def test_the_command_prints_grpc_s_lines_only_on_demand(
    untrusted: ssl.SSLContext, tmp_path: Path, asked: dict[str, str], begins: bool
) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    with Peer(untrusted) as peer:
        done = run(
            *("log", "app", "--tls-ca", ca, "--timeout", "0.2"), target=f"localhost:{peer.port}", environment=asked
        )
    assert done.returncode == 5
    assert ("Handshake failed" in done.stderr) == begins, done.stderr
    assert "its certificate is not trusted" in done.stderr
    assert begins or all(line.startswith("lamina: ") for line in done.stderr.splitlines())


def test_a_command_of_exec_does_not_inherit_the_variable(target: str, config_name: str) -> None:
    run("set", config_name, "x=1", "--create", target=target)
    shown = run("exec", config_name, "--", "sh", "-c", "echo ${GRPC_VERBOSITY-unset}", target=target)
    assert shown.stdout == "unset\n"


@pytest.mark.parametrize(("asked", "begins"), [("NONE", False), ("INFO", True), (None, False)])
def test_the_server_prints_grpc_s_lines_only_on_demand(asked: str | None, begins: bool, tmp_path: Path) -> None:
    """A client without TLS connects to a server with TLS."""
    own, cert, key = trustme.CA().issue_cert("localhost"), tmp_path / "cert.pem", tmp_path / "key.pem"
    own.cert_chain_pems[0].write_to_path(str(cert))
    own.private_key_pem.write_to_path(str(key))
    # With any setting, a new process is started.
    environment = {"PYTHONUNBUFFERED": "1"} if asked is None else {"GRPC_VERBOSITY": asked}
    with ServerProcess("sqlite://", "--tls-cert", str(cert), "--tls-key", str(key), **environment) as server:
        host, _, port = server.target.rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while client.recv(1 << 16):
                pass  # until the server hangs up
        server.stop()
        assert ("Handshake failed" in server.log) == begins, server.log
