"""A pgbouncer before a throw-away PostgreSQL: other clients' sessions and ours go through it, by a Unix socket."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from tests.support import absent
from tests.support.postgres import unprivileged

START_SECONDS = 10.0
POLL_SECONDS = 0.02
SOCKET = ".s.PGSQL.5432"
INI = "pgbouncer.ini"


@contextmanager
def pooling(url: str, mode: str, *, round_robin: bool = False) -> Iterator[str]:
    """Run pgbouncer in a mode before the cluster of a database; give the database's URL through it."""
    database = make_url(url)
    with pooler_folder() as folder:
        (folder / INI).write_text(f"""
        [databases]
        * = host={database.query["host"]} user={database.username}
        [pgbouncer]
        listen_addr =
        listen_port = 5432
        unix_socket_dir = {folder}
        auth_type = any
        default_pool_size = 50
        pool_mode = {mode}
        server_round_robin = {round_robin:d}
        server_login_retry = 0
        """)
        with running_pooler(folder):
            yield database.set(query={"host": str(folder)}).render_as_string(hide_password=False)


@contextmanager
def pooler_folder() -> Iterator[Path]:
    """Make a folder for pgbouncer's settings and socket."""
    with tempfile.TemporaryDirectory(prefix="lamina-pooler-", dir="/tmp") as name:  # a socket's path may have 107 bytes
        yield Path(name)


@contextmanager
def running_pooler(folder: Path) -> Iterator[None]:
    """Run pgbouncer with the settings in a folder, where it makes a socket; kill it after the block."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        absent("pgbouncer", "Debian: apt install pgbouncer")
    (folder / SOCKET).unlink(missing_ok=True)  # of one that was killed
    options = unprivileged(folder)  # which refuses to run as root
    with subprocess.Popen(
        [program, str(folder / INI)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    ) as process:
        try:
            _until_listening(process, folder / SOCKET)
            yield
        finally:
            process.kill()


def _until_listening(process: "subprocess.Popen[str]", path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _listens(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            assert process.stdout is not None
            raise RuntimeError(f"pgbouncer does not listen:\n{process.stdout.read()}")
        time.sleep(POLL_SECONDS)


def _listens(path: Path) -> bool:
    """Return whether somebody takes connections there: a socket has its name a moment before."""
    with socket.socket(socket.AF_UNIX) as client, suppress(FileNotFoundError, ConnectionRefusedError):
        client.connect(str(path))
        return True
    return False
