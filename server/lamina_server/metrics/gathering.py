"""The metrics of all workers, as one of them gathers them for a scrape. Each number has a label with its worker.

So a counter never goes back but when its own worker begins anew, which is what Prometheus' `rate` expects. Sums over
workers are made by those who ask.
"""

import socket
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from lamina_server.metrics.endpoint import PATH
from lamina_server.metrics.shared import Shared

ANSWER_SECONDS: Final = 2.0
"""How long a worker may be silent. The others' numbers must reach Prometheus, which gives a scrape up after 10 s."""

_LABEL = "worker"

_log = structlog.get_logger(__name__)


class _Gathered(Collector):
    """Asks all workers at each scrape: itself at once, the others by their sockets."""

    def __init__(self, shared: Shared, own: CollectorRegistry) -> None:
        self._shared = shared
        self._own = own

    def collect(self) -> Iterator[Family]:
        """Yield what all workers have that answer, and which do."""
        numbers = range(self._shared.count)
        with ThreadPoolExecutor(self._shared.count) as threads:
            answers = dict(zip(numbers, threads.map(self._ask, numbers), strict=True))
        up = GaugeMetricFamily("lamina_worker_up", "1 if the worker has told its numbers, else 0.", labels=(_LABEL,))
        for number, families in answers.items():
            up.add_metric((str(number),), families is not None)
        yield up
        yield from _merged({number: families for number, families in answers.items() if families is not None})

    def _ask(self, number: int) -> Iterable[Family] | None:
        """Return a worker's numbers; None if it does not answer, such as one that has just died."""
        if number == self._shared.number:
            return list(self._own.collect())
        try:
            return list(text_string_to_metric_families(_read(self._shared.path(number))))
        except (OSError, HTTPException, ValueError) as error:
            _log.warning("a worker has not told its metrics", worker=number, reason=str(error) or type(error).__name__)
            return None


def gathered(shared: Shared, own: CollectorRegistry) -> CollectorRegistry:
    """Return a registry of what all workers have; `own` is this one's."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Gathered(shared, own))
    return made


def _merged(answers: Mapping[int, Iterable[Family]]) -> Iterable[Family]:
    merged: dict[str, Family] = {}
    for number, families in answers.items():
        for each in families:
            family = merged.setdefault(each.name, Family(each.name, each.documentation, each.type))
            for sample in each.samples:
                family.samples.append(sample._replace(labels={_LABEL: str(number), **sample.labels}))
    return merged.values()


class _Connection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._path))


def _read(path: Path) -> str:
    connection = _Connection(path)
    try:
        connection.request("GET", PATH)
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise ValueError(f"status {response.status}")
    return text
