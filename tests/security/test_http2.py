"""HTTP/2 as hostile peers speak it: the server's memory stays bounded, others get their answers, and it goes on.

How much slower others are depends on the machine: `python -m tests.security.under_attack` measures it.
"""

import gzip
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from hpack import Decoder, Encoder

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.security.attacks import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOODS,
    HEADERS,
    PING,
    connected,
    frame,
    headers,
    message,
    read_frame,
)
from tests.security.under_attack import attacked, memory_mib, notice, prepared
from tests.support.server import ServerProcess

SECONDS = 1.5
GROWTH_LIMIT_MIB = 400
"""What gRPC's own buffers take at most; an attack without a bound takes gigabytes."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all floods."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(f"sqlite:///{folder}/lamina.db") as process:
        prepared(process)
        yield process


@pytest.mark.parametrize("kind", [*FLOODS, "slow_headers", "slow_bodies"])
def test_a_flood_takes_no_memory_and_others_get_their_answers(server: ServerProcess, kind: str) -> None:
    """P15."""
    port = int(server.target.rpartition(":")[2])
    before = memory_mib(server.pid)
    noticed, _ = attacked(port, kind, SECONDS)
    assert noticed.failed == 0
    assert memory_mib(server.pid) - before < GROWTH_LIMIT_MIB
    assert notice(port, 0.1).failed == 0
    assert '"bug"' not in server.log


def hold(kind: str, target: str, seconds: float) -> dict[str, Any]:
    port = target.rpartition(":")[2]
    program = [sys.executable, "-m", "tests.security.attacks", kind, port, str(seconds)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_connections_that_say_nothing_are_closed(tmp_path: Path) -> None:
    """Those whose TLS handshake stalls, too."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    files = ["--tls-cert", str(tmp_path / "cert"), "--tls-key", str(tmp_path / "key")]
    short = {"LAMINA_SERVER_HANDSHAKE_TIMEOUT_SECONDS": "1"}
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", *files, **short) as server:
        for kind in ("stalled_tls", "half_open"):
            told = hold(kind, server.target, 3)
            assert told["closed"] == told["sent"] == 1_000
        roots = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(server.target, roots) as channel:
            ConfigServiceStub(channel).ListConfigs(pb.ListConfigsRequest(), timeout=10)


def test_more_connections_than_the_limit_are_closed_at_once(tmp_path: Path) -> None:
    """Those that are open go on, and there is room again when others close."""
    limit = {"LAMINA_SERVER_CONNECTION_LIMIT": "20"}
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", **limit) as server:
        port = prepared(server)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = ConfigServiceStub(channel)
            stub.ListConfigs(pb.ListConfigsRequest())
            told = hold("half_open", server.target, 1)
            assert told["closed"] >= 1_000 - 20
            stub.ListConfigs(pb.ListConfigsRequest())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            ConfigServiceStub(channel).ListConfigs(pb.ListConfigsRequest(), wait_for_ready=True, timeout=20)


def test_a_request_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    limit = {"LAMINA_SERVER_RECEIVE_LIMIT_SECONDS": "0.2"}
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", **limit) as server:
        port = prepared(server)
        begun = frame(HEADERS, headers(Encoder()), flags=END_HEADERS, stream=1) + frame(DATA, message()[:7], stream=1)
        answer = answered(port, begun)
        assert answer["grpc-status"] == str(grpc.StatusCode.UNAVAILABLE.value[0])
        assert answer["grpc-message"] == "the request has not come within 0.2 s"
        begun = frame(HEADERS, headers(Encoder()), flags=END_HEADERS, stream=1) + frame(
            DATA, flags=END_STREAM, stream=1
        )
        assert answered(port, begun)["grpc-message"] == "request: is missing"


def test_a_caller_that_leaves_before_its_request_has_come_is_not_refused(tmp_path: Path) -> None:
    """Nobody would get the refusal, and the audit would tell of something that was not decided."""
    audit = tmp_path / "audit.jsonl"
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", "--audit-file", str(audit)) as server:
        port = prepared(server)
        with connected(port) as connection:
            for stream in range(1, 41, 2):
                connection.sendall(frame(HEADERS, headers(Encoder()), flags=END_HEADERS, stream=stream))
                connection.sendall(frame(DATA, message()[:7], stream=stream))
            connection.sendall(frame(PING, bytes(8)))
            while read_frame(connection)[0] != PING:
                pass
            assert notice(port, 0.01).failed == 0  # a call after all of these has its answer
    assert '"refused"' not in audit.read_text()


def test_a_caller_without_a_credential_is_refused_before_its_request_comes(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", LAMINA_SERVER_ACCESS="closed") as server:
        port = int(server.target.rpartition(":")[2])
        answer = answered(port, frame(HEADERS, headers(Encoder()), flags=END_HEADERS, stream=1))
        assert answer["grpc-status"] == str(grpc.StatusCode.UNAUTHENTICATED.value[0])


def test_a_compression_bomb_is_refused_unopened(server: ServerProcess) -> None:
    """64 KiB of gzip that would be 64 MiB: only uncompressed requests are accepted."""
    port = int(server.target.rpartition(":")[2])
    before = memory_mib(server.pid)
    bomb = gzip.compress(bytes(64 << 20))
    block = headers(Encoder(), ("grpc-encoding", "gzip"))
    frames = [frame(HEADERS, block, flags=END_HEADERS, stream=1)]
    body = b"\1" + struct.pack(">I", len(bomb)) + bomb
    frames += [frame(DATA, body[at : at + 16_000], stream=1) for at in range(0, len(body), 16_000)]
    frames.append(frame(DATA, flags=END_STREAM, stream=1))
    assert answered(port, b"".join(frames))["grpc-status"] == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
    assert memory_mib(server.pid) - before < 30


def answered(port: int, frames: bytes) -> dict[str, str]:
    """Send the frames of one call, and return the headers and trailers of its answer."""
    decoder, found = Decoder(), dict[str, str]()
    with connected(port) as connection:
        connection.settimeout(10)
        connection.sendall(frames)
        while "grpc-status" not in found:
            kind, _, payload = read_frame(connection)
            if kind == HEADERS:
                found |= {str(name): str(value) for name, value in decoder.decode(payload)}
    return found
