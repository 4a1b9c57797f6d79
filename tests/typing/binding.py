"""Settings bound to a live, for type checkers only: mypy and pyright read this file, and it is never run.

An `ignore` marks a mistake that both checkers must find: they complain about an `ignore` without a mistake.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, assert_type

import pydantic
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

import lamina
from lamina import aio
from lamina.pydantic import LaminaSettingsSource


class Database(pydantic.BaseModel):
    host: str
    port: int = 5432


class Model(pydantic.BaseModel):
    timeout: int
    db: Database


@dataclass(frozen=True)
class Plain:
    timeout: int
    hosts: list[str]


@pydantic.dataclasses.dataclass
class Both:
    timeout: int


class Neither(NamedTuple):
    timeout: int


def binding(live: lamina.Live, other: aio.Live) -> lamina.Bound[Model]:
    bound = live.bind(Model, prefix="shop/", delimiter="/", on_invalid=invalid)
    assert_type(bound, lamina.Bound[Model])
    assert_type(bound.current, Model)
    assert_type(bound.current.db.port, int)
    assert_type(bound.version, int)
    assert_type(bound.state, lamina.LiveState)
    assert_type(bound.error, lamina.SettingsError | None)
    assert_type(live.bind(Plain).current.hosts, list[str])
    assert_type(live.bind(Both).current, Both)
    assert_type(other.bind(Plain).current, Plain)
    take_any_model(bound)

    @bound.on_change
    def changed(old: Model, new: Model) -> None:
        assert_type(new.timeout, int)

    kept: Callable[[Model, Model], None] = changed
    bound.on_change(kept)

    async def later(old: Plain, new: Plain) -> None: ...

    other.bind(Plain).on_change(later)
    return bound


def take_any_model(bound: lamina.Bound[pydantic.BaseModel]) -> None:
    assert_type(bound.current, pydantic.BaseModel)


def mistakes(live: lamina.Live, other: aio.Live, bound: lamina.Bound[Model]) -> None:
    live.bind(Neither)  # type: ignore[type-var]
    live.bind(int)  # type: ignore[type-var]
    live.bind(Plain(1, []))  # type: ignore[arg-type]
    live.bind(Model, "shop/")  # type: ignore[call-arg]
    other.bind(Model, on_invalid=other_settings)  # type: ignore[arg-type]
    print(bound.current.timout)  # type: ignore[attr-defined]
    bound.current = Model(timeout=1, db=Database(host="h"))  # type: ignore[misc]
    plain: lamina.Bound[Plain] = bound  # type: ignore[assignment]
    plain.on_change(other_settings)  # type: ignore[arg-type]
    plain.on_change(one_argument)  # type: ignore[arg-type]


def invalid(error: lamina.SettingsError) -> None:
    assert_type(error.problems, dict[str, str])
    assert_type(error.version, int)


def other_settings(old: Model, new: Model) -> None: ...


def one_argument(new: Plain) -> None: ...


class FromEverywhere(BaseSettings):
    timeout: int

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        ours = LaminaSettingsSource(settings_cls, client.live("shop").current, prefix="a/")
        return init_settings, env_settings, dotenv_settings, file_secret_settings, ours


def reading() -> None:
    LaminaSettingsSource(FromEverywhere, client.config("shop"), delimiter=".")
    LaminaSettingsSource(FromEverywhere, client.live("shop"))  # type: ignore[arg-type]
    LaminaSettingsSource(Model, {})  # type: ignore[arg-type]


client = lamina.connect()
