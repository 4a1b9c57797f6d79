"""Pydantic's models bound to a live, with both clients, and the source of pydantic-settings."""

import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NewType

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import TypedDict

import lamina
from lamina.pydantic import LaminaSettingsSource
from tests.client.live_helpers import put, put_and_reach
from tests.client.sdk import of
from tests.client.settings_helpers import fitted
from tests.support.server import ServerProcess

SECRET = "tell-nobody"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server on one kind of database: only the client binds settings."""
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"timeout": 1, "db/host": "h1", "motd": "hi"}."""
    made = await of(client.config(config_name, create=True))
    await put(made, **{"timeout": 1, "db/host": "h1", "motd": "hi"})
    return made


@pytest.fixture
async def live(client: Any, cfg: Any) -> Any:
    return await of(client.live(cfg.name))


class Database(BaseModel):
    host: str
    port: int = Field(5432, gt=0)
    options: dict[str, int] = {}


class Settings(BaseModel):
    timeout: int
    db: Database

    @field_validator("timeout")
    @classmethod
    def is_plausible(cls, timeout: int) -> int:
        if timeout == 13:
            raise ValueError(SECRET)
        if timeout == 99:
            raise KeyError(SECRET)
        return timeout


async def test_a_model_follows_the_head(live: Any, cfg: Any, caplog: pytest.LogCaptureFixture) -> None:
    bound = live.bind(Settings)
    before = bound.current
    assert before == Settings(timeout=1, db=Database(host="h1"))
    await put_and_reach(live, cfg, **{"timeout": SECRET, "db/port": -7, "db/options": {SECRET: SECRET}})
    assert bound.current is before
    problems = {
        "timeout": "int_parsing (expected int)",
        "db/port": "greater_than (expected int, Gt(gt=0))",
        "db/options": "int_parsing (expected dict[str, int])",
    }
    assert (bound.error.problems, bound.state, bound.version) == (problems, "STALE", 1)
    for timeout, problem in [(13, {"timeout": "value_error"}), (99, {"": "KeyError"})]:
        await put_and_reach(live, cfg, **{"timeout": timeout, "db/port": 1, "db/options": {}})
        assert bound.error.problems == problem
        assert SECRET not in "".join(traceback.format_exception(bound.error)) + caplog.text
        assert (bound.error.__context__, bound.error.__cause__) == (None, None)
    await put_and_reach(live, cfg, timeout=5)
    assert (bound.current.timeout, bound.current.db.port, bound.error, bound.version) == (5, 1, None, 5)


async def test_bind_refuses_a_version_that_does_not_fit(live: Any, cfg: Any) -> None:
    del cfg["db/host"]
    await put_and_reach(live, cfg, timeout=[SECRET])
    with pytest.raises(lamina.SettingsError) as caught:
        live.bind(Settings)
    assert caught.value.problems == {"timeout": "int_type (expected int)", "db": "missing (expected Database)"}
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    one: int = Field(0, alias="first/one")
    two: int = Field(0, validation_alias=AliasChoices("second", AliasPath("path", "to")))


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    db: Database = Field(Database(host=""), alias="shop/db")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 0


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int = 0
    db: Database = Database(host="")


class Renamed(BaseModel):
    x: int = 0

    @model_validator(mode="before")
    @classmethod
    def rename(cls, data: Any) -> Any:
        return {"x": data["old"]["name"]} if "old" in data else data


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


class Typed(TypedDict, total=False):
    a: int


Name = NewType("Name", str)


@dataclass
class Standard:
    database: Database
    n: int = 0


@pydantic_dataclass
class Own:
    x: int
    db: Database | None = None


class Node(BaseModel):
    name: str
    under: "dict[str, Node]" = {}
    next: "Node | None" = None


class Kinds(BaseModel):
    scalar: int = 1
    name: Name = Name("")
    secret: SecretStr = SecretStr("")
    maybe: Database | None = None
    annotated: Annotated[Database | None, Field(description="x")] = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    standard: Standard | None = None
    own: Own | None = None
    typed: Typed = {}
    anything: Any = None
    tags: frozenset[str] = frozenset()
    node: Node | None = None


class Root(RootModel[dict[str, int]]):
    pass


@pytest.mark.parametrize(
    ("settings", "config", "expected"),
    [
        (Named, {"first/one": 1, "path/to": 2}, {"one": 1, "two": 2}),
        (Named, {"one": 1, "second": 2}, {"one": 1, "two": 2}),
        (Named, {"path": {"to": 5}}, {"two": 5}),
        (Named, {"path/to": "x"}, {"path/to": "int_parsing"}),
        (Named, {"first/one": "x"}, {"first/one": "int_parsing"}),
        (Aliased, {"shop/db/host": "h", "shop/db/unknown": 1}, {"db": Database(host="h")}),
        (Aliased, {"shop/x": 1}, {"shop/x": "extra_forbidden"}),
        (Open, {"x": 1, "y/z": 2, "x/y": 3}, {"x": 1, "y": {"z": 2}, "x/y": 3}),
        (Closed, {"x": 1, "db/host": "h"}, {"x": 1}),
        (Closed, {"y/z": 1, "x/y": 2}, {"y/z": "extra_forbidden", "x/y": "extra_forbidden"}),
        (Renamed, {"old/name": 5}, {"x": 5}),
        (Kinds, {"scalar/below": 5, "maybe/unknown": 5, "tags/x": 1}, {"scalar": 1, "maybe": None}),
        (Kinds, {"tags": ["a"], "secret": "x", "name": "n"}, {"tags": frozenset("a"), "name": "n"}),
        (Kinds, {"maybe/host": "h", "maybe/options/a": 1}, {"maybe": Database(host="h", options={"a": 1})}),
        (Kinds, {"maybe": None, "maybe/host": "h"}, {"maybe": None}),
        (Kinds, {"maybe/port": 1}, {"maybe/host": "missing"}),
        (Kinds, {"annotated/host": "h"}, {"annotated": Database(host="h")}),
        (Kinds, {"pet/kind": "cat", "pet/lives": 9}, {"pet": Cat(kind="cat", lives=9)}),
        (Kinds, {"pet/kind": "cow"}, {"pet": "union_tag_invalid"}),
        (Kinds, {"pet/kind": "cat", "pet/lives": {SECRET: 1}}, {"pet": "int_type"}),
        (Kinds, {"standard/database/host": "h"}, {"standard": Standard(Database(host="h"))}),
        (Kinds, {"own/x": 1, "own/db/host": "h"}, {"own": Own(1, Database(host="h"))}),
        (Kinds, {"typed/a": 5, "anything/a/b": 5}, {"typed": {"a": 5}, "anything": {"a": {"b": 5}}}),
        (Kinds, {"node/name": "n", "node/next/name": "m"}, {"node": Node(name="n", next=Node(name="m"))}),
        (Kinds, {"node/name": "n", "node/under/a/name": 5}, {"node/under/a/name": "string_type"}),
        (Kinds, {"node": {"name": "n", "under": {SECRET: {}}}}, {"node": "missing"}),
        (Own, {"x": 1, "db": {"host": "a"}, "db/host": "b"}, {"x": 1, "db": Database(host="b")}),
        (Own, {"x": 1, "db": 5, "db/host": "b"}, {"db": "model_type"}),
        (Root, {"a": 1}, {"root": {"a": 1}}),
    ],
)
def test_names_and_types_of_fields_are_read_from_the_config(
    settings: type, config: dict[str, Any], expected: dict[str, Any]
) -> None:
    made, problems = fitted(settings, config)
    assert (problems or {name: getattr(made, name) for name in expected}) == expected


class FromEverywhere(BaseSettings):
    """Settings in which the environment wins over the config."""

    model_config = SettingsConfigDict(env_prefix="SHOP_", env_nested_delimiter="__", extra="ignore")
    config: ClassVar[Any] = {}
    options: ClassVar[dict[str, Any]] = {}

    timeout: int = 0
    retries: int = Field(0, validation_alias=AliasChoices("retries", "tries"))
    db: Database = Database(host="nowhere")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        ours = LaminaSettingsSource(settings_cls, cls.config, **cls.options)
        return init_settings, env_settings, dotenv_settings, file_secret_settings, ours


async def test_the_settings_source_reads_a_config(cfg: Any, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB__PORT", "77")
    monkeypatch.setattr(FromEverywhere, "config", cfg)
    await put(cfg, **{"timeout": 5, "tries": 3, "db/options/a": 1, "db/port": 66})
    found = FromEverywhere()
    assert (found.timeout, found.retries, found.db) == (5, 3, Database(host="h1", port=77, options={"a": 1}))
    monkeypatch.setenv("SHOP_TIMEOUT", "6")
    monkeypatch.setenv("retries", "4")
    found = FromEverywhere(timeout=7, db={"host": "h2"})  # type: ignore[arg-type]
    assert (found.timeout, found.retries, found.db) == (7, 4, Database(host="h2", port=77, options={"a": 1}))
    assert FromEverywhere().timeout == 6
    monkeypatch.delenv("SHOP_TIMEOUT")
    monkeypatch.setattr(FromEverywhere, "config", live.at(1) if isinstance(live, lamina.Live) else await live.at(1))
    assert FromEverywhere().timeout == 1


def test_the_settings_source_has_prefix_and_delimiter_like_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FromEverywhere, "config", {"a.timeout": 5, "a.db.host": "h", "timeout": 6, "a.db/port": 7})
    monkeypatch.setattr(FromEverywhere, "options", {"prefix": "a.", "delimiter": "."})
    found = FromEverywhere()
    assert (found.timeout, found.db) == (5, Database(host="h"))
    source = LaminaSettingsSource(FromEverywhere, {"timeout": SECRET})
    assert SECRET not in repr(source)


async def test_the_settings_source_refuses_a_wrong_config(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidding(FromEverywhere):
        model_config = SettingsConfigDict(extra="forbid")

    monkeypatch.setattr(FromEverywhere, "config", live.current)
    with pytest.raises(ValidationError, match="motd\n  Extra inputs are not permitted"):
        Forbidding()
    monkeypatch.setattr(FromEverywhere, "config", live)
    with pytest.raises(TypeError, match=r"iterate over live\.current"):
        FromEverywhere()


class Overridden(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_", extra="allow")
    timeout: int
    db: Database

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, dotenv_settings, file_secret_settings, init_settings


async def test_settings_with_other_sources_follow_the_head(
    live: Any, cfg: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The config's values are their arguments; a config cannot name a file for them to read."""
    bound = live.bind(Overridden)
    assert (bound.current.timeout, bound.current.db.host) == (1, "h1")
    monkeypatch.setenv("SHOP_TIMEOUT", "6")
    (tmp_path / "env").write_text('SHOP_DB={"host": "from a file"}')
    await put_and_reach(live, cfg, **{"timeout": 2, "db/host": "h2", "_env_file": str(tmp_path / "env")})
    assert (bound.current.timeout, bound.current.db.host) == (6, "h2")


def test_pydantic_is_loaded_only_when_it_is_needed() -> None:
    script = """
import sys
import lamina
from lamina import sync, aio
from lamina._settings import bound
assert not {"pydantic", "lamina.pydantic", "lamina._settings.models", "lamina._settings.dataclasses"} & set(sys.modules)
import lamina.pydantic
import pydantic
assert pydantic is sys.modules["pydantic"] is not lamina.pydantic
assert issubclass(lamina.pydantic.LaminaSettingsSource, __import__("pydantic_settings").PydanticBaseSettingsSource)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_a_model_needs_no_pydantic_settings() -> None:
    script = """
import sys
sys.modules["pydantic_settings"] = None
import pydantic
from lamina._settings.bound import form_of
assert form_of(pydantic.create_model("Settings", x=(int, ...))).make({"x": 5}).x == 5
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


async def test_a_validator_with_a_defect_is_logged_with_its_place(
    live: Any, cfg: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has its file and line, and never its message, which may hold values."""

    class Careless(BaseModel):
        timeout: int

        @field_validator("timeout")
        @classmethod
        def check(cls, timeout: int) -> int:
            return {str(timeout): timeout}[SECRET]

    with pytest.raises(lamina.SettingsError) as caught:
        live.bind(Careless)
    assert caught.value.problems == {"": "KeyError"}
    [logged] = [record.getMessage() for record in caplog.records if "has a defect" in record.getMessage()]
    assert f'File "{__file__}", line ' in logged
    assert ", in check\n" in logged
    assert SECRET not in caplog.text
