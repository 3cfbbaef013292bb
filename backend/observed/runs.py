"""The runs of the pipelines, counted over all that Mage remembers."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Json = dict[str, Any]

ENDED = ("completed", "failed", "cancelled")
# A run that somebody ended says nothing about whether the pipeline works.
DECIDED = ("completed", "failed")
FAILED = "sigap_pipeline_failed_timestamp_seconds"
BUCKETS = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
PAGE = 25
# Mage remembers every run; older ones than are on so many pages are not counted.
MOST_PAGES = 80
# A label has to be of a bounded set; there is a pipeline a model and some more.
MOST_PIPELINES = 50


class Listing(Protocol):
    """Who lists runs."""

    async def recent(self, limit: int, offset: int = 0) -> list[Json]:
        """Runs of all pipelines with their blocks, newest first."""


class Runs:
    """The runs that ended, as counts, and those that go on.

    Args:
        names: Of the pipelines that are told of before they ever ran.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._ended: dict[str, Counter[str]] = {name: Counter() for name in names}
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._succeeded: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._newest: dict[str, tuple[int, Json]] = {}
        self._counted: set[int] = set()
        self._going_on: dict[int, Json] = {}
        # How far the first reading of them all has come; it may take several looks.
        self._page = 0
        self._complete = False

    async def update(self, listing: Listing) -> None:
        """Reads all runs once, then those that are new or went on when they were seen last."""
        if not self._complete:
            await self._read_all(listing)
        open_before = set(self._going_on)
        for page in range(MOST_PAGES):
            runs = await listing.recent(PAGE, page * PAGE)
            self._take(runs)
            open_before -= {int(run["id"]) for run in runs}
            if len(runs) < PAGE or (int(runs[-1]["id"]) in self._counted and not open_before):
                break
        for gone in open_before:
            # Mage knows it no more.
            del self._going_on[gone]

    async def _read_all(self, listing: Listing) -> None:
        while self._page < MOST_PAGES:
            runs = await listing.recent(PAGE, self._page * PAGE)
            self._take(runs)
            self._page += 1
            if len(runs) < PAGE:
                break
        self._complete = True

    def _take(self, runs: Iterable[Json]) -> None:
        for run in runs:
            number = int(run["id"])
            if str(run["status"]) in DECIDED and number >= self._newest.get(str(run["pipeline_uuid"]), (0,))[0]:
                self._newest[str(run["pipeline_uuid"])] = number, run
            if str(run["status"]) not in ENDED:
                self._going_on[number] = run
            elif number not in self._counted:
                self._going_on.pop(number, None)
                self._count(run)

    def _count(self, run: Json) -> None:
        pipeline, status = str(run["pipeline_uuid"]), str(run["status"])
        self._counted.add(int(run["id"]))
        if pipeline not in self._ended and len(self._ended) >= MOST_PIPELINES:
            return
        self._ended.setdefault(pipeline, Counter())[status] += 1
        began, ended = _seconds(run.get("started_at") or run.get("created_at")), _seconds(run.get("completed_at"))
        if status != "completed" or began is None or ended is None or ended < began:
            return
        counts = self._buckets.setdefault(pipeline, [0] * (len(BUCKETS) + 1))
        counts[bisect_left(BUCKETS, ended - began)] += 1
        self._sums[pipeline] = self._sums.get(pipeline, 0.0) + ended - began
        if ended > self._succeeded.get(pipeline, 0.0):
            self._succeeded[pipeline], self._last[pipeline] = ended, ended - began

    def metrics(self) -> list[Metric]:
        """What is known."""
        runs = CounterMetricFamily(
            "sigap_pipeline_runs", "Runs of a pipeline that ended, by how.", labels=["pipeline", "status"]
        )
        seconds = HistogramMetricFamily(
            "sigap_pipeline_run_seconds", "Time from a completed run's start to its end.", labels=["pipeline"]
        )
        last = GaugeMetricFamily(
            "sigap_pipeline_last_run_seconds", "Duration of the last completed run.", labels=["pipeline"]
        )
        succeeded = GaugeMetricFamily(
            "sigap_pipeline_last_success_timestamp_seconds", "When the last run completed.", labels=["pipeline"]
        )
        failed = GaugeMetricFamily(
            FAILED,
            "When the newest run that came to an end failed; nothing where it completed.",
            labels=["pipeline"],
        )
        running = GaugeMetricFamily("sigap_pipeline_running", "Runs that go on.", labels=["pipeline"])
        moved = GaugeMetricFamily(
            "sigap_pipeline_moved_timestamp_seconds",
            "When a step of a run that goes on began or ended last; of several, the run that stands still longest.",
            labels=["pipeline"],
        )
        for pipeline, counts in self._ended.items():
            for status in ENDED:
                runs.add_metric([pipeline, status], counts[status])
        for pipeline, buckets in self._buckets.items():
            ends = [*map(str, BUCKETS), "+Inf"]
            so_far = [sum(buckets[: at + 1]) for at in range(len(buckets))]
            seconds.add_metric([pipeline], list(zip(ends, so_far, strict=True)), self._sums[pipeline])
        for pipeline, at in self._succeeded.items():
            succeeded.add_metric([pipeline], at)
            last.add_metric([pipeline], self._last[pipeline])
        for pipeline, (_, run) in list(self._newest.items())[:MOST_PIPELINES]:
            ended = _seconds(run.get("completed_at")) or _moved(run)
            if run["status"] == "failed" and ended is not None:
                failed.add_metric([pipeline], ended)
        going_on: dict[str, list[Json]] = {name: [] for name in self._ended}
        for run in self._going_on.values():
            going_on.setdefault(str(run["pipeline_uuid"]), []).append(run)
        for pipeline, each in list(going_on.items())[:MOST_PIPELINES]:
            running.add_metric([pipeline], len(each))
            if still := [when for when in map(_moved, each) if when is not None]:
                moved.add_metric([pipeline], min(still))
        return [runs, seconds, last, succeeded, failed, running, moved]


def _moved(run: Json) -> float | None:
    """When something happened in a run last."""
    parts = (run, *(run.get("block_runs") or ()))
    times = [_seconds(part.get(name)) for part in parts for name in ("created_at", "started_at", "completed_at")]
    return max((at for at in times if at is not None), default=None)


def _seconds(text: Any) -> float | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
