"""A hostile server against the SDK: the SDK raises, shows nothing of the lie, and keeps nothing of it in its files."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import lamina
import lamina.aio
from lamina import testing
from lamina_protos.v1 import lamina_pb2 as pb
from tests.security.liar import Liar

SECONDS = 20


@pytest.fixture
def honest() -> Iterator[testing.Server]:
    """An honest server, whose config `app` is at version 3."""
    with testing.server() as server:
        with lamina.connect(server.target, cache_dir="") as client:
            config = client.config("app", create=True)
            for number in range(1, 4):
                config |= {f"key-{each}": number for each in range(number)}
                config.commit()
            client.config("other", create=True).update({"a": 1})
        yield server


@pytest.fixture
def liar(honest: testing.Server) -> Iterator[Liar]:
    with Liar(honest.target) as liar:
        yield liar


@pytest.fixture
def client(liar: Liar) -> Iterator[lamina.Client]:
    with lamina.connect(liar.target, cache_dir="", timeout=5) as client:
        yield client


def _set(**fields: Any) -> Callable[[Any], None]:
    def lie(reply: Any) -> None:
        for name, value in fields.items():
            setattr(reply, name, value)

    return lie


def _double_a_key(reply: pb.ConfigVersion) -> None:
    reply.entries.append(reply.entries[0])


def _reverse_the_keys(reply: pb.ConfigVersion) -> None:
    entries = list(reply.entries)[::-1]
    del reply.entries[:]
    reply.entries.extend(entries)


def _leave_out_a_key(reply: pb.ConfigVersion) -> None:
    del reply.entries[-1]


def _add_a_key(reply: pb.ConfigVersion) -> None:
    reply.entries.add(key="zzz", origin_version=3)


def _never_end(reply: pb.ConfigVersion) -> None:
    reply.next_page_token = "again"


MAPS = {
    "of another config": _set(config="other"),
    "with a doubled key": _double_a_key,
    "out of order": _reverse_the_keys,
    "without a key": _leave_out_a_key,
    "with a key too many": _add_a_key,
    "with pages without an end": _never_end,
}


@pytest.mark.parametrize("lie", MAPS.values(), ids=MAPS)
def test_a_map_that_cannot_be_right_is_refused(liar: Liar, client: lamina.Client, lie: Any, tmp_path: Path) -> None:
    liar.lies["GetVersion"] = lie
    with pytest.raises(lamina.DataLossError, match="the server or the bundle is broken"):
        client.config("app")
    with (
        lamina.connect(liar.target, cache_dir=tmp_path, timeout=5) as keeping,
        pytest.raises(lamina.DataLossError, match="the server or the bundle is broken"),
    ):
        keeping.live("app")
    assert list(tmp_path.rglob("*.lkg")) == []


@pytest.mark.parametrize("lie", MAPS.values(), ids=MAPS)
async def test_such_a_map_is_refused_with_asyncio_too(liar: Liar, lie: Any) -> None:
    liar.lies["GetVersion"] = lie
    async with lamina.aio.connect(liar.target, cache_dir="", timeout=5) as client:
        with pytest.raises(lamina.DataLossError, match="the server or the bundle is broken"):
            await client.config("app")


def test_another_version_than_the_one_asked_for_is_refused(liar: Liar, client: lamina.Client) -> None:
    config = client.config("app")
    liar.lies["GetVersion"] = _set(version=1)
    with pytest.raises(lamina.DataLossError, match="version 1 of app came instead of 2"):
        config.at(2)
    with pytest.raises(lamina.DataLossError, match="ends at version 1, this client has seen 3"):
        client.config("app")


def test_pages_of_two_versions_make_no_map(liar: Liar, honest: testing.Server, client: lamina.Client) -> None:
    pages = count(1)

    def lie(reply: pb.ConfigVersion) -> None:
        number = next(pages)
        reply.version = number
        reply.next_page_token = str(number)

    liar.lies["GetVersion"] = lie
    with pytest.raises(lamina.DataLossError, match="is of another version"):
        client.config("app")


def _again(reply: Any) -> None:
    reply.next_page_token = "again"


@pytest.mark.parametrize(
    ("method", "read"),
    [
        ("ListVersions", lambda client: list(client.config("app").log())),
        ("GetKeyHistory", lambda client: list(client.config("app").history("key-0"))),
        ("ListConfigs", lambda client: list(client.configs())),
        ("DiffVersions", lambda client: client.config("app").diff(1, 3)),
    ],
)
def test_lists_without_an_end_are_refused(liar: Liar, client: lamina.Client, method: str, read: Any) -> None:
    """Also if each page has another token, and nothing on it."""
    liar.lies[method] = _again
    with pytest.raises(lamina.DataLossError, match="came twice, or out of order"):
        read(client)
    tokens = count(1)

    def empty(reply: Any) -> None:
        reply.Clear()
        reply.next_page_token = str(next(tokens))

    liar.lies[method] = empty
    with pytest.raises(lamina.LaminaError):
        read(client)
    assert len(liar.asked[method]) < 10_000


def test_an_answer_of_any_size_is_refused_unread(liar: Liar, client: lamina.Client) -> None:
    liar.lies["GetVersion"] = _set(message="x" * (65 * 1024 * 1024))
    with pytest.raises(lamina.LaminaError):
        client.config("app")


# --- lives ------------------------------------------------------------------------------------


def _each(change: Callable[[pb.VersionChanges], None]) -> Callable[[pb.WatchKeyHistoryResponse], None]:
    def lie(message: pb.WatchKeyHistoryResponse) -> None:
        for part in message.changes:
            change(part)

    return lie


def _change_a_value(part: pb.VersionChanges) -> None:
    part.changes[0].value.int64 = 666


def _raise_the_number(part: pb.VersionChanges) -> None:
    part.version.version += 1


def _rename(part: pb.VersionChanges) -> None:
    part.version.config = "other"


def _change_the_hash(part: pb.VersionChanges) -> None:
    part.version.hash = bytes(32)


def _change_the_author(part: pb.VersionChanges) -> None:
    part.version.author = "mallory"


def _add_a_change(part: pb.VersionChanges) -> None:
    part.changes.add(key="zzz", value=pb.Value(int64=1))


def _bookmark_of_another_past(message: pb.WatchKeyHistoryResponse) -> None:
    message.bookmark.version = 4
    message.bookmark.hash = bytes(32)


STREAMS: dict[str, Any] = {
    "a value that was never written": _each(_change_a_value),
    "a gap": _each(_raise_the_number),
    "a version of another config": _each(_rename),
    "a wrong hash": _each(_change_the_hash),
    "another author": _each(_change_the_author),
    "a change too many": _each(_add_a_change),
    "a bookmark of another past": _bookmark_of_another_past,
}


@pytest.mark.parametrize("lie", STREAMS.values(), ids=STREAMS)
def test_a_live_ends_at_a_lie_and_keeps_the_last_good_version(
    liar: Liar, honest: testing.Server, lie: Any, tmp_path: Path
) -> None:
    """P18: neither the live nor its file has anything of it."""
    with lamina.connect(liar.target, cache_dir=tmp_path, timeout=5) as client:
        live = client.live("app")
        live.wait(3, SECONDS)
    (file,) = tmp_path.rglob("*.lkg")
    kept = file.read_bytes()
    with lamina.connect(liar.target, cache_dir=tmp_path, timeout=5) as client:
        live = client.live("app")
        liar.lies["WatchKeyHistory"] = lie
        _commit(honest, 4)
        with pytest.raises(lamina.DataLossError):
            live.wait(5, SECONDS)
        assert live["key-0"] in {3, 4}
        assert live.version in {3, 4}
        assert dict(live.current) == {f"key-{each}": live.version for each in range(live.version)}
    if live.version == 3:
        assert file.read_bytes() == kept


@pytest.mark.parametrize("lie", STREAMS.values(), ids=STREAMS)
async def test_a_live_of_asyncio_ends_too(liar: Liar, honest: testing.Server, lie: Any) -> None:
    async with lamina.aio.connect(liar.target, cache_dir="", timeout=5) as client:
        live = await client.live("app")
        liar.lies["WatchKeyHistory"] = lie
        await asyncio.to_thread(_commit, honest, 4)
        with pytest.raises(lamina.DataLossError):
            await live.wait(5, SECONDS)


def test_versions_that_come_twice_or_out_of_order_are_shown_once(liar: Liar, honest: testing.Server) -> None:
    """A watch drops what it has; a live, too."""
    seen: list[pb.WatchKeyHistoryResponse] = []

    def lie(message: pb.WatchKeyHistoryResponse) -> list[pb.WatchKeyHistoryResponse]:
        copy = pb.WatchKeyHistoryResponse()
        copy.CopyFrom(message)
        seen.append(copy)
        return [message, *seen]

    liar.lies["WatchKeyHistory"] = lie
    with lamina.connect(liar.target, cache_dir="", timeout=5) as client:
        live = client.live("app")
        for number in range(4, 8):
            _commit(honest, number)
        live.wait(7, SECONDS)
        config = client.config("app")
        changes = [change.version for change in config.watch("key-0", after=0, timeout=1)]
        assert changes == list(range(1, 8))


def test_a_watch_refuses_another_configs_versions(liar: Liar, client: lamina.Client) -> None:
    liar.lies["WatchKeyHistory"] = _each(_rename)
    with pytest.raises(lamina.DataLossError, match="a version of 'other' came in the watch of app"):
        next(iter(client.config("app").watch(after=0)))


def _commit(honest: testing.Server, number: int) -> None:
    with lamina.connect(honest.target, cache_dir="") as client:
        config = client.config("app")
        config |= {f"key-{each}": number for each in range(number)}
        assert config.commit().number == number
