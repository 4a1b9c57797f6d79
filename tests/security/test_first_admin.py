"""The first start of a closed server, and `access reset`: an admin's token, in a file that only the server can read."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.access import token_file
from lamina_server.access.live import read_map
from lamina_server.commits import admin
from lamina_server.domain import access_checks, access_map
from lamina_server.domain.planning import MapLimits
from lamina_server.domain.values import Value
from lamina_server.rpc.handlers import SERVICE
from lamina_server.store.open import open_store
from tests.security.closed import Secured, tls_files
from tests.security.people import People
from tests.server.commits.test_access import write_by_other_means
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

LIMITS = MapLimits(keys=1_000, size_bytes=1_000_000)


@dataclass
class Place:
    """An empty database, and the folder in which the token's file should be."""

    url: str
    folder: Path
    token_file: Path

    def serve(self, *arguments: str) -> ServerProcess:
        given = () if "sqlite" in self.url else ("--bootstrap-token-file", str(self.token_file))
        return ServerProcess(self.url, "--access", "closed", *given, *arguments)

    def reset(self, file: Path, code: int = 0) -> str:
        done = command("access", "reset", "--database", self.url, "--token-file", str(file))
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout

    def admins(self) -> list[str]:
        """Return the ids of the tokens of the admin."""
        with closing(open_store(self.url)) as store, store.read() as reading:
            access = access_map.read(read_map(reading)[1])
        assert access_checks.admins(access) <= {"token:admin"}
        return sorted(access.tokens)

    def break_map(self) -> None:
        with closing(open_store(self.url)) as store:
            write_by_other_means(store, {"users/ada": Value.of_null()})


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(f"sqlite:///{tmp_path}/lamina.db", tmp_path, tmp_path / "lamina.db.admin-token")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.new_database()
    yield Place(url, tmp_path, tmp_path / "first.token")
    postgres.drop_database(url)


def command(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "lamina_server", *arguments]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def caller(target: str, file: Path) -> str:
    """Return who a server takes the holder of a file's token for; the reason if it takes nobody."""
    with grpc.insecure_channel(target) as channel:
        metadata = (("authorization", f"Bearer {file.read_text().strip()}"),)
        try:
            info = ConfigServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            return str(error.code().name)
        return str(info.author)


def check_file(file: Path, *said: str) -> None:
    status = file.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_nlink, status.st_uid) == (0o600, 1, os.geteuid())
    text = file.read_text()
    assert text.startswith("lamina_")
    assert text.count("\n") == 1
    assert sorted(file.parent.glob(".*")) == []
    for each in said:
        assert str(file) in each
        assert text.strip().split("_", 2)[2] not in each


def test_the_first_start_makes_one_admin(place: Place) -> None:
    with place.serve() as server:
        server.until_logged('"event": "ready"')
        check_file(place.token_file, server.printed, server.log)
        assert server.printed.startswith(f"lamina-server ready on {server.target}, closed, data in ")
        assert "(empty: nobody has made a config yet)" in server.printed
        assert '"access": "closed"' in server.log
        assert caller(server.target, place.token_file) == "token:admin"
        made = place.token_file.read_text()
        server.restart()
        assert place.token_file.read_text() == made
        assert str(place.token_file) in server.printed  # as long as it is there, and counts
        server.until_logged('"event": "ready"')
        assert "first admin made" not in server.log
        place.token_file.rename(place.folder / "kept")
        server.restart()
        assert "token of an admin" not in server.printed
        assert not place.token_file.exists()
        assert caller(server.target, place.folder / "kept") == "token:admin"


def test_a_start_that_was_killed_before_its_commit_locks_nobody_out(place: Place) -> None:
    left = token_file.make(place.token_file)  # as it is left behind
    place.token_file.with_name(f".{place.token_file.name}.new").hardlink_to(place.token_file)
    with place.serve() as server:
        check_file(place.token_file)
        assert caller(server.target, place.token_file) == "token:admin"
        assert str(place.token_file) in server.printed
    assert place.admins() == [left.id]


@pytest.mark.postgres
def test_servers_that_start_at_once_make_one_admin(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    open_store(url).close()
    files = [tmp_path / f"{number}.token" for number in range(3)]
    servers = [ServerProcess(url, "--access", "closed", "--bootstrap-token-file", str(file)) for file in files]
    with ExitStack() as stack:
        starts = [threading.Thread(target=server.start) for server in servers]
        for server in servers:
            stack.push(server)
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        made = [file for file in files if file.exists()]
        assert len(made) == 1
        assert [caller(server.target, made[0]) for server in servers] == ["token:admin"] * 3
    place = Place(url, tmp_path, made[0])
    assert len(place.admins()) == 1
    postgres.drop_database(url)


def test_many_threads_make_one_admin(place: Place) -> None:
    """The same with one file for all, as in a shared folder."""
    with closing(open_store(place.url)) as store:
        results: list[Path | None] = []

        def make() -> None:
            results.append(admin.make_first(store, lambda: place.token_file, limits=LIMITS))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(str, results)) == sorted([str(place.token_file), *["None"] * 7])
    check_file(place.token_file)
    assert len(place.admins()) == 1


def open_to_others(file: Path) -> None:
    token_file.make(file)
    file.chmod(0o640)


def linked(file: Path) -> None:
    token_file.make(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


BAD_FILES = {
    "open to others": (open_to_others, "only this account can open"),
    "a symbolic link": (linked, "cannot read"),
    "other content": (lambda file: (file.touch(0o600), file.write_text("lamina_\n")), "has no token in it"),
    "a folder": (lambda file: file.mkdir(), "Is a directory; move it away"),
    "a pipe": (lambda file: os.mkfifo(file, 0o600), "only this account can open"),
    "no folder": (lambda file: shutil.rmtree(file.parent), "No such file or directory; name another file"),
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_another_file_in_its_place_is_refused(bad: str, tmp_path: Path) -> None:
    spoil, says = BAD_FILES[bad]
    file = tmp_path / "folder" / "token"
    file.parent.mkdir()
    spoil(file)
    database = f"sqlite:///{tmp_path}/lamina.db"
    done = command("serve", "--database", database, "--access", "closed", "--bootstrap-token-file", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lamina-server: --bootstrap-token-file: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert Place(database, tmp_path, file).admins() == []
    with ServerProcess(database, "--access", "closed", "--bootstrap-token-file", str(tmp_path / "good")) as server:
        assert caller(server.target, tmp_path / "good") == "token:admin"


def test_a_database_without_a_file_has_the_token_in_the_working_directory(tmp_path: Path) -> None:
    program = [sys.executable, "-u", "-m", "lamina_server", "serve", "--database", "sqlite://", "--access", "closed"]
    with ServerProcess.of_program([*program, "--listen", "localhost:0"], cwd=tmp_path) as server:
        check_file(tmp_path / "lamina.admin-token", server.printed)


def test_a_server_with_an_admin_needs_no_place_for_a_token(place: Place, tmp_path: Path) -> None:
    """Such as one whose working directory was removed."""
    place.reset(place.token_file)
    with place.serve("--bootstrap-token-file", "/nowhere/token") as server:
        assert caller(server.target, place.token_file) == "token:admin"


# --- access reset ------------------------------------------------------------------------------


def test_a_reset_makes_a_new_admin_and_revokes_the_old_one(place: Place) -> None:
    new = place.folder / "new"
    with place.serve():
        pass
    old = place.admins()
    said = place.reset(new)
    check_file(new, said)
    assert said.startswith(f"lamina-server: the token of the new admin is in {new}; version 2 of _lamina/access, in ")
    assert place.admins() != old
    with place.serve() as server:
        assert caller(server.target, new) == "token:admin"
        assert caller(server.target, place.token_file) == "UNAUTHENTICATED"
        assert "token of an admin" not in server.printed  # that of the file counts no more


def test_a_reset_mends_a_map_that_cannot_be_read(place: Place) -> None:
    with place.serve():
        pass
    place.break_map()
    with place.serve() as server:
        assert caller(server.target, place.token_file) == "UNAUTHENTICATED"
        server.until_logged('"event": "ready"')
        assert '"access": "no version of it holds, so a closed server lets nobody in"' in server.log
        assert "users/ada: is no key of _lamina/access" in server.log
    new = place.folder / "new"
    left_out, _ = place.reset(new).splitlines()
    assert left_out == "lamina-server: left out users/ada, which could not be read"
    with place.serve() as server:
        assert caller(server.target, new) == "token:admin"


def test_a_reset_replaces_no_file_and_writes_nothing_then(place: Place) -> None:
    place.token_file.write_text("mine")
    assert "exists: move it away, or name another file" in place.reset(place.token_file, code=2)
    assert place.token_file.read_text() == "mine"
    assert place.admins() == []


def test_a_reset_of_a_database_that_takes_no_commits_leaves_no_file(place: Place) -> None:
    file = place.folder / "new"

    class FailedError(Exception):
        pass

    def fail(*_: object, **__: object) -> None:
        raise FailedError

    with pytest.MonkeyPatch.context() as patch, closing(open_store(place.url)) as store:
        patch.setattr(admin, "perform", fail)
        with pytest.raises(FailedError):
            admin.reset(store, path=file, limits=LIMITS)
    assert not file.exists()
    assert place.admins() == []


def test_a_reset_beside_a_server(place: Place) -> None:
    """A SQLite file belongs to its server. Servers on PostgreSQL follow."""
    new = place.folder / "new"
    with place.serve() as server:
        if place.url.startswith("sqlite"):
            assert "in use by another" in place.reset(new, code=1)
            assert not new.exists()
            return
        place.reset(new)
        server.until_logged('"version": 2, "event": "_lamina/access followed"')
        assert caller(server.target, new) == "token:admin"
        assert caller(server.target, place.token_file) == "UNAUTHENTICATED"


def test_a_server_that_knows_certificates_alone_starts_with_an_admin_who_has_one(tmp_path: Path) -> None:
    """A token could not be used there, so none is made."""
    people = People()
    ops = people.certificate("uri:spiffe://corp.example/ops")
    database = f"sqlite:///{tmp_path}/lamina.db"
    with tls_files(people, Secured.MTLS) as files:
        given = [text for name, path in files.settings.items() for text in (f"--{name.replace('_', '-')}", str(path))]
        serve = ("serve", "--database", database, "--listen", "localhost:0", "--access", "closed", *given)
        done = command(*serve)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "lamina-server: --tls-client-ca: callers are known by their certificates, and none of them is an admin: "
            "`lamina-server access reset --admin cert:NAME` makes one\n"
        )
        done = command("access", "reset", "--database", database, "--admin", ops.principal)
        assert done.stdout.startswith(f"lamina-server: {ops.principal} is an admin; version 1 of _lamina/access, in ")
        with ServerProcess(database, "--access", "closed", *given) as server:
            with grpc.secure_channel(server.target, files.channel_credentials(ops)) as channel:
                found = ConfigServiceStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=20)
            assert found.principal == ops.principal
            server.until_logged('"event": "ready"')
            assert "no admin" not in server.log
        assert [path.name for path in tmp_path.glob("*token*")] == []


def test_a_reset_says_that_it_made_a_database(tmp_path: Path) -> None:
    """A path may be misspelt; but a server that takes certificates alone needs a reset before its first start."""
    for is_new in (True, False):
        done = command("access", "reset", "--database", f"sqlite:///{tmp_path}/lamina.db", "--admin", "cert:ops")
        assert (done.returncode, "this made a new one" in done.stdout) == (0, is_new), done.stdout + done.stderr


def test_a_reset_for_nobody_is_refused(tmp_path: Path) -> None:
    place = Place(f"sqlite:///{tmp_path}/lamina.db", tmp_path, tmp_path / "token")
    pasted = f"lamina_k3v9q2x7m4d1_{'canary' * 8}"
    form = "--admin takes a principal: cert:NAME, such as cert:spiffe://corp.example/ops, or oidc:NAME; nothing was"
    for principal, says in (
        ("token:nobody", "names nobody who can call"),
        ("spiffe://corp.example/ops", form),
        (f"oidc:{pasted}", form),
    ):
        done = command("access", "reset", "--database", place.url, "--admin", principal)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert "canary" not in done.stderr
    done = command("access", "reset", "--database", place.url, "--admin", "cert:ops", "--token-file", "new")
    assert done.returncode == 2
    assert "needs no --token-file" in done.stderr
    assert place.admins() == []


# --- open and closed ---------------------------------------------------------------------------

ANYWHERE = ("--listen", "0.0.0.0:0", "--insecure-plaintext")


@pytest.mark.parametrize(
    ("arguments", "mode", "warned"),
    [
        ((), "open", False),
        (("--access", "open"), "open", False),
        (("--access", "closed"), "closed", False),
        (("--insecure-open",), "open", False),
        (ANYWHERE, "closed", False),
        ((*ANYWHERE, "--insecure-open"), "OPEN TO OTHER MACHINES by --insecure-open", True),
        ((*ANYWHERE, "--insecure-open", "--access", "open"), "OPEN TO OTHER MACHINES by --insecure-open", True),
    ],
)
def test_open_and_closed(arguments: Sequence[str], mode: str, warned: bool, tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", *arguments) as server:
        ready = server.printed.splitlines()[0]
        assert ready.startswith(f"lamina-server ready on {server.target}, {mode}, data in ")
        port = server.target.rpartition(":")[2]
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            call = ConfigServiceStub(channel).ListConfigs
            if mode == "closed":
                with pytest.raises(grpc.RpcError) as raised:
                    call(pb.ListConfigsRequest(), timeout=20)
                assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
            else:
                call(pb.ListConfigsRequest(), timeout=20)
        server.stop(signal.SIGTERM)
        assert ("open to other machines" in server.log) == warned


def test_open_to_others_must_be_meant(tmp_path: Path) -> None:
    done = command("serve", *ANYWHERE, "--access", "open", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("lamina-server: --access: other machines can reach 0.0.0.0:0")
    assert "allow it with --insecure-open" in done.stderr
    done = command("serve", *ANYWHERE, "--access", "closed", "--insecure-open", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "lamina-server: --insecure-open contradicts --access: leave out one of them\n"
    assert list(tmp_path.iterdir()) == []


def test_health_and_the_server_info_tell_nothing_of_access(tmp_path: Path) -> None:
    """Whatever is wrong with the access."""
    place = Place(f"sqlite:///{tmp_path}/lamina.db", tmp_path, tmp_path / "lamina.db.admin-token")
    place.reset(place.token_file)
    place.break_map()
    with ServerProcess(place.url) as server, grpc.insecure_channel(server.target) as channel:
        info = ConfigServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=20)
        assert {field.name for field, _ in info.ListFields()} == {"version", "author"}
        assert info.author == "anonymous"
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "readiness", SERVICE.full_name):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
