"""The server is killed at the two moments that matter: before a commit is written, and after, before the reply."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.campaign import CONFIG, judge
from tests.faults.clients import Client, Intent
from tests.faults.histories import Outcome, Recorder
from tests.faults.injecting import SYNC, injecting
from tests.faults.reading import from_database
from tests.support.server import ServerProcess

KILL = "signal=KILL:when=1"
BEFORE = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """A server on a SQLite file with three versions, and a client of it."""

    server: ServerProcess
    client: Client
    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    @property
    def log(self) -> Path:
        """The write-ahead log, to which every commit goes first."""
        return self.path.with_name(self.path.name + "-wal")

    def head(self) -> int:
        """Return the newest version in the tables."""
        return len(from_database(self.url, CONFIG).versions)


@pytest.fixture
def scene(tmp_path: Path, folder: Path) -> Iterator[Scene]:
    path = tmp_path / "lamina.db"
    with (
        ServerProcess(f"sqlite:///{path}") as server,
        Client(CONFIG, [server.target], Recorder(folder, "c0")) as client,
    ):
        for number in range(1, BEFORE + 1):
            assert client.commit(Intent(f"c0-{number}", {"x": f"c0-{number}"})).version == number
        yield Scene(server, client, path)


@pytest.mark.parametrize(
    ("calls", "written"), [(SYNC, True), ("pwrite64", False)], ids=["written-and-not-answered", "not-written"]
)
def test_killed_in_a_commit(scene: Scene, folder: Path, tmp_path: Path, calls: str, *, written: bool) -> None:
    """P2, P3, P8: a written commit answers the retry; the retry writes one that was not, without a gap."""
    intent = Intent("c0-last", {"x": "c0-last"}, base=BEFORE, require=True)
    only = [scene.log]
    with injecting(scene.server.pid, calls=calls, what=KILL, trace=tmp_path / "trace", only=only) as injection:
        answer = scene.client.commit(intent)
        scene.server.wait()
    assert answer.outcome is Outcome.INDETERMINATE
    assert injection.happened

    scene.server.restart()
    assert scene.head() == BEFORE + written
    assert scene.client.commit(intent).version == BEFORE + 1
    assert scene.head() == BEFORE + 1
    result = judge(scene.url, [scene.server.target], folder, seed=0)
    assert not result.violations, result.explain()
