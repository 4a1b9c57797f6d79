"""No password gets out, wherever an operator puts it: not to stdout, not to stderr, and not into the log."""

import base64
from pathlib import Path

import pytest

from lamina_server.store.address import DatabaseAddressError
from lamina_server.store.contract import StoreNotReadyError, UnusableStoreError
from lamina_server.store.open import open_store
from tests.server.commands import Run, printed

PARTS = ("Zq7xJ", "K9wVh")
"""The beginning and the end of the password."""
MALFORMED = f"postgresql://ada:{PARTS[0]}@{PARTS[1]}@db/lamina"
UNREACHABLE = f"postgresql://ada:{''.join(PARTS)}@127.0.0.1:1/lamina"
KEY = f"-----BEGIN PRIVATE KEY-----\n{''.join(PARTS)}\n"

COMMANDS = {
    "serve": ["--listen", "localhost:0"],
    "migrate": [],
    "verify": [],
    "backup": ["copy"],
    "restore": ["bundle"],
    "keys": ["rotate"],
}
NAMES = (
    *("listen", "tls-cert", "tls-key", "tls-client-ca", "wait-for-database-seconds", "insecure-plaintext"),
    *("access", "insecure-open", "bootstrap-token-file", "secret-key-file", "secret-key-command"),
)


def everywhere(url: str) -> list[Run]:
    """Return each way to give an address, to the right option and to others, of each command."""
    runs: list[Run] = [([url], {}), (["--database", url, "serve"], {}), ([f"--{url}"], {}), (["restore", url], {})]
    for command, rest in COMMANDS.items():
        runs += [
            ([command, *rest, *given], {}) for given in (["--database", url], [f"--databse={url}"], [url], [f"--{url}"])
        ]
        runs += [([command, *rest, "--", url], {})]
        runs += [([command, *rest], {f"LAMINA_SERVER_{name}": url}) for name in ("DATABASE", "DATABSE")]
    for name in NAMES:
        runs += [
            (["serve", f"--{name.removesuffix('-seconds')}={url}"], {}),
            (["serve"], {f"LAMINA_SERVER_{name.upper().replace('-', '_')}": url}),
        ]
    files = ["serve", "--database", "sqlite://", "--tls-cert", "bundle", "--tls-key"]
    resets = [["--token-file", url], ["--database", url, "--token-file", "new"], [url], [f"--{url}"]]
    runs += [(["access", "reset", *given], {}) for given in resets] + [(["access", url], {})]
    return [*runs, ([*files, url], {}), ([*files, "bundle", "--tls-client-ca", url], {})]


@pytest.mark.parametrize(
    "url", [MALFORMED, UNREACHABLE, MALFORMED.partition("//")[2]], ids=["malformed", "good", "bare"]
)
def test_an_address_is_not_repeated(url: str, tmp_path: Path) -> None:
    pieces = [part[at : at + 4] for part in PARTS for at in range(len(part) - 3)]
    (tmp_path / "bundle").write_bytes(b"no bundle")
    runs = [run for run in everywhere(url) if url.startswith("postgresql:") or "backup" not in run[0]]
    for run, text in zip(runs, printed(runs, tmp_path), strict=True):
        assert "exit 1" in text or "exit 2" in text, (run, text)
        assert "Traceback" not in text, run
        assert [piece for piece in pieces if piece in text] == [], (run, text)


def test_a_key_in_place_of_its_file_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(b"no bundle")
    runs: list[Run] = [(["serve", "--tls-cert", "bundle"], {"LAMINA_SERVER_TLS_KEY": KEY})]
    (text,) = printed(runs, tmp_path)
    assert text == "lamina-server: LAMINA_SERVER_TLS_KEY must be the path of a file\nexit 2\n"


@pytest.mark.parametrize(
    "option", ["sslmode", "connect_timeout", "keepalives", "gssencmode", "ssl_min_protocol_version", "require_auth"]
)
def test_a_bad_option_is_named_without_its_value(option: str) -> None:
    """A password with an & in it would go on in the value of an option. It stays bad, so to wait would not help."""
    with pytest.raises((DatabaseAddressError, UnusableStoreError)) as refused:
        open_store(f"postgresql://ada@127.0.0.1:1/lamina?password=secret&{option}={PARTS[0]}")
    assert option in str(refused.value)
    assert PARTS[0] not in str(refused.value)
    assert not isinstance(refused.value, StoreNotReadyError)


def test_a_bad_option_in_the_environment_does_not_pass_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "odd")
    with pytest.raises(UnusableStoreError, match="invalid sslmode value") as refused:
        open_store("postgresql://ada@127.0.0.1:1/lamina")
    assert not isinstance(refused.value, StoreNotReadyError)


def test_an_outer_key_in_place_of_its_file_is_not_repeated(tmp_path: Path) -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    option: Run = (["serve", "--database", "sqlite://", "--secret-key-file", key], {})
    variable: Run = (["serve", "--database", "sqlite://"], {"LAMINA_SERVER_SECRET_KEY_FILE": key})
    for text in printed([option, variable], tmp_path):
        assert "was given in place of the path of its file" in text
        assert key[:8] not in text
