"""Watches over real sockets, with both clients: their changes, their cursor and their end."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import lamina
from tests.client.sdk import Sdk, entered, following, listed, of


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 3: x is 1, 2 and 3; version 2 added db/port and version 3 deleted it."""
    made = await of(client.config(config_name, create=True))
    made |= {"x": 1, "y": 1}
    await of(made.commit("first"))
    made |= {"x": 2, "db/port": 5432}
    await of(made.commit("second"))
    made["x"] = 3
    del made["db/port"]
    await of(made.commit("third"))
    return made


class Taker:
    """Takes from a watch in its own task until the watch ends; the queue `taken` has the changes."""

    def __init__(self, watch: Any) -> None:
        self.taken: asyncio.Queue[Any] = asyncio.Queue()
        self._task = asyncio.create_task(self._take(watch))

    async def _take(self, watch: Any) -> None:
        while True:
            try:
                self.taken.put_nowait(await following(watch))
            except StopAsyncIteration:
                return

    async def end(self) -> None:
        """Wait for the watch's end; the limit is far below any of the SDK's own waits."""
        await asyncio.wait_for(self._task, 2)


def short(changes: list[Any]) -> list[tuple[int, str]]:
    return [(change.version, change.key) for change in changes]


@pytest.mark.crossed
async def test_a_watch_after_zero_has_all_versions(cfg: Any) -> None:
    async with entered(cfg.watch(after=0)) as watch:
        found = await listed(watch, 6)
    assert short(found) == [(1, "x"), (1, "y"), (2, "db/port"), (2, "x"), (3, "db/port"), (3, "x")]
    log = {version.number: version for version in await listed(cfg.log())}
    assert found[2] == lamina.KeyChange(
        "db/port", 5432, deleted=False, version=2, author="ann", message="second", time=log[2].time
    )
    assert (found[4].deleted, found[4].value) == (True, lamina.MISSING)


async def test_a_watch_filters_by_keys_and_prefixes(cfg: Any) -> None:
    for options, expected in (
        ((("x",), {}), [(1, "x"), (2, "x"), (3, "x")]),
        (((), {"prefix": "db/"}), [(2, "db/port"), (3, "db/port")]),
        ((("y",), {"prefix": ["db/", "nothing/"]}), [(1, "y"), (2, "db/port"), (3, "db/port")]),
    ):
        keys, named = options
        async with entered(cfg.watch(*keys, **named, after=0, timeout=0.3)) as watch:
            assert short(await listed(watch)) == expected


async def test_a_watch_begins_at_the_draft_s_version_and_does_not_move_the_draft(cfg: Any, client: Any) -> None:
    other = await of(client.config(cfg.name))
    async with entered(cfg.watch()) as watch:
        other["x"] = 4
        await of(other.commit())
        other["x"] = 5
        await of(other.commit())
        assert short(await listed(watch, 2)) == [(4, "x"), (5, "x")]
    assert (cfg.version, cfg["x"]) == (3, 3)


@pytest.mark.crossed
async def test_each_version_arrives_when_it_is_committed(cfg: Any) -> None:
    async with entered(cfg.watch("x")) as watch:
        for number in range(4, 8):
            waiting = asyncio.create_task(following(watch))
            cfg["x"] = number
            await of(cfg.commit())
            change = await waiting
            assert (change.version, change.value) == (number, number)
            assert watch.cursor.startswith(f"{number}.")


async def test_versions_are_given_whole(cfg: Any) -> None:
    async with entered(cfg.watch(after=1)) as watch:
        versions = watch.versions()
        found = await listed(versions, 2)
        assert [(version.version, [one.key for one in version.changes]) for version in found] == [
            (2, ["db/port", "x"]),
            (3, ["db/port", "x"]),
        ]
        assert [(version.author, version.message) for version in found] == [("ann", "second"), ("ann", "third")]
        log = {version.number: version for version in await listed(cfg.log())}
        assert [(version.time, version.hash) for version in found] == [(log[n].time, log[n].hash) for n in (2, 3)]
        assert watch.cursor == f"3.{log[3].hash}"


@pytest.mark.crossed
async def test_another_client_can_resume_from_a_cursor(cfg: Any, sdk: Sdk, target: str) -> None:
    async with entered(cfg.watch(after=0)) as watch:
        assert watch.cursor == "0"
        await listed(watch, 3)
        cursor = watch.cursor
    assert cursor.startswith("1.")  # version 2 was not taken whole
    elsewhere = await of(sdk.connect(target).config(cfg.name))
    async with entered(elsewhere.watch(after=cursor)) as watch:
        assert short(await listed(watch, 2)) == [(2, "db/port"), (2, "x")]


async def test_a_watch_begins_after_a_version_or_a_time(cfg: Any) -> None:
    log = {version.number: version for version in await listed(cfg.log())}
    for point in (2, log[2], log[2].time, log[3].time - timedelta(microseconds=1)):
        async with entered(cfg.watch("x", after=point)) as watch:
            assert short(await listed(watch, 1)) == [(3, "x")]


async def test_bookmarks_move_the_cursor_of_a_filtered_watch(cfg: Any) -> None:
    """A resumed watch need not read the unmatched versions again."""
    async with entered(cfg.watch("never", after=0, timeout=0.5)) as watch:
        assert await listed(watch) == []
        assert watch.cursor in {"0", f"3.{(await listed(cfg.log(limit=1)))[0].hash}"}


async def test_a_config_can_be_watched_before_it_exists(client: Any, config_name: str) -> None:
    made = await of(client.config(config_name, create=True))
    async with entered(made.watch()) as watch:
        made["x"] = 1
        await of(made.commit())
        assert short(await listed(watch, 1)) == [(1, "x")]


@pytest.mark.crossed
async def test_a_version_larger_than_a_message_is_given_whole(cfg: Any) -> None:
    cfg |= {f"big{number}": "v" * 900_000 for number in range(4)}
    await of(cfg.commit())
    async with entered(cfg.watch(after=3)) as watch:
        (version,) = await listed(watch.versions(), 1)
    assert [one.key for one in version.changes] == ["big0", "big1", "big2", "big3"]


async def test_silence_ends_the_loop_and_the_watch_can_continue(cfg: Any) -> None:
    async with entered(cfg.watch("x", timeout=0.2)) as watch:
        assert await listed(watch) == []
        cfg["x"] = 4
        await of(cfg.commit())
        assert short(await listed(watch)) == [(4, "x")]
        assert await listed(watch.versions()) == []


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
async def test_a_bad_timeout_is_refused(cfg: Any, timeout: float) -> None:
    with pytest.raises(lamina.InvalidError, match="timeout="):
        cfg.watch(timeout=timeout)


async def test_the_time_in_the_loop_s_body_does_not_count_as_silence(cfg: Any) -> None:
    async with entered(cfg.watch("x", after=0, timeout=0.2)) as watch:
        found = []
        for _ in range(3):
            found.append(await following(watch))
            await asyncio.sleep(0.25)  # the loop's body takes longer than the timeout
        assert short(found) == [(1, "x"), (2, "x"), (3, "x")]


async def test_close_ends_a_waiting_watch_at_once(cfg: Any) -> None:
    async with entered(cfg.watch()) as watch:
        taking = Taker(watch)
        cfg["x"] = 4
        await of(cfg.commit())
        assert (await taking.taken.get()).version == 4
        await of(watch.close())
        await taking.end()
        assert await listed(watch) == []


async def test_close_ends_a_watch_that_has_more_changes(cfg: Any) -> None:
    watch = cfg.watch(after=0)
    await listed(watch, 1)
    await of(watch.close())
    assert await listed(watch) == []


async def test_closing_the_client_ends_its_watches(client: Any, cfg: Any) -> None:
    all_of_them = [Taker(cfg.watch()) for _ in range(3)]
    cfg["x"] = 4
    await of(cfg.commit())
    for taking in all_of_them:
        await taking.taken.get()
    await of(client.close())
    for taking in all_of_them:
        await taking.end()


@pytest.mark.parametrize("sdk", ["aio"], indirect=True)
async def test_cancelling_a_task_ends_its_watch(cfg: Any) -> None:
    watch = cfg.watch(after=2)
    await listed(watch, 2)
    waiting = asyncio.create_task(anext(watch))
    await asyncio.wait({waiting}, timeout=0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 2)
    # The cancelled wait has lost no change.
    cfg["x"] = 4
    await cfg.commit()
    assert (await anext(watch)).version == 4


async def test_a_client_can_have_more_watches_than_a_connection_carries(cfg: Any) -> None:
    """A server allows a hundred streams for each connection; neither the next watch nor a commit may wait for ever."""
    watches = [cfg.watch("x") for _ in range(120)]
    waiting = [asyncio.create_task(following(watch)) for watch in watches] if hasattr(watches[0], "__anext__") else []
    cfg["x"] = 4
    await of(cfg.commit())
    for watch in watches if not waiting else []:
        assert (await following(watch)).version == 4
    for task in waiting:
        assert (await asyncio.wait_for(task, 5)).version == 4
    for watch in watches:
        await of(watch.close())


class TestRefusals:
    async def test_a_cursor_ahead_of_the_server_is_refused(self, cfg: Any) -> None:
        async with entered(cfg.watch(after=99)) as watch:
            with pytest.raises(lamina.CursorError) as caught:
                await following(watch)
        error = caught.value
        assert (error.reason, error.cursor, error.head) == ("CURSOR_AHEAD", "99", 3)

    async def test_a_cursor_of_another_past_is_refused(self, cfg: Any) -> None:
        async with entered(cfg.watch(after="2." + "ab" * 32)) as watch:
            with pytest.raises(lamina.CursorError) as caught:
                await following(watch)
        assert caught.value.reason == "CURSOR_FORKED"
        assert caught.value.head == 3

    async def test_a_bad_key_is_refused(self, cfg: Any) -> None:
        async with entered(cfg.watch("a\nb")) as watch:
            with pytest.raises(lamina.InvalidError) as caught:
                await following(watch)
        assert caught.value.reason == "BAD_KEY"
