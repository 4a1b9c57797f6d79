"""Calls about versions that are compacted: each says so, and names the oldest version; all others answer as before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.cache.catch_up import read_changes, read_encoded_changes
from lamina_server.cache.limits import DEFAULT_LIMITS
from lamina_server.domain.records import HeadMark
from lamina_server.store.compaction.compaction import Compaction, Keep
from lamina_server.store.contract import Store
from lamina_server.store.sql.store import SqlStore
from lamina_server.wire.codec import WireCodec
from tests.server.bare_client import Refusal, Wire, plain, refusal, running

CONFIG, HEAD, OLDEST = "shop/prod", 6, 4
ON_BOTH = pytest.mark.parametrize(
    ("store", "server"),
    [
        ("sqlite", "restarted"),
        pytest.param("postgresql", "restarted", marks=pytest.mark.postgres),
        pytest.param("postgresql", "goes on", marks=pytest.mark.postgres),
    ],
    indirect=True,
)
"""A server that goes on has the old versions in memory, and must notice all the same."""


def compact(store: Store, *, keep: int = HEAD - OLDEST + 1) -> None:
    """Compact the config, as another process does."""
    assert isinstance(store, SqlStore)
    compaction = Compaction(store._database)
    (target,) = compaction.targets(lambda name: name == CONFIG, Keep(versions=keep))
    compaction.compact(target, "test", 1, lambda _: None)
    if not store.is_shared:
        store._known.forget()


async def commit_all(wire: Wire) -> None:
    """Commit version 1, {x: 1, y: "y", gone: 1}, and five that set x; version 3 also deletes `gone`."""
    await wire.commit(CONFIG, {"x": 1, "y": "y", "gone": 1})
    for number in range(2, HEAD + 1):
        changes = [pb.Change(key="x", value=pb.Value(int64=number))]
        if number == 3:
            changes.append(pb.Change(key="gone", deleted=True))
        await wire.stub.Commit(
            pb.CommitRequest(config=CONFIG, changes=changes, request_id=f"r{number}", message=f"why {number}")
        )


@pytest.fixture
def server(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
async def compacted(store: Store, server: str) -> AsyncIterator[Wire]:
    """A server whose config has 6 versions, of which the maps of 4, 5 and 6 can be read."""
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(running(store))
        await commit_all(wire)
        for number in range(1, HEAD + 1):
            await wire.map(CONFIG, version=number)  # so that it is in memory
        if server == "restarted":
            await stack.aclose()
            compact(store)
            wire = await stack.enter_async_context(running(store))
        else:
            compact(store)
        yield wire


def check(found: Refusal) -> None:
    assert found.reason == "VERSION_COMPACTED", found
    assert found.code.name == "OUT_OF_RANGE"
    assert found.metadata == {"oldest_version": str(OLDEST)}
    assert f"the oldest version that can be read is {OLDEST}" in found.text


@ON_BOTH
async def test_what_needs_values_that_are_gone_says_so(compacted: Wire) -> None:
    stub = compacted.stub
    third = await compacted.get(CONFIG, version=3, view=pb.HEADER)
    for number in (1, 2, 3):
        check(await refusal(compacted.get(CONFIG, version=number)))
        check(await refusal(compacted.get(CONFIG, version=number, keys=["x"])))
        check(await refusal(compacted.get(CONFIG, version=number, prefixes=["x"], view=pb.BLAME)))
        check(await refusal(stub.DiffVersions(pb.DiffVersionsRequest(config=CONFIG, from_version=number))))
        change = pb.Change(key="z", value=pb.Value(int64=1))
        base = pb.CommitRequest(config=CONFIG, changes=[change], request_id=f"c{number}", base_version=number)
        check(await refusal(stub.Commit(base)))
        base.validate_only = True
        check(await refusal(stub.Commit(base)))
        base.validate_only, base.merge_policy = False, pb.REQUIRE_BASE
        check(await refusal(stub.Commit(base)))
        revert = pb.RevertConfigRequest(config=CONFIG, to_version=number, base_version=HEAD, request_id=f"v{number}")
        check(await refusal(stub.RevertConfig(revert)))
        fork = pb.ForkConfigRequest(source=CONFIG, source_version=number, target="shop/eu", request_id=f"f{number}")
        check(await refusal(stub.ForkConfig(fork)))
    check(await refusal(compacted.get(CONFIG, time=third.commit_time)))
    for after in (0, 1, 2):
        watch = compacted.watch(CONFIG, after=after)
        check(await refusal(watch.parts(HEAD)))


@ON_BOTH
async def test_what_is_kept_answers_as_before(compacted: Wire) -> None:
    stub = compacted.stub
    for number in range(OLDEST, HEAD + 1):
        assert await compacted.map(CONFIG, version=number) == {"x": number, "y": "y"}
    blame = await compacted.get(CONFIG, version=OLDEST, view=pb.BLAME)
    assert [(entry.key, entry.origin_version) for entry in blame.entries] == [("x", OLDEST), ("y", 1)]
    assert [origin.version for origin in blame.origins] == [1, OLDEST]
    assert await compacted.map(CONFIG, version=0) == {}
    assert await compacted.map(CONFIG, time=Timestamp(seconds=1)) == {}
    from_empty = await stub.DiffVersions(pb.DiffVersionsRequest(config=CONFIG, from_version=0, to_version=OLDEST))
    assert [(each.key, plain(each.to)) for each in from_empty.differences] == [("x", OLDEST), ("y", "y")]
    assert [part.version.version for part in await compacted.watch(CONFIG, after=OLDEST - 1).parts(HEAD)] == [4, 5, 6]
    merged = await compacted.commit(CONFIG, {"z": 1}, base_version=OLDEST)
    assert (merged.version.version, merged.merged) == (HEAD + 1, True)
    to_empty = pb.RevertConfigRequest(config=CONFIG, to_version=0, base_version=HEAD + 1, request_id="empty")
    assert (await stub.RevertConfig(to_empty)).version.key_count == 0


@ON_BOTH
async def test_the_log_and_the_history_stay(compacted: Wire) -> None:
    log = await compacted.stub.ListVersions(pb.ListVersionsRequest(config=CONFIG))
    assert log.oldest_version == OLDEST
    assert [version.version for version in log.versions] == [6, 5, 4, 3, 2, 1]
    assert list(log.versions[3].changed_keys) == ["gone", "x"]
    assert log.versions[3] == await compacted.get(CONFIG, version=3, view=pb.HEADER)
    (summary,) = (await compacted.stub.ListConfigs(pb.ListConfigsRequest())).configs
    assert summary.oldest_version == OLDEST
    x = await compacted.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=CONFIG, key="x"))
    assert [(each.version, each.WhichOneof("change")) for each in x.changes] == [
        (1, None),
        (2, None),
        (3, None),
        (4, "value"),
        (5, "value"),
        (6, "value"),
    ]
    assert [(each.compacted, len(each.digest)) for each in x.changes] == [(True, 32)] * 3 + [(False, 0)] * 3
    assert [each.message for each in x.changes][1:] == [f"why {number}" for number in range(2, HEAD + 1)]
    gone = await compacted.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=CONFIG, key="gone", newest_first=True))
    assert [(each.version, each.deleted, each.compacted) for each in gone.changes] == [
        (3, True, False),
        (1, False, True),
    ]
    again = pb.CommitRequest(config=CONFIG, changes=[pb.Change(key="x", value=pb.Value(int64=2))], request_id="r2")
    again.message = "why 2"
    assert (await compacted.stub.Commit(again)).version.version == 2  # P8


@pytest.mark.parametrize("store", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
async def test_a_watch_goes_on_while_its_config_is_compacted(store: Store) -> None:
    """P9 P12: it gets each version, before and after; and commits go on."""
    async with running(store) as wire:
        await commit_all(wire)
        watch = wire.watch(CONFIG, after=0)
        assert await watch.numbers(HEAD) == list(range(1, HEAD + 1))
        work = asyncio.create_task(asyncio.to_thread(compact, store, keep=1))
        for number in range(HEAD + 1, HEAD + 6):
            await wire.commit(CONFIG, {"x": number})
        await work
        await wire.commit(CONFIG, {"x": 0})
        assert await watch.numbers(HEAD + 6) == list(range(HEAD + 1, HEAD + 7))
        watch.cancel()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("limit_bytes", [1, 1 << 20])
async def test_memory_that_is_too_far_behind_is_read_anew(store: Store, limit_bytes: int) -> None:
    """A question about several configs does not fail because one of them was compacted meanwhile."""
    async with running(store) as wire:
        await commit_all(wire)
    compact(store)
    limits = replace(DEFAULT_LIMITS, catch_up_bytes=limit_bytes)
    with store.read() as reading:
        known = reading.versions(CONFIG, [1])[1]
        mark = HeadMark(1, known.hash)
        assert read_encoded_changes(reading, CONFIG, after=1, through=HEAD, codec=WireCodec(), limits=limits) is None
        assert read_changes(reading, CONFIG, known=mark, through=HEAD, limits=limits) is None
        assert reading.head(CONFIG) is not None
