"""A compacted config, with both clients: what is gone says so in words, and lives go on."""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.bundle import export
from lamina_server.store.compaction.compaction import Compaction, Keep, opened
from tests.client.live_helpers import Noted, reach
from tests.client.sdk import Sdk, listed, of
from tests.support.server import ServerProcess

CONFIG, HEAD, OLDEST = "shop/prod", 6, 4


def compact(url: str, *, keep: int) -> None:
    with opened(url) as database:
        compaction = Compaction(database)
        (target,) = compaction.targets(lambda _: True, Keep(versions=keep))
        compaction.compact(target, "test", 1, lambda _: None)


@dataclass
class Place:
    url: str
    server: ServerProcess

    def compact(self, *, keep: int) -> None:
        """Compact the config while the server is away."""
        self.server.stop()
        compact(self.url, keep=keep)
        self.server.restart()


@pytest.fixture
async def place(sdk: Sdk, tmp_path: Path) -> AsyncIterator[Place]:
    """A server whose config has version 1, {x: 1, y: 1, gone: 1}, and five more; the third one has deleted `gone`."""
    url = f"sqlite:///{tmp_path}/lamina.db"
    with ServerProcess(url) as server:
        client = sdk.connect(server.target, author="ann")
        cfg = await of(client.config(CONFIG, create=True))
        cfg |= {"x": 1, "y": 1, "gone": 1}
        await of(cfg.commit("why 1"))
        for number in range(2, HEAD + 1):
            cfg["x"] = number
            if number == 3:
                del cfg["gone"]
            await of(cfg.commit(f"why {number}"))
        yield Place(url, server)


@pytest.fixture
async def cfg(sdk: Sdk, place: Place) -> Any:
    """The config, of which the versions 4, 5 and 6 can be read."""
    place.compact(keep=HEAD - OLDEST + 1)
    return await of(sdk.connect(place.server.target, author="ann").config(CONFIG))


@pytest.mark.crossed
async def test_what_is_compacted_says_so(cfg: Any, tmp_path: Path) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: cfg.at(3),
        lambda: cfg.diff(1),
        lambda: cfg.revert(to=2),
        lambda: cfg.fork("shop/eu", at=3),
    ]
    for call in calls:
        with pytest.raises(lamina.VersionCompactedError, match="the oldest version that can be read is 4") as refused:
            await of(call())
        assert (refused.value.oldest_version, refused.value.reason) == (OLDEST, "VERSION_COMPACTED")
        assert isinstance(refused.value, LookupError)
    with pytest.raises(lamina.VersionCompactedError):
        await listed(cfg.watch(after=0), 1)
    assert [each.version for each in await listed(cfg.watch(after=OLDEST - 1), 3)] == [4, 5, 6]
    assert (await of(cfg.at(OLDEST)))["x"] == OLDEST


@pytest.mark.crossed
async def test_the_history_and_the_log_stay(sdk: Sdk, place: Place, cfg: Any) -> None:
    x = await listed(cfg.history("x"))
    assert [(each.version, each.message, each.compacted) for each in x] == [
        (number, f"why {number}", number < OLDEST) for number in range(1, HEAD + 1)
    ]
    assert [each.value for each in x] == [lamina.COMPACTED] * 3 + [4, 5, 6]
    assert (repr(x[0].value), bool(x[0].value), len(x[0].digest), x[-1].digest) == ("lamina.COMPACTED", False, 64, "")
    gone = await listed(cfg.history("gone", newest_first=True))
    assert [(each.version, each.deleted, each.value) for each in gone] == [
        (3, True, lamina.MISSING),
        (1, False, lamina.COMPACTED),
    ]
    log = await listed(cfg.log())
    assert [(version.number, version.compacted) for version in log] == [(n, n < OLDEST) for n in range(HEAD, 0, -1)]
    (info,) = await listed(sdk.connect(place.server.target).configs())
    assert (info.head, info.oldest) == (HEAD, OLDEST)
    assert {key: each.number for key, each in (await of(cfg.blame())).items()} == {"x": HEAD, "y": 1}


async def test_a_draft_on_a_compacted_version_goes_on_after_a_refresh(sdk: Sdk, place: Place) -> None:
    client = sdk.connect(place.server.target, author="bob")
    draft = await of(client.config(CONFIG))
    draft["mine"] = 1
    other = await of(sdk.connect(place.server.target).config(CONFIG))
    other["x"] = "theirs"
    await of(other.commit())
    place.compact(keep=1)
    with pytest.raises(lamina.VersionCompactedError):
        await of(draft.commit())
    await of(draft.refresh())
    assert (await of(draft.commit())).number == HEAD + 2
    assert dict(draft) == {"x": "theirs", "y": 1, "mine": 1}


@pytest.mark.crossed
async def test_verify_proves_what_is_left_and_says_so(cfg: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="lamina"):
        assert (await of(cfg.verify())).number == HEAD
    assert f"{CONFIG} is verified from version 4 on, because the ones before are compacted" in caplog.text


async def test_a_past_that_is_compacted_is_not_exported(place: Place, tmp_path: Path) -> None:
    place.compact(keep=2)
    with lamina.connect(place.server.target) as client:
        with pytest.raises(lamina.VersionCompactedError, match=r"versions before 5 have no values any more") as refused:
            export(client.config(CONFIG), tmp_path / "past.lamina")
        assert refused.value.oldest_version == 5
    assert not (tmp_path / "past.lamina").exists()


@pytest.mark.crossed
async def test_a_live_that_was_away_for_too_long_goes_on_with_the_head(sdk: Sdk, place: Place) -> None:
    """It shows no version that it cannot get, and its callbacks receive what has changed meanwhile."""
    live = await of(sdk.connect(place.server.target).live(CONFIG))
    noted = Noted(sdk)
    live.on_change(noted)
    place.server.stop()
    with ServerProcess(place.url) as elsewhere:
        other = await of(sdk.connect(elsewhere.target).config(CONFIG))
        for number in (1, 2, 3):
            other["z"] = number
            await of(other.commit())
        del other["y"]
        head = await of(other.commit())
    compact(place.url, keep=1)
    place.server.restart()
    await reach(live, head)
    assert dict(live.current) == {"x": HEAD, "z": 3}
    assert await noted.numbers(1) == [head.number]
    assert [(each.key, each.value) for each in noted.versions[0].changes] == [("y", lamina.MISSING), ("z", 3)]
    await of(live.close())
