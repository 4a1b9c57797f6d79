"""Commit, RevertConfig and ForkConfig over the wire: merged, refused with both sides, previewed, remembered."""

import asyncio
from typing import Any

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.store.contract import Store, UnansweredError
from lamina_server.store.memory import MemoryStore
from tests.server.bare_client import (
    DELETED,
    MEMORY_ONLY,
    TRAILERS_LIMIT_BYTES,
    Wire,
    commit_request,
    plain,
    refusal,
    running,
)

CONFIG = "shop/prod"
ABSENT = object()


def sides(conflict: pb.KeyConflict) -> tuple[Any, Any, Any]:
    """Return base, theirs and yours of a conflict, ABSENT for each that has no value."""
    base = plain(conflict.base) if conflict.HasField("base") else ABSENT
    theirs = plain(conflict.theirs) if conflict.HasField("theirs") else ABSENT
    yours = plain(conflict.yours) if conflict.HasField("yours") else ABSENT
    return base, theirs, yours


async def test_first_commit_makes_the_config(wire: Wire) -> None:
    reply = await wire.commit(CONFIG, {"b": 1, "a": "x"}, base_version=0, message="begin")
    version = reply.version
    assert (reply.created, reply.merged) == (True, False)
    assert (version.config, version.version, version.parent, len(version.hash)) == (CONFIG, 1, 0, 32)
    assert (version.author, version.author_verified, version.message) == ("anonymous", False, "begin")
    assert (version.key_count, version.change_count, list(version.changed_keys)) == (2, 2, ["a", "b"])
    assert version.commit_time.seconds > 1_700_000_000
    assert not version.entries
    assert not version.source_config


async def test_every_kind_of_value_is_read_as_it_was_written(wire: Wire) -> None:
    values = {
        "null": None,
        "true": True,
        "int": -(2**63),
        "float": 0.1,
        "string": "zürich\n\u2028",
        "bytes": b"\x00\xff",
        "empty": "",
    }
    await wire.commit(CONFIG, {**values, "json": pb.Value(json=' {"b": [1.0, 2], "a": "é"} '), "zero": -0.0})
    assert await wire.map(CONFIG) == {**values, "json": '{"a":"é","b":[1.0,2]}', "zero": 0.0}
    assert str((await wire.map(CONFIG))["zero"]) == "0.0"


async def test_disjoint_changes_merge(wire: Wire) -> None:
    base = (await wire.commit(CONFIG, {"a": 1, "b": 1})).version
    await wire.commit(CONFIG, {"a": 2}, base_version=1)
    reply = await wire.commit(CONFIG, {"b": 2}, base_version=1, base_hash=base.hash)
    assert (reply.created, reply.merged, reply.version.version) == (True, True, 3)
    assert reply.version.changed_keys == ["b"]
    assert await wire.map(CONFIG) == {"a": 2, "b": 2}


async def test_the_reply_can_say_what_is_different_from_the_base(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1, "b": 1, "c": 1})
    await wire.commit(CONFIG, {"a": 2, "d": 2}, base_version=1)
    await wire.commit(CONFIG, {"b": DELETED}, base_version=2)
    request = commit_request(CONFIG, {"c": 4}, base_version=1, changes_limit_bytes=1_000)
    reply = await wire.stub.Commit(request)
    assert (reply.merged, reply.has_changes, list(reply.deleted_keys)) == (True, True, ["b"])
    assert [(entry.key, plain(entry.value), entry.origin_version) for entry in reply.version.entries] == [
        ("a", 2, 2),
        ("c", 4, 4),
        ("d", 2, 2),
    ]
    await wire.commit(CONFIG, {"a": 5})
    assert await wire.stub.Commit(request) == reply, "the answer to a retry, when the head is newer"


async def test_the_reply_does_not_say_more_than_was_asked_for(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1, "b": 1})
    await wire.commit(CONFIG, {"a": 2})
    for key, limit_bytes in (("c", 0), ("d", 10)):
        reply = await wire.commit(CONFIG, {key: 1}, base_version=1, changes_limit_bytes=limit_bytes)
        assert reply.created
        assert (reply.has_changes, len(reply.version.entries)) == (False, 0)


async def test_only_changed_keys_are_written(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1, "b": 1})
    reply = await wire.commit(CONFIG, {"a": 1, "b": 2, "c": DELETED})
    assert (reply.version.change_count, list(reply.version.changed_keys)) == (1, ["b"])
    nothing = await wire.commit(CONFIG, {"a": 1, "b": 2})
    assert (nothing.created, nothing.merged) == (False, False)
    assert nothing.version == reply.version


async def test_a_commit_without_changes_makes_no_config(wire: Wire) -> None:
    reply = await wire.commit(CONFIG, {"a": DELETED})
    assert reply == pb.CommitResponse(version=pb.ConfigVersion(config=CONFIG))
    assert (await refusal(wire.get(CONFIG))).reason == "CONFIG_NOT_FOUND"


async def test_conflict_carries_both_sides(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1, "b": 1, "c": 1, "d": 1})
    metadata = (("lamina-author", "Gr%C3%A9ta"),)
    await wire.stub.Commit(commit_request(CONFIG, {"a": 2, "b": DELETED, "c": 2, "new": 2}), metadata=metadata)
    refused = await refusal(
        wire.commit(CONFIG, {"a": 3, "b": 3, "d": 3, "new": DELETED}, base_version=1, read_keys=["c"])
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "CONFLICT")
    assert "'a'" in refused.text
    assert "Gréta" in refused.text
    conflict = refused.conflict
    assert (conflict.head_version, conflict.conflict_count, conflict.truncated) == (2, 3, False)
    assert {one.key: sides(one) for one in conflict.conflicts} == {
        "a": (1, 2, 3),
        "b": (1, ABSENT, 3),
        "c": (1, 2, 1),  # only read: what it was at the base
    }
    assert {(one.their_version, one.their_author) for one in conflict.conflicts} == {(2, "Gréta")}
    assert (await wire.get(CONFIG)).version == 2


@MEMORY_ONLY
async def test_large_values_are_left_out_of_a_conflict(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": "b" * 256})
    await wire.commit(CONFIG, {"a": "t" * 257})
    refused = await refusal(wire.commit(CONFIG, {"a": "y" * 5000}, base_version=1))
    (conflict,) = refused.conflict.conflicts
    assert conflict.values_omitted
    assert sides(conflict) == ("b" * 256, ABSENT, ABSENT)


@MEMORY_ONLY
@pytest.mark.parametrize("size", [1, 100, 254])
async def test_conflict_lists_as_many_keys_as_fit(wire: Wire, size: int) -> None:
    keys = [f"{number:04}{'é' * size}" for number in range(300)]
    await wire.commit(CONFIG, dict.fromkeys(keys, "v" * 200))
    await wire.commit(CONFIG, dict.fromkeys(keys, "w" * 200))
    refused = await refusal(wire.commit(CONFIG, dict.fromkeys(keys, "x" * 200), base_version=1))
    listed = refused.conflict.conflicts
    next_one_bytes = len(listed[-1].SerializeToString()) * 4 // 3
    assert TRAILERS_LIMIT_BYTES - next_one_bytes - 20 < refused.trailers_bytes <= TRAILERS_LIMIT_BYTES
    assert (refused.conflict.conflict_count, refused.conflict.truncated) == (300, True)
    assert [one.key for one in listed] == keys[: len(listed)]
    assert all(one.values_omitted for one in listed)


@MEMORY_ONLY
async def test_a_conflict_leaves_out_values_before_keys(wire: Wire) -> None:
    keys = [f"key-{number:02}" for number in range(15)]
    await wire.commit(CONFIG, dict.fromkeys(keys, "v" * 50))
    await wire.commit(CONFIG, dict.fromkeys(keys, "w" * 50))
    refused = await refusal(wire.commit(CONFIG, dict.fromkeys(keys, "x" * 50), base_version=1))
    assert [one.key for one in refused.conflict.conflicts] == keys
    assert not refused.conflict.truncated
    assert {sides(one) for one in refused.conflict.conflicts} == {(ABSENT, ABSENT, ABSENT)}
    assert all(one.values_omitted for one in refused.conflict.conflicts)


async def test_require_base(wire: Wire) -> None:
    """P7: the commit succeeds if and only if the head is the base."""
    await wire.commit(CONFIG, {"a": 1})
    await wire.commit(CONFIG, {"b": 1})
    refused = await refusal(wire.commit(CONFIG, {"c": 1}, base_version=1, merge_policy=pb.REQUIRE_BASE))
    assert refused.reason == "CONFLICT"
    assert [one.key for one in refused.conflict.conflicts] == ["b"]
    reply = await wire.commit(CONFIG, {"c": 1}, base_version=2, merge_policy=pb.REQUIRE_BASE)
    assert (reply.version.version, reply.merged) == (3, False)


async def test_bases_of_another_epoch(wire: Wire) -> None:
    """P10: a base ahead of the head, or with another hash, is an explicit error that names the head."""
    head = (await wire.commit(CONFIG, {"a": 1})).version
    ahead = await refusal(wire.commit(CONFIG, {"a": 2}, base_version=5))
    forked = await refusal(wire.commit(CONFIG, {"a": 2}, base_version=1, base_hash=b"another"))
    assert (ahead.code, ahead.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_AHEAD")
    assert (forked.code, forked.reason) == (grpc.StatusCode.DATA_LOSS, "CURSOR_FORKED")
    for refused in (ahead, forked):
        assert refused.metadata == {"head_version": "1", "head_hash": head.hash.hex()}
    nowhere = await refusal(wire.commit("no/where", {"a": 1}, base_version=1))
    assert (nowhere.reason, nowhere.metadata["head_version"]) == ("CURSOR_AHEAD", "0")


async def test_validate_only_writes_nothing_and_returns_no_number(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1, "b": 1})
    for _ in range(2):  # the id is neither read nor used
        reply = await wire.commit(CONFIG, {"a": 1, "b": 2}, validate_only=True, request_id="")
        version = reply.version
        assert (version.version, version.parent, version.hash, version.HasField("commit_time")) == (0, 0, b"", False)
        assert (version.change_count, version.key_count, list(version.changed_keys)) == (1, 2, ["b"])
        assert not reply.created
    await wire.commit(CONFIG, {"a": 2})
    assert (await refusal(wire.commit(CONFIG, {"a": 3}, base_version=1, validate_only=True))).reason == "CONFLICT"
    assert (await wire.commit(CONFIG, {"b": 2}, base_version=1, validate_only=True)).merged
    assert (await wire.get(CONFIG)).version == 2


@MEMORY_ONLY
async def test_map_limits(store: Store) -> None:
    async with running(store, config_key_limit=3, config_limit_bytes=1024, value_limit_bytes=1024) as wire:
        await wire.commit(CONFIG, {"a": 1, "b": 1, "c": 1})
        many = await refusal(wire.commit(CONFIG, {"d": 1}))
        assert (many.reason, many.metadata) == ("TOO_MANY", {"limit": "3", "actual": "4"})
        large = await refusal(wire.commit(CONFIG, {"a": "x" * 1024}))
        assert large.reason == "TOO_LARGE"
        assert large.metadata["limit"] == "1024"
        assert (await wire.get(CONFIG)).version == 1


async def test_revert(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1, "b": 1})
    await wire.commit(CONFIG, {"a": 2, "c": 2})
    request = pb.RevertConfigRequest(config=CONFIG, to_version=1, base_version=2, request_id="r", message="back")
    reply = await wire.stub.RevertConfig(request)
    assert (reply.created, reply.version.version, reply.version.message) == (True, 3, "back")
    assert reply.version.changed_keys == ["a", "c"]
    assert await wire.map(CONFIG) == {"a": 1, "b": 1}
    assert await wire.stub.RevertConfig(request) == reply
    stale = pb.RevertConfigRequest(config=CONFIG, to_version=1, base_version=2, request_id="s")
    assert (await refusal(wire.stub.RevertConfig(stale))).reason == "CONFLICT"
    empty = pb.RevertConfigRequest(config=CONFIG, to_version=0, base_version=3, request_id="t")
    assert (await wire.stub.RevertConfig(empty)).version.key_count == 0
    beyond = pb.RevertConfigRequest(config=CONFIG, to_version=9, base_version=4, request_id="u")
    assert (await refusal(wire.stub.RevertConfig(beyond))).reason == "VERSION_NOT_FOUND"
    nowhere = pb.RevertConfigRequest(config="no/where", to_version=0, base_version=0, request_id="v")
    assert (await refusal(wire.stub.RevertConfig(nowhere))).reason == "CONFIG_NOT_FOUND"


async def test_fork(wire: Wire) -> None:
    source = (await wire.commit(CONFIG, {"a": 1, "b": 1})).version
    await wire.commit(CONFIG, {"a": 2})
    request = pb.ForkConfigRequest(source=CONFIG, source_version=1, target="shop/eu", request_id="f")
    reply = await wire.stub.ForkConfig(request)
    version = reply.version
    assert (version.config, version.version, list(version.changed_keys)) == ("shop/eu", 1, ["a", "b"])
    assert (version.source_config, version.source_version, version.source_hash) == (CONFIG, 1, source.hash)
    assert await wire.map("shop/eu") == {"a": 1, "b": 1}
    assert await wire.stub.ForkConfig(request) == reply
    again = await refusal(wire.stub.ForkConfig(pb.ForkConfigRequest(source=CONFIG, target="shop/eu", request_id="g")))
    assert (again.code, again.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CONFIG_EXISTS")
    nowhere = pb.ForkConfigRequest(source="no/where", target="x", request_id="h")
    assert (await refusal(wire.stub.ForkConfig(nowhere))).reason == "CONFIG_NOT_FOUND"
    beyond = pb.ForkConfigRequest(source=CONFIG, source_version=9, target="x", request_id="i")
    assert (await refusal(wire.stub.ForkConfig(beyond))).reason == "VERSION_NOT_FOUND"


async def test_a_request_id_has_one_outcome(wire: Wire) -> None:
    """P8: it is looked up before any other check, even if the config has moved on."""
    request = commit_request(CONFIG, {"a": 1}, base_version=0)
    first = await wire.stub.Commit(request)
    await wire.commit(CONFIG, {"a": 2})
    assert await wire.stub.Commit(request) == first
    other = pb.CommitRequest()
    other.CopyFrom(request)
    other.changes[0].value.int64 = 3
    refused = await refusal(wire.stub.Commit(other))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED")
    assert request.request_id in refused.text
    revert = pb.RevertConfigRequest(config=CONFIG, to_version=1, base_version=2, request_id=request.request_id)
    assert (await refusal(wire.stub.RevertConfig(revert))).reason == "REQUEST_ID_REUSED"
    assert (await wire.get(CONFIG)).version == 2


async def test_an_outcome_that_wrote_nothing_is_remembered_too(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1})
    request = commit_request(CONFIG, {"a": 1})
    first = await wire.stub.Commit(request)
    assert not first.created
    await wire.commit(CONFIG, {"a": 2})
    assert await wire.stub.Commit(request) == first


async def test_a_refusal_is_not_remembered(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1})
    request = commit_request(CONFIG, {"a": 3}, base_version=2)
    assert (await refusal(wire.stub.Commit(request))).reason == "CURSOR_AHEAD"
    await wire.commit(CONFIG, {"b": 1})
    assert (await wire.stub.Commit(request)).version.version == 3


async def test_one_request_id_in_flight_many_times_is_one_commit(wire: Wire) -> None:
    """P8: fifty calls at once make one version and get equal replies."""
    request = commit_request(CONFIG, {"a": 1})
    replies = await asyncio.gather(*(wire.stub.Commit(request) for _ in range(50)))
    assert all(reply == replies[0] for reply in replies)
    assert (await wire.get(CONFIG)).version == 1


async def test_a_request_id_survives_a_restart(store: Store) -> None:
    request = commit_request(CONFIG, {"a": 1}, base_version=0)
    async with running(store) as wire:
        first = await wire.stub.Commit(request)
        await wire.commit(CONFIG, {"a": 2})
    async with running(store) as wire:
        assert await wire.stub.Commit(request) == first


@MEMORY_ONLY
async def test_authors(wire: Wire) -> None:
    async def author(*given: str) -> str:
        metadata = tuple(("lamina-author", one) for one in given)
        reply = await wire.stub.Commit(commit_request(CONFIG, {"a": given[0] if given else "-"}), metadata=metadata)
        assert not reply.version.author_verified
        return reply.version.author

    assert await author() == "anonymous"
    assert await author("ada") == "ada"
    assert await author("Ren%C3%A9e%20%E2%98%83") == "Renée ☃"
    assert await author("100% Bob") == "100% Bob"
    version = (await wire.get(CONFIG)).version
    for given, says in [
        (("%FF",), "UTF-8"),
        (("a%0Ab",), "U+000A"),
        (("%1B[31m",), "U+001B"),
        (("",), "0 bytes"),
        (("a" * 256,), "256 bytes"),
        (("a", "b"), "more than once"),
    ]:
        metadata = tuple(("lamina-author", one) for one in given)
        refused = await refusal(wire.stub.Commit(commit_request(CONFIG, {"a": 0}), metadata=metadata))
        assert refused.reason == "BAD_REQUEST"
        assert refused.fields[0][0] == "metadata.lamina-author"
        assert says in refused.text
    assert (await wire.get(CONFIG)).version == version


@MEMORY_ONLY
async def test_violations_end_at_sixteen(wire: Wire) -> None:
    bad = [pb.Change(key=f"é{'k' * 600}", value=pb.Value(string="\x00")) for _ in range(100)]
    refused = await refusal(wire.stub.Commit(pb.CommitRequest(config="", changes=bad)))
    assert refused.reason == "BAD_CONFIG_NAME"
    assert len(refused.fields) == 16


async def test_the_largest_commit_is_accepted(wire: Wire) -> None:
    """A commit exactly at the limits is within them."""
    config = f"{'a' * 127}/{'b' * 127}"
    values: dict[str, Any] = {"k" * 512: "v" * 1024 * 1024}
    await wire.commit(config, values, request_id="r" * 128, message="m" * 4096)
    await wire.commit(config, {f"k{number}": number for number in range(10_000)})
    assert (await wire.get(config, view=pb.HEADER)).key_count == 10_001
    blobs = {f"blob{number}": b"b" * (1024 * 1024) for number in range(3)}
    request = commit_request(config, {**blobs, "rest": b"r" * 1_000_000})
    request.changes[3].value.bytes += b"r" * (4 * 1024 * 1024 - request.ByteSize())
    assert request.ByteSize() == 4 * 1024 * 1024
    assert (await wire.stub.Commit(request)).created


@MEMORY_ONLY
async def test_a_request_beyond_the_receive_limit_is_refused_by_grpc(wire: Wire) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await wire.stub.Commit(pb.CommitRequest(config=CONFIG, message="m" * (5 * 1024 * 1024 + 1)))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


class Unreadable(MemoryStore):
    """A store that takes commits, and answers no read while it is `away`."""

    away = False

    def read(self) -> Any:
        if self.away:
            raise UnansweredError("gone")
        return super().read()


async def test_a_commit_that_is_written_but_cannot_be_read_again_does_not_say_that_nothing_was_written() -> None:
    """P8: its request id is known, and its header is not in memory."""
    store, request = Unreadable(), commit_request(CONFIG, {"x": 1})
    async with running(store, heads_limit_bytes=0) as wire:
        version = (await wire.stub.Commit(request)).version
        store.away = True
        refused = await refusal(wire.stub.Commit(request))
        assert (refused.reason, refused.text) == ("STORE_UNAVAILABLE", "version 1 was written, but cannot be read now")
        assert "nothing_written" not in refused.metadata
        store.away = False
        assert (await wire.stub.Commit(request)).version == version
