"""export and import: a map makes a round trip, a large one in batches, and files are replaced as a whole."""

import json
import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

import lamina
from tests.cli.running import LAMINA, InProcess, conflict_line, environment_of
from tests.support import absent

TRICKY = {
    "no": "no",
    "octal": "0755",
    "float": "1e3",
    "null": "null",
    "tilde": "~",
    "date": "2026-11-23",
    "lines": "a\nb\n",
    "crlf": "a\r\nb",
    "unicode": "日本語 😀",
    "key: with # colon": "a: b",
    "empty": "",
    "esc": "\x1b[0m",
    "quote": "it's \"",
}


@pytest.mark.parametrize("form", ["yaml", "toml", "json"])
def test_a_map_makes_a_round_trip(
    cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path, form: str
) -> None:
    cfg = client.config(config_name, create=True)
    cfg |= {**TRICKY, "n": 5, "f": 5.0, "b": True, "list": [1, {"a": [], "b": {}}], "dict": {"x": {"y": "z"}}}
    cfg |= {"blob": b"\0\xff", "none": None} if form == "yaml" else {}
    cfg.commit()
    path = str(tmp_path / f"all.{form}")
    assert f"{len(cfg)} keys of {config_name} version 1 written to" in cli("export", config_name, path).stderr
    cli("import", f"{config_name}-copy", path, "--create")
    assert client.config(f"{config_name}-copy") == cfg
    assert "nothing to change" in cli.out("import", config_name, path, "--replace")
    # A pipe works too.
    data = cli("export", config_name, "--format", form).stdout_bytes
    assert data == cli("export", config_name, "-o", form).stdout_bytes == Path(path).read_bytes()
    cli("import", f"{config_name}-pipe", "-", "--format", form, "--create", stdin=data)
    assert client.config(f"{config_name}-pipe") == cfg


def test_text_makes_a_round_trip_through_env(
    cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path
) -> None:
    cfg = client.config(config_name, create=True)
    cfg |= {name.upper().replace(": WITH # ", "_"): text for name, text in TRICKY.items()}
    cfg.commit()
    assert "env cannot hold CRLF: " in cli("export", config_name, str(tmp_path / ".env"), code=1).stderr
    del cfg["CRLF"]
    cfg.commit()
    cli("export", config_name, str(tmp_path / ".env"))
    cli("import", f"{config_name}-copy", str(tmp_path / ".env"), "--create")
    assert client.config(f"{config_name}-copy") == cfg


def test_a_value_that_a_format_cannot_hold_is_refused(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text("before", encoding="utf-8")
    assert "TOML cannot hold blob" in cli("export", shop.name, str(path), code=1).stderr
    assert path.read_text(encoding="utf-8") == "before"
    assert "env cannot hold blob" in cli("export", shop.name, "--format", "env", code=1).stderr
    assert "JSON cannot hold blob" in cli("export", shop.name, "-o", "json", code=1).stderr


def test_keys_can_be_selected(cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path) -> None:
    cfg = client.config(config_name, create=True)
    cfg |= {"db/host": "h1", "db/port": 5432, "dbx": "no", "timeout": 30}
    cfg.commit()
    path = tmp_path / "some.json"
    assert "3 keys of" in cli("export", cfg.name, str(path), "timeout", "--prefix", "db/").stderr
    assert json.loads(path.read_bytes()) == {"db/host": "h1", "db/port": 5432, "timeout": 30}
    assert cli.out("export", cfg.name, "-", "dbx") == 'dbx: "no"\n'
    upper = cli.out("export", cfg.name, "--format", "env", "--upper", "--prefix", "db/")
    assert upper == "DB_HOST=h1\nDB_PORT=5432\n"
    assert cli.out("get", cfg.name, "-o", "env", "--upper", "--prefix", "db/") == upper
    assert "--upper is for the names of variables" in cli("get", cfg.name, "--upper", code=2).stderr
    assert "no key that begins with x/" in cli("get", cfg.name, "--prefix", "x/", code=4).stderr
    assert "has no key nope" in cli("export", cfg.name, "-", "nope", code=4).stderr
    assert "no key that begins with x/" in cli("export", cfg.name, "--prefix", "x/", code=4).stderr
    assert "--upper is for the names of variables" in cli("export", cfg.name, "--upper", code=2).stderr
    for option in (["--prefix", "db/"], ["--upper"], ["dbx"]):
        assert "not for it" in cli("export", cfg.name, str(path), "--history", *option, code=2).stderr


def test_export_at_a_point_in_time_is_yaml_by_default(cli: InProcess, shop: lamina.Config) -> None:
    assert "timeout: 30\n" in cli.out("export", shop.name, "--at", "1")
    assert cli.out("export", shop.name, LAMINA_OUTPUT="json") == cli.out("export", shop.name, "--format", "yaml")
    assert cli.out("export", shop.name, "-o", "text") == cli.out("export", shop.name)


def test_export_replaces_a_file_as_a_whole(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    path = tmp_path / "real.yaml"
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    cli("export", shop.name, str(link))
    assert link.is_symlink()
    assert "timeout: 45" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    cli("export", shop.name, os.devnull, "--format", "yaml")
    assert not Path(os.devnull).is_file()
    assert "No such file" in cli("export", shop.name, str(tmp_path / "none" / "x.yaml"), code=1).stderr


STREAMS = [
    "echo header > log; exec >> log; {command} /dev/stdout",
    "exec > log; echo header; {command} /dev/stdout",
    "exec 2> log; echo header >&2; {command} /dev/stderr",
    "exec 3> log; echo header >&3; {command} /dev/fd/3",
    "exec 3> log; echo header >&3; {command} /proc/self/fd/3",
    "exec 3> log; echo header >&3; ln -s /dev/fd/3 link; {command} link",
    "{{ echo header; {command} /dev/stdout; }} | cat > log",
    "echo header > log; {command} >(cat >> log); wait $!",
    "echo header > log; mkfifo pipe; cat pipe >> log & {command} pipe; wait $!",
]  # fmt: skip


@pytest.mark.parametrize("script", STREAMS)
@pytest.mark.parametrize("history", [False, True])
def test_a_pipe_or_an_open_descriptor_is_written_as_a_stream(
    target: str, cli: InProcess, shop: lamina.Config, tmp_path: Path, script: str, *, history: bool
) -> None:
    """The content that was there before stays."""
    bash = shutil.which("bash") or absent("bash", "apt install bash")
    option = ["--history"] if history else []
    cli("export", shop.name, *option, str(tmp_path / "whole"))
    command = shlex.join([str(LAMINA), "export", shop.name, *option])
    environment = environment_of(target)
    line = f"set -e; {script.format(command=command)}"
    subprocess.run([bash, "-c", line], cwd=tmp_path, env=environment, check=True, capture_output=True)
    log = (tmp_path / "log").read_bytes()
    expected = b"header\n" + (tmp_path / "whole").read_bytes()
    # With stderr, the command's own message follows.
    assert log.startswith(expected) if "stderr" in script else log == expected


def test_a_file_that_is_replaced_keeps_its_owner_and_mode(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    """Another hard link keeps the old content."""
    path, other = tmp_path / "shop.yaml", tmp_path / "other"
    path.write_text("before", encoding="utf-8")
    other.hardlink_to(path)
    path.chmod(0o620)
    if os.geteuid() == 0:  # only root can change a file's owner
        os.chown(path, 1234, 5678)
    before = path.stat()
    cli("export", shop.name, str(path))
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert "timeout: 45" in path.read_text(encoding="utf-8")
    assert other.read_text(encoding="utf-8") == "before"
    umask = os.umask(0o027)
    cli("export", shop.name, str(tmp_path / "new.yaml"))
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new.yaml").stat().st_mode) == 0o640


def test_import_deletes_keys_only_with_replace(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, tmp_path: Path
) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("name: store\nnew: 1\n", encoding="utf-8")
    before = shop.to_dict()
    assert cli.out("import", shop.name, str(path), "--dry-run") == '~ name  "shop" → "store"\n+ new   1\n'
    cli("import", shop.name, str(path))
    assert client.config(shop.name) == {**before, "name": "store", "new": 1}
    assert next(client.config(shop.name).log()).message == "import some.yaml"
    assert "(8 deleted)" not in cli.out("import", shop.name, str(path), "--replace", "--dry-run")
    cli("import", shop.name, str(path), "--replace", "-m", "just this")
    assert client.config(shop.name) == {"name": "store", "new": 1}
    cli("import", shop.name, str(path), "--base", "1", "--dry-run")  # equal values do not conflict


@pytest.mark.parametrize("form", ["yaml", "toml", "json", "env"])
def test_a_file_without_keys_is_refused_unless_it_is_allowed(
    cli: InProcess, target: str, client: lamina.Client, shop: lamina.Config, tmp_path: Path, form: str
) -> None:
    """Such a file is most likely the output of a program that failed."""
    empty, nothing = tmp_path / "empty", {"yaml": "{}", "toml": "# none\n", "json": "{}", "env": "\n# none\n"}[form]
    empty.touch()
    arguments = ("import", shop.name, "--format", form, "--replace")
    for option in ((), ("--batch",)):
        said = cli(*arguments, *option, str(empty), code=1).stderr
        assert said == f"lamina: nothing was written: {empty} holds no key; --allow-empty if that is meant\n"
        assert "- holds no key" in cli(*arguments, *option, "-", stdin="", code=1).stderr
        assert "- holds no key" in cli(*arguments, *option, "-", stdin=nothing, code=1).stderr
    assert client.config(shop.name).version == 2
    assert "is now version 3 (8 deleted)" in cli.out(*arguments, "--allow-empty", "-", stdin="")
    assert "nothing to change" in cli.out(*arguments, "--allow-empty", "-", stdin=nothing)


def test_a_closed_stdin_is_refused(target: str, client: lamina.Client, shop: lamina.Config) -> None:
    """A closed stream is not an empty file."""
    for arguments in (("import", shop.name, "--format", "toml", "--allow-empty", "--replace"), ("set", shop.name)):
        for name in ("-",) if arguments[0] == "import" else ("-", "/dev/stdin"):
            command = shlex.join([str(LAMINA), *arguments, name if arguments[0] == "import" else f"name=@{name}"])
            done = subprocess.run(
                ["sh", "-c", f"{command} <&-"], env=environment_of(target), capture_output=True, check=False
            )
            assert done.returncode == 2
            assert f"cannot read {name}: standard input is closed" in done.stderr.decode()
    assert client.config(shop.name).version == 2


def test_import_with_a_base_can_conflict(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, tmp_path: Path
) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("timeout: 60\n", encoding="utf-8")
    assert "bob in version" in conflict_line(cli("import", shop.name, str(path), "--base", "1", code=3), "timeout")
    stale = cli("import", shop.name, str(path), "--base", "1", "--batch", code=3)
    assert "bob in version" in conflict_line(stale, "timeout")
    assert client.config(shop.name).version == 2


@pytest.mark.parametrize(
    ("name", "text", "says", "code"),
    [
        ("a.yaml", "x: 1\ny: 2026-11-23\n", "a.yaml: line 2: y: a date", 1),
        ("a.yaml", "x: 1\nx: 2\n", "x stands twice", 1),
        ("a.yaml", "x: [hunter2\n", "a.yaml: line 1: a bracket is not closed", 1),
        ("a.json", '{"x": 99999999999999999999}', "a.json: 'the value of x' needs", 1),
        ("a.json", '{"": "hunter2"}', "a.json: a key has 1 to 512 bytes", 1),
        ("a.toml", "x = nan\n", "is not a finite number", 1),
        ("a.txt", "x", "say --format", 2),
        ("-", "x", "say --format", 2),
    ],
)
def test_a_bad_file_is_refused(
    cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path, name: str, text: str, says: str, code: int
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    refused = cli("import", config_name, "-" if name == "-" else str(path), "--create", code=code)
    assert says.replace("'the value of x'", "the value of 'x'") in refused.stderr
    assert "hunter2" not in refused.output
    assert not list(client.configs(config_name))


def test_a_missing_file_is_an_error(cli: InProcess, config_name: str, tmp_path: Path) -> None:
    assert "No such file" in cli("import", config_name, str(tmp_path / "none.yaml"), code=2).stderr
    cli("import", config_name, str(tmp_path), code=2)
    path = tmp_path / "a.yaml"
    path.write_text("a: b", encoding="utf-8")
    assert "--create makes it" in cli("import", config_name, str(path), code=4).stderr


def test_env_files_hold_text_alone(cli: InProcess, client: lamina.Client, shop: lamina.Config, tmp_path: Path) -> None:
    path = tmp_path / "a.env"
    path.write_text("timeout=60\n", encoding="utf-8")
    assert "timeout holds an integer" in cli("import", shop.name, str(path), code=2).stderr
    cli("import", shop.name, str(path), "--retype")
    assert client.config(shop.name)["timeout"] == "60"


def test_an_import_larger_than_a_version_is_refused_or_sent_in_batches(
    cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "large.json"
    entries = {f"k{number:05}": number for number in range(10_500)}
    path.write_text(json.dumps(entries), encoding="utf-8")
    refused = cli("import", config_name, str(path), "--create", code=1).stderr
    assert "nothing was written" in refused
    assert "10,000" in refused
    assert "10,500 keys" in refused
    assert "--batch" in refused
    assert not list(client.configs(config_name))
    printed = cli.out("import", config_name, str(path), "--create", "--batch")
    assert printed.splitlines()[0] == f"{config_name} is now version 2 (10,500 added)"
    assert client.config(config_name) == entries
    path.write_text('{"k00000": 1}', encoding="utf-8")
    printed = cli.out("import", config_name, str(path), "--batch", "--replace", "-o", "json")
    assert json.loads(printed)["number"] == 4
    assert client.config(config_name) == {"k00000": 1}


def test_an_import_larger_than_a_request_is_sent_in_batches(
    cli: InProcess, client: lamina.Client, config_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "fat.json"
    entries = {f"k{number}": "x" * 1_000_000 for number in range(5)}
    path.write_text(json.dumps(entries), encoding="utf-8")
    refused = cli("import", config_name, str(path), "--create", code=1).stderr
    assert "5 keys, about 4.8 MiB: --batch" in refused
    cli("import", config_name, str(path), "--create", "--batch")
    assert client.config(config_name) == entries


def test_batches_do_not_help_with_a_value_that_is_too_large(cli: InProcess, config_name: str, tmp_path: Path) -> None:
    path = tmp_path / "fat.json"
    for size in (1_100_000, 6_000_000):
        path.write_text(json.dumps({"a": 1, "fat": "x" * size}), encoding="utf-8")
        refused = cli("import", config_name, str(path), "--create", code=1).stderr
        assert "nothing was written" in refused
        assert "--batch" not in refused
        assert f"{size:,}"[:4] in refused


def test_export_to_a_missing_folder_is_an_error(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "shop.yaml"
    assert cli("export", shop.name, str(path), code=1).stderr == f"lamina: {path}: No such file or directory\n"


def test_a_batch_that_the_server_refuses_is_halved(
    cli: InProcess, config_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = lamina.Config.commit

    def strict(cfg: lamina.Config, *args: str) -> lamina.Version:
        if len(cfg.changes) > 3:
            raise lamina.LimitError("too many", reason="TOO_MANY", limit=3, actual=len(cfg.changes))
        return commit(cfg, *args)

    monkeypatch.setattr(lamina.Config, "commit", strict)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({f"k{number}": number for number in range(10)}), encoding="utf-8")
    printed = cli.out("import", config_name, str(path), "--create", "--batch")
    assert "is now version 4 (10 added)" in printed
    assert printed.splitlines()[1].endswith("--to 0 --base 4")
    path.write_text('{"big": "' + "x" * (1 << 20 | 1) + '"}', encoding="utf-8")
    assert "1,048,576" in cli("import", config_name, str(path), "--batch", code=1).stderr


def test_a_history_can_be_exported(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    path = tmp_path / "shop.lamina"
    result = cli("export", shop.name, "--history", str(path))
    hash_ = next(shop.log()).hash
    assert result.stdout == ""
    assert result.stderr == f"lamina: 2 versions of {shop.name} written to {path}, the last one's hash is {hash_}\n"
    with lamina.open(path) as bundle:
        assert bundle == shop
        assert list(bundle.log()) == list(shop.log())
    cli("export", shop.name, str(path), "--history", "--at", "1")
    with lamina.open(path) as bundle:
        assert bundle["timeout"] == 30


def test_a_history_has_only_its_own_format(cli: InProcess, shop: lamina.Config, tmp_path: Path) -> None:
    path = str(tmp_path / "shop.lamina")
    assert "needs a FILE" in cli("export", shop.name, "--history", code=2).stderr
    for form in (["--format", "json"], ["-o", "yaml"]):
        assert "format of its own" in cli("export", shop.name, path, "--history", *form, code=2).stderr
    cli("export", f"{shop.name}/none", path, "--history", code=4)
    assert "no version" in cli("export", shop.name, path, "--history", "--at", "0", code=2).stderr
    assert not Path(path).exists()
    assert "No such file" in cli("export", shop.name, f"{path}/none", "--history", code=1).stderr


@pytest.mark.parametrize("more", [(), ("--history",)])
def test_an_empty_name_of_a_file_is_a_variable_that_is_not_set(
    cli: InProcess, shop: lamina.Config, more: tuple[str, ...]
) -> None:
    for verb in ("export", "import"):
        if verb == "export" or not more:
            assert "the name of the file is empty" in cli(verb, shop.name, "", *more, code=2).stderr
    assert "the name of the file is empty" in cli("set", shop.name, "motd=@", code=2).stderr
