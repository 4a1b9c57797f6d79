"""Rows that are not what was written: an error that names them, and never a wrong value."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lamina_server.domain.errors import HashMismatchError, Reason
from lamina_server.domain.selection import KeyFilter
from lamina_server.store.contract import Reading, Store
from lamina_server.store.open import open_store
from tests.conformance.commits import CONFIG, DELETED, commit, insert, map_at, values
from tests.conformance.places import Capability, Place, damage

SET = "UPDATE config_value SET {} WHERE name = :name AND version = :version"
FLIPPED_DIGEST = "digest = (SELECT digest FROM config_value WHERE name = 'text' AND version = 1)"

DAMAGED: dict[str, tuple[str, str]] = {
    "an integer": ("integer", "int_value = int_value + 1"),
    "a boolean": ("boolean", "int_value = 0"),
    "a float": ("float", "float_value = float_value + 1"),
    "a text": ("text", "string_value = 'tent'"),
    "some bytes": ("bytes", "bytes_value = NULL"),
    "a json text": ("json", "string_value = '[2]'"),
    "a kind": ("integer", "kind = 1"),
    "a kind with another column": ("integer", "kind = 3"),
    "an unknown kind": ("integer", "kind = 7"),
    "a text that is json": ("json", "kind = 4"),
    "a value become a tombstone": ("null", "deleted = (1 = 1)"),
    "a tombstone become a value": ("gone", "deleted = (1 = 0)"),
    "a digest": ("integer", FLIPPED_DIGEST),
    "an empty digest": ("integer", "digest = substr(digest, 1, 0)"),
}

QUESTIONS: dict[str, Callable[[Reading, str], object]] = {
    "entries": lambda reading, _: list(reading.entries(CONFIG, 2)),
    "entries by key": lambda reading, key: list(reading.entries(CONFIG, 2, KeyFilter(keys=(key,)))),
    "entries by prefix": lambda reading, key: list(reading.entries(CONFIG, 2, KeyFilter(prefixes=(key,)))),
    "states": lambda reading, key: reading.states(CONFIG, 2, [key]),
    "key history": lambda reading, key: reading.key_history(
        CONFIG, key, after=0, before=9, limit=9, newest_first=False
    ),
    "changes": lambda reading, _: list(reading.changes(CONFIG, after=(0, ""), through=2)),
}


@pytest.fixture
def damaged(place: Place, store: Store) -> Store:
    """A store with values of all kinds, some of them about to be damaged."""
    place.need(Capability.ROWS)
    scalars = {"integer": 7, "boolean": True, "float": 1.5, "text": "text", "bytes": b"12", "null": None}
    commit(store, {**scalars, "json": [1], "gone": 1})
    commit(store, {"gone": DELETED, "whole": 1})
    return store


class TestDamagedValues:
    @pytest.mark.parametrize("name", DAMAGED)
    def test_the_error_names_config_version_and_key(self, damaged: Store, name: str) -> None:
        key, assignment = DAMAGED[name]
        version = 2 if key == "gone" else 1
        text = f"{key!r} as set by version {version} of {CONFIG!r} does not match its digest"
        damage(damaged, SET.format(assignment), name=key, version=version)
        with damaged.read() as reading:
            for question in QUESTIONS.values():
                with pytest.raises(HashMismatchError) as caught:
                    question(reading, key)
                assert caught.value.reason is Reason.HASH_MISMATCH
                assert str(caught.value) == text
            assert reading.states(CONFIG, 2, ["whole"])["whole"].value == values({"": 1})[""]

    def test_a_damaged_row_of_a_keyframe_is_an_error(self, damaged: Store) -> None:
        damaged.write_keyframe(CONFIG)
        damage(damaged, SET.format("int_value = 8"), name="integer", version=1)
        with damaged.read() as reading, pytest.raises(HashMismatchError):
            map_at(reading, 2)

    def test_a_row_of_another_key_is_an_error(self, damaged: Store) -> None:
        damage(damaged, SET.format("name = 'renamed'"), name="integer", version=1)
        with damaged.read() as reading:
            with pytest.raises(HashMismatchError, match="'renamed' as set by version 1"):
                reading.states(CONFIG, 2, ["renamed"])
            with pytest.raises(HashMismatchError):
                map_at(reading, 1)

    def test_a_row_of_another_version_is_an_error(self, damaged: Store) -> None:
        damage(damaged, SET.format("version = 2"), name="integer", version=1)
        with damaged.read() as reading:
            for number in (1, 2):
                with pytest.raises(HashMismatchError):
                    map_at(reading, number)

    def test_a_row_of_another_config_is_an_error(self, damaged: Store) -> None:
        commit(damaged, {"integer": 7}, config="other")
        config = "(SELECT id FROM config_name WHERE name = '{}')".format
        assignments = f"version = 2, config_name_id = {config('other')}"
        statement = SET.format(assignments) + f" AND config_name_id = {config(CONFIG)}"
        damage(damaged, statement, name="integer", version=1)
        with damaged.read() as reading:
            with pytest.raises(HashMismatchError):
                list(reading.changes("other", after=(1, "~"), through=2))
            with pytest.raises(HashMismatchError):
                map_at(reading, 1)

    @pytest.mark.parametrize("keyframe", [False, True])
    def test_a_read_of_the_whole_map_notices_a_missing_row(self, damaged: Store, *, keyframe: bool) -> None:
        if keyframe:
            damaged.write_keyframe(CONFIG)
        damage(damaged, "DELETE FROM config_value WHERE name = :name", name="integer")
        with damaged.read() as reading:
            for number in (1, 2):
                with pytest.raises(HashMismatchError, match=rf"the map of '{CONFIG}' at version {number}"):
                    map_at(reading, number)

    def test_no_keyframe_is_written_of_an_incomplete_map(self, damaged: Store) -> None:
        damage(damaged, "DELETE FROM config_value WHERE name = :name", name="integer")
        for _ in range(2):
            with pytest.raises(HashMismatchError, match=rf"the map of '{CONFIG}' at version 2"):
                damaged.write_keyframe(CONFIG)

    def test_a_writing_block_survives_a_damaged_row(self, damaged: Store) -> None:
        """Of many commits in one block, only the one that meets the damage fails."""
        damage(damaged, SET.format("int_value = 8"), name="integer", version=1)
        with damaged.write() as writing:
            insert(writing, CONFIG, {"whole": 2})
            with pytest.raises(HashMismatchError):
                insert(writing, CONFIG, {"integer": 1})
            insert(writing, CONFIG, {"whole": 3})
        with damaged.read() as reading:
            head = reading.head(CONFIG)
        assert head is not None
        assert head.number == 4


@pytest.mark.parametrize("wanted", [b"a text to be found", b"a/key/to/be/found"])
def test_a_flipped_bit_in_sqlites_file_is_noticed(tmp_path: Path, wanted: bytes) -> None:
    path = tmp_path / "lamina.db"
    store = open_store(f"sqlite:///{path}")
    commit(store, {"a/key/to/be/found": 1, "b": "a text to be found"})
    store.write_keyframe(CONFIG)
    store.close()
    content = bytearray(path.read_bytes())
    assert content.count(wanted)
    place = 0
    while (place := content.find(wanted, place)) >= 0:
        content[place + 3] ^= 1
        place += 1
    path.write_bytes(content)
    store = open_store(f"sqlite:///{path}")
    with store.read() as reading, pytest.raises(HashMismatchError):
        map_at(reading, 1)
    store.close()
