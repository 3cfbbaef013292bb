"""What the API tells of its last minutes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from backend.app import create_app
from backend.observed.runs import Runs
from backend.shadow import ShadowMetrics
from backend.tally import Durations
from backend.traffic import _shadow as shadow_figures
from backend.traffic import group_of, kind_of, latency, monitoring, sample
from sigap.settings import Settings
from tests.backend.bundles import EDUCATION
from tests.backend.conftest import Client, Loop


class Known(Collector):
    """The metrics of runs that nobody looks for."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    def collect(self) -> Iterable[Metric]:
        return self.runs.metrics()


@pytest.fixture
def application(tmp_path: Path) -> FastAPI:
    return create_app(Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9"), (EDUCATION,))


@pytest.fixture
def client(application: FastAPI) -> Iterator[Client]:
    with Loop() as runner:
        yield Client(application, runner)
        runner.run(application.state.service.registry.close())


def test_requests_and_errors_are_counted_by_kind(application: FastAPI, client: Client) -> None:
    application.state.service.traffic.look()
    for _ in range(3):
        client.get("/models")
    client.get("/models/nothing")
    client.get("/health")
    client.post("/predict", json={})
    found = client.get("/monitoring").json()
    assert found["requests"] == {"predict": 1, "read": 4}, "who watches is not counted"
    assert {each["kind"]: each["count"] for each in found["errors"]} == {"nothing": 1, "unavailable": 1}
    assert found["latency"]["read"]["count"] == 4
    assert 0 < found["latency"]["read"]["p50_ms"] <= found["latency"]["read"]["p99_ms"]
    assert found["steps"] == [], "what lies too close together is no rate yet"
    assert (found["workers"], found["predictions"], found["shadow"]) == (1, [], [])


def test_before_the_first_look_there_is_nothing(client: Client) -> None:
    found = client.get("/monitoring").json()
    assert (found["period"]["seconds"], found["steps"], found["errors"]) == (0, [], [])
    assert found["latency"]["predict"]["p99_ms"] is None


def test_a_pipeline_whose_newest_run_failed_is_told(application: FastAPI, client: Client) -> None:
    runs = Runs(["car_price"])
    run = {"id": 1, "pipeline_uuid": "monitoring", "status": "failed", "created_at": "2026-11-01 00:00:00"}
    runs._take([run])
    application.state.service.metrics.registry.register(Known(runs))
    told = [{"pipeline": "monitoring", "failed_at": "2026-11-01T00:00:00Z"}]
    assert client.get("/monitoring").json()["failed_pipelines"] == told
    # One that goes on, or that somebody ended, says nothing yet; and Mage may have the failed one run again.
    runs._take([run | {"id": 3, "status": "cancelled"}, run | {"id": 2, "status": "running"}])
    assert client.get("/monitoring").json()["failed_pipelines"] == told
    runs._take([run | {"id": 2, "status": "completed"}, run])
    assert client.get("/monitoring").json()["failed_pipelines"] == []


@pytest.mark.parametrize("minutes", ["0", "16", "x", "1e3", ""])
def test_an_odd_period_is_refused(client: Client, minutes: str) -> None:
    refused = client.get("/monitoring", params={"minutes": minutes})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert refused.json()["errors"][0]["field"] == "minutes"


def test_quantiles_are_of_what_came_in_between() -> None:
    registry = CollectorRegistry()
    seconds = Durations("sigap_api_request_seconds", "x", "route", (0.01, 0.1, 1.0), registry)
    for _ in range(1000):
        seconds.add("/predict", 0.5)
    before = sample(registry.collect(), 0.0)
    for _ in range(90):
        seconds.add("/models/{model}/predict", 0.005)
    for _ in range(10):
        seconds.add("/predict", 0.05)
    seconds.add("/models", 5.0)
    after = sample(registry.collect(), 10.0)
    found = latency(before, after, "predict")
    assert found.count == 100
    assert found.p50_ms == pytest.approx(10 * 50 / 90, abs=0.01)
    assert found.p95_ms == pytest.approx(10 + 90 * 5 / 10, abs=0.01)
    slow = latency(before, after, "read")
    assert (slow.p50_ms, slow.longest_told_ms) == (1000.0, 1000.0), "no longer than is told"
    told = monitoring([before, after], 2, [])
    assert (told.period.seconds, told.workers) == (10.0, 2)
    (step,) = told.steps
    assert (step.seconds, step.p95_ms) == (10.0, found.p95_ms)


def test_a_challenger_in_the_shadow_is_told_with_its_counts() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    metrics._info.labels("education", "v7").set(1)
    for result, count in (("same", 8), ("other", 2)):
        metrics.answers.labels("education", result).inc(count)
        for _ in range(count):
            metrics.difference.labels("education").observe(0.5)
    (found,) = shadow_figures(registry.collect())
    assert (found.model_version, found.same, found.other, found.skipped) == ("v7", 8, 2, 0)
    assert found.mean_difference == 0.5


def test_routes_and_statuses_have_their_kinds() -> None:
    assert [group_of(each) for each in ("/predict", "/models/{model}/predict-file", "/v2/models/{model}/infer")] == [
        "predict"
    ] * 3
    assert [group_of(each) for each in ("/models", "unmatched", "/")] == ["read"] * 3
    assert [group_of(each) for each in ("/metrics", "/health/live", "/v2/health/ready", "/monitoring")] == [None] * 4
    kinds = {200: None, 304: None, 401: "access", 404: "nothing", 422: "input", 429: "limit", 500: "fault"}
    assert {status: kind_of(status) for status in kinds} == kinds
