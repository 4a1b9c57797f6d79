"""A call that waits is decided anew before it is answered, or handed to the writer: a right may be gone by then."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.rpc.replies import ReplyBudget
from lamina_server.secrets.live import LiveKeyring
from lamina_server.store.memory import MemoryStore
from lamina_server.store.readers import Readers
from tests.security.calls import access_of
from tests.security.closed import Closed, closed
from tests.security.people import People, Person
from tests.security.secret_helpers import CANARY, key_file, secret
from tests.server.bare_client import commit_request, refusal

CONFIG = "shop/prod"
BIG = {"a": "x" * 8192, "b": 1}
READS: dict[str, Any] = {
    "GetVersion": pb.GetVersionRequest(config=CONFIG, view=pb.BLAME),
    "ListVersions": pb.ListVersionsRequest(config=CONFIG),
    "DiffVersions": pb.DiffVersionsRequest(config=CONFIG, from_version=0),
    "GetKeyHistory": pb.GetKeyHistoryRequest(config=CONFIG, key="a"),
    "ListSecretKeys": pb.ListSecretKeysRequest(config=CONFIG),
}


class Ada:
    """A writer of one config who may reveal, and what takes rights from her."""

    def __init__(self) -> None:
        self.people = People()
        self.admin = self.people.admin(reveal=True)
        self.person: Person = self.people.writer("ada", "shop/**", reveal=True)
        self._grant = "grants/token:ada shop/**"

    def loses(self, server: Closed, right: str) -> None:
        """Let another access hold."""
        if right == "grant":
            del self.people.values[self._grant]
        elif right == "token":
            del self.people.values[f"tokens/{self.person.token_id}"]
        elif right == "reveal":
            self.people.values[self._grant] = {"role": "writer"}
        server.application.access.swap(access_of(self.people, version=server.application.access.current.version + 1))


@pytest.fixture
def ada() -> Ada:
    return Ada()


def before(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, act: Callable[[], None]) -> None:
    """Let something happen, once, while a call waits in a method."""
    original = getattr(owner, name)
    done: list[bool] = []

    async def waiting(*given: Any) -> Any:
        await asyncio.sleep(0)
        if not done:
            done.append(True)
            act()
        return await original(*given)

    monkeypatch.setattr(owner, name, waiting)


@pytest.mark.parametrize(
    ("right", "reason"), [("grant", "CONFIG_NOT_FOUND"), ("token", "BAD_CREDENTIALS"), ("reveal", "")]
)
@pytest.mark.parametrize("method", READS)
async def test_a_read_that_waits_for_a_thread(
    ada: Ada, method: str, right: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with closed(MemoryStore(), ada.people) as server:
        await server.wire(ada.admin).commit(CONFIG, BIG)
        before(monkeypatch, Readers, "read", lambda: ada.loses(server, right))
        answer = getattr(server.stub(ada.person), method)(READS[method])
        if reason:
            assert (await refusal(answer)).reason == reason
        else:
            assert await answer
        assert server.application.access.current.version == 2


async def test_a_list_that_waits_for_a_thread(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    async with closed(MemoryStore(), ada.people) as server:
        await server.wire(ada.admin).commit(CONFIG, BIG)
        stub = server.stub(ada.person)
        assert [found.name for found in (await stub.ListConfigs(pb.ListConfigsRequest())).configs] == [CONFIG]
        before(monkeypatch, Readers, "read", lambda: ada.loses(server, "grant"))
        assert not (await stub.ListConfigs(pb.ListConfigsRequest())).configs


@pytest.mark.parametrize(("right", "reason"), [("grant", "CONFIG_NOT_FOUND"), ("token", "BAD_CREDENTIALS")])
async def test_a_read_that_waits_for_room(ada: Ada, right: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller has not taken another answer yet. It takes it when its right has gone."""
    hold, other_bytes = ReplyBudget.hold, 10**9

    def hold_another(budget: ReplyBudget, holder: str, size_bytes: int) -> bool:
        budget.hold_anyway(holder, other_bytes)
        asyncio.get_running_loop().call_later(0.05, budget.release, holder, other_bytes)
        return hold(budget, holder, size_bytes)

    async with closed(MemoryStore(), ada.people) as server:
        await server.wire(ada.admin).commit(CONFIG, BIG)
        monkeypatch.setattr(ReplyBudget, "hold", hold_another)
        before(monkeypatch, ReplyBudget, "wait", lambda: ada.loses(server, right))
        assert (await refusal(server.wire(ada.person).get(CONFIG, view=pb.ENTRIES))).reason == reason


@pytest.mark.parametrize(
    ("owner", "name"), [(ReplyBudget, "wait_for_room"), (LiveKeyring, "ensure_sealing")], ids=["room", "a key"]
)
@pytest.mark.parametrize(("right", "reason"), [("grant", "NOT_ALLOWED"), ("token", "BAD_CREDENTIALS")])
async def test_a_write_that_waits(
    ada: Ada, owner: type, name: str, right: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with closed(MemoryStore(), ada.people, secret_key_file=key_file(tmp_path)) as server:
        await server.wire(ada.admin).commit(CONFIG, {"a": 1})
        before(monkeypatch, owner, name, lambda: ada.loses(server, right))
        refused = await refusal(server.stub(ada.person).Commit(commit_request(CONFIG, {"b": secret()})))
        assert refused.reason == reason
        assert (await server.wire(ada.admin).get(CONFIG)).version == 1


async def test_a_dry_run_that_waits(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    async with closed(MemoryStore(), ada.people) as server:
        await server.wire(ada.admin).commit(CONFIG, {"a": 1})
        before(monkeypatch, ReplyBudget, "wait_for_room", lambda: ada.loses(server, "grant"))
        assert (await refusal(server.wire(ada.person).commit(CONFIG, {"a": 2}, validate_only=True))).reason == (
            "NOT_ALLOWED"
        )


async def test_a_fork_whose_source_becomes_forbidden(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked to begin again, and looks absent then."""
    ada.people.grant(ada.person, "writer", "mine/**")
    async with closed(MemoryStore(), ada.people) as server:
        await server.wire(ada.admin).commit(CONFIG, {"a": 1})
        before(monkeypatch, LiveKeyring, "refresh", lambda: ada.loses(server, "grant"))
        fork = pb.ForkConfigRequest(source=CONFIG, target="mine/prod", request_id="f")
        first = await refusal(server.stub(ada.person).ForkConfig(fork))
        assert (first.reason, first.metadata) == ("TOO_SLOW", {"nothing_written": "true"})
        assert (await refusal(server.stub(ada.person).ForkConfig(fork))).reason == "CONFIG_NOT_FOUND"
        assert (await refusal(server.wire(ada.admin).get("mine/prod"))).reason == "CONFIG_NOT_FOUND"


@pytest.mark.parametrize("call", ["a read", "a write"])
async def test_a_secret_is_not_revealed_after_the_right_has_gone(
    ada: Ada, call: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with closed(MemoryStore(), ada.people, secret_key_file=key_file(tmp_path)) as server:
        await server.stub(ada.admin).Commit(commit_request(CONFIG, {"db/password": secret()}))
        before(monkeypatch, LiveKeyring, "ensure_unsealing", lambda: ada.loses(server, "reveal"))
        if call == "a read":
            answer = await server.wire(ada.person).get(CONFIG, view=pb.ENTRIES)
            assert answer.entries[0].value.secret.sealed
        else:
            asked = commit_request(CONFIG, {"b": 1}, base_version=0, changes_limit_bytes=100_000)
            answer = await server.stub(ada.person).Commit(asked)
            assert answer.version.version == 2
        assert CANARY not in str(answer)


async def test_a_watch_ends_when_the_right_to_reveal_is_lost(ada: Ada, tmp_path: Path) -> None:
    """A message with contents may wait for room. Clients go on after their cursor, without contents."""
    async with closed(MemoryStore(), ada.people, secret_key_file=key_file(tmp_path)) as server:
        await server.stub(ada.admin).Commit(commit_request(CONFIG, {"a": 1}))
        watch = server.wire(ada.person).watch(CONFIG)
        await watch.bookmark()
        ada.loses(server, "reveal")
        ended = await asyncio.wait_for(refusal(watch.message()), 10)
        assert (ended.reason, ended.text) == (
            "TOO_SLOW",
            "the caller's access has changed; watch again after your cursor",
        )
