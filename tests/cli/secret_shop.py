"""A config with secrets, for the tests of the command line."""

from typing import Any

import lamina
from lamina import testing

CANARY = "canary-d20e"


def new_shop(server: testing.Server, name: str) -> lamina.Config:
    """Make a config with secrets of each kind, and a plain key."""
    cfg = server.connect(author="bob").config(name, create=True)
    cfg |= {"db/pw": lamina.Secret(CANARY), "pem": lamina.Secret(b"\x00\xff"), "x": 1}
    cfg["dsn"] = lamina.Secret({"user": "u", "pw": CANARY})
    cfg.commit("first")
    return cfg


def secret_of(shop: lamina.Config, key: str) -> Any:
    """Return the content that a secret has now."""
    shop.refresh()
    assert isinstance(shop[key], lamina.Secret)
    return shop[key].reveal()
