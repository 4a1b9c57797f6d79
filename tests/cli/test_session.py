"""The client is made from the connection's options and the environment."""

from pathlib import Path
from typing import Any

import pytest
import trustme

import lamina
from tests.cli.running import InProcess

OURS = trustme.CA().issue_cert("ada@example.com")
TARGET = "server.example:7440"
DEFAULTS = {"target": TARGET, "timeout": 10.0, "metadata": {"lamina-author": "ada"}, "tls": lamina.TLS()}
AS_CLIENT = {"metadata": {"lamina-author": "ada", "authorization": "Bearer t0ken"}}


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each client that a verb makes; `connect` then fails."""
    made: list[dict[str, Any]] = []
    connect = lamina.connect

    def refuse(**arguments: Any) -> lamina.Client:
        shell: Any = connect(**arguments)._shell
        timeout, metadata = shell.session.timeout_seconds, dict(shell._present_metadata())
        tls = shell._pool._addresses[0].tls
        made.append({"target": shell.target, "timeout": timeout, "metadata": metadata, "tls": tls})
        raise lamina.UnavailableError("not in this test")

    monkeypatch.setattr(lamina, "connect", refuse)
    return made


@pytest.mark.parametrize(
    ("before", "after", "environment", "expected"),
    [
        ([], [], {}, {}),
        (["--timeout", "2.5"], [], {}, {"timeout": 2.5}),
        ([], ["--timeout", "2.5"], {"LAMINA_TIMEOUT": "7"}, {"timeout": 2.5}),
        ([], ["--timeout", "10"], {"LAMINA_TIMEOUT": "7"}, {"timeout": 10.0}),
        (["--timeout", "3"], ["--timeout", "2.5"], {}, {"timeout": 2.5}),
        ([], [], {"LAMINA_TIMEOUT": "7"}, {"timeout": 7.0}),
        (["--target", "a:1,b:2"], [], {}, {"target": "a:1,b:2"}),
        ([], ["--author", "Zoë"], {}, {"metadata": {"lamina-author": "Zo%C3%AB"}}),
        ([], [], {"LAMINA_TOKEN": "t0ken"}, AS_CLIENT),
        ([], [], {"LAMINA_TOKEN": ""}, {}),
        ([], [], {"LAMINA_TOKEN_FILE": "TOKEN"}, AS_CLIENT),
        ([], ["--token-file", "TOKEN"], {"LAMINA_TOKEN": "another"}, AS_CLIENT),
        (["--plaintext"], [], {}, {"tls": None}),
        ([], [], {"LAMINA_PLAINTEXT": "1"}, {"tls": None}),
        (["--plaintext"], [], {"LAMINA_TLS_CA": "CERT"}, {"tls": None}),
        ([], ["--tls-ca", "CERT"], {}, {"tls": {"ca": "CERT"}}),
        ([], ["--tls-ca", "CERT"], {"LAMINA_PLAINTEXT": "1"}, {"tls": {"ca": "CERT"}}),
        ([], [], {"LAMINA_TLS_CA": "CERT"}, {"tls": {"ca": "CERT"}}),
        (["--tls-cert", "CERT"], [], {"LAMINA_TLS_KEY": "KEY"}, {"tls": {"cert": "CERT", "key": "KEY"}}),
    ],
)
def test_the_client_is_made_from_options_and_environment(
    clients: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: list[str],
    after: list[str],
    environment: dict[str, str],
    expected: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("TOKEN").write_text("t0ken\n", encoding="utf-8")
    OURS.cert_chain_pems[0].write_to_path("CERT")
    OURS.private_key_pem.write_to_path("KEY")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    InProcess(TARGET)(*before, "log", *after, "config", code=5)
    if isinstance(files := expected.get("tls"), dict):
        expected = {**expected, "tls": lamina.TLS(**files)}
    assert clients == [DEFAULTS | expected]


def test_a_token_is_not_accepted_as_an_option(clients: list[dict[str, Any]]) -> None:
    InProcess(TARGET)("log", "config", "--token", "t0ken", code=2)
    assert clients == []


def test_a_misspelled_variable_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_TIMEOT", "7")
    said = InProcess("localhost:1")("log", "config", "--timeout", "0.1", code=5).stderr
    assert "lamina: the environment has LAMINA_TIMEOT, which means nothing: is it LAMINA_TIMEOUT?" in said
