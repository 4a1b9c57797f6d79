"""A Hypothesis state machine of the SDK: two drafts of one config are compared with a list of dicts."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import lamina

KEYS = st.sampled_from(["a", "b", "db/host", "db/port", "ü"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.sampled_from(["", "1", "text"]),
    st.sampled_from([b"", b"\x00\xff"]),
    st.lists(st.integers(0, 2), max_size=2),
    st.dictionaries(st.sampled_from(["p", "q"]), st.booleans(), max_size=2),
)


def same(one: Any, other: Any) -> bool:
    """Compare as Lamina does: `True`, `1` and `1.0` differ."""
    return kind(one) is kind(other) and one == other


def kind(value: Any) -> type:
    """Return the type; a list or dict that was read is of a read-only subclass."""
    return next((base for base in (list, dict) if isinstance(value, base)), type(value))


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    missing = lamina.MISSING
    pairs = {key: (old.get(key, missing), new.get(key, missing)) for key in old.keys() | new.keys()}
    return {key: pair for key, pair in pairs.items() if not same(*pair)}


class ConfigMachine(RuleBasedStateMachine):
    """`versions[n]` is the map at version n; each draft has a base and a dict of its own."""

    client: lamina.Client
    names: Iterator[str]

    @initialize()
    def open(self) -> None:
        name = next(self.names)
        self.versions: list[dict[str, Any]] = [{}]
        self.drafts = [self.client.config(name, create=True), self.client.config(name, create=True)]
        self.models: list[dict[str, Any]] = [{}, {}]

    @rule(who=st.integers(0, 1), key=KEYS, value=VALUES)
    def stage(self, who: int, key: str, value: Any) -> None:
        self.drafts[who][key] = value
        self.models[who][key] = value

    @rule(who=st.integers(0, 1), key=KEYS)
    def delete(self, who: int, key: str) -> None:
        assert (key in self.drafts[who]) == (key in self.models[who])
        assert same(self.drafts[who].pop(key, None), self.models[who].pop(key, None))
        assert key not in self.drafts[who]

    @rule(who=st.integers(0, 1))
    def discard(self, who: int) -> None:
        self.drafts[who].discard()
        self.models[who] = dict(self.versions[self.drafts[who].version])

    @rule(who=st.integers(0, 1))
    def commit(self, who: int) -> None:
        cfg, head = self.drafts[who], self.versions[-1]
        base = self.versions[cfg.version]
        mine = differences(base, self.models[who])
        theirs = differences(base, head)
        both = {key for key in mine.keys() & theirs.keys() if not same(mine[key][1], theirs[key][1])}
        try:
            version = cfg.commit("step")
        except lamina.ConflictError as error:  # the draft stays as it was: the invariant checks this
            conflicts = set(error.conflicts)
        else:
            conflicts = set()
            self.committed(who, version, mine)
        # Reading and changing a key declares it as read, so agreeing by chance may still be a conflict.
        assert both <= conflicts <= mine.keys() & theirs.keys()

    def committed(self, who: int, version: lamina.Version, mine: dict[str, tuple[Any, Any]]) -> None:
        head = self.versions[-1]
        new = {**head, **{key: pair[1] for key, pair in mine.items()}}
        new = {key: value for key, value in new.items() if value is not lamina.MISSING}
        if differences(head, new):
            self.versions.append(new)
        assert version.number == len(self.versions) - 1
        self.models[who] = dict(self.versions[-1])

    @rule(who=st.integers(0, 1), resolve=st.sampled_from(["theirs", "yours"]))
    def refresh(self, who: int, resolve: Any) -> None:
        cfg, head = self.drafts[who], self.versions[-1]
        base = self.versions[cfg.version]
        mine, theirs = differences(base, self.models[who]), differences(base, head)
        cfg.refresh(resolve=resolve)
        assert cfg.version == len(self.versions) - 1
        model = dict(head)
        for key, (_, value) in mine.items():
            if key not in theirs or resolve == "yours":
                model[key] = value
        self.models[who] = {key: value for key, value in model.items() if value is not lamina.MISSING}

    @precondition(lambda self: len(self.versions) > 1)
    @rule(data=st.data())
    def travel(self, data: st.DataObject) -> None:
        low, high = (data.draw(st.integers(0, len(self.versions) - 1)) for _ in range(2))
        cfg = self.drafts[0]
        assert not differences(cfg.at(low).to_dict(), self.versions[low])
        found = {key: (change.old, change.new) for key, change in cfg.diff(low, high).items()}
        wanted = differences(self.versions[low], self.versions[high])
        assert found.keys() == wanted.keys()
        assert all(same(a, b) for key in found for a, b in zip(found[key], wanted[key], strict=True))

    @precondition(lambda self: len(self.versions) > 1)
    @rule(key=KEYS)
    def history(self, key: str) -> None:
        steps = [differences(old, new) for old, new in zip(self.versions, self.versions[1:], strict=False)]
        wanted = [(n, step[key][1]) for n, step in enumerate(steps, 1) if key in step]
        found = [
            (change.version, lamina.MISSING if change.deleted else change.value)
            for change in self.drafts[0].history(key)
        ]
        assert [n for n, _ in found] == [n for n, _ in wanted]
        assert all(same(a, b) for (_, a), (_, b) in zip(found, wanted, strict=True))

    @invariant()
    def drafts_read_as_their_models(self) -> None:
        for cfg, model in zip(getattr(self, "drafts", []), getattr(self, "models", []), strict=True):
            assert list(cfg) == sorted(model)
            assert not differences(cfg.to_dict(), model)


@pytest.mark.timeout(120)
def test_drafts_against_a_list_of_dicts(target: str, config_name: str) -> None:
    with lamina.connect(target) as client:
        ConfigMachine.client = client
        ConfigMachine.names = (f"{config_name}/{n}" for n in range(1_000_000))
        run_state_machine_as_test(
            ConfigMachine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
        )
