"""`verify` with both clients against real servers, on intact databases and on ones that were tampered with."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina._mapping.values import Stored
from lamina._wire import hashing
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.sdk import Sdk, beside, of
from tests.support.server import ServerProcess

ALL_KINDS = {
    "null": None,
    "boolean": True,
    "integer": -(2**63),
    "float": 0.1,
    "text": "schön \U0001f600",
    "bytes": bytes(range(256)),
    "json": {"b": [1, 1.0, None], "ä": "é"},
    "é/key": 1,
}


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 3, {"x": 28}; version 1 was {"x": 27, "y": 450}."""
    return await committed(client, config_name)


@pytest.mark.crossed
async def test_both_ends_make_the_same_hashes(client: Any, config_name: str) -> None:
    """P5: for every kind of value, and every field of a version."""
    cfg = await of(client.config(config_name, create=True))
    assert (await of(cfg.verify())).number == 0
    cfg |= ALL_KINDS
    await of(cfg.commit("all kinds"))
    del cfg["null"]
    cfg["json"] = []
    other = await of(client.config(config_name))
    other["text"] = "merged"
    await of(other.commit())
    await of(cfg.commit("on top of another's"))
    head = await of(cfg.revert(to=1, message="back"))
    assert await of(cfg.verify()) == head
    assert (cfg.version, head.number) == (4, 4)


async def test_verify_covers_the_version_of_the_draft(client: Any, cfg: Any) -> None:
    """It verifies neither the head nor the staged changes."""
    other = await of(client.config(cfg.name))
    other["x"] = 29
    await of(other.commit())
    cfg["x"] = 30
    verified = await of(cfg.verify())
    assert (verified.number, cfg.version, cfg["x"]) == (3, 3, 30)
    assert (await of(other.verify())).number == 4


@pytest.mark.parametrize("at", [0, 2])
async def test_a_fork_is_verified(cfg: Any, at: int) -> None:
    fork = await of(cfg.fork(f"{cfg.name}/eu", at=at, message="a region"))
    verified = await of(fork.verify())
    assert (verified.number, verified.source_version) == (1, at)
    fork["z"] = 1
    await of(fork.commit())
    assert (await of(fork.verify())).number == 2


async def test_versions_larger_than_a_message_are_verified(client: Any, config_name: str) -> None:
    """P4: a version in several parts has one hash."""
    cfg = await of(client.config(config_name, create=True))
    for number in range(2):
        cfg |= {f"k{part}": f"{number}{part}" * 200_000 for part in range(7)}
        await of(cfg.commit())
    assert (await of(cfg.verify())).number == 2


async def test_a_silent_server_ends_the_verification(sdk: Sdk, tampering: "Tampering") -> None:
    """It raises an error and does not wait for ever."""
    await committed(sdk.connect(tampering.server.target), "app")
    hasty = await of(sdk.connect(tampering.server.target, timeout=0.5).config("app"))
    tampering.server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(lamina.DeadlineError):
            await beside(sdk, hasty.verify)
    finally:
        tampering.server.signal(signal.SIGCONT)
    assert (await of(hasty.verify())).number == 3


class Tampering:
    """A server and its database file, which can be changed without the triggers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = ServerProcess(f"sqlite:///{path}")

    def run(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Change rows while the server is stopped."""
        self.server.stop()
        with closing(sqlite3.connect(self.path)) as connection:
            for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {trigger}")
            for statement, parameters in statements:
                assert connection.execute(statement, parameters).rowcount == 1
            connection.commit()
        self.server._listen = self.server.target
        self.server.start()


@pytest.fixture
def tampering(tmp_path: Path) -> Iterator[Tampering]:
    made = Tampering(tmp_path / "lamina.db")
    with made.server:
        yield made


def forged_value(config: str, version: int, data: int) -> tuple[str, tuple[Any, ...]]:
    """Set x to another value, with the right digest."""
    digest = hashing.value_digest(config, version, "x", Stored("int64", data))
    return f"UPDATE config_value SET int_value = {data}, digest = ? WHERE version = {version} AND name = 'x'", (digest,)


def forged_version(config: str, header: lamina.Version, parent: lamina.Version) -> tuple[str, tuple[Any, ...]]:
    """Change the author of version 3, with the right hash."""
    message = pb.ConfigVersion(config=config, version=3, author="eve", message=header.message, key_count=1)
    message.commit_time.FromDatetime(header.time)
    digest = hashing.value_digest(config, 3, "y", lamina.MISSING)
    made = hashing.version_hash(message, bytes.fromhex(parent.hash), [digest])
    return "UPDATE config SET author = 'eve', hash = ? WHERE version = 3", (made,)


TAMPERED: dict[str, tuple[int, str]] = {
    "value": (1, "UPDATE config_value SET int_value = 26 WHERE version = 1 AND name = 'x'"),
    "author": (2, "UPDATE config SET author = 'eve' WHERE version = 2"),
    "hash": (2, "UPDATE config SET hash = zeroblob(32) WHERE version = 2"),
    "gone": (1, "DELETE FROM config_value WHERE version = 1 AND name = 'y'"),
    "forged-old": (1, ""),
    "forged-head": (2, ""),
    "forged-past": (3, ""),
    "whole": (0, ""),
}


@pytest.mark.crossed
async def test_tampering_with_the_database_is_found(sdk: Sdk, tampering: Tampering) -> None:
    """P5: every change of a row is found, and the error names the first version that was changed."""
    client = sdk.connect(tampering.server.target, author="ann")
    configs = {name: await committed(client, name) for name in TAMPERED}
    third, second = [
        await of(configs["forged-past"].verify()),
        (await of(configs["forged-past"].at(2)))._entries.header,
    ]
    forged = {
        "forged-old": forged_value("forged-old", 1, 26),
        "forged-head": forged_value("forged-head", 2, 29),
        "forged-past": forged_version("forged-past", third, second),
    }
    statements = {name: forged.get(name, (statement, ())) for name, (_, statement) in TAMPERED.items()}
    where = " AND config_name_id = (SELECT id FROM config_name WHERE name = '{}')"
    tampering.run(
        *((statement + where.format(name), values) for name, (statement, values) in statements.items() if statement)
    )
    for name, (number, _) in TAMPERED.items():
        if number:
            with pytest.raises(lamina.DataLossError, match=rf"version {number} of '?{name}'?") as caught:
                await of(configs[name].verify())
            assert caught.value.reason == "HASH_MISMATCH"
    assert (await of(configs["whole"].verify())).number == 3
    # Another client has not seen the old version 3 and cannot notice the change: every hash is right.
    fresh = await of(sdk.connect(tampering.server.target).config("forged-past"))
    assert (await of(fresh.verify())).author == "eve"


async def committed(client: Any, name: str) -> Any:
    cfg = await of(client.config(name, create=True))
    cfg |= {"x": 27, "y": 450}
    await of(cfg.commit("first"))
    cfg["x"] = 28
    await of(cfg.commit("second"))
    del cfg["y"]
    await of(cfg.commit("third"))
    assert (await of(cfg.verify())).number == 3
    return cfg
