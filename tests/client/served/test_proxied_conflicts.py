"""Conflicts, and what a client sends, through real proxies that keep to their defaults: all arrives, whole."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import lamina
from tests.cli.running import InProcess
from tests.client.sdk import Sdk, of
from tests.faults.proxy import Mode, Proxy
from tests.support.proxies import PROXIES
from tests.support.server import ServerProcess

TIMEOUT = 10.0
"""A conflict that a proxy swallows is tried again until then."""
AUTHOR = "Zoë é " + "ü" * 123 + "."
"""As long as an author may be: 255 bytes, which are three times as many as metadata."""
MESSAGE = "größer, weil … " + "é" * 2038
"""As long as a message may be."""
LARGE = "v" * 5_000
KEYS = {
    "1-long": [f"{'é' * 255}a"],
    "30-short": [f"key-{number:02}" for number in range(30)],
    "30-long": [f"{number:04}{'é' * 254}" for number in range(30)],
    "300-short": [f"key-{number:03}" for number in range(300)],
    "300-long": [f"{number:04}{'é' * 254}" for number in range(300)],
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[str]:
    """The address of a proxy before the server."""
    with (
        TemporaryDirectory(prefix="lamina-") as folder,
        PROXIES[request.param](server.target, Path(folder)) as address,
    ):
        yield address


@pytest.mark.parametrize(
    ("name", "is_merged"), [*((name, True) for name in KEYS), ("30-short", False), ("300-long", False)]
)
async def test_a_conflict_is_told_at_once_and_whole(
    sdk: Sdk, proxy: str, config_name: str, name: str, *, is_merged: bool
) -> None:
    keys = KEYS[name]
    ours, theirs = (sdk.connect(proxy, timeout=TIMEOUT, author=AUTHOR) for _ in range(2))
    cfg = await of(ours.config(config_name, create=True))
    cfg |= dict.fromkeys(keys, 1)
    await of(cfg.commit(MESSAGE))
    await change(theirs, config_name, keys)
    cfg |= dict.fromkeys(keys, 3)
    began = time.monotonic()
    with pytest.raises(lamina.ConflictError) as caught:
        await of(cfg.commit(MESSAGE, merge=is_merged))
    assert time.monotonic() - began < TIMEOUT / 2
    assert list(caught.value.conflicts) == sorted(keys)
    expected = [(key, 1, after(key, keys), 3, 2, AUTHOR) for key in sorted(keys)]
    found = [(c.key, c.base, c.theirs, c.yours, c.version, c.author) for c in caught.value.conflicts.values()]
    assert found == expected


async def test_a_long_token_and_a_long_author_pass(sdk: Sdk, proxy: str, config_name: str) -> None:
    cfg = await of(sdk.connect(proxy, token="t" * 6 * 1024, author=AUTHOR).config(config_name, create=True))
    cfg["x"] = 1
    assert (await of(cfg.commit(MESSAGE))).author == AUTHOR


async def test_the_server_may_be_far_away(sdk: Sdk, server: ServerProcess, config_name: str) -> None:
    """Few calls find out who deleted hundreds of keys. Else the verb's time would end before the conflict is told."""
    keys = KEYS["300-short"]
    with Proxy(server.target) as way:
        cfg = await of(sdk.connect(way.target, timeout=TIMEOUT).config(config_name, create=True))
        cfg |= dict.fromkeys(keys, 1)
        await of(cfg.commit())
        others = await of(sdk.connect(server.target, author="bob").config(config_name))
        others.clear()
        await of(others.commit())
        cfg |= dict.fromkeys(keys, 3)
        way.switch(Mode(latency_seconds=0.05))
        began = time.monotonic()
        with pytest.raises(lamina.ConflictError) as caught:
            await of(cfg.commit())
        assert time.monotonic() - began < TIMEOUT / 4
    assert list(caught.value.conflicts) == keys
    assert {(each.version, each.author) for each in caught.value.conflicts.values()} == {(2, "bob")}


def test_the_command_line_shows_all_of_it(proxy: str, config_name: str) -> None:
    keys = KEYS["300-long"]
    with lamina.connect(proxy, author="bob") as client:
        cfg = client.config(config_name, create=True)
        for value in (1, 2):
            cfg |= dict.fromkeys(keys, value)
            cfg.commit()
    run = InProcess(proxy)
    began = time.monotonic()
    done = run("set", config_name, *[f"{key}:=3" for key in keys], "--base", "1", code=3)
    assert time.monotonic() - began < TIMEOUT / 2
    rows = [line.split() for line in done.stderr.splitlines()[2:]]
    assert [row[0][:30] for row in rows] == [key[:30] for key in sorted(keys)]
    assert {tuple(row[1:]) for row in rows} == {("1", "2", "3", "bob", "in", "version", "2")}


async def change(client: Any, config: str, keys: list[str]) -> None:
    """Do what others do: set the keys, one of them to a large value, and delete a few."""
    cfg = await of(client.config(config))
    for key in keys:
        if (new := after(key, keys)) is lamina.MISSING:
            del cfg[key]
        else:
            cfg[key] = new
    await of(cfg.commit(MESSAGE))


def after(key: str, keys: list[str]) -> Any:
    """Give what others have made of a key."""
    place = keys.index(key)
    return LARGE if place == 0 else lamina.MISSING if place % 10 == 5 else 2
