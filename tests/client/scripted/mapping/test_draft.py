"""Snapshot and Draft as mappings: they act like a dict, and record changes and reads."""

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import lamina
from lamina._mapping.draft import Draft
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._mapping.stage import applied, changes_of
from lamina.records import Change
from tests.client.builders import entries, entry


def draft(content: Mapping[str, Any]) -> Draft:
    return Draft(entries(content, version=3))


def test_keys_are_sorted() -> None:
    config = draft({"b": 1, "é": 2, "a": 3, "Z": 4, "\U0001f600": 5, "\uffff": 6})
    config["c"] = 5
    expected = sorted(["b", "é", "a", "Z", "c", "\U0001f600", "\uffff"], key=str.encode)
    assert list(config) == expected
    assert list(reversed(config)) == expected[::-1]
    assert list(config.changes) == ["c"]


def test_changes_have_the_old_and_the_new_value() -> None:
    config = draft({"x": 27, "y": 450, "z": [1]})
    config["x"] = 28
    del config["y"]
    config["n"] = None
    config["z"] += [2]
    assert config.changes == {
        "n": Change(lamina.MISSING, None),
        "x": Change(27, 28),
        "y": Change(450, lamina.MISSING),
        "z": Change([1], [1, 2]),
    }


def test_an_equal_value_is_no_change() -> None:
    config = draft({"x": 1, "d": {"a": 1, "b": [1.0]}})
    config["x"] = 1
    config["d"] = {"b": [1.0], "a": 1}
    assert config.changes == {}
    config["x"] = 2
    config["x"] = 1
    assert config.changes == {}


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), (True, 1), (1.0, 1), ([1], [True]), ({"a": 1}, {"a": 1.0})]
)
def test_another_type_is_a_change(old: Any, new: Any) -> None:
    config = draft({"x": old})
    config["x"] = new
    assert list(config.changes) == ["x"]
    assert type(config["x"]) is type(new) or isinstance(new, list | dict)


def test_deleting_a_new_key_leaves_no_change() -> None:
    config = draft({})
    config["x"] = 1
    del config["x"]
    assert config.changes == {}
    assert "x" not in config


def test_setting_a_deleted_key_again_leaves_no_change() -> None:
    config = draft({"x": 1})
    del config["x"]
    config["x"] = 1
    assert config.changes == {}
    assert config["x"] == 1


def test_missing_keys_are_key_errors() -> None:
    config = draft({"x": 1})
    del config["x"]
    for key in ("x", "never"):
        with pytest.raises(KeyError, match=key):
            config[key]
        with pytest.raises(KeyError, match=key):
            del config[key]
        with pytest.raises(KeyError):
            config.pop(key)
    with pytest.raises(KeyError):
        Snapshot(entries({}))["x"]
    assert config.get("x") is None
    assert config.get("x", 5) == 5
    assert config.pop("x", 6) == 6


def test_a_key_of_another_type_is_just_missing() -> None:
    config: Any = draft({"x": 1})
    assert 5 not in config
    assert None not in config
    with pytest.raises(KeyError):
        config[5]
    with pytest.raises(TypeError):
        config[5] = 1


def test_a_refused_assignment_stages_nothing() -> None:
    config: Any = draft({"x": 1})
    for key, value in (("x", (1,)), ("x", float("nan")), ("", 1), (7, 1)):
        with pytest.raises((TypeError, lamina.InvalidError)):
            config[key] = value
    assert config.changes == {}


def test_the_operators_and_methods_of_a_dict() -> None:
    config = draft({"x": 1, "d": {"a": [1]}})
    made = config | {"y": 2}
    assert type(made) is dict
    assert made == {"d": {"a": [1]}, "x": 1, "y": 2}
    made["d"]["a"].append(2)  # a plain, deep copy
    assert {"x": 0, "w": 5} | config == {"x": 1, "w": 5, "d": {"a": [1]}}
    same = config
    config |= {"z": "on"}
    assert config is same
    config |= [("z", "off")]
    assert config["z"] == "off"
    assert config.setdefault("z", 1) == "off"
    assert config.setdefault("w", 1) == 1
    config.update(v=1, w=2)
    assert (config["v"], config["w"]) == (1, 2)
    assert config.popitem() == ("z", "off")
    config.clear()
    assert len(config) == 0
    assert not config
    assert set(config.changes) == {"x", "d"}
    with pytest.raises(KeyError):
        config.popitem()
    with pytest.raises(TypeError):
        config | 5  # type: ignore[operator]


def test_equality_is_by_content_and_kind() -> None:
    config = draft({"x": 1, "d": {"a": [1]}})
    assert config == {"x": 1, "d": {"a": [1]}}
    assert config == {"x": 1, "d": {"a": [1]}}
    assert config == Snapshot(entries({"x": 1, "d": {"a": [1]}}, version=9))
    assert Snapshot(entries({"x": 1})) == Snapshot(entries({"x": 1}))
    assert config != {"x": True, "d": {"a": [1]}}
    assert config != {"x": 1.0, "d": {"a": [1]}}
    assert config != {"x": 1}
    assert config != {"x": 1, "e": {}}
    assert config != {"x": (1,), "d": {"a": [1]}}
    assert config != 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(config)


def test_to_dict_is_deep_plain_and_mutable() -> None:
    config = draft({"d": {"a": [1]}, "gone": 1})
    config["n"] = [{}]
    del config["gone"]
    made = config.to_dict()
    assert made == {"d": {"a": [1]}, "n": [{}]}
    assert type(made["d"]) is dict
    assert type(made["d"]["a"]) is list
    made["d"]["a"].append(2)
    made["n"][0]["x"] = 1
    assert config == {"d": {"a": [1]}, "n": [{}]}


def test_a_list_or_dict_is_read_only() -> None:
    config = draft({"d": {"a": [1]}})
    config["n"] = [1]
    mutate: Any
    for mutate in (config["d"].clear, config["d"]["a"].clear, config["n"].clear):
        with pytest.raises(TypeError, match="read-only"):
            mutate()


def test_a_value_is_decoded_once() -> None:
    config = draft({"d": {"a": [1]}})
    assert config["d"] is config["d"]
    config["n"] = [1]
    assert config["n"] is config["n"]


def test_a_repr_shows_counts_but_no_values() -> None:
    config = draft({"x": "hunter2", "y": 2})
    config["x"] = "hunter3"
    assert repr(config) == "<Draft 'app' version 3, 2 keys, 1 change>"
    assert repr(Snapshot(entries({"x": "hunter2"}, version=7))) == "<Snapshot 'app' version 7, 1 key>"


def test_discard_forgets_changes_and_reads() -> None:
    config = draft({"x": 1})
    config["x"] += 1
    config["y"] = 1
    config.discard()
    assert config == {"x": 1}
    assert config.changes == {}
    config["x"] = 5
    assert config._stage.declared_reads() == []


def test_origin_is_the_version_of_the_committed_value() -> None:
    config = Draft(entries({"x": 1, "y": 2}, version=5, origins={"x": 2}))
    config["x"] = 7
    config["new"] = 1
    assert (config.origin("x"), config.origin("y")) == (2, 5)
    assert Snapshot(entries({"x": 1}, origins={"x": 1})).origin("x") == 1
    with pytest.raises(KeyError):
        config.origin("new")


def test_a_draft_refuses_to_be_pickled_or_copied() -> None:
    config = draft({"x": 1})
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"does not pickle or copy: to_dict\(\)"):
            make(config)


def test_a_snapshot_pickles_and_copies() -> None:
    snapshot = Snapshot(entries({"x": [1], "b": b"\xff", "t": True}, version=4, origins={"x": 2}))
    assert snapshot["x"] == [1]
    for made in (copy.copy(snapshot), copy.deepcopy(snapshot), pickle.loads(pickle.dumps(snapshot))):
        assert made == snapshot
        assert (made.config, made.version, made.origin("x")) == ("app", 4, 2)
        assert list(made) == ["b", "t", "x"]


def test_a_snapshot_cannot_be_changed() -> None:
    snapshot: Any = Snapshot(entries({"x": 1}))
    with pytest.raises(TypeError):
        snapshot["x"] = 2
    with pytest.raises(AttributeError):
        snapshot.version = 5


class TestReads:
    """The keys both read and changed: what a commit declares."""

    @pytest.mark.parametrize(
        "use",
        [
            lambda c: c.update(n=c["n"] + 1),
            lambda c: c.__setitem__("n", c.get("n") + 1),
            lambda c: c.__setitem__("n", 5 if "n" in c else 6),
            lambda c: c.pop("n"),
            lambda c: [c.__setitem__(key, value + 1) for key, value in c.items()],
            lambda c: c.update(n=c.to_dict()["n"] + 1),
        ],
    )
    def test_a_key_that_is_read_and_changed_is_declared(self, use: Any) -> None:
        config = draft({"n": 1})
        use(config)
        assert config._stage.declared_reads() == ["n"]

    def test_a_key_found_absent_is_declared(self) -> None:
        config = draft({})
        if "n" not in config:
            config["n"] = 1
        config.setdefault("m", 2)
        assert config._stage.declared_reads() == ["m", "n"]

    @pytest.mark.parametrize(
        "use",
        [
            lambda c: c.__setitem__("n", 5),
            lambda c: c.__delitem__("n"),
            lambda c: c.update(n=5),
            lambda c: c.clear(),
            lambda c: (c["m"], c.__setitem__("n", 5)),
            lambda c: (c.__setitem__("n", 5), c["n"]),
            lambda c: (len(c), list(c), c.__setitem__("n", 5)),
        ],
    )
    def test_a_key_that_is_not_both_read_and_changed_is_not_declared(self, use: Any) -> None:
        config = draft({"n": 1, "m": 2})
        use(config)
        assert config._stage.declared_reads() == []


keys = st.sampled_from(["a", "b", "c", "é", "k/1", "k/2"])
some = st.sampled_from([None, True, 1, 1.0, "1", b"1", [], [1], {"a": [True]}, 0, False])


class DraftMachine(RuleBasedStateMachine):
    """A draft beside a dict with the same content, and the dict that it began with."""

    def __init__(self) -> None:
        super().__init__()
        self.base: dict[str, Any] = {}
        self.model: dict[str, Any] = {}
        self.draft = draft({})

    @initialize(content=st.dictionaries(keys, some))
    def begin(self, content: dict[str, Any]) -> None:
        self.base, self.model, self.draft = dict(content), dict(content), draft(content)

    @rule(key=keys, value=some)
    def put(self, key: str, value: Any) -> None:
        self.model[key] = value
        self.draft[key] = value

    @rule(key=keys)
    def remove(self, key: str) -> None:
        assert repr(self.model.pop(key, "none")) == repr(self.draft.pop(key, "none"))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        del self.model[key]
        del self.draft[key]

    @rule(content=st.dictionaries(keys, some))
    def update(self, content: dict[str, Any]) -> None:
        self.model |= content
        self.draft |= content

    @rule()
    def clear(self) -> None:
        self.model.clear()
        self.draft.clear()

    @rule()
    def discard(self) -> None:
        self.model = dict(self.base)
        self.draft.discard()

    @invariant()
    def same(self) -> None:
        shown = {key: repr(self.model[key]) for key in sorted(self.model)}
        assert {key: repr(value) for key, value in self.draft.items()} == shown
        assert list(self.draft) == list(shown)
        assert len(self.draft) == len(shown)
        for key in ("a", "é", "never"):
            assert (key in self.draft) == (key in shown)
        assert self.draft == self.model

    @invariant()
    def changes_are_the_difference(self) -> None:
        changes = self.draft.changes
        for key in self.base.keys() | self.model.keys():
            old, new = self.base.get(key, lamina.MISSING), self.model.get(key, lamina.MISSING)
            if repr(old) == repr(new):
                assert key not in changes
            else:
                assert (repr(changes[key].old), repr(changes[key].new)) == (repr(old), repr(new))


TestDraftMachine = DraftMachine.TestCase


@given(st.dictionaries(keys, some), st.dictionaries(keys, some | st.just(lamina.MISSING)))
def test_advanced_entries_equal_those_read_anew(content: dict[str, Any], changes: dict[str, Any]) -> None:
    """The earlier entries stay as they were."""
    before = entries(content, version=1)
    made = entries({key: value for key, value in changes.items() if value is not lamina.MISSING}, version=2)
    after = before.advanced(made.header, {key: made._messages.get(key) for key in changes})
    wanted = {key: value for key, value in (content | changes).items() if value is not lamina.MISSING}
    assert Snapshot(after) == wanted
    assert list(after) == sorted(wanted)
    assert Snapshot(before) == content
    assert isinstance(before, Entries)


@given(st.dictionaries(keys, some), st.lists(st.dictionaries(keys, some | st.just(lamina.MISSING), max_size=2)))
def test_later_versions_do_not_change_earlier_ones(content: dict[str, Any], commits: list[dict[str, Any]]) -> None:
    """P5: many versions can share a map, and each has its own content, in order."""
    versions, models = [entries(content, version=1)], [content]
    for number, changes in enumerate(commits, start=2):
        model = {key: value for key, value in (models[-1] | changes).items() if value is not lamina.MISSING}
        made = entries({key: model[key] for key in changes if key in model}, version=number)
        if number % 2:
            list(versions[-1])  # the order may be known or not
        if number % 3:
            read(versions[-1])  # and so may the values
        versions.append(versions[-1].advanced(made.header, {key: made._messages.get(key) for key in changes}))
        models.append(model)
    for version, model in zip(versions, models, strict=True):
        assert Snapshot(version) == model
        assert repr(read(version)) == repr({key: model[key] for key in sorted(model)})
        assert list(version) == list(pickle.loads(pickle.dumps(version))) == sorted(model)
        assert len(version) == len(model)
        assert {key for key in ("a", "b", "c", "never") if key in version} == {*"abc"} & model.keys()


def read(version: Entries) -> dict[str, Any]:
    return {key: version.value(key) for key in version}


def test_a_value_is_decoded_once_for_all_versions_that_have_it() -> None:
    """A large value is not decoded again when others commit."""
    version = entries({"large": [1], **{f"k{number}": number for number in range(20)}})
    large = version.value("large")
    version = version.advanced(version.header, {"overlaid": entry("overlaid", [2])})
    overlaid = version.value("overlaid")
    for number in range(40):  # far more than until the map gets a dict of its own
        version = version.advanced(version.header, {f"k{number % 20}": entry("k", number)})
        assert version.value("large") is large
        assert version.value("overlaid") is overlaid
        assert version.value(f"k{number % 20}") == number
    assert version.advanced(version.header, {"large": entry("large", [3])}).value("large") == [3]


def test_a_commit_of_a_large_map_copies_no_map() -> None:
    """The next version shares its parent's map until many keys differ, so a commit costs the same at any size."""
    before = entries({f"k{number:04}": number for number in range(5_000)})
    config = Draft(before)
    shared = 0
    for number in range(200):
        config[f"k{number:04}"] = "changed"
        config[f"new{number:04}"] = number
        assert config._stage._order is None
        later = applied(config._stage.base, before.header, changes_of(config._stage.staged))
        shared += later._messages is config._stage.base._messages
        config._stage.rebase(later, {})
    assert shared > 190
    assert list(config) == sorted([*before, *(f"new{number:04}" for number in range(200))])
    assert len(before) == 5_000


def test_a_version_does_not_keep_old_values_in_memory() -> None:
    """The order of the keys does not keep the map of an old version."""
    later = entries({f"k{number:03}": number for number in range(100)})
    for number in range(100):
        key = f"k{number:03}"
        later = later.advanced(later.header, {key: entry(key, "changed")})
    assert later._order is later._messages
    assert all(later._messages[key].value.string for key in list(later)[:80])
