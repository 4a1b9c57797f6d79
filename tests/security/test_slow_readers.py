"""Callers that ask for large answers and do not read them: the memory stays bounded, and others are answered."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest
from hpack import Encoder

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.security.attacks import DATA, END_HEADERS, END_STREAM, HEADERS, connected, frame, headers
from tests.security.under_attack import memory_mib
from tests.support.server import ServerProcess

CONNECTIONS, STREAMS = 8, 100
PAGE_BYTES = 900_000
GROWTH_LIMIT_MIB = 200
"""The calls would take 700 MiB: see CONNECTIONS, STREAMS and PAGE_BYTES."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('server')}/lamina.db") as process:
        with lamina.connect(process.target, cache_dir="") as client:
            config = client.config("big", create=True)
            config |= {f"key-{number}": "x" * (PAGE_BYTES // 20) for number in range(20)}
            config.commit()
        yield process


def test_answers_that_nobody_reads_are_bounded(server: ServerProcess) -> None:
    """P15."""
    port = int(server.target.rpartition(":")[2])
    body = pb.GetVersionRequest(config="big", view=pb.ENTRIES).SerializeToString()
    request = b"\0" + struct.pack(">I", len(body)) + body
    block = headers(Encoder())
    calls = b"".join(
        frame(HEADERS, block, flags=END_HEADERS, stream=stream) + frame(DATA, request, flags=END_STREAM, stream=stream)
        for stream in range(1, 2 * STREAMS, 2)
    )
    before = memory_mib(server.pid)
    with ExitStack() as open_ones:
        for _ in range(CONNECTIONS):
            connection = open_ones.enter_context(connected(port))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(calls)
        # The server has room for one caller's answers, and for those of another machine (::1).
        with grpc.insecure_channel(f"[::1]:{port}") as channel:
            stub, end = ConfigServiceStub(channel), time.monotonic() + 3
            while time.monotonic() < end:
                version = stub.GetVersion(pb.GetVersionRequest(config="big", view=pb.ENTRIES), timeout=20)
                assert len(version.entries) == 20
        assert memory_mib(server.pid) - before < GROWTH_LIMIT_MIB
    with lamina.connect(f"127.0.0.1:{port}", cache_dir="", timeout=20) as client:  # there is room again
        assert len(client.config("big")) == 20
