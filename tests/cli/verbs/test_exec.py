"""`lamina exec`: a command with the map as its environment, run once or restarted with each new map."""

import ast
import json
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest

import lamina
from tests.cli.running import LAMINA, InProcess, Terminal, end_of, line_of, run, started
from tests.support import absent
from tests.support.server import ServerProcess

SHOW = (sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
_LINES = (
    "import os, subprocess",
    "child = subprocess.Popen(['sleep', '1000'])",
    "print(os.environ['LAMINA_EXEC_VERSION'], os.environ['timeout'], flush=True)",
    "child.wait()",
)
FOREVER = (sys.executable, "-c", "\n".join(_LINES))
"""A command with a child: if only the command is ended, the child still holds the pipe."""


def waiting(*lines: str) -> tuple[str, ...]:
    """Return a command that prints its version and then runs these lines. They wait with `sigwait`."""
    block = (
        "import os, signal as s",
        "every = {s.SIGINT, s.SIGTERM, s.SIGHUP, s.SIGUSR1}",
        "s.pthread_sigmask(s.SIG_BLOCK, every)",
        "print(os.environ['LAMINA_EXEC_VERSION'], flush=True)",
    )
    return (sys.executable, "-c", "\n".join([*block, *lines]))


@pytest.fixture
def small(client: lamina.Client, config_name: str) -> lamina.Config:
    """A config at version 1, with one key."""
    cfg = client.config(config_name, create=True)
    cfg["timeout"] = 30
    cfg.commit()
    return cfg


def test_the_map_is_the_command_s_environment(target: str, client: lamina.Client, config_name: str) -> None:
    """It has the variables of `get -o env` over the inherited ones, in UTF-8 in every locale."""
    cfg = client.config(config_name, create=True)
    cfg |= {"db/host": "it's\nñ", "9": 1.5, "on": True, "list": [1, {"b": "é"}], "blob": b"\x00\xff", "HOME": "/x"}
    cfg.commit()
    cfg["on"] = False
    cfg.commit()
    locale = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LAMINA_EXEC_VERSION": "another's"}
    done = run("exec", cfg.name, "--", "env", "PYTHONUTF8=1", *SHOW, target=target, environment=locale)
    given = json.loads(done.stdout)
    expected = {"db_host": "it's\nñ", "_9": "1.5", "on": "false", "list": '[1,{"b":"é"}]', "blob": "AP8=", "HOME": "/x"}
    expected |= {"LAMINA_EXEC_CONFIG": cfg.name, "LAMINA_EXEC_VERSION": "2", "LAMINA_TARGET": target}
    assert expected.items() <= given.items()
    then = run("exec", cfg.name, "--at", "1", "--", *SHOW, target=target)
    assert json.loads(then.stdout)["on"] == "true"


def test_keys_can_be_selected(cli: InProcess, target: str, client: lamina.Client, config_name: str) -> None:
    """Keys are selected by name and by prefix, the prefix stays in the names, and --upper makes upper case."""
    cfg = client.config(config_name, create=True)
    cfg |= {"db/host": "h1", "db/port": 5432, "dbx": "no", "timeout": 30, "日本": "no"}
    cfg.commit()
    known = "{'db_host', 'db_port', 'dbx', 'timeout'}"
    script = f"import os; print({{n: v for n, v in os.environ.items() if n.lower() in {known}}})"
    show = ("--", sys.executable, "-c", script)
    assert "env cannot hold 日本: " in run("exec", cfg.name, *show, target=target).stderr
    found = run("exec", cfg.name, "timeout", "--prefix", "db/", *show, target=target).stdout
    assert ast.literal_eval(found) == {"db_host": "h1", "db_port": "5432", "timeout": "30"}
    found = run("exec", "--upper", "--prefix", "db/", cfg.name, *show, target=target).stdout
    assert ast.literal_eval(found) == {"DB_HOST": "h1", "DB_PORT": "5432"}
    missing = cli("exec", cfg.name, "nope", "--prefix", "no/", *show, code=4).stderr
    assert missing == f"lamina: {cfg.name} has no key nope\n"
    cli("exec", cfg.name, "timeout", "--", code=2)


def test_a_key_that_is_not_selected_restarts_nothing(target: str, small: lamina.Config) -> None:
    arguments = (
        "exec",
        small.name,
        "timeout",
        "--restart",
        "--upper",
        "--",
        "sh",
        "-c",
        "echo $TIMEOUT; exec sleep 1000",
    )
    with started(*arguments, target=target) as process:
        assert line_of(process) == "30\n"
        small["other"] = 1
        small.commit()
        small["timeout"] = 45
        small.commit()
        assert line_of(process) == "45\n"
        _, _, said = end_of(process, signal.SIGTERM)
    assert said == "lamina: version 3: the command is started again\n"


def test_the_command_replaces_the_process(target: str, small: lamina.Config) -> None:
    """The command has the process, its signals and its exit code, and no settings of Python."""
    command = ("sh", "-c", "echo $$; grep SigIgn /proc/$$/status; ls /proc/$$/fd | wc -l; exec sleep 1000")
    with started("exec", small.name, "--", *command, target=target) as process:
        assert line_of(process) == f"{process.pid}\n"
        ignored = int(line_of(process).split()[1], 16)
        assert not ignored & 1 << signal.SIGPIPE - 1
        assert int(line_of(process)) <= 4
        assert end_of(process, signal.SIGTERM) == (-signal.SIGTERM, "", "")
    assert run("exec", small.name, "--", "sh", "-c", "exit 7", target=target).returncode == 7
    assert run("exec", "--", small.name, "printf", "%s", "-o", target=target).stdout == "-o"


def test_a_command_that_cannot_start_is_an_error(target: str, small: lamina.Config, tmp_path: Path) -> None:
    for restart in ((), ("--restart",)):
        done = run("exec", small.name, *restart, "--", "no-such-command", target=target)
        assert (done.returncode, done.stderr) == (
            127,
            "lamina: no-such-command does not start: No such file or directory\n",
        )
    assert run("exec", small.name, "--", tmp_path, target=target).returncode == 126


def test_a_map_that_is_no_environment_is_refused(
    cli: InProcess, target: str, small: lamina.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.execvpe")  # otherwise it would replace the process of the tests
    for entries, said in (
        ({"a/b": 1, "a-b": 1}, "a-b and a/b would both be the variable a_b"),
        ({"n": None}, "env cannot hold n: it has no null"),
        ({"long": "x" * 131_067}, "env cannot hold long: it is longer than the system takes (128 KiB)"),
        ({f"k{n}": "x" * 131_000 for n in range(60)}, f"env cannot hold {small.name}: as a whole"),
    ):
        small.clear()
        for batch in (list(entries)[index : index + 30] for index in range(0, len(entries), 30)):
            small |= {key: entries[key] for key in batch}
            small.commit()
        for restart in ((), ("--restart",)):
            assert said in cli("exec", small.name, *restart, "--", "true", code=1).stderr
    small.clear()
    small["long"] = "x" * 131_066  # 128 KiB with its name, "=" and the final NUL
    small.commit()
    assert run("exec", small.name, "--", "true", target=target).returncode == 0


def test_bad_options_are_refused(cli: InProcess, small: lamina.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.execvpe")
    for arguments in (
        ("--grace", "1", "--", "true"),
        ("--jitter", "1", "--", "true"),
        ("--signal", "HUP", "--", "true"),
        ("--restart", "--signal", "NONE", "--", "true"),
        ("--restart", "--at", "1", "--", "true"),
        ("--restart", "--jitter", "100000", "--", "true"),
        ("--restart", "--jitter", "nan", "--", "true"),
        ("--restart", "--grace", "nan", "--", "true"),
        ("--restart", "--", ""),
        ("--", ""),
        ("-o", "json", "--", "true"),
        ("--",),
    ):
        cli("exec", small.name, *arguments, code=2)
    cli("-o", "json", "exec", small.name, "--", "true", code=2)
    cli("exec", f"{small.name}-none", "--", "true", code=4)


def test_the_command_is_restarted_with_each_new_environment(target: str, small: lamina.Config) -> None:
    """Its children are ended too."""
    with started("exec", small.name, "--restart", "--jitter", "0.01", "--", *FOREVER, target=target) as process:
        assert line_of(process) == "1 30\n"
        small["timeout"] = 45
        small.commit()
        assert line_of(process) == "2 45\n"
        # This waits for the pipe's end, which an orphan would hold open.
        code, printed, said = end_of(process, signal.SIGTERM)
    assert (code, printed) == (-signal.SIGTERM, "")
    assert said == "lamina: version 2: the command is started again\n"


def test_the_same_environment_restarts_nothing(target: str, small: lamina.Config) -> None:
    """The new text equals the old number. The first signal that arrives shows whether there was a restart."""
    command = waiting("while True: print(s.sigwait(every).name, flush=True)")
    with started("exec", small.name, "--restart", "--", *command, target=target) as process:
        assert line_of(process) == "1\n"
        small["timeout"] = "30"
        small.commit()
        small["timeout"] = None  # this is printed, so earlier versions have arrived
        small.commit()
        assert process.stderr is not None
        assert "version 3: env cannot hold timeout" in process.stderr.readline()
        process.send_signal(signal.SIGUSR1)
        assert line_of(process) == "SIGUSR1\n"


def test_the_signal_can_be_chosen(target: str, small: lamina.Config) -> None:
    command = waiting("print(s.sigwait(every).name, flush=True)")
    with started("exec", small.name, "--restart", "--signal", "usr1", "--", *command, target=target) as process:
        assert line_of(process) == "1\n"
        small["timeout"] = 45
        small.commit()
        assert [line_of(process), line_of(process)] == ["SIGUSR1\n", "2\n"]


def test_a_command_that_does_not_end_is_killed_after_the_grace(target: str, small: lamina.Config) -> None:
    command = waiting("s.pause()")
    with started("exec", small.name, "--restart", "--grace", "0.1", "--", *command, target=target) as process:
        assert line_of(process) == "1\n"
        small["timeout"] = 45
        small.commit()
        assert line_of(process) == "2\n"
        assert end_of(process, signal.SIGINT)[0] == 128 + signal.SIGKILL


def test_changes_during_the_grace_are_one_restart(target: str, small: lamina.Config) -> None:
    """The command goes on until USR1, which is passed on; by then there are two more versions."""
    command = waiting("s.sigwait({s.SIGTERM})", "print('asked', flush=True)", "s.sigwait({s.SIGUSR1})")
    with started("exec", small.name, "--restart", "--grace", "1000", "--", *command, target=target) as process:
        assert line_of(process) == "1\n"
        small["timeout"] = 45
        small.commit()
        assert line_of(process) == "asked\n"
        small["timeout"] = 60
        small.commit()
        small["timeout"] = None  # this is printed on stderr, so earlier versions have arrived
        small.commit()
        assert process.stderr is not None
        assert process.stderr.readline().startswith("lamina: version 4: env cannot hold timeout: it has no null; ")
        process.send_signal(signal.SIGUSR1)
        assert line_of(process) == "3\n"
        small["timeout"] = 90
        small.commit()
        assert line_of(process) == "asked\n"


def test_signals_are_passed_on(target: str, small: lamina.Config) -> None:
    command = waiting("for _ in range(3): print(s.sigwait(every).name, flush=True)", "raise SystemExit(9)")
    with started("exec", small.name, "--restart", "--", *command, target=target) as process:
        assert line_of(process) == "1\n"
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
            process.send_signal(number)
            assert line_of(process) == f"{number.name}\n"
        assert end_of(process) == (9, "", "")


@pytest.mark.parametrize(("script", "expected"), [("exit 7", 7), ("kill -TERM $$", -15), ("kill -KILL $$", 137)])
def test_exec_ends_with_its_command(target: str, small: lamina.Config, script: str, expected: int) -> None:
    assert run("exec", small.name, "--restart", "--", "sh", "-c", script, target=target).returncode == expected


def test_exec_follows_through_restarts_of_the_server(config_name: str, tmp_path: Path) -> None:
    """If the server has lost its database, it continues with the new one."""
    database = tmp_path / "lamina.db"

    def put(timeout: int) -> None:
        with lamina.connect(server.target) as client:
            cfg = client.config(config_name, create=True)
            cfg["timeout"] = timeout
            cfg.commit()

    with ServerProcess(f"sqlite:///{database}") as server:
        put(30)
        arguments = ("exec", config_name, "--restart", "--", *FOREVER)
        with started(*arguments, target=server.target) as process:
            assert line_of(process) == "1 30\n"
            server.kill()
            server.restart()
            put(45)
            assert line_of(process) == "2 45\n"
            server.kill()
            for file in tmp_path.glob("lamina.db*"):
                file.unlink()
            server.restart()
            put(60)
            assert line_of(process) == "1 60\n"
            code, printed, said = end_of(process, signal.SIGTERM)
    assert (code, printed) == (-signal.SIGTERM, "")
    assert f"; the command runs on, and {config_name} is asked for again\n" in said


def test_exec_starts_without_a_server(config_name: str, tmp_path: Path) -> None:
    """It starts from its last-known-good file and says so, and continues when a server answers."""
    environment = {"LAMINA_CACHE_DIR": str(tmp_path / "cache"), "LAMINA_TIMEOUT": "0.3"}
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server:
        cfg = lamina.connect(server.target).config(config_name, create=True)
        cfg["timeout"] = 30
        cfg.commit()
        once = ("exec", config_name, "--", "sh", "-c", "echo $timeout")
        assert run(*once, target=server.target, environment={**environment, "LAMINA_TIMEOUT": "30"}).stdout == "30\n"
        server.kill()
        done = run(*once, target=server.target, environment=environment)
        assert (done.returncode, done.stdout) == (0, "30\n")
        assert f"{config_name}: from its last-known-good file, version 1, " in done.stderr
        kept = ("exec", config_name, "--restart", "--", *FOREVER)
        with started(*kept, target=server.target, **environment) as process:
            assert line_of(process) == "1 30\n"
            server.restart()
            cfg["timeout"] = 45
            cfg.commit()
            assert line_of(process) == "2 45\n"
            assert end_of(process, signal.SIGTERM)[0] == -signal.SIGTERM
        server.kill()
        nothing = run("get", config_name, target=server.target, environment=environment)
        assert (nothing.returncode, nothing.stdout) == (5, "")


def test_the_command_has_the_terminal(target: str, small: lamina.Config) -> None:
    """The command has the terminal: it can read, ^C reaches it once, and ^Z stops it and its children until fg."""
    bash = shutil.which("bash") or absent("bash", "apt install bash")
    reading = "import os\nwhile True: print('v' + os.environ['LAMINA_EXEC_VERSION'], 'got', input(), flush=True)"
    line = shlex.join([str(LAMINA), "exec", small.name, "--restart", "--", sys.executable, "-c", reading])
    with Terminal(bash, "--norc", "--noprofile", "-i", target=target) as terminal:
        terminal.press("PS1='$ '; echo re\"\"ady\n")
        terminal.until("\nready")
        terminal.press(f"{line}\n")
        terminal.press("first\n")
        terminal.until("v1 got first")
        small["timeout"] = 45
        small.commit()
        terminal.until("version 2: the command is started again")
        terminal.press("second\n")
        terminal.until("v2 got second")
        terminal.press("\x1a")
        terminal.until("Stopped")
        terminal.press("fg\n")
        terminal.press("third\n")
        terminal.until("v2 got third")
        terminal.press("\x03")
        terminal.until("KeyboardInterrupt")
        terminal.press('echo ba""ck\n')
        terminal.until("\nback")
        assert terminal.shown.count("KeyboardInterrupt") == 1


def test_a_command_that_was_stopped_for_a_terminal_that_it_has_goes_on(target: str, small: lamina.Config) -> None:
    """If it reads at the moment at which it gets the terminal, the system may stop it afterwards."""
    stopping = "import os, signal\nos.kill(os.getpid(), signal.SIGTTIN)\nprint('got', input(), flush=True)"
    with Terminal(
        LAMINA, "exec", small.name, "--restart", "--", sys.executable, "-c", stopping, target=target
    ) as shown:
        shown.press("first\n")
        shown.until("got first")
        assert shown.wait() == 0


def test_a_dry_run_needs_no_command(cli: InProcess, small: lamina.Config) -> None:
    assert cli.out("exec", small.name, "--dry-run") == "timeout=30\n"
    assert "CMD is missing: write it after --" in cli("exec", small.name, code=2).stderr
    assert "CMD is missing" in cli("exec", small.name, "timeout", "--", code=2).stderr
