"""Last-known-good files: each holds one whole version, even if a writer dies, and never goes back to an older one."""

import fcntl
import json
import logging
import os
import random
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import testing
from lamina._flows.session import Session
from lamina._live.cache import FORSAKEN_SECONDS, Cache
from lamina._live.offline import CacheWriter
from lamina._live.tracking import HeadTracker
from lamina._mapping.entries import Entries
from lamina._mapping.values import dump, encode
from lamina.records import Version
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.live_helpers import SECONDS

TARGET = "dns:///localhost:7440"
NOW = 1_800_000_000.0
POSIX = os.name == "posix"


def entries(number: int, config: str = "app", past: str = "a", keys: int = 3, **header: Any) -> Entries:
    """Make a version in which every value is the version's number."""
    found = {
        f"key-{each}": pb.Entry(key=f"key-{each}", value=dump(encode(number, key="")), origin_version=1)
        for each in range(keys)
    }
    made = {
        "number": number,
        "config": config,
        "parent": number - 1,
        "author": "ada",
        "message": "why",
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "hash": (past * 64)[:60] + f"{number:04x}",
        "key_count": keys,
        **header,
    }
    return Entries(Version(**made), found)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), TARGET)


def only_file(folder: Path) -> Path:
    [file] = (folder / "cache").iterdir()
    return file


def loaded(cache: Cache, config: str = "app") -> int:
    """Return the number of the version in the file, and assert that it is whole; 0 if there is none."""
    kept = cache.load(config)
    if kept is None:
        return 0
    number = kept.entries.header.number
    assert {kept.entries.value(key) for key in kept.entries} <= {number}
    return number


def test_a_file_keeps_every_field_of_a_version(cache: Cache) -> None:
    written = entries(
        7,
        author_verified=True,
        change_count=2,
        changed_keys=("x", "y"),
        source_config="other",
        source_version=3,
        time=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    )
    cache.keep(written, NOW)
    kept = cache.load("app")
    assert kept is not None
    assert (kept.entries.header, list(kept.entries.messages())) == (written.header, list(written.messages()))
    assert kept.known_at == NOW
    cache.keep(empty := entries(8, keys=0), NOW)
    assert (kept := cache.load("app")) is not None
    assert kept.entries.header == empty.header


@pytest.mark.skipif(not POSIX, reason="no such modes")
def test_only_the_owner_can_read_a_file(cache: Cache, tmp_path: Path) -> None:
    cache.keep(entries(1), NOW)
    file = only_file(tmp_path)
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    beside = file.with_suffix(".new")
    beside.touch(mode=0o644)
    beside.chmod(0o644)
    cache.keep(entries(2), NOW)
    assert stat.S_IMODE(only_file(tmp_path).stat().st_mode) == 0o600


@pytest.mark.skipif(not POSIX, reason="no such modes")
def test_a_file_that_others_can_write_is_ignored(
    cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.keep(entries(1), NOW)
    only_file(tmp_path).chmod(0o620)
    assert loaded(cache) == 0
    assert "app: its last-known-good file is of no use: others" in caplog.text
    cache.keep(entries(1), NOW)
    assert loaded(cache) == 1


def test_a_file_names_its_config_and_server(cache: Cache, tmp_path: Path) -> None:
    """The first line names the config and the server. Each config of each server has its own file."""
    for config in ("shop/prod", "shop%2Fprod", "é" * 120):
        cache.keep(entries(1, config), NOW)
    Cache(str(tmp_path / "cache"), "dns:///elsewhere:7440").keep(entries(1, "shop/prod"), NOW)
    files = list((tmp_path / "cache").iterdir())
    labels = [json.loads(file.read_bytes().partition(b"\n")[0]) for file in files]
    assert len(files) == 4
    assert {(label["target"], label["config"]) for label in labels} == {
        (TARGET, "shop/prod"),
        (TARGET, "shop%2Fprod"),
        (TARGET, "é" * 120),
        ("dns:///elsewhere:7440", "shop/prod"),
    }
    assert sum(file.name.startswith("shop%2Fprod.") for file in files) == 2


def damages(content: bytes) -> Iterator[bytes]:
    """Yield truncated copies of a file, and copies with one flipped bit."""
    dice = random.Random(7)
    yield b""
    yield from (content[: dice.randrange(len(content))] for _ in range(50))
    yield content + b"\0"
    for _ in range(200):
        turned = bytearray(content)
        turned[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        yield bytes(turned)


def test_a_damaged_file_is_ignored_and_replaced(cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A single flipped bit is noticed, and the next version replaces the file."""
    cache.keep(entries(300), NOW)
    file = only_file(tmp_path)
    content = file.read_bytes()
    for damaged in damages(content):
        file.write_bytes(damaged)
        assert loaded(cache) == 0
    assert "app: its last-known-good file is of no use: " in caplog.text
    for damaged in (content[:-1], content[:-1] + b"\xff"):
        file.write_bytes(damaged)
        cache.keep(entries(300), NOW)
        assert loaded(cache) == 300


@pytest.mark.parametrize("label", [b"", b"[]", b"null", b"7", b'{"version": "x"}', b'{"version": 900}', b"{}"])
def test_a_file_with_an_unknown_label_is_ignored(cache: Cache, tmp_path: Path, label: bytes) -> None:
    """It may be of a later format, or another program's file."""
    cache.keep(entries(1), NOW)
    only_file(tmp_path).write_bytes(label + b"\n")
    assert loaded(cache) == 0
    cache.keep(entries(1), NOW)
    assert loaded(cache) == 1


def test_a_file_of_another_config_is_ignored(cache: Cache, tmp_path: Path) -> None:
    cache.keep(entries(1), NOW)
    file = only_file(tmp_path)
    cache.keep(entries(2, "other"), NOW)
    [other] = {*(tmp_path / "cache").iterdir()} - {file}
    other.replace(file)
    assert loaded(cache) == 0


def test_a_file_never_goes_back_to_an_older_version(cache: Cache) -> None:
    """P18."""
    cache.keep(entries(9), NOW)
    cache.keep(entries(8), NOW + 1)
    assert loaded(cache) == 9
    cache.keep(entries(9), NOW + 2)
    cache.keep(entries(9), NOW + 1)
    assert (kept := cache.load("app")) is not None
    assert kept.known_at == NOW + 2
    cache.keep(entries(8), NOW + FORSAKEN_SECONDS)
    assert loaded(cache) == 9


def test_a_restored_backup_replaces_the_file_after_a_while(cache: Cache) -> None:
    """After a restored backup, the older version is the head when no client has confirmed the later one for long."""
    cache.keep(entries(9), NOW)
    cache.keep(entries(5, past="b"), NOW + FORSAKEN_SECONDS)
    assert loaded(cache) == 5
    cache.keep(entries(5, past="c"), NOW)
    assert (kept := cache.load("app")) is not None
    assert kept.entries.header == entries(5, past="b").header
    cache.keep(entries(5, past="c"), NOW + FORSAKEN_SECONDS + 1)
    assert (kept := cache.load("app")) is not None
    assert kept.entries.header == entries(5, past="c").header


@pytest.mark.skipif(not POSIX, reason="no such locks")
def test_a_writer_that_waited_reads_the_file_again(cache: Cache, tmp_path: Path) -> None:
    """P18: if two write at once, the second one reads what the first one wrote."""
    folder = tmp_path / "cache"
    cache.keep(entries(7), NOW)
    file = only_file(tmp_path)
    Cache(str(tmp_path / "beside"), TARGET).keep(entries(9), NOW)
    writer = threading.Thread(target=cache.keep, args=(entries(8), NOW))
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    writer.start()
    writer.join(0.2)
    assert (writer.is_alive(), loaded(cache)) == (True, 7)
    (tmp_path / "beside" / file.name).replace(file)
    os.close(descriptor)
    writer.join(SECONDS)
    assert loaded(cache) == 9


def test_a_confirmed_head_is_written_again_after_a_while(cache: Cache) -> None:
    """The file of a quiet config records when the head was last confirmed, but not with each message."""
    now = 100.0
    tracker = HeadTracker(Session(10.0, clock=lambda: now), entries(1))
    keeping = CacheWriter(cache)
    assert keeping.is_due(tracker)
    keeping.keep(tracker)
    assert not keeping.is_due(tracker)
    tracker.known_at = now = 130.0  # the next message of a quiet config
    assert keeping.is_due(tracker)
    keeping.keep(tracker)
    assert not keeping.is_due(tracker)
    tracker.known_at = now = 200.0
    tracker.end(lamina.CursorError("gone"))
    assert not keeping.is_due(tracker)


def test_a_file_that_cannot_be_written_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, not with each version, and the live goes on."""
    (tmp_path / "cache").write_text("in the way")
    with testing.server() as server:
        server.set("app", {"x": 0})
        client = server.connect(cache_dir=tmp_path / "cache")
        live = client.live("app")
        for number in range(1, 5):
            version = server.set("app", {"x": number})
            live.wait(version, SECONDS)
        client.close()
    [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.message.startswith("app: its last-known-good file cannot be written: FileExistsError")


def test_a_client_without_files_has_no_thread_for_them(tmp_path: Path) -> None:
    def names() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    with testing.server() as server:
        server.set("app", {"x": 0})
        with server.connect(cache_dir=tmp_path) as client:
            client.config("app")
            assert not {"lamina-live", "lamina-cache"} & names()
            client.live("app")
            assert {"lamina-live", "lamina-cache"} <= names()
        with server.connect(cache_dir="") as client:
            client.live("app")
            assert "lamina-cache" not in names()


@pytest.mark.parametrize("wrong", [7, ["x"], b"\xff"])
def test_cache_dir_must_be_a_path(wrong: Any) -> None:
    with pytest.raises((TypeError, lamina.InvalidError)):
        lamina.connect(cache_dir=wrong)
