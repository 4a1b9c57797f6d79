"""The probe of a container: `lamina-server health`."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tests.support.server import ServerProcess


class Probed(NamedTuple):
    code: int
    text: str


def probe(*arguments: str, **environment: str) -> Probed:
    """Run the probe, and return its exit code and all that it printed."""
    program = [sys.executable, "-m", "lamina_server", "health", *arguments]
    done = subprocess.run(program, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    return Probed(done.returncode, done.stdout + done.stderr)


def test_a_probe_tells_ready_and_alive_and_silent() -> None:
    with ServerProcess("sqlite://") as server:
        here = ("--listen", server.target)
        assert probe(*here) == (0, "ready\n")
        assert probe(*here, "--liveness") == (0, "healthy\n")
        server.signal(signal.SIGSTOP)
        try:
            assert probe(*here, "--timeout", "0.5") == (
                1,
                f"lamina-server: {_ip(server)} did not answer within 0.5 s\n",
            )
        finally:
            server.signal(signal.SIGCONT)
    gone = probe(*here)
    assert gone.code == 1
    assert gone.text.startswith(f"lamina-server: cannot reach {_ip(server)}: ")


def test_a_server_that_takes_no_commits_is_alive_and_not_ready(tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415 - the other program

    path = tmp_path / "lamina.db"
    with ServerProcess(f"sqlite:///{path}", LAMINA_SERVER_LISTEN=f"unix:{tmp_path}/s") as server:
        here = ("--listen", server.target)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        while (found := probe(*here)).code == 0:
            continue
        assert found == (1, f"lamina-server: {_ip(server)} says NOT_SERVING\n")
        assert probe(*here, "--liveness").code == 0
        other.execute("ROLLBACK")
        other.close()
        while probe(*here).code:
            continue


def test_a_probe_reads_the_settings_of_the_server(tmp_path: Path) -> None:
    """All addresses of a machine are reached by its loopback, and TLS by the server's own certificate."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    own = authority.issue_cert("config.example.com", key_type=trustme.KeyType.ECDSA)
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = {"LAMINA_SERVER_TLS_CERT": f"{tmp_path}/cert.pem", "LAMINA_SERVER_TLS_KEY": f"{tmp_path}/key.pem"}
    tls["LAMINA_SERVER_BOOTSTRAP_TOKEN_FILE"] = f"{tmp_path}/admin-token"
    with ServerProcess("sqlite://", "--listen", "0.0.0.0:0", LAMINA_SERVER_ACCESS="closed", **tls) as server:
        port = server.target.rpartition(":")[2]
        file = tmp_path / "server.toml"
        file.write_text(f'listen = "0.0.0.0:{port}"\n')
        settings = {"LAMINA_SERVER_SETTINGS_FILE": str(file), **tls}
        assert probe(**settings) == (0, "ready\n")
        assert probe("--ca", f"{tmp_path}/ca.pem", **settings).code == 0
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
        refused = probe("--ca", f"{tmp_path}/other.pem", **settings)
        assert (refused.code, "CERTIFICATE_VERIFY_FAILED" in refused.text) == (1, True)


@pytest.mark.parametrize("clients", ["same", "other"])
def test_a_probe_shows_a_certificate_where_clients_need_one(clients: str, tmp_path: Path) -> None:
    authority, other = trustme.CA(key_type=trustme.KeyType.ECDSA), trustme.CA(key_type=trustme.KeyType.ECDSA)
    for name, of in (("server", authority), ("probe", other)):
        issued = of.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    (authority if clients == "same" else other).cert_pem.write_to_path(tmp_path / "clients.pem")
    files = ["--tls-cert", f"{tmp_path}/server.pem", "--tls-key", f"{tmp_path}/server.key"]
    files += ["--tls-client-ca", f"{tmp_path}/clients.pem"]
    with ServerProcess("sqlite://", *files) as server:
        here = ("--listen", server.target, *files)
        if clients == "same":
            assert probe(*here) == (0, "ready\n")
            return
        refused = probe(*here)
        assert refused.code == 1
        assert "give the probe a certificate: --cert and --key" in refused.text
        assert probe(*here, "--cert", f"{tmp_path}/probe.pem", "--key", f"{tmp_path}/probe.key") == (0, "ready\n")


def test_a_probe_that_cannot_ask_says_why(tmp_path: Path) -> None:
    assert probe("--listen", "localhost:0") == (
        2,
        "lamina-server: --listen: port 0 is any free port: name the server's port\n",
    )
    assert "--cert and --key go together" in probe("--cert", "c.pem").text
    missing = probe("--tls-cert", f"{tmp_path}/c", "--tls-key", f"{tmp_path}/k")
    assert missing == (2, f"lamina-server: cannot read {tmp_path}/c: No such file or directory\n")


def _ip(server: ServerProcess) -> str:
    return server.target.replace("localhost", "127.0.0.1")
