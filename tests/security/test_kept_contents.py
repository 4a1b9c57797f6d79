"""What the server keeps revealed saves the unsealing, gives nobody a right, and stays within its budget."""

import gc
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType

import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.access.live import LiveAccess
from lamina_server.audit.audit import CallAudit
from lamina_server.domain.access import of_principal
from lamina_server.domain.secrets import MARK, Content
from lamina_server.domain.values import Kind
from lamina_server.rpc import revealing
from lamina_server.rpc import secrets as rpc_secrets
from lamina_server.rpc.secrets import Secrets
from lamina_server.secrets.keyring import Keyring, ensure_data_key
from lamina_server.secrets.live import LiveKeyring
from lamina_server.secrets.outer import LocalKey
from lamina_server.secrets.sealing import DataKey
from lamina_server.store.memory import MemoryStore
from lamina_server.store.silence import Silence
from tests.security.closed import closed
from tests.security.people import People
from tests.security.secret_helpers import CANARY, key_file, secret
from tests.server.bare_client import Wire, commit_request, running

CONTENTS = {f"k{number:03}": f"{CANARY}-{number}" for number in range(150)}
"""More secrets than the event loop unseals itself."""


@pytest.fixture
def unsealed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the key of each secret that is unsealed."""
    keys: list[str] = []
    unseal = DataKey.unseal

    def noting(self: DataKey, config: str, key: str, sealed: bytes) -> Content:
        keys.append(key)
        return unseal(self, config, key, sealed)

    monkeypatch.setattr(DataKey, "unseal", noting)
    return keys


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(LocalKey.random())


@pytest.fixture
def secrets(keyring: Keyring) -> Secrets:
    """Return the secrets of an open server."""
    store = MemoryStore()
    ensure_data_key(keyring, store)
    return Secrets(LiveKeyring(keyring, store, Silence()), LiveAccess(is_open=True))


class Told(CallAudit):
    """Keeps what it is told of revealed secrets."""

    __slots__ = ("revealed",)

    def __init__(self) -> None:
        self.revealed: list[tuple[str, int, list[str]]] = []

    def reveal(self, config: str, version: int, keys: Sequence[str]) -> None:
        self.revealed.append((config, version, list(keys)))


def part(keyring: Keyring, config: str, key: str, content: str) -> bytes:
    """Return an entry as a part of a reply of GetVersion."""
    sealed = keyring.seal(config, key, Content(Kind.STRING, content.encode())).data
    assert isinstance(sealed, bytes)
    value = pb.Value(secret=pb.Secret(sealed=sealed))
    return pb.ConfigVersion(entries=[pb.Entry(key=key, value=value, origin_version=1)]).SerializeToString()


async def read(secrets: Secrets, parts: Sequence[bytes], config: str = "a") -> tuple[dict[str, str], Told]:
    """Reveal a reply of GetVersion. Return the contents in it, and what the audit was told."""
    told = Told()
    reply = await secrets.revealed(parts, revealing.version, config, of_principal("token:ada"), told)
    return contents(pb.ConfigVersion.FromString(reply)), told


async def read_from(wire: Wire, config: str = "a") -> dict[str, str]:
    return contents(await wire.stub.GetVersion(pb.GetVersionRequest(config=config)))


def contents(version: pb.ConfigVersion) -> dict[str, str]:
    """Return the contents that were sent, by key."""
    found = {entry.key: entry.value.secret for entry in version.entries}
    return {key: secret.string for key, secret in found.items() if secret.HasField("string")}


def held_by(root: object) -> Iterator[object]:
    """Yield all objects that an object holds, without code."""
    todo, seen = [root], {id(root)}
    while todo:
        found = todo.pop()
        yield found
        for each in gc.get_referents(found):
            if id(each) not in seen and not isinstance(each, type | FunctionType):
                seen.add(id(each))
                todo.append(each)


def bytes_held_by(root: object) -> int:
    """Return the memory of all objects that an object holds. Those that the garbage collector knows have a header."""
    return sum(sys.getsizeof(each) + 16 * gc.is_tracked(each) for each in held_by(root))


async def test_after_a_commit_of_one_key_one_secret_is_unsealed(tmp_path: Path, unsealed: list[str]) -> None:
    """Beside secrets there are a text, and bytes that look like a secret."""
    given = {key: secret(content) for key, content in CONTENTS.items()} | {"text": "a text", "bytes": MARK}
    async with running(MemoryStore(), secret_key_file=key_file(tmp_path)) as wire:
        await wire.stub.Commit(commit_request("a", given))
        assert await read_from(wire) == CONTENTS
        assert sorted(unsealed) == sorted(CONTENTS)
        unsealed.clear()
        await wire.stub.Commit(commit_request("a", {"k007": secret("new")}))
        for _ in range(2):
            assert await read_from(wire) == CONTENTS | {"k007": "new"}
        assert set(unsealed) == {"k007"}


async def test_a_revoked_reveal_stops_at_once_though_contents_are_kept(tmp_path: Path) -> None:
    people = People()
    admin, ada, bob = people.admin(), people.reader("ada", "shop/**", reveal=True), people.reader("bob", "shop/**")
    async with closed(MemoryStore(), people, secret_key_file=key_file(tmp_path)) as server:
        await server.wire(admin).stub.Commit(commit_request("shop/prod", {"x": secret(), "y": secret()}))
        for _ in range(2):
            assert await read_from(server.wire(ada), "shop/prod") == {"x": CANARY, "y": CANARY}
            assert await read_from(server.wire(bob), "shop/prod") == {}
        await server.change({"grants/token:ada shop/**": {"role": "reader"}}, by=admin)
        assert await read_from(server.wire(ada), "shop/prod") == {}


async def test_what_is_kept_of_one_config_is_not_shown_in_another(secrets: Secrets, keyring: Keyring) -> None:
    """Somebody who can write to the database may copy sealed bytes to a config that they may reveal."""
    parts = [pb.ConfigVersion(version=1).SerializeToString(), part(keyring, "a", "x", CANARY)]
    assert (await read(secrets, parts))[0] == {"x": CANARY}
    assert (await read(secrets, parts, "b"))[0] == {}


async def test_the_audit_is_told_of_what_is_kept_too(secrets: Secrets, keyring: Keyring) -> None:
    """The header has a hash that looks like a secret."""
    header = pb.ConfigVersion(version=7, hash=MARK * 8).SerializeToString()
    parts = [header, *(part(keyring, "a", key, CANARY) for key in ("x", "y"))]
    for reply in (parts, parts, [b"".join(parts)]):
        found, told = await read(secrets, reply)
        assert found == {"x": CANARY, "y": CANARY}
        assert told.revealed == [("a", 7, ["x", "y"])]


async def test_a_damaged_secret_stays_sealed_and_the_others_are_kept(
    secrets: Secrets, keyring: Keyring, unsealed: list[str]
) -> None:
    parts = [pb.ConfigVersion(version=1).SerializeToString(), *(part(keyring, "a", key, CANARY) for key in "xyz")]
    message = pb.ConfigVersion.FromString(parts[2])
    damaged = message.entries[0].value.secret
    damaged.sealed = damaged.sealed[:-1] + bytes([damaged.sealed[-1] ^ 1])
    parts[2] = message.SerializeToString()
    for tried in (["x", "y", "z"], ["y"]):
        found, told = await read(secrets, parts)
        assert found == {"x": CANARY, "z": CANARY}
        assert told.revealed == [("a", 1, ["x", "z"])]
        assert unsealed == tried
        unsealed.clear()


@pytest.mark.parametrize("is_whole", [False, True])
async def test_what_is_kept_stays_within_its_budget(
    monkeypatch: pytest.MonkeyPatch, keyring: Keyring, *, is_whole: bool
) -> None:
    """Measured as the objects that are held. The oldest contents are in memory no longer."""
    limit_bytes = 200_000
    monkeypatch.setattr(rpc_secrets, "REVEALED_BYTES", limit_bytes)
    store = MemoryStore()
    ensure_data_key(keyring, store)
    secrets = Secrets(LiveKeyring(keyring, store, Silence()), LiveAccess(is_open=True))
    header = pb.ConfigVersion(version=1).SerializeToString()
    for number in range(20):
        parts = [header, *(part(keyring, "a", f"k{place}", f"{CANARY}-{number}-{place}") for place in range(50))]
        found, _ = await read(secrets, [b"".join(parts)] if is_whole else parts)
        assert len(found) == 50
        assert bytes_held_by(secrets._revealed) < limit_bytes
    texts = b"".join(each for each in held_by(secrets._revealed) if isinstance(each, bytes))
    assert bytes_held_by(secrets._revealed) > limit_bytes / 2
    assert f"{CANARY}-19-7".encode() in texts
    assert f"{CANARY}-0-7".encode() not in texts
