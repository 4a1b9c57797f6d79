"""What the audit tells of calls, and what happens to a call that it cannot tell."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.audit.audit import REFUSALS_A_SECOND, Audit
from lamina_server.audit.file import AuditFile
from lamina_server.audit.line import LIMIT_BYTES, line_of
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import Reason
from lamina_server.store.memory import MemoryStore
from tests.server.bare_client import Wire, commit_request, refusal, running

CONFIG = "shop/prod"
NOW_US = 1_795_000_000_000_001
CANARY = "canary-4711"


@asynccontextmanager
async def audited(path: Path, **settings: Any) -> AsyncIterator[Wire]:
    """Run a server with an audit."""
    with closing(AuditFile(path)) as file:
        async with running(MemoryStore(), audit_file=file, now_us=lambda: NOW_US, **settings) as wire:
            yield wire


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(path: Path) -> list[dict[str, Any]]:
    """Return the lines, without what differs from run to run."""
    differs = {"time", "address", "call"}
    return [{key: value for key, value in line.items() if key not in differs} for line in lines(path)]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_a_write_is_told_before_and_after_it(path: Path) -> None:
    async with audited(path) as wire:
        values = {"b": CANARY, "a": CANARY}
        await wire.stub.Commit(commit_request(CONFIG, values, request_id="r1"), metadata=[("lamina-author", "ada")])
    assert told(path) == [
        {
            "event": "write",
            "method": "Commit",
            "author": "ada",
            "config": CONFIG,
            "request_id": "r1",
            "keys": ["b", "a"],
        },
        {"event": "written", "version": 1, "created": True},
    ]
    first, second = lines(path)
    assert first["call"] == second["call"]
    assert first["time"] == "2026-11-18T11:06:40.000001Z"
    assert first["address"].startswith(("ipv4:127.0.0.1:", "ipv6:%5B::1%5D:"))
    assert CANARY not in str(lines(path))
    assert mode(path) == 0o600


async def test_a_write_that_is_refused_is_told_with_its_reason(path: Path) -> None:
    async with audited(path) as wire:
        await wire.commit(CONFIG, {"a": 1})
        await wire.commit(CONFIG, {"a": 2}, base_version=1)
        assert (await refusal(wire.commit(CONFIG, {"a": 3}, base_version=1))).reason == "CONFLICT"
        fork = pb.ForkConfigRequest(source=CONFIG, target=CONFIG, request_id="f")
        assert (await refusal(wire.stub.ForkConfig(fork))).reason == "CONFIG_EXISTS"
    events = [(line["event"], line.get("method"), line.get("reason")) for line in told(path)[4:]]
    assert events == [
        ("write", "Commit", None),
        ("refused", None, "CONFLICT"),
        ("write", "ForkConfig", None),
        ("refused", None, "CONFIG_EXISTS"),
    ]


async def test_a_token_in_the_place_of_a_name_is_not_told(path: Path) -> None:
    """The write is refused, and its first line has its keys."""
    pasted = f"lamina_k3v9q2x7m4d1_{CANARY * 8}"
    async with audited(path) as wire:
        values = {f"grants/token:{pasted} **": pb.Value(json="{}")}
        await refusal(wire.stub.Commit(commit_request(ACCESS_CONFIG, values, request_id="r1")))
    assert lines(path)[0]["keys"] == ["grants/token:lamina_k3v9q2x7m4d1_... **"]
    assert CANARY not in str(lines(path))


async def test_reads_and_dry_runs_are_not_told_and_bad_requests_are(path: Path) -> None:
    async with audited(path) as wire:
        await wire.commit(CONFIG, {"a": 1}, validate_only=True)
        await refusal(wire.get(CONFIG))
        assert told(path) == []
        await refusal(wire.get("not a name"))
    assert [line["reason"] for line in told(path)] == ["BAD_CONFIG_NAME"]


async def test_a_call_without_a_credential_is_told(path: Path) -> None:
    async with audited(path, access="closed") as wire:
        assert (await refusal(wire.get(CONFIG))).reason == "NO_CREDENTIALS"
        bad = wire.stub.GetVersion(
            pb.GetVersionRequest(config=CONFIG), metadata=[("authorization", f"Bearer lamina_{CANARY}_x")]
        )
        assert (await refusal(bad)).reason == "BAD_CREDENTIALS"
    assert told(path) == [
        {"event": "refused", "method": "GetVersion", "reason": reason}
        for reason in ("NO_CREDENTIALS", "BAD_CREDENTIALS")
    ]
    assert CANARY not in str(lines(path))


async def test_a_flood_of_refusals_is_counted(path: Path) -> None:
    """What callers without a credential do cannot fill the disk."""
    async with audited(path, access="closed") as wire:
        for _ in range(5 * REFUSALS_A_SECOND):
            await refusal(wire.get(CONFIG))
    assert 0 < len(lines(path)) < 5 * REFUSALS_A_SECOND


async def test_what_cannot_be_told_is_not_written() -> None:
    """/dev/full is a disk without room."""
    async with audited(Path("/dev/full")) as wire:
        with capture_logs() as logs:
            refused = await refusal(wire.commit(CONFIG, {"a": 1}))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert refused.metadata == {"nothing_written": "true"}
        assert "cannot write its audit" in refused.text
        assert (await refusal(wire.get(CONFIG))).reason == "CONFIG_NOT_FOUND"
    assert ("audit not written", "No space left on device") in [(log["event"], log["reason"]) for log in logs]


async def test_with_best_effort_it_is_written_nevertheless() -> None:
    async with audited(Path("/dev/full"), audit_best_effort=True) as wire:
        assert (await wire.commit(CONFIG, {"a": 1})).version.version == 1


async def test_a_secret_is_told_before_it_is_revealed(path: Path) -> None:
    """Also what looks absent to the caller is told as the refusal that it is."""
    with closing(AuditFile(path)) as file:
        call = Audit(file, now_us=lambda: NOW_US).of_call("GetVersion", "ipv4:127.0.0.1:1")
        call.reveal(CONFIG, 3, ["db/password"])
        call.refused(Reason.NOT_ALLOWED, "payroll/prod")
    assert told(path) == [
        {"event": "revealed", "method": "GetVersion", "config": CONFIG, "version": 3, "keys": ["db/password"]},
        {"event": "refused", "method": "GetVersion", "config": "payroll/prod", "reason": "NOT_ALLOWED"},
    ]


def test_a_file_that_was_moved_away_is_opened_anew(path: Path) -> None:
    with closing(AuditFile(path)) as file:
        file.write(b"1\n")
        path.rename(path.with_suffix(".1"))
        file.write(b"2\n")
        file.reopen()
        file.write(b"3\n")
    assert (path.with_suffix(".1").read_bytes(), path.read_bytes()) == (b"1\n2\n", b"3\n")


def test_a_file_that_cannot_be_opened_anew_is_kept(path: Path) -> None:
    with closing(AuditFile(path)) as file:
        audit = Audit(file, now_us=lambda: NOW_US)
        path.rename(path.with_suffix(".1"))
        path.mkdir()
        with capture_logs() as logs:
            audit.reopen()
            assert audit.look() is None
            assert audit.tell("written", {})
        sound = [audit.is_sound]
        path.rmdir()
        assert audit.look() is None
        sound.append(audit.is_sound)
        assert audit.tell("write", {})
    assert sound == [False, True]
    assert {log["event"] for log in logs} == {"audit file not reopened"}
    assert ([line["event"] for line in lines(path.with_suffix(".1"))], lines(path)[0]["event"]) == (
        ["written"],
        "write",
    )


@pytest.mark.parametrize("put", ["nothing", "a file"])
def test_a_file_that_was_removed_or_replaced_is_made_anew_before_the_next_line(path: Path, put: str) -> None:
    with closing(AuditFile(path)) as file:
        audit = Audit(file, now_us=lambda: NOW_US)
        path.unlink()
        if put == "a file":
            path.touch()
        with capture_logs() as logs:
            assert audit.tell("write", {})
    assert [line["event"] for line in lines(path)] == ["write"]
    assert [log["event"] for log in logs] == ["audit file reopened"]


def test_a_rotation_loses_no_line(path: Path) -> None:
    """Neither one by renaming alone, nor one with a signal, whatever comes between the two."""
    with closing(AuditFile(path)) as file:
        audit = Audit(file, now_us=lambda: NOW_US)
        for number in range(9):
            audit.tell("write", {"call": str(number)})
            path.rename(path.with_suffix(f".{number}"))
            if number % 3 == 1:
                path.touch(0o600)  # as logrotate's `create` does
            if number % 3 == 2:
                audit.tell("written", {"call": str(number)})
                audit.reopen()
        audit.tell("write", {"call": "9"})
    found = [(line["event"], line["call"]) for each in path.parent.iterdir() for line in lines(each)]
    numbers = [("write", str(number)) for number in range(10)]
    assert sorted(found) == sorted([*numbers, *(("written", number) for number in "258")])


def test_a_line_of_many_keys_says_how_many_there_are() -> None:
    few, many = ["a", "b"], [f"{number:0500}" for number in range(10_000)]
    assert json.loads(line_of(NOW_US, "write", {}, few))["keys"] == few
    line = line_of(NOW_US, "write", {"config": "ä" * 255}, many)
    assert len(line) <= LIMIT_BYTES
    found = json.loads(line)
    assert found["keys"] == many[: len(found["keys"])]
    assert found["key_count"] == len(many)


def test_a_line_is_safe_in_a_terminal() -> None:
    line = line_of(NOW_US, "write", {"config": "a\n\x1b[2J\x7f\u202e"}, ["\n"])
    assert line.isascii()
    assert line.decode().rstrip("\n").isprintable()
