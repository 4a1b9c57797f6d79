"""show, status, help and version; diff between two configs; mistyped names."""

import json

import lamina
from lamina.cli.app import VERBS
from tests.cli.running import InProcess


def test_show_prints_author_time_message_and_changes(cli: InProcess, shop: lamina.Config) -> None:
    text = cli.out("show", shop.name, "2")
    assert text.splitlines()[0] == f"{shop.name} version 2"
    assert "bob" in text
    assert "the payment provider is slow today" in text
    assert "~ timeout  30 → 45" in text
    assert text == cli.out("show", shop.name), "the newest version is meant where none is named"


def test_show_as_json_is_the_version_with_its_changes(cli: InProcess, shop: lamina.Config) -> None:
    shown = json.loads(cli.out("show", shop.name, "1", "-o", "json"))
    logged = json.loads(cli.out("log", shop.name, "-o", "json").splitlines()[1])
    assert shown["changes"]["timeout"] == {"new": 30}
    assert {**logged, "changes": shown["changes"]} == shown


def test_show_refuses_a_bad_version(cli: InProcess, shop: lamina.Config) -> None:
    assert "empty map" in cli("show", shop.name, "0", code=4).stderr
    assert "version 9" in cli("show", shop.name, "9", code=4).stderr


def test_diff_compares_two_configs(cli: InProcess, client: lamina.Client, shop: lamina.Config) -> None:
    other = client.config(f"{shop.name}-eu", create=True)
    other |= {**shop.to_dict(), "timeout": 45.0, "region": "eu"}
    del other["none"]
    other.commit()
    lines = cli.out("diff", f"{shop.name}@1", f"{other.name}@1").splitlines()
    assert lines == ["- none     null", '+ region   "eu"', "~ timeout  30 → 45.0"]
    assert cli.out("diff", shop.name, f"{other.name}@").splitlines()[-1] == "~ timeout  45 → 45.0"
    assert cli.out("diff", f"{shop.name}@1", "2") == cli.out("diff", shop.name, "1", "2")
    assert "third" in cli("diff", f"{shop.name}@1", f"{other.name}@1", "2", code=2).stderr


def test_status_shows_each_address(cli: InProcess, target: str) -> None:
    (answer,) = json.loads(cli.out("status", "-o", "json"))
    assert {**answer, "latency_ms": 0} == {
        "address": target,
        "state": "up",
        "version": cli.out("version").split()[1],
        "latency_ms": 0,
        "author": "ada",
        "author_verified": False,
        "not_ready": "",
    }
    up, down = cli.out("status", "--target", f"{target},localhost:1", "--timeout", "0.3").splitlines()
    assert up.split()[:2] == [target, "up"]
    assert down.split()[:2] == ["localhost:1", "down"]
    assert "connection refused" in down
    assert "down" in cli("status", "--target", "localhost:1", "--timeout", "0.3", code=5).stdout


def test_mistyped_names_get_a_suggestion(cli: InProcess, shop: lamina.Config) -> None:
    assert "no verb 'gett'; did you mean get?" in cli("gett", code=2).stderr
    assert "did you mean timeout?" in cli("get", shop.name, "timeot", code=4).stderr
    assert "did you mean timeout?" in cli("blame", shop.name, "timeot", code=4).stderr
    assert "did you mean timeout?" in cli("history", shop.name, "timeot", code=4).stderr
    assert f"did you mean {shop.name}" in cli("get", shop.name[:-1], code=4).stderr
    assert f"did you mean {shop.name}" in cli("set", shop.name[:-1], "x=1", code=4).stderr
    assert "did you mean" not in cli("get", shop.name, "qqqqqq", code=4).stderr


def test_get_takes_keys_and_prefixes(cli: InProcess, shop: lamina.Config) -> None:
    assert json.loads(cli.out("get", shop.name, "timeout", "on", "-o", "json")) == {"on": True, "timeout": 45}
    found = json.loads(cli.out("get", shop.name, "--prefix", "ti", "--prefix", "ho", "-o", "json"))
    assert found == {"hosts": ["h1", "h2"], "timeout": 45}
    assert cli.out("get", shop.name, "on", "--prefix", "ti", "-o", "yaml") == '"on": true\ntimeout: 45\n'
    assert cli.out("get", shop.name, "name") == "shop\n"
    assert cli.out("get", shop.name, "name", "--raw") == "shop"
    assert "one KEY" in cli("get", shop.name, "--raw", code=2).stderr
    assert "has no key x" in cli("get", shop.name, "x", "timeout", code=4).stderr


def test_ls_is_an_alias_of_configs(cli: InProcess, shop: lamina.Config) -> None:
    assert cli.out("ls", shop.name) == cli.out("configs", shop.name) != ""


INNER = [["help", group, verb] for group in ("access", "token") for verb in ("list", "revoke")] + [
    ["help", "access", "grant"],
    ["help", "token", "create"],
]


def test_help_fits_a_small_terminal(cli: InProcess) -> None:
    for arguments in (["--help"], ["help"], ["help", "connection"], *(["help", verb] for verb in VERBS), *INNER):
        lines = cli.out(*arguments).splitlines()
        assert len(lines) <= 24, arguments
        assert max(map(len, lines)) <= 80, arguments
    assert "--prefix" in cli.out("help", "get")
    assert "LAMINA_TARGET" in cli.out("help", "connection")
    assert "did you mean watch?" in cli("help", "wach", code=2).stderr
    assert cli.out("version") == cli.out("--version")
