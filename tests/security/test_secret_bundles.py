"""Configs with secrets and servers: one without an outer key, and one that restores what the SDK has exported."""

import subprocess
import sys
from pathlib import Path

import pytest

import lamina
from lamina.bundle import export
from tests.security.secret_helpers import CANARY, key_file
from tests.support.server import ServerProcess


def restore(path: Path, database: str, *options: object) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "lamina_server", "restore", path, "--database", database, *options]
    return subprocess.run([*map(str, program)], capture_output=True, text=True, check=False)


def test_a_restored_config_has_its_secrets(tmp_path: Path) -> None:
    key, bundle = key_file(tmp_path), tmp_path / "shop.lamina"
    first, second = (f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second"))
    with (
        ServerProcess(first, LAMINA_SERVER_SECRET_KEY_FILE=str(key)) as server,
        lamina.connect(server.target) as client,
    ):
        cfg = client.config("shop", create=True)
        cfg |= {"pw": lamina.Secret(CANARY), "x": 1}
        cfg.commit()
        cfg["pw"] = lamina.Secret(f"{CANARY}-2")
        cfg.commit()
        last = export(cfg, bundle)
    assert CANARY.encode() not in bundle.read_bytes()

    assert "the file has secrets" in restore(bundle, second).stderr
    other = restore(bundle, second, "--secret-key-file", key_file(tmp_path, "other.key"))
    assert (other.returncode != 0, "nothing was written" in other.stderr) == (True, True)
    done = restore(bundle, second, "--secret-key-file", key)
    assert done.returncode == 0, done.stderr
    with (
        ServerProcess(second, LAMINA_SERVER_SECRET_KEY_FILE=str(key)) as server,
        lamina.connect(server.target) as client,
    ):
        cfg = client.config("shop")
        assert (cfg["pw"].reveal(), cfg.at(1)["pw"].reveal()) == (f"{CANARY}-2", CANARY)
        assert cfg.verify().hash == last.hash
    assert not any(CANARY.encode() in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_server_without_a_key_refuses_secrets_and_nothing_else(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server, lamina.connect(server.target) as client:
        cfg = client.config("shop", create=True)
        cfg |= {"pw": lamina.Secret(CANARY), "x": 1}
        with pytest.raises(lamina.LaminaError) as refused:
            cfg.commit()
        assert refused.value.reason == "SECRETS_UNAVAILABLE"
        assert CANARY not in f"{refused.value}"
        del cfg["pw"]
        assert cfg.commit().number == 1
