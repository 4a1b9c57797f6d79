"""The server for users' tests: a real server, with failures on demand."""

import gc
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import _environment, errors, testing
from tests.client.live_helpers import SECONDS, put, reach, until
from tests.client.sdk import Sdk, beside, following, listed, of

pytest_plugins = ["pytester"]

README = Path(__file__).parents[3] / "client" / "README.md"
ALWAYS = 1_000_000


@pytest.fixture
def server() -> Iterator[testing.Server]:
    with testing.server() as made:
        yield made


@pytest.fixture
def target(server: testing.Server) -> str:
    return server.target


@pytest.fixture
async def cfg(client: Any) -> Any:
    return await of(client.config("app", create=True))


async def numbers(cfg: Any) -> list[int]:
    return [version.number for version in await listed(cfg.log())]


async def test_it_answers_as_a_real_server(server: testing.Server, cfg: Any) -> None:
    await put(cfg, x=1, hosts=["a"])
    await put(cfg, x=2)
    assert (await of(cfg.at(1))).to_dict() == {"x": 1, "hosts": ["a"]}
    assert (await of(cfg.verify())).number == 2
    assert server.connect().config("app")["x"] == 2
    assert server.calls["Commit"] == 2


async def test_a_lost_answer_does_not_double_a_commit(server: testing.Server, cfg: Any) -> None:
    """P8: a commit whose answer was lost is found again, and not done twice."""
    server.fail_next("Commit", after=True)
    assert (await put(cfg, x=1)).number == 1
    assert server.calls["Commit"] == 2
    assert await numbers(cfg) == [1]


async def test_a_commit_left_open_is_resumed(server: testing.Server, cfg: Any) -> None:
    server.fail_next("Commit", reason="BUG", after=True, times=ALWAYS)  # the SDK tries this only a few times
    with pytest.raises(lamina.UnavailableError) as caught:
        await put(cfg, x=1)
    assert (caught.value.reason, bool(caught.value.request_id)) == ("BUG", True)
    assert server.connect().config("app").to_dict() == {"x": 1}
    server.recover()
    assert (await of(cfg.commit())).number == 1
    assert await numbers(cfg) == [1]


async def test_a_failure_before_writes_nothing(server: testing.Server, cfg: Any) -> None:
    server.fail_next("Commit", reason="DISK_FULL")
    with pytest.raises(lamina.LimitError) as caught:
        await put(cfg, x=1)
    assert (caught.value.reason, server.calls["Commit"]) == ("DISK_FULL", 1)
    with pytest.raises(lamina.NotFoundError):
        server.connect().config("app")
    assert (await put(cfg)).number == 1


@pytest.mark.parametrize("reason", sorted(errors.REASONS.keys() - {"CONFLICT"}))
async def test_every_reason_can_be_raised(server: testing.Server, client: Any, reason: str) -> None:
    kind = errors.REASONS[reason]
    server.fail_next("GetVersion", reason=reason)
    if issubclass(kind, lamina.UnavailableError):
        await open_at_the_second_try(server, client)
        return
    with pytest.raises(kind) as caught:
        await of(client.config("app"))
    assert caught.value.reason == reason


@pytest.mark.parametrize("code", sorted(errors.CODES))
async def test_every_code_can_be_raised_without_a_reason(server: testing.Server, client: Any, code: str) -> None:
    kind = errors.CODES[code]
    server.fail_next("GetVersion", code=code)
    if issubclass(kind, lamina.UnavailableError):
        await open_at_the_second_try(server, client)
        return
    with pytest.raises(kind) as caught:
        await of(client.config("app"))
    assert caught.value.reason is None


async def open_at_the_second_try(server: testing.Server, client: Any) -> None:
    """Assert that the SDK tries again; waiting until it gives up would take its whole timeout."""
    await of(client.config("app", create=True))
    assert server.calls["GetVersion"] == 2


async def test_a_watch_can_be_refused(server: testing.Server, cfg: Any) -> None:
    server.fail_next("WatchKeyHistory", reason="TOO_MANY")
    watch = cfg.watch(after=0)
    with pytest.raises(lamina.LimitError):
        await following(watch)
    await of(watch.close())


async def test_failures_come_in_order_for_each_method(server: testing.Server, cfg: Any) -> None:
    server.fail_next("Commit", reason="NOT_ALLOWED")
    server.fail_next("Commit", reason="TOO_LARGE", times=2)
    server.fail_next(reason="BAD_CREDENTIALS")
    cfg["x"] = 1
    for kind in (lamina.PermissionDeniedError, lamina.LimitError, lamina.LimitError, lamina.UnauthenticatedError):
        with pytest.raises(kind):
            await of(cfg.commit())
    await of(cfg.commit())
    server.fail_next(reason="BAD_CREDENTIALS")
    with pytest.raises(lamina.UnauthenticatedError):
        await of(cfg.refresh())
    server.fail_next(reason="BAD_CREDENTIALS", times=9)
    server.recover()
    await of(cfg.refresh())


async def test_a_refusal_wins_over_a_lost_answer(server: testing.Server, cfg: Any) -> None:
    await put(cfg, x=1)
    server.set("app", {"x": 2})
    server.fail_next("Commit", after=True)
    with pytest.raises(lamina.ConflictError) as caught:
        await put(cfg, x=3)
    assert (caught.value.conflicts["x"].theirs, caught.value.conflicts["x"].author) == (2, "lamina.testing")
    assert await numbers(cfg) == [2, 1]


@pytest.mark.parametrize(
    ("wish", "refusal"),
    [
        ({"method": "commit"}, "no method 'commit': Commit, "),
        ({"reason": "NO_LUCK"}, "no reason 'NO_LUCK': BAD_CONFIG_NAME, "),
        ({"reason": "CONFLICT"}, "commit another value of the same key"),
        ({"code": "OK"}, "no error code 'OK': CANCELLED, "),
        ({"reason": "BUG", "code": "INTERNAL"}, "or just a code"),
        ({"times": 0}, "times=0"),
        ({"after": True, "reason": "TOO_LARGE"}, "RESOURCE_EXHAUSTED says that nothing was written"),
        ({"after": True, "method": "WatchKeyHistory"}, "no single answer"),
    ],
)
def test_a_failure_that_no_server_has_is_refused(server: testing.Server, wish: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ValueError, match=re.escape(refusal)):
        server.fail_next(**wish)
    server.set("app", {"x": 1})  # the refused failure was not kept


async def test_connections_can_be_cut(server: testing.Server, cfg: Any) -> None:
    """P9: a watch and a client continue after it."""
    await put(cfg, x=1)
    watch = cfg.watch(after=0)
    assert (await following(watch)).version == 1
    address = server.target
    for number in (2, 3):
        server.disconnect()
        await put(cfg, x=number)
        assert (await following(watch)).version == number
    assert server.target == address
    assert server.calls["WatchKeyHistory"] == 3
    await of(watch.close())


async def test_an_outage_can_be_simulated(server: testing.Server, cfg: Any, client: Any, sdk: Sdk) -> None:
    await put(cfg, x=1)
    live = await of(client.live("app"))
    host, port = server.target.split(":")
    with server.down():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), SECONDS)
        async with until(lambda: live.state == "STALE"):
            pass
        assert live["x"] == 1
        cfg["x"] = 2
        waiting = beside(sdk, cfg.commit)
    await reach(live, await waiting)
    assert live["x"] == 2
    await of(live.close())


def test_an_outage_ends_with_its_outermost_block(server: testing.Server) -> None:
    server.set("app", {"x": 1})
    host, port = server.target.split(":")
    with server.down():
        with server.down():
            pass
        server.disconnect()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), SECONDS)
    assert server.connect().config("app")["x"] == 1


def test_a_server_can_be_closed_early() -> None:
    with testing.server() as server, server.down():
        server.close()
        server.close()
    with pytest.raises(RuntimeError, match="closed"):
        server.disconnect()


async def test_the_clock_can_be_advanced(server: testing.Server, cfg: Any) -> None:
    times = []
    for number in (1, 2, 3):
        version = await put(cfg, x=number)
        times.append(version.time)
        assert (await of(cfg.at(server.now)))["x"] == number
        server.advance(86_400)
    assert [(later - earlier).days for earlier, later in pairwise(times)] == [1, 1]
    for number, time in enumerate(times, 1):
        assert (await of(cfg.at(time))).version == number
    for seconds in (-1, float("nan")):
        with pytest.raises(ValueError, match="cannot go back"):
            server.advance(seconds)


def test_set_commits_as_another_client(server: testing.Server) -> None:
    assert server.set("app", {"a": 1, "b": [1]}, "begin").message == "begin"
    server.set("app", {"a": 2})
    assert server.connect().config("app").to_dict() == {"a": 2, "b": [1]}
    server.fail_next("Commit", reason="NOT_ALLOWED")
    with pytest.raises(lamina.PermissionDeniedError):
        server.set("app", {"a": 3})


def test_servers_share_nothing(server: testing.Server) -> None:
    server.set("app", {"x": 1})
    with testing.server() as other:
        assert other.target != server.target
        other.fail_next(reason="NOT_ALLOWED")
        assert server.connect().config("app")["x"] == 1
        assert other.calls == {}


def test_its_clients_are_closed_with_it() -> None:
    with testing.server() as server:
        client = server.connect()
        with server.down():
            pass
    with pytest.raises(lamina.InvalidError, match="closed"):
        client.config("app")


def process_state() -> dict[str, Any]:
    """Return the state of the process that a library must not change."""
    return {
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)},
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "gc": (gc.isenabled(), gc.get_threshold()),
        "switching": sys.getswitchinterval(),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "excepthook": (sys.excepthook, threading.excepthook),
    }


def test_it_does_not_change_the_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LAMINA_SERVER_LISTEN", "nowhere")
    monkeypatch.setenv("LAMINA_SERVER_CHANGE_LIMIT", "1")
    before, threads = process_state(), threading.active_count()
    with testing.server() as server:
        assert process_state() == before
        server.set("app", {"x": 1, "y": 2})
        server.fail_next("Commit", after=True)
        server.fail_next("Commit", reason="BUG")
        server.set("app", {"x": 2})
        server.disconnect()
        assert process_state() == before
    assert process_state() == before
    assert threading.active_count() <= threads
    assert capfd.readouterr() == ("", "")


FORGOTTEN = """
from lamina import testing

manager = testing.server()
server = manager.__enter__()
client = server.connect()
server.set("app", {"x": 1})
print(client.config("app")["x"])
"""

FORKED = """
import os, sys

os.environ["GRPC_VERBOSITY"] = "NONE"  # gRPC warns that it sees the server's thread
from lamina import testing

with testing.server() as server:
    server.set("app", {"x": 1})
    child = os.fork()
    if not child:
        sys.exit(0)  # which leaves the block
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), server.connect().config("app")["x"])
"""

WITHOUT_THE_EXTRA = """
import sys

sys.modules["structlog"] = None  # as if it were not installed
from lamina import testing

try:
    with testing.server():
        pass
except ModuleNotFoundError as error:
    print(error)
"""


def test_a_program_that_does_not_close_it_ends() -> None:
    assert ran(FORGOTTEN) == "1\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_stop_its_parent_s_server() -> None:
    assert ran(FORKED) == "0 1\n"


def test_without_the_extra_the_error_names_it() -> None:
    assert "(there is no structlog): pip install 'lamina[server]'" in ran(WITHOUT_THE_EXTRA)


def ran(program: str) -> str:
    """Run a program to its end, and return its output."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]  # Python 3.12 warns of any fork
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


USING = """
import asyncio

import lamina


def test_one(lamina_server, lamina_config):
    assert lamina_config.version == 0
    lamina_config["x"] = 1
    assert lamina_config.commit().number == 1
    lamina_server.fail_next(reason="NOT_ALLOWED")


def test_another_has_one_of_its_own(lamina_config, lamina_server):
    assert lamina_config.commit is not None
    assert list(lamina_server.connect().configs()) == []


async def test_asyncio(lamina_server, lamina_config):
    async with lamina.aio.connect(lamina_server.target) as client:
        cfg = await client.config("app", create=True)
        cfg["x"] = 1
        await cfg.commit()
        lamina_config.refresh()
        async with cfg.watch(after=0) as watch:
            assert (await anext(watch)).version == 1
            lamina_server.disconnect()
            lamina_config["x"] = 2
            lamina_config.commit()
            assert (await anext(watch)).version == 2
"""


@pytest.fixture
def other_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Another run of pytest, with only the plugins that it names."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def test_the_fixtures_and_the_readme_s_tests_work(other_run: pytest.Pytester) -> None:
    """They run in another run of pytest, under xdist, with warnings as errors."""
    section = README.read_text(encoding="utf-8").partition("## Testing your service\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    printed = [block for block in blocks if "def test_" in block]
    other_run.makepyfile(test_using=USING, test_printed="\n".join(printed))
    expected = (USING + "".join(printed)).count("def test_")
    other_run.makeini("""
        [pytest]
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
        filterwarnings = error
    """)
    plugins = ("-p", "lamina_pytest", "-p", "pytest_asyncio.plugin", "-p", "xdist")
    other_run.runpytest_subprocess(*plugins, "-n", "2", timeout=SECONDS).assert_outcomes(passed=expected)


LAZY = """
import sys


def test_nothing_is_imported_for_who_asks_for_nothing():
    assert "lamina_pytest" in sys.modules
    assert {"lamina", "lamina_server", "grpc", "google.protobuf"} & sys.modules.keys() == set()


def test_without_the_extra(monkeypatch, request):
    monkeypatch.setitem(sys.modules, "structlog", None)
    request.getfixturevalue("lamina_server")
"""


def test_the_plugin_imports_nothing_until_it_is_used(other_run: pytest.Pytester) -> None:
    other_run.makepyfile(LAZY)
    result = other_run.runpytest_subprocess("-p", "lamina_pytest", timeout=SECONDS)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines("*lamina.testing needs the server's extra*pip install 'lamina?server?'*")


def test_its_clients_take_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says how to reach other servers, and would make a developer's test differ from everybody else's."""
    folder = tmp_path / "of-the-developer"
    for name in _environment.NAMES:
        monkeypatch.setenv(name, "bad")
    monkeypatch.setenv("LAMINA_AUTHOR", "developer")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(folder))
    with testing.server() as server:
        client = server.connect()
        cfg = client.config("app", create=True)
        cfg["n"] = 1
        assert cfg.commit().author != "developer"
        with client.live("app") as live:
            server.set("app", {"n": 2})
            live.wait(2)
    assert not folder.exists()


def test_its_clients_keep_files_where_they_are_told_to(tmp_path: Path) -> None:
    with testing.server(cache_dir=tmp_path / "kept") as server:
        server.set("app", {"n": 1})
        server.connect().live("app").close()
        assert any((tmp_path / "kept").iterdir())


@pytest.fixture
def closed() -> Iterator[testing.Server]:
    with testing.server(closed=True) as made:
        yield made


def test_a_closed_server_knows_those_to_whom_the_test_gives_a_token(closed: testing.Server) -> None:
    closed.set("payments/prod", {"timeout": 30})  # the test itself may do everything
    deployer = closed.connect(token=closed.token("deployer", role="writer", on="payments/**"))
    cfg = deployer.config("payments/prod")
    cfg["timeout"] = 60
    version = cfg.commit()
    assert (version.author, version.author_verified) == ("token:deployer", True)
    with pytest.raises(lamina.NotFoundError):
        deployer.config("shop/prod")
    with pytest.raises(lamina.UnauthenticatedError):
        closed.connect().config("payments/prod")


def test_a_principal_can_have_several_grants_and_lose_them_all(closed: testing.Server) -> None:
    closed.set("a", {"x": 1})
    closed.set("b", {"x": 1})
    tokens = [closed.token("ada", role="reader", on=name) for name in ("a", "b")]
    clients = [closed.connect(token=token) for token in tokens]
    assert [client.config(name)["x"] for client in clients for name in ("a", "b")] == [1] * 4
    cfg = clients[0].config("a")
    cfg["x"] = 2
    with pytest.raises(lamina.PermissionDeniedError):
        cfg.commit()
    closed.revoke("ada")
    for client in clients:
        with pytest.raises(lamina.UnauthenticatedError):
            client.config("a")
    with pytest.raises(KeyError):
        closed.revoke("ada")


def test_a_token_expires_by_the_clock_of_the_server(closed: testing.Server) -> None:
    closed.set("a", {"x": 1})
    token = closed.token("ada", role="reader", on="**", expires=closed.now + timedelta(hours=1))
    client = closed.connect(token=token)
    assert client.config("a")["x"] == 1
    closed.advance(3600)
    with pytest.raises(lamina.UnauthenticatedError, match="expired"):
        client.config("a")


def test_a_closed_server_keeps_its_tokens_while_it_is_down(closed: testing.Server) -> None:
    closed.set("a", {"x": 1})
    client = closed.connect(token=closed.token("ada", role="reader", on="a"))
    closed.disconnect()
    assert client.config("a")["x"] == 1


def test_an_open_server_has_no_tokens(server: testing.Server) -> None:
    with pytest.raises(ValueError, match="closed=True"):
        server.token("ada", role="reader", on="**")


def test_a_grant_reveals_secrets_or_not(closed: testing.Server) -> None:
    closed.set("a", {"password": lamina.Secret("hunter2")})
    told, untold = (closed.token(f"ada-{reveal}", role="reader", on="a", reveal=reveal) for reveal in (True, False))
    assert closed.connect(token=told).config("a")["password"].reveal() == "hunter2"
    with pytest.raises(lamina.PermissionDeniedError):
        closed.connect(token=untold).config("a")["password"].reveal()
