"""Every setting that is a number has a range: a server works with both ends of it, and refuses what lies beyond."""

import itertools
import os
import subprocess
import sys

import pytest

from lamina_server.settings import Settings, range_of
from tests.support.server import ServerProcess

NUMBERS = {name: range_of(name).split(" to ") for name in Settings.model_fields if range_of(name)}


def variables(values: dict[str, str]) -> dict[str, str]:
    return {f"LAMINA_SERVER_{name.upper()}": value for name, value in values.items()}


def refused(*arguments: str, **environment: str) -> list[str]:
    """Return the lines with which the server refuses its settings."""
    program = [sys.executable, "-m", "lamina_server", "serve", "--database", "sqlite://", *arguments]
    done = subprocess.run(program, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return done.stderr.splitlines()


def test_every_number_has_a_range() -> None:
    numbers = {name for name, field in Settings.model_fields.items() if field.annotation in (int, float)}
    assert numbers == set(NUMBERS)


@pytest.mark.parametrize("end", [0, 1], ids=["smallest", "largest"])
def test_a_server_starts_with_all_settings_at_an_end_of_their_range(end: int) -> None:
    with ServerProcess("sqlite://", **variables({name: ends[end] for name, ends in NUMBERS.items()})) as server:
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


@pytest.mark.parametrize(
    ("value", "text"), [("86401", "is 86401; it must be from"), ("nan", "must be a number from"), ("", "is empty; it")]
)
def test_an_option_is_checked_like_its_variable(value: str, text: str) -> None:
    (line,) = refused("--wait-for-database", value)
    assert line.startswith(f"lamina-server: --wait-for-database {text}")
