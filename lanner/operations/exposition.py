"""Readings in Prometheus's format. All are read at the scrape; nothing is stored here."""

import math
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from foundation.histogram import BOUNDS, Histogram
from foundation.text import printable
from lanner.operations.catalogue import METRICS, Readings

_MAX_LABEL = 200


class Exposition:
    """One process's metrics."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        """Take the function that returns the readings; it is called on the server's threads."""
        self._read = read
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        # CPU, memory and open files, under the names that every exporter uses.
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return all current metrics in the text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        """Yield the metric families; called by the library."""
        for name, values in self._read().items():
            yield _family(name, values.items())


def _family(name: str, values: Iterable[tuple[tuple[str, ...], float | Histogram]]) -> Family:
    metric = METRICS[name]
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.about, labels=metric.labels)
        for labels, value in values:
            if isinstance(value, Histogram):
                histogram.add_metric(_safe(labels), _buckets(value), value.seconds)
        return histogram
    made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = made(name, metric.about, labels=metric.labels)
    for labels, value in values:
        if not isinstance(value, Histogram):
            family.add_metric(_safe(labels), value)
    return family


def _buckets(value: Histogram) -> list[tuple[str, float]]:
    found, total = list[tuple[str, float]](), 0
    for bound, count in zip((*BOUNDS, math.inf), value.counts, strict=True):
        total += count
        found.append(("+Inf" if math.isinf(bound) else str(bound), total))
    return found


def _safe(labels: tuple[str, ...]) -> list[str]:
    """Escape and bound labels: rule names and reasons may come from others, and mustn't break a terminal or parser."""
    return [printable(label)[:_MAX_LABEL] for label in labels]
