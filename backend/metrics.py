"""Prometheus metrics of the API; every label comes from a bounded set."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from backend.served import Served
from backend.tally import Durations, Tally
from backend.traffic import ERROR_KINDS, kind_of
from sigap import __version__

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SWAP_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = Tally("sigap_api_requests", "Answered requests.", ["method", "route", "status"], self.registry)
        self._seconds = Durations(
            "sigap_api_request_seconds",
            "Time from a request's head to its answer's end.",
            "route",
            BUCKETS,
            self.registry,
        )
        self.in_progress = 0
        in_progress = Gauge(
            "sigap_api_requests_in_progress", "Requests being answered, this look aside.", registry=self.registry
        )
        in_progress.set_function(lambda: self.in_progress)
        Errors(self._requests, self.registry)
        self._predictions = Tally(
            "sigap_api_predictions",
            "Predictions by the version that answered.",
            ["model", "model_version", "cluster", "outcome"],
            self.registry,
        )
        self._info = Gauge(
            "sigap_api_model_info",
            "1 for the version that is served.",
            ["model", "model_version", "data_version", "loaded_from"],
            registry=self.registry,
        )
        self._loaded = Gauge(
            "sigap_api_model_loaded_timestamp_seconds",
            "When the served version was loaded.",
            ["model"],
            registry=self.registry,
        )
        self._trained = Gauge(
            "sigap_api_model_trained_timestamp_seconds",
            "When the served version was trained.",
            ["model"],
            registry=self.registry,
        )
        self._loads = Counter("sigap_api_model_loads", "Versions put in service.", ["model"], registry=self.registry)
        self._swaps = Histogram(
            "sigap_api_model_swap_seconds",
            "From finding a version at its alias to serving it: fetched, checked, loaded, tested.",
            ["model"],
            registry=self.registry,
            buckets=SWAP_BUCKETS,
        )
        build = Gauge("sigap_api_build_info", "1 for the version of Sigap.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self._faults = Counter(
            "sigap_api_follow_faults",
            "Looks at the registry that could not be followed.",
            ["model", "kind"],
            registry=self.registry,
        )
        self._known: dict[str, tuple[str, ...]] = {}

    def answered(self, method: str, route: str, status: int, started: float) -> None:
        """Counts an answer; `started` is by `time.perf_counter()`."""
        self._requests.add((method, route, str(status)))
        self._seconds.add(route, time.perf_counter() - started)

    def predicted(
        self, model: str, model_version: str, *, cluster: str = "", outcome: str = "", times: int = 1
    ) -> None:
        """Counts predictions by their cluster, or by what else was answered; one of the two is empty."""
        self._predictions.add((model, model_version, cluster, outcome), times)

    def loaded(self, model: str, served: Served, seconds: float | None = None) -> None:
        """Notes which version is served from now on, and how long that took where somebody waited for it."""
        if before := self._known.get(model):
            self._info.remove(*before)
        labels = (model, served.model_version, served.manifest.data.version, served.origin)
        self._info.labels(*labels).set(1)
        self._known[model] = labels
        self._loaded.labels(model).set(served.loaded_at.timestamp())
        if trained := moment(served.manifest.trained_at):
            self._trained.labels(model).set(trained.timestamp())
        self._loads.labels(model).inc()
        swaps = self._swaps.labels(model)
        if seconds is not None:
            swaps.observe(seconds)

    def fault(self, model: str, kind: str) -> None:
        """Counts a look at the registry that could not be followed."""
        self._faults.labels(model, kind).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class Errors(Collector):
    """Requests that were refused or failed, by what kind of error: read off the requests when somebody asks.

    Args:
        requests: All answers, by method, route and status.
        registry: Gets it.
    """

    def __init__(self, requests: Tally, registry: CollectorRegistry) -> None:
        self._requests = requests
        registry.register(self)

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Its name, for the registry."""
        text = "Requests that were refused or failed, by kind of error."
        return [CounterMetricFamily("sigap_api_errors", text, labels=["kind"])]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Its samples: every kind, so that the first error is a step too."""
        counts = dict.fromkeys(ERROR_KINDS, 0)
        for (_, _, status), count in self._requests.items():
            if kind := kind_of(int(status)):
                counts[kind] += count
        (family,) = self.describe()
        for kind, count in counts.items():
            family.add_metric([kind], count)
        return [family]


def moment(text: str) -> datetime | None:
    """A moment by ISO 8601, in UTC where it says nothing else; None for other words."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
