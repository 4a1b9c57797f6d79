"""The metrics of several workers: one address has those of all, however some of them are."""

import os
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from tests.operation.promtool import promtool
from tests.operation.test_workers import children
from tests.server.commands import printed
from tests.support.scraping import Scraped, scrape, where
from tests.support.server import ServerProcess

WORKERS = 3
NUMBERS = {str(number) for number in range(WORKERS)}
OPTIONS = ("--workers", str(WORKERS), "--metrics-listen", "localhost:0")


@pytest.fixture
def server(postgres_url: str, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(postgres_url, *OPTIONS, TMPDIR=str(tmp_path)) as server:
        yield server


def scraped(server: ServerProcess) -> Scraped:
    return Scraped(scrape(where(server)))


def up(found: Scraped) -> set[str]:
    """Return the workers that have answered."""
    return {number for number in NUMBERS if found("lamina_worker_up", worker=number)}


def commits(found: Scraped) -> dict[str, float]:
    """Return how many commits each worker has answered."""
    return {number: found("lamina_calls_total", worker=number, method="Commit", code="OK") for number in NUMBERS}


def commit(server: ServerProcess, count: int) -> None:
    """Commit so often, each time over a new connection, so that hardly a worker has none."""
    for number in range(count):
        with lamina.connect(server.target) as client:
            config = client.config("shop", create=True)
            config[f"key{number}"] = os.urandom(8).hex()
            config.commit()


def freeze(pid: int) -> None:
    """Stop a process. Its threads stop one after the other, and one that runs on could still take a scrape."""
    os.kill(pid, signal.SIGSTOP)
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    while {(each / "stat").read_text().rpartition(")")[2].split()[0] for each in threads} != {"T"}:
        pass


def test_one_address_has_the_numbers_of_all_workers(server: ServerProcess) -> None:
    commit(server, 24)
    scrapes = [scraped(server) for _ in range(2 * WORKERS)]  # whichever answers
    assert all(up(each) == NUMBERS and sum(commits(each).values()) == 24 for each in scrapes)
    found = scrapes[-1]
    assert sum(count > 0 for count in commits(found).values()) > 1
    assert found.with_label("process_start_time_seconds", "worker") == NUMBERS
    assert len(re.findall("^# TYPE lamina_calls_total counter$", found.text, re.MULTILINE)) == 1
    assert promtool("check", "metrics", given=found.text.encode()) == ""


def test_a_worker_that_replaces_another_has_its_number_and_begins_at_0(server: ServerProcess) -> None:
    commit(server, 24)
    before = scraped(server)
    workers = children(server)
    os.kill(min(workers), signal.SIGKILL)
    while len(children(server) | workers) == WORKERS or up(found := scraped(server)) != NUMBERS:
        pass
    starts = {number: found("process_start_time_seconds", worker=number) for number in NUMBERS}
    replaced = {number for number in NUMBERS if starts[number] > before("process_start_time_seconds", worker=number)}
    assert len(replaced) == 1
    assert commits(found) == {**commits(before), **dict.fromkeys(replaced, 0)}


def test_a_frozen_worker_is_left_out(server: ServerProcess) -> None:
    victim = min(children(server))
    freeze(victim)
    try:
        for _ in range(2):
            found = scraped(server)  # a scrape may take 10 s
            assert len(up(found)) == WORKERS - 1
            assert found.with_label("lamina_ready", "worker") == up(found)
        server.until_logged("a worker has not told its metrics")
    finally:
        os.kill(victim, signal.SIGCONT)
    assert up(scraped(server)) == NUMBERS


def test_nobody_else_reaches_the_sockets_of_workers(server: ServerProcess, tmp_path: Path) -> None:
    (folder,) = tmp_path.glob("lamina-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {each.name for each in folder.iterdir()} == NUMBERS
    server.stop()
    assert not folder.exists()


def test_workers_share_a_unix_socket(postgres_url: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    with ServerProcess(postgres_url, "--workers", "2", "--metrics-listen", f"unix:{path}") as server:
        assert "lamina_worker_up" in scrape(f"unix:{path}")
        server.kill()
        server.start()
        assert "lamina_worker_up" in scrape(f"unix:{path}")
    assert not path.exists()


def test_a_folder_whose_name_is_too_long_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    serve = ["serve", *OPTIONS, "--database", "postgresql://ada@localhost:1/lamina", "--listen", "localhost:0"]
    (said,) = printed([(serve, {"TMPDIR": str(folder)})], tmp_path)
    assert (
        "--metrics-listen: the metrics of several workers need a folder in TMPDIR for their sockets: the path" in said
    )
    assert list(folder.iterdir()) == []
