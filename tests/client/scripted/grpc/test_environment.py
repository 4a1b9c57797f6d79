"""The environment variables of a client: arguments win, and a misspelled name is logged."""

import copy
import inspect
import logging
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import trustme

import lamina
from lamina import _environment, aio
from lamina._grpc.connection import DEFAULT_TIMEOUT_SECONDS, Connection, connection

CA = trustme.CA()
README = Path(__file__).parents[4].joinpath("client", "README.md").read_text(encoding="utf-8")


def connect_with(**options: Any) -> Connection:
    given = {"target": None, "token": None, "tls": None, "timeout": DEFAULT_TIMEOUT_SECONDS, "author": None, **options}
    return connection(given.pop("target"), **given)


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _environment.NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def test_variables_are_read_and_arguments_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ca_file: str) -> None:
    (tmp_path / "token").write_text("of-the-file\n", encoding="utf-8")
    for name, value in {
        "LAMINA_TARGET": "far.example:1",
        "LAMINA_TOKEN_FILE": str(tmp_path / "token"),
        "LAMINA_TLS_CA": ca_file,
        "LAMINA_TIMEOUT": "2.5",
        "LAMINA_AUTHOR": "zoë",
    }.items():
        monkeypatch.setenv(name, value)
    found = connect_with()
    assert (found.target, found.timeout_seconds) == ("far.example:1", 2.5)
    present = found.metadata_with(found.credential.present())
    assert dict(present) == {"authorization": "Bearer of-the-file", "lamina-author": "zo%C3%AB"}
    assert found.addresses[0].tls == lamina.TLS(ca=ca_file)

    monkeypatch.setenv("LAMINA_TOKEN", "itself")
    assert dict(connect_with().metadata)["authorization"] == "Bearer itself"

    found = connect_with(target="near.example:2", token="mine", tls=False, timeout=10.0, author="ann")
    assert (found.target, found.timeout_seconds, found.addresses[0].tls) == ("near.example:2", 10.0, None)
    assert dict(found.metadata) == {"authorization": "Bearer mine", "lamina-author": "ann"}


@pytest.mark.parametrize("connect", [lamina.connect, aio.connect])
def test_both_clients_read_the_variables(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_TARGET", "far.example:1")
    monkeypatch.setenv("LAMINA_TIMEOUT", "2.5")
    client = connect()
    assert (client.target, client._shell.session.timeout_seconds) == ("far.example:1", 2.5)
    assert connect("near.example", timeout=10)._shell.session.timeout_seconds == 10


@pytest.mark.parametrize(("text", "is_plain"), [("1", True), ("true", True), ("0", False), ("", False), ("No", False)])
def test_plaintext_turns_tls_off_unless_an_argument_turns_it_on(
    text: str, is_plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMINA_PLAINTEXT", text)
    assert (connect_with(target="far.example").addresses[0].tls is None) == is_plain
    assert connect_with(target="far.example", tls=True).addresses[0].tls == lamina.TLS()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LAMINA_TIMEOUT": "soon"}, "LAMINA_TIMEOUT='soon' is not a number of seconds"),
        ({"LAMINA_TIMEOUT": "0"}, "timeout=0.0"),
        ({"LAMINA_PLAINTEXT": "maybe"}, "LAMINA_PLAINTEXT='maybe' is neither 1 nor 0"),
        ({"LAMINA_PLAINTEXT": "1", "LAMINA_TLS_CA": "FILE"}, "LAMINA_PLAINTEXT and LAMINA_TLS_CA exclude each other"),
        ({"LAMINA_TLS_CA": "/nonexistent"}, "cannot read the TLS file /nonexistent"),
        ({"LAMINA_TOKEN_FILE": "/nonexistent"}, "LAMINA_TOKEN_FILE: cannot read /nonexistent"),
        ({"LAMINA_TOKEN_FILE": "/dev/null"}, "LAMINA_TOKEN_FILE: /dev/null holds no token"),
    ],
)
def test_a_bad_value_is_refused(variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(lamina.InvalidError, match=said):
        lamina.connect()


def test_the_readme_lists_every_variable() -> None:
    table = README.split("## Connect and read")[1].split("## Change and commit")[0]
    named = {name for line in table.splitlines() if line.startswith("|") for name in re.findall("LAMINA_[A-Z_]+", line)}
    assert named == set(_environment.NAMES) - {_environment.OUTPUT}


def test_a_misspelled_variable_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = ("LAMINA_SERVER_LISTEN", "LAMINA_CHANGE_KEYS", "LAMINA_EXEC_CONFIG", "LAMINA_BISECT_FILE", "LAMINA_OUTPUT")
    for name in (*known, "_LAMINA_COMPLETE", "LAMINA_TOKENFILE", "LAMINA_CA"):
        monkeypatch.setenv(name, "secret")
    with caplog.at_level(logging.WARNING, "lamina"):
        lamina.connect()
        aio.connect()
    assert sorted(record.getMessage() for record in caplog.records) == [
        "the environment has LAMINA_CA, which means nothing: is it LAMINA_TLS_CA?",
        "the environment has LAMINA_TOKENFILE, which means nothing: is it LAMINA_TOKEN_FILE?",
    ]


def test_only_a_name_that_looks_like_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("LAMINA_FOO", "LAMINA_TOKEM", "LAMINA_"):
        monkeypatch.setenv(name, "secret")
    with caplog.at_level(logging.WARNING, "lamina"):
        lamina.connect()
    assert sorted(record.getMessage() for record in caplog.records) == [
        "the environment has LAMINA_, which means nothing",
        "the environment has LAMINA_FOO, which means nothing",
        "the environment has LAMINA_TOKEM, which means nothing: is it LAMINA_TOKEN?",
    ]


def test_what_kubernetes_says_of_a_service_named_lamina_is_no_misspelt_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = "tcp://10.3.0.7:7440"
    monkeypatch.setenv("LAMINA_SERVICE_HOST", "10.3.0.7")
    for name in ("SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT_7440_TCP_PORT", "EU_SERVICE_PORT"):
        monkeypatch.setenv(f"LAMINA_{name}", "7440")
    for name in ("PORT", "PORT_7440_TCP", "EU_PORT"):
        monkeypatch.setenv(f"LAMINA_{name}", address)
    with caplog.at_level(logging.WARNING, "lamina"):
        lamina.connect()
        assert not caplog.records
        monkeypatch.setenv("LAMINA_PORT", "7440")
        lamina.connect()
    assert "LAMINA_PORT, which means nothing" in caplog.text


@pytest.mark.parametrize("connect", [lamina.connect, aio.connect])
def test_only_the_default_timeout_leaves_it_to_the_environment(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the default went through somebody else's hands; and help shows it as the number that it is."""
    default = inspect.signature(connect).parameters["timeout"].default
    assert repr(default) == "10.0"
    monkeypatch.setenv("LAMINA_TIMEOUT", "2.5")
    assert connect(timeout=copy.deepcopy(default))._shell.session.timeout_seconds == 2.5
    assert connect(timeout=pickle.loads(pickle.dumps(default)))._shell.session.timeout_seconds == 2.5
    assert connect(timeout=10.0)._shell.session.timeout_seconds == 10
    monkeypatch.delenv("LAMINA_TIMEOUT")
    assert connect()._shell.session.timeout_seconds == 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": True}, "timeout= is a number of seconds, not bool"),
        ({"timeout": None}, "timeout= is a number of seconds, not None"),
        ({"author": ""}, "author='' names nobody"),
        ({"author": " "}, "author=' ' names nobody"),
        ({"author": "ada\0"}, r"author= holds U\+0000"),
        ({"author": "\ud800"}, "author= holds a lone surrogate"),
        ({"target": "a\0b"}, r"target, such as 'localhost:7440', holds U\+0000"),
    ],
)
@pytest.mark.parametrize("connect", [lamina.connect, aio.connect])
def test_arguments_that_cannot_be_meant(connect: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, lamina.InvalidError), match=said):
        connect(**options)
