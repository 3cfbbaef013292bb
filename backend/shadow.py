"""The challenger in the champion's shadow: it answers a share of the requests too, and nobody but the figures sees it.

A mirrored request waits in a small queue and is answered after the client has its answer, so many a second at most.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary

from backend.follower import STEP_SECONDS, Follower
from backend.prediction_log import Logged, PredictionLog
from backend.problems import RequestError
from backend.registry_client import NoChampionError, RegistryClient
from backend.served import Served
from backend.store import BundleStore
from backend.tasks.forecasting import ForecastingPredictor
from sigap.catalog import Declaration
from sigap.catalog.declaration import Classification, Clustering, Forecasting, Regression

log = logging.getLogger("sigap.api")

WAITING = 64
IDLE_SECONDS = 0.05


class Compared(NamedTuple):
    """What of two answers is compared.

    Attributes:
        outcome: The field that decides, which is the same or another; empty where there is none.
        number: The field whose difference is measured.
    """

    outcome: str
    number: str


def compared(declaration: Declaration) -> Compared:
    """What of the model's answers is compared."""
    task, target = declaration.task, declaration.target.name if declaration.target else ""
    if isinstance(task, Clustering):
        return Compared("cluster", "distance_to_center")
    if isinstance(task, Classification):
        return Compared("prediction", "probability")
    if isinstance(task, Regression):
        return Compared("segment" if task.segments else "", target)
    if isinstance(task, Forecasting):
        return Compared("direction", f"next_{target}")
    raise TypeError(f"{declaration.name} is a {task.kind}")


class ShadowMetrics:
    """The figures of the shadow.

    Args:
        registry: Gets them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "sigap_api_shadow_answers",
            "Mirrored requests by whether the challenger decides the same; skipped are those there was no time for.",
            ["model", "result"],
            registry=registry,
        )
        self.difference = Summary(
            "sigap_api_shadow_difference",
            "Absolute difference of the two answers' number, in its unit.",
            ["model"],
            registry=registry,
        )
        self._info = Gauge(
            "sigap_api_shadow_info", "1 for the version in the shadow.", ["model", "model_version"], registry=registry
        )
        self._faults = Counter(
            "sigap_api_shadow_faults",
            "Looks for a challenger that could not be followed.",
            ["model", "kind"],
            registry=registry,
        )
        self._known: dict[str, tuple[str, str]] = {}

    def loaded(self, model: str, served: Served, seconds: float | None = None) -> None:  # noqa: ARG002
        """Notes which version is in the shadow from now on."""
        self.left(model)
        self._known[model] = (model, served.model_version)
        self._info.labels(*self._known[model]).set(1)

    def left(self, model: str) -> None:
        """Notes that none is any more."""
        if before := self._known.pop(model, None):
            self._info.remove(*before)

    def fault(self, model: str, kind: str) -> None:
        """Counts a look that could not be followed."""
        self._faults.labels(model, kind).inc()


class ShadowFollower(Follower):
    """Follows the challenger's alias; that nobody has it is the usual case and no fault.

    Args:
        declaration: The model.
        alias: The alias it follows.
        seconds: Pause between two looks at the registry.
        registry: Where the alias is looked up.
        store: Where bundles are kept.
        metrics: Where it is told which version is in the shadow.
    """

    def __init__(
        self,
        declaration: Declaration,
        alias: str,
        seconds: float,
        registry: RegistryClient,
        store: BundleStore,
        metrics: ShadowMetrics,
    ) -> None:
        super().__init__(declaration, alias, seconds, registry, store, metrics)
        self._left = metrics.left

    async def _step(self) -> None:
        fault = None
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await self._follow()
        except NoChampionError:
            self.served = None
            self._left(self.declaration.name)
        except Exception as error:  # the champion answers, whatever there is with its challenger
            fault = f"{type(error).__name__}: {error}"
        if fault is not None and fault != self.fault:
            log.warning("%s: the challenger can't be followed. %s", self.declaration.name, fault)
        self.fault = fault


class Shadow:
    """Mirrors requests to the challengers.

    Args:
        followers: Of every model's challenger.
        kept: Where their answers are kept.
        per_second: Most requests that are mirrored in a second.
        metrics: Where answers are compared.
    """

    def __init__(
        self, followers: Mapping[str, ShadowFollower], kept: PredictionLog, per_second: float, metrics: ShadowMetrics
    ) -> None:
        self.followers = followers
        self._kept = kept
        self._pause = 1 / per_second
        self._metrics = metrics
        self._queue: deque[tuple[Served, Logged]] = deque()
        self._compared = {name: compared(follower.declaration) for name, follower in followers.items()}
        self._skipped = {name: metrics.answers.labels(name, "skipped") for name in followers}

    def put(self, record: Logged) -> None:
        """Queues a request that the champion has answered; never blocks and never raises."""
        served = self.followers[record.model].served
        if served is None or served.model_version == record.version:
            return
        if len(self._queue) < WAITING:
            self._queue.append((served, record))
        else:
            self._skipped[record.model].inc()

    async def run(self) -> None:
        """Follows the challengers and answers what is mirrored, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for follower in self.followers.values():
                group.create_task(follower.run())
            group.create_task(self._answer())

    async def _answer(self) -> None:
        while True:
            if not self._queue:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            self.answer(*self._queue.popleft())
            await asyncio.sleep(self._pause)

    def answer(self, served: Served, record: Logged) -> None:
        """Answers a mirrored request, keeps the answer and compares it."""
        answers = self._metrics.answers
        started = time.perf_counter()
        try:
            answer = predict(served, record)
        except RequestError:
            # Of another champion's features, or with too few candles for this one.
            answers.labels(record.model, "refused").inc()
            return
        except Exception:  # the client has its answer: a challenger that fails is counted and no more
            answers.labels(record.model, "failed").inc()
            log.exception("The challenger %s of %s gives no answer.", served.model_version, record.model)
            return
        took = time.perf_counter() - started
        kept = record._replace(version=served.model_version, answer=answer, shadow=True, latency=took)
        self._kept.put_shadow(kept)
        what = self._compared[record.model]
        ours, theirs = float(answer[what.number]), float(record.answer[what.number])
        decided = math.isclose(ours, theirs, rel_tol=1e-6)
        if what.outcome:
            decided = answer[what.outcome] == record.answer[what.outcome]
        answers.labels(record.model, "same" if decided else "other").inc()
        self._metrics.difference.labels(record.model).observe(abs(ours - theirs))


def predict(served: Served, record: Logged) -> dict[str, Any]:
    """The answer of another version to a request that one version has answered.

    Raises:
        RequestError: 422, the request is not valid for this version.
        BundleError: The model gives no answer.
    """
    if any(record.fields.get(name) is None for name in served.predictor.needed):
        raise RequestError(422, "invalid-request", "The request is not valid", "A feature that is needed is null.")
    if record.newest and isinstance(served.predictor, ForecastingPredictor):
        return served.predictor.answer(record.fields, record.newest)
    return served.predictor.answer(record.fields)
