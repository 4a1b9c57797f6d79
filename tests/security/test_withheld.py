"""Secrets for a caller who may not reveal them: what can be done with them all the same, and what the errors say."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, SecretStr

import lamina
from lamina import testing
from lamina.bundle import export
from tests.cli.running import InProcess, run
from tests.client.conftest import sdk
from tests.client.live_helpers import reach
from tests.client.sdk import Sdk, listed, of
from tests.security.secret_helpers import key_file
from tests.support.server import ServerProcess

__all__ = ["sdk"]

CANARY = "canary-5e02"


class Callers(NamedTuple):
    """A closed server, and the tokens of those who call it: ada may reveal, bob may write, eve may read."""

    server: testing.Server
    ada: str
    bob: str
    eve: str


@pytest.fixture
def callers() -> Iterator[Callers]:
    with testing.server(closed=True) as server:
        ada = server.token("ada", role="writer", on="**", reveal=True)
        bob = server.token("bob", role="writer", on="**")
        eve = server.token("eve", role="reader", on="**")
        server.set("app", {"pw": lamina.Secret(CANARY), "other": lamina.Secret(f"{CANARY}-other"), "x": 1})
        server.set("app", {"pw": lamina.Secret(f"{CANARY}-2")})
        yield Callers(server, ada, bob, eve)


async def config_of(sdk: Sdk, callers: Callers, token: str) -> Any:
    return await of(sdk.connect(callers.server.target, token=token, cache_dir="").config("app"))


def command_line(callers: Callers, token: str) -> InProcess:
    cli = InProcess(callers.server.target)
    del cli.environment["LAMINA_AUTHOR"]
    cli.environment["LAMINA_TOKEN"] = token
    return cli


async def test_the_chain_is_verified_without_a_content(sdk: Sdk, callers: Callers) -> None:
    eve, ada = await config_of(sdk, callers, callers.eve), await config_of(sdk, callers, callers.ada)
    assert (await of(eve.verify())).hash == (await of(ada.verify())).hash
    assert eve == ada
    with pytest.raises(
        lamina.PermissionDeniedError, match="'pw' of app was not revealed: no grant of yours"
    ) as refused:
        eve["pw"].reveal()
    assert refused.value.reason == "NOT_ALLOWED"
    assert ada["pw"].reveal() == f"{CANARY}-2"


async def test_everything_but_the_content_is_there(sdk: Sdk, callers: Callers) -> None:
    eve = await config_of(sdk, callers, callers.eve)
    difference = (await of(eve.diff(1)))["pw"]
    changes = await listed(eve.history("pw"))
    watch = eve.watch("pw", after=1)
    (watched,) = await listed(watch, 1)
    found = [
        difference.old,
        difference.new,
        *(change.value for change in changes),
        watched.value,
        (await of(eve.at(1)))["pw"],
    ]
    assert [secret.is_revealed for secret in found] == [False] * 6
    assert difference.old != difference.new
    assert changes[1].value == watched.value == eve["pw"]


async def test_a_writer_sets_keeps_and_reverts_what_it_cannot_see(sdk: Sdk, callers: Callers) -> None:
    bob, ada = await config_of(sdk, callers, callers.bob), await config_of(sdk, callers, callers.ada)
    bob["pw"] = bob["pw"]
    assert not bob.changes
    bob["pw"] = (await of(bob.at(1)))["pw"]
    assert (await of(bob.commit())).number == 3
    assert (await of(bob.verify())).number == 3
    bob["pw"] = lamina.Secret("of bob")
    assert (await of(bob.commit())).number == 4
    assert not bob["pw"].is_revealed  # what the server has, not what was sent
    bob["pw"] = lamina.Secret("of bob")
    assert (await of(bob.commit())).number == 4  # the server sees that it is equal
    assert (await of(bob.revert("pw", to=2))).number == 5
    await of(ada.refresh())
    assert ada["pw"].reveal() == f"{CANARY}-2"
    assert (await of(ada.verify())).number == 5


async def test_a_secret_does_not_move_to_where_it_could_be_seen(sdk: Sdk, callers: Callers) -> None:
    bob = await config_of(sdk, callers, callers.bob)
    with pytest.raises(lamina.InvalidError, match="'copy' is the secret 'pw' of app, which was not revealed"):
        bob["copy"] = bob["pw"]
    mine = await of(sdk.connect(callers.server.target, token=callers.bob).config("mine", create=True))
    with pytest.raises(lamina.InvalidError, match="can be set as 'pw' of app alone"):
        mine["pw"] = bob["pw"]
    with pytest.raises(lamina.PermissionDeniedError):
        await of(bob.fork("mine"))


async def test_conflicts_of_secrets_are_told_without_them(sdk: Sdk, callers: Callers) -> None:
    bob, ada = await config_of(sdk, callers, callers.bob), await config_of(sdk, callers, callers.ada)
    ada["pw"] = lamina.Secret(f"{CANARY}-theirs")
    await of(ada.commit())
    bob["pw"] = lamina.Secret(f"{CANARY}-yours")
    with pytest.raises(lamina.ConflictError) as refused:
        await of(bob.commit())
    conflict = refused.value.conflicts["pw"]
    assert (conflict.base.is_revealed, conflict.theirs.is_revealed) == (False, False)
    assert conflict.yours.reveal() == f"{CANARY}-yours"
    assert conflict.author == "token:ada"
    assert CANARY not in repr(refused.value.conflicts) + "".join(traceback.format_exception(refused.value))
    await of(bob.refresh(resolve="yours"))
    await of(bob.commit())
    await of(ada.refresh())
    assert ada["pw"].reveal() == f"{CANARY}-yours"


async def test_a_lost_answer_is_found_again_without_a_content(sdk: Sdk, callers: Callers) -> None:
    client = sdk.connect(callers.server.target, token=callers.bob, timeout=0.5)
    bob = await of(client.config("app"))
    callers.server.fail_next("Commit", code="UNKNOWN", after=True, times=100)
    bob["pw"] = lamina.Secret("third")
    with pytest.raises(lamina.UnavailableError):
        await of(bob.commit())
    callers.server.recover()
    bob["x"] = 2
    assert (await of(bob.commit())).number == 4
    assert {change.key for change in await listed(bob.history("pw"))} == {"pw"}
    assert len(await listed(bob.history("pw"))) == 3
    assert (await of(bob.verify())).number == 4


async def test_bound_settings_say_that_a_secret_was_not_revealed(sdk: Sdk, callers: Callers) -> None:
    class Settings(BaseModel):
        pw: SecretStr

    live = await of(sdk.connect(callers.server.target, token=callers.eve, cache_dir="").live("app"))
    with pytest.raises(lamina.SettingsError) as refused:
        live.bind(Settings)
    assert refused.value.problems["pw"].startswith("a secret that was not revealed: no grant of yours")
    callers.server.set("app", {"x": 3})
    await reach(live, 3)
    assert not live["pw"].is_revealed


def test_a_bundle_is_the_same_whoever_exports_it(callers: Callers, tmp_path: Path) -> None:
    for name, token in (("ada", callers.ada), ("eve", callers.eve)):
        export(callers.server.connect(token=token).config("app"), tmp_path / name)
    assert (tmp_path / "ada").read_bytes() == (tmp_path / "eve").read_bytes()


def test_the_command_line_says_which_secrets_it_may_not_reveal(callers: Callers) -> None:
    cli = command_line(callers, callers.eve)
    assert json.loads(cli.out("get", "app", "-o", "json"))["pw"] == {"secret": True}
    assert "no grant of yours has reveal there" in cli("get", "app", "pw", code=1).stderr
    for arguments in (["get", "app", "--reveal"], ["export", "app", "--reveal"], ["get", "app", "pw", "--reveal"]):
        result = cli(*arguments, code=1)
        assert "'pw' of app was not revealed" in result.stderr or "'other' of app was not revealed" in result.stderr
        assert not result.stdout
    environment = {"LAMINA_TOKEN": callers.eve, "LAMINA_AUTHOR": ""}
    done = run("exec", "app", "--", "echo", "ran", target=callers.server.target, environment=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "'other' of app was not revealed" in done.stderr
    assert "not revealed either: pw" in done.stderr
    done = run("exec", "app", "x", "--", "sh", "-c", "echo $x", target=callers.server.target, environment=environment)
    assert done.stdout == "1\n"
    done = run("bisect", "app", "1", "2", "--", "true", target=callers.server.target, environment=environment)
    assert done.returncode == 1
    assert "was not revealed" in done.stderr


def test_a_dry_run_shows_what_a_write_would_do(callers: Callers) -> None:
    """The server sees whether a secret is what it was; its writer does not."""
    bob = command_line(callers, callers.bob)
    same, other = f"pw={CANARY}-2", f"other={CANARY}-3"
    assert bob.out("set", "app", "--secret", same, "--dry-run", "--exit-code") == ""
    assert bob.out("set", "app", "--secret", same, "--secret", other, "x:=2", "--dry-run").splitlines() == [
        "~ other  •••• → ••••",
        "~ x      1 → 2",
    ]
    assert bob.out("set", "app", "--secret", same) == "nothing to change: app stays at version 2\n"


def test_a_server_without_its_key_is_named_as_the_reason(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/lamina.db"
    with ServerProcess(database, "--secret-key-file", str(key_file(tmp_path))) as server:
        InProcess(server.target).out("set", "app", "--secret", f"pw={CANARY}", "--create")
    with ServerProcess(database) as server, lamina.connect(server.target, cache_dir="") as client:
        with pytest.raises(lamina.LaminaError, match="cannot be revealed by the server: it was started without") as it:
            client.config("app")["pw"].reveal()
        assert it.value.reason == "SECRETS_UNAVAILABLE"
        for options in ([], ["--reveal"]):
            result = InProcess(server.target)("get", "app", "pw", *options, code=1)
            assert "cannot be revealed by the server: it was started without --secret-key-file" in result.stderr


def test_a_file_with_masks_is_imported_without_a_right_to_reveal(callers: Callers) -> None:
    cli = command_line(callers, callers.bob)
    exported = cli.out("export", "app").replace("x: 1", "x: 2")
    cli.out("import", "app", "-", "--format", "yaml", stdin=exported)
    assert callers.server.connect(token=callers.ada).config("app").diff(2).keys() == {"x"}
