"""A server works with both ends of each number's range. It refuses what lies beyond, contradicts or is misspelt."""

import itertools
import os
from pathlib import Path

import pytest

from lamina_server.settings import Settings, range_of
from tests.server.commands import Run, printed
from tests.support.forking import ForkedCommand
from tests.support.server import ServerProcess

NUMBERS = {name: range_of(name).split(" to ") for name in Settings.model_fields if range_of(name)}


def variables(values: dict[str, str]) -> dict[str, str]:
    return {f"LAMINA_SERVER_{name.upper()}": value for name, value in values.items()}


def refused(*arguments: str, **environment: str) -> list[str]:
    """Return the lines with which the server refuses its settings."""
    given = ["serve", "--database", "sqlite://", *arguments]
    done = ForkedCommand("lamina-server", given, {**os.environ, **environment}).completed(20)
    assert (done.returncode, done.stdout) == (2, b""), done.stderr
    return done.stderr.decode().splitlines()


def test_every_number_has_a_range() -> None:
    numbers = {name for name, field in Settings.model_fields.items() if field.annotation in (int, float)}
    assert numbers == set(NUMBERS)


@pytest.mark.parametrize("end", [0, 1], ids=["smallest", "largest"])
def test_a_server_starts_with_all_settings_at_an_end_of_their_range(end: int) -> None:
    values = {name: ends[end] for name, ends in NUMBERS.items()} | {"workers": "1"}  # SQLite is for one process
    with ServerProcess("sqlite://", **variables(values)) as server:
        server.stop()


@pytest.mark.parametrize(("end", "step"), [(0, -1), (1, 1)], ids=["smaller", "larger"])
def test_what_lies_beyond_is_refused(end: int, step: int) -> None:
    beyond = {name: f"{float(ends[end]) + step:.15g}" for name, ends in NUMBERS.items()}
    assert refused(**variables(beyond)) == [
        f"lamina-server: LAMINA_SERVER_{name.upper()} is {beyond[name]}; it must be from {' to '.join(ends)}"
        for name, ends in NUMBERS.items()
    ]


def test_what_is_no_number_is_refused_and_not_repeated() -> None:
    texts = ("nan", "inf", "1e999", "0x10", " 5", "1_000", "\u0663", "5 s", "s3cret-canary")
    given = dict(zip(NUMBERS, itertools.cycle(texts), strict=False))
    lines = refused(**variables(given))
    for (name, text), line in zip(given.items(), lines, strict=True):
        kind = "whole number" if Settings.model_fields[name].annotation is int else "number"
        said = f"must be a {kind} from {range_of(name)}, in digits"
        assert line == f"lamina-server: LAMINA_SERVER_{name.upper()} {said}", text


def test_an_empty_variable_is_told() -> None:
    assert refused(LAMINA_SERVER_READER_THREADS="", LAMINA_SERVER_INSECURE_PLAINTEXT="") == [
        "lamina-server: LAMINA_SERVER_INSECURE_PLAINTEXT must be true or false",
        "lamina-server: LAMINA_SERVER_READER_THREADS is empty; it must be a number from 1 to 256",
    ]


SERVICE = {
    "SERVICE_HOST": "10.3.0.7",
    "SERVICE_PORT": "7440",
    "SERVICE_PORT_GRPC": "7440",
    "PORT": "tcp://10.3.0.7:7440",
    "PORT_7440_TCP": "tcp://10.3.0.7:7440",
    "PORT_7440_TCP_PROTO": "tcp",
    "PORT_7440_TCP_PORT": "7440",
    "PORT_7440_TCP_ADDR": "10.3.0.7",
}
"""What Kubernetes puts into the environment of every container for a service that has a named port."""


def test_a_misspelt_variable_is_refused(tmp_path: Path) -> None:
    """A name is a variable's in any case of its letters, as pydantic reads it. A service's variables are ignored."""
    services = {f"LAMINA_SERVER_{of}{name}": value for of in ("", "EU_") for name, value in SERVICE.items()}
    migrate = ["migrate", "--database", "sqlite://"]
    names = ["LAMINA_SERVER_DATABSE", "lamina_server_listn", "LAMINA_SERVER_VALUE_LIMIT", "LAMINA_SERVER_PORT"]
    runs: list[Run] = [(migrate, services), *((migrate, {name: "7440"}) for name in names), (["serve", "--help"], {})]
    served, *refusals, help_text = printed(runs, tmp_path)
    assert served.endswith("exit 0\n")
    told = [
        ": is it LAMINA_SERVER_DATABASE?",
        ": is it LAMINA_SERVER_LISTEN?",
        ": is it LAMINA_SERVER_VALUE_LIMIT_BYTES?",
    ]
    told.append("; `lamina-server serve --help` lists the names")
    assert refusals == [
        f"lamina-server: the environment has {name}, which means nothing{text}\nexit 2\n"
        for name, text in zip(names, told, strict=True)
    ]
    assert set(variables(dict.fromkeys(Settings.model_fields, ""))) <= set(help_text.split())


def test_settings_that_contradict_each_other_are_refused_with_their_sources() -> None:
    """An option wins over its variable, so the option is named."""
    given = variables(
        {
            "value_limit_bytes": "6000000",
            "request_limit_bytes": "5500000",
            "config_limit_bytes": "5999999",
            "connection_limit_watches": "201",
            "tls_key": "key.pem",
        }
    )
    *limits, files = refused("--tls-cert", "cert.pem", "--insecure-plaintext", **given)
    at_most = [
        (
            "VALUE_LIMIT_BYTES is 6000000",
            "LAMINA_SERVER_REQUEST_LIMIT_BYTES, 5500000, because no request could hold such a value",
        ),
        (
            "VALUE_LIMIT_BYTES is 6000000",
            "LAMINA_SERVER_CONFIG_LIMIT_BYTES, 5999999, because no config could hold such a value",
        ),
        ("REQUEST_LIMIT_BYTES is 5500000", "--receive-limit-bytes, 5242880, because its refusal would have no reason"),
        ("CONNECTION_LIMIT_WATCHES is 201", "--connection-limit-streams, 200, because each watch is a stream"),
    ]
    assert limits == [f"lamina-server: LAMINA_SERVER_{name}; it must be at most {limit}" for name, limit in at_most]
    assert files == "lamina-server: --insecure-plaintext contradicts --tls-cert: leave out one of them"


def test_an_error_names_the_variable_that_it_comes_from(tmp_path: Path) -> None:
    cases = [
        ({"tls_cert": "c.pem"}, "LAMINA_SERVER_TLS_CERT is given, and --tls-key is not: TLS needs both"),
        ({"tls_client_ca": "c.pem"}, "LAMINA_SERVER_TLS_CLIENT_CA is given, and --tls-cert is not: TLS needs both"),
        ({"tls_cert": "none", "tls_key": "none"}, "LAMINA_SERVER_TLS_KEY: cannot read none: No such file or directory"),
        ({"listen": "7440"}, "LAMINA_SERVER_LISTEN: the address is neither HOST:PORT nor unix:PATH"),
        ({"listen": "no.such.invalid:1"}, "LAMINA_SERVER_LISTEN: cannot resolve"),
        ({"listen": "unix:/etc/passwd/socket"}, "LAMINA_SERVER_LISTEN: cannot listen on /etc/passwd/socket: Not a dir"),
        ({"database": "lamina.db"}, "LAMINA_SERVER_DATABASE: the database's address is not a URL"),
    ]
    runs: list[Run] = [(["serve"], variables({"database": "sqlite://", **given})) for given, _ in cases]
    for (_, text), said in zip(cases, printed(runs, tmp_path), strict=True):
        assert said.startswith(f"lamina-server: {text}")


def test_an_option_is_checked_like_its_variable(tmp_path: Path) -> None:
    said = {"86401": "is 86401; it must be from", "nan": "must be a number from", "": "is empty; it must be"}
    runs: list[Run] = [(["serve", "--wait-for-database", value], {}) for value in said]
    for text, line in zip(said.values(), printed(runs, tmp_path), strict=True):
        assert line.startswith(f"lamina-server: --wait-for-database {text}")
        assert line.endswith("exit 2\n")
