"""Every change of `_lamina/access` is checked, by whichever call it is made."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.planning import Author, MapLimits, plan
from lamina_server.domain.records import Change
from lamina_server.domain.values import Value
from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from tests.server.bare_client import DELETED, MEMORY_ONLY, Refusal, Wire, refusal, running

SHA256 = "ab" * 32
ADMIN = {"tokens/aaaa": {"name": "ada", "sha256": SHA256}, "grants/token:ada **": {"role": "admin"}}


def of_json(items: dict[str, Any]) -> dict[str, Any]:
    return {key: item if item is DELETED else pb.Value(json=json.dumps(item)) for key, item in items.items()}


def write_by_other_means(store: Store, values: dict[str, Value | None]) -> None:
    """Add a version that no server would have made."""
    with store.write() as writing:
        head = writing.head(ACCESS_CONFIG)
        before = {e.key: e.value for e in writing.entries(ACCESS_CONFIG, head.number)} if head else {}
        writing.insert(
            plan(
                [Change(key, value) for key, value in values.items()],
                config=ACCESS_CONFIG,
                head=head,
                values=before,
                author=Author("somebody"),
                message="",
                now_us=1,
                limits=MapLimits(keys=100, size_bytes=100_000),
            )
        )


async def numbers(wire: Wire) -> int:
    return (await wire.get(ACCESS_CONFIG)).version


def check_refused(refused: Refusal, key: str, says: str) -> None:
    assert refused.reason == "BAD_VALUE"
    assert [field for field, _ in refused.fields] == [key]
    assert says in refused.fields[0][1]


@pytest.fixture
async def wire(store: Store) -> AsyncIterator[Wire]:
    async with running(store) as wire:
        await wire.commit(ACCESS_CONFIG, of_json(ADMIN))
        yield wire


async def test_a_commit(wire: Wire) -> None:
    """On every store: the map that is checked has the versions of the same transaction in it."""
    bad = of_json({"grants/token:ada shop/**": {"role": "owner"}})
    check_refused(await refusal(wire.commit(ACCESS_CONFIG, bad)), "grants/token:ada shop/**", "reader, writer, admin")
    preview = wire.commit(ACCESS_CONFIG, bad, validate_only=True)
    check_refused(await refusal(preview), "grants/token:ada shop/**", "reader, writer, admin")
    last = wire.commit(ACCESS_CONFIG, {"tokens/aaaa": DELETED}, validate_only=True)
    check_refused(await refusal(last), "grants", "would leave no admin")
    await wire.commit(ACCESS_CONFIG, of_json({"grants/token:ada shop/**": {"role": "reader"}}))
    assert await numbers(wire) == 2


async def test_commits_of_one_transaction_see_each_other(wire: Wire) -> None:
    """Each of them alone leaves an admin, and both together would not."""
    other = {"tokens/bbbb": {"name": "grace", "sha256": SHA256}, "grants/token:grace **": {"role": "admin"}}
    await wire.commit(ACCESS_CONFIG, of_json(other))
    deletions = [wire.commit(ACCESS_CONFIG, {f"tokens/{id_}": DELETED}) for id_ in ("aaaa", "bbbb")]
    others = [wire.commit("shop/prod", {"x": number}) for number in range(20)]
    done = await asyncio.gather(*others[:10], *deletions, *others[10:], return_exceptions=True)
    refused = [each for each in done if isinstance(each, Exception)]
    assert len(refused) == 1
    check_refused(Refusal.of(refused[0]), "grants", "would leave no admin")  # type: ignore[arg-type]
    assert await numbers(wire) == 3


@MEMORY_ONLY
async def test_a_revert(wire: Wire, store: MemoryStore) -> None:
    write_by_other_means(store, {"users/ada": Value.of_null()})
    write_by_other_means(store, {"users/ada": None})
    await wire.stop_server()
    async with running(store) as restarted:
        for to, key in ((2, "users/ada"), (0, "grants")):
            request = pb.RevertConfigRequest(config=ACCESS_CONFIG, to_version=to, base_version=3, request_id=f"to {to}")
            assert [field for field, _ in (await refusal(restarted.stub.RevertConfig(request))).fields] == [key]
        await restarted.commit(ACCESS_CONFIG, of_json({"groups/platform": []}))
        request = pb.RevertConfigRequest(config=ACCESS_CONFIG, to_version=1, base_version=4, request_id="to 1")
        assert (await restarted.stub.RevertConfig(request)).version.version == 5


@MEMORY_ONLY
async def test_forks(wire: Wire, store: MemoryStore) -> None:
    fork = pb.ForkConfigRequest(source=ACCESS_CONFIG, target="mine", request_id="from")
    refused = await refusal(wire.stub.ForkConfig(fork))
    assert (refused.reason, refused.fields[0][0]) == ("BAD_CONFIG_NAME", "source")
    with closing(MemoryStore()) as empty:
        async with running(empty) as other:
            await other.commit("draft", of_json(ADMIN))
            fork = pb.ForkConfigRequest(source="draft", target=ACCESS_CONFIG, request_id="into")
            refused = await refusal(other.stub.ForkConfig(fork))
            assert (refused.reason, refused.fields[0][0]) == ("BAD_CONFIG_NAME", "target")


@MEMORY_ONLY
async def test_what_others_have_broken_is_mended_by_a_commit(wire: Wire, store: MemoryStore) -> None:
    write_by_other_means(store, {"users/ada": Value.of_null()})
    await wire.stop_server()
    async with running(store) as restarted:
        check_refused(await refusal(restarted.commit(ACCESS_CONFIG, of_json({"groups/x": []}))), "users/ada", "no key")
        await restarted.commit(ACCESS_CONFIG, {"users/ada": DELETED})
        assert restarted.application.access.current.tokens.keys() <= {"aaaa"}


PASTED = f"lamina_k3v9q2x7m4d1_{'canary' * 8}"


@MEMORY_ONLY
async def test_a_token_is_no_name(wire: Wire, capfd: pytest.CaptureFixture[str]) -> None:
    """It would be kept for ever, for all who may read: the refusal repeats its id alone."""
    for key, item in (
        (f"grants/token:{PASTED} **", {"role": "reader"}),
        (f"tokens/{PASTED}", {"name": "ada", "sha256": SHA256}),
        ("tokens/bbbb", {"name": PASTED, "sha256": SHA256}),
        ("groups/x", [f"token:{PASTED}"]),
        (f"groups/{PASTED}", []),
        (f"limits/token:{PASTED}", {"watches": 1}),
    ):
        shown = key.replace("canary" * 8, "...")
        refused = await refusal(wire.commit(ACCESS_CONFIG, of_json({key: item})))
        check_refused(refused, shown, "looks like a token")
        assert "canary" not in str(refused)
    for call, field in (
        (wire.commit(PASTED, {"a": 1}), "config"),
        (wire.stub.CheckAccess(pb.CheckAccessRequest(principal=f"token:{PASTED}", config="shop")), "principal"),
        (wire.stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=[("lamina-author", PASTED)]), "metadata."),
    ):
        refused = await refusal(call)
        assert refused.fields[0][0].startswith(field)
        assert "looks like a token" in refused.fields[0][1]
        assert "canary" not in str(refused)
    assert await numbers(wire) == 1
    assert "canary" not in "".join(capfd.readouterr())


@MEMORY_ONLY
async def test_a_key_with_a_token_of_old_can_be_deleted(wire: Wire, store: MemoryStore) -> None:
    key = f"grants/token:{PASTED} **"
    write_by_other_means(store, {key: Value.of_json('{"role": "reader"}')})
    await wire.stop_server()
    async with running(store) as restarted:
        assert (await restarted.commit(ACCESS_CONFIG, {key: DELETED})).version.version == 3
