"""Secrets from a draft to a server and back, with both clients, for a caller who may reveal them."""

import asyncio
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic import Secret as AnySecret
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

import lamina
from lamina import testing
from lamina.bundle import export
from lamina.openfeature import LaminaProvider
from lamina.pydantic import LaminaSettingsSource
from tests.client.live_helpers import Noted, reach
from tests.client.sdk import Sdk, listed, of

CANARY = "canary-b7d2"


@pytest.fixture
def server() -> Iterator[testing.Server]:
    with testing.server() as made:
        yield made


@pytest.fixture
def client(sdk: Sdk, server: testing.Server) -> Any:
    return sdk.connect(server.target, author="ann", cache_dir="")


@pytest.fixture
async def cfg(client: Any) -> Any:
    """The config "app" at version 1, with a secret of each kind and one plain key."""
    made = await of(client.config("app", create=True))
    made |= {"pw": lamina.Secret(CANARY), "pem": lamina.Secret(b"\x00\xff"), "db": lamina.Secret({"user": "u"}), "x": 1}
    await of(made.commit("first"))
    return made


async def test_a_secret_is_read_as_it_was_committed(cfg: Any, client: Any) -> None:
    for found in (cfg, await of(client.config("app")), await of(cfg.at(1))):
        assert (found["pw"].reveal(), found["pem"].reveal(), found["db"].reveal()) == (
            CANARY,
            b"\x00\xff",
            {"user": "u"},
        )
        assert found == {"pw": lamina.Secret(CANARY), "pem": found["pem"], "db": lamina.Secret({"user": "u"}), "x": 1}
    assert (await of(cfg.verify())).number == 1


async def test_an_equal_secret_makes_no_version(cfg: Any, client: Any) -> None:
    cfg["pw"] = cfg["pw"]
    cfg |= cfg.to_dict()
    assert not cfg.changes
    cfg["pw"] = lamina.Secret(CANARY)
    assert not cfg.changes
    assert (await of(cfg.commit())).number == 1


async def test_a_changed_secret_is_in_the_past_and_comes_back(cfg: Any) -> None:
    cfg["pw"] = lamina.Secret("second")
    assert (await of(cfg.commit())).changed_keys == ("pw",)
    difference = (await of(cfg.diff(1)))["pw"]
    assert (difference.old.reveal(), difference.new.reveal()) == (CANARY, "second")
    changes = await listed(cfg.history("pw"))
    assert [change.value.reveal() for change in changes] == [CANARY, "second"]
    assert (await of(cfg.revert("pw", to=1))).number == 3
    assert cfg["pw"].reveal() == CANARY
    assert (await of(cfg.revert(to=2))).number == 4
    assert cfg["pw"].reveal() == "second"
    assert (await of(cfg.verify())).number == 4


async def test_a_fork_has_secrets_of_its_own(cfg: Any, client: Any) -> None:
    fork = await of(cfg.fork("copy"))
    assert fork["pw"].reveal() == CANARY
    assert (await of(fork.verify())).number == 1
    cfg["pw"] = fork["pw"]  # its content is known
    assert not cfg.changes


async def test_secrets_are_merged_by_their_contents(cfg: Any, client: Any) -> None:
    other = await of(client.config("app"))
    other["x"] = 2
    await of(other.commit())
    cfg["pw"] = lamina.Secret("mine")
    assert (await of(cfg.commit())).number == 3
    assert (cfg["x"], cfg["pw"].reveal()) == (2, "mine")
    assert (await of(cfg.verify())).number == 3
    other["pw"] = lamina.Secret("mine")  # the same as what is there now
    assert (await of(other.commit())).number == 3


async def test_a_conflict_holds_secrets_and_shows_none(cfg: Any, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    other = await of(client.config("app"))
    other["pw"] = lamina.Secret(f"{CANARY}-theirs")
    await of(other.commit())
    cfg["pw"] = lamina.Secret(f"{CANARY}-yours")
    with pytest.raises(lamina.ConflictError) as refused:
        await of(cfg.commit())
    conflict = refused.value.conflicts["pw"]
    sides = (conflict.base.reveal(), conflict.theirs.reveal(), conflict.yours.reveal())
    assert sides == (CANARY, f"{CANARY}-theirs", f"{CANARY}-yours")
    shown = "".join(traceback.format_exception(refused.value)) + repr(refused.value.conflicts) + caplog.text
    assert CANARY not in shown
    await of(cfg.refresh(resolve=lambda one: one.yours))
    await of(cfg.commit())
    assert cfg["pw"].reveal() == f"{CANARY}-yours"


async def test_a_commit_whose_answer_is_lost_is_found_again(sdk: Sdk, server: testing.Server) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY), "x": 1})
    cfg = await of(sdk.connect(server.target, timeout=0.5).config("app"))
    server.fail_next("Commit", code="UNKNOWN", after=True, times=100)
    cfg["pw"] = lamina.Secret("second")
    with pytest.raises(lamina.UnavailableError):
        await of(cfg.commit())
    server.recover()
    cfg["x"] = 2
    assert (await of(cfg.commit())).number == 3
    assert (cfg["pw"].reveal(), cfg["x"]) == ("second", 2)
    assert (await of(cfg.verify())).number == 3


async def test_a_watch_and_a_live_have_secrets(cfg: Any, client: Any, sdk: Sdk) -> None:
    noted = Noted(sdk)
    live = await of(client.live("app"))
    await of(live.on_change(noted))
    watch = cfg.watch("pw")
    cfg["pw"] = lamina.Secret("second")
    await of(cfg.commit())
    await reach(live, 2)
    assert live["pw"].reveal() == "second"
    await noted.numbers(1)
    assert noted.versions[0].changes[0].value.reveal() == "second"
    (change,) = await listed(watch, 1)
    assert change.value.reveal() == "second"
    assert "second" not in repr(noted.versions) + repr(change)


async def test_a_bundle_never_holds_a_content(server: testing.Server, tmp_path: Path) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY), "x": 1})
    server.set("app", {"pw": lamina.Secret("second")})
    path = tmp_path / "app.lamina"
    cfg = server.connect().config("app")
    last = export(cfg, path)
    with lamina.open(path) as bundle:
        assert bundle.verify().hash == last.hash
        assert bundle == cfg.at(2)
        found = [bundle["pw"], bundle.at(1)["pw"], bundle.diff(1)["pw"].old, next(bundle.history("pw")).value]
        for each in found:
            with pytest.raises(lamina.PermissionDeniedError, match="the secret 'pw' of app is sealed: a bundle never"):
                each.reveal()
    with pytest.raises(lamina.InvalidError, match="a bundle never holds"):
        cfg["other"] = found[0]
    cfg["pw"] = found[1]  # where it was read
    assert cfg.commit().number == 3
    assert cfg["pw"].reveal() == CANARY


@dataclass
class Plain:
    pw: lamina.Secret
    db: lamina.Secret | None = None


@dataclass
class Careless:
    pw: str
    x: int


class Model(BaseModel):
    pw: SecretStr
    pem: SecretBytes
    db: AnySecret[dict[str, str]]
    x: int


class Mixed(BaseModel):
    pw: lamina.Secret
    pem: SecretBytes | None = None


async def test_settings_hold_secrets(cfg: Any, client: Any) -> None:
    live = await of(client.live("app"))
    plain, model, mixed = (live.bind(kind).current for kind in (Plain, Model, Mixed))
    assert (plain.pw.reveal(), plain.db.reveal()) == (CANARY, {"user": "u"})
    assert (model.pw.get_secret_value(), model.pem.get_secret_value()) == (CANARY, b"\x00\xff")
    assert model.db.get_secret_value() == {"user": "u"}
    assert (mixed.pw.reveal(), mixed.pem.get_secret_value()) == (CANARY, b"\x00\xff")
    assert CANARY not in f"{plain} {model!r} {mixed!r} {mixed.model_dump_json()} {model.model_dump_json()}"
    assert mixed.model_dump()["pw"] is mixed.pw
    assert Mixed.model_json_schema()["properties"]["pw"]["type"] == "string"
    assert Mixed(pw="from the environment").pw.reveal() == "from the environment"  # type: ignore[arg-type]


def test_the_environment_wins_over_a_secret(server: testing.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY), "db/pw": lamina.Secret(CANARY), "db/host": "h"})
    cfg = server.connect().config("app")

    class Database(BaseModel):
        host: str
        pw: SecretStr | None = None

    class Service(BaseSettings):
        model_config = SettingsConfigDict(env_nested_delimiter="__")
        pw: lamina.Secret
        db: Database

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, dotenv_settings, file_secret_settings
            return env_settings, LaminaSettingsSource(settings_cls, cfg)

    made: Any = Service()
    assert (made.pw.reveal(), made.db.pw.get_secret_value(), made.db.host) == (CANARY, CANARY, "h")
    assert CANARY not in f"{made!r} {LaminaSettingsSource(Service, cfg)!r}"
    monkeypatch.setenv("PW", "mine")
    monkeypatch.setenv("DB__PW", "mine too")
    made = Service()
    assert (made.pw.reveal(), made.db.pw.get_secret_value(), made.db.host) == ("mine", "mine too", "h")


async def test_a_plain_field_takes_no_secret(cfg: Any, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Open(BaseModel):
        pw: str
        x: str

    live = await of(client.live("app"))
    for kind, other in ((Careless, None), (Open, "string_type (expected str)")):
        with pytest.raises(lamina.SettingsError) as refused:
            live.bind(kind)
        found = refused.value.problems["pw"]
        assert found.startswith("a secret, which a field of lamina.Secret, or in a model of pydantic.SecretStr")
        assert found.endswith("(expected str)")
        assert refused.value.problems.get("x") == other
        assert CANARY not in f"{refused.value} {refused.value.problems} {caplog.text}"


async def test_bound_settings_follow_a_secret(cfg: Any, client: Any) -> None:
    live = await of(client.live("app"))
    bound = live.bind(Plain)
    cfg["pw"] = lamina.Secret("second")
    await of(cfg.commit())
    await reach(live, 2)
    assert bound.current.pw.reveal() == "second"


def test_no_flag_is_a_secret(server: testing.Server) -> None:
    server.set("flags", {"pw": lamina.Secret(CANARY)})
    provider = LaminaProvider("flags", client=server.connect())
    provider.initialize(None)  # type: ignore[arg-type]
    try:
        for found in (provider.resolve_string_details("pw", "d"), provider.resolve_object_details("pw", {})):
            assert found.value in ("d", {})
            assert found.error_message == "'pw' is a secret in flags: no flag is one"
    finally:
        provider.shutdown()


# --- the last-known-good file -------------------------------------------------------------------------------

KEY = bytes(range(32))


async def _kept(sdk: Sdk, server: testing.Server, folder: Path, **options: Any) -> bytes:
    """Follow "app" until its file is written; return the file."""
    client = sdk.connect(server.target, cache_dir=folder, **options)
    await of(client.live("app"))
    await of(client.close())
    return _file(folder).read_bytes()


def _file(folder: Path) -> Path:
    (file,) = folder.glob("*.lkg")
    return file


async def _offline(sdk: Sdk, server: testing.Server, folder: Path, **options: Any) -> Any:
    """Follow "app" without a server."""
    client = sdk.connect(server.target, cache_dir=folder, timeout=0.2, **options)
    live = await of(client.live("app"))
    assert live.state == "OFFLINE"
    return live


async def test_the_file_leaves_contents_out(sdk: Sdk, server: testing.Server, tmp_path: Path) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY), "x": 1})
    assert CANARY.encode() not in await _kept(sdk, server, tmp_path)
    with server.down():
        live = await _offline(sdk, server, tmp_path)
        assert live["x"] == 1
        with pytest.raises(lamina.UnavailableError, match="the secret 'pw' of app is not in the last-known-good file"):
            live["pw"].reveal()
        with pytest.raises(lamina.SettingsError) as unfit:
            live.bind(Model)
        assert unfit.value.problems["pw"].startswith("a secret that is not in the last-known-good file")
        settings = live.bind(Plain)  # it is asked for only when it is revealed
        noted = Noted(sdk)
        live.on_change(noted)
    await until_live(live)
    assert live["pw"].reveal() == CANARY
    assert settings.current.pw.reveal() == CANARY
    server.set("app", {"x": 2})
    assert await noted.numbers(1) == [2]  # nothing has changed before


async def until_live(live: Any) -> None:
    async with asyncio.timeout(30):
        while live.state != "LIVE":  # noqa: ASYNC110 - a state has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("given", ["key", "function"])
async def test_a_key_keeps_contents_in_the_file(sdk: Sdk, server: testing.Server, tmp_path: Path, given: str) -> None:
    calls: list[None] = []

    def make() -> bytes:
        calls.append(None)
        return KEY

    options: dict[str, Any] = {"cache_secrets": KEY if given == "key" else make}
    server.set("app", {"pw": lamina.Secret(CANARY), "db": lamina.Secret({"a": 1}), "x": 1})
    written = await _kept(sdk, server, tmp_path, **options)
    assert CANARY.encode() not in written
    assert KEY not in written
    with server.down():
        live = await _offline(sdk, server, tmp_path, **options)
        assert (live["pw"].reveal(), live["db"].reveal(), live["x"]) == (CANARY, {"a": 1}, 1)
    assert len(calls) <= 2  # once for each client


async def test_another_key_opens_nothing_and_the_rest_is_used(
    sdk: Sdk, server: testing.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY), "x": 1})
    await _kept(sdk, server, tmp_path, cache_secrets=KEY)
    with server.down():
        for options in ({"cache_secrets": bytes(32)}, {}):
            live = await _offline(sdk, server, tmp_path, **options)
            assert live["x"] == 1
            with pytest.raises(lamina.UnavailableError):
                live["pw"].reveal()
            await of(live.close())
    assert "the secrets in its last-known-good file cannot be read: they were encrypted with another key" in caplog.text
    before = await _kept(sdk, server, tmp_path)
    assert await _kept(sdk, server, tmp_path, cache_secrets=KEY) == before  # it has this key's contents
    assert await _kept(sdk, server, tmp_path, cache_secrets=bytes(32)) != before


async def test_a_damaged_file_with_secrets_is_of_no_use(
    sdk: Sdk, server: testing.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY)})
    written = await _kept(sdk, server, tmp_path, cache_secrets=KEY)
    _file(tmp_path).write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
    with server.down(), pytest.raises(lamina.UnavailableError):
        await _offline(sdk, server, tmp_path, cache_secrets=KEY)
    assert "is of no use: it is damaged" in caplog.text


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (b"short", lamina.InvalidError, "cache_secrets= is a key of 32 bytes, this one has 5"),
        ("text", TypeError, "a key of 32 bytes or a function"),
    ],
)
async def test_a_bad_key_is_refused(sdk: Sdk, key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as refused:
        sdk.connect("localhost:1", cache_secrets=key)
    assert repr(key) not in str(refused.value)


async def test_a_key_function_that_fails_is_logged(
    sdk: Sdk, server: testing.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bytes:
        raise OSError("the vault is closed")

    server.set("app", {"pw": lamina.Secret(CANARY), "x": 1})
    await _kept(sdk, server, tmp_path)
    with server.down():
        live = await _offline(sdk, server, tmp_path, cache_secrets=fail)
        assert live["x"] == 1
    with caplog.at_level(logging.WARNING):
        await until_live(live)
        await of(live.close())
    assert CANARY not in caplog.text
