"""One version for each request: a pin holds for a thread or a task, and a request can carry a version."""

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
    """A server on one kind of database: only the client pins."""
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
    """Read the live in every way, and return the different versions seen."""
    looks = [live["a"], live.get("a"), live.current["a"], live.version, live.current.version, live.origin("a")]
    looks.append(1 + ("new" in live) if live.version < 3 else live.version)
    return tuple(set(looks))


async def test_all_reads_in_a_block_are_of_one_version(live: Any, cfg: Any) -> None:
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
            with live.pin() as innermost:  # pins the version that is shown here, not the head
                await put_and_reach(live, cfg, a=3)
                assert (shown(live), innermost.version) == ((2,), 2)
            with pytest.raises(ZeroDivisionError), live.pin(await of(live.at(1))):
                raise ZeroDivisionError
            assert shown(live) == (2,)
        assert shown(live) == (1,)
    assert shown(live) == (3,)


async def test_a_pin_holds_for_every_live_of_its_config_only(client: Any, live: Any, cfg: Any) -> None:
    another, elsewhere = await of(client.live(cfg.name)), await of(cfg.fork(f"{cfg.name}-fork"))
    forked = await of(client.live(elsewhere.name))
    with live.pin():
        await put_and_reach(live, cfg, a=2)
        await put_and_reach(forked, elsewhere, b=2)
        assert (another["a"], another.version, forked["b"], forked.version) == (1, 1, 2, 2)
    assert (another["a"], another.version) == (2, 2)


async def test_a_pin_holds_for_tasks_that_are_started_in_its_block(live: Any, cfg: Any) -> None:
    """A task that is started in the block keeps the block's version, even after the block."""
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


async def test_many_pins_at_once_keep_their_own_versions(live: Any, cfg: Any) -> None:
    """Tasks and threads pin version after version, and always see the version that they pinned."""
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


async def test_wait_and_callbacks_follow_the_head_in_spite_of_a_pin(live: Any, cfg: Any, sdk: Sdk) -> None:
    """`wait` and `on_change` follow the head, and callbacks see it too, even if they were added in the block."""
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


async def test_a_callback_of_a_live_opened_in_a_block_is_not_pinned(client: Any, live: Any, cfg: Any, sdk: Sdk) -> None:
    """The callbacks of a live that was opened in a block continue after the block."""
    elsewhere, noted, seen = await of(cfg.fork(f"{cfg.name}-fork")), Noted(sdk), []
    with live.pin():
        other = await of(client.live(elsewhere.name))
        other.on_change(lambda _: seen.append(live.version))
        other.on_change(noted)
    await put_and_reach(live, cfg, a=2)
    await put_and_reach(other, elsewhere, b=2)
    assert (await noted.numbers(1), seen) == ([2], [2])


async def test_the_blocks_of_generators_can_end_in_any_order(live: Any, cfg: Any) -> None:
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


async def test_a_pin_chooses_its_version_when_the_block_begins(live: Any, cfg: Any) -> None:
    """A decorator's pin is made long before the call, and used for many calls."""

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


async def test_a_foreign_snapshot_is_never_used_for_a_carried_version(sdk: Sdk, live: Any, cfg: Any) -> None:
    """A pin shows the given snapshot. Only versions that this client has read are kept for carried requests."""
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
    reader, writer = os.pipe()
    if child := os.fork():
        cfg["a"] = 2
        live.wait(cfg.commit())
        os.write(writer, b"2")
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.read(reader, 1)
    seen = [live.version]
    seen += [live.wait(2, 30), live.version]  # the child follows on its own
    thread = threading.Thread(target=lambda: seen.append(live.version))
    thread.start()
    thread.join()
seen.append(live.version)
os._exit(seen != [1, None, 1, 2, 2])
"""


def test_a_pin_holds_in_a_forked_child(target: str, config_name: str) -> None:
    with lamina.connect(target, author="ann") as client:
        cfg = client.config(config_name, create=True)
        cfg["a"] = 1
        cfg.commit()
    assert subprocess.call([sys.executable, "-c", FORKED, target, config_name], timeout=SECONDS) == 0


async def test_a_closed_live_can_be_pinned(live: Any, cfg: Any) -> None:
    with live.pin():
        await of(live.close())
        assert shown(live) == (1,)
    with live.pin() as snapshot:
        assert snapshot == {"a": 1, "b": 1}


async def test_a_bad_pin_is_refused(client: Any, live: Any, cfg: Any) -> None:
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


# --- versions that a request carries --------------------------------------------------------------


async def carried(live: Any, versions: Mapping[str, int]) -> int:
    with live.pin(await of(live.carried(versions))) as snapshot:
        assert live.version == snapshot.version == live["a"]
        return int(snapshot.version)


async def test_a_request_carries_its_version(sdk: Sdk, live: Any, cfg: Any, target: str) -> None:
    """It goes from one service to another, each with its own client, while others commit."""
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
    # A version that this service has not received yet.
    version = await put_and_reach(live, cfg, a=3)
    assert await carried(there, {cfg.name: version.number}) == 3


@pytest.mark.parametrize("version", [0, -1, 7, 2**63 - 1, 2**63, 2**80, None])
async def test_a_carried_version_that_does_not_exist_is_replaced_by_the_shown_one(
    live: Any, cfg: Any, version: int | None
) -> None:
    await put_and_reach(live, cfg, a=2)
    assert await carried(live, {} if version is None else {cfg.name: version, "another": 1}) == 2


async def test_recently_pinned_versions_are_cached_and_others_fall_back_to_the_head(sdk: Sdk) -> None:
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
    # The last pinned versions are cached, the head among them. A call would take the client's 30 s.
    async with asyncio.timeout(SECONDS / 2):
        found = [await carried(live, {cfg.name: version}) for version in range(1, head + 1)]
    oldest = head - RECENT_VERSIONS + 1
    assert found == [version if version >= oldest else head for version in range(1, head + 1)]
