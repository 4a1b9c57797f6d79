"""`lamina watch --exec`: one command for each version, its input, and its end."""

import json
import re
import shlex
import signal
import sys

import pytest

import lamina
from tests.cli.running import LAMINA, Terminal, end_of, line_of, run, started
from tests.cli.test_readme import README

SHOW = shlex.join(
    [
        sys.executable,
        "-c",
        "import json, os, sys; print(json.dumps([dict(os.environ), json.load(sys.stdin.buffer)]), flush=True)",
    ]
)
"""A command that prints its environment and its stdin."""
FOREVER = "echo started; sleep 1000; echo never"
ASKED = "print('asked', flush=True)"


def python(*lines: str) -> str:
    """Return a command that runs these lines. They wait for a signal with `sigwait`; a shell could miss it."""
    block = (
        "import signal as s",
        "s.pthread_sigmask(s.SIG_BLOCK, {s.SIGINT, s.SIGTERM})",
        "print('started', flush=True)",
    )
    return shlex.join([sys.executable, "-c", "\n".join([*block, *lines])])


def test_commands_run_once_for_each_version_in_order_and_one_at_a_time(target: str, shop: lamina.Config) -> None:
    """P9, P4: each command has the whole version, even with many keys."""
    for number in range(3, 13):
        shop |= {"a": number, "b": -number}
        shop.commit()
    command = 'echo "begin $LAMINA_CHANGE_VERSION"; cat; echo "end $LAMINA_CHANGE_VERSION"'
    with started("watch", shop.name, "--prefix", "a", "b", "--after", "1", "--exec", command, target=target) as process:
        for number in range(3, 13):
            assert line_of(process) == f"begin {number}\n"
            changes = json.loads(line_of(process))["changes"]
            assert [(change["key"], change["value"]) for change in changes] == [("a", number), ("b", -number)]
            assert line_of(process) == f"end {number}\n"


def test_a_command_has_the_version_on_stdin_and_in_its_environment(target: str, config_name: str) -> None:
    """The whole version is on stdin, a summary in the environment, and no variable comes from an outer watch."""
    with lamina.connect(target, author="grace o'ñ") as client:
        cfg = client.config(config_name, create=True)
        cfg |= {"gone": 1, "a b": b"\x00\xff"}
        cfg.commit()
        cfg |= {"a b": b"\x00", "new": {"x": [None]}}
        del cfg["gone"]
        version = cfg.commit('"two"\n$(lines) \\')
    environment = {"LAMINA_CHANGE_VALUE": "another's", "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = ("watch", config_name, "--after", "1", "--exec", SHOW)
    with started(*arguments, target=target, **environment) as process:
        variables, change = json.loads(line_of(process))
    time = version.time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert change == {
        "config": config_name,
        "version": 2,
        "author": "grace o'ñ",
        "message": '"two"\n$(lines) \\',
        "time": time,
        "changes": [
            {"key": "a b", "old": "AP8=", "value": "AA==", "deleted": False},
            {"key": "gone", "old": 1, "deleted": True},
            {"key": "new", "value": {"x": [None]}, "deleted": False},
        ],
        "cursor": f"2.{version.hash}",
    }
    given = {name: value for name, value in variables.items() if name.startswith("LAMINA_CHANGE")}
    assert given == {
        "LAMINA_CHANGE_CONFIG": config_name,
        "LAMINA_CHANGE_VERSION": "2",
        "LAMINA_CHANGE_AUTHOR": "grace o'ñ".encode().decode("ascii", "surrogateescape"),
        "LAMINA_CHANGE_MESSAGE": '"two"\n$(lines) \\',
        "LAMINA_CHANGE_TIME": time,
        "LAMINA_CHANGE_CURSOR": f"2.{version.hash}",
        "LAMINA_CHANGE_KEYS": "a b\ngone\nnew",
    }
    assert set(re.findall("LAMINA_CHANGE_[A-Z]+", README)) == {*given, "LAMINA_CHANGE_VALUE", "LAMINA_CHANGE_OLD"}


def test_a_single_key_has_its_values_in_the_environment(target: str, shop: lamina.Config) -> None:
    """A value that is too long for the environment is left out, not cut. The command need not read stdin."""
    fits = "é" + "x" * (128 * 1024 - len("LAMINA_CHANGE_VALUE=é".encode()) - len(b"\0"))
    for value in (fits, fits + "x", "", {"b": 1, "a": "é"}):
        shop["timeout"] = value
        shop.commit()
    del shop["timeout"]
    shop.commit()
    command = 'echo "${LAMINA_CHANGE_OLD-none} → ${LAMINA_CHANGE_VALUE-none}"'
    with started("watch", shop.name, "timeout", "--after", "0", "--exec", command, target=target) as process:
        lines = [line_of(process).rstrip("\n") for _ in range(7)]
    json_text = '{"a":"é","b":1}'
    assert lines[:2] == ["none → 30", "30 → 45"]
    assert lines[2:4] == [f"45 → {fits}", f"{fits} → none"]
    # The name of the other variable is shorter.
    assert lines[4:] == [f"{fits}x → ", f" → {json_text}", f"{json_text} → none"]


def test_a_command_does_not_commit_as_the_author_of_the_change(
    target: str, client: lamina.Client, shop: lamina.Config
) -> None:
    """`lamina` does not read these variables: the author of a change is not the author of the command's commits."""
    command = f"{LAMINA} set {shop.name} seen:=$LAMINA_CHANGE_VERSION"
    with started("watch", shop.name, "timeout", "--after", "1", "--exec", command, target=target) as process:
        assert line_of(process).startswith(f"{shop.name} is now version 3")
    newest = next(client.config(shop.name).log(limit=1))
    assert (newest.author, newest.changed_keys) == ("ada", ("seen",))


def test_a_command_that_fails_is_reported_and_the_watch_goes_on(target: str, shop: lamina.Config) -> None:
    for number in (60, 90):
        shop["timeout"] = number
        shop.commit()
    command = 'case $LAMINA_CHANGE_VERSION in 2) exit 3;; 3) kill -9 $$;; esac; echo "$LAMINA_CHANGE_VERSION"'
    with started("watch", shop.name, "--after", "1", "--exec", command, target=target) as process:
        assert line_of(process) == "4\n"
        assert process.stderr is not None
        assert process.stderr.readline() == "lamina: version 2: the command exited with 3\n"
        assert process.stderr.readline() == "lamina: version 3: the command was ended by SIGKILL\n"


def test_stop_on_error_ends_the_watch(target: str, shop: lamina.Config) -> None:
    """The message names the cursor from which this version is sent again."""
    watch = (
        "watch",
        shop.name,
        "--stop-on-error",
        "--exec",
        'echo "$LAMINA_CHANGE_VERSION"; ! test -e mark',
        "--after",
    )
    stopped = run(*watch[:4], "test $LAMINA_CHANGE_VERSION = 1", "--after", "0", target=target)
    said, _, cursor = stopped.stderr.strip().rpartition(" ")
    assert said == "lamina: version 2: the command exited with 1; to go on from there: --after"
    assert (stopped.returncode, stopped.stdout) == (1, "")
    with started(*watch, cursor, target=target) as process:
        assert line_of(process) == "2\n"


def test_bad_options_are_refused(target: str, shop: lamina.Config) -> None:
    assert run("watch", shop.name, "--stop-on-error", target=target).returncode == 2
    assert "--grace is for --exec" in run("watch", shop.name, "--grace", "1", target=target).stderr
    assert run("watch", shop.name, "--exec", "true", "-o", "json", target=target).returncode == 2


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)]
)
def test_a_signal_ends_the_command_too(target: str, shop: lamina.Config, number: int, expected: int) -> None:
    """No process of the command stays, and the version is sent again next time."""
    with started("watch", shop.name, "--after", "1", "--exec", FOREVER, target=target) as process:
        assert line_of(process) == "started\n"
        code, printed, said = end_of(process, number)  # waits for the pipe's end, which an orphan would hold open
    assert (code, printed) == (expected, "")
    assert said == "lamina: to go on from here: --after 1\n"


def test_a_version_is_done_if_its_command_ends_with_0_after_a_signal(target: str, shop: lamina.Config) -> None:
    command = "trap 'exit 0' INT; " + python("s.sigwait({s.SIGINT})", "print('finished')")
    with started("watch", shop.name, "--after", "1", "--exec", command, target=target) as process:
        assert line_of(process) == "started\n"
        code, printed, said = end_of(process, signal.SIGINT)
    assert (code, printed) == (130, "finished\n")
    assert said.startswith("lamina: to go on from here: --after 2.")


def test_the_watch_waits_for_processes_that_the_shell_left(target: str, shop: lamina.Config) -> None:
    """A shell may end at once while its commands still clean up."""
    command = "{ " + python("s.sigwait({s.SIGTERM})", "s.sigtimedwait({s.SIGINT}, 0.3)", "print('tidy')") + "; } >&2"
    with started("watch", shop.name, "--after", "1", "--exec", command, target=target) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "started\n"
        code, _, said = end_of(process, signal.SIGTERM)
    assert (code, said) == (-signal.SIGTERM, "tidy\nlamina: to go on from here: --after 1\n")


def test_a_second_signal_kills_a_command(target: str, shop: lamina.Config) -> None:
    command = python("s.sigwait({s.SIGINT})", ASKED, "s.pause()")
    arguments = ("watch", shop.name, "--after", "1", "--grace", "1000", "--exec", command)
    with started(*arguments, target=target) as process:
        assert line_of(process) == "started\n"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "asked\n"
        code, printed, said = end_of(process, signal.SIGINT)
    assert (code, printed, said) == (130, "", "lamina: to go on from here: --after 1\n")


def test_a_command_that_does_not_end_is_killed(target: str, shop: lamina.Config) -> None:
    arguments = ("watch", shop.name, "--after", "1", "--grace", "0.05", "--exec", python("s.pause()"))
    with started(*arguments, target=target) as process:
        assert line_of(process) == "started\n"
        code, printed, said = end_of(process, signal.SIGINT)
    assert (code, printed, said) == (130, "", "lamina: to go on from here: --after 1\n")


def test_ctrl_c_at_a_terminal_reaches_the_command_once(target: str, shop: lamina.Config) -> None:
    """The terminal sends it; and the command may read from the terminal."""
    asking = "print('got', open('/dev/tty').readline(), flush=True)"
    counting = "print('asked', [s.sigwait({s.SIGINT}), s.sigtimedwait({s.SIGINT}, 0.2)].count(None))"
    command = "exec " + python(asking, counting, "raise SystemExit(1)")
    with Terminal(LAMINA, "watch", shop.name, "--after", "1", "--exec", command, target=target) as terminal:
        terminal.until("started")
        terminal.press("k\n")
        terminal.until("got k")
        terminal.press("\x03")
        assert terminal.wait() == 130
        assert "asked 1" in terminal.shown
        assert terminal.shown.endswith("lamina: to go on from here: --after 1\n")
