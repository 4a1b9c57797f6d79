"""The proxy itself: each way to misbehave, seen from plain sockets at both ends."""

import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.proxy import BOTH_WAYS, PASS, Mode, Proxy, Way

CALL_SECONDS = 10.0
QUIET_SECONDS = 0.1
"""How long to wait before nothing counts as received: there is no event to wait for."""
LATENCY_SECONDS = 0.1


@dataclass
class Scene:
    """A proxy, and the listening socket of the server behind it."""

    proxy: Proxy
    listener: socket.socket

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return the two ends of a new connection: the client's and the server's."""
        host, _, port = self.proxy.target.rpartition(":")
        client = socket.create_connection((host, int(port)), CALL_SECONDS)
        server, _ = self.listener.accept()
        server.settimeout(CALL_SECONDS)
        return client, server


@pytest.fixture
def scene() -> Iterator[Scene]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(CALL_SECONDS)
        with Proxy(f"localhost:{listener.getsockname()[1]}") as proxy:
            yield Scene(proxy, listener)


def receive(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (chunk := end.recv(count - len(data))):
        data += chunk
    return data


def is_quiet(end: socket.socket) -> bool:
    return not select.select([end], [], [], QUIET_SECONDS)[0]


def test_bytes_and_their_end_pass_both_ways(scene: Scene) -> None:
    client, server = scene.connect()
    with client, server:
        client.sendall(b"x" * 1_000_000)
        client.shutdown(socket.SHUT_WR)
        assert receive(server, 2_000_000) == b"x" * 1_000_000
        server.sendall(b"back")  # the other way is open still
        assert receive(client, 4) == b"back"
        assert scene.proxy.connections == 1


def test_latency_delays_and_keeps_the_order(scene: Scene) -> None:
    client, server = scene.connect()
    with client, server:
        scene.proxy.switch(Mode(latency_seconds=LATENCY_SECONDS, jitter_seconds=LATENCY_SECONDS))
        began = time.monotonic()
        sent = b""
        for number in range(20):
            client.sendall(bytes([number]) * 1_000)
            sent += bytes([number]) * 1_000
        assert receive(server, len(sent)) == sent
        assert time.monotonic() - began >= LATENCY_SECONDS
        server.sendall(b"!")
        assert receive(client, 1) == b"!"
        assert time.monotonic() - began >= 2 * LATENCY_SECONDS


@pytest.mark.parametrize("ways", [{Way.UP}, {Way.DOWN}, BOTH_WAYS], ids=["up", "down", "both"])
def test_a_blackhole_holds_back_and_keeps_the_connection(scene: Scene, ways: set[Way]) -> None:
    client, server = scene.connect()
    with client, server:
        scene.proxy.switch(Mode(blackholes=ways))
        client.sendall(b"up")
        server.sendall(b"down")
        for way, end, data in ((Way.UP, server, b"up"), (Way.DOWN, client, b"down")):
            if way in ways:
                assert is_quiet(end)
            else:
                assert receive(end, len(data)) == data
        scene.proxy.switch(PASS)
        for way, end, data in ((Way.UP, server, b"up"), (Way.DOWN, client, b"down")):
            assert way not in ways or receive(end, len(data)) == data


def test_a_blackhole_hides_that_a_side_is_gone(scene: Scene) -> None:
    client, server = scene.connect()
    with server:
        scene.proxy.switch(Mode(blackholes=BOTH_WAYS))
        client.close()
        assert is_quiet(server)
        scene.proxy.switch(PASS)
        assert receive(server, 1) == b""


def test_a_sender_into_a_blackhole_is_pushed_back(scene: Scene) -> None:
    """The proxy does not read, so the sender's buffers fill up, as when packets are lost."""
    client, server = scene.connect()
    with client, server:
        scene.proxy.switch(Mode(blackholes={Way.UP}))
        client.settimeout(QUIET_SECONDS)
        with pytest.raises(TimeoutError):
            client.sendall(b"x" * (64 << 20))


def test_reset_is_an_rst_for_both_ends(scene: Scene) -> None:
    ends = [*scene.connect(), *scene.connect()]
    assert scene.proxy.reset() == 2
    for end in ends:
        with end, pytest.raises(ConnectionResetError):
            end.recv(1)
    assert scene.proxy.connections == 0
    client, server = scene.connect()  # new connections pass
    with client, server:
        client.sendall(b"x")
        assert receive(server, 1) == b"x"


@pytest.mark.parametrize("way", Way)
def test_every_connection_is_cut_after_a_number_of_bytes(scene: Scene, way: Way) -> None:
    scene.proxy.switch(Mode(cut_after_bytes={way: 1_000}))
    for _ in range(2):
        client, server = scene.connect()
        sender, receiver = (client, server) if way is Way.UP else (server, client)
        with client, server:
            receiver.sendall(b"y" * 5_000)  # the other way does not count
            assert receive(sender, 5_000) == b"y" * 5_000
            sender.sendall(b"x" * 999)
            assert receive(receiver, 999) == b"x" * 999
            sender.sendall(b"x" * 999)
            assert receive(receiver, 999) == b"x"


def test_bytes_are_counted_from_the_switch(scene: Scene) -> None:
    client, server = scene.connect()
    with client, server:
        client.sendall(b"x" * 5_000)
        assert receive(server, 5_000) == b"x" * 5_000
        scene.proxy.switch(Mode(cut_after_bytes={Way.UP: 10}))
        client.sendall(b"x" * 20)
        assert receive(server, 20) == b"x" * 10


def test_new_connections_are_refused_and_old_ones_stay(scene: Scene) -> None:
    client, server = scene.connect()
    with client, server:
        scene.proxy.switch(Mode(refuses=True))
        scene.proxy.switch(Mode(refuses=True))  # a second time changes nothing
        with pytest.raises(ConnectionRefusedError):
            scene.connect()
        client.sendall(b"x")
        assert receive(server, 1) == b"x"
        scene.proxy.switch(PASS)
        other, behind = scene.connect()
        with other, behind:
            other.sendall(b"x")
            assert receive(behind, 1) == b"x"


def test_a_server_that_is_down_is_an_rst(scene: Scene) -> None:
    scene.listener.close()
    host, _, port = scene.proxy.target.rpartition(":")
    # The RST may come so soon that connecting fails.
    with pytest.raises(ConnectionResetError), socket.create_connection((host, int(port)), CALL_SECONDS) as client:
        client.recv(1)
