"""Mistakes in calls of the SDK: each is refused with a clear error before anything is sent."""

import copy
import functools
import pickle
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import aio, bundle
from tests.client.live_helpers import Noted, put
from tests.client.sdk import Sdk, of


@dataclass
class Settings:
    n: int = 0


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    config = await of(client.config(config_name, create=True))
    await put(config, n=1)
    return config


@pytest.fixture
async def live(client: Any, cfg: Any) -> Any:
    return await of(client.live(cfg.name))


async def later(*_arguments: Any) -> None:
    """Do nothing, when awaited."""


class Later:
    async def __call__(self, *_arguments: Any) -> None:
        """Do nothing, when awaited: an object that can be called like a coroutine function."""


def piecewise(*_arguments: Any) -> Iterator[None]:
    yield


async def piecewise_later(*_arguments: Any) -> AsyncIterator[None]:
    yield


def _named(argument: object) -> str:
    """Name a test in the same way in each process: without the addresses of functions."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(argument))


COROUTINE_FUNCTIONS = [later, Later(), functools.partial(later, 1)]
GENERATOR_FUNCTIONS = [piecewise, piecewise_later]


class TestFunctions:
    """A method that takes a function refuses one that it could not call or await."""

    @staticmethod
    def takers(live: Any, cfg: Any) -> list[Callable[[Any], Any]]:
        return [
            live.on_change,
            live.bind(Settings).on_change,
            lambda function: live.bind(Settings, on_invalid=function),
            cfg.transact,
        ]

    @classmethod
    def all_takers(cls, live: Any, cfg: Any) -> list[Callable[[Any], Any]]:
        return [*cls.takers(live, cfg), lambda function: cfg.refresh(resolve=function)]

    @pytest.mark.parametrize("wrong", [3, "f", {}], ids=repr)
    async def test_an_object_that_is_no_function_is_refused(self, live: Any, cfg: Any, wrong: Any) -> None:
        for take in self.all_takers(live, cfg):
            with pytest.raises(TypeError, match=r"takes .*function"):
                await of(take(wrong))

    async def test_none_is_refused(self, live: Any, cfg: Any) -> None:
        for take in (live.on_change, live.bind(Settings).on_change, cfg.transact):
            with pytest.raises(TypeError, match="takes a function, not None"):
                await of(take(None))

    @pytest.mark.parametrize("function", GENERATOR_FUNCTIONS)
    async def test_a_generator_function_is_refused(self, live: Any, cfg: Any, function: Any) -> None:
        for take in self.all_takers(live, cfg):
            with pytest.raises(TypeError, match="without yield"):
                await of(take(function))

    @pytest.mark.parametrize("sdk", ["sync"], indirect=True)
    @pytest.mark.parametrize("function", COROUTINE_FUNCTIONS)
    async def test_a_coroutine_function_is_refused_without_asyncio(self, live: Any, cfg: Any, function: Any) -> None:
        for take in self.takers(live, cfg):
            with pytest.raises(TypeError, match="plain function"):
                take(function)
        with pytest.raises(TypeError, match=r"advance= takes a plain function"):
            bundle.export(cfg, "never", advance=function)

    @pytest.mark.parametrize("function", COROUTINE_FUNCTIONS)
    async def test_a_conflict_is_resolved_by_a_plain_function(self, cfg: Any, function: Any) -> None:
        with pytest.raises(TypeError, match="resolve= takes a plain function"):
            await of(cfg.refresh(resolve=function))

    @pytest.mark.parametrize("sdk", ["aio"], indirect=True)
    @pytest.mark.parametrize("function", COROUTINE_FUNCTIONS)
    async def test_a_coroutine_function_is_accepted_with_asyncio(self, live: Any, cfg: Any, function: Any) -> None:
        for take in self.takers(live, cfg):
            await of(take(function))

    @pytest.mark.parametrize("sdk", ["sync"], indirect=True)
    async def test_a_callback_that_returns_a_coroutine_is_logged(
        self, sdk: Sdk, live: Any, cfg: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        noted = Noted(sdk)
        live.on_change(lambda version: later(version))  # noqa: PLW0108 - the returned coroutine is the point
        live.on_change(noted)
        await put(cfg, n=2)
        assert await noted.numbers(1) == [2]
        assert "returned a coroutine, which nothing here awaits" in caplog.text


class TestCopies:
    """Objects that belong to a process, such as connections, refuse to be pickled or copied."""

    @pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
    async def test_an_object_with_a_connection_is_not_copied(
        self, client: Any, cfg: Any, live: Any, copied: Any
    ) -> None:
        for it in (client, cfg, live, cfg.watch(), live.bind(Settings)):
            with pytest.raises(TypeError, match=f"a {type(it).__name__} does not pickle or copy: "):
                copied(it)

    async def test_a_client_inside_another_object_is_not_copied(self, client: Any) -> None:
        with pytest.raises(TypeError, match="a Client does not pickle or copy: connect again"):
            copy.deepcopy({"client": client})


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"timeout": None}, "timeout= is a number of seconds, not None"),
            ({"timeout": "5"}, "timeout= is a number of seconds, not str"),
            ({"author": 3}, "author= is text, not int"),
            ({"token": 3}, "token= is text, or a function that returns it, not int"),
            ({"token": b"x"}, "token= is text, or a function that returns it, not bytes"),
            ({"token": Path("token")}, r"token= takes a file as lamina.TokenFile\(path\)"),
            ({"token": piecewise}, "token= takes a function without yield"),
            ({"cache_dir": 3}, "cache_dir= is text or a path of text, not int"),
            ({"cache_dir": b"x"}, "cache_dir= is text or a path of text, not bytes"),
            ({"target": 3}, "target, such as 'localhost:7440', is text, not int"),
            ({"target": b"localhost"}, "target, such as 'localhost:7440', is text, not bytes"),
        ],
        ids=_named,
    )
    @pytest.mark.parametrize("module", [lamina, aio])
    def test_connect_checks_the_types_of_its_arguments(self, module: Any, options: dict[str, Any], words: str) -> None:
        with pytest.raises(TypeError, match=words):
            module.connect(**options)

    async def test_live_checks_the_types_of_its_arguments(self, client: Any, config_name: str) -> None:
        for wrong in (3, "x", [("x", 1)]):
            with pytest.raises(TypeError, match=f"default= is a mapping of keys to values, not {type(wrong).__name__}"):
                await of(client.live(config_name, default=wrong))
        with pytest.raises(TypeError, match="a config's name is text, not int"):
            await of(client.live(3))

    async def test_seconds_limits_and_prefixes_are_checked(self, cfg: Any, live: Any) -> None:
        with pytest.raises(TypeError, match="timeout= is a number of seconds, not str"):
            cfg.watch(timeout="3")
        with pytest.raises(TypeError, match="timeout= is a number of seconds, not str"):
            await of(live.wait(9, "3"))
        with pytest.raises(TypeError, match="limit= is an int, not str"):
            cfg.log(limit="3")
        with pytest.raises(TypeError, match="prefix= is text, or several, not int"):
            cfg.watch(prefix=3)
