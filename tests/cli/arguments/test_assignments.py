"""The assignments of `lamina set`, parsed."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.cli.arguments.assignments import NotationError, escape_key, parse, parse_all

FILES = {"greeting.txt": b"hello\n", "hosts.json": b'["h1", "h2"]', "picture.png": b"\x89PNG", "bad.json": b"{"}
SECRET = "hunter2"


def read(path: str) -> bytes:
    return FILES[path]


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("timeout=30", "timeout", "30"),
        ("timeout:=30", "timeout", 30),
        ("ratio:=1e3", "ratio", 1000.0),
        ("on:=true", "on", True),
        ("nothing:=null", "nothing", None),
        ('text:="30"', "text", "30"),
        ('hosts:=["h1", {"a": 1}]', "hosts", ["h1", {"a": 1}]),
        ("empty=", "empty", ""),
        ("equation=a=b:=c", "equation", "a=b:=c"),
        ("db/host=h1", "db/host", "h1"),
        ("a:b=c", "a:b", "c"),
        (r"a\:=c", "a:", "c"),
        (r"a\:b:=1", "a:b", 1),
        (r"a\=b=c", "a=b", "c"),
        (r"a\\=c", "a\\", "c"),
        (r"C\D=e", r"C\D", "e"),
        ("greeting=@greeting.txt", "greeting", "hello\n"),
        ("hosts:=@hosts.json", "hosts", ["h1", "h2"]),
        ('at:="@home"', "at", "@home"),
        ("mail=a@b", "mail", "a@b"),
        ("é😀=x y", "é😀", "x y"),
    ],
)
def test_an_assignment_is_parsed(argument: str, key: str, value: Any) -> None:
    assignment = parse(argument, read)
    assert (assignment.key, assignment.value) == (key, value)
    assert type(assignment.value) is type(value)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        (SECRET, "KEY=TEXT"),
        (f"={SECRET}", "no key"),
        (f":={SECRET}", "no key"),
        (f"key:={SECRET}", "what follows key:= is not JSON: line 1, column 1"),
        (f'key:=["{SECRET}"', "not JSON"),
        (f'key:={{"a": "{SECRET}", "a": 1}}', "line 1: a name stands twice"),
        (f'key:={{"{SECRET}": 1, "{SECRET}": 1}}', "line 1: a name stands twice"),
        (f'key:={{"{SECRET}": NaN}}', "line 1: NaN"),
        ("key:=NaN", "NaN"),
        ("key:=-Infinity", "infinity"),
        ("key:=1e999", "too large"),
        ("key:=" + "9" * 5000, "too large"),
        ("key:=" + "[" * 100_000, "nested too deeply"),
        ("key:=@bad.json", "not JSON in bad.json"),
        ("key=@picture.png", "not UTF-8"),
    ],
)
def test_a_refusal_names_the_key_and_never_the_value(argument: str, says: str) -> None:
    with pytest.raises(NotationError, match=re.escape(says)) as refusal:
        parse(argument, read)
    assert SECRET not in str(refusal.value)


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(NotationError, match="a is set twice"):
        parse_all(["a=1", "b=2", "a:=3"], [], read, read)


@pytest.mark.parametrize(
    ("argument", "advice"),
    [
        ("timeout=30", "timeout:=30"),
        ("on=true", "on:=true"),
        ("hosts=[1]", "hosts:=JSON"),
        (f"password={SECRET}", "password:=JSON"),
        ("hosts=@hosts.json", "hosts:=@hosts.json"),
        (r"a\=b=30", r"a\=b:=30"),
    ],
)
def test_advice_repeats_no_more_than_a_number(argument: str, advice: str) -> None:
    assert parse(argument, read).advice == advice


def test_a_repr_hides_the_value() -> None:
    assert SECRET not in repr(parse(f"password={SECRET}", read))


KEYS = st.text(st.sampled_from("ab=:\\@ é")) | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
VALUES = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not text.startswith("@"))


@given(KEYS.filter(bool), VALUES)
def test_every_key_and_text_can_be_written(key: str, text: str) -> None:
    assert (parse(f"{escape_key(key)}={text}", read).key, parse(f"{escape_key(key)}={text}", read).value) == (key, text)
    typed = parse(f"{escape_key(key)}:={json.dumps(text)}", read)
    assert (typed.key, typed.value) == (key, text)
