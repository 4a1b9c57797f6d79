"""`transact` with both clients: the function runs again if others changed what it read or changed."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import testing
from tests.client.sdk import Sdk, beside, entered, listed, of
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
    """Commit as another client."""

    def commit(**values: Any) -> None:
        with lamina.connect(target, author="bob") as client:
            other = client.config(cfg.name)
            other |= values
            other.commit()

    return commit


class Overtaken:
    """A function that works on a draft; in its first runs, another client commits before it ends."""

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


async def test_the_function_runs_on_the_head_and_is_committed(sdk: Sdk, cfg: Any, others: Callable[..., None]) -> None:
    others(n=5)
    version = await beside(sdk, cfg.transact, increment, "count")
    assert (version.number, version.message, cfg.version, cfg["n"]) == (3, "count", 3, 6)
    assert not cfg.changes


async def test_it_runs_again_if_others_changed_the_same_key(sdk: Sdk, cfg: Any, others: Callable[..., None]) -> None:
    function = Overtaken(increment, lambda run: others(n=10 * run), times=2)
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["n"]) == (3, 21)


@pytest.mark.crossed
async def test_it_runs_again_if_others_changed_a_key_that_it_read(
    sdk: Sdk, cfg: Any, others: Callable[..., None]
) -> None:
    """Otherwise two functions could each decide on a value that the other one changes."""

    def copy(draft: Any) -> None:
        draft["copy"] = draft["x"]

    function = Overtaken(copy, lambda _: others(x=2))
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
async def test_it_runs_again_if_others_added_a_key(
    sdk: Sdk, cfg: Any, others: Callable[..., None], count: Callable[[Any], int]
) -> None:
    def note(draft: Any) -> None:
        draft["keys"] = count(draft)

    function = Overtaken(note, lambda _: others(new=1))
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
async def test_it_runs_again_if_others_deleted_a_key_that_it_read(
    sdk: Sdk, cfg: Any, target: str, function: Callable[[Any], None]
) -> None:
    """If two functions take the same task by deleting its key, one of them finds that it is gone."""

    def delete(_run: int) -> None:
        with lamina.connect(target) as client:
            other = client.config(cfg.name)
            del other["x"]
            other.commit()

    once = Overtaken(function, delete)
    await beside(sdk, cfg.transact, once)
    assert once.runs == 2
    assert cfg.to_dict() in ({"n": 0, "late": True}, {"n": 0, "is_there": False})


async def test_it_runs_again_if_others_set_a_key_that_it_could_not_delete(
    sdk: Sdk, cfg: Any, others: Callable[..., None]
) -> None:
    def delete(draft: Any) -> None:
        draft["deleted"] = True
        try:
            del draft["new"]
        except KeyError:
            draft["deleted"] = False

    function = Overtaken(delete, lambda _: others(new=1))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["deleted"], "new" in cfg) == (2, True, False)


async def test_it_runs_again_if_others_changed_an_origin_that_it_read(
    sdk: Sdk, cfg: Any, others: Callable[..., None]
) -> None:
    def note(draft: Any) -> None:
        draft["origin"] = draft.origin("x")

    function = Overtaken(note, lambda _: others(x=2))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["origin"]) == (2, 2)


@pytest.mark.parametrize("key", ["", "a\n", "e\u0301", "\ud800", "k" * 513])
async def test_it_may_read_a_bad_key(sdk: Sdk, cfg: Any, key: str) -> None:
    def look(draft: Any) -> None:
        draft["n"] = draft.get(key, 7)

    await beside(sdk, cfg.transact, look)
    assert cfg["n"] == 7


@pytest.mark.parametrize("verb", ["commit", "refresh", "edit", "revert", "transact"])
async def test_the_function_may_not_commit_or_refresh_its_draft(sdk: Sdk, cfg: Any, verb: str) -> None:
    """A commit in the function would be written again in each run, and a refresh would forget what it has read."""
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


async def test_a_conflict_costs_no_further_calls(sdk: Sdk) -> None:
    """Otherwise it would ask for the author of each deleted key, and nobody would see the answers."""
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

        function = Overtaken(note, delete)
        await beside(sdk, cfg.transact, function)
        assert (function.runs, cfg["keys"], server.calls["GetKeyHistory"]) == (2, 0, 0)


async def test_changes_to_other_keys_are_merged(sdk: Sdk, cfg: Any, others: Callable[..., None]) -> None:
    function = Overtaken(increment, lambda _: others(x=2))
    await beside(sdk, cfg.transact, function)
    assert (function.runs, cfg["n"], cfg["x"]) == (1, 1, 2)


async def test_an_error_in_the_function_discards_its_changes(sdk: Sdk, cfg: Any) -> None:
    def fail(draft: Any) -> None:
        draft["n"] = 100
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await beside(sdk, cfg.transact, fail)
    assert (cfg["n"], cfg.changes, cfg.version) == (0, {}, 1)


async def test_a_conflict_that_the_function_raises_is_not_retried(sdk: Sdk, cfg: Any) -> None:
    """The function may work on another config, so only the caller knows whether to try that again."""
    runs: list[Any] = []

    def conflict(draft: Any) -> None:
        runs.append(draft)
        raise lamina.ConflictError("another config's")

    with pytest.raises(lamina.ConflictError, match="another config's"):
        await beside(sdk, cfg.transact, conflict)
    assert len(runs) == 1


async def test_a_definite_error_ends_the_transaction(sdk: Sdk, cfg: Any) -> None:
    def too_much(draft: Any) -> None:
        draft["n"] = "." * 2_000_000

    with pytest.raises(lamina.LimitError):
        await beside(sdk, cfg.transact, too_much)
    assert (cfg.changes, cfg.version) == ({}, 1)


async def test_a_function_without_changes_makes_no_version(sdk: Sdk, cfg: Any) -> None:
    version = await beside(sdk, cfg.transact, lambda draft: draft["n"])
    assert (version.number, cfg.version) == (1, 1)
    assert len(await listed(cfg.log())) == 1


async def test_a_draft_with_changes_is_refused(cfg: Any) -> None:
    cfg["x"] = 2
    with pytest.raises(lamina.InvalidError, match="'x'"):
        await of(cfg.transact(increment))
    assert cfg["x"] == 2


async def test_a_transaction_can_create_a_config(client: Any, sdk: Sdk, config_name: str) -> None:
    cfg = await of(client.config(config_name, create=True))
    version = await beside(sdk, cfg.transact, lambda draft: draft.setdefault("n", 1))
    assert (version.number, cfg["n"]) == (1, 1)


async def test_a_coroutine_function_is_awaited(target: str, cfg: Any) -> None:
    async def wait_and_increment(draft: Any) -> None:
        await asyncio.sleep(0)
        draft["n"] += 1

    async with lamina.aio.connect(target) as client:
        config = await client.config(cfg.name)
        await config.transact(wait_and_increment)
        assert config["n"] == 1


@pytest.mark.parametrize("sdk", ["sync"], indirect=True)
async def test_a_coroutine_function_is_refused_without_asyncio(cfg: Any) -> None:
    async def increment_later(draft: Any) -> None:
        increment(draft)

    with pytest.raises(TypeError, match=r"plain function"):
        cfg.transact(increment_later)
    assert (cfg.version, cfg.changes) == (1, {})


async def test_a_commit_afterwards_resolves_a_lost_answer(tmp_path: Path, sdk: Sdk) -> None:
    """P8: a commit with an unknown outcome is neither doubled nor lost."""
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
