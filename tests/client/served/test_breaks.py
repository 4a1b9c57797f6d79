"""Failures, with both clients: servers that die, freeze or lose data; forks; Ctrl-C; TLS."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

import lamina
from tests.client.sdk import Sdk, beside, entered, following, listed, of
from tests.faults.proxy import Proxy
from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for this module alone, which its tests stop and kill."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('breaks') / 'lamina.db'}") as process:
        yield process


@pytest.fixture
def target(server: ServerProcess) -> str:
    """The address of this module's server."""
    return server.target


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"x": 1}."""
    made = await of(client.config(config_name, create=True))
    made["x"] = 1
    await of(made.commit())
    return made


async def versions_of(cfg: Any) -> list[int]:
    return [version.number for version in await listed(cfg.log())]


@pytest.mark.crossed
async def test_a_watch_survives_a_restart(server: ServerProcess, cfg: Any) -> None:
    """P9, P14: after a kill, it resumes by itself within seconds, without a gap."""
    async with entered(cfg.watch(after=0)) as watch:
        assert (await following(watch)).version == 1
        for number in (2, 3):
            waiting = asyncio.create_task(following(watch))
            server.kill()
            server.restart()
            cfg["x"] = number
            assert (await of(cfg.commit())).number == number
            change = await asyncio.wait_for(waiting, 10)
            assert (change.version, change.value) == (number, number)


@pytest.mark.crossed
async def test_verbs_survive_a_restart(server: ServerProcess, cfg: Any, sdk: Sdk) -> None:
    patient = await of(sdk.connect(server.target, timeout=50).config(cfg.name))
    server.kill()
    patient["x"] = 2
    committing = beside(sdk, patient.commit)
    await asyncio.to_thread(server.restart)
    assert (await committing).number == 2
    assert await versions_of(cfg) == [2, 1]


class TestResuming:
    """P8: a commit whose outcome is not known, committed again, is the same commit."""

    @pytest.fixture
    async def hasty(self, sdk: Sdk, target: str, cfg: Any) -> Any:
        """The config, opened by a client with a short timeout."""
        return await of(sdk.connect(target, timeout=0.3, author="bob").config(cfg.name))

    async def frozen(self, server: ServerProcess, sdk: Sdk, hasty: Any) -> lamina.UnavailableError:
        """Commit to a frozen server: the request arrives, and the answer comes too late."""
        server.signal(signal.SIGSTOP)
        with pytest.raises(lamina.UnavailableError) as caught:
            await beside(sdk, hasty.commit, "once")
        server.signal(signal.SIGCONT)
        return caught.value

    @pytest.mark.crossed
    async def test_the_same_draft_resumes_the_commit(
        self, server: ServerProcess, sdk: Sdk, hasty: Any, cfg: Any
    ) -> None:
        hasty["x"] += 1
        error = await self.frozen(server, sdk, hasty)
        assert isinstance(error, lamina.DeadlineError)
        assert error.request_id
        assert hasty.changes.keys() == {"x"}
        assert (await of(hasty.commit("once"))).number == 2
        assert (hasty["x"], hasty.version, hasty.changes) == (2, 2, {})
        assert await versions_of(cfg) == [2, 1]

    async def test_a_draft_that_was_changed_again_makes_a_second_version(
        self, server: ServerProcess, sdk: Sdk, hasty: Any, cfg: Any
    ) -> None:
        hasty["x"] += 1
        await self.frozen(server, sdk, hasty)
        hasty["x"] += 1
        hasty["y"] = 1
        assert (await of(hasty.commit("twice"))).number == 3
        assert [version.message for version in await listed(cfg.log())] == ["twice", "once", ""]
        assert (await of(cfg.at(2))) == {"x": 2}
        assert (await of(cfg.at(3))) == {"x": 3, "y": 1}

    async def test_refresh_resumes_the_commit(self, server: ServerProcess, sdk: Sdk, hasty: Any, cfg: Any) -> None:
        hasty["x"] += 1
        await self.frozen(server, sdk, hasty)
        await of(hasty.refresh())
        assert (hasty["x"], hasty.version, hasty.changes) == (2, 2, {})

    @pytest.mark.crossed
    async def test_a_restart_does_not_double_the_commit(
        self, server: ServerProcess, sdk: Sdk, hasty: Any, cfg: Any
    ) -> None:
        hasty["x"] += 1
        await self.frozen(server, sdk, hasty)
        server.kill()
        server.restart()
        assert (await of(hasty.commit("once"))).number == 2
        assert await versions_of(cfg) == [2, 1]

    async def test_revert_and_fork_are_resumed(self, server: ServerProcess, sdk: Sdk, hasty: Any, cfg: Any) -> None:
        for verb, arguments in ((hasty.revert, {"to": 0}), (hasty.fork, {"name": f"{cfg.name}/eu"})):
            server.signal(signal.SIGSTOP)
            with pytest.raises(lamina.UnavailableError):
                await beside(sdk, verb, **arguments)
            server.signal(signal.SIGCONT)
            await of(verb(**arguments))
        assert await versions_of(cfg) == [2, 1]


async def test_a_restored_backup_is_an_error_for_every_verb(sdk: Sdk, tmp_path: Path) -> None:
    """P10, P13: a database restored from an older backup is an explicit error, at once, everywhere."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server:
        client = sdk.connect(server.target)
        cfg = await of(client.config("app", create=True))
        cfg["x"] = 1
        await of(cfg.commit())
        with (
            closing(sqlite3.connect(tmp_path / "lamina.db")) as now,
            closing(sqlite3.connect(tmp_path / "old.db")) as old,
        ):
            now.backup(old)
        cfg["x"] = 2
        await of(cfg.commit())
    with ServerProcess(f"sqlite:///{tmp_path / 'old.db'}", "--listen", server.target):
        await check_a_shorter_past(client, cfg)
        stranger = await of(sdk.connect(server.target).config("app"))
        for number in (5, 6):
            stranger["x"] = number
            await of(stranger.commit())
        await check_another_past(cfg)


async def test_a_watch_leaves_a_server_that_has_lost_its_database(
    sdk: Sdk, server: ServerProcess, cfg: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """P9, P10: the watch and the live go on at the server that has what they saw."""
    caplog.set_level("INFO", "lamina")
    with ServerProcess("sqlite://") as empty, Proxy(server.target) as way, Proxy(empty.target) as wrong_way:
        client = sdk.connect(f"{way.target},{wrong_way.target}")
        live = await of(client.live(cfg.name))
        async with entered((await of(client.config(cfg.name))).watch(after=0)) as watch:
            assert (await following(watch)).version == 1
            way.reset()
            cfg["x"] = 2
            await of(cfg.commit())
            assert (await asyncio.wait_for(following(watch), 20)).version == 2
        await beside(sdk, live.wait, 2, 20)
        assert live.error is None
    assert "is ahead of its head, version 0: there is no such config any more" in caplog.text


async def check_a_shorter_past(client: Any, cfg: Any) -> None:
    """Assert that a client that has seen version 2 refuses a head at version 1."""
    cfg["x"] = 3
    for verb in (cfg.commit, cfg.refresh, lambda: client.config("app"), lambda: cfg.diff(1)):
        with pytest.raises(lamina.CursorError) as caught:
            await of(verb())
        assert (caught.value.reason, caught.value.head) == ("CURSOR_AHEAD", 1)
        assert caught.value.cursor is not None
        assert caught.value.cursor.startswith("2")
    with pytest.raises(lamina.CursorError):
        await listed(cfg.log())
    async with entered(cfg.watch()) as watch:
        with pytest.raises(lamina.CursorError):
            await following(watch)
    assert cfg.changes.keys() == {"x"}


async def check_another_past(cfg: Any) -> None:
    """Assert that it also refuses a head with another version 2."""
    cfg["y"] = 3
    for verb in (cfg.commit, cfg.refresh):
        with pytest.raises(lamina.CursorError) as caught:
            await of(verb())
        assert caught.value.reason == "CURSOR_FORKED"
    async with entered(cfg.watch()) as watch:
        with pytest.raises(lamina.CursorError):
            await following(watch)


CHILD = """
import os, signal, sys, threading, time
import lamina

client = lamina.connect(sys.argv[1])
cfg = client.config(sys.argv[2])
what = sys.argv[3]

def interrupt():
    # Several signals: the first may arrive before the call waits.
    while True:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

print("ready", flush=True)
sys.stdin.readline()
threading.Thread(target=interrupt, daemon=True).start()
begin = time.monotonic()
try:
    if what == "watch":
        for change in cfg.watch():
            print(change.key, flush=True)
    else:
        cfg["x"] = 9
        cfg.commit()
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - begin < 2, cfg.changes.keys(), flush=True)
"""


@pytest.mark.parametrize("what", ["watch", "commit"])
@pytest.mark.parametrize("sdk", ["sync"], indirect=True)
async def test_ctrl_c_ends_a_watch_and_a_call(server: ServerProcess, cfg: Any, what: str) -> None:
    printed = await asyncio.to_thread(interrupted, server, [server.target, cfg.name, what])
    assert printed == f"interrupted True dict_keys({[] if what == 'watch' else ['x']})"


def interrupted(server: ServerProcess, arguments: list[str]) -> str:
    """Run the child against a frozen server, and return what it prints at its end."""
    program = [sys.executable, "-c", CHILD, *arguments]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "ready\n"
        server.signal(signal.SIGSTOP)  # so that the call has no answer
        child.stdin.write("\n")
        child.stdin.flush()
        printed = child.stdout.readline().strip()
        server.signal(signal.SIGCONT)
    return printed


FORKING = """
import os, sys, threading
import lamina

client = lamina.connect(sys.argv[1])
cfg = client.config(sys.argv[2])
watch = cfg.watch(after=0)
seen = threading.Semaphore(0)

def follow():
    for change in watch:
        seen.release()

idle = cfg.watch(after=0)
assert next(idle).version == 1
brief = cfg.watch(after=0, timeout=0.5)
assert next(brief).version == 1  # so the parent has the thread that ends it
threading.Thread(target=follow, daemon=True).start()
seen.acquire()  # the watch waits, inside of gRPC
for number in range(2, 7):
    child = os.fork()
    if child == 0:
        mine = client.config(sys.argv[2])
        mine["x"] = number
        mine.commit(f"child {number}")
        with mine.watch(after=0) as own:
            assert next(own).version == 1
        assert next(idle).version == 2  # a watch that was open before the fork works too
        idle.close()
        if number == 6:
            assert [change.version for change in brief] == [2, 3, 4, 5, 6]  # and silence ends it
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    cfg.refresh()
    assert cfg["x"] == number
    seen.acquire()  # the parent's watch continues
client.close()
print("survived")
"""


@pytest.mark.crossed
@pytest.mark.parametrize("sdk", ["sync"], indirect=True)
async def test_a_client_survives_a_fork(server: ServerProcess, cfg: Any) -> None:
    """A thread waits in a watch during the fork. The child can use the client, and the parent's watch continues."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FORKING, server.target, cfg.name],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "survived\n", done.stderr


def test_an_asyncio_client_can_be_used_in_several_loops(server: ServerProcess, config_name: str) -> None:
    client = lamina.aio.connect(server.target)

    async def use(number: int) -> None:
        cfg = await client.config(config_name, create=True)
        cfg["x"] = number
        assert (await cfg.commit()).number == number

    for number in (1, 2, 3):
        asyncio.run(use(number))
    asyncio.run(client.close())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority that both ends trust."""
    return trustme.CA()


@pytest.fixture(scope="module")
def private(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that speaks TLS."""
    own, folder = authority.issue_cert("localhost"), tmp_path_factory.mktemp("tls")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "own.pem")
    files = ["--tls-cert", str(folder / "own.pem"), "--tls-key", str(folder / "own.pem")]
    with ServerProcess(f"sqlite:///{folder / 'lamina.db'}", *files) as process:
        yield process


async def test_tls_with_files_and_bytes(
    sdk: Sdk, private: ServerProcess, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("client@example.org")
    chain, key = own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes()
    for tls in (
        lamina.TLS(ca=tmp_path / "ca.pem"),
        lamina.TLS(ca=str(tmp_path / "ca.pem")),
        lamina.TLS(ca=authority.cert_pem.bytes(), cert=chain, key=key),
    ):
        assert await listed(sdk.connect(private.target, tls=tls).configs()) == []


@pytest.mark.parametrize("tls", [True, False])
async def test_a_client_without_the_right_tls_settings_does_not_connect(
    sdk: Sdk, private: ServerProcess, *, tls: bool
) -> None:
    client = sdk.connect(private.target, tls=tls, timeout=0.5)
    with pytest.raises(lamina.UnavailableError):
        await listed(client.configs())
