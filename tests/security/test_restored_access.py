"""A bundle of `_lamina/access` is restored if its last version can be the access, and leaves an admin."""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

import lamina
from lamina.bundle import export
from lamina_server.access.live import read_map
from lamina_server.commits import admin
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.planning import MapLimits
from lamina_server.domain.values import Value
from lamina_server.restore.restore import RestoreRefusedError, restore
from lamina_server.settings import Settings
from lamina_server.store.open import open_store
from tests.server.commits.test_access import write_by_other_means
from tests.support.server import ServerProcess

ADMIN = {"tokens/aaaa": {"name": "ada", "sha256": "ab" * 32}, "grants/token:ada **": {"role": "admin"}}
LIMITS = MapLimits(keys=1_000, size_bytes=1_000_000)


class Place:
    """Two databases: what was exported from the first is restored into the second."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = (f"sqlite:///{folder}/{name}.db" for name in ("source", "target"))
        self.file = folder / "access.lamina"

    def write(self, url: str, values: Mapping[str, object]) -> None:
        with closing(open_store(url)) as store:
            write_by_other_means(
                store, {k: None if v is None else Value.of_json(json.dumps(v)) for k, v in values.items()}
            )

    def export(self) -> None:
        self.file.unlink(missing_ok=True)
        with ServerProcess(self.source) as server, lamina.connect(server.target) as client:
            export(client.config(ACCESS_CONFIG), self.file)

    def restore(self) -> int:
        with self.file.open("rb") as file:
            return restore(file, Settings(database=self.target), lambda _: None).head.number

    def head(self) -> int:
        with closing(open_store(self.target)) as store, store.read() as reading:
            return read_map(reading)[0].number


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_good_access_is_restored(place: Place) -> None:
    place.write(place.source, ADMIN)
    place.export()
    assert place.restore() == 1


def test_what_is_no_access_is_refused(place: Place) -> None:
    place.write(place.source, ADMIN)
    place.write(place.source, {"users/ada": {}})
    place.export()
    with pytest.raises(RestoreRefusedError, match=r"would not be usable: users/ada: .*; nothing was written"):
        place.restore()
    assert place.head() == 0


def test_a_past_that_was_mended_is_restored(place: Place, tmp_path: Path) -> None:
    """So a backup of a database that was reset is no less worth than others."""
    place.write(place.source, ADMIN)
    place.write(place.source, {"users/ada": {}})
    with closing(open_store(place.source)) as store:
        admin.reset(store, path=tmp_path / "token", limits=LIMITS)
    place.export()
    assert place.restore() == 3


def test_the_last_admin_stays(place: Place) -> None:
    place.write(place.source, ADMIN)
    place.export()
    assert place.restore() == 1
    place.write(place.source, {"tokens/aaaa": None})
    place.export()
    with pytest.raises(RestoreRefusedError, match="would leave no admin"):
        place.restore()
    assert place.head() == 1
