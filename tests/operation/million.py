"""The long form of compaction: a config of a million versions, compacted to a thousand, while others commit to it.

    python -m tests.operation.million sqlite
    python -m tests.operation.million postgresql --versions 1000000 --keep 1000

On PostgreSQL a server runs, and callers commit all the time. The compaction works in some windows of time and waits in
those between, so that both kinds of commits are measured under the same load of the machine. Prints what was measured.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

import lamina
from lamina_server.domain.hashing import value_digest, version_hash
from lamina_server.domain.planning import entry_size
from lamina_server.domain.values import Value
from lamina_server.models.rows import VALUE_COLUMNS, VERSION_COLUMNS, Row, value_cells
from lamina_server.store.compaction.compaction import Compaction, Keep, opened
from lamina_server.store.open import open_store
from tests.conformance.commits import CONFIG
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

KEYS = 1_000
BATCH_ROWS = 20_000
CALLERS = 4
WINDOW_SECONDS = 5.0
KEYFRAME_VERSIONS = 1_000


def rows(versions: int) -> Iterator[tuple[str, Row]]:
    """Yield the rows of versions that each set one of a thousand keys, with a keyframe after each thousand of them."""
    rng, live, parent, size_bytes = random.Random(1), dict[str, tuple[int, int]](), b"", 0
    for number in range(1, versions + 1):
        key, value = f"key/{rng.randrange(KEYS):04}", Value.of_string(f"a value of version {number}")
        digest, size = value_digest(CONFIG, number, key, value), entry_size(key, value)
        size_bytes += size - live.get(key, (0, 0))[1]
        live[key] = number, size
        said: dict[str, Any] = {"author": "ada", "author_verified": True, "message": "why", "commit_time_us": number}
        count = len(live)
        parent = version_hash(
            parent_hash=parent,
            config=CONFIG,
            number=number,
            **said,
            key_count=count,
            source=None,
            digests=[digest],
        )
        header = (number, *said.values(), count, 1, size_bytes, parent, None, None, None)
        yield "config", (number, 1, *header)
        yield "config_value", (number, 1, number, number, key, *value_cells(value), digest)
        if number % KEYFRAME_VERSIONS == 0:
            yield from (("config_value_association", (number, id_)) for id_, _ in live.values())


def fill(url: str, versions: int) -> None:
    """Write the rows as a server would have, in much less time."""
    begun = time.monotonic()
    open_store(url).close()
    columns = {"config": ("id", "config_name_id", *VERSION_COLUMNS), "config_value": ("id", *VALUE_COLUMNS)}
    columns["config_value_association"] = ("config_id", "config_value_id")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO config_name (id, name) VALUES (1, :name)"), {"name": CONFIG})
        if connection.dialect.name == "postgresql":  # until the end, each row would wait for the look-up of its version
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        driver: Any = connection.connection.driver_connection
        left = rows(versions)
        while batch := list(islice(left, BATCH_ROWS)):
            for table, names in columns.items():
                some = [row for name, row in batch if name == table]
                if connection.dialect.name == "sqlite":
                    marks = ", ".join("?" * len(names))
                    driver.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", some)
                    continue
                with driver.cursor().copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
                    for row in some:
                        copy.write_row(row)
        for table in ("config_name", "config", "config_value"):
            if connection.dialect.name == "postgresql":
                last = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
                connection.execute(text(last))
    if engine.dialect.name == "postgresql":  # what a year of commits would have done by the way
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text("CHECKPOINT"))
    engine.dispose()
    print(f"filled with {versions:,} versions in {time.monotonic() - begun:.0f} s", flush=True)


def compact(url: str, keep: int, gate: Path | None) -> None:
    """Compact, and wait before each step while the gate is there."""
    waited = 0.0

    def advance(_: int) -> None:
        nonlocal waited
        begun = time.monotonic()
        while gate is not None and gate.exists():
            time.sleep(0.01)
        waited += time.monotonic() - begun

    begun, cpu = time.monotonic(), time.process_time()
    with opened(url) as database:
        compaction = Compaction(database)
        (target,) = compaction.targets(lambda name: name == CONFIG, Keep(versions=keep))
        freed = compaction.compact(target, "million", time.time_ns() // 1000, advance)
    seconds = time.monotonic() - begun - waited
    print(
        f"compacted: {freed.values:,} values in {seconds:.0f} s ({time.process_time() - cpu:.0f} s of CPU in this"
        f" process), oldest version {freed.oldest:,}",
        flush=True,
    )


@contextmanager
def committing(target: str) -> Iterator[list[tuple[float, float]]]:
    """Commit from several callers all the time; yield when each commit began, and how long it took."""
    took: list[tuple[float, float]] = []
    is_over = threading.Event()

    def call(caller: int) -> None:
        with lamina.connect(target, author=f"caller {caller}", timeout=60) as client:
            cfg = client.config(CONFIG)
            for number in range(1 << 60):
                if is_over.is_set():
                    return
                cfg[f"of/{caller}"] = number
                begun = time.monotonic()
                cfg.commit()
                took.append((begun, time.monotonic() - begun))

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def measure(url: str, keep: int, folder: Path) -> None:
    """Compact beside a server whose callers commit, and compare their commits with those of the time between."""
    gate = folder / "gate"
    windows: list[tuple[float, bool]] = []
    with ServerProcess(url) as server, committing(server.target) as took:
        gate.touch()
        time.sleep(WINDOW_SECONDS)
        child = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "child", "--url", url, "--keep", str(keep), "--gate", gate]
        )
        is_on = False
        while child.poll() is None:
            windows.append((time.monotonic(), is_on))
            time.sleep(WINDOW_SECONDS)
            is_on = not is_on
            if is_on:
                gate.unlink()
            else:
                gate.touch()
        assert child.returncode == 0
    report(took, windows)


def report(took: list[tuple[float, float]], windows: list[tuple[float, bool]]) -> None:
    for name, wanted in (("alone", False), ("beside the compaction", True)):
        found = sorted(
            each
            for begin, is_on in windows[1:]
            if is_on is wanted
            for begun, each in took
            if begin + 0.2 <= begun < begin + WINDOW_SECONDS - 0.2
        )
        p50, p99 = statistics.median(found) * 1e3, found[int(len(found) * 0.99)] * 1e3
        print(f"commits {name}: {len(found):,}, p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)


def verify(url: str) -> None:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "lamina_server", "verify", "--database", url], check=True)
    print(f"verified in {time.monotonic() - begun:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", choices=["sqlite", "postgresql", "child"])
    parser.add_argument("--versions", type=int, default=1_000_000)
    parser.add_argument("--keep", type=int, default=1_000)
    parser.add_argument("--url")
    parser.add_argument("--gate", type=Path)
    arguments = parser.parse_args()
    if arguments.database == "child":
        compact(arguments.url, arguments.keep, arguments.gate)
        return
    folder = Path(tempfile.mkdtemp(prefix="lamina-million-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        if arguments.database == "sqlite":
            url = f"sqlite:///{folder}/lamina.db"
            fill(url, arguments.versions)
            compact(url, arguments.keep, None)
        else:
            url = stack.enter_context(Postgres.start()).new_database()
            fill(url, arguments.versions)
            measure(url, arguments.keep, folder)
        verify(url)


if __name__ == "__main__":
    main()
