"""`lamina.open` and `lamina.bundle.export`: a bundle answers as its server did, and every damage is an error."""

import copy
import inspect
import io
import multiprocessing
import os
import pickle
import random
import sqlite3
import stat
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.bundle import Bundle, export
from lamina.records import MISSING
from lamina_protos import bundle as framing
from lamina_protos.v1 import lamina_pb2 as pb
from tests.support.bundles import CONFIG, TAMPERINGS, blocks, hashed, history, packed
from tests.support.server import ServerProcess

COMMITS: list[dict[str, Any]] = [{"x": 27, "y": 450}, {"x": 28}, {"y": MISSING}]
ALL_KINDS = {
    "null": None,
    "boolean": True,
    "integer": -(2**63),
    "float": 0.1,
    "text": "schön \U0001f600",
    "bytes": bytes(range(256)),
    "json": {"b": [1, 1.0, None], "ä": "é"},
    "é/key": 1,
}
READING = ("at", "diff", "log", "history", "blame", "origin", "verify", "to_dict", "__getitem__", "__contains__")


@pytest.fixture
def client(target: str) -> Iterator[lamina.Client]:
    with lamina.connect(target, author="ada") as client:
        yield client


@pytest.fixture
def cfg(client: lamina.Client, config_name: str) -> lamina.Config:
    """A config with every kind of value and of change: deletions, a revert, a large version, a second author."""
    cfg = client.config(config_name, create=True)
    cfg |= ALL_KINDS
    cfg.commit("all kinds")
    for number in range(3):
        cfg["integer"] = number
        cfg.commit(f"number {number}")
    del cfg["null"]
    cfg["json"] = []
    cfg.commit("fewer")
    cfg |= {f"large/{part}": f"{part}" * 300_000 for part in range(7)}  # takes several messages
    cfg.commit("large")
    with lamina.connect(client.target, author="grace") as other:
        theirs = other.config(config_name)
        theirs["null"] = None
        theirs.commit("it is needed")
    cfg.refresh()
    cfg.revert(to=2, message="back")
    cfg["integer"] = 0  # the same value as before
    cfg.commit("the last one")
    return cfg


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def check_same(bundle: Bundle, cfg: lamina.Config) -> None:
    """Assert that every reading verb gives the same from a file as from its server."""
    versions = range(cfg.version + 1)
    keys = sorted({key for number in versions for key in cfg.at(number)})
    assert (bundle.name, bundle.config, bundle.version, len(bundle)) == (cfg.name, cfg.name, cfg.version, len(cfg))
    assert (dict(bundle), list(bundle)) == (dict(cfg), list(cfg))
    assert {key: bundle.origin(key) for key in bundle} == {key: cfg.origin(key) for key in cfg}
    for number in versions:
        ours, theirs = bundle.at(number), cfg.at(number)
        assert (ours.version, ours, list(ours)) == (number, theirs, list(theirs))
        assert [ours.origin(key) for key in ours] == [theirs.origin(key) for key in theirs]
        assert bundle.diff(number) == cfg.diff(number)
        assert list(bundle.diff(number, 1).items()) == list(cfg.diff(number, 1).items())
    log = list(cfg.log())
    assert list(bundle.log()) == log
    assert list(bundle.log(limit=2)) == log[:2]
    for version in log:
        for time in (version.time, version.time.astimezone()):
            assert bundle.at(time).version == cfg.at(time).version
    before = log[-1].time - timedelta(microseconds=1)
    progress = set()
    for verb in (bundle.at, cfg.at, bundle.diff, cfg.diff):
        with pytest.raises(lamina.NotFoundError, match="has no version at") as caught:
            verb(before)
        progress.add(str(caught.value))
    assert len(progress) == 1
    for key in [*keys, "never"]:
        for newest_first in (False, True):
            assert list(bundle.history(key, newest_first=newest_first)) == list(
                cfg.history(key, newest_first=newest_first)
            )
        assert list(bundle.history(key, limit=2)) == list(cfg.history(key, limit=2))
    assert list(bundle.blame().items()) == list(cfg.blame().items())
    assert list(bundle.blame("text", "json")) == ["json", "text"]
    assert bundle.verify() == cfg.verify() == log[0]


def test_every_verb_answers_as_the_server_does(client: lamina.Client, cfg: lamina.Config, tmp_path: Path) -> None:
    """Also for a fork, and for a fork of the empty map, whose version 1 has no changes."""
    forks = [cfg.fork(f"{cfg.name}/eu", at=2), cfg.fork(f"{cfg.name}/us", at=0)]
    forks[1]["text"] = "json"
    forks[1]["json"] = ["text"]
    forks[1].commit()
    progress: list[int] = []
    for number, config in enumerate([cfg, *forks]):
        path = tmp_path / f"{number}.lamina"
        version = export(config, path, advance=progress.append)
        assert (version, stat.S_IMODE(path.stat().st_mode)) == (next(config.log()), 0o600)
        with lamina.open(path) as bundle:
            check_same(bundle, config)
    assert sum(progress) == cfg.version + 1 + 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.lamina", "1.lamina", "2.lamina"]


def test_errors_are_the_same_as_the_server_s(cfg: lamina.Config, tmp_path: Path) -> None:
    export(cfg, tmp_path / "app.lamina")
    with lamina.open(tmp_path / "app.lamina") as bundle:
        for config in (cfg, bundle):
            with pytest.raises(lamina.NotFoundError) as missing:
                config.at(99)
            assert (missing.value.reason, str(missing.value)) == (
                "VERSION_NOT_FOUND",
                f"{cfg.name!r} has no version 99; its head is {cfg.version}",
            )
            with pytest.raises(lamina.NotFoundError):
                config.diff(1, 99)
            with pytest.raises(KeyError):
                config.blame("never")
            with pytest.raises(KeyError):
                config.origin("never")
            with pytest.raises(lamina.InvalidError, match="zone"):
                config.at(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
            with pytest.raises(lamina.InvalidError):
                config.history("x", limit=-1)


def test_only_a_config_of_the_blocking_client_is_exported(tmp_path: Path) -> None:
    """One of lamina.aio began a call that nobody awaited."""
    stranger: Any = object()
    with pytest.raises(TypeError, match=r"export writes a lamina\.Config"):
        export(stranger, tmp_path / "bundle.lamina")
    assert list(tmp_path.iterdir()) == []


def test_an_export_up_to_an_older_version(cfg: lamina.Config, tmp_path: Path) -> None:
    time = list(cfg.log())[-2].time
    for at, last in ((3, 3), (time, 2)):
        assert export(cfg, tmp_path / "app.lamina", at=at).number == last
        with lamina.open(tmp_path / "app.lamina") as bundle:
            assert (bundle.version, bundle) == (last, cfg.at(last))
    with pytest.raises(lamina.InvalidError, match="no version"):
        export(cfg, tmp_path / "none.lamina", at=0)
    assert not (tmp_path / "none.lamina").exists()


def test_a_long_history_is_read_page_by_page(tmp_path: Path) -> None:
    """There are several blocks, and several pages of a log and of a history."""
    commits: list[dict[str, Any]] = [{f"k{key}": 0 for key in range(20)}]
    commits += [{f"k{number % 20}": number, "n": number} for number in range(1, 1_500)]
    data = packed(history(commits))
    assert len(blocks(data)) > 3
    model: dict[str, Any] = {}
    maps = [dict(model)] + [dict(model) for commit in commits if model.update(commit) is None]
    with lamina.open(written(tmp_path / "app.lamina", data)) as bundle:
        assert [version.number for version in bundle.log()] == list(range(1_500, 0, -1))
        assert [change.value for change in bundle.history("n")] == list(range(1, 1_500))
        assert [change.value for change in bundle.history("n", newest_first=True)] == list(range(1_499, 0, -1))
        for number in random.Random(7).sample(range(1, 1_501), 60):
            assert bundle.at(number) == maps[number]
            assert bundle.diff(number) == {
                key: lamina.Change(maps[number].get(key, MISSING), value)
                for key, value in maps[-1].items()
                if maps[number].get(key, MISSING) != value
            }
        time = datetime.fromtimestamp(1_700_000_000, UTC)
        assert [bundle.at(time + timedelta(seconds=at)).version for at in (1, 777, 99_999)] == [1, 777, 1_500]
        assert bundle.verify().number == 1_500


def test_old_values_are_not_held_in_memory(tmp_path: Path) -> None:
    """There are a hundred versions of 200 KB, and memory holds one of them at a time."""
    past = history([{"x": random.Random(number).randbytes(200_000)} for number in range(100)])
    written(tmp_path / "app.lamina", packed(past))
    del past
    tracemalloc.start()
    try:
        with lamina.open(tmp_path / "app.lamina") as bundle:
            assert len(list(bundle.log())) == 100
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# --- read-only ------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    """A bundle at version 3, {"x": 28}; version 1 was {"x": 27, "y": 450}."""
    with lamina.open(written(tmp_path / "app.lamina", packed(history(COMMITS)))) as bundle:
        yield bundle


def test_a_bundle_has_the_reading_verbs_of_a_config() -> None:
    for name in READING:
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (Bundle, lamina.Config))
        assert ours.parameters == theirs.parameters, name
    lacking = {name for name in dir(lamina.Config) if not name.startswith("_")} - set(dir(Bundle))
    mutable = {"clear", "pop", "popitem", "setdefault", "update"}
    verbs = {"changes", "commit", "discard", "edit", "fork", "refresh", "revert", "transact", "watch"}
    assert lacking - mutable == verbs


@pytest.mark.parametrize("name", ["commit", "edit", "revert", "fork", "refresh", "watch", "transact", "changes"])
def test_verbs_that_need_a_server_are_refused(bundle: Bundle, name: str) -> None:
    with pytest.raises(AttributeError, match=f"read-only, and has no {name}"):
        getattr(bundle, name)
    assert not hasattr(bundle, name)


def test_a_bundle_is_read_only(bundle: Any) -> None:
    with pytest.raises(TypeError, match="read-only"):
        bundle["x"] = 29
    with pytest.raises(TypeError, match="read-only"):
        del bundle["x"]
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = bundle.nonsense
    assert bundle.to_dict() == {"x": 28}
    assert repr(bundle) == "<Bundle 'shop/prod' version 3, 1 key>"


def test_pickles_and_copies_are_snapshots(bundle: Bundle) -> None:
    for copied in (pickle.loads(pickle.dumps(bundle)), copy.copy(bundle), copy.deepcopy(bundle)):
        assert type(copied) is lamina.Snapshot
        assert (copied, copied.version, copied.origin("x")) == (bundle, 3, 2)


def test_snapshots_stay_after_the_file_is_closed(bundle: Bundle) -> None:
    past = bundle.at(1)
    bundle.close()
    assert (bundle["x"], past["y"]) == (28, 450)
    with pytest.raises(ValueError, match="closed"):
        bundle.at(2)


def test_threads_and_forked_children_can_share_a_bundle(tmp_path: Path) -> None:
    commits: list[dict[str, Any]] = [{"x": number} for number in range(1, 1_001)]
    with lamina.open(written(tmp_path / "app.lamina", packed(history(commits)))) as bundle:
        wrong: list[int] = []

        def read() -> None:
            wrong.extend(number for number in range(1, 1_001, 7) if bundle.at(number)["x"] != number)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        child = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(bundle.at(500)["x"] != 500))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert bundle.at(2)["x"] == 2


# --- damage ---------------------------------------------------------------------------------------


def answers(path: Path) -> str:
    """Return everything that a bundle answers, or the error that refuses it."""
    try:
        with lamina.open(path) as bundle:
            verified = bundle.verify()
            return repr(
                (list(bundle.log()), [bundle.at(each).to_dict() for each in range(bundle.version + 1)], verified)
            )
    except (lamina.DataLossError, lamina.InvalidError) as error:
        return str(error)


def test_no_changed_bit_changes_an_answer(tmp_path: Path) -> None:
    """Every bit counts, except for a few in gzip's headers, which mean nothing."""
    data = packed(history(COMMITS))
    path = tmp_path / "app.lamina"
    whole, unnoticed = answers(written(path, data)), 0
    mark = blocks(data)[0].offset
    for place, bit in product(range(len(data)), (0, 5)):
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        found = answers(written(path, bytes(changed)))
        if found == whole:
            unnoticed += 1
        else:  # a change in the first bytes makes it no bundle
            assert found.startswith("version ") or (place < mark and "bundle" in found)
    assert unnoticed < 8 * 2 * 3  # the fields for time and system in each member's header


def test_a_truncated_bundle_is_refused(tmp_path: Path) -> None:
    data = packed(history(COMMITS))
    for size in range(len(data)):
        with pytest.raises((lamina.DataLossError, lamina.InvalidError)):
            lamina.open(written(tmp_path / "app.lamina", data[:size]))
    with pytest.raises(lamina.DataLossError, match=r"version 4 .* more than the end"):
        lamina.open(written(tmp_path / "app.lamina", data + data))


@pytest.mark.parametrize("where", [0.01, 0.5, 0.9])
def test_the_first_lost_version_is_named(tmp_path: Path, where: float) -> None:
    """The block holds hundreds of versions; the hashes of those that can still be unpacked show the first lost one."""
    versions = history([{"x": f"{number} " * 20, "n": number} for number in range(900)])
    data = bytearray(packed(versions))
    block = blocks(bytes(data))[1]
    data[block.offset + int(block.size * where) + 16] ^= 0xFF
    first, last = block.parts[0].version.version, block.parts[-1].version.version
    with pytest.raises(lamina.DataLossError, match=r"^version \d+ of shop/prod cannot be read from .*damaged") as lost:
        lamina.open(written(tmp_path / "app.lamina", bytes(data)))
    named = int(str(lost.value).split()[1])
    assert first <= named <= last
    # The versions before it can still be read, and it cannot.
    readable: list[pb.VersionChanges] = []
    with pytest.raises(framing.DamagedError):
        for each in framing.blocks(io.BytesIO(data)):
            readable += each.parts
    assert readable[: named - 1] == versions[: named - 1]
    assert readable[named - 1 : named] != versions[named - 1 : named]


def test_a_truncated_file_names_the_missing_version(tmp_path: Path) -> None:
    data = packed(history(COMMITS))
    path = written(tmp_path / "app.lamina", data[: blocks(data)[-1].offset])
    with pytest.raises(lamina.DataLossError, match=r"^version 4 of shop/prod .*app\.lamina: the file was cut off$"):
        lamina.open(path)


def test_a_file_that_changes_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    data = packed(history([{"x": number} for number in range(2_000)]))
    path = written(tmp_path / "app.lamina", data)
    with lamina.open(path) as bundle:
        path.write_bytes(data[:100])
        with pytest.raises(lamina.DataLossError, match="version 1 of"):
            bundle.at(1)
        with pytest.raises(lamina.DataLossError):
            bundle.verify()


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_by_the_hashes(tmp_path: Path, name: str) -> None:
    """P5: version 2 was changed, and all checksums were corrected."""
    versions = history(COMMITS)
    TAMPERINGS[name](versions)
    path = written(tmp_path / "app.lamina", packed(versions))
    # Whoever opens it learns of a missing key from the count in the head's header, and of all else from `verify`.
    with pytest.raises(lamina.DataLossError, match=rf"version [23] of {CONFIG}") as lost, lamina.open(path) as bundle:
        bundle.verify()
    assert lost.value.reason == "HASH_MISMATCH"


def test_a_missing_version_or_an_end_of_another_past_is_an_error(tmp_path: Path) -> None:
    versions, other = history(COMMITS), history([*COMMITS[:2], {"y": 451}])
    path = tmp_path / "app.lamina"
    for data, lost in (
        (packed([versions[0], versions[2]]), 2),
        (packed([versions[1], versions[2]]), 1),
        (packed([*versions, versions[2]]), 4),
        (packed([*versions, *history(COMMITS, "other")]), 4),
        (packed(versions[:2], (3, versions[2].version.hash)), 3),
        (packed(versions, (3, other[2].version.hash)), 4),
    ):
        with pytest.raises(lamina.DataLossError, match=f"version {lost} of {CONFIG}"):
            lamina.open(written(path, data))
    # Another past with correct hashes can only be noticed by someone who knows one of its hashes.
    versions[1].version.author = "eve"
    with lamina.open(written(path, packed(hashed(versions)))) as bundle:
        assert bundle.verify().hash != history(COMMITS)[-1].version.hash.hex()


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(253_402_300_800, 0), (-62_135_596_801, 0), (2**62, 0), (0, 10**9), (0, -1)]
)
def test_a_time_outside_the_calendar_is_an_error(tmp_path: Path, seconds: int, nanos: int) -> None:
    versions = history(COMMITS)
    versions[1].version.commit_time.seconds, versions[1].version.commit_time.nanos = seconds, nanos
    with pytest.raises(lamina.DataLossError, match=f"version 2 of {CONFIG} .* a time that cannot be"):
        lamina.open(written(tmp_path / "app.lamina", packed(versions)))


@pytest.mark.parametrize("data", [b"", b"x = 27\n", b"\x1f\x8b", b"PK\x03\x04" * 100])
def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(lamina.InvalidError, match="no bundle"):
        lamina.open(written(tmp_path / "app.lamina", data))


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "_FORMAT", b"2")
    data = packed(history(COMMITS))
    monkeypatch.undo()
    with pytest.raises(lamina.InvalidError, match="newer release"):
        lamina.open(written(tmp_path / "app.lamina", data))
    with pytest.raises(FileNotFoundError):
        lamina.open(tmp_path / "none.lamina")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that would unpack to more than any version is not unpacked."""
    data = packed(history([{"x": 1}, {"x": "0" * 1_000_000}]))
    assert len(data) < 10_000
    monkeypatch.setattr(framing, "BLOCK_LIMIT_BYTES", 500_000)
    with pytest.raises(lamina.DataLossError, match="more than 500,000 bytes"):
        lamina.open(written(tmp_path / "app.lamina", data))


def test_a_damaged_database_leaves_no_file(tmp_path: Path) -> None:
    """An export verifies what the server sends, and an existing file of that name stays."""
    server = ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}")
    with server, lamina.connect(server.target) as client:
        cfg = client.config("app", create=True)
        for number in range(5):
            cfg["x"] = number
            cfg.commit()
        server.stop()
        connection = sqlite3.connect(tmp_path / "lamina.db")
        connection.execute("DROP TRIGGER config_no_update")
        assert connection.execute("UPDATE config SET message = 'forged' WHERE version = 3").rowcount == 1
        connection.commit()
        connection.close()
        server.restart()
        path = written(tmp_path / "app.lamina", b"what was there")
        with pytest.raises(lamina.DataLossError, match="version 3 of app does not match its hash"):
            export(cfg, path)
    assert path.read_bytes() == b"what was there"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_only_a_regular_file_is_replaced(cfg: lamina.Config, tmp_path: Path) -> None:
    """A pipe, a device and an open descriptor receive the bundle as a stream, and are not replaced."""
    export(cfg, whole := tmp_path / "whole.lamina")
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with ThreadPoolExecutor(1) as pool:
            read = pool.submit(pipe.read_bytes)
            export(cfg, path)
            assert read.result() == whole.read_bytes()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    export(cfg, os.devnull)
    assert not Path(os.devnull).is_file()
    with (tmp_path / "log").open("wb") as log:
        log.write(b"header\n")
        log.flush()
        for folder in ("/dev/fd", "/proc/self/fd"):
            export(cfg, f"{folder}/{log.fileno()}")
    assert (tmp_path / "log").read_bytes() == b"header\n" + 2 * whole.read_bytes()
    with pytest.raises(IsADirectoryError) as refused:
        export(cfg, tmp_path)
    assert refused.value.filename == str(tmp_path)
    with pytest.raises(OSError, match="Bad file descriptor: '/dev/fd/999'"):
        export(cfg, "/dev/fd/999")
    with pytest.raises(FileNotFoundError) as missing:
        export(cfg, tmp_path / "none" / "app.lamina")
    assert missing.value.filename == str(tmp_path / "none" / "app.lamina")


def test_a_file_that_is_replaced_keeps_its_owner_and_mode(cfg: lamina.Config, tmp_path: Path) -> None:
    path = tmp_path / "app.lamina"
    export(cfg, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    if os.geteuid() == 0:  # only root can change a file's owner
        os.chown(path, 1234, 5678)
    before = path.stat()
    export(cfg, path)
    after = path.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
