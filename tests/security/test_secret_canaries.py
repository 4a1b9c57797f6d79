"""The content of a secret is in no file, log or error, and in no memory below rpc/."""

import asyncio
import gc
import subprocess
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.cache.heads import Heads
from lamina_server.commits.committer import Committer
from lamina_server.domain.planning import Author
from lamina_server.domain.secrets import Content
from lamina_server.domain.values import Kind, Value
from lamina_server.feed.feed import Feed
from lamina_server.rpc.secrets import Secrets
from lamina_server.rpc.watch.replay import ReplayCache
from lamina_server.secrets.sealing import DataKey
from lamina_server.settings import Settings
from lamina_server.store.open import open_store
from lamina_server.wire import parse
from tests.security.secret_helpers import CANARY, key_file, plain_of, secret, value_of
from tests.server.bare_client import commit_request, refusal, running
from tests.support.server import ServerProcess

AUTHOR = Author("ada")
SETTINGS = Settings()
CONTENTS = (CANARY, f"{CANARY}-2", f"{CANARY}-3")


ROOMS = (Heads, Feed, ReplayCache, Committer)
CODE = (types.ModuleType, types.FunctionType, types.FrameType, types.CoroutineType, asyncio.Task, asyncio.Future, type)
KEPT = (Secrets,)
"""What keeps revealed replies on purpose."""


def held_by(roots: Iterable[Any]) -> Iterator[Any]:
    """Yield all objects that some objects hold, and not what the code around them holds."""
    todo = list(roots)
    seen = set(map(id, todo))
    while todo:
        found = todo.pop()
        yield found
        for each in gc.get_referents(found):
            if id(each) not in seen and not isinstance(each, CODE + KEPT):
                seen.add(id(each))
                todo.append(each)


async def test_memory_below_rpc_holds_no_content(tmp_path: Path) -> None:
    """Heads, rings, replays and proposals. What rpc/ keeps revealed is not among them."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    async with running(store, secret_key_file=key_file(tmp_path)) as wire:
        for content in CONTENTS:
            await wire.stub.Commit(commit_request("a", {"x": secret(content), "y": "a text that is found"}))
        watching = wire.watch("a", 0)
        await watching.parts(3)
        assert await plain_of(wire, "a", "x") == CONTENTS[-1]
        await wire.stub.ForkConfig(pb.ForkConfigRequest(source="a", target="b", request_id="f"))
        await refusal(wire.stub.Commit(commit_request("a", {"x": secret(CANARY)}, base_version=2)))
        held = [
            each if isinstance(each, bytes) else each.encode(errors="replace")
            for each in held_by(each for each in gc.get_objects() if isinstance(each, ROOMS))
            if isinstance(each, bytes | str)
        ]
        assert any(b"a text that is found" in each for each in held), "the walk reaches the heads"
        assert [each for each in held if CANARY.encode() in each] == []
        watching.cancel()
    store.close()


def test_files_and_logs_hold_no_content(tmp_path: Path) -> None:
    """A real server, through commits, refusals, large forks that are staged, backups' files and a bug-free log."""
    key = key_file(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    server = ServerProcess(f"sqlite:///{folder}/lamina.db", "--secret-key-file", str(key))
    with server, grpc.insecure_channel(server.target) as channel:
        stub = ConfigServiceStub(channel)
        many = {f"k{number}": secret(f"{CANARY}-{number}") for number in range(6_000)}
        stub.Commit(commit_request("large", many))
        stub.ForkConfig(pb.ForkConfigRequest(source="large", target="fork", request_id="f"))
        stub.Commit(commit_request("a", {"x": secret()}))
        stub.Commit(commit_request("a", {"x": secret(f"{CANARY}-2")}, validate_only=True))
        for bad in (
            {"x": secret(), "y": pb.Value()},
            {"x": pb.Value(secret=pb.Secret(json=CANARY))},
            {"x": pb.Value(secret=pb.Secret(string=f"{CANARY}\x00"))},
            {"x": pb.Value(secret=pb.Secret(sealed=CANARY.encode()))},
        ):
            with pytest.raises(grpc.RpcError) as raised:
                stub.Commit(commit_request("a", bad))
            assert CANARY not in str(raised.value)
            trailers: Any = raised.value.trailing_metadata()
            assert CANARY.encode() not in b"".join(
                value if isinstance(value, bytes) else value.encode() for _, value in trailers
            )
        found = stub.GetVersion(pb.GetVersionRequest(config="fork", keys=["k7"]))
        assert found.entries[0].value.secret.string == f"{CANARY}-7"
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {"lamina.db", "lamina.db-wal"} <= {path.name for path in files}
        data = b"".join(path.read_bytes() for path in files)
        assert b"k7" in data
        assert CANARY.encode() not in data
        assert key.read_bytes().strip() not in data
    assert CANARY not in server.log + server.printed
    assert key.read_text().strip() not in server.log + server.printed
    assert CANARY.encode() not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


BUGS = """
import asyncio, sys
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server import logs
from lamina_server.secrets.sealing import DataKey
from lamina_server.store.memory import MemoryStore
from tests.security.secret_helpers import secret
from tests.server.bare_client import commit_request, refusal, running

def fail(*_):
    raise RuntimeError("a bug")

async def main():
    logs.configure()
    async with running(MemoryStore(), secret_key_file=sys.argv[1]) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret()}))
        DataKey.unseal = fail
        assert (await refusal(wire.stub.GetVersion(pb.GetVersionRequest(config="a")))).reason == "BUG"
        DataKey.seal = fail
        assert (await refusal(wire.stub.Commit(commit_request("a", {"x": secret()})))).reason == "BUG"

asyncio.run(main())
"""


def test_a_bug_in_sealing_logs_no_content(tmp_path: Path) -> None:
    program = [sys.executable, "-c", BUGS, str(key_file(tmp_path))]
    done = subprocess.run(program, check=True, capture_output=True)
    assert done.stderr.count(b'"event": "bug"') == 2, done.stderr
    assert CANARY.encode() not in done.stderr + done.stdout


def test_no_repr_shows_a_content() -> None:
    content = Content(Kind.STRING, CANARY.encode())
    key = DataKey.of(7, bytes(64))
    request = parse.commit(commit_request("a", {"x": secret()}).SerializeToString(), AUTHOR, SETTINGS)
    shown = [repr(each) for each in (content, [content], key, Value.of_secret(b"sealed"), request)]
    assert not [each for each in shown if CANARY in each or "sealed'" in each]


async def test_the_sealed_bytes_tell_no_more_of_a_length_than_32_bytes(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    async with running(store, secret_key_file=key_file(tmp_path)) as wire:
        lengths = {}
        for length in (0, 1, 29, 30, 31, 62, 63):
            await wire.stub.Commit(commit_request("a", {"x": secret("x" * length)}))
            lengths[length] = len((await value_of(wire, "a", "x")).secret.sealed)
    assert lengths == {0: 60, 1: 60, 29: 60, 30: 60, 31: 92, 62: 92, 63: 124}
    store.close()
