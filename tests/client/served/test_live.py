"""A config that follows its head, with both clients. The tests of failures are in test_live_breaks.py."""

import asyncio
import logging
import pickle
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina._flows.effects import Open, Receive, Sleep
from lamina._flows.session import Session
from lamina._live.tracking import HeadTracker
from lamina._mapping.entries import Entries
from lamina._wire.hashing import NO_PARENT, change_digest, version_hash
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.live_helpers import SECONDS, Noted, put, put_and_reach, reach
from tests.client.sdk import Sdk, beside, following, of


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"a": 0, "b": 0}."""
    made = await of(client.config(config_name, create=True))
    made |= {"a": 0, "b": 0}
    await of(made.commit())
    return made


@pytest.fixture
async def live(client: Any, cfg: Any) -> Any:
    return await of(client.live(cfg.name))


@pytest.mark.crossed
async def test_it_follows_the_head(live: Any, cfg: Any) -> None:
    assert (live.version, live["a"], live.get("z", 5), "b" in live, "z" in live) == (1, 0, 5, True, False)
    assert (live.name, live.state, live.error, live.origin("a")) == (cfg.name, "LIVE", None, 1)
    assert live.age >= 0
    before = live.current
    version = await put_and_reach(live, cfg, a=1, c=[1, 2])
    assert (live.version, live["a"], live["c"], live.origin("a"), live.origin("b")) == (2, 1, [1, 2], 2, 1)
    assert (before["a"], before.version, "c" in before) == (0, 1, False)
    assert live.current == cfg.to_dict()
    assert live.current.version == version.number
    del cfg["b"]
    await put_and_reach(live, cfg)
    assert "b" not in live
    with pytest.raises(KeyError, match="b"):
        live["b"]
    assert repr(live) == f"<Live {cfg.name!r} version 3, LIVE>"


async def test_a_live_cannot_be_iterated_or_pickled(live: Any) -> None:
    with pytest.raises(TypeError, match=r"iterate over live\.current"):
        iter(live)
    with pytest.raises(TypeError, match=r"live\.current is a Snapshot, which does"):
        pickle.dumps(live)


async def test_current_is_always_one_whole_version(live: Any, cfg: Any) -> None:
    """Every version changes two keys together, and no thread ever sees them differ."""
    is_over, torn = threading.Event(), []

    def look() -> None:
        while not is_over.is_set():
            current = live.current
            if (current["a"], current["b"]) != (current.version - 1,) * 2:
                torn.append(current.to_dict())

    watchers = [asyncio.create_task(asyncio.to_thread(look)) for _ in range(3)]
    for number in range(1, 61):
        await put(cfg, a=number, b=number)
    await reach(live, 61)
    is_over.set()
    await asyncio.gather(*watchers)
    assert (torn, live.version) == ([], 61)


async def test_a_live_has_the_reading_verbs(live: Any, cfg: Any) -> None:
    await put_and_reach(live, cfg, a=1)
    assert (await of(live.at(1)))["a"] == 0
    assert await of(live.diff(1)) == {"a": lamina.Change(0, 1)}
    assert (await of(live.blame("a")))["a"].number == 2
    assert (await following(live.log())).number == 2
    assert (await following(live.history("a"))).version == 1
    watch = live.watch(after=1)
    assert (await following(watch)).version == 2
    await of(watch.close())


async def test_wait_returns_when_the_version_is_shown(live: Any, cfg: Any, sdk: Sdk) -> None:
    await reach(live, 0)
    waiting = beside(sdk, live.wait, 2, SECONDS)
    await put(cfg, a=1)
    await waiting
    with pytest.raises(lamina.DeadlineError, match=f"{cfg.name} is at version 2, and not at 9, after 0.05 s"):
        await of(live.wait(9, timeout=0.05))
    with pytest.raises(lamina.InvalidError, match="is no version of"):
        await of(live.wait(lamina.Version(1, "another", 0, "", "", (await following(live.log())).time, "")))


async def test_a_new_live_shows_what_its_client_committed(client: Any, cfg: Any, live: Any) -> None:
    """P13: this also holds for a live that joins an open subscription."""
    for number in range(1, 20):
        version = await put(cfg, a=number)
        joined = await of(client.live(cfg.name))
        assert joined["a"] == number
        assert joined.version == version.number
        await of(joined.close())
    assert live.state == "LIVE"


async def test_callbacks_are_called_in_order_and_their_errors_are_logged(
    live: Any, cfg: Any, sdk: Sdk, caplog: pytest.LogCaptureFixture
) -> None:
    failing, noted, later = Noted(sdk), Noted(sdk), Noted(sdk)

    @live.on_change  # type: ignore[untyped-decorator]  # of either client
    def fail(version: lamina.VersionChanges) -> None:
        failing(version)
        if version.version % 2:
            raise ValueError("as it happens")

    assert fail.__name__ == "fail"
    assert live.on_change(noted) is noted
    for number in range(1, 21):
        await put(cfg, a=number)
    assert await noted.numbers(20) == await failing.numbers(20) == list(range(2, 22))
    live.on_change(later)
    await put(cfg, a=0, b=1)
    assert await later.numbers(1) == [22]
    assert [(change.key, change.value) for change in later.versions[0].changes] == [("a", 0), ("b", 1)]
    reports = [record for record in caplog.records if record.name == "lamina" and record.levelno == logging.ERROR]
    assert len(reports) == 10
    assert all(record.exc_info and "fail" in record.getMessage() for record in reports)


async def test_a_slow_callback_does_not_delay_the_map(live: Any, cfg: Any, sdk: Sdk) -> None:
    is_over = threading.Event() if sdk.kind == "sync" else asyncio.Event()
    noted = Noted(sdk)

    def slow(version: lamina.VersionChanges) -> Any:
        noted(version)
        return is_over.wait() if isinstance(is_over, asyncio.Event) else is_over.wait(SECONDS)

    live.on_change(slow)
    for number in range(1, 6):
        await put_and_reach(live, cfg, a=number)
    assert await noted.numbers(1) == [2]
    is_over.set()
    assert await noted.numbers(5) == [2, 3, 4, 5, 6]


async def test_a_live_of_a_missing_config_is_an_error(client: Any, config_name: str) -> None:
    with pytest.raises(lamina.NotFoundError):
        await of(client.live(config_name))


async def test_a_live_without_a_server_is_an_error(sdk: Sdk, tmp_path: Path) -> None:
    client = sdk.connect(f"unix:{tmp_path}/nobody", timeout=0.2)
    with pytest.raises(lamina.UnavailableError):
        await of(client.live("app"))


async def test_a_closed_live_stands_still(client: Any, cfg: Any, sdk: Sdk) -> None:
    one, other = await of(client.live(cfg.name)), await of(client.live(cfg.name))
    noted = Noted(sdk)
    one.on_change(noted)
    await put_and_reach(other, cfg, a=1)
    assert await noted.numbers(1) == [2]
    await of(one.close())
    await put_and_reach(other, cfg, a=2)
    assert (len(noted.versions), other.state) == (1, "LIVE")
    assert (one["a"], one.version, one.state) == (1, 2, "STALE")
    await of(one.close())
    await reach(one, 2)
    with pytest.raises(lamina.InvalidError, match="closed"):
        await reach(one, 3)
    with pytest.raises(lamina.InvalidError, match="closed"):
        one.on_change(noted)
    waiting = beside(sdk, other.wait, 99, SECONDS)
    await asyncio.sleep(0)
    await of(client.close())
    with pytest.raises(lamina.InvalidError, match="closed"):
        await waiting
    assert (other["a"], other.state, one.state) == (2, "STALE", "STALE")
    assert not [thread for thread in threading.enumerate() if thread.name in {"lamina-live", "lamina-on-change"}]


async def test_closing_ends_the_waits_with_an_error(client: Any, cfg: Any, sdk: Sdk) -> None:
    """Closing a live ends only its own waits, and a closed client keeps no subscription."""
    one, other = await of(client.live(cfg.name)), await of(client.live(cfg.name))
    by_one, by_other = beside(sdk, one.wait, 2, SECONDS), beside(sdk, other.wait, 2, SECONDS)
    await of(one.close())
    with pytest.raises(lamina.InvalidError, match="closed"):
        await by_one
    await put(cfg, a=1)
    await by_other
    await of(client.close())
    with pytest.raises(lamina.InvalidError, match="closed"):
        other.on_change(print)
    assert not client._lives._subscriptions


def test_a_live_is_live_when_it_has_caught_up() -> None:
    """P18: the versions before a stream's first bookmark are old, even if they arrive soon."""
    now = 100.0
    session = Session(10.0, clock=lambda: now)
    tracker = HeadTracker(session, Entries.empty("app"), known_at=40.0)

    def receive(message: pb.WatchKeyHistoryResponse) -> list[int]:
        flow = tracker.step()
        effect = next(flow)
        if isinstance(effect, Open):
            effect = flow.send(None)
        assert isinstance(effect, Receive)
        with pytest.raises(StopIteration) as end:
            flow.send(message)
        return [header.version for header, _ in end.value.value]

    assert receive(version_message(1, 2)) == [1, 2]
    assert (tracker.entries.header.number, tracker.state, tracker.age) == (2, "STALE", 60.0)
    second = version_message(2).changes[0].version.hash
    receive(pb.WatchKeyHistoryResponse(bookmark=pb.Bookmark(version=2, hash=second)))
    assert (tracker.state, tracker.age) == ("LIVE", 0.0)
    now = 105.0
    assert tracker.age == 5.0
    receive(version_message(3))
    assert (tracker.state, tracker.age) == ("LIVE", 0.0)
    flow = tracker.step()
    next(flow)
    assert isinstance(flow.throw(lamina.UnavailableError("gone")), Sleep)
    assert (tracker.state, tracker.entries.header.number) == ("STALE", 3)


def test_a_live_stays_live_while_parts_of_a_version_arrive() -> None:
    """The age counts from the last part. The live shows the version before until all parts are there."""
    now = 100.0
    tracker = HeadTracker(Session(10.0, clock=lambda: now), Entries.empty("app"))

    def receive(*, more: bool, key: str) -> None:
        message = version_message(1)
        message.changes[0].more = more
        message.changes[0].version.key_count = 3
        message.changes[0].changes[0].key = key
        all_changes = [pb.Change(key=str(each), value=pb.Value(int64=1)) for each in range(3)]
        set_hash(message.changes[0].version, NO_PARENT, all_changes)
        flow = tracker.step()
        if isinstance(next(flow), Open):
            flow.send(None)
        with pytest.raises(StopIteration):
            flow.send(message)

    for number in range(2):
        now += 9.0
        receive(more=True, key=str(number))
        assert (tracker.state, tracker.age, tracker.entries.header.number) == ("LIVE", 0.0, 0)
    now += 9.0
    assert tracker.age == 9.0
    receive(more=False, key="2")
    assert (tracker.state, tracker.age, len(tracker.entries)) == ("LIVE", 0.0, 3)


@pytest.mark.parametrize(
    "numbers",
    [pytest.param((1, 3), id="a gap"), pytest.param((2,), id="from the beginning"), pytest.param((1,), id="in part")],
)
def test_a_missing_version_ends_the_live(numbers: tuple[int, ...]) -> None:
    """P9: a live shows only whole versions."""
    tracker = HeadTracker(Session(10.0), Entries.empty("app"))
    message = version_message(*numbers)
    if numbers == (1,):
        message.changes[0].version.key_count = 2
        set_hash(message.changes[0].version, NO_PARENT, message.changes[0].changes)
    else:
        message.changes[-1].version.key_count = len(numbers)  # so that the number of keys does not show the gap
    flow = tracker.step()
    next(flow)
    flow.send(None)
    with pytest.raises(lamina.DataLossError, match="left out"):
        flow.send(message)
    assert len(tracker.entries) == 0


def version_message(*numbers: int) -> pb.WatchKeyHistoryResponse:
    """Make a message of versions, each of which sets one more key."""
    versions: dict[int, pb.VersionChanges] = {}
    for number in range(1, max(numbers) + 1):
        header = pb.ConfigVersion(config="app", version=number, key_count=number)
        change = pb.Change(key=str(number), value=pb.Value(int64=number))
        versions[number] = pb.VersionChanges(version=header, changes=[change])
        parent = versions[number - 1].version.hash if number > 1 else NO_PARENT
        set_hash(versions[number].version, parent, [change])
    return pb.WatchKeyHistoryResponse(changes=[versions[number] for number in numbers])


def set_hash(header: pb.ConfigVersion, parent: bytes, changes: Iterable[pb.Change]) -> None:
    header.hash = version_hash(header, parent, [change_digest(header, change) for change in changes])
