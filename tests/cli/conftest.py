"""A server for these tests, and ways to run commands. It runs on SQLite: commands see no difference."""

from collections.abc import Iterator

import pytest

import lamina
from tests.cli.running import InProcess
from tests.support.server import ServerProcess, config_name

__all__ = ["config_name"]


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server for the whole run; each test uses its own `config_name`."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('cli') / 'lamina.db'}") as server:
        yield server.target


@pytest.fixture
def cli(target: str) -> InProcess:
    """The command, run in this process as ada: fast, for tests that need no real pipe or terminal."""
    return InProcess(target)


@pytest.fixture
def client(target: str) -> Iterator[lamina.Client]:
    """The SDK, as bob: it prepares configs for commands, and checks what the commands did."""
    with lamina.connect(target, author="bob") as client:
        yield client


@pytest.fixture
def shop(client: lamina.Client, config_name: str) -> lamina.Config:
    """A config at version 2: one key of each kind of value, of which `timeout` was raised from 30 to 45."""
    cfg = client.config(config_name, create=True)
    cfg |= {"timeout": 30, "name": "shop", "hosts": ["h1", "h2"], "limits": {"cpu": 4}, "on": True, "ratio": 0.5}
    cfg |= {"none": None, "blob": b"\x00\xff"}
    cfg.commit("first settings")
    cfg["timeout"] = 45
    cfg.commit("the payment provider is slow today")
    return cfg
