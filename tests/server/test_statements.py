"""The statements of the whole server: INSERT and SELECT alone, and never on the event loop."""

from collections.abc import Iterator

import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.store.contract import Store
from tests.server.bare_client import DELETED, running
from tests.support.statements import Said, said

CONFIG = "shop/prod"
KEYS = 300
"""Enough values that a keyframe is written."""


@pytest.fixture
def statements() -> Iterator[list[Said]]:
    """The statements to all databases from now on, with their threads."""
    with said() as statements:
        yield statements


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
async def test_only_inserts_and_never_on_the_event_loop(store: Store, statements: list[Said]) -> None:
    async with running(store) as wire:
        await wire.commit(CONFIG, {f"k{number}": number for number in range(KEYS)})
        await wire.commit(CONFIG, {f"k{number}": -number for number in range(KEYS)})
        await wire.commit(CONFIG, {"k0": DELETED, "k1": "again"}, validate_only=True)
        await wire.commit(CONFIG, {"k0": DELETED})
        await wire.get(CONFIG, view=pb.BLAME, keys=["k1"], prefixes=["k2"])
        await wire.get(CONFIG, version=1)
        await wire.stub.ListVersions(pb.ListVersionsRequest(config=CONFIG))
        await wire.stub.DiffVersions(pb.DiffVersionsRequest(config=CONFIG, from_version=0))
        await wire.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=CONFIG, key="k1"))
        await wire.stub.ListConfigs(pb.ListConfigsRequest())
        revert = pb.RevertConfigRequest(config=CONFIG, to_version=1, base_version=3, request_id="revert")
        await wire.stub.RevertConfig(revert)
        await wire.stub.ForkConfig(pb.ForkConfigRequest(source=CONFIG, target="new", request_id="fork"))
        assert await wire.watch(CONFIG, after=0).numbers(4) == [1, 2, 3, 4]
    verbs = {statement.split()[0].upper() for statement, _, _ in statements}
    assert {"INSERT", "SELECT"} <= verbs
    assert verbs.isdisjoint({"UPDATE", "DELETE", "REPLACE", "TRUNCATE", "MERGE", "DROP", "ALTER"})
    assert not [statement for statement, _, _ in statements if "OR REPLACE" in statement or "DO UPDATE" in statement]
    assert {thread.name.partition("_")[0] for _, _, thread in statements} == {
        "reader",
        "writer",
        "keyframes",
        "secrets",
    }


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
async def test_pages_of_blame_read_no_value(store: Store, statements: list[Said]) -> None:
    """The values are in memory. Only the headers of the versions that have set them are read."""
    async with running(store) as wire:
        await wire.commit(CONFIG, {f"k{number}": number for number in range(KEYS)})
        await wire.commit(CONFIG, {"k1": -1})
        await wire.get(CONFIG)
        statements.clear()
        request = pb.GetVersionRequest(config=CONFIG, view=pb.BLAME, page_size=KEYS // 2)
        first = await wire.stub.GetVersion(request)
        request.page_token = first.next_page_token
        second = await wire.stub.GetVersion(request)
    assert [origin.version for page in (first, second) for origin in page.origins] == [1, 2, 1]
    assert len(first.entries) + len(second.entries) == KEYS
    assert statements
    assert not [statement for statement, _, _ in statements if "digest" in statement]
