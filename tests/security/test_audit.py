"""What the audit tells of the callers of a closed server."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.audit.file import AuditFile
from lamina_server.audit.line import LIMIT_BYTES
from lamina_server.rpc import replies
from lamina_server.rpc.replies import ReplyBudget
from lamina_server.store.memory import MemoryStore
from tests.security.closed import closed
from tests.security.people import NOBODY, People
from tests.security.secret_helpers import CANARY, key_file, secret
from tests.server.bare_client import commit_request, refusal

GUESSES = ("wrong", CANARY)
TOLD = ("event", "principal", "method", "config", "reason")


def told(path: Path) -> list[tuple[Any, ...]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [tuple(line.get(name) for name in TOLD) for line in lines]


async def test_what_looks_absent_to_a_caller_is_told_as_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    people = People()
    ada, eve = people.admin("ada", "shop/**"), people.token("eve")
    with closing(AuditFile(path)) as file:
        async with closed(MemoryStore(), people, audit_file=file) as server:
            await server.stub(ada).Commit(commit_request("shop/prod", {"a": 1}))
            assert (await refusal(server.wire(eve).get("shop/prod"))).reason == "CONFIG_NOT_FOUND"
            assert (await refusal(server.wire(eve).commit("shop/prod", {"a": 2}))).reason == "NOT_ALLOWED"
            watch = server.wire(eve).watch("shop/prod")
            await watch.bookmark()
            watch.cancel()
            assert (await refusal(server.wire().get("shop/prod"))).reason == "NO_CREDENTIALS"
    assert told(path) == [
        ("write", "token:ada", "Commit", "shop/prod", None),
        ("written", None, None, None, None),
        ("refused", "token:eve", "GetVersion", "shop/prod", "NOT_ALLOWED"),
        ("refused", "token:eve", "Commit", "shop/prod", "NOT_ALLOWED"),
        ("refused", "token:eve", "WatchKeyHistory", "shop/prod", "NOT_ALLOWED"),
        ("refused", None, "GetVersion", None, "NO_CREDENTIALS"),
    ]
    assert not any(person.token in path.read_text() for person in (ada, eve))


async def test_a_write_that_finds_no_room_is_told_with_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not write at all does not wait for room."""
    path = tmp_path / "audit.jsonl"
    people = People()
    ada, eve = people.admin("ada", "shop/**"), people.token("eve")
    wait_for_room = ReplyBudget.wait_for_room

    async def wait(budget: ReplyBudget, holder: str) -> None:
        budget.hold_anyway(holder, 10**9)
        await wait_for_room(budget, holder)

    with closing(AuditFile(path)) as file:
        async with closed(MemoryStore(), people, audit_file=file) as server:
            monkeypatch.setattr(replies, "WAIT_SECONDS", 0.01)
            monkeypatch.setattr(ReplyBudget, "wait_for_room", wait)
            assert (await refusal(server.wire(ada).commit("shop/prod", {"a": 1}))).reason == "TOO_MANY"
            assert (await refusal(server.wire(eve).commit("shop/prod", {"a": 2}))).reason == "NOT_ALLOWED"
    assert told(path) == [
        ("refused", "token:ada", "Commit", "shop/prod", "TOO_MANY"),
        ("refused", "token:eve", "Commit", "shop/prod", "NOT_ALLOWED"),
    ]


async def test_reflection_without_a_credential_is_told(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    people = People()
    people.admin()
    with closing(AuditFile(path)) as file:
        async with closed(MemoryStore(), people, audit_file=file) as server:
            call: Any = server.channel().stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
            )()
            await call.done_writing()
            assert await call.code() is not None
    assert told(path) == [("refused", None, "ServerReflectionInfo", None, "NO_CREDENTIALS")]


async def test_a_revealed_secret_is_told_and_a_sealed_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    people = People()
    ada, bob = people.admin("ada", "shop/**", reveal=True), people.reader("bob", "shop/**")
    with closing(AuditFile(path)) as file:
        async with closed(MemoryStore(), people, audit_file=file, secret_key_file=key_file(tmp_path)) as server:
            await server.stub(ada).Commit(commit_request("shop/prod", {"db/password": secret(), "a": 1}))
            await server.wire(bob).get("shop/prod", view=pb.ENTRIES)
            assert CANARY in str(await server.wire(ada).get("shop/prod", view=pb.ENTRIES))
    (line,) = [json.loads(line) for line in path.read_text().splitlines() if '"revealed"' in line]
    assert (line["principal"], line["config"], line["version"]) == ("token:ada", "shop/prod", 1)
    assert line["keys"] == ["db/password"]
    assert CANARY not in path.read_text()


async def test_a_secret_that_cannot_be_told_is_not_revealed(tmp_path: Path) -> None:
    """/dev/full is a disk without room."""
    people, store, key = People(), MemoryStore(), key_file(tmp_path)
    ada = people.admin("ada", "shop/**", reveal=True)
    async with closed(store, people, secret_key_file=key) as server:
        await server.stub(ada).Commit(commit_request("shop/prod", {"db/password": secret()}))
    with closing(AuditFile(Path("/dev/full"))) as file:
        async with closed(store, people, audit_file=file, secret_key_file=key) as server:
            refused = await refusal(server.wire(ada).get("shop/prod", view=pb.ENTRIES))
            assert (refused.reason, CANARY in str(refused)) == ("STORE_UNAVAILABLE", False)


async def test_a_dry_run_that_compares_a_secret_is_told(tmp_path: Path) -> None:
    """Its answer says whether a content is equal: so who may not reveal it could guess it unnoticed."""
    path, store, key, people = tmp_path / "audit.jsonl", MemoryStore(), key_file(tmp_path), People()
    bob = people.writer("bob", "shop/**")
    with closing(AuditFile(path)) as file:
        async with closed(store, people, audit_file=file, secret_key_file=key) as server:
            await server.stub(bob).Commit(commit_request("shop/prod", {"db/password": secret(), "a": 1}))
            tried = [commit_request("shop/prod", {"db/password": secret(text)}, validate_only=True) for text in GUESSES]
            answers = [await server.stub(bob).Commit(each) for each in tried]
            assert [answer.version.change_count for answer in answers] == [1, 0]
            await server.stub(bob).Commit(commit_request("shop/prod", {"a": 2}, validate_only=True))
    lines = [json.loads(line) for line in path.read_text().splitlines() if '"compared"' in line]
    assert [(line["principal"], line["config"], line["keys"]) for line in lines] == [
        ("token:bob", "shop/prod", ["db/password"])
    ] * len(GUESSES)
    assert CANARY not in path.read_text()
    with closing(AuditFile(Path("/dev/full"))) as file:
        async with closed(store, people, audit_file=file, secret_key_file=key) as server:
            refused = await refusal(server.stub(bob).Commit(tried[0]))
            assert (refused.reason, refused.metadata["nothing_written"]) == ("STORE_UNAVAILABLE", "true")


async def test_a_line_is_short_however_long_the_name_of_a_method_is(tmp_path: Path) -> None:
    """A pipe takes only short lines as a whole, and callers without a credential choose this name."""
    path = tmp_path / "audit.jsonl"
    people = People()
    ada = people.admin("ada")
    with closing(AuditFile(path)) as file:
        async with closed(MemoryStore(), people, audit_file=file) as server:
            for person in (NOBODY, ada):
                call: Any = server.channel(person).unary_unary(f"/lamina.v1.ConfigService/{'x' * 6_000}")
                text = (await refusal(call(b""))).text
                assert len(text) < 200
    (line,) = path.read_bytes().splitlines(keepends=True)
    assert len(line) < LIMIT_BYTES
    assert json.loads(line)["method"] == "x" * 100 + "…"
