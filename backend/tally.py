"""Counts for the hot path, kept as plain numbers: prometheus_client's own lock and check themselves at every step.

All are changed by the event loop's thread only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Tally(Collector):
    """A counter with labels.

    Args:
        name: Without the `_total` that Prometheus puts behind it.
        text: What it counts.
        labels: Names of its labels.
        registry: Gets it.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._about = name, text, labels
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, labels: tuple[str, ...], times: int = 1) -> None:
        """Counts under these values of the labels."""
        self._counts[labels] = self._counts.get(labels, 0) + times

    def items(self) -> list[tuple[tuple[str, ...], int]]:
        """What was counted until now, by the values of the labels."""
        return list(self._counts.items())

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Its name, for the registry."""
        name, text, labels = self._about
        return [CounterMetricFamily(name, text, labels=labels)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Its samples."""
        (family,) = self.describe()
        for labels, count in self.items():
            family.add_metric(labels, count)
        return [family]


class Durations(Collector):
    """A histogram of seconds with one label.

    Args:
        name: Of the metric.
        text: What it measures.
        label: Name of its label.
        buckets: Upper ends of the buckets in seconds, ascending.
        registry: Gets it.
    """

    def __init__(self, name: str, text: str, label: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._about = name, text, [label]
        self._buckets = buckets
        # By label: how many fell into each bucket, with one more for what is above all of them; at last their sum.
        self._counts: dict[str, list[float]] = {}
        registry.register(self)

    def add(self, label: str, seconds: float) -> None:
        """Notes one duration."""
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(self._buckets) + 2)
        counts[bisect_left(self._buckets, seconds)] += 1
        counts[-1] += seconds

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Its name, for the registry."""
        name, text, labels = self._about
        return [HistogramMetricFamily(name, text, labels=labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Its samples."""
        (family,) = self.describe()
        ends = [*map(str, self._buckets), "+Inf"]
        for label, (*counts, seconds) in list(self._counts.items()):
            family.add_metric([label], list(zip(ends, accumulate(counts), strict=True)), seconds)
        return [family]
