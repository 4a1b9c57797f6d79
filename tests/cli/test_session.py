"""What the connection's options and the environment make of `lamina.connect`."""

from pathlib import Path
from typing import Any

import pytest

import lamina
from tests.cli.running import InProcess

DEFAULTS = {"target": "server:7440", "author": "ada", "token": None, "tls": None}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Where the arguments of each `lamina.connect` go; none of them gets anywhere."""
    calls: list[dict[str, Any]] = []

    def refuse(**arguments: Any) -> lamina.Client:
        calls.append(arguments)
        raise lamina.UnavailableError("not in this test")

    monkeypatch.setattr(lamina, "connect", refuse)
    return calls


@pytest.mark.parametrize(
    ("before", "after", "environment", "expected"),
    [
        ([], [], {}, {}),
        (["--timeout", "2.5"], [], {}, {"timeout": 2.5}),
        ([], ["--timeout", "2.5"], {"LAMINA_TIMEOUT": "7"}, {"timeout": 2.5}),
        (["--timeout", "3"], ["--timeout", "2.5"], {}, {"timeout": 2.5}),
        ([], [], {"LAMINA_TIMEOUT": "7"}, {"timeout": 7.0}),
        (["--target", "a:1,b:2"], [], {}, {"target": "a:1,b:2"}),
        ([], ["--author", "Zoë"], {}, {"author": "Zoë"}),
        ([], [], {"LAMINA_TOKEN": "t0ken"}, {"token": "t0ken"}),
        ([], [], {"LAMINA_TOKEN": ""}, {}),
        ([], ["--token-file", "FILE"], {"LAMINA_TOKEN": "t0ken"}, {"token": "from the file"}),
        (["--plaintext"], [], {}, {"tls": False}),
        ([], ["--tls-ca", "FILE"], {}, {"tls": lamina.TLS(ca="FILE")}),
        ([], [], {"LAMINA_TLS_CA": "FILE"}, {"tls": lamina.TLS(ca="FILE")}),
        (
            ["--tls-cert", "FILE"],
            [],
            {"LAMINA_TLS_KEY": "FILE"},
            {"tls": lamina.TLS(cert="FILE", key="FILE")},
        ),
    ],
)
def test_options_and_environment(
    connect: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: list[str],
    after: list[str],
    environment: dict[str, str],
    expected: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("from the file\n", encoding="utf-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    InProcess("server:7440")(*before, "log", *after, "config", code=5)
    assert connect == [DEFAULTS | expected]


def test_a_token_is_no_argument(connect: list[dict[str, Any]]) -> None:
    InProcess("server:7440")("log", "config", "--token", "t0ken", code=2)
    assert connect == []
