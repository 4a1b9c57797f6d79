"""Secrets on the command line: how they are set, where a mask stands for them, and what reveals them."""

import json
import os
import stat
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

import lamina
from lamina import testing
from lamina.cli.app import app
from lamina.cli.output.text import MASK
from lamina.cli.verbs import edit
from tests.cli.running import InProcess, conflict_line
from tests.cli.secret_shop import CANARY, new_shop, secret_of

CONFIG = "shop"


@pytest.fixture(scope="module")
def server() -> Iterator[testing.Server]:
    with testing.server() as made:
        yield made


@pytest.fixture
def target(server: testing.Server) -> str:
    return server.target


@pytest.fixture
def shop(server: testing.Server, config_name: str) -> lamina.Config:
    return new_shop(server, config_name)


# --- set ----------------------------------------------------------------------------------------------------


def test_set_takes_text_json_files_and_standard_input(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("from a file\n", encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\x00\xfe")
    arguments = ["a=text", "b:=[1]", f"c=@{tmp_path}/text", f"d=@{tmp_path}/bytes", f"e:=@{tmp_path}/text", "g\\=h="]
    (tmp_path / "text").write_text('{"f": 1}', encoding="utf-8")
    cli.out("set", shop.name, "plain=1", *(word for each in arguments for word in ("--secret", each)))
    found = {key: secret_of(shop, key) for key in ("a", "b", "c", "d", "e", "g=h")}
    assert found == {"a": "text", "b": [1], "c": '{"f": 1}', "d": b"\x00\xfe", "e": {"f": 1}, "g=h": ""}
    assert shop["plain"] == "1"
    cli.out("set", shop.name, "--secret", "a", stdin="a line\n")
    assert secret_of(shop, "a") == "a line"
    cli.out("set", shop.name, "--secret", "a=@-", stdin="a line\n")
    assert secret_of(shop, "a") == "a line\n"


def test_a_bad_secret_is_refused_without_showing_it(cli: InProcess, shop: lamina.Config) -> None:
    for argument, message in (
        ("n:=5", "n: the content of a Secret is text, bytes, a list or a dict, not int"),
        (f"n:={CANARY}", "what follows n:= is not JSON"),
        (f"={CANARY}", "an argument has no key"),
    ):
        result = cli("set", shop.name, "--secret", argument, code=2)
        assert message in result.stderr
        assert CANARY not in result.output
    assert "a is set twice" in cli("set", shop.name, "a=1", "--secret", "a=2", code=2).stderr
    assert "can be read only once" in cli("set", shop.name, "--secret", "a", "--secret", "b", code=2, stdin="x").stderr
    assert "nothing is set" in cli("set", shop.name, code=2).stderr


def test_a_plain_value_does_not_replace_a_secret_by_accident(cli: InProcess, shop: lamina.Config) -> None:
    for argument in ("db/pw=open", "db/pw:=5"):
        assert "db/pw holds a secret, and this would not be one: write --secret db/pw" in (
            cli("set", shop.name, argument, code=2).stderr
        )
    cli.out("set", shop.name, "--secret", "x=now a secret")
    assert secret_of(shop, "x") == "now a secret"
    cli.out("set", shop.name, "--retype", "x=plain again")
    assert shop.at(3) == {**shop.at(1).to_dict(), "x": "plain again"}


def test_an_equal_secret_changes_nothing(cli: InProcess, shop: lamina.Config) -> None:
    assert "nothing to change" in cli.out("set", shop.name, "--secret", f"db/pw={CANARY}")


# --- what shows them ----------------------------------------------------------------------------------------


def test_no_verb_shows_a_secret(cli: InProcess, shop: lamina.Config) -> None:
    shop["db/pw"] = lamina.Secret(f"{CANARY}-2")
    shop.commit("second")
    for arguments in (
        ["get", shop.name],
        ["get", shop.name, "-o", "json"],
        ["get", shop.name, "db/pw", "-o", "json"],
        ["get", shop.name, "db/pw", "x", "-o", "yaml"],
        ["get", shop.name, "-o", "env"],
        ["diff", shop.name, "1", "2"],
        ["diff", shop.name, "1", "2", "-o", "json"],
        ["log", shop.name],
        ["log", shop.name, "-o", "json"],
        ["show", shop.name],
        ["show", shop.name, "-o", "json"],
        ["blame", shop.name],
        ["blame", shop.name, "-o", "json"],
        ["history", shop.name, "db/pw"],
        ["history", shop.name, "db/pw", "-o", "json"],
        ["export", shop.name],
        ["export", shop.name, "--format", "toml"],
        ["set", shop.name, "--secret", f"db/pw={CANARY}-3", "--dry-run"],
        ["set", shop.name, "--secret", f"db/pw={CANARY}-3", "--dry-run", "-o", "json"],
        ["revert", shop.name, "--to", "1", "--dry-run"],
        ["fork", shop.name, f"{shop.name}-2", "--dry-run"],
        ["unset", shop.name, "db/pw", "--dry-run"],
        ["exec", shop.name, "--dry-run", "--", "true"],
    ):
        result = cli(*arguments)
        assert CANARY not in result.output, arguments
        assert "AP8=" not in result.output, arguments


def test_a_mask_stands_for_a_secret_and_json_says_that_it_is_one(cli: InProcess, shop: lamina.Config) -> None:
    assert f"db/pw  {MASK}\n" in cli.out("get", shop.name)
    assert json.loads(cli.out("get", shop.name, "-o", "json"))["db/pw"] == {"secret": True}
    assert json.loads(cli.out("get", shop.name, "db/pw", "-o", "json")) == {"secret": True}
    shop["db/pw"] = lamina.Secret("second")
    shop.commit()
    assert f"~ db/pw  {MASK} → {MASK}" in cli.out("diff", shop.name, "1", "2")
    (line,) = cli.out("history", shop.name, "db/pw", "-o", "json", "--limit", "1").splitlines()
    assert json.loads(line)["value"] == {"secret": True}
    change = json.loads(cli.out("show", shop.name, "-o", "json"))["changes"]["db/pw"]
    assert change == {"old": {"secret": True}, "new": {"secret": True}}


def test_get_reveals_on_demand(cli: InProcess, shop: lamina.Config) -> None:
    result = cli("get", shop.name, "db/pw", code=1)
    assert result.stderr == "lamina: db/pw holds a secret: --reveal prints it\n"
    assert not result.stdout
    assert cli.out("get", shop.name, "db/pw", "--reveal") == f"{CANARY}\n"
    assert cli.out("get", shop.name, "db/pw", "--reveal", "--raw") == CANARY
    assert cli.out("get", shop.name, "dsn", "--reveal") == f'{{"pw":"{CANARY}","user":"u"}}\n'
    found = json.loads(cli.out("get", shop.name, "--reveal", "-o", "json"))
    assert found == {"db/pw": CANARY, "dsn": {"pw": CANARY, "user": "u"}, "pem": "AP8=", "x": 1}
    assert f"db_pw={CANARY}\n" in cli.out("get", shop.name, "--reveal", "-o", "env")
    assert f'"db/pw" = "{CANARY}"\n' in cli.out("get", shop.name, "db/pw", "x", "--reveal", "-o", "toml")
    assert f"dsn: !secret\n  pw: {CANARY}\n" in cli.out("get", shop.name, "--reveal", "-o", "yaml")


def test_no_program_takes_a_mask_for_a_value(cli: InProcess, shop: lamina.Config) -> None:
    """What is no people's table marks a secret as such, or leaves it out."""
    shown = cli("get", shop.name, "-o", "env")
    assert shown.stdout == f"# db_pw={MASK}\n# dsn={MASK}\n# pem={MASK}\nx=1\n"
    assert shown.stderr == "lamina: 3 secrets are left out: --reveal writes contents\n"
    cli.out("unset", shop.name, "x")
    cli.out("set", shop.name, "X=text")
    left_out = f"X=text\n# DB_PW={MASK}\n# DSN={MASK}\n# PEM={MASK}\n"
    assert cli.out("export", shop.name, "--format", "env", "--upper") == left_out
    assert cli.out("export", shop.name, "--format", "env") == left_out.replace("DB_PW", "db_pw").replace(
        "DSN", "dsn"
    ).replace("PEM", "pem")
    for command in (["export", shop.name, "--format"], ["get", shop.name, "-o"]):
        assert json.loads(cli.out(*command, "json")) == {
            **{key: {"secret": True} for key in ("db/pw", "dsn", "pem")},
            "X": "text",
        }
        assert tomllib.loads(cli.out(*command, "toml")) == json.loads(cli.out(*command, "json"))
        assert f'db/pw: !secret "{MASK}"\n' in cli.out(*command, "yaml")
    assert "1 secret is written without the content: --reveal writes contents" in (
        cli("get", shop.name, "db/pw", "X", "-o", "yaml").stderr
    )


def test_a_conflict_shows_masks(cli: InProcess, shop: lamina.Config) -> None:
    shop["db/pw"] = lamina.Secret(f"{CANARY}-2")
    shop.commit()
    result = cli("set", shop.name, "--secret", f"db/pw={CANARY}-3", "--base", "1", code=3)
    assert conflict_line(result, "db/pw").split() == ["db/pw", MASK, MASK, MASK, "bob", "in", "version", "2"]
    assert CANARY not in result.output


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["yaml", "json", "toml"])
def test_an_exported_file_with_masks_changes_nothing(
    cli: InProcess, shop: lamina.Config, tmp_path: Path, form: str
) -> None:
    file = tmp_path / f"shop.{form}"
    result = cli("export", shop.name, str(file))
    assert "3 secrets are written without the contents: --reveal writes contents, in YAML or in env" in result.stderr
    assert CANARY not in file.read_text(encoding="utf-8")
    assert "nothing to change" in cli.out("import", shop.name, str(file))
    assert "nothing to change" in cli.out("import", shop.name, str(file), "--replace")
    assert "nothing to change" in cli.out("import", shop.name, str(file), "--batch")


def test_an_env_file_has_no_secret_and_deletes_none(cli: InProcess, shop: lamina.Config) -> None:
    cli.out("import", shop.name, "-", "--format", "env", "--replace", stdin="X=text\n")
    shop.refresh()
    assert shop.keys() == {"X", "db/pw", "dsn", "pem"}


def test_what_get_writes_as_json_is_no_value_for_a_secret(cli: InProcess, shop: lamina.Config) -> None:
    text = cli.out("get", shop.name, "-o", "json")
    assert "nothing to change" in cli.out("import", shop.name, "-", "--format", "json", stdin=text)


def test_a_mask_of_no_secret_is_refused(cli: InProcess, shop: lamina.Config) -> None:
    for text in (f"new: '{MASK}'", f"new: !secret {MASK}", f"x: {MASK}", "new: {secret: true}"):
        result = cli("import", shop.name, "-", "--format", "yaml", stdin=text, code=1)
        assert f"which stands for the secret that is there, and {shop.name} has none there" in result.stderr
    assert shop.at(1) == shop
    shop |= {"text": MASK, "json": {"secret": True}}  # the SDK has no masks: these are meant
    shop.commit()
    text = "text: ••••\njson: {secret: true}\nx: 2"
    assert "0 added" not in cli.out("import", shop.name, "-", "--format", "yaml", stdin=text)
    shop.refresh()
    assert (shop["text"], shop["x"]) == (MASK, 2)


def test_set_takes_no_mask(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    (tmp_path / "mask").write_text(f"{MASK}\n", encoding="utf-8")
    for argument in (
        f"db/pw={MASK}",
        f"new={MASK}",
        f'new:="{MASK}"',
        'new:={"secret": true}',
        f"new=@{tmp_path}/mask",
    ):
        for options in ([], ["--secret"]):
            if options and argument.startswith('new:="'):
                continue  # no text is the JSON of a secret
            result = cli("set", shop.name, "--retype", *options, argument, code=2)
            assert f"{MASK} only stands for a secret that is not shown: it is no value" in result.stderr
    assert "it is no value" in cli("set", shop.name, "--secret", "new", stdin=MASK, code=2).stderr
    shop.refresh()
    assert shop == shop.at(1)


def test_nothing_is_no_content_of_a_secret(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    """Most likely a program should have written it, and has failed."""
    (tmp_path / "empty").touch()
    for argument, given in (("db/pw", ""), ("db/pw", "\n"), ("db/pw=@-", ""), (f"db/pw=@{tmp_path}/empty", "")):
        result = cli("set", shop.name, "--secret", argument, stdin=given, code=2)
        assert "db/pw: nothing was given as its content; --secret db/pw= sets an empty one" in result.stderr
    cli.out("set", shop.name, "--secret", "db/pw=")
    assert secret_of(shop, "db/pw") == ""


def test_another_value_for_a_secret_is_a_secret(cli: InProcess, shop: lamina.Config) -> None:
    cli.out("import", shop.name, "-", "--format", "json", stdin='{"db/pw": "second", "dsn": {"a": [1]}}')
    assert secret_of(shop, "db/pw") == "second"
    assert secret_of(shop, "dsn") == {"a": [1]}
    result = cli("import", shop.name, "-", "--format", "json", stdin='{"db/pw": 5}', code=1)
    assert "db/pw is a secret, and stays one: the content of a Secret is text" in result.stderr
    cli.out("set", shop.name, "--secret", "TOKEN=one")
    cli.out("import", shop.name, "-", "--format", "env", stdin="TOKEN=two\n")
    assert secret_of(shop, "TOKEN") == "two"


def test_a_revealed_export_is_imported_as_secrets(
    cli: InProcess, shop: lamina.Config, server: testing.Server, tmp_path: Path
) -> None:
    file = tmp_path / "shop.yaml"
    cli.out("export", shop.name, str(file), "--reveal")
    assert f"db/pw: !secret {CANARY}\n" in file.read_text(encoding="utf-8").replace('"', "")
    cli.out("import", f"{shop.name}-copy", str(file), "--create")
    copy = server.connect().config(f"{shop.name}-copy")
    assert copy == shop
    assert (copy["dsn"].reveal(), copy["pem"].reveal()) == ({"user": "u", "pw": CANARY}, b"\x00\xff")
    assert "nothing to change" in cli.out("import", shop.name, str(file))
    for form in ("json", "toml", "env"):
        result = cli("export", shop.name, "-", "dsn", "--format", form, "--reveal", code=1)
        assert (
            f"{form} cannot hold dsn: it is a secret, and would come back as a plain value (YAML can" in result.stderr
        )
        assert CANARY not in result.output
    assert f"DB_PW={CANARY}\n" in cli.out("export", shop.name, "-", "db/pw", "-o", "env", "--upper", "--reveal")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [!secret b]", "the tag !secret has no meaning here"),
        ("a: {b: !secret {c: 1}}", "the tag !secret has no meaning here"),
        ("a: !secret {b: .inf}", "only finite numbers"),
        ("a: !secret-bytes '!'", "this is no base64"),
    ],
)
def test_a_secret_is_a_whole_value_of_a_file(cli: InProcess, shop: lamina.Config, text: str, message: str) -> None:
    assert message in cli("import", shop.name, "-", "--format", "yaml", stdin=text, code=1).stderr


def test_only_its_owner_can_read_a_new_file_with_secrets(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    before = os.umask(0o022)
    for options, mode in ((("--reveal",), 0o600), ((), 0o644)):
        path = tmp_path / f"{len(options)}.yaml"
        cli("export", shop.name, str(path), *options)
        assert stat.S_IMODE(path.stat().st_mode) == mode
    os.umask(before)


def test_a_batch_of_secrets_that_are_what_they_were_writes_nothing(tmp_path: Path) -> None:
    """Only the server sees that, if the caller may not reveal them."""
    path = tmp_path / "shop.yaml"
    path.write_text("db/pw: hunter2\n", encoding="utf-8")
    with testing.server(closed=True) as server:
        token = server.token("ci", role="writer", on=CONFIG)
        server.set(CONFIG, {"db/pw": lamina.Secret("hunter2")})
        cli = InProcess(server.target)
        cli.environment = {"LAMINA_TARGET": server.target, "LAMINA_TOKEN": token}
        for options in ((), ("--batch",)):
            assert "stays at version 1" in cli.out("import", CONFIG, str(path), *options)


def test_a_bundle_is_exported_without_contents(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    file = tmp_path / "shop.lamina"
    cli.out("export", shop.name, str(file), "--history")
    with lamina.open(file) as bundle:
        assert bundle.verify().number == 1
        assert not bundle["db/pw"].is_revealed
    assert "--reveal is not for it" in cli("export", shop.name, str(file), "--history", "--reveal", code=2).stderr


# --- edit ---------------------------------------------------------------------------------------------------


@pytest.fixture
def editing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes the environment in which a replacement is the editor."""
    monkeypatch.setattr(edit, "AT_ONCE_SECONDS", 0.0)
    script = tmp_path / "editor.py"

    def make(old: str, new: str) -> dict[str, str]:
        lines = [
            "import pathlib, sys",
            "file = pathlib.Path(sys.argv[-1])",
            "text = file.read_text()",
            f"assert {CANARY!r} not in text and {old!r} in text, text",
            f"file.write_text(text.replace({old!r}, {new!r}))",
        ]
        script.write_text("\n".join(lines), encoding="utf-8")
        return {"EDITOR": f"{sys.executable} {script}", "VISUAL": "", "TMPDIR": str(tmp_path)}

    return make


def test_edit_keeps_the_masks_that_were_not_touched(cli: InProcess, shop: lamina.Config, editing: Any) -> None:
    cli.out("edit", shop.name, **editing("x: 1", "x: 2"))
    assert shop.diff(1).keys() == {"x"}


def test_a_changed_mask_is_a_new_secret(cli: InProcess, shop: lamina.Config, editing: Any) -> None:
    cli.out("edit", shop.name, **editing(f'db/pw: !secret "{MASK}"', "db/pw: second"))
    assert shop.diff(1).keys() == {"db/pw"}
    assert secret_of(shop, "db/pw") == "second"
    cli.out("edit", shop.name, **editing("x: 1", "new: !secret third"))
    assert secret_of(shop, "new") == "third"


def test_a_mark_in_toml_is_kept_or_replaced(cli: InProcess, shop: lamina.Config, editing: Any) -> None:
    cli.out("edit", shop.name, "--format", "toml", **editing('"db/pw" = { secret = true }', '"db/pw" = "second"'))
    assert shop.diff(1).keys() == {"db/pw"}
    assert secret_of(shop, "db/pw") == "second"


def test_a_mask_that_was_moved_is_refused(cli: InProcess, shop: lamina.Config, editing: Any) -> None:
    result = cli("edit", shop.name, code=1, **editing("db/pw:", "db/password:"))
    assert f"db/password is {MASK}, which stands for the secret that is there" in result.stderr
    assert "to go on with what was edited" in result.stderr


def test_completion_of_set_offers_no_secret(shop: lamina.Config, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_TARGET", target)
    completion = ShellComplete(app, {}, "lamina", "_LAMINA_COMPLETE")

    def offered(*words: str) -> list[str]:
        *before, incomplete = words
        return [item.value for item in completion.get_completions(before, incomplete)]

    assert offered("set", shop.name, "d") == []
    assert offered("set", shop.name, "x") == ["x:="]
