"""What happened in the last minutes, of all workers together: requests, errors, latencies, predictions and the shadow.

Every worker looks at the sum of all workers' counters now and then and keeps what it saw for a quarter of an hour, so
whichever is asked tells the same. For longer periods there is Prometheus.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, Protocol, TypeVar, get_args

from fastapi import APIRouter, Query
from prometheus_client import Metric
from pydantic import BaseModel, ConfigDict, Field

from backend.documentation import problems
from backend.observed.runs import FAILED
from backend.workers import Workers

STEP_SECONDS = 10.0
KEPT_MINUTES = 15
_KEPT = int(KEPT_MINUTES * 60 / STEP_SECONDS) + 1
_PREDICTS = ("predict", "explain", "infer", "batch", "file")
# Asked by machines that watch the API; they would drown the rest.
_PROBES = frozenset({"/metrics", "/monitoring", "/ready"})

K = TypeVar("K")
Group = Literal["predict", "read"]
Kind = Literal["input", "access", "nothing", "limit", "unavailable", "fault"]
ERROR_KINDS: tuple[Kind, ...] = get_args(Kind)
_KINDS: dict[int, Kind] = {
    401: "access",
    403: "access",
    404: "nothing",
    405: "nothing",
    429: "limit",
    503: "unavailable",
}


class Period(BaseModel):
    """The time that the figures are of."""

    since: datetime
    until: datetime
    seconds: float


class Errors(BaseModel):
    """Requests that were refused or failed, of one kind."""

    kind: Kind = Field(
        description="`input`: the request was wrong; `access`: no or a wrong token; `nothing`: no such thing; `limit`: "
        "too many; `unavailable`: nothing to answer with; `fault`: the API's own."
    )
    count: int


class Latency(BaseModel):
    """How long answers took, estimated from a histogram as Prometheus does; null where there were none."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    longest_told_ms: float = Field(description="What took longer is told as this.")


class Step(BaseModel):
    """One step of the period."""

    at: datetime = Field(description="Its end.")
    seconds: float
    predictions: int = Field(description="Requests for predictions, explanations, batches and files.")
    reads: int = Field(description="All other requests, without those that watch the API.")
    refused: int
    failed: int
    p95_ms: float | None = Field(description="Of the requests for predictions.")


class Answered(BaseModel):
    """Predictions by the version that answered; rows of batches and files count one each."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    model_version: str
    count: int


class ShadowFigures(BaseModel):
    """A challenger in the shadow, since the API was started."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    model_version: str
    same: int
    other: int
    refused: int
    failed: int
    skipped: int = Field(description="Not asked, for want of time.")
    mean_difference: float | None = Field(description="Mean absolute difference of the two answers' number.")


class FailedPipeline(BaseModel):
    """A pipeline whose newest run failed."""

    pipeline: str = Field(description="A model's name, or `monitoring`.")
    failed_at: datetime


class Monitoring(BaseModel):
    """How the API fared in a period that ends now."""

    period: Period
    workers: int
    requests: dict[Group, int]
    errors: list[Errors]
    latency: dict[Group, Latency]
    steps: list[Step]
    predictions: list[Answered]
    shadow: list[ShadowFigures]
    kept: int = Field(description="Predictions written to the log.")
    dropped: int = Field(description="Predictions that the log could not keep.")
    failed_pipelines: list[FailedPipeline] = Field(
        description="Those whose newest run that came to an end failed, as Mage tells; empty where it can't be asked."
    )


class Sample(NamedTuple):
    """The counters at a moment."""

    at: float
    requests: Mapping[tuple[Group, int], float]
    ends: tuple[float, ...]
    buckets: Mapping[Group, tuple[float, ...]]
    predictions: Mapping[tuple[str, str], float]
    kept: float
    dropped: float


class Traffic:
    """Looks at the workers' counters and keeps what it saw.

    Args:
        workers: Whose counters.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._samples: deque[Sample] = deque(maxlen=_KEPT)

    async def run(self) -> None:
        """Looks again and again, until cancelled; outside the event loop, which has requests to answer."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(STEP_SECONDS)

    def look(self) -> list[Metric]:
        """Takes a sample; gives the metrics that it was taken from."""
        families = self._workers.families()
        self._samples.append(sample(families))
        return families

    def told(self, minutes: int) -> Monitoring:
        """The last `minutes`, or as many as there were."""
        families = self._workers.families()
        now = sample(families)
        since = now.at - 60 * minutes - STEP_SECONDS / 2
        seen = [each for each in self._samples if each.at >= since] or list(self._samples)[-1:]
        # What started just now has nothing before this moment.
        samples = [*seen, now] if seen else [now, now]
        return monitoring(samples, self._workers.count(), _shadow(families), _failed(families))


class Watched(Protocol):
    """What the route needs of the service."""

    traffic: Traffic


def traffic_routes(service: Watched) -> APIRouter:
    """The route that tells of the last minutes."""
    router = APIRouter(tags=["operation"])

    @router.get("/monitoring", summary="The last minutes, of all workers", responses=problems(422))
    async def told(
        minutes: Annotated[int, Query(ge=1, le=KEPT_MINUTES, description="How far back.")] = 5,
    ) -> Monitoring:
        return await asyncio.to_thread(service.traffic.told, minutes)

    return router


def sample(families: Iterable[Metric], at: float | None = None) -> Sample:
    """The counters out of all workers' metrics."""
    requests: dict[tuple[Group, int], float] = {}
    buckets: dict[Group, dict[float, float]] = {}
    predictions: dict[tuple[str, str], float] = {}
    kept = dropped = 0.0
    for each in (sample for family in families for sample in family.samples):
        labels = each.labels
        if each.name == "sigap_api_requests_total" and (group := group_of(labels["route"])):
            key = group, int(labels["status"])
            requests[key] = requests.get(key, 0.0) + each.value
        elif each.name == "sigap_api_request_seconds_bucket" and (group := group_of(labels["route"])):
            ends, end = buckets.setdefault(group, {}), float(labels["le"])
            ends[end] = ends.get(end, 0.0) + each.value
        elif each.name == "sigap_api_predictions_total":
            answered = labels["model"], labels["model_version"]
            predictions[answered] = predictions.get(answered, 0.0) + each.value
        elif each.name == "sigap_api_prediction_log_written_total":
            kept += each.value
        elif each.name == "sigap_api_prediction_log_dropped_total":
            dropped += each.value
    every = tuple(sorted({end for ends in buckets.values() for end in ends}))
    counts = {group: tuple(ends.get(end, 0.0) for end in every) for group, ends in buckets.items()}
    return Sample(time.time() if at is None else at, requests, every, counts, predictions, kept, dropped)


def group_of(route: str) -> Group | None:
    """Whether a route predicts or reads; None of what only watches the API."""
    last = route.rstrip("/").rpartition("/")[2]
    if any(word in last for word in _PREDICTS):
        return "predict"
    return None if route in _PROBES or "/health" in route else "read"


def kind_of(status: int) -> Kind | None:
    """What kind of error a status is; None of none."""
    if status < 400:
        return None
    return _KINDS.get(status, "input" if status < 500 else "fault")


def monitoring(
    samples: Sequence[Sample],
    workers: int,
    shadow: Sequence[ShadowFigures],
    failed_pipelines: Sequence[FailedPipeline] = (),
) -> Monitoring:
    """What happened between the first and the last of at least two samples."""
    first, last = samples[0], samples[-1]
    grown = _grown(last.requests, first.requests)
    errors: dict[Kind, float] = {}
    for (_, status), count in grown.items():
        if kind := kind_of(status):
            errors[kind] = errors.get(kind, 0.0) + count
    groups: tuple[Group, ...] = ("predict", "read")
    answered = _grown(last.predictions, first.predictions)
    return Monitoring(
        period=Period(since=_moment(first.at), until=_moment(last.at), seconds=round(last.at - first.at, 1)),
        workers=workers,
        requests={group: int(sum(n for (own, _), n in grown.items() if own == group)) for group in groups},
        errors=[Errors(kind=kind, count=int(count)) for kind, count in errors.items() if count],
        latency={group: latency(first, last, group) for group in groups},
        # What lies too close together is no rate yet.
        steps=[_step(before, after) for before, after in pairwise(samples) if after.at >= before.at + 1],
        predictions=[
            Answered(model=model, model_version=version, count=int(count))
            for (model, version), count in sorted(answered.items())
            if count
        ],
        shadow=list(shadow),
        kept=int(max(last.kept - first.kept, 0.0)),
        dropped=int(max(last.dropped - first.dropped, 0.0)),
        failed_pipelines=list(failed_pipelines),
    )


def latency(first: Sample, last: Sample, group: Group) -> Latency:
    """Quantiles of the answers between two samples."""
    ends = last.ends
    known = dict(zip(first.ends, first.buckets.get(group, ()), strict=False))
    so_far = [
        max(count - known.get(end, 0.0), 0.0)
        for end, count in zip(ends, last.buckets.get(group, (0.0,) * len(ends)), strict=True)
    ]
    longest = max((end for end in ends if end != float("inf")), default=0.0)
    told = {f"p{share}_ms": _quantile(ends, so_far, share / 100, longest) for share in (50, 95, 99)}
    return Latency(count=int(so_far[-1]) if so_far else 0, longest_told_ms=1000 * longest, **told)


def _quantile(ends: Sequence[float], so_far: Sequence[float], share: float, longest: float) -> float | None:
    """Milliseconds, linear within a bucket, as Prometheus' `histogram_quantile`."""
    if not so_far or not so_far[-1]:
        return None
    rank, start, before = share * so_far[-1], 0.0, 0.0
    for end, count in zip(ends, so_far, strict=True):
        if count >= rank and count > before:
            if end == float("inf"):
                break
            return round(1000 * (start + (end - start) * (rank - before) / (count - before)), 3)
        start, before = end, count
    return 1000 * longest


def _step(before: Sample, after: Sample) -> Step:
    grown = _grown(after.requests, before.requests)
    refused = sum(count for (_, status), count in grown.items() if 400 <= status < 500)
    failed = sum(count for (_, status), count in grown.items() if status >= 500)
    return Step(
        at=_moment(after.at),
        seconds=round(after.at - before.at, 1),
        predictions=int(sum(count for (group, _), count in grown.items() if group == "predict")),
        reads=int(sum(count for (group, _), count in grown.items() if group == "read")),
        refused=int(refused),
        failed=int(failed),
        p95_ms=latency(before, after, "predict").p95_ms,
    )


def _shadow(families: Iterable[Metric]) -> list[ShadowFigures]:
    """The challengers that answer beside their champions now."""
    samples = [each for family in families for each in family.samples if "_shadow_" in each.name]

    def total(name: str, **labels: str) -> float:
        return sum(
            each.value
            for each in samples
            if each.name == f"sigap_api_shadow_{name}" and labels.items() <= each.labels.items()
        )

    present = {
        (each.labels["model"], each.labels["model_version"])
        for each in samples
        if each.name == "sigap_api_shadow_info" and each.value
    }
    found = []
    for model, version in sorted(present):
        counts = {
            result: int(total("answers_total", model=model, result=result))
            for result in ("same", "other", "refused", "failed", "skipped")
        }
        measured = total("difference_count", model=model)
        mean = total("difference_sum", model=model) / measured if measured else None
        found.append(ShadowFigures(model=model, model_version=version, mean_difference=mean, **counts))
    return found


def _failed(families: Iterable[Metric]) -> list[FailedPipeline]:
    found = {
        each.labels["pipeline"]: each.value for family in families if family.name == FAILED for each in family.samples
    }
    return [FailedPipeline(pipeline=name, failed_at=_moment(at)) for name, at in sorted(found.items())]


def _grown(after: Mapping[K, float], before: Mapping[K, float]) -> dict[K, float]:
    return {key: max(count - before.get(key, 0.0), 0.0) for key, count in after.items()}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
