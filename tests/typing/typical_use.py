"""Typical use of the SDK, for type checkers only: mypy and pyright read this file, and it is never run.

An `ignore` marks a mistake that both checkers must find: they complain about an `ignore` without a mistake.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_type

import lamina
from lamina import aio, carry, testing
from lamina.bundle import export


def reading_and_writing() -> None:
    with lamina.connect("localhost:7440", token="t", tls=lamina.TLS(ca="ca.pem"), timeout=5, author="ann") as client:
        lamina.connect(cache_dir=Path("cache"))
        lamina.connect(cache_dir=7)  # type: ignore[arg-type]
        lamina.connect(token=lamina.TokenFile(Path("token")))
        lamina.connect(token=lamina.LoginToken())
        lamina.connect(token=lambda: "t")
        lamina.connect(token=b"t")  # type: ignore[arg-type]
        assert_type(client.whoami().grants, tuple[lamina.Grant, ...])
        assert_type(client.check_access("token:ada", "shop/prod").role, str | None)
        lamina.connect(cache_secrets=bytes(32))
        lamina.connect(cache_secrets=lambda: bytes(32))
        lamina.connect(cache_secrets="key")  # type: ignore[arg-type]
        assert_type(client, lamina.Client)
        cfg = client.config("payments/prod", create=True)
        assert_type(cfg, lamina.Config)
        assert_type(cfg["x"], Any)
        assert_type(cfg.get("x", 5), Any)
        cfg["x"] = 28
        cfg["hosts"] += ["h4"]
        cfg |= {"z": "on", "n": None}
        cfg.update(a=1.5, b=b"x", c={"d": [1, "two"]})
        hosts: list[str] = ["a"]
        cfg["hosts"] = hosts
        cfg["password"] = lamina.Secret("hunter2")
        lamina.Secret(5)  # type: ignore[arg-type]
        assert_type(lamina.Secret({"user": "ada"}).reveal(), Any)
        value: lamina.Value = lamina.Secret(b"key")
        cfg["key"] = value
        del cfg["y"]
        assert_type(cfg | {"z": 1}, dict[str, Any])
        assert_type(cfg.to_dict(), dict[str, Any])
        assert_type(cfg.changes, dict[str, lamina.Change])
        for key, change in cfg.changes.items():
            if change.old is lamina.MISSING:
                print(key)
        cfg["x"] = (1, 2)  # type: ignore[assignment]
        cfg["x"] = {1, 2}  # type: ignore[assignment]
        cfg[5] = 1  # type: ignore[index]
        mapping: Mapping[str, Any] = cfg
        assert mapping == cfg


def committing(cfg: lamina.Config) -> None:
    version = cfg.commit("raise x", merge=False, dry_run=True)
    assert_type(version, lamina.Version)
    assert_type(version.number, int)
    assert_type(version.time, datetime)
    cfg.commit(merge="no")  # type: ignore[arg-type]
    try:
        cfg.refresh()
    except lamina.ConflictError as error:
        assert_type(error.conflicts, dict[str, lamina.Conflict])
        cfg.refresh(resolve=lambda conflict: conflict.theirs)
        cfg.refresh(resolve="theirs")
        cfg.refresh(resolve="mine")  # type: ignore[arg-type]
    with cfg.edit("raise x") as draft:
        assert_type(draft, lamina.Config)
        draft["x"] = 1
    assert_type(cfg.transact(lambda draft: draft.setdefault("n", 0), "count"), lamina.Version)
    cfg.transact(cfg.commit("no function"))  # type: ignore[arg-type]


def looking_back(client: lamina.Client, cfg: lamina.Config) -> None:
    version = next(cfg.log(limit=1))
    snapshot = cfg.at(version)
    assert_type(snapshot, lamina.Snapshot)
    assert_type(snapshot["x"], Any)
    snapshot["x"] = 1  # type: ignore[index]
    cfg.at(1)
    cfg.at(datetime.now(UTC))
    cfg.at("1")  # type: ignore[arg-type]
    assert_type(cfg.diff(1, version), dict[str, lamina.Change])
    assert_type(cfg.log(), Iterator[lamina.Version])
    assert_type(cfg.history("x", newest_first=True, limit=3), Iterator[lamina.KeyChange])
    assert_type(cfg.origin("x"), int)
    assert_type(cfg.blame("x", "y"), dict[str, lamina.Version])
    assert_type(cfg.revert("x", to=1, message="undo"), lamina.Version)
    assert_type(cfg.fork("payments/eu", at=1), lamina.Config)
    assert_type(list(client.configs("payments/")), list[lamina.ConfigInfo])


def following(cfg: lamina.Config) -> str:
    with cfg.watch("x", prefix=["db/"], after="3.abc", timeout=5) as watch:
        for change in watch:
            assert_type(change, lamina.KeyChange)
        for version in watch.versions():
            assert_type(version, lamina.VersionChanges)
            assert_type(version.changes, tuple[lamina.KeyChange, ...])
        return watch.cursor


def living(client: lamina.Client) -> int:
    live = client.live("payments/prod", default={"x": 1, "hosts": ["a"]})
    client.live("payments/prod", default={"x": {1, 2}})  # type: ignore[dict-item]
    assert_type(live, lamina.Live)
    assert_type(live.current, lamina.Snapshot)
    assert_type(live.state, lamina.LiveState)
    assert_type(live.age, float)
    assert_type(live.error, lamina.LaminaError | None)
    assert_type(live.at(1), lamina.Snapshot)

    @live.on_change
    def changed(version: lamina.VersionChanges) -> None:
        assert_type(version.changes, tuple[lamina.KeyChange, ...])

    kept: Callable[[lamina.VersionChanges], None] = changed
    live.on_change(kept)
    live.wait(3, timeout=1)
    with live.pin() as snapshot, live.pin(live.at(1)):
        assert_type(snapshot, lamina.Snapshot)
    live.pin(1)  # type: ignore[arg-type]
    return live.version


def carrying(live: lamina.Live, header: str | None) -> str:
    carried = carry.from_baggage(header)
    assert_type(carried, dict[str, int])
    logging.getLogger().addFilter(lamina.ProvenanceFilter(live))
    with live.pin(live.carried(carried)):
        assert_type(carry.to_metadata(live, carried=carried), tuple[tuple[str, str], ...])
        return carry.to_baggage(header, live)


async def with_asyncio() -> None:
    async with aio.connect() as client:
        cfg = await client.config("payments/prod")
        assert_type(cfg, aio.Config)
        cfg["x"] = 28
        assert_type(await cfg.commit(), lamina.Version)
        print(cfg.commit().number)  # type: ignore[attr-defined]
        await client.live("payments/prod", default={"x": b"1"})
        assert_type(await cfg.at(1), lamina.Snapshot)
        assert_type(cfg.log(), AsyncIterator[lamina.Version])
        async with cfg.edit() as draft:
            assert_type(draft, aio.Config)
        async with await client.live("payments/prod") as live:
            assert_type(live, aio.Live)
            assert_type(await live.diff(1), dict[str, lamina.Change])
            await live.wait(3)
            with live.pin(await live.carried({"payments/prod": 17})) as snapshot:
                assert_type(snapshot, lamina.Snapshot)
            print(carry.to_metadata(live), lamina.ProvenanceFilter(live))
        async for info in client.configs():
            assert_type(info, lamina.ConfigInfo)
        async with cfg.watch() as watch:
            async for change in watch:
                assert_type(change, lamina.KeyChange)
            async for version in watch.versions():
                assert_type(version, lamina.VersionChanges)


def failing(error: lamina.LaminaError) -> str | int | None:
    match error:
        case lamina.LimitError(limit=limit, actual=actual):
            assert_type(limit, int | None)
            return actual
        case lamina.CursorError():
            return error.cursor
        case _:
            return error.reason


def their_tests(lamina_server: testing.Server) -> None:
    with testing.server() as server, server.down():
        assert_type(server, testing.Server)
    assert_type(lamina_server.connect(timeout=1), lamina.Client)
    assert_type(lamina_server.set("app", {"x": 1}, "why"), lamina.Version)
    lamina_server.set("app", {"x": (1,)})  # type: ignore[dict-item]
    lamina_server.fail_next("Commit", reason="NOT_ALLOWED", times=2, after=False)
    lamina_server.fail_next("Commit", "NOT_ALLOWED")  # type: ignore[call-arg]
    lamina_server.advance(3600)
    assert_type(lamina_server.now, datetime)
    assert_type(lamina_server.calls["Commit"], int)


VALUE: lamina.Value = {"a": [1, None, "x"]}


def bundles(cfg: lamina.Config) -> None:
    assert_type(export(cfg, "app.lamina", at=3), lamina.Version)
    with lamina.open("app.lamina") as past:
        assert_type(past, lamina.Bundle)
        assert_type(past["x"], Any)
        assert_type(past.at(datetime.now(UTC)), lamina.Snapshot)
        assert_type(past.diff(1), dict[str, lamina.Change])
        assert_type(past.log(limit=3), Iterator[lamina.Version])
        assert_type(past.history("x", newest_first=True), Iterator[lamina.KeyChange])
        assert_type(past.blame("x"), dict[str, lamina.Version])
        assert_type(past.verify(), lamina.Version)
        past["x"] = 1  # type: ignore[index]
        del past["x"]  # type: ignore[attr-defined]
        past.commit("no")  # type: ignore[attr-defined]
    lamina.opne("app.lamina")  # type: ignore[attr-defined]
    export(past, "app.lamina")  # type: ignore[arg-type]
