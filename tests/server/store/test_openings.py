"""A database that cannot be used: each cause has its own words, with the place and without the password."""

import errno
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from lamina_server.store.contract import StoreNotReadyError, UnansweredError, UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.postgresql.errors import Cause, PostgresqlErrors, cause_of, is_bug
from lamina_server.store.sqlite.errors import SqliteErrors
from lamina_server.store.verify.inspection import inspecting
from tests.faults.disks import small_disk
from tests.server.store.test_hostile_settings import operating, run
from tests.support import absent
from tests.support.postgres import Postgres, postgresql_address

GUARDED = "local all guarded scram-sha-256\nlocal all barred reject\n"


@pytest.fixture(scope="session")
def guarded(postgres: Postgres) -> Postgres:
    """A cluster with roles that must show a password (`guarded`), that pg_hba.conf bars, and that may not log in."""
    let_in_by_password(postgres)
    with postgres_session(postgres) as session:
        session.execute("CREATE ROLE barred LOGIN")
        session.execute("CREATE ROLE sleeping NOLOGIN")
        session.execute("CREATE ROLE full_up LOGIN CONNECTION LIMIT 0")
    return postgres


def let_in_by_password(postgres: Postgres) -> None:
    with postgres_session(postgres) as session:
        ((hba,),) = session.execute("SHOW hba_file").fetchall()
        Path(str(hba)).write_text(GUARDED + Path(str(hba)).read_text())
        session.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        session.execute("SELECT pg_reload_conf()")


def postgres_session(postgres: Postgres) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(postgres._base), user="lamina", dbname="postgres", autocommit=True)


def url_for(postgres: Postgres, user: str, database: str = "postgres") -> str:
    return f"postgresql://{user}@/{database}?host={postgres._base}"


def refusal(url: str) -> UnusableStoreError:
    with pytest.raises(UnusableStoreError) as refused:
        open_store(url).close()
    with pytest.raises(UnusableStoreError) as by_verify, inspecting(url):
        pass
    assert str(by_verify.value) == str(refused.value)
    return refused.value


@pytest.mark.parametrize(
    ("user", "database", "words", "passes"),
    [
        ("guarded:canary", "postgres", "the password is wrong, or there is no such role", False),
        ("guarded", "postgres", "it asks for a password, and none was given", False),
        ("nobody", "postgres", "there is no such role", False),
        ("sleeping", "postgres", "this role may not log in from here: see its LOGIN attribute and pg_hba.conf", False),
        ("barred", "postgres", "this role may not log in from here: see its LOGIN attribute and pg_hba.conf", False),
        ("lamina", "none", "there is no such database", False),
        (
            "full_up",
            "postgres",
            "it has no connection left for this role: see max_connections and CONNECTION LIMIT",
            True,
        ),
    ],
)
def test_a_role_that_may_not_connect(guarded: Postgres, user: str, database: str, words: str, passes: bool) -> None:
    refused = refusal(url_for(guarded, user, database))
    name = user.partition(":")[0]
    place = f"postgresql://{name}@/{database}?host={guarded._base}&port=5432"
    assert str(refused) == f"{place} cannot be used: {words}"
    assert isinstance(refused, StoreNotReadyError) == passes


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Answer every connection with some bytes; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("sslmode", ["prefer", "disable"])
def test_a_server_that_is_not_postgresql(sslmode: str) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        refused = refusal(f"postgresql://ada:canary@127.0.0.1:{port}/lamina?sslmode={sslmode}")
    place = f"postgresql://ada@127.0.0.1:{port}/lamina"
    assert str(refused) == f"{place} cannot be used: what answers there is not PostgreSQL"
    assert not isinstance(refused, StoreNotReadyError)


def test_a_server_without_tls() -> None:
    with answering(b"N") as port:
        refused = refusal(f"postgresql://ada@127.0.0.1:{port}/lamina?sslmode=require")
    assert str(refused).endswith("it speaks no TLS, which sslmode asks for")


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        for host, words in (
            (f"127.0.0.1:{port}", "nothing listens there"),
            (f"localhost:{port}", "nothing listens there"),
            ("nowhere.invalid:5432", "the host's name does not resolve"),
        ):
            refused = refusal(f"postgresql://ada:canary@{host}/lamina")
            assert str(refused) == f"postgresql://ada@{host}/lamina cannot be used: {words}"
            assert isinstance(refused, StoreNotReadyError)
    assert str(refusal("postgresql:///lamina?host=/no/folder&user=ada")).endswith(
        "there is no such socket: PostgreSQL does not run, or not there"
    )


def test_no_right_to_make_tables(guarded: Postgres, postgres_url: str) -> None:
    database = postgres_url.rpartition("/")[2].partition("?")[0]
    with pytest.raises(UnusableStoreError) as refused:
        open_store(url_for(guarded, "guarded:right", database))
    assert str(refused.value).endswith(
        "cannot be used: the role lacks a right: permission denied for schema public"
        " (the server tried to CREATE: run lamina-server migrate with a role that may)"
    )


def test_no_right_to_insert(guarded: Postgres, postgres_url: str) -> None:
    """A server that could only read would be ready, and refuse each commit."""
    open_store(postgres_url).close()
    with operating(postgres_url) as operator:
        run(operator, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guarded")
    database = postgres_url.rpartition("/")[2].partition("?")[0]
    url = url_for(guarded, "guarded:right", database)
    with pytest.raises(UnusableStoreError, match="the role lacks a right: permission denied for table config_name"):
        open_store(url)
    with operating(postgres_url) as operator:
        run(operator, "GRANT INSERT ON ALL TABLES IN SCHEMA public TO guarded")
    with pytest.raises(UnusableStoreError, match="the role lacks a right: permission denied for sequence"):
        open_store(url)
    with operating(postgres_url) as operator:
        run(operator, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO guarded")
    open_store(url).close()


@pytest.mark.parametrize(
    ("code", "words", "lasts"),
    [
        (sqlite3.SQLITE_READONLY_DBMOVED, "it, or its folder, is read-only for the server's account", True),
        (sqlite3.SQLITE_CANTOPEN, "it, or a file that SQLite keeps beside it, cannot be opened", True),
        (sqlite3.SQLITE_BUSY, "another program holds it locked", False),
        (sqlite3.SQLITE_IOERR_FSYNC, "the disk failed", False),
        (sqlite3.SQLITE_NOLFS, "SQLite failed", False),
    ],
)
def test_a_caller_hears_what_sqlite_says_and_whether_it_lasts(code: int, words: str, lasts: bool) -> None:
    error = sqlite3.OperationalError("a canary")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_NAME"
    ours = SqliteErrors(Path("/secret/lamina.db")).ours(error)
    assert isinstance(ours, UnansweredError)
    assert str(ours).startswith(f"the database cannot be used: {words}")
    assert str(ours).endswith("(SQLITE_NAME); nothing was written")
    assert "secret" not in str(ours)
    assert ours.reason == ("STORE_UNUSABLE" if lasts else "STORE_UNAVAILABLE")


@pytest.mark.parametrize(
    ("kind", "words", "lasts"),
    [
        (psycopg.errors.ReadOnlySqlTransaction, "it takes no writes: it has become a standby", False),
        (psycopg.errors.InsufficientPrivilege, "the role lacks a right", True),
        (psycopg.errors.IdleInTransactionSessionTimeout, "a transaction was idle for too long", False),
        (psycopg.errors.StatementTooComplex, "a limit of PostgreSQL was reached (SQLSTATE 54001)", False),
    ],
)
def test_a_caller_hears_what_postgresql_says_and_whether_it_lasts(
    kind: type[psycopg.Error], words: str, lasts: bool
) -> None:
    ours = PostgresqlErrors(postgresql_address("postgresql://ada@secret/lamina")).ours(kind("a canary"))
    assert isinstance(ours, UnansweredError)
    assert str(ours).startswith(f"the database cannot be used: {words}")
    assert str(ours).endswith("; nothing was written")
    assert "secret" not in str(ours)
    assert ours.reason == ("STORE_UNUSABLE" if lasts else "STORE_UNAVAILABLE")


def test_a_disk_that_is_full_and_a_lock_that_lasts_have_words() -> None:
    """Neither can be had here in a moment; other tests fill disks and hold locks for long."""
    assert cause_of(psycopg.errors.DiskFull()).words == "its disk is full"
    assert cause_of(psycopg.errors.LockNotAvailable()).passes


@pytest.mark.parametrize(
    ("error", "words", "passes"),
    [
        (psycopg.errors.SerializationFailure, "it has ended the transaction, because another one was in its way", True),
        (psycopg.errors.IoError, "its disk or its operating system failed", False),
        (psycopg.errors.ConfigFileError, "its configuration file has an error", False),
        (psycopg.errors.InternalError_, "it failed inside", False),
        (psycopg.errors.FdwError, "it failed with FdwError", False),
    ],
)
def test_each_error_has_words_or_at_least_its_code(error: type[psycopg.Error], words: str, passes: bool) -> None:
    found = error()
    assert cause_of(found).words == f"{words} (SQLSTATE {found.sqlstate})"
    assert cause_of(found).passes == passes
    assert not is_bug(found)


def test_a_missing_right_says_what_was_tried() -> None:
    """PostgreSQL says for which table, and not which right."""
    for statement, verb in (("WITH heads AS (…) SELECT …", "SELECT"), ("INSERT INTO config …", "INSERT")):
        cause = cause_of(psycopg.errors.InsufficientPrivilege(), statement)
        assert cause.words == f"the role lacks a right (the server tried to {verb})"


def test_a_statement_that_is_wrong_is_a_bug() -> None:
    """Nothing that an operator does can mend it."""
    for error in (psycopg.errors.SyntaxError, psycopg.errors.NumericValueOutOfRange, psycopg.ProgrammingError):
        assert is_bug(error())


def test_words_that_nobody_knows_are_shown_as_they_are() -> None:
    """A network may recover, but what a server has refused in its own language stays refused."""
    place = 'connection failed: connection to server at "db" (10.0.0.1), port 5432 failed'
    refused = cause_of(psycopg.OperationalError(f"{place}: FATAL:  Passwort-Authentifizierung fehlgeschlagen"))
    assert refused == Cause("FATAL: Passwort-Authentifizierung fehlgeschlagen", passes=False)
    lost = cause_of(psycopg.OperationalError(f"{place}: Protocol not available"))
    assert lost == Cause("Protocol not available", passes=True)


@pytest.fixture(scope="module")
def german() -> Iterator[Postgres]:
    with Postgres.start(in_memory=True, language="de") as cluster:
        let_in_by_password(cluster)
        yield cluster


@pytest.mark.postgres
class TestAnotherLanguage:
    """The texts of a server that speaks another language are in no table."""

    @pytest.mark.parametrize(
        ("user", "database", "words"),
        [
            ("guarded:canary", "postgres", "FATAL: Passwort-Authentifizierung für Benutzer »guarded« fehlgeschlagen"),
            ("nobody", "postgres", "FATAL: Rolle »nobody« existiert nicht"),
            ("lamina", "none", "FATAL: Datenbank »none« existiert nicht"),
        ],
    )
    def test_who_is_not_let_in(self, german: Postgres, user: str, database: str, words: str) -> None:
        refused = refusal(url_for(german, user, database))
        assert str(refused).endswith(f"cannot be used: {words}")
        assert not isinstance(refused, StoreNotReadyError)

    def test_a_server_that_lets_nobody_in_yet_is_waited_for(self, german: Postgres) -> None:
        german.restart_closed()
        words = r"FATAL: das Datenbanksystem (startet|nimmt keine Verbindungen an)"
        with pytest.raises(StoreNotReadyError, match=words):
            open_store(url_for(german, "lamina"))


class TestSqlite:
    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UnusableStoreError, match=re.escape(f"'{tmp_path}' is a folder")):
            open_store(f"sqlite:///{tmp_path}")

    def test_a_file_that_another_program_has_locked(self, tmp_path: Path) -> None:
        path = tmp_path / "lamina.db"
        with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path, timeout=0)) as other:
            one.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError) as refused:
                other.execute("BEGIN IMMEDIATE")
        unusable = SqliteErrors(path).unusable(refused.value)
        assert isinstance(unusable, StoreNotReadyError)
        assert str(unusable) == f"'{path}' cannot be used: another program holds it locked (SQLITE_BUSY)"

    def test_files_that_this_account_may_not_use(self) -> None:
        with TemporaryDirectory(prefix="lamina-") as name:  # pytest's own folders let no other account in
            folders = ("closed", "unwritable", "read-only", "log", "shared-memory", "folder")
            paths = [Path(name) / folder / "lamina.db" for folder in folders]
            for path, mode in zip(paths, (0o700, 0o555, 0o777, 0o777, 0o777, 0o755), strict=True):
                path.parent.mkdir()
                path.parent.chmod(mode)
            Path(name).chmod(0o755)
            for path in paths[2:]:
                open_store(f"sqlite:///{path}").close()
            paths[2].chmod(0o644)
            for path in paths[3:]:
                os.chown(path, 65534, 65534)
            # As root leaves them who looked at the database, or who served it and was killed.
            for path, suffix in ((paths[3], "-wal"), (paths[4], "-shm")):
                path.with_name(f"lamina.db{suffix}").touch(mode=0o644)
            whose = "belongs to user 0, with mode {}, and the server runs as user 65534: change its owner or its mode"
            words = "cannot be used: it, or its folder, is read-only for the server's account"
            assert as_nobody(paths) == [
                f"cannot open '{paths[0]}': Permission denied",
                f"cannot open '{paths[1]}': Permission denied; '{paths[1].parent}' {whose.format('0555')}",
                f"cannot open '{paths[2]}': Permission denied; '{paths[2]}' {whose.format('0644')}",
                f"'{paths[3]}' {words} (SQLITE_READONLY); '{paths[3]}-wal' {whose.format('0644')}",
                f"'{paths[4]}' {words} (SQLITE_READONLY); '{paths[4]}-shm' {whose.format('0644')}",
                f"'{paths[5]}' {words} (SQLITE_READONLY_DIRECTORY); '{paths[5].parent}' {whose.format('0755')}",
            ]

    def test_a_read_only_mount_and_a_full_disk(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", 512 * 1024) as disk:
            path = disk.folder / "lamina.db"
            open_store(f"sqlite:///{path}").close()
            disk.fill()
            with pytest.raises(UnusableStoreError, match="the disk is full"):
                open_store(f"sqlite:///{path}")
            disk.clear()
            subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
            with pytest.raises(UnusableStoreError, match=r"Read-only file system|is read-only: mount it read-write"):
                open_store(f"sqlite:///{path}")


def as_nobody(paths: Sequence[Path]) -> Sequence[str]:
    """Open databases as an account without rights; return the errors."""
    if os.geteuid() != 0:
        absent("another account", "run as root")
    program = """
import os, sys
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.sql.migrations import migrate
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for path in sys.argv[1:]:
    try:
        open_store(f"sqlite:///{path}")
    except UnusableStoreError as error:
        print(error)
"""
    command = [sys.executable, "-c", program, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_each_cause_of_the_system_is_known_by_its_text() -> None:
    """Libpq quotes the system's own words for an errno."""
    for number in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ETIMEDOUT):
        assert cause_of(psycopg.OperationalError(f"failed: {os.strerror(number)}")) == cause_of(OSError(number, ""))
