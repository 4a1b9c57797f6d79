"""Values: what they may be, their canonical form, and how they are sent."""

import ast
import copy
import enum
import io
import json
import math
import pickle
import plistlib
import tomllib
from array import array
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.representer import RepresenterError

import lamina
from lamina._mapping.frozen import FrozenDict, FrozenList, thaw
from lamina._mapping.values import Stored, check_key, decode, dump, encode, load
from lamina_protos.v1 import lamina_pb2 as pb

# The wire takes no U+0000 and no lone surrogates.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | texts
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
values = scalars | st.binary() | nested


def alike(one: Any, other: Any) -> bool:
    """Compare as values are compared: by type and content, at every level."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and bool(one == other)


@given(values)
def test_a_value_comes_back_from_the_wire_as_it_was_written(value: Any) -> None:
    sent = dump(encode(value, key="k")).SerializeToString()
    stored = load(pb.Value.FromString(sent))
    assert stored == encode(value, key="k")
    assert alike(thaw(decode(stored)), value)
    assert decode(stored) == value


@given(values, values)
def test_values_are_equal_if_and_only_if_type_and_content_are(one: Any, other: Any) -> None:
    assert (encode(one, key="k") == encode(other, key="k")) == alike(one, other)


def test_true_and_int_one_and_float_one_are_three_values() -> None:
    assert len({encode(value, key="k") for value in (True, 1, 1.0)}) == 3
    assert len({encode([value], key="k") for value in (True, 1, 1.0)}) == 3


def test_negative_zero_is_zero() -> None:
    assert math.copysign(1, decode(encode(-0.0, key="k"))) == 1
    assert encode([-0.0], key="k").data == "[0.0]"


def test_json_is_canonical() -> None:
    assert encode({"ü": "é\n", "b": [1, 2.5, None], "a": {}}, key="k").data == '{"a":{},"b":[1,2.5,null],"ü":"é\\n"}'


class Colour(enum.StrEnum):
    RED = "red"


class OldColour(str, enum.Enum):  # noqa: UP042 - str() of its members is another text
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Ratio(float):
    pass


class Blob(bytes):
    pass


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Colour.RED, "red"),
        (OldColour.RED, "red"),
        (Level.HIGH, 3),
        (Name("n"), "n"),
        (Ratio(0.5), 0.5),
        (Blob(b"b"), b"b"),
    ],
)
def test_a_subclass_becomes_its_base(value: Any, base: Any) -> None:
    assert alike(decode(encode(value, key="k")), base)
    if not isinstance(value, bytes):
        assert alike(thaw(decode(encode({"x": [value]}, key="k"))), {"x": [base]})
    if isinstance(value, str):
        assert alike(thaw(decode(encode({value: 1}, key="k"))), {base: 1})


class Plain(enum.Enum):
    RED = "red"


# These stand for numpy's types; numpy is not installed here.
NUMPY_INT64 = type("int64", (type("generic", (), {"__module__": "numpy"}),), {"__module__": "numpy"})
NUMPY_ARRAY = type("ndarray", (), {"__module__": "numpy"})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2), "the value of 'k' cannot be a tuple: use a list"),
        ({1, 2}, r"a set: use a list, such as sorted\(value\)"),
        (frozenset(), r"a frozenset: use a list, such as sorted"),
        (1j, "a complex: values are None, bool, int, float, str, bytes, and lists and dicts of these"),
        (bytearray(b"x"), "a bytearray: use bytes"),
        (array("i"), r"an array: use value.tolist\(\)"),
        (datetime(2026, 11, 23, tzinfo=UTC), r"a datetime: use text, such as value.isoformat\(\)"),
        (timedelta(1), r"a timedelta: use a number, such as value.total_seconds\(\)"),
        (Decimal(1), r"a Decimal: use str\(value\) to keep each digit"),
        (UUID(int=1), r"a UUID: use str\(value\)"),
        (PurePosixPath("/x"), r"a PurePosixPath: use str\(value\)"),
        (Plain.RED, "a Plain: use value.value"),
        (NUMPY_INT64(), r"an int64: use value.item\(\)"),
        (NUMPY_ARRAY(), r"a ndarray: use value.tolist\(\)"),
        (object(), "object"),
        ([b"x"], r"the value of 'k'\[0\] cannot be a bytes inside a list or dict"),
        ({"a": [0, (1,)]}, r"the value of 'k'\['a'\]\[1\] cannot be a tuple"),
        ({1: "x"}, "a dict with a key of type int"),
    ],
)
def test_a_wrong_type_is_a_type_error_that_says_where(value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        encode(value, key="k")


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**63, "65 bits with its sign, the limit is 64"),
        (-(2**63) - 1, "limit is 64"),
        (math.nan, "finite"),
        (math.inf, "finite"),
        ([-math.inf], r"\[0\] is not a finite number"),
        ("a\x00b", r"U\+0000"),
        ("\ud800", "surrogate"),
        ({"a": "\x00"}, r"\['a'\] holds U\+0000"),
        ({"\udfff": 1}, "surrogate"),
        (deep(65), "64 levels"),
    ],
)
def test_a_bad_value_is_an_invalid_error_that_says_why(value: Any, words: str) -> None:
    with pytest.raises(lamina.InvalidError, match=words) as caught:
        encode(value, key="k")
    assert caught.value.reason == "BAD_VALUE"


def test_values_at_the_limits_are_accepted() -> None:
    for value in (2**63 - 1, -(2**63), deep(64)):
        assert decode(encode(value, key="k")) == value


def test_no_error_or_repr_shows_a_value() -> None:
    secret = "hunter2"
    with pytest.raises(lamina.InvalidError) as caught:
        encode([secret, secret + "\x00"], key="k")
    assert secret not in str(caught.value)
    assert secret not in repr(encode(secret, key="k"))


@pytest.mark.parametrize("key", ["x", "a b", "über", "x" * 512, "é" * 256, "a/b.c:d=e"])
def test_good_keys_are_accepted(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "1 to 512 bytes, '' has 0"),
        ("x" * 513, "512 bytes, .* has 513"),
        ("é" * 257, "has 514"),
        ("a\nb", "control character"),
        ("a\x7fb", "control character"),
        ("e\u0301", "normal form C"),
        ("\ud800", "surrogate"),
    ],
)
def test_bad_keys_are_refused(key: str, words: str) -> None:
    with pytest.raises(lamina.InvalidError, match=words) as caught:
        check_key(key)
    assert caught.value.reason == "BAD_KEY"


@pytest.mark.parametrize("key", [1, None, b"x", ("x",)])
def test_a_key_must_be_text(key: Any) -> None:
    with pytest.raises(TypeError, match="keys are text"):
        check_key(key)


def test_an_unknown_kind_asks_for_an_upgrade() -> None:
    with pytest.raises(lamina.LaminaError, match="upgrade"):
        load(pb.Value())


def test_a_value_is_copied_when_it_is_assigned() -> None:
    hosts = ["a"]
    stored = encode(hosts, key="k")
    hosts.append("b")
    assert decode(stored) == ["a"]


class TestReadOnly:
    """Lists and dicts as they are read."""

    hosts: Any = decode(encode(["a", {"port": 1}], key="k"))
    database: Any = decode(encode({"port": 1, "tags": ["x"]}, key="k"))

    def test_they_behave_as_lists_and_dicts(self) -> None:
        assert isinstance(self.hosts, list)
        assert isinstance(self.database, dict)
        assert self.hosts == ["a", {"port": 1}]
        assert self.database == {"tags": ["x"], "port": 1}
        assert json.dumps(self.hosts) == '["a", {"port": 1}]'
        assert json.loads(json.dumps(self.database)) == self.database
        assert repr(self.hosts) == "['a', {'port': 1}]"

    @pytest.mark.parametrize(
        "mutate",
        [
            lambda hosts: hosts.append(1),
            lambda hosts: hosts.extend([1]),
            lambda hosts: hosts.insert(0, 1),
            lambda hosts: hosts.pop(),
            lambda hosts: hosts.remove("a"),
            lambda hosts: hosts.clear(),
            lambda hosts: hosts.sort(key=str),
            lambda hosts: hosts.reverse(),
            lambda hosts: hosts.__setitem__(0, 1),
            lambda hosts: hosts.__delitem__(0),
            lambda hosts: hosts[1].update(port=2),
        ],
    )
    def test_a_list_refuses_to_change(self, mutate: Any) -> None:
        with pytest.raises(TypeError, match="read-only: assign a new one"):
            mutate(self.hosts)
        assert self.hosts == ["a", {"port": 1}]

    @pytest.mark.parametrize(
        "mutate",
        [
            lambda database: database.update(port=2),
            lambda database: database.pop("port"),
            lambda database: database.popitem(),
            lambda database: database.clear(),
            lambda database: database.setdefault("x", 1),
            lambda database: database.__setitem__("port", 2),
            lambda database: database.__delitem__("port"),
            lambda database: database["tags"].append("y"),
        ],
    )
    def test_a_dict_refuses_to_change(self, mutate: Any) -> None:
        with pytest.raises(TypeError, match="read-only: assign a new one"):
            mutate(self.database)
        assert self.database == {"tags": ["x"], "port": 1}

    @pytest.mark.parametrize(
        "copied",
        [
            copy.copy,
            copy.deepcopy,
            lambda it: it.copy(),
            lambda it: pickle.loads(pickle.dumps(it)),
        ],
    )
    def test_copies_are_plain_at_every_level(self, copied: Any) -> None:
        hosts, database = copied(self.hosts), copied(self.database)
        assert type(hosts) is list
        assert type(hosts[1]) is dict
        assert type(database) is dict
        assert type(database["tags"]) is list
        assert (hosts, database) == (self.hosts, self.database)

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            (json.dumps, json.loads),
            (tomli_w.dumps, tomllib.loads),
            (pickle.dumps, pickle.loads),
            (plistlib.dumps, plistlib.loads),
            (repr, ast.literal_eval),
            (lambda it: in_yaml(it.copy()), YAML(typ="safe", pure=True).load),
        ],
        ids=["json", "toml", "pickle", "plist", "repr", "a copy in yaml"],
    )
    def test_the_usual_serializers_write_them(self, written: Any, read: Any) -> None:
        again = read(written(self.database))
        assert (type(again), again) == (dict, {"port": 1, "tags": ["x"]})

    def test_yaml_serializers_need_a_plain_copy(self) -> None:
        """They accept only the exact type. If they accept a subclass one day, the documentation can be shorter."""
        with pytest.raises(RepresenterError):
            in_yaml(self.database)

    def test_operators_make_plain_lists_and_dicts(self) -> None:
        hosts: Any = self.hosts
        for made in (hosts + ["b"], ["b"] + hosts, hosts * 2, 2 * hosts):  # noqa: RUF005 - the operators
            assert type(made) is list
            assert {type(item) for item in made} == {str, dict}
        made = self.database | {"x": 1}
        assert type(made) is dict
        assert type(made["tags"]) is list
        assert type({"x": 1} | self.database) is dict

    def test_operators_in_place_make_plain_lists_and_dicts(self) -> None:
        hosts = self.hosts
        hosts += ("b",)
        assert type(hosts) is list
        assert hosts == ["a", {"port": 1}, "b"]
        hosts = self.hosts
        hosts *= 2
        assert type(hosts) is list
        database = self.database
        database |= {"port": 2}
        assert type(database) is dict
        assert database == {"port": 2, "tags": ["x"]}
        assert self.database["port"] == 1

    def test_a_list_or_dict_that_was_read_can_be_written_again(self) -> None:
        assert encode(self.database, key="k") == encode({"port": 1, "tags": ["x"]}, key="k")
        assert isinstance(self.hosts, FrozenList)
        assert isinstance(self.database, FrozenDict)


def in_yaml(it: Any) -> str:
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(it, text)
    return text.getvalue()


def test_names_inside_a_value_are_sorted() -> None:
    assert list(decode(encode({"b": 1, "a": {"z": 1, "y": 2}}, key="k"))) == ["a", "b"]


def test_stored_is_hashable() -> None:
    assert {Stored("int64", 1), Stored("int64", 1)} == {Stored("int64", 1)}
