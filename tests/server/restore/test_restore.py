"""`lamina-server restore`: a past is reproduced whole, on both databases, or nothing of it is there."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import lamina
from lamina.bundle import export
from lamina.records import MISSING
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.planning import Plan
from lamina_server.restore import restore
from lamina_server.restore.replay import BrokenBundleError, Replay
from lamina_server.restore.restore import RestoreRefusedError
from lamina_server.settings import Settings
from lamina_server.store.open import open_store
from lamina_server.store.verify.inspection import inspecting
from lamina_server.store.verify.walk import Verification
from tests.conformance.commits import commit
from tests.support.bundles import CONFIG, TAMPERINGS, blocks, hashed, history, packed
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

COMMITS: list[dict[str, Any]] = [{"x": 27, "y": 450}, {"x": 28}, {"y": MISSING}]


@dataclass
class Place:
    """An empty database, and a folder for files."""

    url: str
    folder: Path

    def restore(self, data: bytes | Path, code: int = 0) -> str:
        """Run the command on a bundle, see how it ends, and return the one line that it prints."""
        path = data if isinstance(data, Path) else self.folder / "app.lamina"
        if isinstance(data, bytes):
            path.write_bytes(data)
        done = command("restore", path, "--database", self.url)
        assert done.returncode == code, done.stdout + done.stderr
        printed = done.stderr if code else done.stdout
        assert printed.count("\n") == 1, printed
        return printed

    def check_intact(self) -> None:
        with inspecting(self.url) as inspection:
            assert list(Verification(inspection).findings(lambda _: None)) == []

    def count(self, table: str) -> int:
        engine = create_engine(self.url)
        with engine.connect() as connection:
            count = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        engine.dispose()
        return int(count)

    def head(self) -> tuple[int, bytes] | None:
        with closing(open_store(self.url)) as store, store.read() as reading:
            head = reading.head(CONFIG)
        return None if head is None else (head.number, head.hash)


def command(*arguments: object) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "lamina_server", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(f"sqlite:///{tmp_path}/restored.db", tmp_path)
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.new_database(template_url=request.getfixturevalue("postgres_template"))
    yield Place(url, tmp_path)
    postgres.drop_database(url)


def restored(place: Place, data: bytes) -> restore.Restored:
    """Restore within this process."""
    path = place.folder / "app.lamina"
    path.write_bytes(data)
    with path.open("rb") as file:
        return restore.restore(file, Settings(database=place.url), lambda _: None)


def replayed(data: bytes) -> list[Plan]:
    """Read a bundle as restoring does, and write nothing."""
    return list(Replay(Settings()).plans(io.BytesIO(data), lambda _: None))


def test_from_one_server_to_another(place: Place, tmp_path: Path) -> None:
    """P3, P5: versions, authors, times and hashes are the same, and it goes on from there."""
    with (
        ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server,
        lamina.connect(server.target, author="ada") as client,
    ):
        source = client.config("payments/prod", create=True)
        source |= {"x": 27, "y": None, "z": [1, 1.0, "é"], "b": b"\x00\xff", "f": 0.1, "t": True, "é": {"a": {}}}
        source.commit("first")
        cfg = source.fork(CONFIG, at=1, message="a shop")
        for number in range(30):
            cfg["x"] = number
            cfg.commit(f"number {number}")
        del cfg["y"]
        cfg |= {f"large/{part}": f"{part}" * 300_000 for part in range(7)}
        cfg.commit("large")
        version = export(cfg, tmp_path / "app.lamina")
        printed = place.restore(tmp_path / "app.lamina")
        assert printed.startswith(f"lamina-server: {CONFIG} has versions 1 to 32, of which 32 were written, in ")
        assert printed.rstrip().endswith(version.hash)
        assert ".db" in printed or "postgresql://" in printed
        place.check_intact()
        with ServerProcess(place.url) as there, lamina.connect(there.target, author="grace") as other:
            copied = other.config(CONFIG)
            assert list(copied.log()) == list(cfg.log())
            assert next(iter(reversed(list(copied.log())))).source_config == "payments/prod"
            assert [copied.at(number) for number in range(33)] == [cfg.at(number) for number in range(33)]
            assert list(copied.history("x")) == list(cfg.history("x"))
            assert (copied.blame(), copied.verify()) == (cfg.blame(), version)
            copied["x"] = "on"
            assert (copied.commit().parent, copied.verify().number) == (32, 33)
    place.check_intact()


def test_versions_that_are_there_already(place: Place) -> None:
    """The same history is completed or left alone. Another one is refused, and nothing is written."""
    versions = history(COMMITS)
    others = history([*COMMITS[:2], {"y": 451}])
    for data, head, added in (
        (packed(versions[:2]), 2, 2),
        (packed(versions), 3, 1),
        (packed(versions), 3, 0),
        (packed(versions[:2]), 2, 0),
        (packed(others[:1]), 1, 0),  # so far it is the same
    ):
        found = restored(place, data)
        assert (found.head.number, found.added) == (head, added)
    for other, number in (
        (others, 3),
        (history([*COMMITS[:2], {"y": 451}, {"y": 452}]), 3),
        (history([COMMITS[0], {"x": 29}]), 2),
    ):
        with pytest.raises(RestoreRefusedError, match=f"already, and its version {number} is another one"):
            restored(place, packed(other))
    refused = place.restore(packed(others), code=2)
    assert f"there is a config {CONFIG!r} already, and its version 3 is another one: nothing was written" in refused
    assert place.head() == (3, versions[-1].version.hash)
    assert [place.count(table) for table in ("config", "config_value", "config_request")] == [3, 4, 0]
    place.check_intact()


def test_other_configs_stay_as_they_are(place: Place) -> None:
    with closing(open_store(place.url)) as store:
        commit(store, {"x": 1}, config="before")
    restored(place, packed(history(COMMITS)))
    restored(place, packed(history(COMMITS, "after")))
    with closing(open_store(place.url)) as store, store.read() as reading:
        listed = [each.name for each in reading.configs(prefix="", after="", limit=9)]
    assert listed == ["after", "before", CONFIG]
    place.check_intact()


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_refused(tmp_path: Path, name: str) -> None:
    """P5: nothing is visible then, not even the version before."""
    place = Place(f"sqlite:///{tmp_path}/restored.db", tmp_path)
    versions = history(COMMITS)
    TAMPERINGS[name](versions)
    with pytest.raises(BrokenBundleError, match=f"^version 2 of '{CONFIG}' "):
        restored(place, packed(versions))
    assert place.head() is None
    assert place.count("config_name") == 0


def test_a_broken_end_leaves_nothing(place: Place) -> None:
    """The versions before the damage are rolled back, but not those of an earlier restore."""
    versions = history([{f"k{number % 50}": number} for number in range(2_500)])
    assert len(blocks(packed(versions))) > 3
    versions[-1].version.message = "forged"
    refused = place.restore(packed(versions), code=1)
    assert refused.endswith(f"app.lamina': version 2500 of '{CONFIG}' does not match its hash; nothing was written\n")
    assert [place.count(table) for table in ("config_name", "config", "config_value", "config_value_association")] == [
        0
    ] * 4
    restored(place, packed(versions[:7]))
    with pytest.raises(BrokenBundleError):
        restored(place, packed(versions))
    assert place.head() == (7, versions[6].version.hash)
    place.check_intact()


def test_a_damaged_file_is_refused(place: Place) -> None:
    data = packed(history(COMMITS))
    cut, damaged = data[: blocks(data)[-1].offset], bytearray(data)
    damaged[blocks(data)[0].offset + 60] ^= 0x10
    for each, why in (
        (cut, "^version 4 of 'shop/prod' cannot be read: the file was cut off$"),
        (bytes(damaged), "^version 1 of 'shop/prod' cannot be read: the file is damaged, after byte"),
        (b"x = 27\n", "no bundle"),
        (packed([history(COMMITS)[1]]), "^version 1 is missing"),
        (packed(history(COMMITS)[:2], (3, bytes(32))), "file ends with version 3"),
    ):
        with pytest.raises(BrokenBundleError, match=why):
            restored(place, each)
    assert "cut off; nothing was written" in place.restore(cut, code=1)
    assert place.head() is None


def test_no_changed_bit_is_restored() -> None:
    """Each byte counts, or (some of gzip's header) means nothing."""
    versions = history(COMMITS)
    data = packed(versions)
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1 << index % 8
        try:
            found = replayed(bytes(changed))
        except BrokenBundleError:
            continue
        assert [each.version.hash for each in found] == [each.version.hash for each in versions]


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "control": ({"a\x01": 1}, "control characters"),
    "form": ({"e\u0301": 1}, "normal form C"),
    "empty": ({"": 1}, "it must have at least 1 byte"),
    "long": ({"x" * 513: 1}, "the limit is 512 bytes"),
    "large": ({"x": "y" * 1_048_577}, "the limit is 1,048,576 bytes"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_keys_and_values_that_no_server_accepts_are_refused(tmp_path: Path, name: str) -> None:
    """Even if the hashes are right."""
    content, why = UNFIT[name]
    place = Place(f"sqlite:///{tmp_path}/restored.db", tmp_path)
    with pytest.raises(BrokenBundleError, match=f"version 1 .*{why}"):
        restored(place, packed(history([content])))
    assert not (tmp_path / "restored.db").exists()


def test_values_that_are_not_canonical_are_refused() -> None:
    """Each would be read back as another one, so the hash cannot match."""
    for value in (
        pb.Value(json='{"b":1, "a":2}'),
        pb.Value(json='{"a":1,"a":1}'),
        pb.Value(json="nonsense"),
        pb.Value(double=-0.0),
        pb.Value(double=float("nan")),
        pb.Value(string="\x00"),
        pb.Value(),
    ):
        versions = history([{"x": 1}])
        versions[0].changes[0].value.CopyFrom(value)
        if value.WhichOneof("kind"):
            hashed(versions)
        with pytest.raises(BrokenBundleError, match="version 1"):
            replayed(packed(versions))
    versions = history(COMMITS)
    versions[0].changes.reverse()
    with pytest.raises(BrokenBundleError, match="keys in order"):
        replayed(packed(versions))


def test_keyframes_are_written_as_a_server_would(place: Place) -> None:
    """So a read is fast at once, at the head and in the middle of a long history."""
    versions = history([{f"k{number % 300}": number} for number in range(2_100)])
    assert restored(place, packed(versions)).added == 2_100
    lines = place.count("config_value_association")
    assert 5 * 299 <= lines <= 7 * 300
    with closing(open_store(place.url)) as store:
        assert store.originated_since_keyframe(CONFIG) < 600
        with store.read() as reading:
            assert len(list(reading.entries(CONFIG, 1_000))) == 300
    place.check_intact()


def test_watchers_of_a_running_server_get_the_restored_versions(postgres_url: str, tmp_path: Path) -> None:
    """P6, P9: on PostgreSQL, of a new config, and of one that gets the rest of its versions."""
    versions = history(COMMITS)
    place = Place(postgres_url, tmp_path)
    with ServerProcess(postgres_url) as server, lamina.connect(server.target) as client:
        empty = client.config(CONFIG, create=True)
        with empty.watch(after=0) as watch:
            received = iter(watch.versions())
            place.restore(packed(versions[:1]))
            assert next(received).version == 1
            cfg = client.config(CONFIG)
            assert dict(cfg) == {"x": 27, "y": 450}
            place.restore(packed(versions))
            assert [next(received).version for _ in range(2)] == [2, 3]
        cfg["z"] = 1
        assert cfg.commit("merged on top").number == 4
        assert cfg.verify().number == 4
        assert "its version 3" not in place.restore(packed(versions))
        assert dict(cfg) == {"x": 28, "z": 1}


def test_a_file_that_a_server_serves(tmp_path: Path) -> None:
    place = Place(f"sqlite:///{tmp_path}/lamina.db", tmp_path)
    with ServerProcess(place.url):
        assert "is in use by another server" in place.restore(packed(history(COMMITS)), code=1)
    place.restore(packed(history(COMMITS)))
    done = command("restore", tmp_path / "none.lamina", "--database", place.url)
    assert (done.returncode, "none.lamina" in done.stderr) == (2, True)


def test_a_terminal_sees_the_progress(tmp_path: Path) -> None:
    (tmp_path / "app.lamina").write_bytes(packed(history(COMMITS)))
    terminal, end = pty.openpty()
    program = [sys.executable, "-m", "lamina_server", "restore", "app.lamina", "--database", "sqlite:///a.db"]
    done = subprocess.run(program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=end, check=True)
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "restoring" in shown
    assert "100%" in shown
    assert done.stdout.startswith(b"lamina-server: shop/prod has versions 1 to 3")
