"""Where tracebacks end: a missing key or a failed verb shows the user's line, and at most two of this library's."""

import traceback
from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest

import lamina
import lamina.testing
from tests.client.live_helpers import put
from tests.client.sdk import Sdk, entered, of

OURS = str(Path(lamina.__file__).parent)


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    config = await of(client.config(config_name, create=True))
    await put(config, n=1)
    return config


def frames_of_ours(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(OURS)]


def check_short(error: BaseException) -> None:
    assert len(frames_of_ours(error)) <= 2, frames_of_ours(error)
    # Python prints only this traceback, without a "During handling" or "direct cause" above it.
    assert "".join(traceback.format_exception(error)).count("Traceback") == 1


async def test_a_missing_key_has_a_short_traceback(client: Any, cfg: Any) -> None:
    snapshot, live = await of(cfg.at(1)), await of(client.live(cfg.name))
    for mapping in (cfg, snapshot, live, live.current):
        looks: list[Callable[[Any], Any]] = [lambda it: it["x"], lambda it: it.origin("x")]
        for look in looks:
            with pytest.raises(KeyError, match=r"^'x'$") as caught:
                look(mapping)
            check_short(caught.value)
    changes: list[Callable[[], Any]] = [lambda: cfg.pop("x"), lambda: cfg.__delitem__("x")]
    for change in changes:
        with pytest.raises(KeyError) as caught:
            change()
        check_short(caught.value)


async def test_a_bad_value_has_a_short_traceback(cfg: Any) -> None:
    for value in ({1, 2}, {"a": [{"b": {3}}]}, float("nan")):
        with pytest.raises((TypeError, lamina.InvalidError)) as caught:
            cfg["x"] = value
        check_short(caught.value)


@pytest.mark.parametrize(
    "verb",
    [
        lambda cfg: cfg.commit("m" * 5_000),
        lambda cfg: cfg.commit("no merge", merge=False),
        lambda cfg: cfg.commit("conflict"),
        lambda cfg: cfg.refresh(),
        lambda cfg: cfg.at(99),
        lambda cfg: cfg.diff(99, 1),
        lambda cfg: cfg.blame("missing"),
        lambda cfg: cfg.fork("bad name"),
        lambda cfg: cfg.revert("n", to=1),
        lambda cfg: cfg.transact(lambda _draft: None),
    ],
    ids=["message", "base", "conflict", "refresh", "at", "diff", "blame", "fork", "revert", "transact"],
)
async def test_a_failed_verb_has_a_short_traceback(sdk: Sdk, target: str, cfg: Any, verb: Callable[[Any], Any]) -> None:
    other = await of(sdk.connect(target).config(cfg.name))
    await put(other, n=2)
    cfg["n"] = 3
    with pytest.raises((lamina.LaminaError, KeyError)) as caught:
        await of(verb(cfg))
    check_short(caught.value)


async def test_a_failed_edit_has_a_short_traceback(sdk: Sdk, target: str, cfg: Any) -> None:
    other = await of(sdk.connect(target).config(cfg.name))
    with pytest.raises(lamina.ConflictError) as caught:
        async with entered(cfg.edit()):
            cfg["n"] = 3
            await put(other, n=2)
    check_short(caught.value)


async def test_a_missing_config_has_a_short_traceback(client: Any, config_name: str) -> None:
    for opening in (client.config, client.live):
        with pytest.raises(lamina.NotFoundError) as caught:
            await of(opening(f"{config_name}/none"))
        check_short(caught.value)


async def test_a_missing_server_has_a_short_traceback(sdk: Sdk) -> None:
    """The last try's error is in the text, so it is not shown as a cause once more."""
    client = sdk.connect("localhost:1", timeout=0.1)
    for opening in (client.config, client.live):
        with pytest.raises(lamina.DeadlineError, match="no server answers at localhost:1") as caught:
            await of(opening("app"))
        check_short(caught.value)
        assert len(caught.traceback) <= 3, "nor frames of what runs this library in a thread"


async def test_a_watch_that_fails_has_a_short_traceback(cfg: Any) -> None:
    async with entered(cfg.watch(after=99)) as watch:
        with pytest.raises(lamina.CursorError) as caught:
            if hasattr(watch, "__anext__"):
                await anext(watch)
            else:
                next(watch)
    check_short(caught.value)


async def test_a_wait_without_success_has_a_short_traceback(client: Any, cfg: Any) -> None:
    live = await of(client.live(cfg.name))
    with pytest.raises(lamina.DeadlineError) as caught:
        await of(live.wait(99, 0.01))
    check_short(caught.value)


async def test_a_live_that_has_ended_has_a_short_traceback(sdk: Sdk) -> None:
    """The error was first raised in the background, and each call raises it again."""
    with lamina.testing.server() as server:
        client = sdk.connect(server.target)
        server.set("app", {"n": 1})
        live = await of(client.live("app"))
        server.fail_next("WatchKeyHistory", reason="CURSOR_FORKED")
        server.disconnect()
        for _ in range(3):
            with pytest.raises(lamina.CursorError) as caught:
                await of(live.wait(99))
            check_short(caught.value)
        with pytest.raises(lamina.CursorError) as caught:
            live.on_change(print)
        check_short(caught.value)
        await of(client.close())


async def test_a_failed_verification_has_a_short_traceback(sdk: Sdk) -> None:
    with lamina.testing.server() as server:
        client = sdk.connect(server.target)
        server.set("app", {"n": 1})
        cfg = await of(client.config("app"))
        server.fail_next("WatchKeyHistory", reason="NOT_ALLOWED")
        with pytest.raises(lamina.PermissionDeniedError) as caught:
            await of(cfg.verify())
        check_short(caught.value)
        await of(client.close())


async def test_settings_that_do_not_fit_have_a_short_traceback(client: Any, cfg: Any) -> None:
    live = await of(client.live(cfg.name))
    with pytest.raises(lamina.SettingsError) as caught:
        live.bind(make_dataclass("Settings", [("missing", int)]))
    check_short(caught.value)


async def test_an_error_in_the_user_s_function_shows_the_user_s_lines(cfg: Any) -> None:
    def look(draft: Any) -> Any:
        return draft["missing"]

    with pytest.raises(KeyError) as caught:
        await of(cfg.transact(look))
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][-1] == "look"
    assert len(frames_of_ours(caught.value)) <= 2
