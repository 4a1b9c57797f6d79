"""Every kind of value comes back as it was put in, wherever it is read."""

import struct
from typing import Any

import pytest

from lamina_server.domain.values import INTEGER_MAX, INTEGER_MIN, Value
from lamina_server.store.contract import Store
from tests.conformance.commits import CONFIG, commit, map_at, values

MIB = 1024 * 1024
TEXTS = [
    "",
    " ",
    "text",
    "1",
    "true",
    "null",
    "e\u0301 \u00e9",
    "\ud7ff\ue000\uffff\U0010ffff",
    "\r\n\t\x01\x7f",
    "'\"\\%_",
]
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    **{f"integer {number}": number for number in (0, 1, -1, 2**31, 2**53 + 1, INTEGER_MIN, INTEGER_MAX)},
    **{
        f"float {number!r}": number
        for number in (0.0, 1.0, -1.5, 0.1, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**63)
    },
    **{f"text {number}": text for number, text in enumerate(TEXTS)},
    "text of a mebibyte": "\u00e9" * (MIB // 2),
    "no bytes": b"",
    "bytes": bytes(range(256)),
    "bytes of a mebibyte": b"\x00\xff" * (MIB // 2),
    "empty list": [],
    "empty object": {},
    "secret": Value.of_secret(b"\xf5LS\x01" + bytes(range(60))),
    "json": {"b": [1, 1.0, True, None, "\u00e9\U0001f600"], "a": {"\U00010000": -0.0, "\uffff": [{}]}},
}


def test_values_of_all_kinds_are_read_back_unchanged_by_every_read(store: Store) -> None:
    commit(store, VALUES)
    expected = values(VALUES)
    with store.read() as reading:
        assert map_at(reading, 1) == expected
        assert {key: state.value for key, state in reading.states(CONFIG, 1, list(VALUES)).items()} == expected
        assert {each.key: each.value for _, each in reading.changes(CONFIG, after=(0, ""), through=1)} == expected
        for key, each in expected.items():
            (found,) = reading.key_history(CONFIG, key, after=0, before=2, limit=5, newest_first=True)
            assert found.value == each
            assert found.value is not None
            assert type(found.value.data) is type(each.data)
            assert found.value.canonical == each.canonical


def test_negative_zero_is_zero(store: Store) -> None:
    commit(store, {"x": -0.0, "y": [-0.0]})
    with store.read() as reading:
        found = map_at(reading, 1)
    assert found["x"].canonical == struct.pack(">d", 0.0)
    assert found["y"] == Value.of_json("[0.0]")


@pytest.mark.parametrize("pair", [(True, 1), (1, 1.0), ("1", 1), (b"a", "a"), ("[]", []), (None, False), ("", b"")])
def test_similar_values_of_different_kinds_stay_different(store: Store, pair: tuple[object, object]) -> None:
    for each in pair:
        commit(store, {"x": each})
    with store.read() as reading:
        one, other = map_at(reading, 1)["x"], map_at(reading, 2)["x"]
    assert one.kind is not other.kind
    assert (one, other) == tuple(values({"one": pair[0], "other": pair[1]}).values())
