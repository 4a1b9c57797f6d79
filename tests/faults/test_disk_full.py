"""A full disk: commits are definitely refused, everything else works, and commits work again once there is room."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import lamina
from lamina_server.domain.errors import DiskFullError
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.sqlite.backup import back_up
from tests.conformance.commits import commit
from tests.faults.campaign import AT_LAST, CONFIG, WARM_UP, judge, prepare
from tests.faults.clients import Answer, Client, Intent
from tests.faults.disks import SmallDisk, small_disk
from tests.faults.histories import Outcome, Recorder
from tests.faults.load_processes import Loads
from tests.support.server import ServerProcess

DISK_BYTES = 24 * 1024 * 1024
LARGE = "x" * 900_000
TRIES = 1_000
"""Pages that are not full yet still take a few small commits."""
REFUSED = Answer(Outcome.REFUSED, "DISK_FULL")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        yield disk


@pytest.fixture
def url(disk: SmallDisk) -> str:
    return f"sqlite:///{disk.folder / 'lamina.db'}"


@pytest.fixture
def server(url: str) -> Iterator[ServerProcess]:
    with ServerProcess(url) as server:
        yield server


def commit_until_refused(client: Client) -> Answer:
    answers = (client.commit(Intent(f"{client.name}-{n}", {"x": f"{client.name}-{n}"})) for n in range(TRIES))
    return next(answer for answer in answers if answer.outcome is not Outcome.OK)


def test_16_clients_on_a_disk_that_fills_up(
    disk: SmallDisk, url: str, server: ServerProcess, folder: Path, seed: int
) -> None:
    """P1, P2, P3, P8, P9: no refused commit is there, every acknowledged one is, and none is left open."""
    pid = server.pid
    prepare([server.target], folder)
    with (
        lamina.connect(server.target) as client,
        Client(CONFIG, [server.target], Recorder(folder, "prober")) as prober,
        Loads(CONFIG, [server.target], folder, seed=seed) as loads,
    ):
        loads.wait_for(WARM_UP)
        cfg = client.config(CONFIG)
        with cfg.watch("healed") as watch:
            disk.fill()
            assert commit_until_refused(prober) == REFUSED

            assert prober.read("x").outcome is Outcome.OK
            cfg["healed"] = "not yet"
            with pytest.raises(lamina.LimitError) as refused:
                cfg.commit("while there is no room")
            assert refused.value.reason == "DISK_FULL"
            assert list(cfg.log(limit=1))

            disk.clear()
            loads.wait_for(AT_LAST)
            assert prober.commit(Intent("prober-healed", {"healed": "prober-healed"})).outcome is Outcome.OK
            assert next(iter(watch)).value == "prober-healed"
    assert server.pid == pid
    result = judge(url, [server.target], folder, seed=seed)
    assert not result.violations, result.explain()
    assert not result.indeterminate, "a full disk is no reason to leave a commit open"


def test_a_commit_that_still_fits_is_written(disk: SmallDisk, url: str, server: ServerProcess, folder: Path) -> None:
    """P2: a large commit is refused and a small one is not; the large one fits later, under the same request id."""
    prepare([server.target], folder)
    large = Intent("c0-large", {"large": f"c0-large {LARGE}"})
    with Client(CONFIG, [server.target], Recorder(folder, "c0")) as client:
        disk.fill(but_bytes=len(LARGE) // 3)
        assert client.commit(large) == REFUSED
        assert client.commit(Intent("c0-small", {"small": "c0-small"})).version == 2
        assert client.commit(large) == REFUSED
        disk.clear()
        assert client.commit(large).version == 3
    result = judge(url, [server.target], folder, seed=0)
    assert not result.violations, result.explain()


def test_a_transaction_that_outgrew_the_disk_is_not_taken_for_another_programs(disk: SmallDisk, url: str) -> None:
    """SQLite counts such a failure of its own as it counts the commits of others."""
    with closing(open_store(url)) as store:
        commit(store, {"x": 1})
        disk.fill(but_bytes=1024 * 1024)
        with pytest.raises(DiskFullError):
            commit(store, {f"x/{number}": LARGE for number in range(8)})
        disk.clear()
        assert commit(store, {"x": 2}).number == 2


def test_commands_that_need_room_say_so(disk: SmallDisk, url: str, tmp_path: Path) -> None:
    """They are a server with a new database, and a backup."""
    other = f"sqlite:///{tmp_path}/other.db"
    open_store(other).close()
    disk.fill()
    with pytest.raises(UnusableStoreError, match=r"lamina\.db' cannot be used: the disk is full \(SQLITE_FULL\)"):
        open_store(url)
    with pytest.raises(UnusableStoreError, match=r"copy\.db' cannot be used: the disk is full \(SQLITE_FULL\)"):
        back_up(other, disk.folder / "copy.db", lambda _done, _all: None)
    disk.clear()
    open_store(url).close()
