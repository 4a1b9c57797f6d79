"""Secrets through the wire: sealed for all rooms below rpc/, and in the clear for callers who may reveal them."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.access import Access, Grant, Role
from lamina_server.domain.secrets import number_of
from lamina_server.secrets.keyring import FAILED, NO_OUTER_KEY
from lamina_server.secrets.outer import LocalKey
from lamina_server.secrets.rotation import rotate
from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from tests.security.secret_helpers import key_file, plain_of, sealed, secret, value_of
from tests.server.bare_client import DELETED, Wire, commit_request, refusal, running

KINDS = [
    pb.Secret(string=""),
    pb.Secret(string="\x80ü\U0001f600"),
    pb.Secret(bytes=b"\x80\x00\x80"),
    pb.Secret(bytes=b""),
    pb.Secret(json='{"b": [1, 1.0], "a": "\\u00fc"}'),
    pb.Secret(string="x" * 1024 * 1024),
]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    at = request.getfixturevalue("postgres_url") if request.param == "postgresql" else f"sqlite:///{tmp_path}/lamina.db"
    opened = open_store(at)
    yield opened
    opened.close()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_file(tmp_path)


@pytest.fixture
async def wire(store: Store, key: Path) -> AsyncIterator[Wire]:
    async with running(store, secret_key_file=key) as wire:
        yield wire


async def test_every_kind_of_content_is_read_back_by_every_method(wire: Wire) -> None:
    for number, content in enumerate(KINDS):
        config = f"c{number}"
        base = await wire.stub.Commit(commit_request(config, {"a": 1}))
        made = await wire.stub.Commit(
            commit_request(
                config, {"x": pb.Value(secret=content)}, base_version=base.version.version, changes_limit_bytes=2**20
            )
        )
        plain = content.WhichOneof("plain")
        assert plain is not None
        expected = json.loads(content.json) if plain == "json" else getattr(content, plain)
        watching = wire.watch(config, 1)
        (part,) = await watching.parts(2)
        watching.cancel()
        difference = (await wire.stub.DiffVersions(pb.DiffVersionsRequest(config=config, from_version=1))).differences[
            0
        ]
        history = await wire.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=config, key="x"))
        found = [
            await value_of(wire, config, "x"),
            (await wire.stub.GetVersion(pb.GetVersionRequest(config=config, view=pb.BLAME))).entries[1].value,
            difference.to,
            history.changes[0].value,
            part.changes[0].value,
            *(entry.value for entry in made.version.entries),
        ]
        assert len(found) == 6 - (not made.has_changes)
        for value in found:
            assert value.secret.WhichOneof("plain") == plain
            got = getattr(value.secret, plain)
            assert (json.loads(got) if plain == "json" else got) == expected
        assert len({value.secret.sealed for value in found}) == 1


async def test_equal_contents_make_no_version_and_no_conflict(wire: Wire) -> None:
    await wire.stub.Commit(commit_request("a", {"x": secret("one"), "y": 1}))
    again = await wire.stub.Commit(commit_request("a", {"x": secret("one")}))
    assert (again.created, again.version.version) == (False, 1)
    await wire.stub.Commit(commit_request("a", {"x": secret("two")}))
    same = await wire.stub.Commit(commit_request("a", {"x": secret("two"), "y": 2}, base_version=1))
    assert (same.merged, list(same.version.changed_keys)) == (True, ["y"])
    other = await refusal(wire.stub.Commit(commit_request("a", {"x": secret("three")}, base_version=1)))
    assert other.reason == "CONFLICT"
    (conflict,) = other.conflict.conflicts
    for value in (conflict.base, conflict.theirs, conflict.yours):
        assert value.secret.sealed
        assert value.secret.WhichOneof("plain") is None
    text = await wire.stub.Commit(commit_request("a", {"x": "two"}))
    assert text.created, "a text is not a secret with the same text"


async def test_sealed_bytes_stand_for_their_content_at_their_own_place_alone(wire: Wire) -> None:
    await wire.stub.Commit(commit_request("a", {"x": secret("old")}))
    old = sealed(await value_of(wire, "a", "x"))
    await wire.stub.Commit(commit_request("a", {"x": secret("new")}))
    back = await wire.stub.Commit(commit_request("a", {"x": old}))
    assert (back.created, await plain_of(wire, "a", "x")) == (True, "old")
    for config, key, value in (
        ("a", "y", old),
        ("b", "x", old),
        ("a", "x", pb.Value(secret=pb.Secret(sealed=old.secret.sealed[:-1] + b"\0"))),
        ("a", "x", pb.Value(secret=pb.Secret(sealed=b"made up"))),
    ):
        refused = await refusal(wire.stub.Commit(commit_request(config, {"k": 1, key: value})))
        assert (refused.reason, refused.fields[0][0]) == ("BAD_VALUE", "changes[1].value.secret.sealed")


async def test_a_preview_seals_and_writes_no_version(wire: Wire) -> None:
    await wire.stub.Commit(commit_request("a", {"x": secret("one")}))
    preview = await wire.stub.Commit(commit_request("a", {"x": secret("two")}, validate_only=True))
    assert list(preview.version.changed_keys) == ["x"]
    same = await wire.stub.Commit(commit_request("a", {"x": secret("one")}, validate_only=True))
    assert list(same.version.changed_keys) == []
    assert await plain_of(wire, "a", "x") == "one"


async def test_a_revert_keeps_the_sealed_bytes_and_a_fork_seals_anew(wire: Wire) -> None:
    await wire.stub.Commit(commit_request("a", {"x": secret("one")}))
    first = await value_of(wire, "a", "x")
    await wire.stub.Commit(commit_request("a", {"x": DELETED}))
    request = pb.RevertConfigRequest(config="a", to_version=1, base_version=2, request_id="r")
    await wire.stub.RevertConfig(request)
    assert await value_of(wire, "a", "x") == first
    await wire.stub.ForkConfig(pb.ForkConfigRequest(source="a", target="b", request_id="f"))
    assert await plain_of(wire, "b", "x") == "one"
    assert (await value_of(wire, "b", "x")).secret.sealed != first.secret.sealed


async def test_who_may_not_reveal_sees_sealed_bytes_in_every_reply(store: Store, key: Path) -> None:
    async with running(store, secret_key_file=key) as wire:
        access = wire.application.access
        nobody = Access(grants=(Grant("", Role.WRITER, "**"),))
        await wire.stub.Commit(commit_request("a", {"x": secret("one")}))
        seen = access.rights
        access.rights = nobody.rights  # type: ignore[method-assign]
        made = await wire.stub.Commit(
            commit_request("a", {"x": secret("two")}, base_version=1, changes_limit_bytes=2**20)
        )
        watching = wire.watch("a", 0)
        parts = await watching.parts(2)
        replies = [
            made,
            *parts,
            await wire.stub.GetVersion(pb.GetVersionRequest(config="a")),
            await wire.stub.GetVersion(pb.GetVersionRequest(config="a", version=1, keys=["x"])),
            await wire.stub.DiffVersions(pb.DiffVersionsRequest(config="a", from_version=1)),
            await wire.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config="a", key="x")),
        ]
        for reply in replies:
            assert b"one" not in reply.SerializeToString()
            assert b"two" not in reply.SerializeToString()
        refused = await refusal(wire.stub.ForkConfig(pb.ForkConfigRequest(source="a", target="b", request_id="f")))
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED")
        assert "'x'" in refused.text
        access.rights = seen  # type: ignore[method-assign]
        await wire.stub.Commit(commit_request("a", {"x": secret("three")}))
        (part,) = await watching.parts(3)
        assert part.changes[0].value.secret.string == "three", "the right is looked at for each message"
        watching.cancel()


async def test_after_a_rotation_old_and_new_versions_are_read_compared_and_retried(tmp_path: Path, key: Path) -> None:
    url = f"sqlite:///{tmp_path}/lamina.db"
    first = commit_request("a", {"x": secret("one")}, request_id="first")
    store = open_store(url)
    async with running(store, secret_key_file=key) as wire:
        made = await wire.stub.Commit(first)
        old = await value_of(wire, "a", "x")
        await wire.stub.Commit(commit_request("a", {"x": secret("two")}))
    rotated = rotate(store, LocalKey.in_file(key))
    assert rotated.older == 1
    async with running(store, secret_key_file=key) as wire:
        assert (await plain_of(wire, "a", "x", 1), await plain_of(wire, "a", "x", 2)) == ("one", "two")
        assert await wire.stub.Commit(first) == made, "a retry has another digest, and the same answer"
        reused = await refusal(wire.stub.Commit(commit_request("a", {"x": secret("1")}, request_id="first")))
        assert reused.reason == "REQUEST_ID_REUSED"
        same = await wire.stub.Commit(commit_request("a", {"x": secret("two")}))
        assert not same.created
        back = await wire.stub.Commit(commit_request("a", {"x": secret("one")}))
        assert back.created
        assert (await value_of(wire, "a", "x")).secret.sealed != old.secret.sealed
        difference = await wire.stub.DiffVersions(pb.DiffVersionsRequest(config="a", from_version=1))
        assert not difference.differences, "the contents are the same, the sealed bytes are not"
        revert = pb.RevertConfigRequest(config="a", to_version=1, base_version=3, request_id="r")
        assert not (await wire.stub.RevertConfig(revert)).created
        merged = await wire.stub.Commit(
            commit_request("a", {"x": secret("two"), "y": 1}, base_version=1, read_keys=["x"])
        )
        assert merged.created, "x is at the head what it was at the base"
    store.close()


async def test_a_new_outer_key_opens_all_and_the_old_one_is_refused(tmp_path: Path, key: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    async with running(store, secret_key_file=key) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret("one")}))
    new = key_file(tmp_path, "new.key")
    rotated = rotate(store, LocalKey.in_file(key), LocalKey.in_file(new))
    assert rotated.older == 1
    async with running(store, secret_key_file=new) as wire:
        await wire.stub.Commit(commit_request("a", {"y": secret("two")}))
        assert (await plain_of(wire, "a", "x"), await plain_of(wire, "a", "y")) == ("one", "two")
    store.close()


@pytest.mark.postgres
async def test_another_server_meets_a_new_data_key(postgres_url: str, key: Path) -> None:
    here, there = open_store(postgres_url), open_store(postgres_url)
    request = commit_request("a", {"x": secret("one")}, request_id="first")
    async with running(here, secret_key_file=key) as one, running(there, secret_key_file=key) as other:
        made = await one.stub.Commit(request)
        assert await plain_of(other, "a", "x") == "one"
        rotate(here, LocalKey.in_file(key))
        retried = await other.stub.Commit(request)
        assert (retried.created, retried.version) == (made.created, made.version)
        with here.read() as reading:
            newest = reading.secret_keys()[-1].number
        second = commit_request("b", {"x": secret("one")}, request_id="second")
        made = await one.stub.Commit(second)
        assert (await one.stub.Commit(second)).version == made.version
        assert number_of((await value_of(one, "b", "x")).secret.sealed) == newest
        rotate(here, LocalKey.in_file(key))
        assert (await other.stub.Commit(second)).version == made.version
        await other.stub.Commit(commit_request("c", {"x": secret("one")}))
        with here.read() as reading:
            newest = reading.secret_keys()[-1].number
        assert number_of((await value_of(other, "c", "x")).secret.sealed) == newest
        assert (await other.stub.Commit(commit_request("a", {"x": secret("two")}))).created
        assert await plain_of(one, "a", "x") == "two", "it asks the database for a data key that it does not have"
        assert not (await one.stub.Commit(commit_request("a", {"x": secret("two")}))).created
        await one.stub.ForkConfig(pb.ForkConfigRequest(source="a", target="d", source_version=1, request_id="f"))
        assert await plain_of(other, "d", "x") == "one"
    here.close()
    there.close()


@pytest.mark.postgres
async def test_a_server_with_the_old_outer_key_reads_on_and_seals_nothing(
    postgres_url: str, key: Path, tmp_path: Path
) -> None:
    """While the servers of a database are started again, one after the other, with the new outer key."""
    here, there, new = open_store(postgres_url), open_store(postgres_url), key_file(tmp_path, "new.key")
    async with running(here, secret_key_file=key) as one:
        await one.stub.Commit(commit_request("a", {"x": secret("one")}))
        rotate(here, LocalKey.in_file(key), LocalKey.in_file(new))
        async with running(there, secret_key_file=new) as other:
            await other.stub.Commit(commit_request("a", {"y": secret("two")}))
            assert await plain_of(other, "a", "x") == "one"
        assert await plain_of(one, "a", "x") == "one"
        assert (await value_of(one, "a", "y")).secret.unavailable == FAILED
        refused = await refusal(one.stub.Commit(commit_request("a", {"z": secret()})))
        assert refused.reason == "SECRETS_UNAVAILABLE"
        assert (await one.stub.Commit(commit_request("a", {"z": 1}))).created
    here.close()
    there.close()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_the_servers_own_configs_take_no_secrets(wire: Wire) -> None:
    refused = await refusal(wire.stub.Commit(commit_request("_lamina/access", {"grants/token:a **": secret()})))
    assert refused.reason == "BAD_VALUE"
    assert "must be JSON" in refused.text


async def test_large_maps_are_revealed_whole_page_by_page(wire: Wire) -> None:
    """More than the event loop unseals itself, and more than a page."""
    contents = {f"k{number:04}": f"{number}" * 100 for number in range(3_000)}
    await wire.stub.Commit(commit_request("a", {key: secret(content) for key, content in contents.items()}))
    found: dict[str, str] = {}
    token = ""
    while True:
        page = await wire.stub.GetVersion(pb.GetVersionRequest(config="a", page_token=token))
        found |= {entry.key: entry.value.secret.string for entry in page.entries}
        token = page.next_page_token
        if not token:
            break
    assert found == contents
    retried = commit_request("b", {key: secret(content) for key, content in contents.items()}, request_id="r")
    assert await wire.stub.Commit(retried) == await wire.stub.Commit(retried)


async def test_without_an_outer_key_all_but_secrets_works(store: Store, key: Path) -> None:
    async with running(store, secret_key_file=key) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret("one")}))
        known = sealed(await value_of(wire, "a", "x"))
        await wire.stub.Commit(commit_request("a", {"x": secret("two"), "y": 1}))
    async with running(store) as wire:
        assert await plain_of(wire, "a", "x") is None
        assert (await value_of(wire, "a", "x")).secret.unavailable == NO_OUTER_KEY
        await wire.stub.Commit(commit_request("a", {"y": 2}))
        for value in (secret("one"), known):
            refused = await refusal(wire.stub.Commit(commit_request("a", {"x": value})))
            assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SECRETS_UNAVAILABLE")
            assert "--secret-key-file" in refused.text
        revert = pb.RevertConfigRequest(config="a", to_version=1, base_version=3, request_id="r")
        assert (await wire.stub.RevertConfig(revert)).created
        fork = pb.ForkConfigRequest(source="a", target="b", request_id="f")
        assert (await refusal(wire.stub.ForkConfig(fork))).reason == "SECRETS_UNAVAILABLE"
        await wire.stub.Commit(commit_request("plain", {"y": 2}))
        await wire.stub.ForkConfig(pb.ForkConfigRequest(source="plain", target="fork", request_id="g"))
