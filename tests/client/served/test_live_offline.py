"""Lives without a server, with both clients: they begin from a file or a default, and catch up later."""

import logging
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import testing
from lamina._flows.effects import Call, Sleep
from lamina._flows.session import Session
from lamina._live.offline import entries_of_default
from lamina._live.tracking import HeadTracker
from tests.client.live_helpers import SECONDS, Noted, reach, until
from tests.client.sdk import Sdk, beside, of
from tests.support.server import ServerProcess

TIMEOUT = 0.2
"""The timeout of a client that finds no server."""


@pytest.fixture
def server() -> Iterator[testing.Server]:
    with testing.server() as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
async def kept(sdk: Sdk, server: testing.Server, cache: Path) -> Path:
    """The file of "app" at version 2, {"x": 2, "host": "a"}, which a closed client left."""
    server.set("app", {"x": 1, "host": "a"})
    client = sdk.connect(server.target, cache_dir=cache)
    live = await of(client.live("app"))
    server.set("app", {"x": 2})
    await reach(live, 2)
    await of(client.close())
    [file] = files(cache)
    return file


def files(folder: Path) -> list[Path]:
    """Return all last-known-good files below a folder."""
    return list(folder.rglob("*.lkg"))


def lose(*lost: Path) -> None:
    """Delete these files."""
    for file in lost:
        file.unlink()


def address_of(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host, int(port)


def let_pass(file: Path, seconds: float) -> None:
    """Make a file older by this many seconds."""
    then = file.stat().st_mtime - seconds
    os.utime(file, (then, then))


def hurried(sdk: Sdk, server: testing.Server, cache: Path) -> Any:
    return sdk.connect(server.target, cache_dir=cache, timeout=TIMEOUT)


async def test_an_offline_live_begins_from_the_file(
    sdk: Sdk, server: testing.Server, cache: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """P18: it is OFFLINE, shows the age of its version, and continues by itself with every version."""
    let_pass(kept, 1_000)
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app"))
        assert live.current.to_dict() == {"x": 2, "host": "a"}
        assert (live.state, live.version, live.origin("host")) == ("OFFLINE", 2, 1)
        assert 1_000 < live.age < 1_000 + SECONDS
        [warning] = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert warning.startswith("app: from its last-known-good file, version 2, the head ")
        live.on_change(noted := Noted(sdk))
    async with until(lambda: live.state == "LIVE"):
        server.set("app", {"x": 3})
        server.set("app", {"x": 4})
        await reach(live, 4)
    assert (live["x"], live.age < SECONDS) == (4, True)
    assert await noted.numbers(2) == [3, 4]


async def test_a_quiet_config_becomes_live_again(sdk: Sdk, server: testing.Server, cache: Path, kept: Path) -> None:
    let_pass(kept, 1_000)
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app"))
        age = live.age
    async with until(lambda: live.state == "LIVE"):
        pass
    assert live.version == 2
    assert live.age < age
    assert live._shell.session.horizon.least("app") == 2  # so this client reads nothing older


@pytest.mark.usefixtures("kept")
async def test_settings_and_pins_work_offline(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    @dataclass
    class App:
        x: int

    with server.down():
        live = await of(hurried(sdk, server, cache).live("app"))
        bound = live.bind(App)
        assert (bound.current, bound.state) == (App(2), "OFFLINE")
        with live.pin():
            assert live["x"] == 2
    server.set("app", {"x": 3})
    await reach(live, 3)
    assert bound.current == App(3)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("has_file", [True, False])
async def test_an_offline_live_does_not_wait_for_servers_that_refuse(
    sdk: Sdk, server: testing.Server, cache: Path, tmp_path: Path, *, has_file: bool
) -> None:
    """If there is a file or a default, each server is asked twice, even if the client's timeout is half a minute."""
    with server.down(), socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        targets = f"{server.target},127.0.0.1:{bound.getsockname()[1]}"
        for target in (server.target, targets):
            folder = cache if has_file and target == server.target else tmp_path / "none"
            client = sdk.connect(target, cache_dir=folder, timeout=SECONDS)
            began = time.monotonic()
            live = await of(client.live("app", default=None if folder == cache else {"x": 0}))
            assert time.monotonic() - began < SECONDS / 10
            assert live.state == "OFFLINE"


@pytest.mark.usefixtures("kept")
async def test_an_offline_live_waits_for_a_silent_server(sdk: Sdk, cache: Path, server: testing.Server) -> None:
    with server.down(), socket.create_server(address_of(server.target)):  # it listens and never answers
        began = time.monotonic()
        live = await of(hurried(sdk, server, cache).live("app"))
        assert time.monotonic() - began >= TIMEOUT
        assert live["x"] == 2


@pytest.mark.usefixtures("kept")
async def test_a_config_is_never_read_from_the_file(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    client = hurried(sdk, server, cache)
    with server.down():
        await of(client.live("app"))
        with pytest.raises(lamina.UnavailableError):
            await of(client.config("app"))


@pytest.mark.usefixtures("kept")
async def test_a_file_may_be_older_than_what_the_client_has_read(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    """An old version is better than none, and its state is OFFLINE."""
    client = hurried(sdk, server, cache)
    server.set("app", {"x": 3})
    assert (await of(client.config("app"))).version == 3
    with server.down():
        live = await of(client.live("app"))
        assert (live.version, live.state) == (2, "OFFLINE")
    await reach(live, 3)


async def test_an_offline_version_is_not_written_to_a_file(
    sdk: Sdk, server: testing.Server, cache: Path, kept: Path
) -> None:
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app"))
        lose(kept)
        await of(live.close())
    assert not files(cache)


async def test_without_a_file_or_a_default_it_is_an_error(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    with server.down(), pytest.raises(lamina.UnavailableError, match=r"no answer within 0\.2 s"):
        await of(hurried(sdk, server, cache).live("app"))
    assert not files(cache)


async def test_a_default_is_shown_until_a_server_answers(
    sdk: Sdk, server: testing.Server, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is version 0, of infinite age; the server's version replaces it as a whole."""
    server.set("app", {"x": 1, "y": 1, "z": 1})
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app", default={"y": 1, "x": [0], "gone": None}))
        assert live.current.to_dict() == {"gone": None, "x": [0], "y": 1}
        assert (live.state, live.version, live.age) == ("OFFLINE", 0, math.inf)
        assert "app: from the default: no server answers" in caplog.text
        live.on_change(noted := Noted(sdk))
    await reach(live, 1)
    assert live.current.to_dict() == {"x": 1, "y": 1, "z": 1}
    assert await noted.numbers(1) == [1]
    changed = {change.key: change.value for change in noted.versions[0].changes}
    assert changed == {"gone": lamina.MISSING, "x": 1, "z": 1}
    server.set("app", {"x": 2})
    assert await noted.numbers(2) == [1, 2]


@pytest.mark.usefixtures("kept")
async def test_the_file_wins_over_the_default(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app", default={"x": 0}))
        assert (live["x"], live.version) == (2, 2)


async def test_the_server_wins_over_the_default(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    server.set("app", {"x": 1})
    live = await of(sdk.connect(server.target, cache_dir=cache).live("app", default={"y": 1}))
    assert (live.current.to_dict(), live.version) == ({"x": 1}, 1)


async def test_a_default_is_shown_until_the_config_exists(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    client = sdk.connect(server.target, cache_dir=cache)
    with pytest.raises(lamina.NotFoundError):
        await of(client.live("app"))
    live = await of(client.live("app", default={"x": 0}))
    assert (live["x"], live.state) == (0, "OFFLINE")
    server.set("app", {"x": 1})
    await reach(live, 1)
    assert live["x"] == 1


@pytest.mark.usefixtures("kept")
async def test_a_missing_config_is_an_error_even_with_a_file(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    """As with an empty database: the error is raised even if there is a file."""
    client = sdk.connect(server.target, cache_dir=cache)
    server.fail_next("GetVersion", reason="CONFIG_NOT_FOUND", times=1_000_000)
    with pytest.raises(lamina.NotFoundError):
        await of(client.live("app"))
    live = await of(client.live("app", default={"x": 0}))
    assert (live["x"], live.state) == (0, "OFFLINE")
    server.recover()
    await reach(live, 2)
    assert live["x"] == 2


def test_a_live_asks_for_a_missing_config_with_pauses() -> None:
    tracker = HeadTracker(Session(10.0), entries_of_default("app", {}), known_at=-math.inf, is_offline=True)
    for _ in range(3):
        flow = tracker.step()
        assert isinstance(next(flow), Call)
        assert isinstance(flow.throw(lamina.NotFoundError("none", reason="CONFIG_NOT_FOUND")), Sleep)
        with pytest.raises(StopIteration) as end:
            flow.send(None)
        assert end.value.value == []
    assert (tracker.state, tracker.age) == ("OFFLINE", math.inf)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("reason", ["NOT_ALLOWED", "HASH_MISMATCH"])
async def test_a_definite_error_is_raised_in_spite_of_a_file(
    sdk: Sdk, server: testing.Server, cache: Path, reason: str
) -> None:
    server.fail_next("GetVersion", reason=reason)
    with pytest.raises(lamina.LaminaError) as caught:
        await of(hurried(sdk, server, cache).live("app", default={"x": 0}))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("default", "error"), [({"x": {1}}, TypeError), ({"": 1}, lamina.InvalidError), ({1: 1}, TypeError)]
)
async def test_a_default_that_could_not_be_committed_is_refused(
    sdk: Sdk, server: testing.Server, default: Any, error: type[Exception]
) -> None:
    """It is refused even while a server answers, not only in the next outage."""
    server.set("app", {"x": 1})
    with pytest.raises(error):
        await of(sdk.connect(server.target).live("app", default=default))


async def test_a_file_of_another_past_is_replaced_by_the_head(
    sdk: Sdk, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """P18: the server's head is shown, and callbacks receive the differences from the file."""
    url = f"sqlite:///{tmp_path / 'lamina.db'}"
    with ServerProcess(url) as first:
        target = first.target
        cfg = lamina.connect(target).config("app", create=True)
        for number in range(3):
            cfg.update(x=number, old=number)
            cfg.commit()
        live = await of(sdk.connect(target, cache_dir=cache).live("app"))
        async with until(lambda: bool(files(cache))):
            pass
        await of(live.close())
        first.kill()
        live = await of(sdk.connect(target, cache_dir=cache, timeout=TIMEOUT).live("app"))
        assert (live.version, live["x"]) == (3, 2)
        live.on_change(noted := Noted(sdk))
        lose(*tmp_path.glob("lamina.db*"))  # noqa: ASYNC240 - nobody waits
        first.restart()
        cfg = lamina.connect(target).config("app", create=True)
        cfg.update(x=9)
        cfg.commit()
        async with until(lambda: live.state == "LIVE"):
            pass
        assert (live.version, live.current.to_dict()) == (1, {"x": 9})
        assert await noted.numbers(1) == [1]
        changed = {change.key: change.value for change in noted.versions[0].changes}
        assert changed == {"x": 9, "old": lamina.MISSING}


async def test_an_offline_live_can_be_closed(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app", default={"x": 0}))
        with pytest.raises(lamina.DeadlineError, match="app is at version 0"):
            await beside(sdk, live.wait, 1, 0.01)
        await of(live.close())
        assert (live.state, live["x"], live.age) == ("OFFLINE", 0, math.inf)
        assert not files(cache)


@pytest.mark.parametrize("how", ["argument", "variable", "off", "home", "home by variable"])
async def test_the_folder_of_the_files_can_be_chosen(
    sdk: Sdk, server: testing.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for name in ("argument", "variable", "cache", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "LAMINA_CACHE_DIR", "~/home by variable" if how == "home by variable" else f"{tmp_path}/variable"
    )
    ways: dict[str, dict[str, Any]] = {
        "argument": {"cache_dir": tmp_path / "argument"},
        "variable": {},
        "off": {"cache_dir": ""},
        "home": {"cache_dir": "~"},
        "home by variable": {},
    }
    server.set("app", {"x": 1})
    client = sdk.connect(server.target, **ways[how])
    await of(client.live("app"))
    await of(client.close())
    assert [file.parent.name for file in files(tmp_path)] == ([] if how == "off" else [how])


async def test_an_unknown_home_directory_is_logged_once(
    sdk: Sdk, server: testing.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged once, and the live goes on; no folder named `~` is made."""
    monkeypatch.chdir(tmp_path)
    server.set("app", {"x": 1})
    live = await of(sdk.connect(server.target, cache_dir="~nobody-of-this-name/cache").live("app"))
    server.set("app", {"x": 2})
    await reach(live, 2)
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("no last-known-good file is kept in ~nobody-of-this-name/cache: ")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - of a moment


def test_the_file_is_written_if_a_program_ends_without_closing(server: testing.Server, tmp_path: Path) -> None:
    """By default the file is in the user's cache directory."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    del environment["LAMINA_CACHE_DIR"]
    server.set("app", {"x": 1})

    def printed(timeout: float) -> str:
        command = [sys.executable, "-c", "import sys, lamina; live = lamina.connect(sys.argv[1], "]
        command[-1] += "timeout=float(sys.argv[2])).live('app'); print(live.version, live.state, live['x'])"
        ran = subprocess.run(
            [*command, server.target, str(timeout)], env=environment, capture_output=True, text=True, check=True
        )
        assert "Traceback" not in ran.stderr
        return ran.stdout.strip()

    assert printed(SECONDS).split()[0] == "1"
    assert [file.name.partition(".")[0] for file in (tmp_path / "lamina").iterdir()] == ["app"]
    with server.down():
        assert printed(TIMEOUT) == "1 OFFLINE 1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_an_offline_live_becomes_live_in_a_forked_child(server: testing.Server, tmp_path: Path) -> None:
    """As under a server that forks its workers: the parent begins offline, and the child becomes live."""
    program = """
import os, sys, lamina
client = lamina.connect(sys.argv[1], timeout=0.2, cache_dir=sys.argv[2])
live = client.live("app", default={"x": 0})
print("parent", live.state, flush=True)
child = os.fork()
if child == 0:
    print("child", live.state, live["x"], flush=True)
    sys.stdin.readline()
    live.wait(1, 30)
    print("child", live["x"], flush=True)
    client.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
live.wait(1, 30)
print("parent", live["x"], flush=True)
"""
    with server.down():
        process = subprocess.Popen(
            [sys.executable, "-c", program, server.target, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        began = [process.stdout.readline().strip() for _ in range(2)]
    server.set("app", {"x": 1})
    printed, _ = process.communicate("\n", timeout=SECONDS)
    assert (began, printed.splitlines()) == (["parent OFFLINE", "child OFFLINE 0"], ["child 1", "parent 1"])
    assert process.returncode == 0
