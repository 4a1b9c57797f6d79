"""A throw-away PostgreSQL: a cluster of its own, reached by a Unix socket alone, gone when it is stopped.

It runs as a normal user and as root (PostgreSQL refuses root, so it then takes the `postgres` or `nobody` account), and
with the durability of production: the server under test refuses a database without it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.pq import PGconn, Ping
from sqlalchemy import URL, make_url

from lamina_server.store.address import PostgresqlAddress, parse

START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
ORPHANS = "pre-existing shared memory block"

DISK = Path("/tmp")
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 << 30  # a run needs some 150 MiB for each worker; a container often has 64 MiB there

# Words sort differently here than by their bytes, as on most people's databases, so tests find a column of ours without
# COLLATE "C". Below PostgreSQL 15 or without ICU, initdb refuses this locale, and the C locale is used.
LOCALES = (("--locale=C", "--locale-provider=icu", "--icu-locale=en-US"), ("--locale=C",))


class PostgresAbsentError(Exception):
    """No PostgreSQL binaries were found on this machine."""


def _is_bindir(folder: Path) -> bool:
    """Return whether `folder` holds PostgreSQL's own programs, not wrapper scripts around them."""
    return all(_is_binary(folder / name) for name in ("initdb", "postgres"))


def _is_binary(program: Path) -> bool:
    if not os.access(program, os.X_OK):
        return False
    with program.open("rb") as file:
        return file.read(2) != b"#!"


def _bindirs() -> Iterator[Path]:
    """Yield the folders in which PostgreSQL's programs may be, the most explicit choice first."""
    if chosen := os.environ.get("LAMINA_TEST_PG_BINDIR"):
        yield Path(chosen)
    if program := shutil.which("initdb"):
        yield Path(program).resolve().parent
    # Debian keeps them off the PATH, one folder for each major version.
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def find_bindir() -> Path:
    """Return the folder with `initdb` and `postgres`; raise PostgresAbsentError where there is none."""
    for folder in _bindirs():
        if _is_bindir(folder):
            return folder
    message = "neither LAMINA_TEST_PG_BINDIR, PATH nor /usr/lib/postgresql leads to initdb and postgres"
    raise PostgresAbsentError(message)


def _has_room(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= MEMORY_BYTES


def unprivileged(folder: Path) -> dict[str, Any]:
    """Return the arguments that make `subprocess` leave root's rights behind, and give `folder` to that account."""
    if os.geteuid() != 0:
        return {}
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    account = accounts.get("postgres") or accounts["nobody"]
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def postgresql_address(url: str) -> PostgresqlAddress:
    """Return the parts of a PostgreSQL database's URL."""
    address = parse(url)
    assert isinstance(address, PostgresqlAddress)
    return address


class Postgres:
    """One running cluster. Use `new_database()` for each test; `with Postgres.start() as postgres:` stops it again."""

    def __init__(self, base: Path, launch: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._base = base
        self._launch = launch
        self._process = launch()
        self._databases = 0

    @classmethod
    def start(cls, *, in_memory: bool = False, language: str = "") -> Self:
        """Make a cluster and start it, in about a second; raise PostgresAbsentError where there are no programs.

        `in_memory` is for tests that make and drop many databases: each syncs the disk, which on a busy machine takes
        ten times as long as all else. The server's settings are the same; only a loss of power would tell.

        `language` is that of its messages, such as "de", without any locale of the system.
        """
        bindir = find_bindir()
        base, options = _place(in_memory=in_memory)
        options["env"] |= {"LANGUAGE": language}
        return cls._started(bindir, base, options, partial(_initialise, bindir, base, options))

    @classmethod
    def start_on(cls, data: Path) -> Self:
        """Start a cluster on a copy of the files of another one, such as a base backup."""
        bindir = find_bindir()
        base, options = _place(in_memory=False)
        return cls._started(bindir, base, options, partial(_copy, data, base, options))

    @classmethod
    def _started(cls, bindir: Path, base: Path, options: dict[str, Any], fill: Callable[[], None]) -> Self:
        try:
            fill()
            postgres = cls(base, lambda: _launch(bindir, base, options))
        except BaseException:
            shutil.rmtree(base)
            raise
        try:
            postgres.until_ready()
        except BaseException:
            postgres.stop()
            raise
        return postgres

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the cluster's maintenance database; for tests use `new_database()`."""
        return self._url("postgres")

    def new_database(self, *, template_url: str | None = None) -> str:
        """Create a database and return its URL: empty, or a copy of another one, to which nobody may be connected.

        A copy takes some 50 ms whatever is in it, so tests of one schema create it once and copy it from then on.
        """
        self._databases += 1
        name = f"test_{self._databases}"
        template = make_url(template_url).database if template_url else "template1"
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(str(template)))
        )
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, and end all connections to it."""
        name = str(make_url(url).database)
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def kill(self) -> None:
        """Kill the postmaster, as a crash would; its children end when they notice, which takes a moment."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the postmaster and its children while the block lasts: they keep all connections, and answer none."""
        stopped = [self._process.pid, *children(self._process.pid)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start the cluster again after `kill`, on the same data, and wait until it answers.

        From the thread that will also stop it: the system ends the new process with the thread that started it.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._process = self._launch()
            try:
                self.until_ready()
            except RuntimeError:
                # As long as a child of the dead postmaster holds the shared memory, a new one refuses to start.
                if ORPHANS not in self._log or time.monotonic() > deadline:
                    raise
                (self._base / "log").unlink()
            else:
                return

    def restart_closed(self) -> None:
        """Restart the cluster as a standby that lets nobody in: it waits for a primary that it does not have."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(STOP_SECONDS)
        (self._base / "data" / "standby.signal").touch()
        with (self._base / "data" / "postgresql.conf").open("a") as settings:
            settings.write("hot_standby = off\n")
        self._process = self._launch()
        deadline = time.monotonic() + START_SECONDS
        while PGconn.ping(f"host={self._base} user=lamina".encode()) != Ping.REJECT:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start within {START_SECONDS:.0f} s:\n{self._log}")
            time.sleep(POLL_SECONDS)

    def until_ready(self) -> None:
        """Wait until the cluster answers: just started, or in recovery after a crash of its own."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start within {START_SECONDS:.0f} s:\n{self._log}") from None
                time.sleep(POLL_SECONDS)
            else:
                return

    def stop(self) -> None:
        """Stop the cluster at once and remove it from the disk; a second call does nothing."""
        self._process.send_signal(signal.SIGINT)  # its "fast shutdown": it does not wait for clients to leave
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)  # its "immediate shutdown": kill would orphan its children
            self._process.wait(STOP_SECONDS)
        shutil.rmtree(self._base, ignore_errors=True)

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database that is there."""
        return self._url(database)

    def _url(self, database: str) -> str:
        url = URL.create("postgresql+psycopg", username="lamina", database=database, query={"host": str(self._base)})
        return url.render_as_string(hide_password=False)

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the cluster's owner, to its maintenance database."""
        return psycopg.connect(host=str(self._base), user="lamina", dbname="postgres", autocommit=True)

    def _execute(self, statement: sql.Composed) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    @property
    def _log(self) -> str:
        return (self._base / "log").read_text(encoding="utf-8", errors="replace")


def children(parent: int) -> Iterator[int]:
    """Yield the processes that a process has started, and that are still there."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            after_name = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(after_name[1]) == parent:
                yield int(folder.name)


def _place(*, in_memory: bool) -> tuple[Path, dict[str, Any]]:
    """Make a cluster's folder; return it with the arguments for `subprocess` to run programs there."""
    # Directly below the root's folders, whatever TMPDIR says: a socket's path may have 107 bytes.
    base = Path(tempfile.mkdtemp(prefix="lamina-pg-", dir=MEMORY if in_memory and _has_room(MEMORY) else DISK))
    environment = {"PATH": os.environ["PATH"], "HOME": str(base), "LC_ALL": "C.UTF-8"}
    return base, {"env": environment, "cwd": base, **unprivileged(base)}


def _copy(data: Path, base: Path, options: dict[str, Any]) -> None:
    """Take over a cluster's files, for the account that is to run it."""
    copied = base / "data"
    shutil.copytree(data, copied, symlinks=True)
    if "user" in options:
        for each in (copied, *copied.rglob("*")):
            os.chown(each, options["user"], options["group"], follow_symlinks=False)


def _initialise(bindir: Path, base: Path, options: dict[str, Any]) -> None:
    """Run `initdb`, with the first of LOCALES that it takes."""
    # --no-sync is about the empty cluster alone: what the running server writes is synced as usual.
    program = [
        str(bindir / "initdb"),
        "-D",
        str(base / "data"),
        "-U",
        "lamina",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    answers = []
    for locale in LOCALES:
        done = subprocess.run([*program, *locale], check=False, capture_output=True, text=True, **options)
        if done.returncode == 0:
            return
        answers.append(done.stderr)
    raise RuntimeError(f"initdb failed:\n{''.join(answers)}")


def _launch(bindir: Path, base: Path, options: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the server process, bound to the life of this one where the system can do that."""
    options = dict(options)
    settings = {"listen_addresses": "", "unix_socket_directories": str(base), "max_connections": "200"}
    if options["env"].get("LANGUAGE"):
        settings["lc_messages"] = "C.UTF-8"
    program = [
        str(bindir / "postgres"),
        "-D",
        str(base / "data"),
        *(f"--{key}={value}" for key, value in settings.items()),
    ]
    if setpriv := shutil.which("setpriv"):  # so that a killed test run leaves no server behind
        account: list[str] = []
        if "user" in options:  # `subprocess` would fork to leave root's rights behind, and gRPC's threads break a fork
            account = [f"--reuid={options.pop('user')}", f"--regid={options.pop('group')}", "--clear-groups"]
            del options["extra_groups"]
        program = [setpriv, *account, "--pdeathsig", "INT", *program]
    with (base / "log").open("ab") as log:
        process: subprocess.Popen[bytes] = subprocess.Popen(program, stdout=log, stderr=subprocess.STDOUT, **options)
    return process
