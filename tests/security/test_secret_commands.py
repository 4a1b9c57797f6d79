"""Secrets in commands that the command line runs, on a terminal, and in watches: real processes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from lamina import testing
from lamina.cli.output.text import MASK
from tests.cli.running import LAMINA, Terminal, line_of, run, started
from tests.cli.secret_shop import CANARY, new_shop, secret_of


@pytest.fixture
def server() -> Iterator[testing.Server]:
    with testing.server() as made:
        yield made


@pytest.fixture
def target(server: testing.Server) -> str:
    return server.target


@pytest.fixture
def shop(server: testing.Server) -> lamina.Config:
    return new_shop(server, "shop")


def test_exec_without_a_server_says_which_secrets_it_lacks(
    server: testing.Server, shop: lamina.Config, tmp_path: Path
) -> None:
    environment = {"LAMINA_CACHE_DIR": str(tmp_path), "LAMINA_TIMEOUT": "5"}
    assert run("exec", shop.name, "--", "true", target=server.target, environment=environment).returncode == 0
    with server.down():
        done = run("exec", shop.name, "--", "echo", "ran", target=server.target, environment=environment)
        plain = run("exec", shop.name, "x", "--", "echo", "ran", target=server.target, environment=environment)
    assert (done.returncode, done.stdout) == (5, "")
    assert "the secret 'db/pw'" in done.stderr
    assert "is not in the last-known-good file" in done.stderr
    assert "not revealed either: dsn, pem" in done.stderr
    assert (plain.returncode, plain.stdout) == (0, "ran\n")


def test_exec_reveals_and_its_dry_run_does_not(shop: lamina.Config, target: str) -> None:
    done = run("exec", shop.name, "--", "sh", "-c", 'echo "$db_pw $dsn $pem $x"', target=target)
    assert done.stdout == f'{CANARY} {{"pw":"{CANARY}","user":"u"}} AP8= 1\n'
    dry = run("exec", shop.name, "db/pw", "x", "--dry-run", "--", "false", target=target)
    assert (dry.returncode, dry.stdout) == (0, f"# db_pw={MASK}\nx=1\n")


def test_set_asks_on_a_terminal_without_an_echo(shop: lamina.Config, target: str) -> None:
    with Terminal(LAMINA, "set", shop.name, "--secret", "db/pw", target=target) as terminal:
        for again in ("typed-two", "typed-one"):
            terminal.until("Secret for db/pw:")
            terminal.press("typed-one\n")
            terminal.until("The same again:")
            terminal.forget()
            terminal.press(f"{again}\n")
        assert terminal.wait() == 0
        assert "typed" not in terminal.raw
    assert secret_of(shop, "db/pw") == "typed-one"


def test_bisect_gives_the_command_the_secrets(shop: lamina.Config, target: str) -> None:
    shop["db/pw"] = lamina.Secret("bad")
    shop.commit()
    done = run("bisect", shop.name, "1", "2", "--", "sh", "-c", '[ "$db_pw" != bad ] && grep -qv bad', target=target)
    assert done.returncode == 0, done.stderr
    assert f"~ db/pw  {MASK} → {MASK}" in done.stdout
    assert "1 of 1 changed key to blame" in done.stdout


def test_watch_prints_masks(shop: lamina.Config, target: str) -> None:
    for output, shown in (("text", MASK), ("json", '{"secret": true}')):
        with started("watch", shop.name, "db/pw", "--after", "0", "-o", output, target=target) as process:
            line = line_of(process)
            assert shown in line
            assert CANARY not in line


def test_watch_masks_and_its_command_has_the_secrets(shop: lamina.Config, target: str, tmp_path: Path) -> None:
    line = f'cat >>{tmp_path}/json; echo "$LAMINA_CHANGE_OLD $LAMINA_CHANGE_VALUE" >{tmp_path}/done; kill -INT $PPID'
    shop["db/pw"] = lamina.Secret("second")
    shop.commit()
    run("watch", shop.name, "db/pw", "--after", "1", "--exec", line, target=target)
    (change,) = json.loads((tmp_path / "json").read_text(encoding="utf-8"))["changes"]
    assert (change["old"], change["value"]) == (CANARY, "second")
    assert (tmp_path / "done").read_text(encoding="utf-8") == f"{CANARY} second\n"
