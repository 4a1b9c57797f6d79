"""Versions in gRPC metadata and in baggage headers; hostile headers do no harm."""

import re
from typing import Any
from urllib.parse import unquote

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamina import carry
from lamina._provenance import baggage
from lamina._provenance.baggage import Member, build, member, parse


class Shown:
    """An object that shows a version."""

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version


PROD, FLAGS = Shown("payments/prod", 17), Shown("flags", 3)
TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
OCTETS = st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",;\\'], max_size=12)
PROPERTY = st.one_of(TOKEN, st.builds("{}={}".format, TOKEN, OCTETS))
MEMBERS = st.lists(st.builds(Member, TOKEN, OCTETS, st.lists(PROPERTY, max_size=3).map(tuple)), max_size=6)
VERSIONS = st.dictionaries(
    st.lists(st.text("aZ0._-", max_size=6).map("a{}".format), min_size=1, max_size=3).map("/".join),
    st.integers(1, 2**63 - 1),
    max_size=8,
)
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text('lamin=@,;%0123456789ab/ \t\r\n\0"\\', max_size=60),
    OCTETS.map("lamina={}".format),
    st.binary(max_size=60),
)


@given(TOKEN, TEXT)
@example("key", "DF 28")
@example("lamina", "payments/prod@17,flags@3")
@example("k", '%20+%zz"\\;,=äß☃\0\r\n\U0001f600')
def test_any_text_makes_a_round_trip(key: str, value: str) -> None:
    header = build([member(key, value)])
    assert header.isascii()
    assert header.isprintable()
    assert not re.search(r'[\s",;\\]', header.removeprefix(key))
    assert [(each.key, each.value, each.properties) for each in parse(header)] == [(key, value, ())]


@given(MEMBERS, st.sampled_from(["", " ", "\t", " \t "]))
def test_any_members_make_a_round_trip(members: list[Member], space: str) -> None:
    """Also with white space wherever the standard allows it."""
    assert parse(build(members)) == members
    written = (re.sub("(?<=[^;=])(;)", rf"{space}\1{space}", str(each), count=len(each.properties)) for each in members)
    assert [(each.key, each.value) for each in parse(f"{space},{space}".join(written))] == [
        (each.key, each.value) for each in members
    ]


def test_the_examples_of_the_standard() -> None:
    header = "key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue"
    assert parse(header) == [
        Member("key1", "value1", ("property1", "property2")),
        Member("key2", "value2"),
        Member("key3", "value3", ("propertyKey=propertyValue",)),
    ]
    assert [each.value for each in parse("userId =   alice,serverNode = DF%2028, isProduction = false")] == [
        "alice",
        "DF 28",
        "false",
    ]
    assert parse("a=b=c=;p==")[0] == Member("a", "b=c=", ("p==",))
    assert parse("a=%FF%41")[0].value == "�A"  # no UTF-8
    assert str(member("node", "DF 28")) == "node=DF%2028"


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "a",
        "=b",
        "a b=c",
        "a=b c",
        'a="b"',
        "a=b\\c",
        "a=é",
        "a=b;",
        "a=b;;c",
        "a=b;=c",
        "a=b\r\nc: d",
        "a\0=b",
        "(=b",
    ],
)
def test_a_malformed_member_is_left_out_and_the_others_stay(malformed: str) -> None:
    assert parse(malformed) == []
    assert parse(f"x=1,{malformed},y=2;p") == [Member("x", "1"), Member("y", "2", ("p",))]
    assert carry.to_baggage(f"x=1,{malformed},y=2;p", FLAGS) == "x=1,y=2;p,lamina=flags@3"


# --- versions in a header -----------------------------------------------------------------------


def test_versions_are_added_to_a_header_and_the_rest_is_kept() -> None:
    assert carry.to_baggage(None, PROD) == "lamina=payments/prod@17"
    header = carry.to_baggage("user=%C3%A4da;ttl=60, bad=%zz , dup=1,dup=2", PROD, FLAGS)
    assert header == "user=%C3%A4da;ttl=60,bad=%zz,dup=1,dup=2,lamina=payments/prod@17%2Cflags@3"
    assert carry.from_baggage(header) == carry.from_baggage(header.encode()) == {"payments/prod": 17, "flags": 3}
    # A service on the way names the versions that it follows; the others are passed on.
    assert carry.from_baggage(carry.to_baggage(header, Shown("flags", 4))) == {"payments/prod": 17, "flags": 4}
    assert carry.from_baggage("lamina=a@1,lamina=b@2;p=1") == {"a": 1, "b": 2}
    assert carry.from_baggage("lamina=a@1,lamina=a@2") == {}
    assert carry.to_baggage("x=1", Shown("nothing", 0)) == "x=1"
    assert carry.to_baggage(None) == ""


def test_a_full_header_is_passed_on_unchanged() -> None:
    full = ",".join(f"k{number}=v" for number in range(baggage.MEMBERS_LIMIT))
    assert carry.to_baggage(full, PROD) == full
    assert carry.to_baggage(full.removesuffix(",k63=v"), PROD).endswith(",lamina=payments/prod@17")
    long = "k=" + "v" * (baggage.BYTES_LIMIT - 2 - len(",lamina=flags@3"))
    assert len(carry.to_baggage(long, FLAGS)) == baggage.BYTES_LIMIT
    assert carry.to_baggage(f"{long}v", FLAGS) == f"{long}v"
    assert carry.from_baggage(f"{full},lamina=flags@3") == {}
    assert carry.from_baggage(f"lamina=flags@3,{long}vv") == {}


@given(VERSIONS, MEMBERS)
def test_versions_make_a_round_trip(versions: dict[str, int], members: list[Member]) -> None:
    lives = [Shown(config, version) for config, version in versions.items()]
    others = [each for each in members if each.key != carry.BAGGAGE_KEY]
    header = carry.to_baggage(build(others), *lives)
    assert carry.from_baggage(header) == versions
    assert [each for each in parse(header) if each.key != carry.BAGGAGE_KEY] == others
    assert carry.from_metadata([("other", "x"), *carry.to_metadata(*lives)]) == versions


@given(HOSTILE)
@example("lamina=" + "a@1%2C" * 1300)
@example("lamina=a@1" + ";p" * 4000)
@example("lamina=" + "%" * 8000)
@example("a" * 100_000)
@example("a=" + "b" * 100_000 + " " * 100_000 + '"')
def test_hostile_headers_do_no_harm(header: Any) -> None:
    """Nothing raises, and only a well-formed config and version is accepted."""
    for versions in (carry.from_baggage(header), carry.from_metadata([(carry.METADATA_KEY, header)])):
        for config, version in versions.items():
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", config)
            assert 0 < version < 2**63
            assert f"{config}@{version}" in unquote(header.decode("latin-1") if isinstance(header, bytes) else header)
    passed_on = carry.to_baggage(header, FLAGS)
    assert passed_on.isascii()
    assert passed_on == "" or passed_on.isprintable()
    assert parse(carry.to_baggage(passed_on, FLAGS)) == parse(passed_on)


# --- versions in metadata -----------------------------------------------------------------------


def test_versions_in_grpc_metadata() -> None:
    pairs = carry.to_metadata(PROD, FLAGS)
    assert pairs == (("lamina-versions", "payments/prod@17,flags@3"),)
    versions = {"payments/prod": 17, "flags": 3}
    assert carry.from_metadata(pairs) == carry.from_metadata(grpc.aio.Metadata(*pairs)) == versions
    assert carry.from_metadata([("lamina-versions", b"flags@3"), ("x-bin", b"\xff"), *pairs]) == versions
    assert carry.from_metadata([("lamina-versions", "a@1"), ("lamina-versions", "a@2")]) == {}
    assert carry.from_metadata(None) == carry.from_metadata(()) == {}
    # Passed on by a service that follows only one of them.
    assert carry.from_metadata(carry.to_metadata(Shown("flags", 4), carried=versions)) == {**versions, "flags": 4}
    assert carry.to_metadata() == carry.to_metadata(Shown("nothing", 0)) == ()
    many = {f"config-{number}/{'x' * 100}": 1 for number in range(80)}
    assert carry.to_metadata(carried=many) == ()  # a call with more than 8 KiB of metadata is refused
