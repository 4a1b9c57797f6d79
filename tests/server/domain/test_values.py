"""Values: what is accepted, what is equal, and the canonical form that both follow from."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina_server.domain.values import INTEGER_MAX, INTEGER_MIN, JSON_DEPTH_LIMIT, BadValueError, Value, canonical_json

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
integers = st.integers(INTEGER_MIN, INTEGER_MAX)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | texts
nodes = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)
documents = st.lists(nodes) | st.dictionaries(texts, nodes)


def test_true_and_1_and_1_0_are_three_values() -> None:
    values = {
        Value.of_boolean(True),
        Value.of_integer(1),
        Value.of_float(1.0),
        Value.of_string("1"),
        Value.of_bytes(b"1"),
    }
    assert len(values) == 5
    assert len({(value.kind, value.canonical) for value in values}) == 5


def test_canonical_bytes_are_as_documented() -> None:
    assert Value.of_null().canonical == b""
    assert Value.of_boolean(True).canonical == b"\x01"
    assert Value.of_integer(-2).canonical == b"\xff" * 7 + b"\xfe"
    assert Value.of_float(-0.0).canonical == struct.pack(">d", 0.0)
    assert Value.of_string("grün").canonical == "grün".encode()
    assert Value.of_json('{ "b" : [1, 1.0, -0.0, 1e2], "a":"\\u00fc" }').canonical == (
        '{"a":"ü","b":[1,1.0,0.0,100.0]}'.encode()
    )


@given(documents)
def test_equal_json_has_the_same_canonical_text(document: object) -> None:
    plain = Value.of_json(json.dumps(document))
    spread = Value.of_json(json.dumps(document, indent=2, ensure_ascii=False))
    assert plain == spread
    assert Value.of_json(str(plain.data)) == plain
    assert json.loads(str(plain.data)) == document


def test_names_are_sorted_by_code_point() -> None:
    # U+1F600 sorts before U+FB00 in UTF-16, and after it by code point.
    assert canonical_json({"\U0001f600": 1, "\ufb00": 2, "z": 3}) == '{"z":3,"\ufb00":2,"\U0001f600":1}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1", "a list or an object"),
        ('"text"', "a list or an object"),
        ("", "not JSON at position 0"),
        ("{'a': 1}", "not JSON at position 1"),
        ('{"a":1,"a":2}', "same name twice"),
        ('[{"a":{"b":1,"b":1}}]', "same name twice"),
        ("[NaN]", "NaN is not a finite number"),
        ("[-Infinity]", "-Infinity is not a finite number"),
        ("[1e999]", "inf is not a finite number"),
        ('["\\u0000"]', "U+0000 at position 0"),
        ('["\\ud800"]', "lone surrogate at position 0"),
        ('{"\\udfff":1}', "lone surrogate at position 0"),
        (f"[{2**63}]", "exceeds the limit of 64 bits"),
        ("[" + "9" * 5000 + "]", "not JSON"),
        ("[" * 65 + "]" * 65, "deeper than the limit of 64"),
        ("[" * 100_000, "deeper than the limit of 64"),
    ],
)
def test_ambiguous_json_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadValueError, match=complaint.replace("+", r"\+")):
        Value.of_json(text)


def test_the_deepest_json_is_accepted() -> None:
    text = "[" * JSON_DEPTH_LIMIT + "]" * JSON_DEPTH_LIMIT
    assert Value.of_json(text).data == text


@pytest.mark.parametrize("number", [INTEGER_MIN - 1, INTEGER_MAX + 1, 10**30])
def test_integers_have_64_bits(number: int) -> None:
    with pytest.raises(BadValueError, match="64 bits"):
        Value.of_integer(number)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_floats_are_finite(number: float) -> None:
    with pytest.raises(BadValueError, match="not a finite number"):
        Value.of_float(number)


def test_text_with_nul_or_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(BadValueError, match=r"U\+0000 at position 1"):
        Value.of_string("a\x00b")
    with pytest.raises(BadValueError, match="lone surrogate at position 2"):
        Value.of_string("ab\ud800")


@given(texts)
def test_a_repr_does_not_show_the_value(text: str) -> None:
    assert repr(Value.of_string(text)) == "<Value STRING>"
