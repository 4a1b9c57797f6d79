"""`lamina-server verify`: every row counts, on both databases, beside their server."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import lamina
from lamina_server.domain.hashing import value_digest
from lamina_server.domain.records import Reply, Source
from lamina_server.domain.values import Value
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.verify.inspection import inspecting
from lamina_server.store.verify.walk import Finding, Portion, Verification
from tests.conformance.commits import CONFIG, DELETED, commit, insert, request
from tests.conformance.places import damage
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess
from tests.support.touching import damage_pages


@dataclass
class Kept:
    """A store that is open, as in a server that runs, and where its database is."""

    store: SqlStore
    url: str

    def findings(self, portion: Portion | None = None) -> list[Finding]:
        with inspecting(self.url) as inspection:
            return list(Verification(inspection, portion or Portion()).findings(lambda _: None))

    def damage(self, statement: str) -> None:
        damage(self.store, statement)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/lamina.db"
        store = open_store(url)
        yield Kept(store, url)
        store.close()
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.new_database(template_url=request.getfixturevalue("postgres_template"))
    store = open_store(url)
    yield Kept(store, url)
    store.close()
    postgres.drop_database(url)


@pytest.fixture
def filled(kept: Kept) -> Kept:
    """Two configs and a fork: payments/prod has 5 versions and a keyframe at its third."""
    store = kept.store
    scalars = {"integer": 7, "boolean": True, "float": 1.5, "text": "text", "bytes": b"12", "null": None}
    commit(store, {**scalars, "json": [1], "gone": 1})
    commit(store, {"gone": DELETED, "integer": 8})
    third = commit(store, {"whole": 1})
    store.write_keyframe(CONFIG)
    commit(store, {"é": "é"}, message="why")
    with store.write() as writing:
        fifth = insert(writing, CONFIG, {"text": DELETED})
        writing.remember(request("r-1"), Reply(CONFIG, fifth, created=True, merged=False))
    commit(store, {"x": 1}, config="other")
    commit(store, {"whole": 1}, config="payments/eu", source=Source(CONFIG, 3, third.hash))
    with store.write() as writing:
        writing.remember(request("r-2"), Reply("nothing", None, created=False, merged=False))
    return kept


@pytest.mark.crossed
def test_an_intact_database(filled: Kept) -> None:
    """P5: everything is checked, and nothing is found."""
    with inspecting(filled.url) as inspection:
        verification = Verification(inspection)
        looked: list[int] = []
        assert list(verification.findings(looked.append)) == []
        assert (verification.configs, verification.versions, verification.values) == (3, 7, 15)
        assert sum(looked) == verification.total() == 7


def test_an_empty_database(kept: Kept) -> None:
    assert kept.findings() == []


NAME_ID = "(SELECT id FROM config_name WHERE name = '{}')"
OF = f" AND config_name_id = {NAME_ID.format(CONFIG)}"
VALUE = "UPDATE config_value SET {} WHERE name = '{}' AND version = {}" + OF
VERSION = "UPDATE config SET {} WHERE version = {}" + OF
OTHER_ID = "(SELECT id FROM config WHERE version = 1" + OF + ")"

BROKEN: dict[str, tuple[str, int, str]] = {
    "a value": (VALUE.format("int_value = 9", "integer", 2), 2, "'integer' as set by version 2 of .* its digest"),
    "a text": (VALUE.format("string_value = 'tent'", "text", 1), 1, "'text' as set by version 1 of .* its digest"),
    "a kind": (VALUE.format("kind = 7", "integer", 1), 1, "'integer' as set by version 1"),
    "a tombstone": (VALUE.format("deleted = (1 = 0)", "gone", 2), 2, "'gone' as set by version 2"),
    "a digest": (VALUE.format("digest = substr(digest, 1, 31)", "whole", 3), 3, "'whole' as set by version 3"),
    "a key": (VALUE.format("name = 'hole'", "whole", 3), 3, "'hole' as set by version 3"),
    "an origin": (VALUE.format(f"originating_config_id = {OTHER_ID}", "whole", 3), 3, "originates in another version"),
    "a value gone": ("DELETE FROM config_value WHERE name = 'whole' AND version = 3" + OF, 3, "tells of 1 changes"),
    "a value moved": (VALUE.format("version = 4", "whole", 3), 3, "tells of 1 changes"),
    "a value of nothing": (VALUE.format("version = 9", "é", 4), 4, "tells of 1 changes, 9 keys"),
    "an author": (VERSION.format("author = 'eve'", 2), 2, "does not match its hash"),
    "an author's standing": (VERSION.format("author_verified = NOT author_verified", 2), 2, "does not match its hash"),
    "a reason": (VERSION.format("message = 'no'", 4), 4, "does not match its hash"),
    "a time": (VERSION.format("commit_time_us = commit_time_us + 1", 5), 5, "does not match its hash"),
    "a time before": (VERSION.format("commit_time_us = 5", 5), 5, "was not committed after its parent"),
    "a key count": (VERSION.format("key_count = 6", 2), 2, "tells of 2 changes, 6 keys"),
    "a change count": (VERSION.format("change_count = 3", 2), 2, "tells of 3 changes"),
    "a size": (VERSION.format("size_bytes = size_bytes + 1", 2), 2, "tells of 2 changes"),
    "a hash": (VERSION.format("hash = (SELECT hash FROM config WHERE version = 1" + OF + ")", 2), 2, "its hash"),
    "a version gone": ("DELETE FROM config WHERE version = 2" + OF, 2, "is missing"),
    "the first gone": ("DELETE FROM config WHERE version = 1" + OF, 1, "is missing"),
    "a number": (VERSION.format("version = 9", 5), 5, "is missing"),
    "a name": (f"UPDATE config_name SET name = 'new' WHERE name = '{CONFIG}'", 1, "as set by version 1 of 'new'"),
}


ON_BOTH = {"a value", "a text", "a digest", "a value gone", "an author", "a hash", "a version gone", "a name"}
"""The others are the same SQL to both databases."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.crossed] if name in ON_BOTH else []) for name in BROKEN]
)
def test_what_is_broken_is_named(filled: Kept, name: str) -> None:
    """P5: the config and its first broken version, and what is wrong with it; the other configs are intact."""
    statement, number, what = BROKEN[name]
    filled.damage(statement)
    found = [finding for finding in filled.findings() if finding.version is not None]
    assert [(one.version, one.breaks) for one in found] == [(number, True)]
    assert found[0].config == ("new" if name == "a name" else CONFIG)
    assert re.search(what, found[0].what)


def test_a_head_whose_values_are_left_is_missing(filled: Kept) -> None:
    filled.damage("DELETE FROM config WHERE version = 5" + OF)
    found = filled.findings()
    assert [str(one) for one in found] == [
        f"config '{CONFIG}', version 5: is missing, and has values",
        f"config '{CONFIG}': the outcome of request 'r-1' is not a version of it",
    ]


@pytest.mark.crossed
def test_a_value_whose_digest_was_changed_too_is_found(filled: Kept) -> None:
    """The hash of its version does not match."""
    digest = value_digest(CONFIG, 2, "integer", Value.of_integer(9)).hex()
    literal = f"X'{digest}'" if filled.url.startswith("sqlite") else f"decode('{digest}', 'hex')"
    filled.damage(VALUE.format(f"int_value = 9, digest = {literal}", "integer", 2))
    assert [str(one) for one in filled.findings()] == [f"config '{CONFIG}', version 2: does not match its hash"]


def test_the_first_broken_version_of_each_config_is_named(filled: Kept) -> None:
    for number in (4, 2, 3):
        filled.damage(VERSION.format("author = 'eve'", number))
    filled.damage(f"UPDATE config SET author = 'eve' WHERE config_name_id = {NAME_ID.format('other')}")
    assert [(one.config, one.version) for one in filled.findings()] == [(CONFIG, 2), ("other", 1)]


STRAYS = {
    "DELETE FROM config_name WHERE name = 'other'": [
        "there is a version of a config that has no name",
        "there is a value of a config that has no name",
    ],
    f"DELETE FROM config WHERE config_name_id = {NAME_ID.format('other')}": ["config 'other', version 1: is missing"],
    f"UPDATE config_request SET config_name = 'other' WHERE config_name = '{CONFIG}'": [
        "config 'other': the outcome of request 'r-1' is not a version of it"
    ],
    "UPDATE config_request SET created = (1 = 1) WHERE config_id IS NULL": [
        "config 'nothing': the outcome of request 'r-2' is not a version of it"
    ],
}


@pytest.mark.parametrize("statement", STRAYS)
def test_rows_that_belong_to_nothing_are_found(filled: Kept, statement: str) -> None:
    """P8: so are outcomes that cannot answer a retry."""
    filled.damage(statement)
    found = filled.findings()
    assert all(one.breaks for one in found)
    assert [str(one)[: len(text)] for one, text in zip(found, STRAYS[statement], strict=False)] == STRAYS[statement]


VALUE_ID = "(SELECT id FROM config_value WHERE name = '{}' AND version = {}" + OF + ")"
LINES = "config_id = (SELECT id FROM config WHERE version = 3" + OF + ")"
KEYFRAMES = {
    "a line gone": f"DELETE FROM config_value_association WHERE {LINES} AND config_value_id = "
    + VALUE_ID.format("whole", 3),
    "an older value": "UPDATE config_value_association SET config_value_id = "
    + VALUE_ID.format("integer", 1)
    + f" WHERE {LINES} AND config_value_id = "
    + VALUE_ID.format("integer", 2),
    "a line more": "INSERT INTO config_value_association SELECT config_id, "
    + VALUE_ID.format("é", 4)
    + f" FROM config_value_association WHERE {LINES} LIMIT 1",
    "at another version": "UPDATE config_value_association SET config_id = config_id + 1",
}


@pytest.mark.parametrize("name", KEYFRAMES)
def test_a_damaged_keyframe_is_a_warning(filled: Kept, name: str) -> None:
    """No read uses it, so no answer is wrong."""
    filled.damage(KEYFRAMES[name])
    ((finding),) = filled.findings()
    assert (finding.config, finding.version, finding.breaks) == (CONFIG, 4 if "another" in name else 3, False)
    assert finding.what.startswith("its keyframe is not its map")


def test_a_keyframe_without_a_version_is_a_warning(filled: Kept) -> None:
    filled.damage("UPDATE config_value_association SET config_id = 999")
    ((finding),) = filled.findings()
    assert not finding.breaks
    assert str(finding).startswith("there is a keyframe of a version that is not there")


@pytest.mark.crossed
@pytest.mark.parametrize(("versions", "values", "size_bytes"), [(1, 1, 1), (2, 3, 1 << 20), (3, 1 << 20, 60)])
def test_portions_of_any_size_find_the_same(filled: Kept, versions: int, values: int, size_bytes: int) -> None:
    """Memory is bounded by reading in portions, and where they end makes no difference."""
    portion = Portion(versions, values, size_bytes, rows=1)
    assert filled.findings(portion) == []
    filled.damage(VERSION.format("author = 'eve'", 4))
    filled.damage("DELETE FROM config_value_association")
    assert [(one.config, one.version) for one in filled.findings(portion)] == [(CONFIG, 4)]


@pytest.mark.crossed
def test_commits_during_the_walk_are_no_findings(filled: Kept) -> None:
    """A version that is written meanwhile is not checked."""

    def commit_more(_versions: int) -> None:
        commit(filled.store, {"x": None}, config="other")
        commit(filled.store, {"x": 2}, config="other")

    with inspecting(filled.url) as inspection:
        assert list(Verification(inspection).findings(commit_more)) == []
    assert filled.findings() == []


# --- the command ------------------------------------------------------------------------


def verify(url: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it printed."""
    program = [sys.executable, "-m", "lamina_server", "verify", "--database", url]
    done = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.crossed
def test_the_command(filled: Kept) -> None:
    code, printed, log = verify(filled.url)
    assert (code, log) == (0, "")
    assert printed.startswith("lamina-server: 3 configs, 7 versions and 15 values are intact in ")
    filled.damage("UPDATE config_value_association SET config_id = config_id + 1")
    filled.damage(VERSION.format("author = 'eve'", 5))
    code, printed, _ = verify(filled.url)
    warning, broken, last = printed.splitlines()
    assert warning.startswith(f"warning: config '{CONFIG}', version 4: its keyframe is not its map")
    assert (code, broken) == (1, f"broken: config '{CONFIG}', version 5: does not match its hash")
    assert last.endswith(" is broken")


def test_beside_a_server_that_commits(tmp_path: Path) -> None:
    """It needs no lock, and leaves the server's log of writes to the server. A warning breaks nothing."""
    path = tmp_path / "lamina.db"
    url = f"sqlite:///{path}"
    with closing(open_store(url)) as store:
        commit(store, {"x": 1})
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO config_value_association VALUES (1, 1)")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("INSERT INTO config_value_association VALUES (1, 99)")
    with ServerProcess(url) as server, lamina.connect(server.target) as client:
        cfg = client.config(CONFIG)
        cfg["x"] = 2
        assert cfg.commit().number == 2
        before = (tmp_path / "lamina.db-wal").read_bytes()
        code, printed, log = verify(url)
        assert (tmp_path / "lamina.db-wal").read_bytes() == before
        assert (code, log) == (0, "")
        warning, last = printed.splitlines()
        assert warning.startswith(f"warning: config '{CONFIG}', version 1: its keyframe is not its map")
        assert last == f"lamina-server: 1 configs, 2 versions and 2 values are intact in {path}"
        cfg["x"] = 3
        assert cfg.commit().number == 3


@pytest.mark.parametrize("wanted", [b"a text to be found", b"a/key/to/be/found"])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_flipped_bits_in_sqlites_file(tmp_path: Path, wanted: bytes, bit: int) -> None:
    path = tmp_path / "lamina.db"
    store = open_store(f"sqlite:///{path}")
    commit(store, {"x": 1})
    commit(store, {"a/key/to/be/found": 1, "b": "a text to be found"})
    store.close()
    content = bytearray(path.read_bytes())
    place = 0
    while (place := content.find(wanted, place)) >= 0:
        content[place + 3] ^= bit
        place += 1
    path.write_bytes(content)
    code, printed, _ = verify(f"sqlite:///{path}")
    assert code == 1
    assert printed.startswith(f"broken: config '{CONFIG}', version ")


def test_damaged_pages_are_findings(tmp_path: Path) -> None:
    """Also where damage is met outside of a config, among all values or all outcomes of requests."""
    path = tmp_path / "lamina.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        commit(store, {f"key/{number}": number for number in range(5_000)})
    damage_pages(path)
    with inspecting(f"sqlite:///{path}") as inspection:
        found = [str(each) for each in Verification(inspection).findings(lambda _: None)]
    damaged = "the SQLite file is damaged: restore a backup"
    assert found == [f"config {CONFIG!r}, version 1: {damaged}", damaged]


def test_a_database_that_cannot_be_read(tmp_path: Path) -> None:
    """It is an error and not a finding. The error names the cause, and no file is made."""
    (tmp_path / "text.db").write_text("no database at all, whatever its name says, as it is longer than a header is")
    with closing(sqlite3.connect(tmp_path / "empty.db")) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    for url, words in (
        (f"sqlite:///{tmp_path}/none.db", "there is no database"),
        (f"sqlite:///{tmp_path}/text.db", "cannot be used: it is not a SQLite database"),
        (f"sqlite:///{tmp_path}/empty.db", "the database has no tables of Lamina's"),
        ("sqlite://", "in memory"),
        ("postgresql://localhost:1/lamina", "localhost:1/lamina cannot be used: nothing listens there"),
    ):
        with pytest.raises(UnusableStoreError, match=words), inspecting(url):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {"text.db", "empty.db"}
    code, printed, log = verify(f"sqlite:///{tmp_path}/none.db")
    assert (code, printed) == (1, "")
    assert log.startswith("lamina-server: there is no database")
