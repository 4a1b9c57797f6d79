"""The reading methods over the wire: which version, which keys, which page."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.commits.clock import system_now_us
from lamina_server.store.contract import Store
from tests.server.bare_client import DELETED, MEMORY_ONLY, Wire, entries, plain, refusal, running

CONFIG = "shop/prod"
MIB = 1024 * 1024


async def pages(wire: Wire, rpc: str, request: Any) -> AsyncIterator[Any]:
    """Read page after page, each with the token of the one before."""
    while True:
        page = await getattr(wire.stub, rpc)(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


@pytest.fixture
async def seeded(wire: Wire) -> Wire:
    """A config of three versions: {a b db/x}, a changed and c set, b deleted."""
    await wire.commit(CONFIG, {"a": 1, "b": 1, "db/x": 1}, message="one")
    await wire.commit(CONFIG, {"a": 2, "c": 2}, message="two")
    await wire.commit(CONFIG, {"b": DELETED}, message="three")
    return wire


async def test_get_version_by_default_is_the_head(seeded: Wire) -> None:
    head = await seeded.get(CONFIG)
    assert (head.version, head.parent, head.message, head.key_count, head.change_count) == (3, 2, "three", 3, 1)
    assert list(head.changed_keys) == ["b"]
    assert [(entry.key, plain(entry.value), entry.origin_version) for entry in head.entries] == [
        ("a", 2, 2),
        ("c", 2, 2),
        ("db/x", 1, 1),
    ]
    assert not head.origins
    assert not head.next_page_token


async def test_get_version_by_number(seeded: Wire) -> None:
    assert await seeded.map(CONFIG, version=1) == {"a": 1, "b": 1, "db/x": 1}
    assert await seeded.map(CONFIG, version=2) == {"a": 2, "b": 1, "c": 2, "db/x": 1}
    assert await seeded.get(CONFIG, version=0) == pb.ConfigVersion(config=CONFIG)
    for beyond in (4, 2**63 - 1):
        refused = await refusal(seeded.get(CONFIG, version=beyond))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND")
        assert str(beyond) in refused.text


async def test_get_version_by_time(seeded: Wire) -> None:
    times = [(await seeded.get(CONFIG, version=number)).commit_time for number in (1, 2, 3)]
    for number, time in enumerate(times, 1):
        assert (await seeded.get(CONFIG, time=time)).version == number
        before = Timestamp(seconds=time.seconds, nanos=time.nanos)
        before.FromNanoseconds(time.ToNanoseconds() - 1)
        assert (await seeded.get(CONFIG, time=before)).version == number - 1
    assert (await seeded.get(CONFIG, time=Timestamp(seconds=253_402_300_799, nanos=999_999_999))).version == 3
    assert (await seeded.get(CONFIG, time=Timestamp(seconds=-62_135_596_800))).version == 0


async def test_get_version_of_a_missing_config_or_version(wire: Wire) -> None:
    for fields in ({}, {"version": 0}, {"version": 1}, {"view": pb.HEADER}):
        refused = await refusal(wire.get("no/where", **fields))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "CONFIG_NOT_FOUND")
        assert "no/where" in refused.text


async def test_min_version(seeded: Wire) -> None:
    head = await seeded.get(CONFIG, min_version=3)
    refused = await refusal(seeded.get(CONFIG, min_version=4))
    assert (refused.code, refused.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_AHEAD")
    assert refused.metadata == {"head_version": "3", "head_hash": head.hash.hex()}
    assert (await refusal(seeded.get("no/where", min_version=1))).reason == "CURSOR_AHEAD"


async def test_filters(seeded: Wire) -> None:
    assert await seeded.map(CONFIG, keys=["a", "missing", "a"]) == {"a": 2}
    assert await seeded.map(CONFIG, prefixes=["db/"]) == {"db/x": 1}
    assert await seeded.map(CONFIG, keys=["c"], prefixes=["d", "db"]) == {"c": 2, "db/x": 1}
    assert await seeded.map(CONFIG, keys=["b"]) == {}
    assert await seeded.map(CONFIG, keys=["b"], version=1) == {"b": 1}
    assert await seeded.map(CONFIG, keys=["c"], prefixes=[""]) == await seeded.map(CONFIG)


async def test_views(seeded: Wire) -> None:
    head = await seeded.get(CONFIG)
    header = await seeded.get(CONFIG, view=pb.HEADER)
    assert not header.entries
    assert header.hash == head.hash
    assert await seeded.get(CONFIG, view=pb.ENTRIES) == head
    blame = await seeded.get(CONFIG, view=pb.BLAME)
    assert blame.entries == head.entries
    assert [(origin.version, origin.message) for origin in blame.origins] == [(1, "one"), (2, "two")]
    assert list(blame.origins[0].changed_keys) == ["a", "b", "db/x"]
    assert [origin.version for origin in (await seeded.get(CONFIG, view=pb.BLAME, keys=["c"])).origins] == [2]


async def test_list_versions(seeded: Wire) -> None:
    async def numbers(**fields: Any) -> list[int]:
        reply = await seeded.stub.ListVersions(pb.ListVersionsRequest(config=CONFIG, **fields))
        assert not reply.next_page_token
        assert not any(version.entries for version in reply.versions)
        return [version.version for version in reply.versions]

    assert await numbers() == [3, 2, 1]
    assert await numbers(before_version=3) == [2, 1]
    assert await numbers(before_version=1) == []
    assert await numbers(before_version=0) == []
    assert await numbers(before_version=2**63 - 1) == [3, 2, 1]
    reply = await seeded.stub.ListVersions(pb.ListVersionsRequest(config=CONFIG))
    assert [list(version.changed_keys) for version in reply.versions] == [["b"], ["a", "c"], ["a", "b", "db/x"]]
    missing = seeded.stub.ListVersions(pb.ListVersionsRequest(config="no/where"))
    assert (await refusal(missing)).reason == "CONFIG_NOT_FOUND"


async def test_diff_versions(seeded: Wire) -> None:
    async def diff(**fields: Any) -> dict[str, tuple[Any, Any]]:
        reply = await seeded.stub.DiffVersions(pb.DiffVersionsRequest(config=CONFIG, **fields))
        found = {}
        for one in reply.differences:
            old = getattr(one, "from")
            found[one.key] = (
                plain(old) if one.HasField("from") else "-",
                plain(one.to) if one.HasField("to") else "-",
            )
        assert list(found) == sorted(found)
        return found

    assert await diff(from_version=1) == {"a": (1, 2), "b": (1, "-"), "c": ("-", 2)}
    assert await diff(from_version=3, to_version=1) == {"a": (2, 1), "b": ("-", 1), "c": (2, "-")}
    assert await diff(from_version=0, to_version=1) == {"a": ("-", 1), "b": ("-", 1), "db/x": ("-", 1)}
    assert await diff(from_version=0, to_version=1, prefixes=["d", "b"]) == {"b": ("-", 1), "db/x": ("-", 1)}
    assert await diff() == {}
    await seeded.commit(CONFIG, {"a": 1, "b": 1, "c": DELETED})
    assert await diff(from_version=1) == {}
    beyond = seeded.stub.DiffVersions(pb.DiffVersionsRequest(config=CONFIG, to_version=9))
    assert (await refusal(beyond)).reason == "VERSION_NOT_FOUND"
    missing = seeded.stub.DiffVersions(pb.DiffVersionsRequest(config="no/where"))
    assert (await refusal(missing)).reason == "CONFIG_NOT_FOUND"


async def test_key_history(seeded: Wire) -> None:
    async def history(key: str, **fields: Any) -> list[tuple[int, Any, str]]:
        reply = await seeded.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=CONFIG, key=key, **fields))
        assert (reply.config, reply.key, reply.next_page_token) == (CONFIG, key, "")
        assert {(change.key, change.author) for change in reply.changes} <= {(key, "anonymous")}
        return [
            (change.version, "-" if change.deleted else plain(change.value), change.message) for change in reply.changes
        ]

    assert await history("a") == [(1, 1, "one"), (2, 2, "two")]
    assert await history("b") == [(1, 1, "one"), (3, "-", "three")]
    assert await history("b", newest_first=True) == [(3, "-", "three"), (1, 1, "one")]
    assert await history("never") == []
    missing = seeded.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config="no/where", key="a"))
    assert (await refusal(missing)).reason == "CONFIG_NOT_FOUND"


async def test_list_configs(seeded: Wire) -> None:
    await seeded.commit("shop/dev", {"a": 1})
    await seeded.commit("shop", {"a": 1})
    await seeded.commit("shop2/x", {"a": 1})

    async def listed(**fields: Any) -> list[str]:
        return [one.name for one in (await seeded.stub.ListConfigs(pb.ListConfigsRequest(**fields))).configs]

    assert await listed() == ["shop", "shop/dev", "shop/prod", "shop2/x"]
    assert await listed(prefix="shop/") == ["shop/dev", "shop/prod"]
    assert await listed(prefix="shop") == ["shop", "shop/dev", "shop/prod", "shop2/x"]
    assert await listed(prefix="z") == []
    (prod,) = (await seeded.stub.ListConfigs(pb.ListConfigsRequest(prefix="shop/prod"))).configs
    assert prod.head == await seeded.get(CONFIG, view=pb.HEADER)
    assert prod.create_time == (await seeded.get(CONFIG, version=1)).commit_time


async def test_pages_of_one_entry_make_the_whole(seeded: Wire) -> None:
    """Every paged method gives the same with one item a page as without pages."""
    cases: list[tuple[str, Any, str]] = [
        ("GetVersion", pb.GetVersionRequest(config=CONFIG, version=2), "entries"),
        ("GetVersion", pb.GetVersionRequest(config=CONFIG, keys=["a", "db/x"]), "entries"),
        ("ListVersions", pb.ListVersionsRequest(config=CONFIG), "versions"),
        ("DiffVersions", pb.DiffVersionsRequest(config=CONFIG, from_version=1), "differences"),
        ("GetKeyHistory", pb.GetKeyHistoryRequest(config=CONFIG, key="a"), "changes"),
        ("GetKeyHistory", pb.GetKeyHistoryRequest(config=CONFIG, key="b", newest_first=True), "changes"),
        ("ListConfigs", pb.ListConfigsRequest(), "configs"),
    ]
    for rpc, request, items in cases:
        await seeded.commit(f"other/{rpc}", {"a": 1})
        whole = list(getattr(await getattr(seeded.stub, rpc)(request), items))
        request.page_size = 1
        parts = [list(getattr(page, items)) async for page in pages(seeded, rpc, request)]
        assert [one for part in parts for one in part] == whole
        assert {len(part) for part in parts} == {1}


async def test_blame_pages_name_the_origins_of_their_own_entries(seeded: Wire) -> None:
    request = pb.GetVersionRequest(config=CONFIG, view=pb.BLAME, page_size=2)
    found = [
        ([entry.key for entry in page.entries], [origin.version for origin in page.origins])
        async for page in pages(seeded, "GetVersion", request)
    ]
    assert found == [(["a", "c"], [2]), (["db/x"], [1])]


async def test_a_page_closes_when_it_passes_one_mebibyte(wire: Wire) -> None:
    values = {f"k{number}": bytes([number]) * (400 * 1024) for number in range(7)}
    await wire.commit(CONFIG, values)
    found = [page async for page in pages(wire, "GetVersion", pb.GetVersionRequest(config=CONFIG))]
    assert [len(page.entries) for page in found] == [3, 3, 1]
    assert all(page.ByteSize() < 2 * MIB for page in found)
    assert {key: value for page in found for key, value in entries(page).items()} == values
    await wire.commit(CONFIG, dict.fromkeys(values, DELETED))
    differences = [
        one.key
        async for page in pages(wire, "DiffVersions", pb.DiffVersionsRequest(config=CONFIG, from_version=1))
        for one in page.differences
    ]
    assert differences == list(values)


@MEMORY_ONLY
async def test_a_page_holds_one_entry_of_any_size(wire: Wire) -> None:
    values = {f"k{number}": "v" * MIB for number in range(3)}
    await wire.commit(CONFIG, values)
    found = [len(page.entries) async for page in pages(wire, "GetVersion", pb.GetVersionRequest(config=CONFIG))]
    assert found == [1, 1, 1]


@MEMORY_ONLY
async def test_headers_of_versions_count_against_a_page_too(store: Store) -> None:
    """Blame of many small entries, each of a version with a long message and many keys."""
    async with running(store, page_limit_bytes=20_000) as wire:
        for number in range(20):
            await wire.commit(CONFIG, {f"k{number}": number}, message="m" * 4000)
        request = pb.GetVersionRequest(config=CONFIG, view=pb.BLAME)
        found = [page async for page in pages(wire, "GetVersion", request)]
        assert max(page.ByteSize() for page in found) < 20_000 + 2 * 4_200
        for page in found:
            origins = [origin.version for origin in page.origins]
            assert origins == sorted(entry.origin_version for entry in page.entries)
        listed = [page async for page in pages(wire, "ListVersions", pb.ListVersionsRequest(config=CONFIG))]
        assert max(page.ByteSize() for page in listed) < 20_000 + 4_200
        assert [version.version for page in listed for version in page.versions] == list(range(20, 0, -1))


@MEMORY_ONLY
async def test_large_page_sizes_are_clamped(store: Store) -> None:
    async with running(store, page_size_limit=2) as wire:
        await wire.commit(CONFIG, dict.fromkeys("abc", 1))
        for size in (0, 3, 2**31 - 1):
            assert len((await wire.get(CONFIG, page_size=size)).entries) == 2


async def test_later_pages_are_of_the_version_of_the_first(wire: Wire) -> None:
    """All pages together are one version, although commits come in between."""
    await wire.commit(CONFIG, {f"k{number:03}": 0 for number in range(200)})

    async def write() -> None:
        for number in range(1, 40):
            values: dict[str, Any] = {f"k{number:03}": number, f"k{199 - number:03}": DELETED, f"n{number}": number}
            await wire.commit(CONFIG, values)

    async def read() -> None:
        first = 0
        seen: dict[str, Any] = {}
        async for page in pages(wire, "GetVersion", pb.GetVersionRequest(config=CONFIG, page_size=7)):
            first = first or page.version
            assert page.version == first
            seen |= entries(page)
        assert seen == await wire.map(CONFIG, version=first)
        assert len(seen) == page.key_count

    async def history() -> None:
        request = pb.GetKeyHistoryRequest(config=CONFIG, key="k000", page_size=1, newest_first=True)
        found = [change.version async for page in pages(wire, "GetKeyHistory", request) for change in page.changes]
        assert found == [1]

    await asyncio.gather(write(), *(read() for _ in range(8)), history())


async def test_a_later_page_of_the_head_stays_at_its_version(seeded: Wire) -> None:
    diff = pb.DiffVersionsRequest(config=CONFIG, from_version=0, page_size=1)
    log = pb.ListVersionsRequest(config=CONFIG, page_size=1)
    history = pb.GetKeyHistoryRequest(config=CONFIG, key="a", page_size=1)
    diff.page_token = (await seeded.stub.DiffVersions(diff)).next_page_token
    log.page_token = (await seeded.stub.ListVersions(log)).next_page_token
    history.page_token = (await seeded.stub.GetKeyHistory(history)).next_page_token
    await seeded.commit(CONFIG, {"a": 9, "c": 9, "db/x": 9})
    (difference,) = (await seeded.stub.DiffVersions(diff)).differences
    assert plain(difference.to) == 2
    assert [version.version for version in (await seeded.stub.ListVersions(log)).versions] == [2]
    rest = await seeded.stub.GetKeyHistory(history)
    assert [change.version for change in rest.changes] == [2]
    assert not rest.next_page_token


@MEMORY_ONLY
async def test_a_page_token_is_valid_for_its_request_only(seeded: Wire) -> None:
    good = pb.GetVersionRequest(config=CONFIG, page_size=1)
    token = (await seeded.stub.GetVersion(good)).next_page_token
    for request in (
        pb.GetVersionRequest(config=CONFIG, version=3, page_token=token),
        pb.GetVersionRequest(config=CONFIG, keys=["a"], page_token=token),
        pb.GetVersionRequest(config=CONFIG, prefixes=["a"], page_token=token),
        pb.GetVersionRequest(config=CONFIG, min_version=1, page_token=token),
        pb.GetVersionRequest(config=CONFIG, view=pb.BLAME, page_token=token),
        pb.GetVersionRequest(config="other", page_token=token),
        pb.GetVersionRequest(config=CONFIG, page_token=token[:-4]),
        pb.GetVersionRequest(config=CONFIG, page_token=token[:20] + ("A" if token[20] != "A" else "B") + token[21:]),
        pb.GetVersionRequest(config=CONFIG, page_token=token + "AAAA"),
    ):
        refused = await refusal(seeded.stub.GetVersion(request))
        assert (refused.reason, refused.fields[0][0]) == ("BAD_REQUEST", "page_token")
    log = seeded.stub.ListVersions(pb.ListVersionsRequest(config=CONFIG, page_token=token))
    assert (await refusal(log)).reason == "BAD_REQUEST"
    assert (await seeded.get(CONFIG, page_size=2, page_token=token)).entries


@pytest.mark.parametrize("is_in_memory", [True, False])
async def test_a_read_by_time_says_that_times_lie_ahead(store: Store, *, is_in_memory: bool) -> None:
    """A clock was ahead for one commit: every later version is dated after that one, and times no longer tell."""
    now_us, ahead_us = system_now_us(), 0
    async with running(store, now_us=lambda: now_us + ahead_us) as wire:
        await wire.commit(CONFIG, {"x": 1, "y": 1})
        now, view = at_us(now_us + 1_000_000), pb.ENTRIES if is_in_memory else pb.BLAME
        whole = await wire.get(CONFIG, time=now, view=view)
        assert (whole.version, whole.HasField("future_head_time")) == (1, False)
        ahead_us = 5 * 365 * 86_400 * 1_000_000
        future = (await wire.commit(CONFIG, {"x": 2})).version
        ahead_us = 0
        head = (await wire.commit(CONFIG, {"x": 3})).version
        assert head.commit_time.ToMicroseconds() == future.commit_time.ToMicroseconds() + 1
        old = await wire.get(CONFIG, time=now, view=view)
        assert (old.version, old.future_head_time) == (1, head.commit_time)
        assert [(entry.key, plain(entry.value)) for entry in old.entries] == [("x", 1), ("y", 1)]
        assert (await wire.get(CONFIG, time=at_us(1))).future_head_time == head.commit_time  # of the empty map, too
        paged = await wire.get(CONFIG, time=now, view=view, page_size=1)
        assert (len(paged.entries), paged.future_head_time) == (1, head.commit_time)
        rest = await wire.get(CONFIG, time=now, view=view, page_size=1, page_token=paged.next_page_token)
        assert (rest.version, rest.HasField("future_head_time")) == (1, False)
        for asked in ({}, {"version": 1}, {"version": 3}):
            assert not (await wire.get(CONFIG, view=view, **asked)).HasField("future_head_time")


def at_us(time_us: int) -> Timestamp:
    time = Timestamp()
    time.FromMicroseconds(time_us)
    return time
