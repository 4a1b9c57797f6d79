"""`lamina bisect`: it finds the version that breaks a script, and the keys."""

import json
import shlex
import signal
import sys
from pathlib import Path

import pytest

import lamina
from tests.cli.running import LAMINA, InProcess, end_of, line_of, run, started


@pytest.fixture
def pool(client: lamina.Client, config_name: str) -> lamina.Config:
    """A config with nine versions: `size` is the version's number, and version 6 also sets nine other keys."""
    cfg = client.config(config_name, create=True)
    for number in range(1, 10):
        cfg["size"] = number
        if number == 6:
            cfg |= {f"k{index}": index for index in range(9)} | {"null": None, "blob": b"\x00"}
        cfg.commit(f"size {number}")
    return cfg


def counting(tmp_path: Path, condition: str) -> tuple[list[str], Path]:
    """Return a command that is good while a Python condition on `entries` holds, and the file that counts its runs."""
    noted = tmp_path / "noted"
    code = (
        "import json, os, sys",
        "entries = json.load(sys.stdin)",
        "assert entries == json.load(open(os.environ['LAMINA_BISECT_FILE']))",
        f"open({str(noted)!r}, 'a').write(json.dumps([entries, dict(os.environ)]) + '\\n')",
        "print('noise')",
        condition,
    )
    return [sys.executable, "-c", "\n".join(code)], noted


def test_the_version_and_its_keys_are_found(target: str, pool: lamina.Config, tmp_path: Path) -> None:
    """Two keys of version 6 break it together. Nothing is tried twice, and every try is printed."""
    command, noted = counting(tmp_path, "sys.exit(entries.get('k3') == 3 and entries.get('k7') == 7)")
    done = run("bisect", pool.name, "1", "9", "--", *command, target=target)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in noted.read_text(encoding="utf-8").splitlines()]
    first, when, *changes, last = done.stdout.splitlines()
    assert first == f"{pool.name} version 6 is the first bad one"
    assert when.split("  ")[1:] == ["bob", "size 6"]
    assert changes == ["+ k3  3", "+ k7  7"]
    assert last == f"2 of 12 changed keys to blame, {len(runs)} runs"
    assert len({json.dumps(entries, sort_keys=True) for entries, _ in runs}) == len(runs)
    printed = [line for line in done.stderr.splitlines() if line != "noise"]
    assert printed[:2] == ["lamina: version 1: good", "lamina: version 9: bad"]
    assert "lamina: version 6: bad" in printed
    assert "lamina: 2 of 12 keys (k3, k7): bad" in printed or "keys (k3, k7)" not in done.stderr
    whole = runs[0][1]
    assert (whole["size"], whole["LAMINA_BISECT_VERSION"], whole["LAMINA_BISECT_CONFIG"]) == ("1", "1", pool.name)
    assert "LAMINA_BISECT_KEYS" not in whole
    entries, some = runs[-1]
    assert some["LAMINA_BISECT_VERSION"] == "6"
    assert set(entries) - {"size"} == set(some["LAMINA_BISECT_KEYS"].splitlines()) - {"size"}
    assert "null" not in some
    assert not Path(some["LAMINA_BISECT_FILE"]).exists()


def test_the_result_as_json(cli: InProcess, pool: lamina.Config, tmp_path: Path) -> None:
    command, noted = counting(tmp_path, "sys.exit(entries['size'] >= 3)")
    output = json.loads(cli("bisect", pool.name, "1", "9", "-o", "json", "--", *command).stdout)
    runs = len(noted.read_text(encoding="utf-8").splitlines())
    assert output.pop("version")["number"] == 3
    assert output == {"skipped": [], "changes": {"size": {"old": 2, "new": 3}}, "runs": runs}
    assert runs == 5  # versions 1 9 5 3 2; one changed key needs no further run


def test_equal_maps_are_tried_once(cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path) -> None:
    """A map equal to an earlier one is not tried again; 1, 1.0 and true are different, and so are bytes and text."""
    cfg = client.config(config_name, create=True)
    for value in (1, 2, 1, 2, 1, True, 1.0, "AA==", b"\x00", "bad"):
        cfg["x"] = value
        cfg.commit()
    command, noted = counting(tmp_path, "sys.exit(entries['x'] == 'bad')")
    assert "version 10 is the first bad" in cli("bisect", cfg.name, "1", "10", "--", *command).stdout
    runs = [json.loads(line)[0]["x"] for line in noted.read_text(encoding="utf-8").splitlines()]
    assert [repr(value) for value in runs] == ["1", "'bad'", "1.0", "'AA=='", "'AA=='"]


def test_versions_can_be_skipped(cli: InProcess, pool: lamina.Config, tmp_path: Path) -> None:
    command, _ = counting(tmp_path, "sys.exit(125 if 4 <= entries['size'] <= 6 else entries['size'] > 4)")
    done = cli("bisect", pool.name, "1", "9", "--", *command)
    assert done.stdout.splitlines()[0] == (
        f"{pool.name}: the first bad version is one of 4 to 7; the command could not decide the others"
    )
    assert "~ size  3 → 7" in done.stdout
    assert "lamina: version 5: skipped\n" in done.stderr
    output = cli("bisect", pool.name, "1", "9", "-o", "json", "--", *command).stdout
    assert json.loads(output)["skipped"] == [4, 5, 6]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("sys.exit(125)", "version 1 is not good: the command exited with 125"),
        ("sys.exit(0)", "version 9 is not bad: the command exited with 0"),
        (
            "sys.exit(entries['size'] > 5 and 128)",
            "version 9: the command exited with 128, which is neither good nor bad",
        ),
        (
            "entries['size'] == 5 and os.kill(os.getpid(), 9); sys.exit(entries['size'] > 4)",
            "version 5: the command was",
        ),
    ],
)
def test_a_search_that_cannot_begin_or_continue_is_an_error(
    cli: InProcess, pool: lamina.Config, tmp_path: Path, condition: str, said: str
) -> None:
    command, _ = counting(tmp_path, condition)
    done = cli("bisect", pool.name, "1", "9", "--", *command, code=1)
    assert done.stdout == ""
    assert f"lamina: {said}" in done.stderr


def test_bad_usage_and_failing_commands_are_errors(cli: InProcess, pool: lamina.Config) -> None:
    for good, bad in (("2", "1"), ("2", "2")):
        assert "GOOD must be older than BAD" in cli("bisect", pool.name, good, bad, "--", "true", code=2).stderr
    cli("bisect", pool.name, "1", "99", "--", "true", code=4)
    cli("bisect", pool.name, "1", "2", "-o", "yaml", "--", "true", code=2)
    said = cli("bisect", pool.name, "1", "2", "--", "no-such-command", code=1).stderr
    assert said == "lamina: version 1: no-such-command does not start: No such file or directory\n"
    pool |= {"a/b": 1, "a.b": 2}
    pool.commit()
    done = cli("bisect", pool.name, "1", "10", "--", "true", code=1)
    assert done.stderr.endswith("lamina: version 10: a.b and a/b would both be the variable a_b\n")


def test_deleted_keys_and_version_0_can_be_searched(cli: InProcess, client: lamina.Client, config_name: str) -> None:
    cfg = client.config(config_name, create=True)
    cfg |= {"a": 1, "b": 1}
    cfg.commit()
    del cfg["a"], cfg["b"]
    cfg["c"] = 1
    cfg.commit()
    done = cli("bisect", cfg.name, "1", "2", "--", "sh", "-c", 'test -n "$b"')
    assert "- b  1\n1 of 3 changed keys to blame" in done.stdout
    done = cli("bisect", cfg.name, "0", "1", "--", "sh", "-c", 'test -z "$b"')
    assert "+ b  1\n1 of 2 changed keys to blame" in done.stdout


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_the_command_and_its_children(
    target: str, pool: lamina.Config, tmp_path: Path, number: int, expected: int
) -> None:
    lines = ("import subprocess", "child = subprocess.Popen(['sleep', '1000'])", "print('started', flush=True)")
    command = (sys.executable, "-c", "\n".join([*lines, "child.wait()"]))
    program = ("sh", "-c", f'exec {shlex.quote(str(LAMINA))} "$@" 2>&1', "sh")
    arguments = ("bisect", pool.name, "1", "9", "--", *command)
    with started(*arguments, target=target, program=program, TMPDIR=str(tmp_path)) as process:
        assert line_of(process) == "started\n"
        assert end_of(process, number)[0] == expected  # waits for the pipe's end, which an orphan would hold open
    assert list(tmp_path.iterdir()) == []
