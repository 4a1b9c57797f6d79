"""The settings for proxies run as the server's README prints them, but for their addresses and files."""

import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import grpc
import pytest
import trustme
from google.protobuf.duration_pb2 import Duration

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.support.proxies import running, running_envoy
from tests.support.server import ServerProcess

README = (Path(__file__).parents[2] / "server" / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Behind a proxy\n")[2].partition("\n## ")[0]
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL)
PRINTED = {match["language"]: match["code"] for match in BLOCK.finditer(SECTION)}

TIMEOUTS = {"nginx": (r"(?<=_timeout )2m", 2), "haproxy": (r"(?<= )2m$", 2), "yaml": (r"120s", 1)}
"""What is printed for a silent watch, and how often."""

CERT, KEY, BOTH = (f"/etc/ssl/lamina/{name}.pem" for name in ("cert", "key", "cert-and-key"))


def with_replaced(text: str, replaced: dict[str, str]) -> str:
    """Replace what is printed exactly once."""
    for old, new in replaced.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(server: str, folder: Path, port: int) -> Iterator[str]:
    addresses = {"443": f"127.0.0.1:{port}", "localhost:7440": server}
    block = with_replaced(PRINTED["nginx"], addresses | {CERT: f"{folder}/cert", KEY: f"{folder}/key"})
    (folder / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}
        http {{ access_log off; client_body_temp_path {folder}; {block} }}""")
    with running("nginx", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf", listens=port) as address:
        yield address


@contextmanager
def haproxy(server: str, folder: Path, port: int) -> Iterator[str]:
    replaced = {":443": f"127.0.0.1:{port}", "localhost:7440": server, BOTH: f"{folder}/both"}
    (folder / "haproxy.cfg").write_text(with_replaced(PRINTED["haproxy"], replaced) + "\n")
    with running("haproxy", "-db", "-q", "-f", str(folder / "haproxy.cfg"), listens=port) as address:
        yield address


@contextmanager
def envoy(server: str, folder: Path, port: int) -> Iterator[str]:
    addresses = {"0.0.0.0": "127.0.0.1", "443": str(port), "7440": server.rpartition(":")[2]}
    block = with_replaced(PRINTED["yaml"], addresses | {CERT: f"{folder}/cert", KEY: f"{folder}/key"})
    (folder / "envoy.yaml").write_text(block)
    with running_envoy(folder / "envoy.yaml", listens=port) as address:
        yield address


Running: TypeAlias = Callable[[str, Path, int], AbstractContextManager[str]]
PROXIES = pytest.mark.parametrize("proxy", [nginx, haproxy, envoy])


@PROXIES
def test_the_settings_run_as_printed(proxy: Running) -> None:
    with (
        certified() as folder,
        ServerProcess("sqlite://") as server,
        proxy(server.target, folder, free_port()) as address,
    ):
        use(address, lamina.TLS(ca=folder / "ca"))


@PROXIES
def test_a_silent_watch_outlasts_all_timeouts(proxy: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thirtieth of each time: 4 s, and a bookmark each second."""
    for language, (pattern, times) in TIMEOUTS.items():
        text, count = re.subn(pattern, "4s", PRINTED[language], flags=re.MULTILINE)
        assert count == times
        monkeypatch.setitem(PRINTED, language, text)
    with (
        certified() as folder,
        ServerProcess("sqlite://") as server,
        proxy(server.target, folder, free_port()) as address,
        grpc.secure_channel(address, grpc.ssl_channel_credentials((folder / "ca").read_bytes())) as channel,
    ):
        request = pb.WatchKeyHistoryRequest(config="shop/prod", bookmark_interval=Duration(seconds=1))
        watch = ConfigServiceStub(channel).WatchKeyHistory(request, timeout=60)
        began = time.monotonic()
        for answer in watch:
            assert answer.HasField("bookmark")
            if time.monotonic() > began + 10:
                break


@PROXIES
def test_a_watch_goes_on_while_the_server_renews_its_connections(proxy: Running) -> None:
    """As it does each half hour."""
    ages = {"LAMINA_SERVER_CONNECTION_AGE_SECONDS": "1", "LAMINA_SERVER_CONNECTION_AGE_GRACE_SECONDS": "1"}
    with (
        certified() as folder,
        ServerProcess("sqlite://", **ages) as server,
        proxy(server.target, folder, free_port()) as address,
        lamina.connect(address, tls=lamina.TLS(ca=folder / "ca")) as client,
    ):
        cfg = client.config("shop/prod", create=True)
        ended = time.monotonic() + 5
        with cfg.watch(after=0) as watch:
            versions = (version.version for version in watch.versions())
            while time.monotonic() < ended:
                cfg["x"] = cfg.version
                assert cfg.commit().number == next(versions)


def test_one_address_has_fifty_connections_to_haproxy() -> None:
    with certified() as folder, ExitStack() as opened:
        port = free_port()
        opened.enter_context(haproxy("localhost:1", folder, port))
        refused, held = 0, []
        for _ in range(60):
            try:
                held.append(opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)))
            except ConnectionResetError:  # it may be closed before `connect` comes back
                refused += 1
        while (closed := refused + len(select.select(held, [], [], 10)[0])) < 10:
            assert closed > refused
        assert closed <= 11  # one more if HAProxy still counts the connection that has found it listening


@contextmanager
def certified() -> Iterator[Path]:
    """Give a folder with a certificate for localhost, its key, and its authority."""
    authority = trustme.CA()
    ours = authority.issue_cert("localhost")
    with TemporaryDirectory(prefix="lamina-") as name:
        folder = Path(name)
        ours.cert_chain_pems[0].write_to_path(folder / "cert")
        ours.private_key_pem.write_to_path(folder / "key")
        ours.private_key_and_cert_chain_pem.write_to_path(folder / "both")
        authority.cert_pem.write_to_path(folder / "ca")
        yield folder


def free_port() -> int:
    """Give a port for a proxy: with TLS, a client checks the name of a host, which a Unix socket does not have."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def use(address: str, tls: lamina.TLS) -> None:
    """Write what is large, be refused for a large conflict, and watch."""
    keys = [f"key-{number:03}" for number in range(300)]
    with lamina.connect(address, tls=tls) as client, lamina.connect(address, tls=tls) as other:
        cfg = client.config("shop/prod", create=True)
        cfg |= {f"large-{number}": "v" * 1_000_000 for number in range(4)}
        cfg |= dict.fromkeys(keys, 1)
        cfg.commit()
        others = other.config("shop/prod")
        with others.watch("key-000") as watch:
            cfg |= dict.fromkeys(keys, 2)
            cfg.commit()
            assert next(iter(watch)).value == 2
        others |= dict.fromkeys(keys, 3)
        with pytest.raises(lamina.ConflictError) as caught:
            others.commit()
        assert list(caught.value.conflicts) == keys
