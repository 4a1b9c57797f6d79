"""Answers of a proxy or a web server instead of the server, with both clients."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import lamina
from tests.client.live_helpers import until
from tests.client.sdk import Sdk, of
from tests.support.http2_peer import Http2Peer
from tests.support.proxies import haproxy, nginx
from tests.support.server import ServerProcess

TIMEOUT = 5.0
"""A definite error comes long before."""
LARGE = "x" * 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("sqlite://") as process:
        yield process


async def refused(client: Any, verb: str = "config") -> lamina.LaminaError:
    """Return the error that a verb raises."""
    with pytest.raises(lamina.LaminaError) as caught:
        await of(getattr(client, verb)("app"))
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [
        (302, lamina.LaminaError, 1),
        (401, lamina.UnauthenticatedError, 1),
        (403, lamina.PermissionDeniedError, 1),
        (404, lamina.LaminaError, 1),
        (405, lamina.LaminaError, 1),
        (413, lamina.LimitError, 1),
        (415, lamina.LaminaError, 1),
        (200, lamina.UnavailableError, 3),  # a page of HTML: three tries, not the whole timeout
    ],
)
async def test_a_definite_answer_of_a_proxy_is_raised_at_once(
    sdk: Sdk, status: int, kind: type[lamina.LaminaError], requests: int
) -> None:
    with Http2Peer(status, body=b"<html>") as peer:
        error = await refused(sdk.connect(peer.target, timeout=TIMEOUT))
        assert type(error) is kind
        assert error.reason == "PROXY"
        assert peer.target in str(error)
        assert peer.requests == requests


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_temporary_answer_of_a_proxy_is_tried_again(sdk: Sdk, status: int) -> None:
    with Http2Peer(status) as peer:
        error = await refused(sdk.connect(peer.target, timeout=0.3))
        assert type(error) is lamina.DeadlineError
        assert f"a proxy before {peer.target} could not get an answer (HTTP {status})" in str(error)
        assert peer.requests > 1


@pytest.mark.parametrize("status", [302, 403, 404, 502])
async def test_a_live_behind_a_proxy_begins_from_its_default_and_keeps_trying(sdk: Sdk, status: int) -> None:
    """An answer of a proxy is no answer of the server: an ingress says 404 while it has no server."""
    with Http2Peer(status) as peer:
        live = await of(sdk.connect(peer.target, timeout=TIMEOUT).live("app", default={"x": 1}))
        assert (live["x"], live.state, live.error) == (1, "OFFLINE", None)
        before = peer.requests
        async with until(lambda: peer.requests > before + 1):
            pass
        assert live.error is None


async def test_a_commit_that_a_proxy_refused_is_not_sent_again(
    sdk: Sdk, server: ServerProcess, config_name: str, folder: Path
) -> None:
    """So a smaller draft can be committed, and the refused commit is not sent again."""
    with nginx(server.target, folder) as proxy:
        cfg = await of(sdk.connect(proxy, timeout=TIMEOUT).config(config_name, create=True))
        cfg["large"], cfg["larger"] = LARGE, LARGE
        began = time.monotonic()
        with pytest.raises(lamina.LimitError, match="client_max_body_size"):
            await of(cfg.commit())
        assert time.monotonic() - began < TIMEOUT / 2
        cfg["large"] = cfg["larger"] = "small"
        assert (await of(cfg.commit())).number == 1


async def test_nginx_without_a_server_is_a_deadline_error(sdk: Sdk, unused_address: str, folder: Path) -> None:
    with nginx(unused_address, folder) as proxy:
        error = await refused(sdk.connect(proxy, timeout=0.5))
        assert isinstance(error, lamina.DeadlineError)
        assert "could not get an answer (HTTP 502)" in str(error)


async def test_haproxy_answers_403_and_503(sdk: Sdk, server: ServerProcess, unused_address: str, folder: Path) -> None:
    """HAProxy answers 403 to requests that its rules deny, and 503 without a server."""
    with haproxy(server.target, folder, "http-request deny if { path_end /Commit }") as proxy:
        cfg = await of(sdk.connect(proxy, timeout=TIMEOUT).config("app", create=True))
        cfg["x"] = 1
        with pytest.raises(lamina.PermissionDeniedError, match=r"does not let this request pass \(HTTP 403\)"):
            await of(cfg.commit())
    with haproxy(unused_address, folder) as proxy:
        assert "could not get an answer (HTTP 503)" in str(await refused(sdk.connect(proxy, timeout=0.5)))


@pytest.fixture
def unused_address() -> Iterator[str]:
    """An address where no server listens; it is bound, so that no other program takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield "127.0.0.1:{1}".format(*bound.getsockname())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, as a socket's path must be."""
    with TemporaryDirectory(prefix="lamina-") as name:
        yield Path(name)
