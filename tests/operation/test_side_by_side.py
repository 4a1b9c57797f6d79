"""The release before and this one, side by side on one PostgreSQL, as while servers are replaced one after the other.

The release before is the newest tree in this repository's history that has an older schema.
"""

import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count as counting
from itertools import islice
from pathlib import Path

import grpc
import pytest

import lamina
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.store.sql.revision import NEWEST
from tests.data.make import CODE, newest_revision, serving
from tests.operation.test_upgrades import lamina_server
from tests.server.bare_client import commit_request
from tests.support import absent
from tests.support.server import ServerProcess

MIGRATIONS = "server/lamina_server/store/sql/migrations/versions"
CONFIG = "shop/prod"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(CODE), *arguments], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the release before."""
    folder = tmp_path_factory.mktemp("before")
    try:
        added = (
            git("log", "-1", "--format=%H^", "--diff-filter=A", "--", f"{MIGRATIONS}/{NEWEST}_*.py").decode().strip()
        )
        tree = git("archive", added or "HEAD")  # a migration that is not committed yet has no parent
    except (FileNotFoundError, subprocess.CalledProcessError):
        absent("git with the history of this repository", "make a full clone: git fetch --unshallow")
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=tree, check=True)
    assert newest_revision(folder) < NEWEST
    return folder


@pytest.fixture
def old(before: Path, postgres_url: str) -> Iterator[ServerProcess]:
    """A server of the release before, on a database that it has made."""
    with serving(postgres_url, before) as server:
        yield server


def test_servers_are_replaced_one_after_the_other(old: ServerProcess, before: Path, postgres_url: str) -> None:
    """P1, P6, P8, P9: while the tables are upgraded, and with a server of each release."""
    with ExitStack() as stack:
        ada = stack.enter_context(lamina.connect(old.target, author="ada"))
        config = ada.config(CONFIG, create=True)
        config["x"] = "before"
        config.commit()
        watch = stack.enter_context(config.watch(after=0))
        with ada.config(CONFIG).edit() as draft:
            draft["watched"] = True
        with committing(old.target):
            done = lamina_server("migrate", "--database", postgres_url)
        assert (done.returncode, done.stderr.count('"tables upgraded"')) == (0, 1)
        assert f"upgraded from schema {newest_revision(before)} to {NEWEST}\n" in done.stdout
        new = stack.enter_context(ServerProcess(postgres_url))
        grace = stack.enter_context(lamina.connect(new.target, author="grace"))
        each_reads_the_other(config, grace.config(CONFIG))
        assert outcome(old.target, "one") == outcome(new.target, "one")
        assert outcome(new.target, "two") == outcome(old.target, "two")
        config.refresh()
        assert numbers(watch, config.version) == list(range(1, config.version + 1))
        with pytest.raises(RuntimeError, match=f"the database's schema '{NEWEST}' is not known to this release"):
            serving(postgres_url, before).start()
        both = stack.enter_context(lamina.connect(f"{old.target},{new.target}", author="both")).config(CONFIG)
        for number in range(20):  # no error while its server ends
            both["z"] = number
            both.commit()
            if number == 5:
                old.signal(signal.SIGTERM)
        assert old.wait() == 0
        head = grace.config(CONFIG).version
        with grace.config(CONFIG).watch(after=0) as theirs:
            assert numbers(theirs, head) == list(range(1, head + 1))
    assert lamina_server("verify", "--database", postgres_url).returncode == 0


def numbers(watch: lamina.Watch, count: int) -> list[int]:
    """Return the numbers of the next so many versions."""
    return [version.version for version in islice(watch.versions(), count)]


def each_reads_the_other(one: lamina.Config, other: lamina.Config) -> None:
    """Commit by turns, each on top of what the other has written."""
    for number in range(20):
        writer, reader = (one, other) if number % 2 else (other, one)
        writer.refresh()
        writer["x"] = number
        version = writer.commit()
        reader.refresh()
        assert (reader.version, reader["x"]) == (version.number, number)


@contextmanager
def committing(target: str) -> Iterator[None]:
    """Commit again and again while the block lasts, without an error; at least once before, and once after."""
    over = threading.Event()

    def commit() -> None:
        with lamina.connect(target, author="busy", timeout=60) as client:
            config = client.config("busy", create=True)
            for number in counting():
                is_last = over.is_set()
                config["x"] = number
                config.commit()
                begun.set()
                if is_last:
                    return

    begun = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        committed = thread.submit(commit)
        assert begun.wait(30)
        try:
            yield
        finally:
            over.set()
        committed.result()


def outcome(target: str, request_id: str) -> int:
    """Return the version that a request has made."""
    with grpc.insecure_channel(target) as channel:
        request = commit_request(CONFIG, {request_id: 1}, request_id=request_id)
        return int(ConfigServiceStub(channel).Commit(request, timeout=30).version.version)
