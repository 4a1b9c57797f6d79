"""set, unset, revert and fork: their commits, refusals and output."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lamina
from tests.cli.running import LAMINA, InProcess, conflict_line, run


def undo_line(printed: str) -> list[str]:
    """Return the arguments of the printed line that undoes the change."""
    program, *arguments = shlex.split(printed.splitlines()[-1].removeprefix("undo: "))
    assert program == "lamina"
    return arguments


def head(client: lamina.Client, name: str) -> dict[str, Any]:
    return client.config(name).to_dict()


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch, client: lamina.Client) -> Callable[..., None]:
    """Let bob commit after the command has read the head and before it commits."""

    def begin(config: str, /, **values: Any) -> None:
        commit, revert = lamina.Config.commit, lamina.Config.revert
        left = [values]

        def interfere() -> None:
            if left:
                others = client.config(config)
                others |= left.pop()
                commit(others, "in between")

        def commit_later(cfg: lamina.Config, *args: Any, **options: Any) -> lamina.Version:
            interfere()
            return commit(cfg, *args, **options)

        def revert_later(cfg: lamina.Config, *args: Any, **options: Any) -> lamina.Version:
            interfere()
            return revert(cfg, *args, **options)

        monkeypatch.setattr(lamina.Config, "commit", commit_later)
        monkeypatch.setattr(lamina.Config, "revert", revert_later)

    return begin


def test_set_writes_one_version_and_prints_how_to_undo_it(
    cli: InProcess, client: lamina.Client, shop: lamina.Config
) -> None:
    before = shop.to_dict()
    printed = cli.out("set", shop.name, "name=store", "timeout:=60", "new:=[1]", "-m", "why not")
    assert printed.splitlines()[0] == f"{shop.name} is now version 3 (1 added, 2 changed)"
    assert head(client, shop.name) == {**before, "name": "store", "timeout": 60, "new": [1]}
    version = next(client.config(shop.name).log())
    assert (version.author, version.message) == ("ada", "why not")
    assert undo_line(printed) == ["revert", shop.name, "name", "new", "timeout", "--to", "2", "--base", "3"]
    cli(*undo_line(printed))
    assert head(client, shop.name) == before


def test_undo_keeps_later_changes_of_others(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    undo = undo_line(cli.out("set", shop.name, "name=store"))
    cli("set", shop.name, "name=market", "--author", "carol")
    assert conflict_line(cli(*undo, code=3), "name").endswith("carol in version 4")
    assert head(client, shop.name)["name"] == "market"


def test_undo_line_can_be_pasted(cli: InProcess, client: lamina.Client, config_name: str, target: str) -> None:
    printed = cli.out("set", config_name, "--create", "--target", target, "--", "-k=a", "it's=b", r"x\=y=c")
    line = printed.splitlines()[-1].removeprefix("undo: lamina ")
    assert run(*shlex.split(line), target="localhost:1").returncode == 0
    assert head(client, config_name) == {}
    many = cli.out("set", config_name, *[f"k{number}=v" for number in range(9)])
    assert undo_line(many) == ["revert", config_name, "--to", "2", "--base", "3"]
    cli(*undo_line(many))
    assert head(client, config_name) == {}


def test_undo_line_has_what_was_typed_with_its_blanks(cli: InProcess, shop: lamina.Config) -> None:
    undo = undo_line(cli.out("set", shop.name, "a=1", "--author", " ada b"))
    assert undo[-2:] == ["--author", " ada b"]
    cli(*undo)


def test_an_empty_author_is_refused(cli: InProcess, shop: lamina.Config) -> None:
    refused = cli("set", shop.name, "a=1", "--author", "", code=2)
    assert refused.stderr == "lamina: author='' names nobody: give a name, or leave it out\n"


def test_undo_line_names_the_program_as_it_was_called(config_name: str, target: str, tmp_path: Path) -> None:
    line = ["set", config_name, "a:=1", "--create"]
    assert undo_line(run(*line, target=target).stdout)  # on the PATH, its name is enough
    line[2] = "a:=2"
    done = run(*line, target=target, cwd=tmp_path, environment={"PATH": "/usr/bin:/bin"})
    assert done.stdout.splitlines()[-1].startswith(f"undo: {shlex.quote(str(LAMINA))} revert ")
    line[2] = "a:=3"
    done = run(*line, target=target, cwd=LAMINA.parent.parent, environment={"PATH": "/usr/bin:/bin"})
    assert done.stdout.splitlines()[-1].startswith("undo: bin/lamina revert ")


def test_equal_values_write_nothing(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    assert cli.out("set", shop.name, "timeout:=45") == f"nothing to change: {shop.name} stays at version 2\n"
    assert json.loads(cli.out("set", shop.name, "timeout:=45", "-o", "json"))["number"] == 2
    assert client.config(shop.name).version == 2
    assert "is now version 3" in cli.out("set", shop.name, "timeout:=45.0")  # another kind of number


def test_json_output_is_the_version(cli: InProcess, shop: lamina.Config) -> None:
    version = json.loads(cli.out("set", shop.name, "name=x", "-m", "why", "-o", "json"))
    assert (version["number"], version["parent"], version["author"], version["message"]) == (3, 2, "ada", "why")


def test_text_for_a_key_of_another_type_is_refused(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    for assignment, says in {
        "timeout=30": "timeout holds an integer, and this would make it text: write timeout:=30, or --retype",
        "on=false": "on holds a boolean, and this would make it text: write on:=false",
        "ratio=0.7": "ratio holds a number",
        "none=x": "none holds null, and this would make it text: write none:=JSON",
        "hosts=h1": "hosts holds a list",
        "limits=x": "limits holds an object",
        "blob=x": "blob holds bytes",
    }.items():
        assert says in cli("set", shop.name, "name=new", assignment, code=2).stderr
    assert client.config(shop.name).version == 2
    cli("set", shop.name, "timeout=30", "--retype")
    assert head(client, shop.name)["timeout"] == "30"
    cli("set", shop.name, "timeout=31")


def test_files_and_standard_input(cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello\n", encoding="utf-8")
    (tmp_path / "hosts").write_text('["h1"]\n', encoding="utf-8")
    cli("set", config_name, f"motd=@{tmp_path}/motd", f"hosts:=@{tmp_path}/hosts", "in=@-", "--create", stdin="piped\n")
    assert head(client, config_name) == {"motd": "hello\n", "hosts": ["h1"], "in": "piped\n"}
    assert "only once" in cli("set", config_name, "a=@-", "b=@-", code=2).stderr
    assert "cannot read" in cli("set", config_name, f"a=@{tmp_path}/none", code=2).stderr
    assert "cannot read" in cli("set", config_name, f"a=@{tmp_path}", code=2).stderr


def test_a_new_config_needs_create(cli: InProcess, client: lamina.Client, config_name: str) -> None:
    assert "--create makes it" in cli("set", config_name, "a=b", code=4).stderr
    assert "no config" in cli("unset", config_name, "a", code=4).stderr
    assert not list(client.configs(config_name))
    cli("set", config_name, "a=b", "--create")
    cli("set", config_name, "a=c", "--create")
    assert client.config(config_name).version == 2


def test_set_refuses_bad_arguments(cli: InProcess, shop: lamina.Config) -> None:
    for arguments in (
        ["hunter2"],
        ["=hunter2"],
        ["a:=hunter2"],
        ["a=hunter2", "a=hunter2"],
        [],
        ["k" * 513 + "=hunter2"],
    ):
        result = cli("set", shop.name, *arguments, code=2)
        assert "hunter2" not in result.output
    assert "--dry-run" in cli("set", shop.name, "a=b", "--exit-code", code=2).stderr
    assert "surrogate" in cli("set", shop.name, "a=\udcff", code=2).stderr


def test_dry_run_prints_the_diff_and_writes_nothing(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    assert cli.out("set", shop.name, "timeout:=60", "new=x", "--dry-run") == '+ new      "x"\n~ timeout  45 → 60\n'
    assert cli.out("unset", shop.name, "name", "--dry-run") == '- name  "shop"\n'
    assert cli.out("revert", shop.name, "--to", "1", "--dry-run") == "~ timeout  45 → 30\n"
    assert '+ name     "shop"\n' in cli.out("fork", shop.name, f"{shop.name}-fork", "--dry-run")
    planned = json.loads(cli.out("set", shop.name, "timeout:=60", "--dry-run", "-o", "json"))
    assert planned == {"timeout": {"old": 45, "new": 60}}
    cli("set", shop.name, "timeout:=60", "--dry-run", "--exit-code", code=1)
    cli("set", shop.name, "timeout:=45", "--dry-run", "--exit-code")
    cli("set", f"{shop.name}-new", "a=b", "--create", "--dry-run")
    assert [info.head for info in client.configs(shop.name)] == [2]


def test_dry_run_is_checked_by_the_server(cli: InProcess, shop: lamina.Config) -> None:
    refused = cli("set", shop.name, "big=" + "x" * (1 << 20 | 1), "--dry-run", code=1)
    assert "1,048,576" in refused.stderr or "1048576" in refused.stderr


def test_unset_deletes_keys(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    missing = cli("unset", shop.name, "name", "nope", "no", code=4)
    assert "nothing was written" in missing.stderr
    assert "has no key nope, no" in missing.stderr
    assert client.config(shop.name).version == 2
    assert "(2 deleted)" in cli.out("unset", shop.name, "name", "on", "name")
    assert not {"name", "on"} & head(client, shop.name).keys()


def test_with_a_base_later_changes_conflict(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    first = shop.blame("name")["name"].time.isoformat()
    for base in ("1", first, "0"):
        stale = cli("set", shop.name, "timeout:=60", "--base", base, code=3)
        assert "nothing was written" in stale.stderr
        assert conflict_line(stale, "timeout").split()[-6:] == ["45", "60", "bob", "in", "version", "2"]
    cli("unset", shop.name, "timeout", "--base", "1", code=3)
    cli("revert", shop.name, "--to", "0", "--base", "1", code=3)
    assert client.config(shop.name).version == 2
    cli("set", shop.name, "name=other", "--base", "1")  # no other commit changed that key
    cli("set", shop.name, "timeout:=45", "name=third", "--base", "1", code=3)  # the line above changed name
    cli("set", shop.name, "timeout:=45", "--base", "1")  # another commit set the same value, so there is no conflict
    assert client.config(shop.name).version == 3
    assert "version" in cli("set", shop.name, "a=b", "--base", "99", code=4).stderr


def test_with_a_base_a_deleted_key_conflicts(cli: InProcess, shop: lamina.Config) -> None:
    cli("unset", shop.name, "name")
    assert conflict_line(cli("set", shop.name, "name=x", "--base", "2", code=3), "name") == (
        '  name  "shop"          "x"    ada in version 3'
    )


def test_without_a_base_set_overwrites_changes_of_others(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, race: Callable[..., None]
) -> None:
    race(shop.name, timeout=99, other="kept")
    printed = cli.out("set", shop.name, "timeout:=60")
    assert undo_line(printed)[-4:] == ["--to", "3", "--base", "4"]
    assert head(client, shop.name) == {**shop, "timeout": 60, "other": "kept"}


def test_a_commit_that_comes_in_between_is_read_again(
    cli: InProcess, shop: lamina.Config, race: Callable[..., None]
) -> None:
    race(shop.name, name=5)
    assert "name holds an integer" in cli("set", shop.name, "name=text", code=2).stderr


def test_with_a_base_a_commit_that_comes_in_between_conflicts(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, race: Callable[..., None]
) -> None:
    race(shop.name, timeout=99)
    stale = cli("set", shop.name, "timeout:=60", "--base", "2", code=3)
    assert conflict_line(stale, "timeout") == "  timeout  45    99      60     bob in version 3"
    assert head(client, shop.name)["timeout"] == 99


def test_a_revert_of_the_map_reverts_a_commit_that_comes_in_between(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, race: Callable[..., None]
) -> None:
    race(shop.name, other="new")
    cli("revert", shop.name, "--to", "1")
    assert head(client, shop.name) == {**shop, "timeout": 30}


def test_a_revert_of_the_map_with_a_base_can_conflict(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, race: Callable[..., None]
) -> None:
    race(shop.name, other="new")
    # The revert would delete `other`, which is newer than the base.
    stale = cli("revert", shop.name, "--to", "1", "--base", "2", code=3)
    assert conflict_line(stale, "other").endswith("bob in version 3")
    assert client.config(shop.name).version == 3


def test_revert_restores_keys_or_the_map(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    printed = cli.out("revert", shop.name, "timeout", "--to", "1")
    assert head(client, shop.name)["timeout"] == 30
    assert next(client.config(shop.name).log()).message == "revert to version 1"
    cli(*undo_line(printed))
    assert head(client, shop.name)["timeout"] == 45
    cli("revert", shop.name, "--to", "0", "-m", "all gone")
    assert head(client, shop.name) == {}
    assert "nothing to change" in cli.out("revert", shop.name, "--to", "0")
    assert "has no version at" in cli("revert", shop.name, "--to", "30d", code=4).stderr
    assert "no key nope, neither now nor then" in cli("revert", shop.name, "nope", "--to", "2", code=4).stderr
    cli("revert", shop.name, "--to", "99", code=4)
    cli("revert", shop.name, code=2)


def test_fork_makes_a_config(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    fork = f"{shop.name}-fork"
    printed = cli.out("fork", shop.name, fork, "--at", "1")
    assert printed.splitlines()[0] == f"{fork} is now version 1 (8 added)"
    assert head(client, fork) == shop.at(1).to_dict()
    assert cli.out("log", fork).rstrip().endswith(f"fork of {shop.name} version 1")
    for more in ([], ["--dry-run"]):
        assert "already" in cli("fork", shop.name, fork, *more, code=1).stderr
    cli(*undo_line(printed))
    assert head(client, fork) == {}
    cli("fork", "tests/none", fork, code=4)


def test_an_unknown_outcome_is_reported(cli: InProcess, shop: lamina.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> lamina.Version:
        raise lamina.DeadlineError("no answer within 10 s", request_id="r-1")

    monkeypatch.setattr(lamina.Config, "commit", lost)
    said = cli("set", shop.name, "a=b", code=5).stderr
    assert re.search(rf"no answer within 10 s\nwhether it was written is not known: lamina log {shop.name}", said)


@pytest.mark.parametrize("verb", [("set", "x:=1"), ("unset", "x"), ("revert", "--to", "1"), ("fork", "y")])
def test_without_a_server_nothing_was_written(cli: InProcess, verb: tuple[str, ...]) -> None:
    """The read before the write fails, so the outcome is certain."""
    refused = cli("--timeout", "0.2", verb[0], "shop/prod", *verb[1:], "--target", "localhost:1", code=5)
    assert refused.stderr.splitlines()[-1] == "nothing was written"
    assert "may have been written" not in refused.stderr
