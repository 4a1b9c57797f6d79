"""Four file formats: an exported map is imported without loss, and a value that would be lost is refused."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina.cli import formats
from lamina.cli.formats import FormatError, dump, format_of, load

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TRICKY_WORDS = r"""
no Yes on OFF y n 0755 0o755 1e3 1_000 0b1 .5 1:30 null ~ NULL true 2026-11-23 2026-11-23T10:00:00Z #b &a *a !t | > % @
` ? - = << {} [] .inf .nan ' " \ $HOME `id` $(id) it's ~/x a;b --- ... '''
"""
TRICKY = st.sampled_from(
    [
        *TRICKY_WORDS.split(),
        *["", "- a", "a: b", "a #b", " lead", "trail ", "a: b: c", "export A=1", "😀", "日本語"],
        *["a\nb", "a\n", "\na", "a\n\n", " a\nb", "a \nb", "\t", "a\tb", "\r\n", "a\r\nb"],
        *["\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe"],
    ]
)
WORDS = TEXT | TRICKY
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = WORDS | NUMBERS | st.booleans()
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1) | TRICKY.filter(
    lambda text: text.isprintable() and bool(text)
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=8
    )


def typed(value: Any) -> Any:
    """Make a value that is equal to another one only if the types are equal too."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    if isinstance(value, lamina.Secret):
        return ("secret", typed(value.reveal().copy() if isinstance(value.reveal(), list | dict) else value.reveal()))
    return [typed(item) for item in value] if isinstance(value, list) else (type(value), value)


def check_round_trip(form: str, entries: dict[str, Any]) -> None:
    written = dump(form, entries)
    assert typed(load(form, written.encode())) == typed(entries), written


@given(st.dictionaries(KEYS, nested(PLAIN | st.none()) | st.binary()))
def test_yaml_makes_a_round_trip(entries: dict[str, Any]) -> None:
    check_round_trip("yaml", entries)


SECRETS = (WORDS | st.binary() | nested(PLAIN | st.none()).filter(lambda made: isinstance(made, list | dict))).map(
    lamina.Secret
)


@given(st.dictionaries(KEYS, SECRETS | PLAIN, max_size=4))
def test_yaml_with_secrets_makes_a_round_trip(entries: dict[str, Any]) -> None:
    check_round_trip("yaml", entries)


def test_yaml_is_in_order_of_the_keys_whoever_writes_an_entry() -> None:
    """Short lines are written without ruamel."""
    text = formats.dump("yaml", {"d": [1], "c": "x: y", "b": None, "a": 1, "lines": "one\ntwo", "é": "é"})
    assert (
        text
        == """\
a: 1
b: null
c: "x: y"
d:
  - 1
lines: |-
  one
  two
"é": "é"
"""
    )


@given(st.dictionaries(KEYS, nested(PLAIN | st.none())))
def test_json_makes_a_round_trip(entries: dict[str, Any]) -> None:
    check_round_trip("json", entries)


@given(st.dictionaries(KEYS, nested(PLAIN)))
def test_toml_makes_a_round_trip(entries: dict[str, Any]) -> None:
    check_round_trip("toml", entries)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("0755", 755),
        ("0o755", 493),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e3", 1000.0),
        ("+12e03", 12000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("12e", "12e"),
        ("null", None),
        ("~", None),
        ("", None),
        ("True", True),
        ("tRUE", "tRUE"),
        ('"null"', "null"),
        ("=", "="),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 1", 1.0),
        ("!!binary aGk=", b"hi"),
        ("!!binary |\n  aG\n  k=", b"hi"),
        ("|\n  a\n  b", "a\nb\n"),
        ("{a: [1, {b: 2}]}", {"a": [1, {"b": 2}]}),
        ("&x [1]\nl: *x", [1]),
        ("\tb", "b"),
        (" \t'b'\t# c", "b"),
        ("b\t", "b"),
        ("\t[a,\tb]", ["a", "b"]),
        ("\t|\n  a", "a\n"),
        ("\n  -\tb\n  - \tc", ["b", "c"]),
        ("\n  x:\ty", {"x": "y"}),
    ],
)
def test_yaml_is_1_2(scalar: str, value: Any) -> None:
    read = load("yaml", f"k: {scalar}\n".encode())["k"]
    assert typed(read) == typed(value)


BOMB = "x0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"x{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 30)
)
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("form", "text", "says"),
    [
        ("yaml", "a: 1\nstarted: 2026-11-23\n", "line 2: started: a date is no value"),
        ("yaml", "a: 2026-11-23 10:00:00 +1\n", "line 1: a: a date"),
        ("yaml", "a:\n  - b: 2026-11-23\n", "line 2: a: a date"),
        ("yaml", "2026-11-23: a\n", "line 1: a date"),
        ("yaml", "a: !!timestamp 2026-11-23\n", "line 1: a: the tag !!timestamp has no meaning"),
        ("yaml", "a: !!set {x, y}\n", "!!set"),
        (
            "yaml",
            "a: !python/object:os.system x\n",
            "line 1: a: a tag has no meaning here: quote a text that begins with !",
        ),
        ("yaml", "a: 1\nb: 2\na: 3\n", "line 3: a stands twice, first in line 1"),
        ("yaml", "a: {b: 1, b: 2}\n", "line 1: a: a name stands twice, first in line 1"),
        ("yaml", "8080: a\n", "line 1: the key 8080 is not text: quote it"),
        ("yaml", "null: a\n", "the key null is not text"),
        ("yaml", "[a]: b\n", "the key is not text"),
        ("yaml", "base: &b {x: 1}\nmore:\n  <<: *b\n", "line 3: more: merge keys"),
        ("yaml", "a: *b\n", "line 1: a: an alias has no anchor before it: quote a text that begins with *"),
        ("yaml", "a: &a [*a]\n", "an alias has no anchor before it"),
        ("yaml", BOMB, "more than 2000000 values"),
        ("yaml", "a: .inf\n", "only finite numbers"),
        ("yaml", "a: 1e999\n", "too large for 64 bits"),
        ("yaml", "a: " + "9" * 5000, "too large for 64 bits"),
        ("yaml", "a: " + "[" * 200 + "]" * 200, "nested deeper than 100 levels"),
        ("yaml", "a: !!int x\n", "this is no int"),
        ("yaml", "a: !!binary '?'\n", "this is no base64"),
        ("yaml", "a: [!!binary aGk=]\n", "line 1: a: bytes stand inside a list"),
        ("yaml", "a: 1\n---\nb: 2\n", "line 2: a second document begins"),
        ("yaml", "a: 1\n8080: x\n", "line 2: the key 8080 is not text"),
        ("yaml", "a: 1\n<<: {}\n", "line 2: merge keys"),
        ("yaml", "a: 1\nb: {c: 1, c: 2}\n", "line 2: b: a name stands twice"),
        ("yaml", "%YAML 1.1\n---\na: no\n", "line 2: the document says that it is not YAML 1.2"),
        ("yaml", "", "no map"),
        ("yaml", "- 1\n", "no map"),
        ("yaml", f"z: 1\na: [{SECRET}\n", "line 2: a bracket is not closed"),
        ("yaml", f"z: 1\na: [{SECRET}\nb: 1\n", "but got ':'; the bracket before it is opened in line 2"),
        ("yaml", f"z: 1\na: '{SECRET}\nb: 1\n", "line 2: a quote is not closed"),
        ("yaml", f"z: 1\na: '{SECRET}\nb: 'x'\n", "the quote before it is opened in line 2"),
        ("yaml", "a: 1\n\tb: 2\n", "line 2: found character '\\t' that cannot start any token"),
        ("yaml", "-\ta: 1\n", "line 1: mapping values are not allowed here"),
        ("yaml", f"a: 1\nb: {SECRET}\x1b\n", "line 2: the character U+001B may not stand in YAML"),
        ("json", f'{{"a": "{SECRET}",\n "a": 1}}', "line 2: a: a name stands twice in one object"),
        ("json", f'{{"z": 1,\n"a": [{{"b": "{SECRET}", "c": 2,\n"b": 1}}]}}', "line 3: a: a name stands twice"),
        ("json", '{"z": "NaN, \\"",\n"a": [1, {"b": NaN}]}', "line 2: a: NaN and infinity are not JSON"),
        ("json", '{"z": 1,\n"a": {"b": 1e999}}', "line 2: a: a number is too large for 64 bits"),
        ("json", f'{{"z": 1,\n"a": {"9" * 5000}}}', "line 2: a: an integer is too large for 64 bits"),
        ("json", "\n[NaN]", "line 2: NaN and infinity"),
        ("json", "[1]", "no map"),
        ("json", f'{{\n"a": {SECRET}}}', "line 2, column 6: expecting value"),
        ("toml", "a = 1\nstarted = 2026-11-23\n", "line 2: started has a date"),
        ("toml", "a = [{b = 07:32:00}]\n", "line 1: a has a date or time"),
        ("toml", "a = 1\na = 2\n", "line 2, column 6: cannot overwrite a value"),
        ("toml", f"a = {SECRET}\n", "line 1, column 5: invalid value"),
        ("toml", f'z = [\n1]\na = """{SECRET}\nb = 1\nc = [1]\n', "line 3: unterminated string"),
        ("toml", f"z = [1]\na = [\n'{SECRET}',\n", "line 2: invalid value: is a quote or a bracket closed"),
        ("toml", f'a = 1\nb = "{SECRET}', "line 2: unterminated string"),
        ("yaml", f"a: {{{SECRET}: 1, {SECRET}: 2}}\n", "line 1: a: a name stands twice"),
        ("yaml", f"a: {{!!int 5: {SECRET}}}\n", "line 1: a: the key is not text"),
        ("yaml", f"a: *{SECRET}\n", "line 1: a: an alias has no anchor"),
        ("yaml", f"a: !{SECRET}\n", "line 1: a: a tag has no meaning here"),
        ("yaml", f"a: !{SECRET} x\n", "line 1: a: a tag has no meaning here"),
        ("yaml", f"a: !{SECRET}!x y\n", "line 1: found undefined tag handle"),
        ("json", f'{{"a": {{"{SECRET}": 1,\n "{SECRET}": NaN}}}}', "line 2: a: a name stands twice"),
        ("toml", f"a = {{{SECRET} = 1, {SECRET} = 2}}\n", "duplicate inline table key a name"),
        ("toml", f"[a.{SECRET}]\n[a.{SECRET}]\n", "cannot declare a name twice"),
        ("toml", f"a = {{{SECRET} = 2026-11-23}}\n", "line 1: a has a date or time"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_and_without_its_value(form: str, text: str, says: str) -> None:
    with pytest.raises(FormatError, match=re.escape(says)) as refusal:
        load(form, text.encode())
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("form", formats.FORMATS)
def test_bytes_that_are_no_text_are_refused(form: str) -> None:
    with pytest.raises(FormatError, match="line 2: not UTF-8"):
        load(form, b"a: 1\n\xff")


@pytest.mark.parametrize("form", formats.FORMATS)
def test_a_byte_order_mark_is_ignored(form: str) -> None:
    assert load(form, b"\xef\xbb\xbf" + dump(form, {"a": "b"}).encode()) == {"a": "b"}


@pytest.mark.parametrize(
    ("form", "entries", "says"),
    [
        ("toml", {"ok": 1, "bad": None}, "TOML cannot hold bad"),
        ("toml", {"bad": {"deep": [1, {"er": None}]}}, "bad.deep[1].er"),
        ("toml", {"bad": SECRET.encode()}, "TOML cannot hold bad: it is bytes"),
        ("json", {"bad": SECRET.encode()}, "JSON cannot hold bad"),
    ],
)
def test_a_value_that_a_format_cannot_hold_is_named(form: str, entries: dict[str, Any], says: str) -> None:
    with pytest.raises(FormatError, match=re.escape(says)) as refusal:
        dump(form, entries)
    assert SECRET not in str(refusal.value)


def test_yaml_is_pleasant_to_read() -> None:
    entries = {"hosts": ["h1", {"port": 1}], "ip": "10.0.0.1", "motd": "a\nb\n", "no": "no", "path": "/bin", "v": "1.2"}
    assert dump("yaml", entries) == (
        'hosts:\n  - h1\n  - port: 1\nip: 10.0.0.1\nmotd: |\n  a\n  b\n"no": "no"\npath: /bin\nv: "1.2"\n'
    )


@pytest.mark.parametrize(
    ("path", "form"),
    [("a.yaml", "yaml"), ("a.YML", "yaml"), ("d/a.toml", "toml"), ("a.json", "json"), ("a.env", "env"), (".env", "env"),
     ("a.txt", None), ("-", None), ("env", None)],
)  # fmt: skip
def test_the_suffix_decides_the_format(path: str, form: str | None) -> None:
    assert format_of(path) == form
