"""`lamina watch` as a process: what it prints, where it begins, and what it outlives."""

import json
import re
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import lamina
from tests.cli.running import WAIT_SECONDS, end_of, line_of, run, started
from tests.support.server import ServerProcess


def sides_of(line: str) -> str:
    """Give what follows version, time and author."""
    return " ".join(line.split()[3:])


def test_it_prints_changes_as_they_come_and_ends_on_ctrl_c(target: str, shop: lamina.Config) -> None:
    with started("watch", shop.name, "--after", "1", target=target) as process:
        assert line_of(process).split("  ", 2)[2] == "bob  ~ timeout  30 → 45\n"
        shop["timeout"], shop["new"] = 60, [1]
        del shop["name"]
        shop.commit("live")
        assert [line_of(process).split("  ", 3)[3] for _ in range(3)] == [
            '- name     "shop"\n',
            "+ new      [1]\n",
            "~ timeout  45 → 60\n",
        ]
        code, printed, said = end_of(process, signal.SIGINT)
    assert (code, printed) == (130, "")
    # That of the last version that was dealt with: 2, if Ctrl-C came before the watch had turned to what comes next.
    assert re.fullmatch(r"lamina: to go on from here: --after [23]\.[0-9a-f]{64}\n", said)


def test_json_has_the_value_before(target: str, shop: lamina.Config) -> None:
    """One object a change, by the SDK's names; what has no value is left out."""
    shop["timeout"], shop["new"] = 30, True  # back to what it was once
    shop.commit("undo")
    del shop["new"]
    shop.commit()
    with started("watch", shop.name, "--after", "0", "-o", "json", target=target) as process:
        changes = [json.loads(line_of(process)) for _ in range(12)]
    assert [change["version"] for change in changes] == [1] * 8 + [2, 3, 3, 4]
    assert [change["key"] for change in changes if "cursor" in change] == ["timeout"] * 3 + ["new"]  # each one's last
    assert changes[0] | {"time": ""} == {
        "key": "blob", "value": "AP8=", "deleted": False, "version": 1, "author": "bob", "message": "first settings",
        "time": "",
    }  # fmt: skip

    def told(change: dict[str, Any]) -> tuple[Any, ...]:
        return change["key"], change.get("old", "none"), change.get("value", "none")

    assert list(map(told, changes[7:])) == [
        ("timeout", "none", 30),
        ("timeout", 30, 45),
        ("new", "none", True),
        ("timeout", 45, 30),
        ("new", True, "none"),
    ]


def test_it_goes_on_after_a_cursor_and_knows_what_was_before(target: str, shop: lamina.Config) -> None:
    with started("watch", shop.name, "--after", "0", "-o", "json", target=target) as process:
        cursor = [json.loads(line_of(process)) for _ in range(8)][-1]["cursor"]
    del shop["on"]
    shop.commit()
    with started("watch", shop.name, "--after", cursor, target=target) as process:
        assert sides_of(line_of(process)) == "~ timeout 30 → 45"
        assert sides_of(line_of(process)) == "- on true"


def test_it_goes_on_after_a_time_and_knows_what_was_before(
    target: str, client: lamina.Client, shop: lamina.Config
) -> None:
    newest, oldest = client.config(shop.name).log()
    with started("watch", shop.name, "--after", oldest.time.isoformat(), target=target) as process:
        assert sides_of(line_of(process)) == "~ timeout 30 → 45"
        shop["timeout"] = 60
        shop.commit()
        assert sides_of(line_of(process)) == "~ timeout 45 → 60"
    with started("watch", shop.name, "--after", "1w", target=target) as process:  # when there was nothing yet
        assert sides_of(line_of(process)) == "+ blob !!binary AP8="
    assert newest.number == 2


def test_keys_and_prefixes(target: str, shop: lamina.Config) -> None:
    shop |= {"db/host": "h1", "web/host": "h2", "name": "store", "timeout": 60}
    shop.commit()
    shop |= {"db/host": "h3", "db/port": 1, "name": "shop", "ratio": 0.7}
    del shop["web/host"]
    shop.commit()
    arguments = ("watch", shop.name, "name", "--prefix", "db/", "--prefix", "web/", "--after", "3")
    with started(*arguments, target=target) as process:
        assert [sides_of(line_of(process)) for _ in range(4)] == [
            '~ db/host "h1" → "h3"',
            "+ db/port 1",
            '~ name "store" → "shop"',
            '- web/host "h2"',
        ]


def test_what_is_not(target: str, shop: lamina.Config) -> None:
    assert run("watch", shop.name, "--after", "nonsense", target=target).returncode == 2
    assert run("watch", shop.name, "--after", f"9.{'0' * 64}", target=target).returncode == 1
    assert run("watch", shop.name, "--after", f"1.{'0' * 64}", target=target).returncode == 1
    assert run("watch", shop.name, "--after", "99", target=target).returncode == 4


def test_a_config_that_does_not_exist_yet(target: str, client: lamina.Client, config_name: str) -> None:
    """After 0 any config can be watched; without, a name that is not there is a mistake (exit 4, see test_reading)."""
    with started("watch", config_name, "--after", "0", target=target) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"lamina: {config_name} does not exist yet: waiting for its first version\n"
        cfg = client.config(config_name, create=True)
        cfg["x"] = 1
        cfg.commit()
        assert sides_of(line_of(process)) == "+ x 1"


def test_it_outlives_a_server(tmp_path: Path) -> None:
    """P9: across a crash and a restart nothing is missed, nothing comes twice, and the values before are right."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server, lamina.connect(server.target) as client:
        cfg = client.config("shop", create=True)
        cfg |= {"x": 0, "y": "kept"}
        cfg.commit()
        with started("watch", "shop", "--after", "1", target=server.target) as process:
            cfg["x"] = 1
            cfg.commit()
            lines = [line_of(process)]
            server.kill()
            server.restart()
            cfg["x"] = 2
            cfg.commit()
            del cfg["y"]
            cfg.commit()
            lines += [line_of(process), line_of(process)]
            code, printed, _ = end_of(process, signal.SIGINT)
    assert list(map(sides_of, lines)) == ["~ x 0 → 1", "~ x 1 → 2", '- y "kept"']
    assert (code, printed) == (130, "")


def test_a_slow_reader_gets_everything_and_one_that_is_gone_ends_it(target: str, shop: lamina.Config) -> None:
    """A full pipe makes the watch wait; a closed one ends it, though nothing more is committed."""
    for number in range(30):
        shop["text"] = str(number) * 10_000  # more than a pipe holds
        shop.commit()
    with started("watch", shop.name, "text", "--after", "0", "-o", "json", target=target) as process:
        first = line_of(process)
        shop["text"] = "last"
        shop.commit()
        changes = [json.loads(line) for line in (first, *(line_of(process) for _ in range(30)))]
        assert [change["version"] for change in changes] == list(range(3, 34))
        assert all(late["old"] == early["value"] for early, late in pairwise(changes))
        assert end_of_reader(process) == (0, "")


def test_a_closed_pipe_ends_it_while_it_prints(target: str, shop: lamina.Config) -> None:
    shop["text"] = "x" * 1_000_000  # far more than a pipe holds
    shop.commit()
    with started("watch", shop.name, "--after", "1", target=target) as process:
        assert sides_of(line_of(process)) == "~ timeout 30 → 45"
        assert end_of_reader(process) == (0, "")


def end_of_reader(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Close the pipe that it prints into, and wait for its end; give exit code and stderr."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    return process.wait(WAIT_SECONDS), said
