"""The read cache: a value that was read before is found at once, and is never out of date."""

import subprocess
import sys
import threading
from typing import Any

import pytest

from lamina._mapping.draft import Draft
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina.records import unwritten
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.sdk import Sdk, of
from tests.support.server import ServerProcess

VALUES = {
    "a": pb.Value(string="text"),
    "b": pb.Value(string=""),
    "c": pb.Value(int64=0),
    "d": pb.Value(bool=False),
    "e": pb.Value(double=0.0),
    "f": pb.Value(bytes=b""),
    "g": pb.Value(null=0),  # type: ignore[arg-type]
    "h": pb.Value(json='{"x":[1]}'),
}
READ = {"a": "text", "b": "", "c": 0, "d": False, "e": 0.0, "f": b"", "g": None, "h": {"x": [1]}}


def entries() -> Entries:
    return Entries(unwritten("app"), {key: pb.Entry(key=key, value=value) for key, value in VALUES.items()})


@pytest.mark.parametrize("kind", [Snapshot, Draft])
def test_a_value_stays_the_same_object(kind: Any) -> None:
    """Values of each kind, also empty ones."""
    mapping = kind(entries())
    for key, value in READ.items():
        first = mapping[key]
        assert first == value
        assert isinstance(first, type(value))
        assert mapping[key] is first
        assert key in mapping
    assert mapping.to_dict() == READ
    assert type(mapping.to_dict()["h"]["x"]) is list
    for _ in range(2):
        with pytest.raises(KeyError):
            mapping["z"]


def test_a_staged_change_replaces_a_cached_value() -> None:
    draft = Draft(entries())
    assert (draft["a"], "a" in draft) == ("text", True)
    draft["a"] = "other"
    assert (draft["a"], draft["a"]) == ("other", "other")
    del draft["a"]
    assert ("a" in draft, draft.get("a")) == (False, None)
    draft["a"] = "text"
    assert (draft["a"], draft.changes) == ("text", {})
    draft["a"] = "other"
    assert draft["a"] == "other"
    draft.discard()
    assert draft["a"] == "text"


def test_a_cached_read_is_declared_too() -> None:
    """After the first read, a read before a change, and a read after a discard."""
    draft = Draft(entries())
    assert draft["a"] == draft["a"]
    draft["a"] = "other"
    assert draft["a"] == draft["a"]
    draft["b"] = "not read"
    assert draft._stage.declared_reads() == ["a"]
    draft.discard()
    draft["a"] = "other"
    assert draft._stage.declared_reads() == []
    draft.discard()
    assert draft["a"] == "text"
    draft["a"] = "other"
    assert draft._stage.declared_reads() == ["a"]


async def test_reads_and_commits_start_no_thread(sdk: Sdk, server: ServerProcess, config_name: str) -> None:
    """This counts the threads of Lamina, not those of gRPC."""
    before = set(threading.enumerate())
    client = sdk.connect(server.target)
    config = await of(client.config(config_name, create=True))
    config["x"] = 1
    await of(config.commit())
    assert (await of(client.config(config_name)))["x"] == 1
    assert (await of(config.at(1)))["x"] == 1
    started = set(threading.enumerate()) - before
    assert not [thread.name for thread in started if thread.name.startswith("lamina")]


FORKING = """
import os, sys, threading
import lamina

client = lamina.connect(sys.argv[1])
cfg = client.config("reading", create=True)
cfg["x"] = 1
cfg.commit()
first, second, closed = (client.live("reading") for _ in range(3))
assert first["x"] == second["x"] == closed["x"] == 1
closed.close()
child = os.fork()
if not child:
    threads = threading.active_count()  # before the first read
    assert first["x"] == 1
    cfg["x"] = 2
    version = cfg.commit()
    first.wait(version)
    print(threads, first["x"], second["x"], first["x"], closed["x"], flush=True)
    grandchild = os.fork()
    if not grandchild:
        cfg["x"] = 3
        second.wait(cfg.commit())
        print(second["x"], first["x"], closed["x"], flush=True)
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
assert os.waitpid(child, 0)[1] == 0
first.wait(3)
print(first["x"], second["x"], closed["x"])
"""


def test_a_live_that_was_read_before_a_fork_follows_in_the_child(server: ServerProcess) -> None:
    """This holds for lives that were read before the fork and for others; a closed live stays as it is."""
    program = [sys.executable, "-W", "ignore", "-c", FORKING, server.target]
    done = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.returncode) == ("1 2 2 2 1\n3 3 1\n3 3 1\n", 0), done.stderr
