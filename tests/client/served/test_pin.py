"""One request, one version: pins hold for a thread or a task, and a request can bring a version along."""

import asyncio
import contextvars
import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import lamina
from lamina import carry
from lamina._live.pins import RECENT_VERSIONS
from lamina._mapping.entries import Entries
from tests.client.live_helpers import SECONDS, Noted, put_and_reach, reach
from tests.client.sdk import Sdk, following, of
from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """One database: what is tested here is the client's."""
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"a": 1, "b": 1}."""
    made = await of(client.config(config_name, create=True))
    made |= {"a": 1, "b": 1}
    await of(made.commit())
    return made


@pytest.fixture
async def live(client: Any, cfg: Any) -> Any:
    return await of(client.live(cfg.name))


def shown(live: Any) -> tuple[Any, ...]:
    """Look in every way there is; all of them must tell of one version."""
    looks = [live["a"], live.get("a"), live.current["a"], live.version, live.current.version, live.origin("a")]
    looks.append(1 + ("new" in live) if live.version < 3 else live.version)
    return tuple(set(looks))


async def test_all_that_is_read_in_a_block_is_of_one_version(live: Any, cfg: Any) -> None:
    with live.pin() as snapshot:
        await put_and_reach(live, cfg, a=2, new=None)
        assert shown(live) == (1,)
        assert live.current == snapshot == {"a": 1, "b": 1}
        assert repr(live) == f"<Live {cfg.name!r} version 1, LIVE>"
        with pytest.raises(KeyError):
            live["new"]
        assert (await of(live.at(live.version)))["a"] == 1
    assert shown(live) == (2,)


async def test_pins_nest(live: Any, cfg: Any) -> None:
    with live.pin():
        await put_and_reach(live, cfg, a=2, new=None)
        with live.pin(await of(live.at(2))):
            assert shown(live) == (2,)
            with live.pin() as innermost:  # again what is shown here, not the head
                await put_and_reach(live, cfg, a=3)
                assert (shown(live), innermost.version) == ((2,), 2)
            with pytest.raises(ZeroDivisionError), live.pin(await of(live.at(1))):
                raise ZeroDivisionError
            assert shown(live) == (2,)
        assert shown(live) == (1,)
    assert shown(live) == (3,)


async def test_it_holds_for_every_live_of_the_config_and_for_no_other(client: Any, live: Any, cfg: Any) -> None:
    another, elsewhere = await of(client.live(cfg.name)), await of(cfg.fork(f"{cfg.name}-fork"))
    forked = await of(client.live(elsewhere.name))
    with live.pin():
        await put_and_reach(live, cfg, a=2)
        await put_and_reach(forked, elsewhere, b=2)
        assert (another["a"], another.version, forked["b"], forked.version) == (1, 1, 2, 2)
    assert (another["a"], another.version) == (2, 2)


async def test_other_tasks_and_threads_go_on_and_those_begun_within_hold_with_it(live: Any, cfg: Any) -> None:
    """A task that is begun in the block is the request's, and stays with its version when the block is over."""
    is_over, seen = asyncio.Event(), []

    async def request() -> None:
        await is_over.wait()
        seen.append(live.version)

    outside = asyncio.create_task(request())
    with live.pin():
        inside = asyncio.create_task(request())
        await put_and_reach(live, cfg, a=2, new=None)
        thread = threading.Thread(target=lambda: seen.append(live.version))
        thread.start()
        thread.join(SECONDS)
        assert await asyncio.to_thread(lambda: live.version) == 1
        assert seen == [2]
    is_over.set()
    await asyncio.gather(outside, inside)
    assert sorted(seen) == [1, 2, 2]
    assert live.version == 2


async def test_many_at_once_each_keep_their_own(live: Any, cfg: Any) -> None:
    """Tasks, and threads beside them, pin version after version and always see the one that they pinned."""
    is_over, wrong = threading.Event(), []

    def look() -> None:
        while not is_over.is_set():
            with live.pin() as snapshot:
                looks = {live["a"], live.version, live.current["a"], snapshot.version}
                looks |= {live["a"], live.version}
                if len(looks) != 1:
                    wrong.append(looks)

    async def keep(version: int) -> None:
        with live.pin():
            assert (live["a"], live.version) == (version, version)
            while not is_over.is_set():  # noqa: ASYNC110 - the other tasks have their turn
                await asyncio.sleep(0.001)
            assert (live["a"], live.version) == (version, version)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    tasks = []
    for version in range(2, 16):
        await put_and_reach(live, cfg, a=version)
        tasks.append(asyncio.create_task(keep(version)))
        await asyncio.sleep(0)
    is_over.set()
    await asyncio.gather(*tasks)
    for thread in threads:
        await asyncio.to_thread(thread.join, SECONDS)
    assert wrong == []


async def test_what_follows_the_head_follows_it_from_within_a_block(live: Any, cfg: Any, sdk: Sdk) -> None:
    """`wait` and `on_change` are of the head, and so is what callbacks see, though they were given in the block."""
    noted, seen = Noted(sdk), []

    def look(version: lamina.VersionChanges) -> None:
        seen.append((version.version, live.version, live["a"]))

    with live.pin():
        live.on_change(look)
        live.on_change(noted)
        await put_and_reach(live, cfg, a=2)
        assert (live.state, live.error, live.version) == ("LIVE", None, 1)
        assert await noted.numbers(1) == [2]
    await put_and_reach(live, cfg, a=3)
    assert await noted.numbers(2) == [2, 3]
    assert seen[-1] == (3, 3, 3)
    assert all(current >= number for number, current, _ in seen)


async def test_what_follows_another_config_is_not_held_either(client: Any, live: Any, cfg: Any, sdk: Sdk) -> None:
    """What is begun within a block outlasts it: a callback of a live that is opened there."""
    elsewhere, noted, seen = await of(cfg.fork(f"{cfg.name}-fork")), Noted(sdk), []
    with live.pin():
        other = await of(client.live(elsewhere.name))
        other.on_change(lambda _: seen.append(live.version))
        other.on_change(noted)
    await put_and_reach(live, cfg, a=2)
    await put_and_reach(other, elsewhere, b=2)
    assert (await noted.numbers(1), seen) == ([2], [2])


async def test_blocks_of_generators_end_in_whichever_order(live: Any, cfg: Any) -> None:
    def read(times: int) -> Iterator[int]:
        with live.pin():
            for _ in range(times):
                yield live.version

    first, second = read(1), read(2)
    with live.pin():
        assert (next(first), next(second)) == (1, 1)
        await put_and_reach(live, cfg, a=2, new=None)
        assert list(first) == []
        assert (next(second), live.version) == (1, 1)
    assert list(second) == []
    assert shown(live) == (2,)


async def test_the_version_is_chosen_when_the_block_begins(live: Any, cfg: Any) -> None:
    """A decorator makes its block long before, and for many calls."""

    @live.pin()  # type: ignore[untyped-decorator]  # of either client
    def read() -> tuple[int, int]:
        return live.version, live["a"]

    pin = live.pin()
    await put_and_reach(live, cfg, a=2)
    assert read() == (2, 2)
    await put_and_reach(live, cfg, a=3)
    assert read() == (3, 3)
    with pin as snapshot:
        assert snapshot.version == 3


async def test_a_strangers_snapshot_is_never_taken_for_a_version_that_is_carried(sdk: Sdk, live: Any, cfg: Any) -> None:
    """A pin holds what it is given; only what this client has read is kept for others."""
    header = dataclasses.replace(await following(live.log()), hash="f" * 64)
    strangers = lamina.Snapshot(Entries(header, {}))
    await put_and_reach(live, cfg, a=2)
    with live.pin(strangers), live.pin():
        assert (live.version, "a" in live) == (1, False)
    assert await carried(live, {cfg.name: 1}) == 1


FORKED = """
import os, sys, threading
import lamina

client = lamina.connect(sys.argv[1], author="ann")
live, cfg = client.live(sys.argv[2]), client.config(sys.argv[2])
with live.pin():
    told, tell = os.pipe()
    if child := os.fork():
        cfg["a"] = 2
        live.wait(cfg.commit())
        os.write(tell, b"2")
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.read(told, 1)
    seen = [live.version]
    seen += [live.wait(2, 30), live.version]  # a child follows by itself
    thread = threading.Thread(target=lambda: seen.append(live.version))
    thread.start()
    thread.join()
seen.append(live.version)
os._exit(seen != [1, None, 1, 2, 2])
"""


def test_a_forked_child_holds_what_its_parent_has_pinned(target: str, config_name: str) -> None:
    with lamina.connect(target, author="ann") as client:
        cfg = client.config(config_name, create=True)
        cfg["a"] = 1
        cfg.commit()
    assert subprocess.call([sys.executable, "-c", FORKED, target, config_name], timeout=SECONDS) == 0


async def test_a_closed_live_can_be_pinned_still(live: Any, cfg: Any) -> None:
    with live.pin():
        await of(live.close())
        assert shown(live) == (1,)
    with live.pin() as snapshot:
        assert snapshot == {"a": 1, "b": 1}


async def test_what_cannot_be_pinned(client: Any, live: Any, cfg: Any) -> None:
    other = await of(cfg.fork(f"{cfg.name}-fork"))
    with pytest.raises(lamina.InvalidError, match=f"snapshot of {other.name} cannot be pinned for {cfg.name}"):
        live.pin(await of(other.at(1)))
    for stranger in (cfg, 1, {"a": 1}):
        with pytest.raises(TypeError, match="pin takes a Snapshot"):
            live.pin(stranger)
    begun = live.pin()
    contextvars.copy_context().run(begun.__enter__)
    with pytest.raises(lamina.InvalidError, match="in another thread, task or context than it began in"):
        begun.__exit__(None, None, None)


# --- versions that a request brings along -------------------------------------------------------


async def carried(live: Any, versions: Mapping[str, int]) -> int:
    with live.pin(await of(live.carried(versions))) as snapshot:
        assert live.version == snapshot.version == live["a"]
        return int(snapshot.version)


async def test_a_request_brings_its_version_along(sdk: Sdk, live: Any, cfg: Any, target: str) -> None:
    """From one service to another, each with a client of its own, while the config moves on."""
    there = await of(sdk.connect(target).live(cfg.name))
    with live.pin():
        header = carry.to_baggage("user=ann;ttl=60", live)
        metadata = carry.to_metadata(live)
        await put_and_reach(live, cfg, a=2)
        assert carry.to_metadata(live) == metadata
    await reach(there, 2)
    assert await carried(there, carry.from_baggage(header)) == 1
    assert await carried(there, carry.from_metadata(metadata)) == 1
    assert await carried(there, carry.from_metadata(carry.to_metadata(live))) == 2
    # One that this service has not heard of yet.
    version = await put_and_reach(live, cfg, a=3)
    assert await carried(there, {cfg.name: version.number}) == 3


@pytest.mark.parametrize("version", [0, -1, 7, 2**63 - 1, 2**63, 2**80, None])
async def test_what_there_is_none_of_is_the_version_that_is_shown(live: Any, cfg: Any, version: int | None) -> None:
    await put_and_reach(live, cfg, a=2)
    assert await carried(live, {} if version is None else {cfg.name: version, "another": 1}) == 2


async def test_what_was_pinned_lately_is_at_hand_and_without_a_server_the_newest_has_to_do(sdk: Sdk) -> None:
    with ServerProcess("sqlite://") as server:
        client = sdk.connect(server.target, timeout=SECONDS)
        cfg = await of(client.config("services/pay", create=True))
        cfg["a"] = 1
        await of(cfg.commit())
        live = await of(client.live(cfg.name))
        for version in range(2, RECENT_VERSIONS + 4):
            await put_and_reach(live, cfg, a=version)
            with live.pin():
                pass
        head = live.version
        server.kill()
    # At hand are those that were pinned last, the head among them. Within the client's 30 s this would not be over.
    async with asyncio.timeout(SECONDS / 2):
        found = [await carried(live, {cfg.name: version}) for version in range(1, head + 1)]
    oldest = head - RECENT_VERSIONS + 1
    assert found == [version if version >= oldest else head for version in range(1, head + 1)]
