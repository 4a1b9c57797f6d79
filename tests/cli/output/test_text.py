"""JSON and plain text: nothing is lost, and no escape sequence reaches a terminal."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.cli.output.text import escape, escape_json, show, utc, write_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain ü 日本 😀", "plain ü 日本 😀"),
        ("👩\u200d🚀", "👩\u200d🚀"),  # joined into one astronaut
        ("\x1b[31mred", r"\x1b[31mred"),
        ("bell\a", r"bell\x07"),
        ("\x9b31m", r"\x9b31m"),  # one character that begins an escape sequence too
        ("\x7f", r"\x7f"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\u202eevil", r"\u202eevil"),  # from here on right to left
        ("line\u2028two", r"line\u2028two"),
        ("hid\u200bden", r"hid\u200bden"),
        ("lone\udcff", r"lone\udcff"),
    ],
)
def test_control_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_line_breaks_and_tabs_can_stay() -> None:
    assert escape("a\n\tb\r\x1b", keep_layout=True) == "a\n\tb\\r\\x1b"


@given(TEXT)
def test_no_control_character_is_left(text: str) -> None:
    assert not set(escape(text)) & set(map(chr, [*range(32), *range(127, 160)]))


@given(st.recursive(TEXT | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_escaped_json_is_the_same_json(value: Any) -> None:
    for indent in (None, 2):
        text = escape_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(text) == value
        assert not set(text) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160), 0x202E, 0x2028]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        ("a\x1b", r'"a\u001b"'),
        ("\x9b", r'"\u009b"'),
        (b"\0", "!!binary AA=="),
        ({"b": [1, 2], "a": None}, '{"a": null, "b": [1, 2]}'),
    ],
)
def test_a_value_is_shown_as_text(value: Any, text: str) -> None:
    assert show(value) == text


def test_json_is_canonical() -> None:
    assert write_json({"b": [1, 2.0], "a": "ü"}) == '{"a":"ü","b":[1,2.0]}'
    assert write_json(b"\0\1") == '"AAE="'


def test_times_are_utc() -> None:
    assert utc(datetime(2026, 11, 23, 1, 30, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-22T23:30:00.000000Z"
    assert utc(datetime(2026, 11, 23, 1, 30, 0, 5, tzinfo=UTC)) == "2026-11-23T01:30:00.000005Z"
