"""Servers that cannot be reached: the error says why and what to do, with both clients."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import lamina
import lamina.testing
from tests.client.sdk import Sdk, of
from tests.support import absent
from tests.support.server import ServerProcess
from tests.support.tls_peer import Peer

CA, OTHER = trustme.CA(), trustme.CA()
TRUSTED, UNTRUSTED = (lamina.TLS(ca=ca.cert_pem.bytes()) for ca in (CA, OTHER))
HTTP_1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
PAGE = b"<!DOCTYPE HTML>\n<html><title>Error response</title></html>\n"
"""The answer of Python's http.server: a page without a status line."""


def secured(name: str, protocol: str = "h2") -> ssl.SSLContext:
    """Make the TLS context of a server that has a certificate for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(name).configure_cert(context)
    context.set_alpn_protocols([protocol])
    return context


async def error_text(client: Any) -> str:
    """Return the text of the error of a verb that reaches no server."""
    with pytest.raises(lamina.UnavailableError) as caught:
        await of(client.config("app"))
    return str(caught.value)


@pytest.fixture
def dead() -> Iterator[int]:
    """A port where no server listens, and none can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize(
    ("context", "tls", "why"),
    [
        (secured("localhost"), UNTRUSTED, "its certificate is not trusted: TLS(ca=...) or --tls-ca"),
        (secured("other.example"), TRUSTED, "its certificate is for another name"),
        (secured("localhost", "http/1.1"), TRUSTED, "it speaks TLS, but not HTTP/2"),
        (secured("localhost"), False, "does it speak TLS? tls=True, TLS(ca=...) or --tls-ca"),
        (None, TRUSTED, "it does not speak TLS: tls=False or --plaintext"),
        (None, False, "it speaks HTTP/1, so it is no Lamina server"),
    ],
)
async def test_the_error_says_why_a_peer_cannot_be_used(
    sdk: Sdk, context: ssl.SSLContext | None, tls: lamina.TLS | bool, why: str
) -> None:
    with Peer(context, HTTP_1) as peer:
        target = f"localhost:{peer.port}"
        error = await error_text(sdk.connect(target, tls=tls, timeout=0.3))
        assert f"no answer within 0.3 s: no server answers at {target} (" in error
        assert why in error


async def test_a_web_server_that_answers_without_a_status_line(sdk: Sdk) -> None:
    with Peer(None, PAGE) as peer:
        error = await error_text(sdk.connect(f"localhost:{peer.port}", tls=False, timeout=0.3))
        assert "(it does not speak HTTP/2, so it is no Lamina server: is the port right?)" in error


async def test_a_lamina_server_without_tls(sdk: Sdk) -> None:
    with ServerProcess("sqlite://") as server:
        assert "it does not speak TLS: tls=False" in await error_text(
            sdk.connect(server.target, tls=TRUSTED, timeout=0.5)
        )


async def test_each_target_is_named_with_its_reason(sdk: Sdk, dead: int) -> None:
    with Peer(secured("localhost")) as peer:
        targets = f"localhost:{peer.port},localhost:{dead}"
        error = await error_text(sdk.connect(targets, tls=UNTRUSTED, timeout=0.3))
    assert f"no server answers at localhost:{peer.port} (its certificate is not trusted" in error
    assert f"no server answers at localhost:{dead} (connection refused)" in error


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_a_dead_proxy_is_named_with_its_variable(
    sdk: Sdk, dead: int, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"http://ann:secret@127.0.0.1:{dead}")
    error = await error_text(sdk.connect("far.example:1", timeout=0.3))
    assert f"at far.example:1 through the proxy 127.0.0.1:{dead} of {variable} (connection refused)" in error
    assert "secret" not in error


TWO_ADDRESSES = """
import asyncio, sys
from pathlib import Path
import lamina
from lamina import aio

async def by_asyncio(**how):
    async with aio.connect(**how) as client:
        await client.config("app")

for port in sys.argv[2:]:
    how = {"target": f"two.example:{port}", "tls": lamina.TLS(ca=sys.argv[1]), "timeout": 0.5}
    for ask in (lambda: lamina.connect(**how).config("app"), lambda: asyncio.run(by_asyncio(**how))):
        try:
            ask()
        except lamina.UnavailableError as error:
            print(error)
"""


@pytest.mark.parametrize("number", [1, 2])
def test_the_better_reason_of_two_addresses_is_shown(number: int, tmp_path: Path) -> None:
    """A name has two addresses, with a server at only one of them, which may be tried first or last."""
    hosts, ca = tmp_path / "hosts", tmp_path / "ca.pem"
    hosts.write_text("127.0.0.1 localhost two.example\n127.0.0.2 two.example\n")
    OTHER.cert_pem.write_to_path(str(ca))
    private = [shutil.which("unshare") or "unshare", "--map-root-user", "--mount"]
    mount = f"mount --bind {hosts} /etc/hosts"
    if not may([*private, "sh", "-c", mount]):
        absent("the right to mount in a namespace of one's own", "run as root, or allow user namespaces")
    script = [sys.executable, "-W", "error", "-c", TWO_ADDRESSES, str(ca)]
    with Peer(secured("two.example"), host=f"127.0.0.{number}") as peer:
        done = subprocess.run(
            [*private, "sh", "-c", f'{mount} && exec "$@"', "sh", *script, str(peer.port)],
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    why = "its certificate is not trusted: TLS(ca=...) or --tls-ca says whom to trust"
    assert (
        done.stdout.splitlines()
        == [f"no answer within 0.5 s: no server answers at two.example:{peer.port} ({why})"] * 2
    ), done.stderr


def may(command: list[str]) -> bool:
    """Return whether a command can be run."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


async def test_only_a_verb_that_fails_asks_each_address_why(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live that finds no server tells nobody, and opens its stream again without that delay."""
    asked: list[Any] = []
    look_up = socket.getaddrinfo

    def noted(host: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return look_up(host, *arguments, **options)

    with lamina.testing.server() as server:
        server.set("app", {"n": 1})
        port = server.target.rpartition(":")[2]
        client, other = sdk.connect(f"localhost:{port}"), sdk.connect(f"127.0.0.1:{port}", timeout=0.5)
        live = await of(client.live("app"))
        monkeypatch.setattr(socket, "getaddrinfo", noted)
        with server.down():
            await error_text(other)  # meanwhile the live has tried in vain
            assert live.state == "STALE"
            assert not asked
            await error_text(sdk.connect(f"localhost:{port}", timeout=0.3))
            assert asked == ["localhost"]
        await sdk.close()
