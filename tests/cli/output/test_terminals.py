"""The output on a real terminal: colours, times, the pager and progress."""

import json
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import lamina
from lamina.cli.output.screen import ago, fitted
from tests.cli.running import LAMINA, InProcess, Terminal, on_terminal

ESCAPE = "\x1b["


def test_tables_have_headers_colours_and_relative_times(target: str, shop: lamina.Config) -> None:
    text, raw = on_terminal("log", shop.name, target=target)
    header, newest, oldest = text.splitlines()
    assert header.split() == ["VERSION", "WHEN", "AUTHOR", "KEYS", "MESSAGE"]
    assert newest.split()[:4] == ["2", "now", "bob", "timeout"] or "ago" in newest
    assert header.index("MESSAGE") == newest.index("the payment") == oldest.index("first settings")
    assert "\x1b[33m2\x1b[0m" in raw
    assert on_terminal("blame", shop.name, target=target)[0].splitlines()[0].split()[3:] == ["KEY", "VALUE", "MESSAGE"]
    assert on_terminal("history", shop.name, "timeout", target=target)[0].splitlines()[0].split()[3] == "VALUE"
    assert on_terminal("configs", shop.name, target=target)[0].split()[:3] == ["CONFIG", "VERSION", "WHEN"]


def test_diff_has_colours_for_old_and_new(target: str, shop: lamina.Config) -> None:
    text, raw = on_terminal("diff", shop.name, target=target)
    assert text.splitlines() == [f"{shop.name}  1 → 2", "~ timeout  30 → 45"]
    assert "\x1b[31m30\x1b[0m" in raw
    assert "\x1b[32m45\x1b[0m" in raw
    assert "no difference" in on_terminal("diff", shop.name, "2", "2", target=target)[0]


@pytest.mark.parametrize(("no_color", "term"), [("1", "xterm"), ("", "dumb")])
def test_no_color_and_a_dumb_terminal_turn_colours_off(
    target: str, shop: lamina.Config, no_color: str, term: str
) -> None:
    for arguments in (["log"], ["diff"], ["blame"], ["get"], ["set", "a=b", "--dry-run"]):
        line = [arguments[0], shop.name, *arguments[1:]]
        assert ESCAPE not in on_terminal(*line, target=target, NO_COLOR=no_color, TERM=term)[1]


def test_colours_can_be_forced_and_turned_off(cli: InProcess, target: str, shop: lamina.Config) -> None:
    """--color decides, then NO_COLOR, then FORCE_COLOR, then the terminal."""
    assert ESCAPE in cli.out("diff", shop.name, "--color=always")
    assert ESCAPE in cli.out("diff", shop.name, FORCE_COLOR="1")
    assert ESCAPE not in cli.out("diff", shop.name, FORCE_COLOR="1", NO_COLOR="1")
    assert ESCAPE in cli.out("--color=always", "diff", shop.name, NO_COLOR="1")
    assert ESCAPE not in cli.out("diff", shop.name)
    assert ESCAPE not in on_terminal("diff", shop.name, "--color=never", target=target, FORCE_COLOR="1")[1]


def test_value_and_message_survive_a_long_author(target: str, config_name: str) -> None:
    """A cell that is cut ends in an ellipsis."""
    author = "a-service-with-a-very-long-name@a-team.example.com"
    with lamina.connect(target, author=author) as client:
        cfg = client.config(config_name, create=True)
        cfg["a/key/of/some/length"] = "x" * 60
        cfg.commit("the reason is long, too, but its beginning can be read")
    for verb in (["blame"], ["log"], ["history", "a/key/of/some/length"]):
        line = on_terminal(verb[0], config_name, *verb[1:], target=target, COLUMNS="80")[0].splitlines()[1]
        assert len(line) <= 80
        assert "a-service" in line
        assert "the reaso" in line
        assert line.count("…") >= 2
    row = on_terminal("blame", config_name, target=target, COLUMNS="80")[0].splitlines()[1]
    assert "a/key/of" in row
    assert '"xxxxxx' in row


@pytest.mark.parametrize(
    ("widths", "room", "expected"), [([3, 4], 80, [3, 4]), ([3, 50, 60], 43, [3, 20, 20]), ([9, 9], 1, [1, 1])]
)
def test_columns_share_the_width(widths: list[int], room: int, expected: list[int]) -> None:
    assert fitted(widths, room) == expected


def test_an_empty_no_color_is_ignored(target: str, shop: lamina.Config) -> None:
    assert ESCAPE in on_terminal("diff", shop.name, target=target, NO_COLOR="")[1]


def test_long_lines_end_in_an_ellipsis(target: str, shop: lamina.Config) -> None:
    shop["long"] = "x" * 300
    shop.commit("m" * 300 + "\nmore")
    for verb in ("log", "blame"):
        assert max(map(len, on_terminal(verb, shop.name, target=target)[0].splitlines())) == 100
    assert "x" * 300 in on_terminal("get", shop.name, target=target)[0].replace("\n", "")
    assert "x" * 300 in on_terminal("diff", shop.name, target=target)[0].replace("\n", "")


@pytest.mark.parametrize(("verb", "paged"), [("log", True), ("diff", True), ("blame", True), ("get", False)])
def test_long_output_goes_to_the_pager(
    target: str, shop: lamina.Config, tmp_path: Path, verb: str, *, paged: bool
) -> None:
    pager, seen = tmp_path / "pager", tmp_path / "seen"
    pager.write_text(f'#!/bin/sh\n{{ echo "paged $1 LESS=$LESS"; cat; }} >{seen}\n', encoding="utf-8")
    pager.chmod(0o755)
    text, _ = on_terminal(verb, shop.name, target=target, PAGER=f"{shlex.quote(str(pager))} --x")
    assert seen.exists() is paged
    if paged:
        assert text == ""
        text = seen.read_text(encoding="utf-8")
        assert text.startswith("paged --x LESS=FRX\n")
        assert ESCAPE in text
    assert "timeout" in text


@pytest.mark.parametrize("pager", ["", "cat", "/no/such/pager", "'", "false"])
def test_without_a_usable_pager_the_output_is_printed(target: str, shop: lamina.Config, pager: str) -> None:
    text, _ = on_terminal("log", shop.name, target=target, PAGER=pager)
    assert ("first settings" in text) is (pager != "false")  # `false` reads nothing, and its user wanted that


# The signal is blocked and waited for, so it counts however early it comes. The `trap` of a shell misses a signal that
# comes just before its `read`.
PATIENT_PAGER = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
print(sys.stdin.read(), flush=True)
signal.sigwait({signal.SIGINT})
print("still here", flush=True)
with open("/dev/tty") as keyboard:
    keyboard.readline()
    print("got", keyboard.readline())
"""


def test_the_pager_handles_ctrl_c(target: str, shop: lamina.Config, tmp_path: Path) -> None:
    """A pager handles ^C itself, and the command waits for it. Otherwise two programs would read the keyboard."""
    pager = tmp_path / "pager"
    pager.write_text(f"#!{sys.executable}\n{PATIENT_PAGER}", encoding="utf-8")
    pager.chmod(0o755)
    with Terminal(LAMINA, "log", shop.name, target=target, PAGER=str(pager)) as terminal:
        terminal.until("first settings")
        terminal.press("\x03")
        terminal.until("still here")
        terminal.press("a\nb\n")
        terminal.until("got ")
        assert terminal.wait() in {0, 130}


def test_less_ends_by_itself_if_everything_fits(target: str, shop: lamina.Config) -> None:
    with Terminal(LAMINA, "log", shop.name, target=target, PAGER="less") as terminal:
        assert terminal.wait() == 0
        assert "first settings" in terminal.shown


def test_output_cannot_control_the_terminal(target: str, shop: lamina.Config) -> None:
    shop["evil"] = "\x1b]0;title\a\x1b[31m\u202e\x9b\n\tsecond line"
    shop.commit("\x1b]0;title\a\u202e")
    for arguments in (["get", "evil"], ["get"], ["log"], ["diff"], ["blame"], ["history", "evil"]):
        raw = on_terminal(arguments[0], shop.name, *arguments[1:], target=target, NO_COLOR="1")[1]
        assert not set(raw) & set("\x1b\a\u202e\x9b")
    for output in ("json", "yaml", "toml", "env"):
        code = 1 if output in {"toml", "env"} else 0  # these formats have no null
        raw = on_terminal("get", shop.name, "-o", output, target=target, code=code)[1]
        assert not set(raw) & set("\x1b\a\u202e\x9b")


def test_bytes_are_not_printed_to_a_terminal(target: str, shop: lamina.Config) -> None:
    assert "-o json" in on_terminal("get", shop.name, "blob", target=target, code=1)[0]
    assert on_terminal("get", shop.name, "blob", "-o", "json", target=target)[0] == '"AP8="\n'


def test_watch_prints_for_people_on_a_terminal(target: str, shop: lamina.Config) -> None:
    with Terminal(LAMINA, "watch", shop.name, target=target) as terminal:
        terminal.until(f"watching {shop.name} from version 2, Ctrl-C ends it")
        shop["timeout"] = 60
        shop.commit()
        line = terminal.until("45 → 60").splitlines()[-1]
        assert line.startswith(f"3  {datetime.now().astimezone():%H:}")
        terminal.press("\x03")
        terminal.until("to go on from here: --after ")
        assert terminal.wait() == 130


def test_import_shows_progress(target: str, config_name: str, tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(json.dumps({f"k{number}": "x" * 30 for number in range(10_100)}), encoding="utf-8")
    text, raw = on_terminal("import", config_name, str(path), "--create", "--batch", target=target)
    assert f"reading {path}" in text
    assert f"importing into {config_name}" in text
    assert "/10100 keys" in text
    assert text.splitlines()[-2] == f"{config_name} is now version 2 (10,100 added)"
    assert "\x1b[2K" in raw  # the bar is removed at the end


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "now"),
        (0, "now"),
        (9, "now"),
        (10, "10 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 hour ago"),
        (7200, "2 hours ago"),
        (86400, "1 day ago"),
        (6 * 86400, "6 days ago"),
    ],
)
def test_a_recent_time_is_relative(seconds: int, said: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_an_old_time_is_a_date() -> None:
    then = NOW - timedelta(days=7)
    assert ago(then, NOW) == then.astimezone().strftime("%Y-%m-%d %H:%M")


def test_the_export_of_a_history_shows_progress(target: str, shop: lamina.Config, tmp_path: Path) -> None:
    text, _ = on_terminal("export", shop.name, str(tmp_path / "shop.lamina"), "--history", target=target)
    assert f"exporting {shop.name}"[:20] in text
    assert "versions" in text
