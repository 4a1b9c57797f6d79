"""Lives where no server answers, with both clients: what they begin from, and how they go on."""

import logging
import math
import os
import subprocess
import sys
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
"""Of a client that finds nobody."""


@pytest.fixture
def server() -> Iterator[testing.Server]:
    with testing.server() as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
async def kept(sdk: Sdk, server: testing.Server, cache: Path) -> Path:
    """The file of "app" at version 2, {"x": 2, "host": "a"}, that a client left when it was closed."""
    server.set("app", {"x": 1, "host": "a"})
    client = sdk.connect(server.target, cache_dir=cache)
    live = await of(client.live("app"))
    server.set("app", {"x": 2})
    await reach(live, 2)
    await of(client.close())
    [file] = files(cache)
    return file


def files(folder: Path) -> list[Path]:
    """All last-known-good files below."""
    return list(folder.rglob("*.lkg"))


def lose(*lost: Path) -> None:
    """Be without these files."""
    for file in lost:
        file.unlink()


def let_pass(file: Path, seconds: float) -> None:
    """Have a file be so much older."""
    then = file.stat().st_mtime - seconds
    os.utime(file, (then, then))


def hurried(sdk: Sdk, server: testing.Server, cache: Path) -> Any:
    return sdk.connect(server.target, cache_dir=cache, timeout=TIMEOUT)


async def test_it_begins_from_the_file(
    sdk: Sdk, server: testing.Server, cache: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """P18: it says that it is OFFLINE, how old what it shows is, and goes on by itself, with every version."""
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


async def test_a_quiet_config_is_live_again(sdk: Sdk, server: testing.Server, cache: Path, kept: Path) -> None:
    let_pass(kept, 1_000)
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app"))
        age = live.age
    async with until(lambda: live.state == "LIVE"):
        pass
    assert live.version == 2
    assert live.age < age
    assert live._shell.session.horizon.least("app") == 2  # so nothing that this client reads is older


@pytest.mark.usefixtures("kept")
async def test_what_is_bound_and_pinned(sdk: Sdk, server: testing.Server, cache: Path) -> None:
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
async def test_a_config_is_never_read_from_it(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    client = hurried(sdk, server, cache)
    with server.down():
        await of(client.live("app"))
        with pytest.raises(lamina.UnavailableError):
            await of(client.config("app"))


@pytest.mark.usefixtures("kept")
async def test_an_older_file_than_this_client_has_read(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    """It is better than nothing, and says that it is old."""
    client = hurried(sdk, server, cache)
    server.set("app", {"x": 3})
    assert (await of(client.config("app"))).version == 3
    with server.down():
        live = await of(client.live("app"))
        assert (live.version, live.state) == (2, "OFFLINE")
    await reach(live, 3)


async def test_what_is_shown_offline_is_not_kept(sdk: Sdk, server: testing.Server, cache: Path, kept: Path) -> None:
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app"))
        lose(kept)
        await of(live.close())
    assert not files(cache)


async def test_nothing_to_begin_from(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    with server.down(), pytest.raises(lamina.UnavailableError, match=r"no answer within 0\.2 s"):
        await of(hurried(sdk, server, cache).live("app"))
    assert not files(cache)


async def test_a_default(sdk: Sdk, server: testing.Server, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is version 0, as old as can be; what the first server says takes its place whole."""
    server.set("app", {"x": 1, "y": 1, "z": 1})
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app", default={"y": 1, "x": [0], "gone": None}))
        assert live.current.to_dict() == {"gone": None, "x": [0], "y": 1}
        assert (live.state, live.version, live.age) == ("OFFLINE", 0, math.inf)
        assert "app: from the default: no answer" in caplog.text
        live.on_change(noted := Noted(sdk))
    await reach(live, 1)
    assert live.current.to_dict() == {"x": 1, "y": 1, "z": 1}
    assert await noted.numbers(1) == [1]
    told = {change.key: change.value for change in noted.versions[0].changes}
    assert told == {"gone": lamina.MISSING, "x": 1, "z": 1}
    server.set("app", {"x": 2})
    assert await noted.numbers(2) == [1, 2]


@pytest.mark.usefixtures("kept")
async def test_the_file_before_the_default(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app", default={"x": 0}))
        assert (live["x"], live.version) == (2, 2)


async def test_a_default_where_a_server_answers(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    server.set("app", {"x": 1})
    live = await of(sdk.connect(server.target, cache_dir=cache).live("app", default={"y": 1}))
    assert (live.current.to_dict(), live.version) == ({"x": 1}, 1)


async def test_a_config_that_is_not_there_yet(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    client = sdk.connect(server.target, cache_dir=cache)
    with pytest.raises(lamina.NotFoundError):
        await of(client.live("app"))
    live = await of(client.live("app", default={"x": 0}))
    assert (live["x"], live.state) == (0, "OFFLINE")
    server.set("app", {"x": 1})
    await reach(live, 1)
    assert live["x"] == 1


@pytest.mark.usefixtures("kept")
async def test_a_config_that_is_no_more(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    """As in an empty database: who has a file is told all the same."""
    client = sdk.connect(server.target, cache_dir=cache)
    server.fail_next("GetVersion", reason="CONFIG_NOT_FOUND", times=1_000_000)
    with pytest.raises(lamina.NotFoundError):
        await of(client.live("app"))
    live = await of(client.live("app", default={"x": 0}))
    assert (live["x"], live.state) == (0, "OFFLINE")
    server.recover()
    await reach(live, 2)
    assert live["x"] == 2


def test_it_asks_for_what_is_not_there_yet_again_and_again_with_pauses() -> None:
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
async def test_a_definite_error_is_no_outage(sdk: Sdk, server: testing.Server, cache: Path, reason: str) -> None:
    server.fail_next("GetVersion", reason=reason)
    with pytest.raises(lamina.LaminaError) as caught:
        await of(hurried(sdk, server, cache).live("app", default={"x": 0}))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("default", "error"), [({"x": {1}}, TypeError), ({"": 1}, lamina.InvalidError), ({1: 1}, TypeError)]
)
async def test_a_default_that_no_commit_could_hold(
    sdk: Sdk, server: testing.Server, default: Any, error: type[Exception]
) -> None:
    """It is refused when all is well, not only in the next outage."""
    server.set("app", {"x": 1})
    with pytest.raises(error):
        await of(sdk.connect(server.target).live("app", default=default))


async def test_another_past(sdk: Sdk, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P18: where the file is of a past that is gone, the server's head is shown, and told of as what differs."""
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
        told = {change.key: change.value for change in noted.versions[0].changes}
        assert told == {"x": 9, "old": lamina.MISSING}


async def test_it_is_closed_offline(sdk: Sdk, server: testing.Server, cache: Path) -> None:
    with server.down():
        live = await of(hurried(sdk, server, cache).live("app", default={"x": 0}))
        with pytest.raises(lamina.DeadlineError, match="app is at version 0"):
            await beside(sdk, live.wait, 1, 0.01)
        await of(live.close())
        assert (live.state, live["x"], live.age) == ("OFFLINE", 0, math.inf)
        assert not files(cache)


@pytest.mark.parametrize("how", ["argument", "variable", "off", "home", "home by variable"])
async def test_where_files_are_kept(
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


async def test_a_home_that_is_not_known(
    sdk: Sdk, server: testing.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, once, and what is followed goes on; no folder named `~` is made."""
    monkeypatch.chdir(tmp_path)
    server.set("app", {"x": 1})
    live = await of(sdk.connect(server.target, cache_dir="~nobody-of-this-name/cache").live("app"))
    server.set("app", {"x": 2})
    await reach(live, 2)
    [told] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("no last-known-good file is kept in ~nobody-of-this-name/cache: ")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - of a moment


def test_a_program_that_ends_without_closing(server: testing.Server, tmp_path: Path) -> None:
    """By default what it followed is in the user's cache directory."""
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
def test_a_forked_child_goes_on(server: testing.Server, tmp_path: Path) -> None:
    """As under a server that forks its workers: the parent began offline, and the children come to be live."""
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
