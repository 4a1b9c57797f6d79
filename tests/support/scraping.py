"""What Prometheus would read of a server."""

import json
import socket
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.server import ServerProcess


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def where(server: ServerProcess) -> str:
    """Return where a server's metrics are."""
    server.until_logged('"event": "ready"')
    (address,) = {line["metrics"] for line in map(json.loads, server.log.splitlines()) if line["event"] == "ready"}
    return str(address)


def scrape(listen: str, path: str = "/metrics") -> str:
    """Return the metrics at HOST:PORT or unix:PATH, as text."""
    unix = listen.removeprefix("unix:")
    connection = HTTPConnection(listen, timeout=10) if unix == listen else UnixConnection(Path(unix))
    connection.request("GET", path)
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status == 200, text
    return text


def samples(text: str) -> list[Sample]:
    """Return all numbers of a scrape."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


class Scraped:
    """The numbers of one scrape: `scraped("lamina_calls_total", method="Commit", code="OK")`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values = {(each.name, frozenset(each.labels.items())): each.value for each in samples(text)}

    def __call__(self, name: str, **labels: str) -> float:
        """Return a number; 0 if there is none, but an error if there is nothing of this name at all."""
        assert name in self.names
        return self._values.get((name, frozenset(labels.items())), 0)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self._values}

    def with_label(self, name: str, label: str) -> set[str]:
        found: Iterable[dict[str, str]] = (dict(labels) for each, labels in self._values if each == name)
        return {labels[label] for labels in found}
