"""The metrics of servers as they run: their names, their socket, and what the pages say of them."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina_server.commits.counting import OUTCOMES
from lamina_server.domain.errors import Reason
from lamina_server.gauges import STATES
from lamina_server.metrics.endpoint import SCRAPES_AT_ONCE
from tests.operation.promtool import OPS, RULES, promtool
from tests.security.closed import Secured, tls_files
from tests.security.people import People
from tests.support.scraping import Scraped, samples, scrape, where
from tests.support.server import ServerProcess

DASHBOARD = OPS / "grafana-dashboard.json"
NAME = re.compile(r"\b(?:lamina|process)_[a-z_]+\b")
RECORDED = re.compile(r"\b(?:job|instance)[a-z_]*:[a-z_]+:[a-z0-9_]+\b")
KNOWN: dict[str, set[str]] = {
    "reason": set(Reason),
    "outcome": {*OUTCOMES, "written", "failed", "answered"},
    "state": set(STATES),
}
"""The values of labels that rules and the dashboard may name."""
OF_WORKERS = "lamina_worker_up"
"""What only several workers have; see test_worker_metrics.py."""
CANARIES = ("canary-config", "canary-key", "canary-value", "canary-author", "canary-message")


def events(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, server.log.splitlines()) if line["event"] == event]


def use(client: lamina.Client) -> None:
    """Do a little of everything."""
    cfg = client.config(CANARIES[0], create=True)
    with cfg.watch(after=0, timeout=30) as watch:
        for number in range(300):
            cfg[f"{CANARIES[1]}{number}"] = f"{CANARIES[2]}{number}"
        cfg.commit(CANARIES[4])
        next(iter(watch))
    with pytest.raises(lamina.NotFoundError):
        client.config("canary-config-that-is-not-there").at(1)["x"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """All metrics of a server on a SQLite file, with TLS, that was used a little."""
    people, folder = People(), tmp_path_factory.mktemp("metrics")
    with tls_files(people, Secured.TLS) as files:
        options = [f"--{name.replace('_', '-')}={path}" for name, path in files.settings.items()]
        database = f"sqlite:///{folder}/lamina.db"
        with ServerProcess(database, *options, "--metrics-listen", "localhost:0") as server:
            with lamina.connect(server.target, tls=lamina.TLS(ca=files.ca), author=CANARIES[3]) as client:
                use(client)
            while not is_complete(found := scrape(where(server))):
                pass
            yield found


def is_complete(text: str) -> bool:
    """Return whether what happens by itself has happened: the keyframe, and a look at the event loop."""
    found = Scraped(text)
    return bool(found("lamina_keyframes_total", outcome="written") and found("lamina_event_loop_lag_seconds_count"))


def families(text: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))


def test_the_metrics_are_in_order(text: str) -> None:
    assert promtool("check", "metrics", given=text.encode()) == ""


def test_each_metric_is_in_the_page_and_each_name_there_is_a_metric(text: str) -> None:
    page = (OPS / "README.md").read_text(encoding="utf-8").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
    assert rows == families(text) | {OF_WORKERS}
    assert set(NAME.findall(page)) - {"process_"} <= rows


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_each_name_and_label_that_is_used_is_exported(file: Path, text: str) -> None:
    used = file.read_text(encoding="utf-8").replace('\\"', '"')
    exported = {sample.name for sample in samples(text)} | {OF_WORKERS}
    expressions = RECORDED.sub("", used)
    assert set(NAME.findall(expressions)) - exported == set()
    for label, values in KNOWN.items():
        for given in re.findall(rf'\b{label}=~?"([^"]*)"', used):
            assert set(given.split("|")) <= values


def test_each_recorded_name_that_is_used_is_recorded() -> None:
    rules = RULES.read_text(encoding="utf-8")
    assert set(RECORDED.findall(rules)) == set(re.findall(r"record: (\S+)", rules))


def test_each_metric_is_on_the_dashboard(text: str) -> None:
    shown = DASHBOARD.read_text(encoding="utf-8")
    unseen = {name for name in families(text) if name not in shown}
    assert unseen == {
        "lamina_stopping",
        "lamina_open_to_other_machines",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
    }


def test_no_name_of_a_config_a_key_or_a_caller_is_a_label(text: str) -> None:
    assert "lamina_commits_total" in text
    assert [canary for canary in CANARIES if canary in text] == []


def test_the_numbers_of_a_server_on_a_file(text: str) -> None:
    found = Scraped(text)
    assert found("lamina_commits_total", outcome="created") == 1
    assert found("lamina_keyframe_duration_seconds_count") == 1
    for operation in ("begin", "select", "insert", "commit"):
        assert found("lamina_database_operation_duration_seconds_count", operation=operation) >= 1
    assert 0 < found("lamina_database_wal_bytes") < found("lamina_database_disk_free_bytes")
    assert found("lamina_certificate_expiry_timestamp_seconds") > found("process_start_time_seconds")


def test_servers_on_one_postgresql_hear_of_each_other(postgres_url: str) -> None:
    with ExitStack() as stack:
        options = ("--metrics-listen", "localhost:0")
        first, second = (stack.enter_context(ServerProcess(postgres_url, *options)) for _ in range(2))
        here, there = (stack.enter_context(lamina.connect(server.target)) for server in (first, second))
        cfg = here.config("shop", create=True)
        cfg["x"] = 1
        cfg.commit()
        with there.config("shop").watch(after=0, timeout=30) as watch:
            events = iter(watch)
            next(events)
            cfg["x"] = 2
            cfg.commit()
            next(events)
        while not (heard := Scraped(scrape(where(second))))("lamina_polls_total", outcome="answered"):
            pass
        told = Scraped(scrape(where(first)))
    assert told("lamina_notices_sent_total") >= 1
    assert heard("lamina_polls_total", outcome="answered") >= 1
    assert heard("lamina_polls_total", outcome="failed") == 0
    for operation in ("begin", "commit"):
        assert told("lamina_database_operation_duration_seconds_count", operation=operation) >= 2
    assert told("lamina_database_connections_limit", pool="writers") == 4
    assert heard("lamina_build_info", **dict(build_labels(heard))) == 1


def build_labels(found: Scraped) -> Iterator[tuple[str, str]]:
    for label in ("version", "python", "grpc", "database"):
        (value,) = found.with_label("lamina_build_info", label)
        yield label, value


# --- the socket ---------------------------------------------------------------------------------


def refusal(*options: str) -> tuple[int, str]:
    program = [sys.executable, "-m", "lamina_server", "serve", "--database", "sqlite://", "--listen", "localhost:0"]
    done = subprocess.run([*program, *options], capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_other_machines_are_served_only_if_that_is_meant(listen: str) -> None:
    code, text = refusal("--metrics-listen", listen)
    assert code == 2
    assert "--metrics-listen: other machines can reach this address" in text
    with ServerProcess("sqlite://", "--metrics-listen", listen, "--insecure-metrics") as server:
        port = where(server).rpartition(":")[2]
        assert "lamina_ready 1.0" in scrape(f"127.0.0.1:{port}")


def test_a_port_that_is_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, text = refusal("--metrics-listen", f"localhost:{other.getsockname()[1]}")
    assert code == 1
    assert "--metrics-listen: cannot listen on 127.0.0.1" in text
    assert "in use by another program" in text


def test_a_unix_socket_is_replaced_after_a_crash_and_missed_when_it_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    with ServerProcess("sqlite://", "--metrics-listen", f"unix:{path}") as server:
        assert "lamina_ready 1.0" in scrape(f"unix:{path}")
        server.kill()
        server.start()
        assert "lamina_ready 1.0" in scrape(f"unix:{path}")
        path.unlink()
        server.until_logged("metrics cannot be reached")
    with ServerProcess("sqlite://", "--metrics-listen", f"unix:{path}") as server:
        assert path.is_socket()
    assert not path.exists()


def test_scrapers_that_take_nothing_hold_up_nobody() -> None:
    with ServerProcess("sqlite://", "--metrics-listen", "127.0.0.1:0") as server, ExitStack() as stack:
        host, port = where(server).split(":")
        for _ in range(SCRAPES_AT_ONCE - 1):
            stack.enter_context(socket.create_connection((host, int(port))))
        assert "lamina_ready 1.0" in scrape(where(server))
        stack.enter_context(socket.create_connection((host, int(port))))
        refused = stack.enter_context(socket.create_connection((host, int(port))))
        assert refused.recv(1) == b""
        server.until_logged("scrape refused")
        with lamina.connect(server.target) as client:
            use(client)


def test_only_one_path_is_served() -> None:
    with ServerProcess("sqlite://", "--metrics-listen", "127.0.0.1:0") as server:
        connection = HTTPConnection(where(server), timeout=10)
        connection.request("GET", "/")
        response = connection.getresponse()
        assert (response.status, response.reason) == (404, "the metrics are at /metrics")
        assert "Python" not in str(response.headers)


def test_without_the_setting_there_are_no_metrics() -> None:
    with ServerProcess("sqlite://") as server:
        server.until_logged('"event": "ready"')
        (ready,) = events(server, "ready")
        assert "metrics" not in ready
