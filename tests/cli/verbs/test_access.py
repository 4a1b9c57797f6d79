"""whoami, access and token: the commits that they make to `_lamina/access`, their refusals and output."""

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.cli.access_map import ACCESS_CONFIG
from tests.cli.running import InProcess
from tests.support.server import ServerProcess

TOKEN = re.compile(r"lamina_[a-z0-9]{12}_[A-Za-z0-9_-]{43}\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """An open server of this module's own: there is one `_lamina/access` in a database."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('access') / 'lamina.db'}") as process:
        yield process


@pytest.fixture
def target(server: ServerProcess) -> Iterator[str]:
    """Its address; each test begins with an empty access."""
    yield server.target
    with lamina.connect(server.target, author="cleaner") as client:
        access = client.config(ACCESS_CONFIG, create=True)
        access.clear()
        access.commit()


def content(client: lamina.Client) -> dict[str, Any]:
    return client.config(ACCESS_CONFIG, create=True).to_dict()


def test_a_grant_is_one_key_and_can_be_undone(cli: InProcess, client: lamina.Client) -> None:
    printed = cli.out("access", "grant", "oidc:ada@corp.example", "writer", "shop/**", "--reveal", "-m", "she deploys")
    key = "grants/oidc:ada@corp.example shop/**"
    assert content(client) == {key: {"role": "writer", "reveal": True}}
    cfg = client.config(ACCESS_CONFIG)
    assert next(cfg.log(limit=1)).message == "she deploys"
    cli("access", "grant", "oidc:ada@corp.example", "reader", "shop/**")
    assert content(client) == {key: {"role": "reader"}}, "it replaces the grant on that pattern"
    undo = shlex.split(printed.splitlines()[-1].removeprefix("undo: "))[1:]
    assert undo[:3] == ["revert", ACCESS_CONFIG, key]
    cli(*undo, code=3)  # it has changed since


def test_a_grant_to_a_token_that_is_not_there_says_so(cli: InProcess) -> None:
    said = cli("access", "grant", "token:deployr", "reader", "shop/**", "--author", "ada l").stderr
    printed = "lamina token create deployr --author 'ada l'"
    assert said == f"lamina: there is no token deployr yet: {printed} makes it\n"
    cli(*shlex.split(printed)[1:])


def test_revoke_deletes_the_grant(cli: InProcess, client: lamina.Client) -> None:
    cli("access", "grant", "cert:shop.example", "reader", "shop/*")
    refused = cli("access", "revoke", "cert:shop.example", "shop/**", code=4).stderr
    assert "has no grant on shop/**: it has grants on shop/*" in refused
    cli("access", "revoke", "cert:shop.example", "shop/*")
    assert content(client) == {}
    assert "it has no grant at all" in cli("access", "revoke", "cert:shop.example", "shop/*", code=4).stderr


def test_a_grant_to_a_group_is_named_when_it_is_in_the_way(cli: InProcess, client: lamina.Client) -> None:
    access = client.config(ACCESS_CONFIG, create=True)
    access["groups/platform"] = ["token:ada"]
    access.commit()
    cli("access", "grant", "group:platform", "reader", "shop/*")
    said = cli("access", "revoke", "token:ada", "shop/*", code=4).stderr
    assert "what it may do through group:platform is granted to the group" in said


def test_list_shows_whose_grants_are_about_what(cli: InProcess, client: lamina.Client) -> None:
    access = client.config(ACCESS_CONFIG, create=True)
    access["groups/platform"] = ["token:ada"]
    access.commit()
    cli("access", "grant", "group:platform", "reader", "shop/*")
    cli("access", "grant", "token:bob", "admin", "**", "--reveal")
    assert cli.out("access", "list").splitlines() == [
        "group:platform  reader  shop/*",
        "token:bob       admin   **      reveal",
    ]
    assert cli.out("access", "list", "token:ada") == "group:platform  reader  shop/*\n"
    assert cli.out("access", "list", "--on", "shop/a/b") == "token:bob  admin  **  reveal\n"
    listed = json.loads(cli.out("access", "list", "-o", "json"))
    assert listed[1] == {"subject": "token:bob", "role": "admin", "pattern": "**", "reveal": True}


def test_without_access_it_says_what_that_may_mean(target: str) -> None:
    with ServerProcess("sqlite://") as empty:
        for arguments in (["access", "list"], ["access", "log"], ["token", "list"]):
            said = InProcess(empty.target)(*arguments, code=4).stderr
            assert said == f"lamina: there is no {ACCESS_CONFIG} that you may read: `lamina whoami` shows who you are\n"


def test_log_shows_what_each_version_changed(cli: InProcess) -> None:
    cli("access", "grant", "token:bob", "reader", "shop/*", "-m", "for the audit")
    cli("access", "grant", "token:bob", "writer", "shop/*")
    lines = cli.out("access", "log", "-n", "2").splitlines()
    assert re.fullmatch(r"version \d+  \S+Z  ada", lines[0])
    assert lines[1].startswith("~ grants/token:bob shop/*")
    assert re.fullmatch(r"version \d+  \S+Z  ada  for the audit", lines[-2])
    assert lines[-1] == '+ grants/token:bob shop/*  {"role": "reader"}'
    newest = json.loads(cli.out("access", "log", "-n", "1", "-o", "json"))
    expected = {"grants/token:bob shop/*": {"old": {"role": "reader"}, "new": {"role": "writer"}}}
    assert (newest["author"], newest["changes"]) == ("ada", expected)


def test_a_token_is_printed_once_and_alone(cli: InProcess, client: lamina.Client) -> None:
    created = cli(
        "token", "create", "deployer", "--expires", "90d", "--grant", "writer", "shop/**", "--grant", "reader", "**"
    )
    assert TOKEN.fullmatch(created.stdout)
    token_id, secret = created.stdout.strip().split("_", 2)[1:]
    assert secret not in created.stderr
    assert f"{ACCESS_CONFIG} is now version " in created.stderr
    kept = content(client)
    assert kept["grants/token:deployer shop/**"] == {"role": "writer"}
    assert kept["grants/token:deployer **"] == {"role": "reader"}
    assert secret not in json.dumps(kept)
    ends = datetime.fromisoformat(kept[f"tokens/{token_id}"]["expires"])
    assert abs(ends - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)
    again = cli("token", "create", "deployer").stderr
    assert "token:deployer has grants from before: reader on **, writer on shop/**" in again


def test_a_token_as_json(cli: InProcess, client: lamina.Client) -> None:
    made = json.loads(cli.out("token", "create", "ci", "-o", "json"))
    assert made["token"].startswith(f"lamina_{made['id']}_")
    assert made["version"]["number"] == client.config(ACCESS_CONFIG).version
    assert (made["name"], made["expires"]) == ("ci", None)


def test_a_dry_run_makes_no_token(cli: InProcess, client: lamina.Client) -> None:
    printed = cli.out("token", "create", "deployer", "--dry-run")
    assert "lamina_" not in printed
    assert content(client) == {}


def test_tokens_are_listed_with_who_made_them(cli: InProcess) -> None:
    made = json.loads(cli.out("token", "create", "ci", "--expires", "2099-01-01T00:00:00Z", "-o", "json"))
    (line,) = cli.out("token", "list").splitlines()
    assert re.fullmatch(rf"ci  {made['id']}  2099-01-01T00:00:00Z  \S+Z  ada", line)
    (listed,) = json.loads(cli.out("token", "list", "-o", "json"))
    assert (listed["id"], listed["author"]) == (made["id"], "ada")
    assert "sha256" not in listed


def test_revoke_ends_the_tokens_of_a_name_or_an_id(cli: InProcess, client: lamina.Client) -> None:
    first, second, third = (
        json.loads(cli.out("token", "create", "deployer", "--grant", "reader", "**", "-o", "json"))["id"]
        for _ in range(3)
    )
    one = cli("token", "revoke", second)
    assert f"ended 1 token: deployer ({second})" in one.stderr
    assert "stay" not in one.stderr, "there are other tokens of that name"
    others = cli("token", "revoke", "deployer")
    assert "lamina: ended 2 tokens: " in others.stderr
    revoke = "lamina access revoke token:deployer '**'"
    assert f"lamina: token:deployer is still reader of **: {revoke}\n" in others.stderr
    assert list(content(client)) == ["grants/token:deployer **"]
    undo = shlex.split(others.stdout.splitlines()[-1].removeprefix("undo: "))[1:]
    cli(*undo)
    assert {key for key in content(client) if key.startswith("tokens/")} == {f"tokens/{first}", f"tokens/{third}"}
    cli(*shlex.split(revoke)[1:])
    assert "there is no token deploier; did you mean deployer?" in cli("token", "revoke", "deploier", code=4).stderr


def test_an_id_that_is_a_name_too_is_refused(cli: InProcess) -> None:
    first = json.loads(cli.out("token", "create", "one", "-o", "json"))["id"]
    cli("token", "create", first)
    said = cli("token", "revoke", first, code=1).stderr
    assert f"{first} is an id, and the name of " in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["access", "grant", "ada", "reader", "**"],
            "ada is no principal: it is token:NAME, cert:NAME, oidc:PERSON or",
        ),
        (["access", "grant", "token:ada", "owner", "**"], "'owner' is not one of 'reader', 'writer', 'admin'"),
        (["access", "grnt"], "there is no verb 'grnt'; did you mean grant?"),
        (["token", "create", "a b"], "a b is no token's name"),
        (["token", "create", "a", "--reveal"], "--reveal goes with --grant"),
        (["token", "create", "a", "--expires", "12"], "'12' is neither an age from now (90d, 12h) nor a time"),
        (["token", "create", "a", "--expires", "2001-01-01"], "'2001-01-01' is not in the future"),
        (["token", "create", "a", "--expires", "0d"], "'0d' is no time at all"),
        (["token", "create", "a", "--expires", "999999999999w"], "after the calendar ends"),
        (["help", "access", "grnt"], "there is no verb 'grnt'; did you mean grant?"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(arguments: list[str], words: str) -> None:
    assert words in InProcess("localhost:1")(*arguments, code=2).stderr


def test_what_the_server_refuses_is_told_with_the_key(cli: InProcess) -> None:
    """Only the server knows all rules. It names the key and what would do."""
    said = cli("set", ACCESS_CONFIG, "tokens/x:=1", code=2).stderr
    assert "tokens/x" in said


def test_whoami_on_an_open_server(cli: InProcess) -> None:
    assert cli.out("whoami") == "this server is open: everybody may do everything, under any name\n"
    assert json.loads(cli.out("whoami", "-o", "json")) == {"principal": "", "groups": [], "grants": [], "open": True}


def test_help_explains_the_verbs_of_a_group(cli: InProcess) -> None:
    assert cli.out("help", "access", "grant") == cli.out("access", "grant", "--help")
    assert "  grant   give a role on the configs of a pattern\n" in cli.out("help", "access")


def test_completion_offers_principals_tokens_and_verbs(cli: InProcess, client: lamina.Client) -> None:
    access = client.config(ACCESS_CONFIG, create=True)
    access["groups/platform"] = ["oidc:ada@corp.example"]
    access.commit()
    cli("token", "create", "deployer")

    def offered(line: str) -> list[str]:
        out = cli.out(_LAMINA_COMPLETE="zsh_complete", _LAMINA_LINE=line.replace(" ", "\n"))
        return [part.split("\t")[1] for part in out.splitlines()]

    assert offered("lamina access re") == ["revoke"]
    assert offered("lamina access list --timeout 30 ") == ["group:platform", "oidc:ada@corp.example", "token:deployer"]
    assert offered("lamina token revoke --timeout 30 d") == ["deployer"]
    assert offered("lamina access grant token:x w") == ["writer"]


def test_a_token_goes_into_a_file(cli: InProcess, tmp_path: Path) -> None:
    """The printed token is what --token-file takes."""
    path = tmp_path / "token"
    path.write_text(cli.out("token", "create", "ci"), encoding="utf-8")
    cli("whoami", "--token-file", str(path))


PASTED = f"lamina_k3v9q2x7m4d1_{'canary' * 8}"


@pytest.mark.parametrize(
    "typed",
    [
        ("token", "create", PASTED),
        ("token", "create", "x", "--grant", "reader", PASTED),
        ("token", "revoke", PASTED),
        ("access", "grant", f"token:{PASTED}", "reader", "shop/**"),
        ("access", "grant", PASTED, "reader", "shop/**"),
        ("access", "grant", "token:x", "reader", PASTED),
        ("access", "check", f"token:{PASTED}", "shop/prod"),
        ("access", "check", "oidc:ada", "shop/prod", "--group", f"group:{PASTED}"),
        ("set", PASTED, "a=1", "--create"),
        ("get", PASTED),
        ("get", "shop/prod", "--at", PASTED),
        ("configs", "--author", PASTED),
        ("configs", "--author", f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.{'canary' * 8}"),
        ("configs", "--target", PASTED),
        ("whoami", PASTED),
        (PASTED,),
    ],
)
def test_a_token_in_the_place_of_a_name_is_neither_sent_nor_repeated(cli: InProcess, typed: tuple[str, ...]) -> None:
    said = cli(*typed, code=2, LAMINA_TARGET="unix:/nowhere").output
    assert "looks like a token" in said
    assert "revoke that token by its id" in said
    assert "canary" not in said


def test_an_open_server_checks_no_credential(cli: InProcess) -> None:
    open_to_all = "this server is open: everybody may do everything, under any name\n"
    assert cli.out("whoami") == open_to_all
    assert cli.out("whoami", LAMINA_TOKEN="wrong", LAMINA_AUTHOR="") == (
        open_to_all + "your token was not checked, so it may be a wrong one\n"
    )


def test_a_token_goes_into_a_file_that_only_its_owner_can_read(
    cli: InProcess, client: lamina.Client, tmp_path: Path
) -> None:
    path = tmp_path / "ci.token"
    made = cli("token", "create", "ci", "--file", str(path))
    assert made.stdout == ""
    assert f"the token of token:ci is in {path}" in made.stderr
    assert TOKEN.fullmatch(path.read_text(encoding="utf-8"))
    assert path.stat().st_mode & 0o777 == 0o600
    second = json.loads(cli.out("token", "create", "ci", "--file", str(path), "-o", "json"))
    assert second["file"] == str(path)
    assert "token" not in second
    assert f"lamina_{second['id']}_" in path.read_text(encoding="utf-8"), "it takes the place of the first one"
    path.chmod(0o644)
    assert "chmod 600 it" in cli("token", "create", "ci", "--file", str(path), code=1).stderr
    cli("token", "create", "ci", "--file", str(tmp_path / "planned"), "--dry-run")
    assert [each.name for each in tmp_path.iterdir()] == ["ci.token"]
    assert len(content(client)) == 2


def test_an_expired_token_is_marked(cli: InProcess, client: lamina.Client) -> None:
    access = client.config(ACCESS_CONFIG, create=True)
    access["tokens/aaaa"] = {"name": "old", "sha256": "ab" * 32, "expires": "2020-01-01T00:00:00Z"}
    access.commit()
    assert "2020-01-01T00:00:00Z (expired)" in cli.out("token", "list")
