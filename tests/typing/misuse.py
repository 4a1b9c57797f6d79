"""Wrong uses of the SDK, for type checkers only: mypy and pyright read this file, and it is never run.

Each line with an `ignore` is a mistake that both checkers must find: they complain about an `ignore` without one.
Beside it are right uses that look similar.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import lamina
from lamina import aio, carry, testing
from lamina.openfeature import LaminaProvider


@dataclass
class Settings:
    timeout: int


def connecting() -> None:
    lamina.connect("a:7440,b:7440", tls=False, timeout=0.5)
    lamina.connect(7440)  # type: ignore[arg-type]
    lamina.connect("a:7440", "token")  # type: ignore[call-arg]
    lamina.connect(timeout="5")  # type: ignore[arg-type]
    lamina.connect(tls="ca.pem")  # type: ignore[arg-type]
    lamina.connect(user="ada")  # type: ignore[call-arg]
    aio.connect(timeout="5")  # type: ignore[arg-type]
    aio.connect(tls="ca.pem")  # type: ignore[arg-type]
    lamina.TLS(ca=Path("ca.pem"))
    lamina.TLS(ca=5)  # type: ignore[arg-type]


def opening(client: lamina.Client) -> None:
    client.config("app", True)  # type: ignore[call-arg]
    client.config(b"app")  # type: ignore[arg-type]
    client.live("app", {"x": 1})  # type: ignore[call-arg]
    client.configs(5)  # type: ignore[arg-type]


def values(cfg: lamina.Config, other: aio.Config) -> None:
    cfg["x"] = None
    cfg["x"] = datetime.now(UTC)  # type: ignore[assignment]
    cfg["x"] = Decimal(1)  # type: ignore[assignment]
    cfg["x"] = {1: "one"}  # type: ignore[dict-item]
    assert_type(cfg.setdefault("x", 5), Any)
    cfg.setdefault("x", object())  # type: ignore[arg-type]
    # For mypy, a module's `DEFAULTS = {"x": 1, "hosts": []}` is a dict[str, object], so `update` and `|=` must
    # accept it: the values are checked when they are set.
    cfg.update([("x", 1)], y=2.5)
    cfg.update({"x": 1, "hosts": ["a"]})
    cfg |= {"x": 1, "hosts": ["a"]}
    cfg |= 5  # type: ignore[arg-type]
    cfg.update(5)  # type: ignore[call-overload]
    del cfg[5]  # type: ignore[arg-type]
    other["x"] = b"bytes"
    other["x"] = {1, 2}  # type: ignore[assignment]
    cfg.version = 3  # type: ignore[misc]
    cfg.name = "other"  # type: ignore[misc]
    cfg.changes["x"].old = 1  # type: ignore[misc]
    print(cfg.change)  # type: ignore[attr-defined]


def changing(cfg: lamina.Config) -> None:
    def count(draft: lamina.Config) -> int:
        return len(draft)

    def of_a_number(number: int) -> None: ...

    def larger(conflict: lamina.Conflict) -> Any:
        return max(conflict.theirs, conflict.yours)

    assert_type(cfg.transact(count, "why"), lamina.Version)
    cfg.transact(of_a_number)  # type: ignore[arg-type]
    cfg.transact(lambda: 1)  # type: ignore[arg-type, misc]
    cfg.transact(count, 5)  # type: ignore[arg-type]
    cfg.transact("count")  # type: ignore[arg-type]
    cfg.refresh(resolve=larger)
    cfg.refresh(resolve=of_a_number)  # type: ignore[arg-type]
    cfg.refresh("yours")  # type: ignore[call-arg]
    cfg.refresh(resolve=True)  # type: ignore[arg-type]
    cfg.commit(5)  # type: ignore[arg-type]
    cfg.commit("why", False)  # type: ignore[call-arg]
    cfg.commit("why", force=True)  # type: ignore[call-arg]
    cfg.revert("x")  # type: ignore[call-arg]
    cfg.revert("x", to="1")  # type: ignore[arg-type]
    cfg.fork("app/eu", 1)  # type: ignore[call-arg]
    cfg.revert("x", to=1, message=5)  # type: ignore[arg-type]
    cfg.revert(["x"], to=1)  # type: ignore[arg-type]
    cfg.fork(5)  # type: ignore[arg-type]
    cfg.fork("app/eu", at="1")  # type: ignore[arg-type]
    cfg.fork("app/eu", message=5)  # type: ignore[arg-type]
    cfg.commit(dry_run="yes")  # type: ignore[arg-type]
    cfg.edit(5)  # type: ignore[arg-type]
    cfg.edit(merge="no")  # type: ignore[arg-type]
    cfg.edit(dry_run=True)  # type: ignore[call-arg]


def looking_back(cfg: lamina.Config) -> None:
    assert_type(cfg.verify(), lamina.Version)
    cfg.log(10)  # type: ignore[call-arg]
    cfg.history()  # type: ignore[call-arg]
    cfg.history("x", True)  # type: ignore[call-arg]
    cfg.diff()  # type: ignore[call-arg]
    cfg.diff("1")  # type: ignore[arg-type]
    cfg.blame(["x"])  # type: ignore[arg-type]
    cfg.origin(5)  # type: ignore[arg-type]
    cfg.at(1).commit("no")  # type: ignore[attr-defined]
    del cfg.at(1)["x"]  # type: ignore[attr-defined]
    next(cfg.log()).number = 3  # type: ignore[misc]


def following(cfg: lamina.Config, live: lamina.Live) -> None:
    cfg.watch("x", prefix="db/", after=cfg.at(1).version)
    live.watch(after=next(cfg.log()))
    cfg.watch(["x"])  # type: ignore[arg-type]
    cfg.watch(prefix=5)  # type: ignore[arg-type]
    cfg.watch(after=1.5)  # type: ignore[arg-type]
    cfg.watch(timeout="1")  # type: ignore[arg-type]
    cfg.watch().cursor = "3"  # type: ignore[misc]


def living(live: lamina.Live) -> None:
    def of_a_change(change: lamina.KeyChange) -> None: ...

    def of_nothing() -> None: ...

    def on_version(version: lamina.VersionChanges) -> None: ...

    with live as same:
        assert_type(same, lamina.Live)
    assert_type(live.carried({"app": 17}), lamina.Snapshot)
    assert_type(live.origin("x"), int)
    live.origin(5)  # type: ignore[arg-type]
    live.get(5)  # type: ignore[arg-type]
    print(live[5])  # type: ignore[index]
    live["x"] = 1  # type: ignore[index]
    number: int = live.on_change(on_version)  # type: ignore[assignment]
    print(number)
    live.bind(Settings, prefix=5)  # type: ignore[arg-type]
    live.bind(Settings, delimiter=5)  # type: ignore[arg-type]
    live.bind(Settings, on_invalid=on_version)  # type: ignore[arg-type]
    live.on_change(of_a_change)  # type: ignore[type-var]
    live.on_change(of_nothing)  # type: ignore[type-var]
    live.wait("3")  # type: ignore[arg-type]
    live.wait(3, timeout="1")  # type: ignore[arg-type]
    live.current["x"] = 1  # type: ignore[index]
    live.current = live.at(1)  # type: ignore[misc]
    live.commit("no")  # type: ignore[attr-defined]
    live.pin(live)  # type: ignore[arg-type]
    live.carried("app@17")  # type: ignore[arg-type]
    live.carried({"app": "17"})  # type: ignore[dict-item]


def carrying(cfg: lamina.Config, live: lamina.Live, other: aio.Live) -> None:
    assert_type(carry.from_metadata([("lamina", "app@17"), ("x-bin", b"7")]), dict[str, int])
    assert_type(carry.to_baggage(None, live, other), str)
    carry.to_metadata("app")  # type: ignore[arg-type]
    carry.to_metadata(live, carried={"app": "17"})  # type: ignore[dict-item]
    carry.to_baggage(None, "app")  # type: ignore[arg-type]
    carry.to_baggage(live)  # type: ignore[arg-type]
    carry.from_baggage({"lamina": "app@17"})  # type: ignore[arg-type]
    carry.from_metadata("lamina")  # type: ignore[arg-type]
    kept: logging.Filter = lamina.ProvenanceFilter(live, other, cfg, attribute="config")
    print(kept)
    lamina.ProvenanceFilter("app")  # type: ignore[arg-type]
    lamina.ProvenanceFilter(live).add("app")  # type: ignore[arg-type]
    lamina.ProvenanceFilter(live, attribute=1)  # type: ignore[arg-type]


def other_things(cfg: lamina.Config, client: lamina.Client, other: aio.Client) -> None:
    lamina.open(Path("app.lamina"))
    lamina.open(5)  # type: ignore[arg-type]
    lamina.open("app.lamina", "r")  # type: ignore[call-arg]
    LaminaProvider("app", client=client, prefix="flags/")
    LaminaProvider("app", client=other)  # type: ignore[arg-type]
    LaminaProvider("app", client)  # type: ignore[call-arg]
    testing.server("app")  # type: ignore[call-arg, arg-type]
    with testing.server() as server:
        assert_type(server.connect().config("app"), lamina.Config)
        assert_type(server.target, str)
        server.fail_next("Commit", times="2")  # type: ignore[arg-type]
        server.fail_next(method=5)  # type: ignore[arg-type]
        server.fail_next(reason=5)  # type: ignore[arg-type]
        server.fail_next(code=13)  # type: ignore[arg-type]
        server.fail_next(after="yes")  # type: ignore[arg-type]
        server.set(5, {})  # type: ignore[arg-type]
        server.set("app", {}, 5)  # type: ignore[arg-type]
        server.set("app", [("x", 1)])  # type: ignore[arg-type]
        server.advance("1h")  # type: ignore[arg-type]
        server.target = "a:7440"  # type: ignore[misc]
    raise lamina.ConflictError(conflicts={"x": 1})  # type: ignore[call-arg, dict-item]


async def with_asyncio(client: aio.Client, cfg: aio.Config) -> None:
    async def count(draft: aio.Config) -> None:
        draft["n"] = draft.get("n", 0) + 1

    def of_the_other_client(draft: lamina.Config) -> None: ...

    assert_type(await cfg.transact(count), lamina.Version)
    await cfg.transact(of_the_other_client)  # type: ignore[arg-type]
    await cfg.refresh(resolve="mine")  # type: ignore[arg-type]
    await cfg.commit(merge="no")  # type: ignore[arg-type]
    await cfg.commit(5)  # type: ignore[arg-type]
    await cfg.commit(dry_run="yes")  # type: ignore[arg-type]
    await cfg.transact(count, 5)  # type: ignore[arg-type]
    assert_type(await cfg.revert("x", to=1), lamina.Version)
    await cfg.revert("x")  # type: ignore[call-arg]
    await cfg.revert("x", to="1")  # type: ignore[arg-type]
    await cfg.revert(["x"], to=1)  # type: ignore[arg-type]
    await cfg.revert("x", to=1, message=5)  # type: ignore[arg-type]
    await cfg.fork(5)  # type: ignore[arg-type]
    await cfg.fork("app/eu", at="1")  # type: ignore[arg-type]
    await cfg.fork("app/eu", message=5)  # type: ignore[arg-type]
    cfg.edit(5)  # type: ignore[arg-type]
    cfg.edit(merge="no")  # type: ignore[arg-type]
    assert_type(await cfg.blame("x"), dict[str, lamina.Version])
    assert_type(await cfg.fork("app/eu"), aio.Config)
    assert_type(await cfg.verify(), lamina.Version)
    print(cfg.at(1)["x"])  # type: ignore[index]
    print(client.config("app").version)  # type: ignore[attr-defined]
    await cfg.origin("x")  # type: ignore[misc]
    for version in cfg.log():  # type: ignore[attr-defined]
        assert version
    for change in cfg.watch("x"):  # type: ignore[attr-defined]
        assert change
    with cfg.edit() as draft:  # type: ignore[attr-defined]
        assert draft
    with client:  # type: ignore[attr-defined]
        pass
    async with client.live("app") as opened:  # type: ignore[attr-defined]
        assert opened
    cfg.watch(after=1.5)  # type: ignore[arg-type]


async def living_with_asyncio(live: aio.Live) -> None:
    live["x"] = 1  # type: ignore[index]
    live.pin(live.carried({}))  # type: ignore[arg-type]
    await live.wait("3")  # type: ignore[arg-type]
    await live.wait(3, timeout="1")  # type: ignore[arg-type]
    await live.carried("app@17")  # type: ignore[arg-type]
    live.bind(int)  # type: ignore[type-var]

    async def on_version(version: lamina.VersionChanges) -> None: ...

    async def of_a_change(change: lamina.KeyChange) -> None: ...

    assert_type(await live.carried({"app": 17}), lamina.Snapshot)
    number: int = live.on_change(on_version)  # type: ignore[assignment]
    print(number)
    live.bind(Settings, prefix=5)  # type: ignore[arg-type]
    live.bind(Settings, delimiter=5)  # type: ignore[arg-type]
    live.on_change(of_a_change)  # type: ignore[type-var]


def never_awaited(cfg: lamina.Config) -> Callable[[], lamina.Version]:
    async def count(draft: lamina.Config) -> None: ...

    cfg.transact(count)
    return cfg.verify
