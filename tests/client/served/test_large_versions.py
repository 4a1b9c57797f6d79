"""A version in several parts, on a slow connection: the parts together take longer than the allowed silence."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

import lamina
from tests.client.sdk import Sdk, beside, entered, listed, of
from tests.faults.proxy import Mode, Proxy
from tests.support.server import ServerProcess

SILENCE_SECONDS = 1.0
BYTES_PER_SECOND = 5_000_000.0


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server for this module, on one kind of database: the others would behave alike."""
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """An empty config at version 3; a revert to version 2 sends 7 MB in eight parts."""
    made = await of(client.config(config_name, create=True))
    for begin in (0, 4):
        made |= {str(begin + number): "v" * 900_000 for number in range(4)}
        await of(made.commit())
    for key in list(made):
        del made[key]
    await of(made.commit())
    return made


@pytest.fixture
def slow(sdk: Sdk, target: str) -> Iterator[Any]:
    """A client on a slow connection."""
    with Proxy(target) as proxy:
        proxy.switch(Mode(bytes_per_second=BYTES_PER_SECOND))
        yield sdk.connect(proxy.target)


async def test_a_watch_is_not_silent_while_the_parts_arrive(cfg: Any, slow: Any) -> None:
    followed = await of(slow.config(cfg.name))
    async with entered(followed.watch(timeout=SILENCE_SECONDS)) as watch:
        await of(cfg.revert(to=2))
        began = time.monotonic()
        versions = await listed(watch.versions(), 1)
        assert time.monotonic() - began > SILENCE_SECONDS, "it came too fast to show anything"
    assert [(version.version, len(version.changes)) for version in versions] == [(4, 8)]


async def test_a_live_waits_while_the_parts_arrive(sdk: Sdk, cfg: Any, slow: Any) -> None:
    live = await of(slow.live(cfg.name))
    began = time.monotonic()
    await of(cfg.revert(to=2))
    await beside(sdk, live.wait, 4, SILENCE_SECONDS)
    assert time.monotonic() - began > SILENCE_SECONDS, "it came too fast to show anything"
    assert (live.version, live.state) == (4, "LIVE")
    assert live.age < SILENCE_SECONDS
    with pytest.raises(lamina.DeadlineError):
        await beside(sdk, live.wait, 5, 0.01)
