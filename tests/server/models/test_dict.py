"""`data` compared with a plain dict: every operation, over commits, and every old version unchanged."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.orm import Session

from lamina_server.domain.errors import LimitError
from lamina_server.domain.names import BadNameError
from lamina_server.domain.values import BadValueError
from lamina_server.models import ConfigData, ConfigName, ConfigValue, ConfigValueAssociation
from lamina_server.models.orm import versioning
from lamina_server.models.orm.data_map import MAP_LIMITS

Committed = Callable[..., ConfigData]

keys = st.sampled_from(["a", "b", "c", "ü"])
plains = st.sampled_from([None, True, 1, 1.0, "1", b"1", "", [], [1, {"a": None}], {"b": 1.5}, -(2**63)])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, plains),
        st.tuples(st.just("pop"), keys),
        st.tuples(st.just("setdefault"), keys, plains),
        st.tuples(st.just("update"), st.dictionaries(keys, plains)),
        st.tuples(st.just("replace"), st.dictionaries(keys, plains)),
        st.tuples(st.sampled_from(["clear", "popitem", "commit", "commit", "flush", "rollback", "keyframe"])),
    ),
    max_size=25,
)


class Walk:
    """A config and the dicts that its versions should be."""

    def __init__(self, session: Session) -> None:
        self.session = session
        count = session.scalar(select(func.count(ConfigName.id)))
        self.config = ConfigData({}, config=f"walk/{count}")
        session.add(self.config)
        session.commit()
        self.model: dict[str, Any] = {}
        self.past: dict[int, dict[str, str]] = {self.config.id: {}}
        self.flushed: dict[int, dict[str, str]] = {}
        self.committed: dict[str, Any] = {}

    def step(self, operation: str, *arguments: Any) -> None:
        data, model = self.config.data, self.model
        match operation:
            case "set":
                data[arguments[0]] = model[arguments[0]] = arguments[1]
            case "pop":
                assert exactly(data.pop(arguments[0], "none")) == exactly(model.pop(arguments[0], "none"))
            case "setdefault":
                assert exactly(data.setdefault(*arguments)) == exactly(model.setdefault(*arguments))
            case "update":
                self.config.data |= arguments[0]
                model |= arguments[0]
            case "replace":
                self.config.data = arguments[0]
                self.model = dict(arguments[0])
            case "clear":
                data.clear()
                model.clear()
            case "popitem" if model:
                key, plain = data.popitem()
                assert (key, exactly(plain)) == (max(model), exactly(model.pop(key)))
            case "flush" | "commit" | "rollback" | "keyframe":
                getattr(self, operation)()

    def flush(self) -> None:
        before, changed = self.config.id, image(self.model) != self.newest()
        self.session.flush()
        assert (self.config.id != before) == changed
        self.flushed[self.config.id] = image(self.model)

    def commit(self) -> None:
        self.flush()
        self.session.commit()
        self.past |= self.flushed
        self.flushed.clear()
        self.committed = dict(self.model)

    def rollback(self) -> None:
        self.session.rollback()
        self.flushed.clear()
        self.model = dict(self.committed)
        assert self.config.id == max(self.past)

    def keyframe(self) -> None:
        """Write a keyframe of the version, as a server does."""
        self.commit()
        found = [element.config_value for element in self.config.elements.values()]
        rows = [{"config_id": self.config.id, "config_value_id": value.id} for value in found if value]
        there = select(func.count()).where(ConfigValueAssociation.config_id == self.config.id)
        if rows and not self.session.scalar(there):
            self.session.connection().execute(insert(ConfigValueAssociation), rows)
            self.session.commit()

    def newest(self) -> dict[str, str]:
        everything = self.past | self.flushed
        return everything[max(everything)]


def exactly(plain: Any) -> str:
    """Return a value as a text that is equal if and only if Lamina takes the values to be equal."""
    return repr(plain) if isinstance(plain, bytes) else json.dumps(plain, sort_keys=True)


def image(data: Any) -> dict[str, str]:
    return {key: exactly(data[key]) for key in data}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_any_edits_against_a_plain_dict(engine: Engine, steps: list[tuple[Any, ...]]) -> None:
    with Session(engine) as session:
        walk = Walk(session)
        for step in steps:
            walk.step(*step)
            assert image(walk.config.data) == image(walk.model)
            assert (list(walk.config.data), len(walk.config.data)) == (sorted(walk.model), len(walk.model))
        walk.commit()
    with Session(engine) as session:
        for id_, map_ in walk.past.items():
            old = session.get(ConfigData, id_)
            assert old is not None
            assert image(old.data) == map_


def test_it_behaves_like_a_dict() -> None:
    data, same = ConfigData({"b": 2, "a": 1}).data, {"a": 1, "b": 2}
    number: Any = 1
    assert data == same
    assert same == data
    assert data != {"a": 1}
    assert data == ConfigData(same).data
    assert repr(data) == repr(same)
    assert (list(data), list(reversed(data)), len(data), bool(data)) == (["a", "b"], ["b", "a"], 2, True)
    assert (data.get("c"), data.get("c", 3), "a" in data, "c" in data, number in data) == (None, 3, True, False, False)
    assert (list(data.items()), list(data.values())) == ([("a", 1), ("b", 2)], [1, 2])
    assert (data | {"c": 3}, {"c": 3} | data) == ({"a": 1, "b": 2, "c": 3}, {"c": 3, "a": 1, "b": 2})
    assert type(data | {}) is type({} | data) is type(data.copy()) is type({**data}) is dict
    for missing in (lambda: data["c"], lambda: data.pop("c"), lambda: data.__delitem__("c"), lambda: data[number]):
        with pytest.raises(KeyError):
            missing()
    with pytest.raises(TypeError):
        hash(data)
    with pytest.raises(TypeError):
        data | [("c", 3)]  # type: ignore[operator]
    data.update([("c", 3)], d=4)
    data |= [("e", 5)]
    assert dict(data) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    data.clear()
    assert (dict(data), bool(data)) == ({}, False)
    with pytest.raises(KeyError):
        data.popitem()


def test_a_mapping_pattern_matches_it() -> None:
    match ConfigData({"a": 1}).data:
        case {"a": number}:
            assert number == 1
        case _:
            pytest.fail("no match")


def test_subclasses_become_their_base(committed: Committed) -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "another"

    class Number(int):
        pass

    data = committed({Text("key"): Text("value"), "n": Number(3), "l": [Number(4), Text("in")]}).data
    assert image(data) == {"key": '"value"', "l": '[4, "in"]', "n": "3"}
    assert [type(item) for item in (*data, data["key"], data["n"], *data["l"])] == [str, str, str, str, int, int, str]


def test_lists_and_dicts_come_out_read_only(committed: Committed, session: Session) -> None:
    """An edit in place would be lost without an error, so it raises; operations that copy return plain objects."""
    config = committed({"hosts": ["h1"], "db": {"port": 1, "tags": ["t"]}})
    hosts, db = config.data["hosts"], config.data["db"]
    assert isinstance(hosts, list)
    assert isinstance(db, dict)
    assert json.dumps([hosts, db]) == '[["h1"], {"port": 1, "tags": ["t"]}]'
    edits: list[Callable[[], Any]] = [
        lambda: hosts.append("h2"),
        lambda: hosts.__setitem__(0, "h2"),
        hosts.sort,
        hosts.clear,
        lambda: db.__setitem__("port", 2),
        lambda: db.__delitem__("port"),
        lambda: db.update(port=2),
        lambda: db.setdefault("new", 2),
        lambda: db.pop("port"),
        lambda: db["tags"].append("u"),
    ]
    for edit in edits:
        with pytest.raises(TypeError, match="assign a changed copy"):
            edit()
    config.data["hosts"] += ["h2"]
    config.data["db"] |= {"port": 2}
    session.commit()
    assert config.data == {"hosts": ["h1", "h2"], "db": {"port": 2, "tags": ["t"]}}
    for plain in (copy.deepcopy(db), copy.copy(db), db.copy(), pickle.loads(pickle.dumps(db)), db | {}, {} | db):
        assert plain == db
        assert type(plain) is dict
        assert type(plain["tags"]) is list
    for items in (
        copy.deepcopy(hosts),
        copy.copy(hosts),
        pickle.loads(pickle.dumps(hosts)),
        hosts + ["h2"][:0],
        hosts * 1,
    ):
        assert items == hosts
        assert type(items) is list


def test_an_assigned_value_is_copied(committed: Committed, session: Session) -> None:
    hosts = ["h1"]
    config = committed({"hosts": hosts})
    hosts.append("h2")
    session.commit()
    assert (config.version, config.data["hosts"]) == (1, ["h1"])


@pytest.mark.parametrize(
    ("key", "plain", "error"),
    [
        ("", 1, BadNameError),
        ("a\n", 1, BadNameError),
        ("e\u0301", 1, BadNameError),
        ("k" * 513, 1, BadNameError),
        (1, 1, TypeError),
        (None, 1, TypeError),
        ("k", float("nan"), BadValueError),
        ("k", float("-inf"), BadValueError),
        ("k", 2**63, BadValueError),
        ("k", "\x00", BadValueError),
        ("k", "\ud800", BadValueError),
        ("k", [float("nan")], BadValueError),
        ("k", [["\x00"]], BadValueError),
        ("k", "x" * (1024 * 1024 + 1), LimitError),
        ("k", (1, 2), TypeError),
        ("k", {1: 2}, TypeError),
        ("k", [b"1"], TypeError),
        ("k", [(1,)], TypeError),
        ("k", bytearray(b"1"), TypeError),
        ("k", object(), TypeError),
    ],
)
def test_bad_keys_and_values_are_refused_at_the_assignment(key: Any, plain: Any, error: type[Exception]) -> None:
    data = ConfigData({"k": 1}).data
    with pytest.raises(error):
        data[key] = plain
    assert data == {"k": 1}


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(BadValueError, match="64 levels"):
        ConfigData({"k": endless})


@pytest.mark.parametrize("options", [{"config": "no spaces"}, {"author": ""}, {"message": "m" * 4097}])
def test_bad_names_and_messages_are_refused_by_the_constructor(options: dict[str, str]) -> None:
    with pytest.raises(BadNameError):
        ConfigData({}, **options)


def test_a_map_beyond_its_limits_is_refused_by_the_flush(
    committed: Committed, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versioning, "MAP_LIMITS", type(MAP_LIMITS)(keys=2, size_bytes=100))
    config = committed({"a": 1})
    config.data |= {"b": 2, "c": 3}
    with pytest.raises(LimitError, match="3 keys, the limit is 2 keys"):
        session.commit()
    del config.data["c"]  # nothing was lost: mend it, and go on
    session.commit()
    assert (config.version, dict(config.data)) == (2, {"a": 1, "b": 2})
    assert session.scalar(select(func.count(ConfigValue.id))) == 2
