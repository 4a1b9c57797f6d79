"""Where the traceback of a refused argument ends: at the user's line, with at most two frames of this library.

A new verb is missing in BAD until it has a bad argument there, and its traceback is short without any work on it.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import aio, sync
from tests.client.live_helpers import put
from tests.client.sdk import Sdk, entered, of
from tests.client.served.test_tracebacks import check_short, frames_of_ours
from tests.support.bundles import history, packed

READER: dict[str, list[Callable[[Any], Any]]] = {
    "at": [lambda it: it.at("1"), lambda it: it.at(-1)],
    "blame": [lambda it: it.blame(3)],
    "diff": [lambda it: it.diff("1"), lambda it: it.diff(1, "2")],
    "get": [lambda it: it.get([])],
    "history": [lambda it: it.history(3), lambda it: it.history("n", limit="1")],
    "log": [lambda it: it.log(limit=-1), lambda it: it.log(before="1")],
    "origin": [lambda it: it.origin(3)],
    "watch": [
        lambda it: it.watch(3),
        lambda it: it.watch(prefix=3),
        lambda it: it.watch(after=...),
        lambda it: it.watch(after="x"),
        lambda it: it.watch(timeout="1"),
        lambda it: it.watch(timeout=0),
    ],
}
BAD: dict[str, dict[str, list[Callable[[Any], Any]]]] = {
    "Client": {
        "check_access": [
            lambda client: client.check_access(3, "app"),
            lambda client: client.check_access("token:ada", 3),
            lambda client: client.check_access("token:ada", "app", groups="group:platform"),
        ],
        "config": [lambda client: client.config(3)],
        "configs": [lambda client: client.configs(3)],
        "live": [
            lambda client: client.live(3),
            lambda client: client.live("app", default=3),
            lambda client: client.live("app", default={"x": object()}),
        ],
    },
    "Config": READER
    | {
        "__delitem__": [lambda cfg: cfg.__delitem__(3)],
        "__setitem__": [
            lambda cfg: cfg.__setitem__(3, 1),
            lambda cfg: cfg.__setitem__("", 1),
            lambda cfg: cfg.__setitem__("x", object()),
            lambda cfg: cfg.__setitem__("x", [{"y": {1}}]),
        ],
        "commit": [lambda cfg: cfg.commit(3)],
        "edit": [lambda cfg: entered(cfg.edit(3)).__aenter__()],
        "fork": [lambda cfg: cfg.fork(3), lambda cfg: cfg.fork("app", at="1"), lambda cfg: cfg.fork("app", message=3)],
        "pop": [lambda cfg: cfg.pop(3)],
        "refresh": [lambda cfg: cfg.refresh(resolve="ours"), lambda cfg: cfg.refresh(resolve=3)],
        "revert": [
            lambda cfg: cfg.revert(3, to=1),
            lambda cfg: cfg.revert(to="1"),
            lambda cfg: cfg.revert(to=1, message=3),
        ],
        "setdefault": [lambda cfg: cfg.setdefault(3, 1), lambda cfg: cfg.setdefault("x", object())],
        "transact": [lambda cfg: cfg.transact(3), lambda cfg: cfg.transact(print, 3)],
        "update": [lambda cfg: cfg.update(3), lambda cfg: cfg.update({3: 1}), lambda cfg: cfg.update(x=object())],
    },
    "Live": READER
    | {
        "bind": [
            lambda live: live.bind(3),
            lambda live: live.bind(Settings, prefix=3),
            lambda live: live.bind(Settings, on_invalid=3),
        ],
        "carried": [lambda live: live.carried(3)],
        "on_change": [lambda live: live.on_change(3)],
        "pin": [lambda live: live.pin(3)],
        "wait": [lambda live: live.wait("1"), lambda live: live.wait(9, timeout="1")],
    },
    "Watch": {},
    "Snapshot": {"get": READER["get"], "origin": READER["origin"]},
    "Bundle": {name: calls for name, calls in READER.items() if name != "watch"}
    | {
        "__delitem__": [lambda bundle: bundle.__delitem__("n")],
        "__setitem__": [lambda bundle: bundle.__setitem__("n", 1)],
    },
    "Bound": {"on_change": [lambda bound: bound.on_change(3)]},
}
CONNECTING: list[dict[str, Any]] = [
    {"target": ""},
    {"target": 3},
    {"target": "localhost:0"},
    {"token": 3},
    {"token": ""},
    {"token": b"x"},
    {"token": Path("token")},
    {"token": lamina.TokenFile("/nonexistent")},
    {"tls": 3},
    {"timeout": None},
    {"timeout": 0},
    {"author": 3},
    {"cache_dir": 3},
]


@dataclass
class Settings:
    n: int = 0


class BrokenNumber:
    """What stumbles where this library takes it for a number: stands in for a defect of this library."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __index__(self) -> int:
        raise self._error


class BrokenDict(dict[str, Any]):
    def items(self) -> Any:
        raise KeyError("broken")


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[lamina.Bundle]:
    path = tmp_path / "app.lamina"
    path.write_bytes(packed(history([{"n": 1}])))
    with lamina.open(path) as opened:
        yield opened


def verbs_with_arguments(kind: type) -> Iterator[str]:
    for name, member in inspect.getmembers(kind, inspect.isfunction):
        is_public = not name.startswith("_") or name in {"__setitem__", "__delitem__"}
        # `look` is for what follows a config: it takes no argument of a user's.
        is_users = is_public and (kind, name) != (lamina.Bound, "look")
        if is_users and len(inspect.signature(member).parameters) > 1:
            yield name


@pytest.mark.parametrize("module", [sync, aio])
def test_each_verb_is_here(module: Any) -> None:
    for name, verbs in BAD.items():
        assert sorted(verbs) == list(verbs_with_arguments(getattr(module, name, None) or getattr(lamina, name))), name
    classes = {name for name in module.__all__ if isinstance(getattr(module, name), type)}
    assert classes <= BAD.keys()


@pytest.mark.parametrize("kind", BAD)
async def test_a_refused_argument(client: Any, config_name: str, kind: str, bundle: lamina.Bundle) -> None:
    cfg = await of(client.config(config_name, create=True))
    await put(cfg, n=1)
    live = await of(client.live(config_name))
    objects = {"Client": client, "Config": cfg, "Live": live, "Bundle": bundle}
    objects |= {"Snapshot": live.current, "Bound": live.bind(Settings)}
    for calls in BAD[kind].values():
        for call in calls:
            with pytest.raises((TypeError, lamina.InvalidError, KeyError)) as caught:
                await of(call(objects[kind]))
            check_short(caught.value)


@pytest.mark.parametrize("options", CONNECTING, ids=repr)
async def test_a_refused_connection(sdk: Sdk, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, lamina.InvalidError)) as caught:
        sdk.connect(**{"target": "localhost", **options})
    check_short(caught.value)


def test_a_refused_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("none")
    for path in (tmp_path / "none", tmp_path, tmp_path / "text"):
        with pytest.raises((OSError, lamina.InvalidError)) as caught:
            lamina.open(path)
        check_short(caught.value)
    with pytest.raises(lamina.InvalidError) as refused:
        lamina.TLS(ca=str(tmp_path / "none"))
    assert len(frames_of_ours(refused.value)) <= 2


@pytest.mark.parametrize("kind", [AttributeError, KeyError, AssertionError])
async def test_a_defect_keeps_its_frames(client: Any, config_name: str, kind: type[Exception]) -> None:
    cfg = await of(client.config(config_name, create=True))
    calls: list[Callable[[], Any]] = [
        lambda: cfg.at(BrokenNumber(kind())),
        lambda: cfg.revert("x", to=BrokenNumber(kind())),
        lambda: cfg.transact(lambda draft: draft.log(before=BrokenNumber(kind()))),
    ]
    for call in calls:
        with pytest.raises(kind) as caught:
            await of(call())
        assert frames_of_ours(caught.value)[-1] == "number_of"
    with pytest.raises(KeyError) as caught_here:
        cfg["x"] = BrokenDict(a=1)
    assert frames_of_ours(caught_here.value)[-1] == "_plain_json"


async def test_a_function_of_the_user_s_shows_its_own_frames(sdk: Sdk, target: str, config_name: str) -> None:
    cfg, other = [await of(sdk.connect(target).config(config_name, create=True)) for _ in range(2)]
    await put(other, n=1)
    cfg["n"] = 2

    def divide(_given: Any) -> float:
        return 1 / 0

    async def divide_later(given: Any) -> float:
        return divide(given)

    calls: list[Callable[[], Any]] = [lambda: cfg.refresh(resolve=divide), lambda: other.transact(divide)]
    if sdk.kind == "aio":
        calls.append(lambda: other.transact(divide_later))
    for call in calls:
        with pytest.raises(ZeroDivisionError) as caught:
            await of(call())
        check_short(caught.value)
        assert caught.traceback[-1].name == "divide"
