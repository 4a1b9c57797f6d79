"""The health service is public: no caller of it may hold up others."""

import asyncio
import socket
import struct
from contextlib import closing

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from hpack import Encoder

from lamina_server.rpc.handlers import SERVICE
from lamina_server.store.memory import MemoryStore
from tests.security.attacks import DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, frame
from tests.security.closed import closed
from tests.security.people import People

INITIAL_WINDOW_SIZE = 4
FIELDS = ((":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Watch"), (":authority", "x"))
WATCHED = health_pb2.HealthCheckRequest(service=SERVICE.full_name)


def watch_that_takes_nothing(port: int) -> socket.socket:
    """Begin a watch whose caller has no room for a single byte, and wait until the server has seen it."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    block = Encoder().encode([*FIELDS, ("te", "trailers"), ("content-type", "application/grpc")])
    body = WATCHED.SerializeToString()
    connection.sendall(
        PREFACE
        + frame(SETTINGS, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
        + frame(HEADERS, block, flags=END_HEADERS, stream=1)
        + frame(DATA, b"\0" + struct.pack(">I", len(body)) + body, flags=END_STREAM, stream=1)
        + frame(PING, b"the-ping")
    )
    received = b""
    while b"the-ping" not in received:
        received += connection.recv(4096)
    return connection


async def test_a_watcher_of_health_that_takes_nothing_holds_up_no_other() -> None:
    """Otherwise anybody could keep balancers from hearing that a server is not ready any more."""
    people = People()
    people.admin()
    async with closed(MemoryStore(), people) as server:
        port = int(server.target.rpartition(":")[2])
        with closing(await asyncio.to_thread(watch_that_takes_nothing, port)):
            async with grpc.aio.insecure_channel(server.target) as channel:
                watch = HealthStub(channel).Watch(WATCHED)
                statuses = [(await asyncio.wait_for(watch.read(), 5)).status]
                await server.application.stop()
                statuses.append((await asyncio.wait_for(watch.read(), 5)).status)
                response = health_pb2.HealthCheckResponse
                assert statuses == [response.SERVING, response.NOT_SERVING]
