"""Transactions, with both clients: a function that decides on what is there, run anew where that was not the head."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import testing
from tests.client.sdk import Sdk, beside, entered, listed, of
from tests.faults import counting
from tests.support.server import ServerProcess


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"n": 0, "x": 1}."""
    made = await of(client.config(config_name, create=True))
    made |= {"n": 0, "x": 1}
    await of(made.commit())
    return made


@pytest.fixture
def others(target: str, cfg: Any) -> Callable[..., None]:
    """Commit as somebody else would, just now."""

    def commit(**values: Any) -> None:
        with lamina.connect(target, author="bob") as client:
            other = client.config(cfg.name)
            other |= values
            other.commit()

    return commit


class Interrupted:
    """A function that works on a draft, and is overtaken by somebody else the first times that it runs."""

    def __init__(self, function: Callable[[Any], Any], overtake: Callable[[int], None], times: int = 1) -> None:
        self._function = function
        self._overtake = overtake
        self._times = times
        self.runs = 0

    def __call__(self, draft: Any) -> Any:
        self.runs += 1
        self._function(draft)
        if self.runs <= self._times:
            self._overtake(self.runs)


def increment(draft: Any) -> None:
    draft["n"] += 1


async def test_it_commits_what_the_function_made_of_the_head(sdk: Sdk, cfg: Any, others: Callable[..., None]) -> None:
    others(n=5)
    version = await beside(sdk, cfg.transact, increment, "count")
    assert (version.number, version.message, cfg.version, cfg["n"]) == (3, "count", 3, 6)
    assert not cfg.changes


async def test_it_runs_anew_where_others_changed_what_it_changes(
    sdk: Sdk, cfg: Any, others: Callable[..., None]
) -> None:
    function = Interrupted(increment, lambda run: others(n=10 * run), times=2)
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["n"]) == (3, 21)


@pytest.mark.crossed
async def test_it_runs_anew_where_others_changed_what_it_read(sdk: Sdk, cfg: Any, others: Callable[..., None]) -> None:
    """What it read decides as much as what it changed: else two could each leave the last one to the other."""

    def copy(draft: Any) -> None:
        draft["copy"] = draft["x"]

    function = Interrupted(copy, lambda _: others(x=2))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["copy"]) == (2, 2)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(len, id="len"),
        pytest.param(lambda draft: len(list(draft)), id="iterating"),
        pytest.param(lambda draft: len(draft.to_dict()), id="to_dict"),
        pytest.param(lambda draft: 1 + ("new" in draft) + ("x" in draft), id="in"),
    ],
)
async def test_it_runs_anew_where_there_is_a_new_key(
    sdk: Sdk, cfg: Any, others: Callable[..., None], count: Callable[[Any], int]
) -> None:
    def note(draft: Any) -> None:
        draft["keys"] = count(draft)

    function = Interrupted(note, lambda _: others(new=1))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["keys"]) == (2, 3)


def delete_and_note(draft: Any) -> None:
    try:
        del draft["x"]
    except KeyError:
        draft["late"] = True
    else:
        draft["mine"] = True


def discard_and_note(draft: Any) -> None:
    is_there = "x" in draft
    draft["n"] = 5
    draft.discard()
    draft["is_there"] = is_there


@pytest.mark.parametrize("function", [delete_and_note, discard_and_note], ids=["deleting", "discarding"])
async def test_it_runs_anew_where_others_deleted_what_it_decided_on(
    sdk: Sdk, cfg: Any, target: str, function: Callable[[Any], None]
) -> None:
    """Deleting is a decision, too: of two that take the same task, one finds that it is gone."""

    def delete(_run: int) -> None:
        with lamina.connect(target) as client:
            other = client.config(cfg.name)
            del other["x"]
            other.commit()

    once = Interrupted(function, delete)
    await beside(sdk, cfg.transact, once)
    assert once.runs == 2
    assert cfg.to_dict() in ({"n": 0, "late": True}, {"n": 0, "is_there": False})


async def test_it_runs_anew_where_others_made_what_it_could_not_delete(
    sdk: Sdk, cfg: Any, others: Callable[..., None]
) -> None:
    def delete(draft: Any) -> None:
        draft["deleted"] = True
        try:
            del draft["new"]
        except KeyError:
            draft["deleted"] = False

    function = Interrupted(delete, lambda _: others(new=1))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["deleted"], "new" in cfg) == (2, True, False)


async def test_it_runs_anew_where_others_set_what_it_asked_the_origin_of(
    sdk: Sdk, cfg: Any, others: Callable[..., None]
) -> None:
    def note(draft: Any) -> None:
        draft["origin"] = draft.origin("x")

    function = Interrupted(note, lambda _: others(x=2))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["origin"]) == (2, 2)


@pytest.mark.parametrize("key", ["", "a\n", "e\u0301", "\ud800", "k" * 513])
async def test_it_may_ask_for_what_can_be_no_key(sdk: Sdk, cfg: Any, key: str) -> None:
    def look(draft: Any) -> None:
        draft["n"] = draft.get(key, 7)

    await beside(sdk, cfg.transact, look)
    assert cfg["n"] == 7


@pytest.mark.parametrize("verb", ["commit", "refresh", "edit", "revert", "transact"])
async def test_it_does_not_move_its_draft_itself(sdk: Sdk, cfg: Any, verb: str) -> None:
    """A commit of its own would be written again with each run, and after a refresh nobody knows what it has read."""
    verbs = {
        "commit": lambda draft: draft.commit(),
        "refresh": lambda draft: draft.refresh(),
        "edit": lambda draft: draft.edit(),
        "revert": lambda draft: draft.revert(to=0),
        "transact": lambda draft: draft.transact(increment),
    }

    async def move(draft: Any) -> None:
        begun = verbs[verb](draft)
        if verb == "edit":
            async with entered(begun):
                draft["n"] = 1
        else:
            await of(begun)

    def move_at_once(draft: Any) -> None:
        begun = verbs[verb](draft)
        if verb == "edit":
            with begun:
                draft["n"] = 1

    with pytest.raises(lamina.InvalidError, match="within transact"):
        await beside(sdk, cfg.transact, move_at_once if sdk.kind == "sync" else move)
    assert (cfg.version, cfg.changes) == (1, {})
    await beside(sdk, cfg.transact, increment)
    assert (await of(cfg.commit())).number == 2


async def test_it_asks_nothing_of_a_conflict(sdk: Sdk) -> None:
    """Who deleted which of all the keys is told by a call for each of them, and nobody would see it."""
    with testing.server() as server:
        server.set("app", {f"{'a' * 200}{number}": 1 for number in range(40)})  # more than a report has room for
        cfg = await of(sdk.connect(server.target).config("app"))

        def delete(_run: int) -> None:
            with lamina.connect(server.target) as client:
                other = client.config("app")
                other.clear()
                other.commit()

        def note(draft: Any) -> None:
            draft["keys"] = len(draft)

        function = Interrupted(note, delete)
        await beside(sdk, cfg.transact, function)
        assert (function.runs, cfg["keys"], server.calls["GetKeyHistory"]) == (2, 0, 0)


async def test_what_it_did_not_read_is_merged(sdk: Sdk, cfg: Any, others: Callable[..., None]) -> None:
    function = Interrupted(increment, lambda _: others(x=2))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["n"], cfg["x"]) == (1, 1, 2)


async def test_what_it_raises_discards(sdk: Sdk, cfg: Any) -> None:
    def fail(draft: Any) -> None:
        draft["n"] = 100
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await beside(sdk, cfg.transact, fail)
    assert (cfg["n"], cfg.changes, cfg.version) == (0, {}, 1)


async def test_a_conflict_of_its_own_is_not_run_again(sdk: Sdk, cfg: Any) -> None:
    """It may work on another config, too: who else would know whether that is to be tried again."""
    runs: list[Any] = []

    def conflict(draft: Any) -> None:
        runs.append(draft)
        raise lamina.ConflictError("another config's")

    with pytest.raises(lamina.ConflictError, match="another config's"):
        await beside(sdk, cfg.transact, conflict)
    assert len(runs) == 1


async def test_a_refusal_ends_it(sdk: Sdk, cfg: Any) -> None:
    def too_much(draft: Any) -> None:
        draft["n"] = "." * 2_000_000

    with pytest.raises(lamina.LimitError):
        await beside(sdk, cfg.transact, too_much)
    assert (cfg.changes, cfg.version) == ({}, 1)


async def test_no_change_is_no_version(sdk: Sdk, cfg: Any) -> None:
    version = await beside(sdk, cfg.transact, lambda draft: draft["n"])
    assert (version.number, cfg.version) == (1, 1)
    assert len(await listed(cfg.log())) == 1


async def test_a_draft_with_changes_is_refused(cfg: Any) -> None:
    cfg["x"] = 2
    with pytest.raises(lamina.InvalidError, match="'x'"):
        await of(cfg.transact(increment))
    assert cfg["x"] == 2


async def test_a_new_config(client: Any, sdk: Sdk, config_name: str) -> None:
    cfg = await of(client.config(config_name, create=True))
    version = await beside(sdk, cfg.transact, lambda draft: draft.setdefault("n", 1))
    assert (version.number, cfg["n"]) == (1, 1)


async def test_a_coroutine_function(target: str, cfg: Any) -> None:
    async def wait_and_increment(draft: Any) -> None:
        await asyncio.sleep(0)
        draft["n"] += 1

    async with lamina.aio.connect(target) as client:
        config = await client.config(cfg.name)
        await config.transact(wait_and_increment)
        assert config["n"] == 1


@pytest.mark.parametrize("sdk", ["sync"], indirect=True)
async def test_a_coroutine_function_where_nothing_is_awaited(cfg: Any) -> None:
    async def increment_later(draft: Any) -> None:
        increment(draft)

    with pytest.raises(TypeError, match=r"plain function"):
        cfg.transact(increment_later)
    assert (cfg.version, cfg.changes) == (1, {})


async def test_a_lost_answer_is_found_out_by_commit(tmp_path: Path, sdk: Sdk) -> None:
    """P8: what is not known is neither done twice nor left out."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server:
        cfg = await of(sdk.connect(server.target, timeout=1).config("app", create=True))
        await of(cfg.transact(lambda draft: draft.setdefault("n", 0)))

        def freeze(draft: Any) -> None:
            draft["n"] += 1
            server.signal(signal.SIGSTOP)

        with pytest.raises(lamina.UnavailableError) as caught:
            await beside(sdk, cfg.transact, freeze)
        server.signal(signal.SIGCONT)
        assert caught.value.request_id
        assert cfg.changes.keys() == {"n"}
        with pytest.raises(lamina.InvalidError, match="commit or discard"):
            await of(cfg.transact(increment))
        assert (await of(cfg.commit())).number == 2
        assert (cfg["n"], cfg.changes) == (1, {})
        server.kill()
        with pytest.raises(lamina.UnavailableError) as caught:
            await beside(sdk, cfg.transact, increment)
        assert (caught.value.request_id, cfg.changes) == (None, {})


def test_processes_count_exactly_while_their_server_is_killed(tmp_path: Path) -> None:
    """P1, P8: the long form, on both databases, is one of `make torture`."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server:
        outcome = counting.run([server], processes=4, times=10, kills=2)
    assert outcome.counted == outcome.versions == 40
