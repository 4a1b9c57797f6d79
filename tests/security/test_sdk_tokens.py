"""The SDK's tokens on real sockets: each call has the present one, and lives and watches outlast an expired one."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import lamina
import lamina.testing
from lamina_server.store.memory import MemoryStore
from tests.client.conftest import sdk
from tests.client.live_helpers import put, reach, until
from tests.client.sdk import Sdk, beside, following, of
from tests.security.closed import closed
from tests.security.people import People

__all__ = ["sdk"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token"


def put_token(path: Path, token: str) -> None:
    path.write_text(token, encoding="utf-8")


def token_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def options_of(sdk: Sdk, path: Path, kind: str) -> dict[str, Any]:
    """Return `token=` in one of its forms; all of them read the file."""

    async def later() -> str:
        return token_of(path)

    function = later if sdk.kind == "aio" and kind == "coroutine" else lambda: token_of(path)
    return {"token": lamina.TokenFile(path) if kind == "file" else function, "cache_dir": "", "tls": False}


@pytest.mark.parametrize("kind", ["file", "function", "coroutine"])
async def test_each_call_has_the_present_token(sdk: Sdk, path: Path, kind: str) -> None:
    people = People()
    ada, bob = people.admin("ada"), people.admin("bob")
    put_token(path, ada.token)
    async with closed(MemoryStore(), people) as server:
        client = sdk.connect(server.target, **options_of(sdk, path, kind))
        cfg = await beside(sdk, client.config, "shop/prod", create=True)
        cfg["timeout"] = 30
        assert (await beside(sdk, cfg.commit)).author == "token:ada"
        put_token(path, bob.token)
        cfg["timeout"] = 45
        assert (await beside(sdk, cfg.commit)).author == "token:bob"
        put_token(path, "lamina_unknown_secret")
        with pytest.raises(lamina.UnauthenticatedError, match="the token is from the f") as caught:
            await beside(sdk, cfg.refresh)
        assert "secret" not in str(caught.value)


async def test_an_author_is_not_sent_with_a_token(sdk: Sdk, path: Path) -> None:
    """A closed server refuses it, so the system's user must not be sent; a given one is refused with what to do."""
    people = People()
    ada = people.admin("ada")
    async with closed(MemoryStore(), people) as server:
        for token in (ada.token, lambda: ada.token):
            client = sdk.connect(server.target, token=token, tls=False)
            assert (await beside(sdk, client.server_info)).author == "token:ada"
        named = sdk.connect(server.target, token=ada.token, author="ada", tls=False)
        with pytest.raises(lamina.InvalidError, match="leave out author=, --author and LAMINA_AUTHOR"):
            await beside(sdk, named.server_info)


async def test_a_live_outlasts_an_expired_token(sdk: Sdk, path: Path) -> None:
    """Also during the stream's life: it keeps its map, is STALE with that error, and comes back with a new token."""
    put_token(path, "first")
    with lamina.testing.server() as server:
        server.set("app", {"n": 1})
        client = sdk.connect(server.target, **options_of(sdk, path, "file"))
        live = await of(client.live("app"))
        await reach(live, 1)
        async with until(lambda: live.state == "LIVE"):
            pass
        async with until(lambda: live.error is not None):
            server.fail_next("WatchKeyHistory", reason="BAD_CREDENTIALS", times=1_000)
            server.disconnect()
        assert isinstance(live.error, lamina.UnauthenticatedError)
        assert str(live.error) == f"as the test wanted; the token is from the file {path}"
        assert (live.state, live["n"]) == ("STALE", 1)
        with pytest.raises(lamina.DeadlineError, match=r"not at 2, after 0\.01 s: as the test wanted"):
            await of(live.wait(2, 0.01))
        async with until(lambda: bool(live.state == "LIVE")):
            server.recover()
            server.set("app", {"n": 2})
        assert live.error is None


async def test_a_watch_outlasts_an_expired_token(sdk: Sdk, path: Path) -> None:
    put_token(path, "first")
    with lamina.testing.server() as server:
        server.set("app", {"n": 1})
        client = sdk.connect(server.target, **options_of(sdk, path, "file"))
        watch = (await of(client.config("app"))).watch()
        server.fail_next("WatchKeyHistory", reason="BAD_CREDENTIALS", times=2)
        server.set("app", {"n": 2})
        assert (await following(watch)).value == 2
        assert server.calls["WatchKeyHistory"] == 3
        fixed = sdk.connect(server.target, token="first", cache_dir="")
        server.fail_next("WatchKeyHistory", reason="BAD_CREDENTIALS", times=1)
        with pytest.raises(lamina.UnauthenticatedError):
            await following((await of(fixed.config("app"))).watch())


async def test_a_function_that_fails_is_named(sdk: Sdk) -> None:
    """In a verb at once; a live goes on when it works again."""
    is_sealed = False

    def from_the_vault() -> str:
        if is_sealed:
            raise ConnectionError("lamina_canary")
        return "token"

    with lamina.testing.server() as server:
        server.set("app", {"n": 1})
        client = sdk.connect(server.target, token=from_the_vault, cache_dir="")
        live = await of(client.live("app"))
        cfg = await of(client.config("app"))
        is_sealed = True
        with pytest.raises(
            lamina.UnauthenticatedError, match="from_the_vault of token= raised ConnectionError"
        ) as caught:
            await of(cfg.refresh())
        assert isinstance(caught.value.__cause__, ConnectionError), "its traceback shows where"
        async with until(lambda: isinstance(live.error, lamina.UnauthenticatedError)):
            server.disconnect()
        assert live.state == "STALE"
        is_sealed = False
        await put(cfg, n=2)
        await reach(live, 2)
        assert live.error is None


async def test_the_time_of_a_verb_includes_its_token(sdk: Sdk) -> None:
    """A function that hangs is cancelled then, in asyncio; and a slow one leaves no time for the call."""

    async def hanging() -> str:
        await asyncio.Event().wait()
        return "token"

    def slow() -> str:
        threading.Event().wait(0.3)
        return "token"

    with lamina.testing.server() as server:
        client = sdk.connect(server.target, token=hanging if sdk.kind == "aio" else slow, timeout=0.2)
        with pytest.raises(lamina.DeadlineError, match=r"no answer within 0\.2 s"):
            await asyncio.wait_for(beside(sdk, client.config, "app"), 5)


async def test_a_live_outlasts_the_loss_of_its_right(sdk: Sdk) -> None:
    """The stream ends with NOT_ALLOWED; then the config looks absent. It comes back when the right is given again."""
    people = People()
    admin, shop = people.admin(), people.token("shop")
    grant = people.grant(shop, "reader", "shop/**")
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit("shop/prod", {"n": 1})
        client = sdk.connect(server.target, token=shop.token, tls=False, cache_dir="")
        live = await beside(sdk, client.live, "shop/prod")
        async with until(lambda: bool(live.error)):
            await server.change({grant: None}, by=admin)
        if isinstance(live.error, lamina.CursorError):  # its stream began anew just then
            assert live.error.head == 0
        else:
            assert isinstance(live.error, lamina.PermissionDeniedError)
            assert "this needs the role reader on 'shop/prod', which 'token:shop' does not have" in str(live.error)
        assert (live.state, live["n"]) == ("STALE", 1)
        await server.wire(admin).commit("shop/prod", {"n": 2})
        async with until(lambda: bool(live.state == "LIVE")):
            await server.change({grant: {"role": "reader"}}, by=admin)
        assert live["n"] == 2
        assert live.error is None


async def test_whoami_and_check_access(sdk: Sdk) -> None:
    people = People()
    admin, shop = people.admin(reveal=True), people.reader("shop", "shop/**")
    people.group("platform", [shop])
    people.grant("group:platform", "writer", "shop/*", reveal=True)
    people.grant("group:ops", "writer", "shop/*", reveal=True)
    reads = lamina.Grant("token:shop", "reader", "shop/**")
    writes = lamina.Grant("group:platform", "writer", "shop/*", reveal=True)
    async with closed(MemoryStore(), people) as server:
        client = sdk.connect(server.target, token=shop.token, tls=False)
        me = await beside(sdk, client.whoami)
        assert me == lamina.WhoAmI("token:shop", ("group:platform",), (writes, reads))
        with pytest.raises(lamina.PermissionDeniedError, match="this needs the role admin on 'shop/prod'"):
            await beside(sdk, client.check_access, "token:shop", "shop/prod")
        theirs = sdk.connect(server.target, token=admin.token, tls=False)
        found = await beside(sdk, theirs.check_access, "token:shop", "shop/prod")
        assert found == lamina.AccessCheck("writer", True, (writes, reads))
        claimed = await beside(sdk, theirs.check_access, "oidc:bob", "shop/prod", groups=["group:ops"])
        ops = lamina.Grant("group:ops", "writer", "shop/*", reveal=True)
        assert claimed == lamina.AccessCheck("writer", True, (ops,))
        listed = await beside(sdk, theirs.check_access, "oidc:bob", "shop/prod", groups=["group:platform"])
        assert listed == lamina.AccessCheck(None), "who is in a listed group, its list says alone"
        assert (await beside(sdk, theirs.check_access, "oidc:bob", "pay/prod")) == lamina.AccessCheck(None)


async def test_a_refusal_for_too_many_calls_is_waited_out(sdk: Sdk) -> None:
    """By verbs, watches and lives, within `timeout`; a shorter one raises what the server says."""
    people = People()
    busy = people.admin("busy")
    people.values["limits/token:busy"] = {"calls_per_second": 5}
    async with closed(MemoryStore(), people) as server:
        client = sdk.connect(server.target, token=busy.token, tls=False, cache_dir="")
        cfg = await beside(sdk, client.config, "shop/prod", create=True)
        cfg["n"] = 1
        await beside(sdk, cfg.commit)
        hasty = sdk.connect(server.target, token=busy.token, tls=False, timeout=0.05)
        with pytest.raises(lamina.LimitError, match="calls of 'token:busy' in a second") as caught:
            while True:
                await beside(sdk, hasty.server_info)
        assert caught.value.reason == "TOO_MANY"
        assert 0 < (caught.value.retry_seconds or 0) <= 0.2
        for _ in range(3):
            await beside(sdk, client.server_info)
        live = await beside(sdk, client.live, "shop/prod")
        watch = cfg.watch(after=0)
        assert (await following(watch)).value == 1
        async with until(lambda: bool(live.state == "LIVE")):
            pass
        assert live.error is None
