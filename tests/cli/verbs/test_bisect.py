"""`lamina bisect`: versions that break a script, and the keys that do."""

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
    """A config of nine versions: `size` is the number of each; the sixth sets nine other keys, too."""
    cfg = client.config(config_name, create=True)
    for number in range(1, 10):
        cfg["size"] = number
        if number == 6:
            cfg |= {f"k{index}": index for index in range(9)} | {"null": None, "blob": b"\x00"}
        cfg.commit(f"size {number}")
    return cfg


def counting(tmp_path: Path, condition: str) -> tuple[list[str], Path]:
    """Give a command that is good while a Python condition of `entries` holds, and the file where it notes its runs."""
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


def test_the_version_and_its_keys(target: str, pool: lamina.Config, tmp_path: Path) -> None:
    """Two keys of the sixth version break it together; nothing is tried twice, and all is told."""
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
    told = [line for line in done.stderr.splitlines() if line != "noise"]
    assert told[:2] == ["lamina: version 1: good", "lamina: version 9: bad"]
    assert "lamina: version 6: bad" in told
    assert "lamina: 2 of 12 keys (k3, k7): bad" in told or "keys (k3, k7)" not in done.stderr
    whole = runs[0][1]
    assert (whole["size"], whole["LAMINA_BISECT_VERSION"], whole["LAMINA_BISECT_CONFIG"]) == ("1", "1", pool.name)
    assert "LAMINA_BISECT_KEYS" not in whole
    entries, some = runs[-1]
    assert some["LAMINA_BISECT_VERSION"] == "6"
    assert set(entries) - {"size"} == set(some["LAMINA_BISECT_KEYS"].splitlines()) - {"size"}
    assert "null" not in some
    assert not Path(some["LAMINA_BISECT_FILE"]).exists()


def test_as_json(cli: InProcess, pool: lamina.Config, tmp_path: Path) -> None:
    command, noted = counting(tmp_path, "sys.exit(entries['size'] >= 3)")
    output = json.loads(cli("bisect", pool.name, "1", "9", "-o", "json", "--", *command).stdout)
    runs = len(noted.read_text(encoding="utf-8").splitlines())
    assert output.pop("version")["number"] == 3
    assert output == {"skipped": [], "changes": {"size": {"old": 2, "new": 3}}, "runs": runs}
    assert runs == 5  # 1 9 5 3 2: its only key needs none


def test_equal_maps_are_tried_once(cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path) -> None:
    """A version like an earlier one needs no run; 1, 1.0 and true are three values, and bytes are no text."""
    cfg = client.config(config_name, create=True)
    for value in (1, 2, 1, 2, 1, True, 1.0, "AA==", b"\x00", "bad"):
        cfg["x"] = value
        cfg.commit()
    command, noted = counting(tmp_path, "sys.exit(entries['x'] == 'bad')")
    assert "version 10 is the first bad" in cli("bisect", cfg.name, "1", "10", "--", *command).stdout
    runs = [json.loads(line)[0]["x"] for line in noted.read_text(encoding="utf-8").splitlines()]
    assert [repr(value) for value in runs] == ["1", "'bad'", "1.0", "'AA=='", "'AA=='"]


def test_skipped_versions(cli: InProcess, pool: lamina.Config, tmp_path: Path) -> None:
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
def test_what_cannot_be_searched(
    cli: InProcess, pool: lamina.Config, tmp_path: Path, condition: str, said: str
) -> None:
    command, _ = counting(tmp_path, condition)
    done = cli("bisect", pool.name, "1", "9", "--", *command, code=1)
    assert done.stdout == ""
    assert f"lamina: {said}" in done.stderr


def test_other_failures(cli: InProcess, pool: lamina.Config) -> None:
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


def test_from_nothing_with_deletions(cli: InProcess, client: lamina.Client, config_name: str) -> None:
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
def test_a_signal_ends_all_of_the_command(
    target: str, pool: lamina.Config, tmp_path: Path, number: int, expected: int
) -> None:
    lines = ("import subprocess", "child = subprocess.Popen(['sleep', '1000'])", "print('started', flush=True)")
    command = (sys.executable, "-c", "\n".join([*lines, "child.wait()"]))
    program = ("sh", "-c", f'exec {shlex.quote(str(LAMINA))} "$@" 2>&1', "sh")
    arguments = ("bisect", pool.name, "1", "9", "--", *command)
    with started(*arguments, target=target, program=program, TMPDIR=str(tmp_path)) as process:
        assert line_of(process) == "started\n"
        assert end_of(process, number)[0] == expected  # with the pipe's end: an orphan would hold it
    assert list(tmp_path.iterdir()) == []
