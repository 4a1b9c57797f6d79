"""Numbers in Prometheus' form. With endpoint.py the only file that knows its library.

The library has no histograms of the native kind yet: it can write them, but not count them. Classic ones have fixed
buckets, which recorder.py chooses.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from lamina_server.metrics.numbers import Histogram, Metric

_COUNTER = "_total"

Source = Callable[[], Iterable[Metric | Histogram]]


class _Asked(Collector):
    """Asks at each scrape."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        """Yield what the source has."""
        return map(_family, self._source())


def registry(*sources: Source) -> CollectorRegistry:
    """Return a registry of all that the sources have, and of the process."""
    made = CollectorRegistry(auto_describe=False)
    for source in sources:
        made.register(_Asked(source))
    ProcessCollector(registry=made)
    return made


def _family(metric: Metric | Histogram) -> Family:
    if isinstance(metric, Histogram):
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
        for labels, (counts, sum_) in metric.buckets.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), sum_)
        return family
    kind = CounterMetricFamily if metric.name.endswith(_COUNTER) else GaugeMetricFamily
    made = kind(metric.name.removesuffix(_COUNTER), metric.help, labels=metric.labels)
    for labels, value in metric.values.items():
        made.add_metric(labels, value)
    return made
