"""A settings file, and the command that tells which settings hold."""

import json
from pathlib import Path

import pytest

from lamina_server.settings import Settings
from tests.server.commands import Run, printed
from tests.support.server import ServerProcess

FILE = """\
listen = "localhost:0"
database = "postgresql://ada:s3cret-canary@db.internal/lamina"
value_limit_bytes = 65536
reader_threads = 2
insecure_plaintext = true
"""


def test_an_option_wins_over_a_variable_and_a_variable_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(FILE)
    variables = {"LAMINA_SERVER_SETTINGS_FILE": str(file), "lamina_server_reader_threads": "3"}
    variables["LAMINA_SERVER_SECRET_KEY_COMMAND"] = "kms --token s3cret-canary"
    command = ["config", "--value-limit-bytes", "1000", "-o", "json"]
    (said,) = printed([(command, variables)], tmp_path)
    assert "canary" not in said
    found = json.loads(said.removesuffix("exit 0\n"))
    assert list(found) == list(Settings.model_fields)
    told = {name: (line["value"], line["source"]) for name, line in found.items() if line["source"] != "default"}
    assert told == {
        "database": ("postgresql://ada@db.internal:5432/lamina", f"{file}: database"),
        "listen": ("localhost:0", f"{file}: listen"),
        "insecure_plaintext": (True, f"{file}: insecure_plaintext"),
        "secret_key_command": ("kms …", "LAMINA_SERVER_SECRET_KEY_COMMAND"),
        "value_limit_bytes": (1000, "--value-limit-bytes"),
        "reader_threads": (3, "LAMINA_SERVER_READER_THREADS"),
    }
    assert found["reader_threads"]["default"] == 4


def test_a_table_for_people_has_the_changed_settings(tmp_path: Path) -> None:
    (said,) = printed([(["config", "--changed", "--watch-limit", "5", "--insecure-open"], {})], tmp_path)
    assert said == (
        "setting        value  source           default\n"
        "insecure_open  true   --insecure-open  false\n"
        "watch_limit    5      --watch-limit    20000\n"
        "exit 0\n"
    )


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (
            'listn = "x"\nzzz = 1\nreader_threads = true\nchange_limit = "12 "\nfilter_limit = 0',
            [
                "FILE has 'listn', which means nothing: is it listen?",
                "FILE has 'zzz', which means nothing; `lamina-server config` lists the names",
                "FILE: change_limit must be a whole number from 1 to 1000000, in digits",
                "FILE: filter_limit is 0; it must be from 1 to 10000",
                "FILE: reader_threads must be a whole number from 1 to 256, in digits",
            ],
        ),
        ("reader_threads = s3cret-canary", ["FILE: the file is not TOML: Invalid value (at line 1, column 18)"]),
        ('tls_cert = "c.pem"', ["FILE: tls_cert is given, and --tls-key is not: TLS needs both"]),
        ("listen = [1]\ndatabase = 3", ["FILE: database is not valid", "FILE: listen is not valid"]),
        ("[server]\nlisten = 'x'", ["FILE has 'server', which means nothing; `lamina-server config` lists the names"]),
        ("deep = " + "[" * 100_000, ["FILE: the file is not TOML: maximum recursion depth exceeded"]),
    ],
    ids=["names and numbers", "syntax", "contradiction", "types", "table", "depth"],
)
def test_what_is_wrong_in_a_file_is_told(content: str, lines: list[str], tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(content)
    (said,) = printed([(["serve", "--settings-file", str(file)], {})], tmp_path)
    told = [line.removeprefix("lamina-server: ").replace(str(file), "FILE") for line in said.splitlines()]
    assert [text[: len(line)] for text, line in zip(told[:-1], lines, strict=True)] == lines
    assert told[-1] == "exit 2"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'listen = "caf\xe9"')
    runs: list[Run] = [(["migrate", "--settings-file", name], {}) for name in ("none.toml", ".", "latin.toml", "")]
    assert printed(runs, tmp_path) == [
        "lamina-server: cannot read none.toml: No such file or directory\nexit 2\n",
        "lamina-server: cannot read .: Is a directory\nexit 2\n",
        "lamina-server: latin.toml: the file is not UTF-8\nexit 2\n",
        "lamina-server: the path of the settings file is empty\nexit 2\n",
    ]


def test_a_server_starts_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(f"stop_grace_seconds = 3\nbatch_limit_changes = 7\naudit_file = '{tmp_path}/audit'\n")
    with ServerProcess("sqlite://", LAMINA_SERVER_SETTINGS_FILE=str(file)) as server:
        server.stop()
    assert (tmp_path / "audit").exists()


def test_serve_has_an_option_for_each_setting(tmp_path: Path) -> None:
    (said,) = printed([(["serve", "--help"], {})], tmp_path)
    names = set(Settings.model_fields) - {"new_secret_key_file", "new_secret_key_command", "wait_for_database_seconds"}
    options = {f"--{name.replace('_', '-')}," for name in names} | {"--wait-for-database,"}
    assert options <= set(said.split())
