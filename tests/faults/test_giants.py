"""The server is killed while a fork of many keys is staged and written: afterwards, all of it is there or nothing."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import psycopg
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.commits.giants import GIANT_CHANGES
from lamina_server.models.locking import STAGING_LOCK_ID
from lamina_server.store.open import open_store
from lamina_server.store.verify.inspection import inspecting
from lamina_server.store.verify.walk import Verification
from tests.benchmarks.ours import a_map, load, read_map, stub_of
from tests.conformance.commits import CONFIG
from tests.conformance.test_stages import plan_next, write
from tests.faults.injecting import SYNC, injecting
from tests.faults.test_backup_postgresql import libpq
from tests.support.server import ServerProcess

SOURCE, FORK = "shop/prod", "shop/fork"
REQUEST = pb.ForkConfigRequest(source=SOURCE, target=FORK, request_id="fork")
KILL = "signal=KILL:when=1"
IS_STAGING = """
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
  AND (CAST(classid AS bigint) << 32 | CAST(objid AS bigint)) = %s)
"""


@contextmanager
def forking(server: ServerProcess) -> Iterator[None]:
    """Ask for the fork, and expect no answer, because the server is killed within the block."""
    with stub_of(server.target) as stub:
        answer = stub.ForkConfig.future(REQUEST, timeout=30)
        yield
        with pytest.raises(grpc.RpcError):
            answer.result()


def check(url: str, server: ServerProcess, *, written: bool) -> None:
    """P4, P8: the fork is whole or absent; the same request makes it once; and nothing is left over."""
    with stub_of(server.target) as stub:
        heads = {config.name: config.head.version for config in stub.ListConfigs(pb.ListConfigsRequest()).configs}
        assert (heads.get(SOURCE), heads.get(FORK)) == (1, 1 if written else None)
        for _ in range(2):
            assert stub.ForkConfig(REQUEST).version.version == 1
        read_map(stub, FORK, GIANT_CHANGES)()
    with inspecting(url) as inspection:
        assert not list(Verification(inspection).findings(lambda _: None))


@pytest.mark.parametrize(("calls", "written"), [(SYNC, True), ("pwrite64", False)], ids=["written", "not written"])
def test_killed_in_the_transaction(tmp_path: Path, calls: str, *, written: bool) -> None:
    path = tmp_path / "lamina.db"
    with ServerProcess(f"sqlite:///{path}") as server:
        with stub_of(server.target) as stub:
            load(stub, SOURCE, a_map(GIANT_CHANGES))
            with closing(sqlite3.connect(path)) as reader:
                while not reader.execute("SELECT count(*) FROM config_value_association").fetchone()[0]:
                    pass
            load(stub, "other", {"x": "1"})  # so that the keyframe's transaction is over
        log = path.with_name(f"{path.name}-wal")
        with injecting(server.pid, calls=calls, what=KILL, trace=tmp_path / "trace", only=[log]), forking(server):
            server.wait()
        server.restart()
        check(f"sqlite:///{path}", server, written=written)


@pytest.mark.postgres
def test_killed_while_it_is_staged(postgres_url: str) -> None:
    with ServerProcess(postgres_url) as server, psycopg.connect(libpq(postgres_url), autocommit=True) as other:
        with stub_of(server.target) as stub:
            load(stub, SOURCE, a_map(GIANT_CHANGES))
        with forking(server):
            while not other.execute(IS_STAGING, [STAGING_LOCK_ID]).fetchall()[0][0]:
                pass
            server.kill()
        server.restart()
        check(postgres_url, server, written=False)


@pytest.mark.postgres
def test_written_while_other_writers_keep_the_lock_busy(postgres_url: str) -> None:
    """P2: each try to get the lock begins at the end of the queue, and outlasts the transactions before it."""
    store, ready, end = open_store(postgres_url), threading.Barrier(3), threading.Event()

    def keep_busy() -> None:
        with closing(open_store(postgres_url)) as other:
            ready.wait(10)
            while not end.is_set():
                with other.write():
                    end.wait(0.15)

    writers = [threading.Thread(target=keep_busy) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        ready.wait(10)
        plan, parent = plan_next(store, {"x": 1})
        with store.stage(plan, parent) as staged:
            write(staged, plan)
        with store.read() as reading:
            assert reading.head(CONFIG) == plan.version
    finally:
        end.set()
        for writer in writers:
            writer.join()
        store.close()
