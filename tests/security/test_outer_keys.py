"""The outer key: from a file, from a command that fails, hangs or answers wrongly, and what the operator is told."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

import lamina
import lamina.bundle
from lamina_protos import bundle
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.cli.main import main
from lamina_server.secrets import live
from lamina_server.secrets.keyring import FAILED
from lamina_server.secrets.outer import CommandKey, LocalKey, OuterKeyError
from lamina_server.secrets.rotation import rotate
from lamina_server.store.open import open_store
from tests.security.closed import ClosedProcess
from tests.security.people import People
from tests.security.secret_helpers import CANARY, key_file, plain_of, secret, value_of
from tests.server.bare_client import Wire, commit_request, refusal, running
from tests.support.server import ServerProcess

COMMAND = """
import pathlib, sys, time
mode = pathlib.Path(__file__).with_name("mode").read_text()
given = sys.stdin.buffer.read()
pathlib.Path(__file__).with_name("calls").open("a").write(sys.argv[-1] + "\\n")
if mode == "fails":
    sys.exit("no such key")
if mode == "hangs":
    time.sleep(60)
if mode == "says nothing":
    sys.exit()
sys.stdout.buffer.write(bytes(byte ^ (1 if mode == "another key" else 85) for byte in given))
"""


class Service:
    """A key management service, as a command: `mode` says what it does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "kms.py").write_text(COMMAND)
        self.mode = "works"
        self.command = f"{sys.executable} -S {folder / 'kms.py'}"

    def __setattr__(self, name: str, value: str) -> None:
        super().__setattr__(name, value)
        if name == "mode":
            (self._folder / "mode").write_text(value)

    @property
    def calls(self) -> list[str]:
        return (self._folder / "calls").read_text().split()


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


@asynccontextmanager
async def serving(tmp_path: Path, **settings: Any) -> AsyncIterator[Wire]:
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    try:
        async with running(store, **settings) as wire:
            yield wire
    finally:
        store.close()


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"A" * 43 + b"=", 0o640, "run chmod 600"),
        (b"A" * 43 + b"=", 0o604, "mode 0604"),
        (b"A" * 40, 0o600, "32 random bytes in base64"),
        (b"not base64!", 0o600, "32 random bytes in base64"),
        (b"", 0o600, "32 random bytes in base64"),
    ],
)
def test_a_file_that_cannot_be_the_outer_key_stops_the_start(
    tmp_path: Path, content: bytes, mode: int, says: str
) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    path.chmod(mode)
    database = tmp_path / "lamina.db"
    done = CliRunner().invoke(main, ["serve", "--database", f"sqlite:///{database}", "--secret-key-file", str(path)])
    assert (done.exit_code, "--secret-key-file: " in done.output, says in done.output) == (2, True, True), done.output
    assert content.decode() not in done.output or not content
    assert "head -c" not in done.output, "pasted, the command would replace what is left of a key"
    assert not database.exists(), "nothing was touched"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand over a file of root's")
@pytest.mark.parametrize(("mode", "is_taken"), [(0o440, True), (0o640, True), (0o460, False), (0o444, False)])
def test_root_hands_the_key_over_to_the_servers_group(mode: int, is_taken: bool) -> None:
    """As Kubernetes does with `fsGroup`, and systemd with `LoadCredential`."""
    nobody = 65_534
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        key = key_file(Path(name))
        os.chown(key, 0, nobody)
        key.chmod(mode)
        os.setegid(nobody)
        os.seteuid(nobody)
        try:
            with nullcontext() if is_taken else pytest.raises(OuterKeyError, match="other accounts may read"):
                LocalKey.in_file(key)
        finally:
            os.seteuid(0)
            os.setegid(0)


def test_no_key_is_rotated_in_a_database_that_is_not_there(tmp_path: Path) -> None:
    """A misspelt path is no rotation."""
    database = tmp_path / "lamina.db"
    code, said = invoke(
        "keys", "rotate", "--database", f"sqlite:///{database}", "--secret-key-file", str(key_file(tmp_path))
    )
    assert (code, "there is no database" in said, database.exists()) == (1, True, False), said


@pytest.mark.parametrize("command", ["no-such-program unwrap", "", "'", "ada:hunter2@db/lamina"])
def test_a_command_that_is_no_program_stops_the_start(tmp_path: Path, command: str) -> None:
    arguments = ("--database", f"sqlite:///{tmp_path}/lamina.db", "--secret-key-command", command)
    code, said = invoke("serve", *arguments)
    assert (code, "is no program that can be run here" in said, "hunter2" in said) == (2, True, False), said


def test_a_file_and_a_command_contradict_each_other(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["serve", "--secret-key-file", "a", "--secret-key-command", "b"])
    assert (done.exit_code, "--secret-key-file contradicts --secret-key-command" in done.output) == (2, True)


async def test_the_wrong_file_stops_the_start(tmp_path: Path) -> None:
    async with serving(tmp_path, secret_key_file=key_file(tmp_path)) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret()}))
    words = r"the data keys are encrypted by the outer key local:[0-9a-f]{8}, and the given one is local:"
    with pytest.raises(OuterKeyError, match=words):
        async with serving(tmp_path, secret_key_file=key_file(tmp_path, "other.key")):
            pass


async def test_a_command_wraps_and_unwraps(tmp_path: Path, service: Service) -> None:
    async with serving(tmp_path, secret_key_command=service.command) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret()}))
    async with serving(tmp_path, secret_key_command=service.command) as wire:
        assert await plain_of(wire, "a", "x") == CANARY
        assert await plain_of(wire, "a", "x") == CANARY
        await wire.stub.Commit(commit_request("a", {"y": secret()}))
    assert service.calls == ["wrap", "unwrap", "unwrap"], "once for each start, not for each secret"


@pytest.mark.parametrize("mode", ["fails", "hangs", "says nothing"])
async def test_a_command_that_does_not_work_delays_nothing_else(
    tmp_path: Path, service: Service, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.0)
    settings = {"secret_key_command": service.command, "secret_key_command_seconds": 0.3}
    service.mode = mode
    async with serving(tmp_path, **settings) as wire:
        refused = await refusal(wire.stub.Commit(commit_request("a", {"x": secret()})))
        assert refused.reason == "SECRETS_UNAVAILABLE"
        assert str(tmp_path) not in refused.text, "callers need not know how the server gets its keys"
    service.mode = "works"
    settings["secret_key_command_seconds"] = 30
    async with serving(tmp_path, **settings) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret(), "y": 1}))
    service.mode = mode
    settings["secret_key_command_seconds"] = 0.3
    async with serving(tmp_path, **settings) as wire:
        assert await plain_of(wire, "a", "x") is None
        assert (await value_of(wire, "a", "x")).secret.unavailable == FAILED
        await wire.stub.Commit(commit_request("a", {"y": 2}))
        assert (await refusal(wire.stub.Commit(commit_request("a", {"x": secret()})))).reason == "SECRETS_UNAVAILABLE"
        service.mode = "works"
        wire.application._keys.keyring.outer = CommandKey(service.command, limit_seconds=30)
        assert await plain_of(wire, "a", "x") == CANARY, "it is tried again"
        await wire.stub.Commit(commit_request("a", {"z": secret()}))


async def test_a_command_that_unwraps_to_another_key_stops_the_start(tmp_path: Path, service: Service) -> None:
    async with serving(tmp_path, secret_key_command=service.command) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret()}))
    service.mode = "another key"
    with pytest.raises(OuterKeyError, match="it unwraps a data key to another one"):
        async with serving(tmp_path, secret_key_command=service.command):
            pass


async def test_a_command_that_hangs_is_waited_for_once(tmp_path: Path, service: Service) -> None:
    """However many data keys there are: the start must not take that many times as long."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    outer = CommandKey(service.command, limit_seconds=30)
    for _ in range(3):
        rotate(store, outer)
    store.close()
    service.mode = "hangs"
    before = len(service.calls)
    async with serving(tmp_path, secret_key_command=service.command, secret_key_command_seconds=0.3) as wire:
        await wire.stub.Commit(commit_request("a", {"x": 1}))
    assert service.calls[before:] == ["unwrap"]


async def test_after_a_failure_the_command_is_left_alone_for_a_while(tmp_path: Path, service: Service) -> None:
    service.mode = "fails"
    async with serving(tmp_path, secret_key_command=service.command) as wire:
        for _ in range(3):
            await refusal(wire.stub.Commit(commit_request("a", {"x": secret()})))
    assert service.calls == ["wrap"]


def invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, arguments)
    return done.exit_code, done.output


async def test_keys_rotate_from_a_file_to_a_command(tmp_path: Path, service: Service) -> None:
    key, url = str(key_file(tmp_path)), f"sqlite:///{tmp_path}/lamina.db"
    async with serving(tmp_path, secret_key_file=key) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret()}))
        code, said = invoke("keys", "rotate", "--database", url, "--secret-key-file", key)
        assert (code, "is in use by another server" in said) == (1, True)
    code, said = invoke("keys", "rotate", "--database", url)
    assert (code, "there is no outer key: give --secret-key-file" in said) == (2, True)
    code, said = invoke("keys", "rotate", "--database", url, "--secret-key-file", f"{key}.nosuch")
    assert (code, "--secret-key-file: cannot read the outer key" in said) == (2, True)
    code, said = invoke("keys", "rotate", "--database", url, "--secret-key-file", key, "--new-secret-key-file", key)
    assert (code, "the new outer key is the present one" in said) == (2, True)
    other = str(key_file(tmp_path, "other.key"))
    code, said = invoke("keys", "rotate", "--database", url, "--secret-key-file", other)
    assert (code, "the data keys are encrypted by the outer key local:" in said) == (1, True)
    new = ("--new-secret-key-command", service.command)
    code, said = invoke("keys", "rotate", "--database", url, "--secret-key-file", key, *new)
    assert (code, "the new outer key encrypts all 2 data keys: start the servers" in said) == (0, True), said
    code, said = invoke("keys", "rotate", "--database", url, "--secret-key-file", key, *new)
    assert (code, "the data keys are encrypted by the outer key command, and the given one is local:" in said) == (
        1,
        True,
    ), said
    async with serving(tmp_path, secret_key_command=service.command) as wire:
        assert await plain_of(wire, "a", "x") == CANARY
        await wire.stub.Commit(commit_request("a", {"y": secret()}))
        async with exported(wire, tmp_path / "a.lamina"):
            pass
    code, said = invoke("verify", "--database", url)
    assert code == 0, said
    restored = ("restore", str(tmp_path / "a.lamina"), "--database", f"sqlite:///{tmp_path}/restored.db")
    code, said = invoke(*restored, "--secret-key-file", key)
    assert (code, "it was encrypted by command" in said) == (2, True), said
    code, said = invoke(*restored, "--secret-key-command", service.command)
    assert code == 0, said


async def test_verify_finds_a_secret_whose_data_key_is_gone(tmp_path: Path) -> None:
    async with serving(tmp_path, secret_key_file=key_file(tmp_path)) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret()}))
    engine = create_engine(f"sqlite:///{tmp_path}/lamina.db")
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER config_secret_key_no_delete"))
        connection.execute(text("DELETE FROM config_secret_key"))
    engine.dispose()
    code, said = invoke("verify", "--database", f"sqlite:///{tmp_path}/lamina.db")
    assert (code, "config 'a', version 1: has a secret whose data key is not in the database" in said) == (1, True)


@asynccontextmanager
async def exported(wire: Wire, path: Path, *, with_keys: bool = True, versions: int = 2) -> AsyncIterator[None]:
    """Write a bundle of the config `a`, as an exporter who may reveal gets it."""
    watching = wire.watch("a", 0)
    parts = await watching.parts(versions)
    watching.cancel()
    with path.open("wb") as file:
        writer = bundle.Writer(file)
        for part in parts:
            writer.add(part)
        if with_keys:
            found = await wire.stub.ListSecretKeys(pb.ListSecretKeysRequest(config="a"))
            writer.add_secret_keys(found.keys)
        writer.finish(versions, parts[-1].version.hash)
    yield


async def test_a_bundle_with_secrets_is_restored_by_the_same_outer_key_alone(tmp_path: Path) -> None:
    key, path, url = key_file(tmp_path), tmp_path / "a.lamina", f"sqlite:///{tmp_path}/new.db"
    async with serving(tmp_path, secret_key_file=key) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret("old")}))
        await wire.stub.Commit(commit_request("a", {"x": secret()}))
        async with exported(wire, path):
            pass
        async with exported(wire, tmp_path / "bare.lamina", with_keys=False):
            pass
    for arguments, says in (
        ((str(path),), "give its server's outer key"),
        ((str(path), "--secret-key-file", str(key_file(tmp_path, "other.key"))), "it was encrypted by local:"),
        ((str(tmp_path / "bare.lamina"), "--secret-key-file", str(key)), "not the data key that has sealed them"),
    ):
        code, said = invoke("restore", *arguments, "--database", url)
        assert (code, says in said, "nothing was written" in said) == (2, True, True), said
    code, said = invoke("restore", str(path), "--database", url, "--secret-key-file", str(key))
    assert code == 0, said
    store = open_store(url)
    async with running(store, secret_key_file=key) as wire:
        assert (await plain_of(wire, "a", "x", 1), await plain_of(wire, "a", "x")) == ("old", CANARY)
        await wire.stub.Commit(commit_request("b", {"x": secret()}))
        await wire.stub.ForkConfig(pb.ForkConfigRequest(source="a", target="c", request_id="f"))
        assert not (await wire.stub.Commit(commit_request("a", {"x": secret()}))).created
    with store.read() as reading:
        assert [row.is_foreign for row in reading.secret_keys()] == [True, False], "what came with a file seals nothing"
    store.close()
    code, said = invoke("verify", "--database", url)
    assert code == 0, said


def test_what_the_sdk_exports_is_restored_with_its_secrets(tmp_path: Path) -> None:
    key, path, url = str(key_file(tmp_path)), tmp_path / "a.lamina", f"sqlite:///{tmp_path}/new.db"
    server = ServerProcess(f"sqlite:///{tmp_path}/lamina.db", "--secret-key-file", key)
    with server, lamina.connect(server.target) as client:
        cfg = client.config("a", create=True)
        cfg["x"] = lamina.Secret(CANARY)
        cfg.commit("a secret")
        lamina.bundle.export(cfg, path)
    code, said = invoke("restore", str(path), "--database", url, "--secret-key-file", key)
    assert code == 0, said
    restored = ServerProcess(url, "--secret-key-file", key)
    with restored, lamina.connect(restored.target) as client:
        assert client.config("a")["x"].reveal() == CANARY


def test_a_caller_who_may_not_reveal_proves_a_chain_of_secrets_and_rotations(tmp_path: Path) -> None:
    people = People()
    writer, reader = people.writer("writer", "**", reveal=True), people.reader("reader", "**")
    key, new = key_file(tmp_path), key_file(tmp_path, "new.key")
    url = f"sqlite:///{tmp_path}/lamina.db"
    with ClosedProcess(url, people, "--secret-key-file", str(key)) as server:
        cfg = server.connect(writer).config("a", create=True)
        for number in range(3):
            cfg["x"] = lamina.Secret(f"{CANARY}-{number}")
            cfg.commit("another one")
    arguments = ("--database", url, "--secret-key-file", str(key), "--new-secret-key-file", str(new))
    assert invoke("keys", "rotate", *arguments)[0] == 0
    rotated = ServerProcess(url, "--secret-key-file", str(new), LAMINA_SERVER_ACCESS="closed")
    with rotated, lamina.connect(rotated.target, token=writer.token, cache_dir="") as client:
        cfg = client.config("a")
        cfg["x"] = lamina.Secret(f"{CANARY}-3")
        cfg.commit("under the next data key")
        assert [cfg.at(number)["x"].reveal() for number in (1, 4)] == [f"{CANARY}-0", f"{CANARY}-3"]
        with lamina.connect(rotated.target, token=reader.token, cache_dir="") as other:
            seen = other.config("a")
            assert seen.verify().number == 4
            with pytest.raises(lamina.PermissionDeniedError):
                seen["x"].reveal()
    without = ServerProcess(url, LAMINA_SERVER_ACCESS="closed")
    with without, lamina.connect(without.target, token=writer.token, cache_dir="") as client:
        cfg = client.config("a")
        assert (cfg.verify().number, cfg["x"].is_revealed) == (4, False)
        cfg["y"] = 1
        cfg.commit("no secret")
    assert '"secrets cannot be revealed"' in without.log
    assert CANARY not in without.log + rotated.log + server.log


def test_a_key_of_this_process_wraps_what_only_it_unwraps() -> None:
    one, other = LocalKey.random(), LocalKey.random()
    wrapped = one.wrap(bytes(64))
    assert (one.unwrap(wrapped), one.name != other.name) == (bytes(64), True)
    for key, given in ((other, wrapped), (one, wrapped[:-1]), (one, b"")):
        with pytest.raises(OuterKeyError):
            key.unwrap(given)


async def test_a_database_keeps_to_one_outer_key(tmp_path: Path) -> None:
    """What is restored in parts, across a rotation, needs the database's own rotation in between."""
    old, new, bundles = (
        key_file(tmp_path),
        key_file(tmp_path, "new.key"),
        [tmp_path / "1.lamina", tmp_path / "2.lamina"],
    )
    served, url = f"sqlite:///{tmp_path}/lamina.db", f"sqlite:///{tmp_path}/restored.db"
    async with serving(tmp_path, secret_key_file=old) as wire:
        await wire.stub.Commit(commit_request("a", {"x": secret("first")}))
        await wire.stub.Commit(commit_request("a", {"x": secret("second")}))
        async with exported(wire, bundles[0]):
            pass
    turned = ("--secret-key-file", str(old), "--new-secret-key-file", str(new))
    assert invoke("keys", "rotate", "--database", served, *turned)[0] == 0
    async with serving(tmp_path, secret_key_file=new) as wire:
        await wire.stub.Commit(commit_request("a", {"y": secret("third")}))
        async with exported(wire, bundles[1], versions=3):
            pass
    assert invoke("restore", str(bundles[0]), "--database", url, "--secret-key-file", str(old))[0] == 0
    later = ("restore", str(bundles[1]), "--database", url, "--secret-key-file", str(new))
    code, said = invoke(*later)
    assert (code, "run `lamina-server keys rotate` there first" in said, "nothing was written" in said) == (
        2,
        True,
        True,
    )
    assert invoke("keys", "rotate", "--database", url, *turned)[0] == 0
    assert invoke(*later)[0] == 0
    async with running(open_store(url), secret_key_file=new) as wire:
        found = [await plain_of(wire, "a", "x", 1), await plain_of(wire, "a", "x"), await plain_of(wire, "a", "y")]
    assert found == ["first", "second", "third"]
