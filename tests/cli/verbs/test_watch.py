"""`lamina watch` as a process: its output, its beginning, and restarts of the server."""

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
    """Return the part of a line after version, time and author."""
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
    # The cursor of the last version that was printed in full: 2, if Ctrl-C came before the watch had moved on.
    assert re.fullmatch(r"lamina: to go on from here: --after [23]\.[0-9a-f]{64}\n", said)


def test_json_has_the_value_before(target: str, shop: lamina.Config) -> None:
    """There is one object for each change, with the SDK's names; a field without a value is left out."""
    shop["timeout"], shop["new"] = 30, True  # the value of version 1 again
    shop.commit("undo")
    del shop["new"]
    shop.commit()
    with started("watch", shop.name, "--after", "0", "-o", "json", target=target) as process:
        changes = [json.loads(line_of(process)) for _ in range(12)]
    assert [change["version"] for change in changes] == [1] * 8 + [2, 3, 3, 4]
    # The last change of each version has a cursor.
    assert [change["key"] for change in changes if "cursor" in change] == ["timeout"] * 3 + ["new"]
    assert changes[0] | {"time": ""} == {
        "key": "blob", "value": "AP8=", "deleted": False, "version": 1, "author": "bob", "message": "first settings",
        "time": "",
    }  # fmt: skip

    def fields_of(change: dict[str, Any]) -> tuple[Any, ...]:
        return change["key"], change.get("old", "none"), change.get("value", "none")

    assert list(map(fields_of, changes[7:])) == [
        ("timeout", "none", 30),
        ("timeout", 30, 45),
        ("new", "none", True),
        ("timeout", 45, 30),
        ("new", True, "none"),
    ]


def test_watch_resumes_after_a_cursor_with_the_old_values(target: str, shop: lamina.Config) -> None:
    with started("watch", shop.name, "--after", "0", "-o", "json", target=target) as process:
        cursor = [json.loads(line_of(process)) for _ in range(8)][-1]["cursor"]
    del shop["on"]
    shop.commit()
    with started("watch", shop.name, "--after", cursor, target=target) as process:
        assert sides_of(line_of(process)) == "~ timeout 30 → 45"
        assert sides_of(line_of(process)) == "- on true"


def test_watch_resumes_after_a_time_with_the_old_values(
    target: str, client: lamina.Client, shop: lamina.Config
) -> None:
    newest, oldest = client.config(shop.name).log()
    with started("watch", shop.name, "--after", oldest.time.isoformat(), target=target) as process:
        assert sides_of(line_of(process)) == "~ timeout 30 → 45"
        shop["timeout"] = 60
        shop.commit()
        assert sides_of(line_of(process)) == "~ timeout 45 → 60"
    with started("watch", shop.name, "--after", "1w", target=target) as process:  # before the first version
        assert sides_of(line_of(process)) == "+ blob !!binary AP8="
    assert newest.number == 2


def test_watch_filters_by_keys_and_prefixes(target: str, shop: lamina.Config) -> None:
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


def test_bad_arguments_are_refused(target: str, shop: lamina.Config) -> None:
    assert run("watch", shop.name, "--after", "nonsense", target=target).returncode == 2
    assert run("watch", shop.name, "--after", f"9.{'0' * 64}", target=target).returncode == 1
    assert run("watch", shop.name, "--after", f"1.{'0' * 64}", target=target).returncode == 1
    assert run("watch", shop.name, "--after", "99", target=target).returncode == 4


def test_a_config_can_be_watched_before_it_exists(target: str, client: lamina.Client, config_name: str) -> None:
    """`--after 0` can watch any config. Without it, a missing config is an error (exit code 4)."""
    with started("watch", config_name, "--after", "0", target=target) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"lamina: {config_name} does not exist yet: waiting for its first version\n"
        cfg = client.config(config_name, create=True)
        cfg["x"] = 1
        cfg.commit()
        assert sides_of(line_of(process)) == "+ x 1"


def test_watch_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    """P9: across a crash and a restart, no change is missed or doubled, and the old values are right."""
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


def test_a_slow_reader_gets_everything_and_a_closed_pipe_ends_the_watch(target: str, shop: lamina.Config) -> None:
    """A full pipe makes the watch wait; a closed pipe ends it, even without another commit."""
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


def test_a_pipe_that_closes_during_output_ends_the_watch(target: str, shop: lamina.Config) -> None:
    shop["text"] = "x" * 1_000_000  # far more than a pipe holds
    shop.commit()
    with started("watch", shop.name, "--after", "1", target=target) as process:
        assert sides_of(line_of(process)) == "~ timeout 30 → 45"
        assert end_of_reader(process) == (0, "")


def end_of_reader(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Close the pipe that it prints into, and wait for its end; return exit code and stderr."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    return process.wait(WAIT_SECONDS), said
