"""get, log, history, blame, configs and diff, against a real server."""

import json
import os
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

import lamina
from tests.cli.running import InProcess, run

VERSION_NAMES = {
    "number", "config", "parent", "author", "message", "time", "hash", "author_verified", "key_count", "change_count",
    "changed_keys", "source_config", "source_version",
}  # fmt: skip
CHANGE_NAMES = {"key", "value", "deleted", "version", "author", "message", "time"}


def test_get_prints_bare_values(cli: InProcess, shop: lamina.Config) -> None:
    assert cli.out("get", shop.name, "name") == "shop\n"
    assert cli.out("get", shop.name, "timeout") == "45\n"
    assert cli.out("get", shop.name, "on") == "true\n"
    assert cli.out("get", shop.name, "none") == "null\n"
    assert cli.out("get", shop.name, "hosts") == '["h1","h2"]\n'
    assert cli("get", shop.name, "blob").stdout_bytes == b"\x00\xff"


def test_get_at_a_point_in_time(cli: InProcess, shop: lamina.Config) -> None:
    assert cli.out("get", shop.name, "timeout", "--at", "1") == "30\n"
    first = shop.blame("name")["name"].time
    assert cli.out("get", shop.name, "timeout", "--at", first.astimezone(UTC).isoformat()) == "30\n"
    assert cli.out("get", shop.name, "--at", "0") == ""
    assert "has no version at" in cli("get", shop.name, "--at", "7d", code=4).stderr
    assert "version" in cli("get", shop.name, "--at", "99", code=4).stderr


def test_get_a_map_in_each_output(cli: InProcess, shop: lamina.Config) -> None:
    expected = {**shop.to_dict(), "blob": "AP8="}
    assert json.loads(cli.out("get", shop.name, "-o", "json")) == expected
    assert "blob: !!binary |\n  AP8=\n" in cli.out("get", shop.name, "-o", "yaml")
    assert "TOML cannot hold blob" in cli("get", shop.name, "-o", "toml", code=1).stderr
    assert "env cannot hold none" in cli("get", shop.name, "-o", "env", code=1).stderr
    cli("unset", shop.name, "blob", "none")
    del expected["blob"], expected["none"]
    assert tomllib.loads(cli.out("get", shop.name, "-o", "toml")) == expected
    assert cli.out("get", shop.name, "-o", "env") == (
        'hosts=\'["h1","h2"]\'\nlimits=\'{"cpu":4}\'\nname=shop\non=true\nratio=0.5\ntimeout=45\n'
    )
    assert cli.out("get", shop.name).splitlines()[:2] == ['hosts    ["h1", "h2"]', 'limits   {"cpu": 4}']


def test_output_is_given_before_or_after_the_verb_or_in_the_environment(cli: InProcess, shop: lamina.Config) -> None:
    expected = cli.out("get", shop.name, "-o", "json")
    assert cli.out("-o", "json", "get", shop.name) == expected
    assert cli.out("--output=yaml", "get", "-o", "json", shop.name) == expected  # the verb's own wins
    assert cli.out("get", shop.name, LAMINA_OUTPUT="json") == expected
    assert cli.out("get", shop.name, "-o", "json", LAMINA_OUTPUT="yaml") == expected
    # `log` has no such output, so it ignores the variable.
    assert cli.out("log", shop.name, LAMINA_OUTPUT="yaml") == cli.out("log", shop.name)
    assert cli.out("get", shop.name, "blob", "-o", "json") == '"AP8="\n'
    cli("log", shop.name, "-o", "yaml", code=2)
    assert "it takes text, json" in cli("-o", "yaml", "log", shop.name, code=2).stderr
    assert "it takes text, json" in cli("get", shop.name, "name", "-o", "toml", code=2).stderr


def test_missing_things_exit_with_4(cli: InProcess, shop: lamina.Config) -> None:
    for verb in ("get", "log", "blame", "diff", "watch", "export"):
        assert "no config" in cli(verb, "tests/none", code=4).stderr
    assert f"{shop.name} has no key nope" in cli("get", shop.name, "nope", code=4).stderr
    assert "has no key nope" in cli("blame", shop.name, "name", "nope", code=4).stderr
    assert "never had a key nope" in cli("history", shop.name, "nope", code=4).stderr
    assert cli("history", shop.name, "nope", "-o", "json", code=4).stdout == ""


def test_log_lists_versions(cli: InProcess, shop: lamina.Config) -> None:
    newest, oldest = cli.out("log", shop.name).splitlines()
    assert newest.split("  ")[0] == "2"
    assert newest.endswith("  bob  timeout  the payment provider is slow today")
    assert oldest.endswith("  bob  8 keys   first settings")
    assert cli.out("log", shop.name, "-n", "1").splitlines() == [newest]
    versions = [json.loads(line) for line in cli.out("log", shop.name, "-o", "json").splitlines()]
    assert [version["number"] for version in versions] == [2, 1]
    assert set(versions[0]) == VERSION_NAMES
    time = datetime.fromisoformat(versions[0]["time"])
    assert versions[0]["time"].endswith("Z")
    assert time == shop.blame("timeout")["timeout"].time


def test_history_is_in_version_order(cli: InProcess, shop: lamina.Config) -> None:
    cli("unset", shop.name, "timeout", "-m", "gone")
    lines = cli.out("history", shop.name, "timeout").splitlines()
    assert [line.split("  ")[3] for line in lines] == ["30", "45", "deleted"]
    changes = [json.loads(line) for line in cli.out("history", shop.name, "timeout", "-o", "json").splitlines()]
    assert [change.get("value") for change in changes] == [30, 45, None]
    assert set(changes[0]) == CHANGE_NAMES
    assert set(changes[2]) == CHANGE_NAMES - {"value"}
    newest = json.loads(cli.out("history", shop.name, "timeout", "-n", "1", "--newest-first", "-o", "json"))
    assert newest == changes[2]
    assert cli.out("history", shop.name, "timeout", "-n", "0") == ""


def test_blame_lists_the_origin_of_each_key(cli: InProcess, shop: lamina.Config) -> None:
    found = json.loads(cli.out("blame", shop.name, "-o", "json"))
    assert {key: version["number"] for key, version in found.items()} == {**dict.fromkeys(shop, 1), "timeout": 2}
    assert set(found["name"]) == VERSION_NAMES
    (line,) = cli.out("blame", shop.name, "timeout").splitlines()
    assert line.endswith("  bob  timeout  45  the payment provider is slow today")


def test_configs_lists_configs(cli: InProcess, shop: lamina.Config) -> None:
    (found,) = json.loads(cli.out("configs", shop.name, "-o", "json"))
    assert (found["name"], found["head"]) == (shop.name, 2)
    assert set(found) == {"name", "head", "oldest", "time", "created"}
    assert cli.out("configs", shop.name).startswith(f"{shop.name}  2  ")
    assert shop.name in cli.out("configs")
    assert cli.out("configs", "tests/none") == ""
    assert cli.out("configs", "tests/none", "-o", "json") == "[]\n"


def test_diff_shows_old_and_new_values(cli: InProcess, shop: lamina.Config) -> None:
    assert cli.out("diff", shop.name) == "~ timeout  30 → 45\n"
    assert cli.out("diff", shop.name, "1") == "~ timeout  30 → 45\n"
    assert cli.out("diff", shop.name, "2", "1") == "~ timeout  45 → 30\n"
    assert cli.out("diff", shop.name, "2", "2") == ""
    assert '+ name     "shop"\n' in cli.out("diff", shop.name, "0")
    assert '- name     "shop"\n' in cli.out("diff", shop.name, "2", "0")
    assert "has no version at" in cli("diff", shop.name, "30d", "1", code=4).stderr
    assert json.loads(cli.out("diff", shop.name, "-o", "json")) == {"timeout": {"old": 30, "new": 45}}
    assert json.loads(cli.out("diff", shop.name, "0", "1", "-o", "json"))["name"] == {"new": "shop"}
    assert cli("diff", shop.name, "--exit-code", code=1).stdout == "~ timeout  30 → 45\n"
    cli("diff", shop.name, "2", "2", "--exit-code")


def test_diff_of_the_first_version_is_all_of_it(cli: InProcess, config_name: str) -> None:
    cli("set", config_name, "a=b", "--create")
    assert cli.out("diff", config_name) == '+ a  "b"\n'


def test_diff_compares_long_values_line_by_line(cli: InProcess, config_name: str) -> None:
    lines = [f"line {number}" for number in range(1, 11)]
    numbers = list(range(40))
    cli("set", config_name, "text=" + "\n".join(lines), f"list:={json.dumps(numbers)}", "--create")
    lines[1], lines[8], numbers[5] = "zwei", "neun", -5
    cli("set", config_name, "text=" + "\n".join(lines), f"list:={json.dumps(numbers)}")
    assert cli.out("diff", config_name).splitlines() == [
        "~ list", "      3,", "      4,", "  -   5,", "  +   -5,", "      6,", "      7,",
        "~ text", "    line 1", "  - line 2", "  + zwei", "    line 3", "    line 4", "    …",
        "    line 7", "    line 8", "  - line 9", "  + neun", "    line 10",
    ]  # fmt: skip


def test_names_and_values_cannot_control_a_terminal(cli: InProcess, config_name: str) -> None:
    cli("set", config_name, "k=\x1b[31m\u202e\x9b", "-m", "\x1b]0;t\a", "--create", "--author", "m\u202ey")
    printed = "".join(cli.out(verb, config_name) for verb in ("get", "log", "blame", "diff"))
    printed += cli.out("history", config_name, "k") + cli.out("get", config_name, "-o", "json")
    assert not set(printed) & set("\x1b\u202e\x9b\a")
    assert r"\u001b[31m\u202e\u009b" in printed
    assert cli.out("get", config_name, "k") == "\x1b[31m\u202e\x9b\n"  # a pipe gets the bare value


def test_bad_names_are_bad_usage(cli: InProcess, shop: lamina.Config) -> None:
    assert "config name" in cli("get", "no such!", code=2).stderr
    cli("blame", shop.name, "k" * 513, code=4)
    cli("get", shop.name, "--at", "yesterday", code=2)
    cli("nonsense", code=2)
    cli("get", code=2)


def test_without_a_server_it_is_an_error_with_the_reason(cli: InProcess, target: str) -> None:
    assert "localhost:1" not in cli("log", "a", "--target", target, code=4).stderr
    refused = cli("--timeout", "0.2", "log", "a", "--target", "localhost:1", code=5)
    gone = "no server answers at localhost:1 (connection refused)"
    assert refused.stderr.splitlines() == [
        f"lamina: {gone}; trying again for 0 s",  # at once, not when the time is over
        f"lamina: no answer within 0.2 s: {gone}",
    ]
    assert "Traceback" not in refused.output


def test_connection_options_reach_the_client(cli: InProcess, shop: lamina.Config, target: str) -> None:
    assert "together" in cli("log", shop.name, "--tls-cert", __file__, code=2).stderr
    assert "exclude" in cli("log", shop.name, "--tls-ca", __file__, "--plaintext", code=2).stderr
    cli("log", shop.name, "--plaintext")
    cli("log", shop.name, LAMINA_TIMEOUT="soon", code=2)
    for endless in ("inf", "1e300", "nan"):
        cli("log", shop.name, "--timeout", endless, code=2)
    cli("log", shop.name, "--token-file", "/nonexistent", code=2)
    assert run("log", shop.name, target=target).returncode == 0


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff"])
def test_a_token_file_without_a_token_is_refused(
    cli: InProcess, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_bytes(content)
    assert "holds no token" in cli("log", "a", "--token-file", str(path), code=1).stderr


def test_a_token_file_may_be_a_pipe_also_for_a_verb_that_connects_twice(
    cli: InProcess, shop: lamina.Config, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'piped: 1\\n' >> \"$1\"\n", encoding="utf-8")
    editor.chmod(0o700)
    reader, writer = os.pipe()
    os.write(writer, b"a-token\n")
    os.close(writer)
    try:
        done = cli("edit", shop.name, "--token-file", f"/dev/fd/{reader}", EDITOR=str(editor))
    finally:
        os.close(reader)
    assert "is now version" in done.stdout
    assert done.stderr == "", "the token is there for all calls"


def test_a_version_after_the_name_is_an_option(cli: InProcess, shop: lamina.Config) -> None:
    """Only `diff` has two configs, and so the notation with @."""
    hint = f"{shop.name}@1 is not the name of a config: for another version, write {shop.name} --at 1"
    assert hint in cli("get", f"{shop.name}@1", "timeout", code=2).stderr
    assert "--at" not in cli("log", f"{shop.name}@1", code=2).stderr
    assert cli.out("diff", f"{shop.name}@1", f"{shop.name}@")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("log", "shop", "-n", "-1"), "-1 is not a number of 0 or more"),
        (
            ("exec", "shop", "--restart", "--grace", "86401", "--", "true"),
            "not a number of seconds: it takes 0 to 86400",
        ),
        (
            ("exec", "shop", "--restart", "--jitter", "nan", "--", "true"),
            "nan is not a number of seconds: it takes 0 to",
        ),
        (("watch", "shop", "--grace", "-1"), "-1 is not a number of seconds: it takes 0 or more"),
        (("get", "shop", "--timeout", "0"), "0 is not a number of seconds: it takes more than 0"),
    ],
)
def test_a_number_that_cannot_be_is_refused_in_words(cli: InProcess, arguments: tuple[str, ...], says: str) -> None:
    assert says in cli(*arguments, code=2).stderr
