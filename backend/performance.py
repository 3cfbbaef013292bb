"""How served versions fare by what became of their predictions: `GET /models/{model}/performance`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from backend.database import asking, away
from backend.documentation import problems
from backend.follower import Follower
from backend.prediction_log import PredictionLog
from sigap.catalog.declaration import Clustering
from sigap.settings import Settings

SECONDS = 5.0
HISTORY = 90
VERSIONS = 5
_AWAY = away("performance", "Live scores can't be read")
_SCORES = """
    WITH newest AS (
        SELECT DISTINCT ON (model_version) model_version, computed_at, id FROM live_scores
        WHERE model = %s ORDER BY model_version, id DESC
    ), recent AS (SELECT model_version, computed_at FROM newest ORDER BY id DESC LIMIT %s)
    SELECT s.model_version, s.computed_at, s.window_from, s.window_to, s.metric, s.value, s.low, s.high, s.n,
        s.promised, s.promised_sd, s.decisive, s.worse, s.alarm, s.reason, s.detail
    FROM live_scores s JOIN recent USING (model_version, computed_at) WHERE s.model = %s ORDER BY s.id
"""
_HISTORY = """
    SELECT model_version, computed_at, metric, value, low, high, n, promised, worse, alarm FROM live_scores
    WHERE model = %s AND decisive ORDER BY id DESC LIMIT %s
"""
_KNOWN = "SELECT count(*), max(received_at) FROM outcomes WHERE model = %s"


class Metric(BaseModel):
    """One live metric beside what the version promised of it."""

    metric: str = Field(description="As in training, or `coverage`, `calibration_error`, `naive_rmse_percent`.")
    value: float | None = Field(description="Null while no outcome is known.")
    low: float | None = Field(description="Lower end of its 95 % interval; null of a metric without one.")
    high: float | None
    n: int = Field(description="Outcomes that it rests on.")
    promised: float | None = Field(description="The same by cross-validation, when the version was registered.")
    promised_sd: float | None = Field(description="Its standard deviation over the folds.")
    decisive: bool = Field(description="Whether an alarm is decided on it.")
    worse: bool = Field(description="Whether it is worse than promised beyond doubt, or could not be computed.")
    judged: bool = Field(description="False while there are too few outcomes to hold it against the promise.")
    reason: str


class Bin(BaseModel):
    """Outcomes of predictions that were given about the same probability."""

    n: int
    probability: float = Field(description="Mean probability that was given.")
    share: float = Field(description="Share that came true.")
    low: float = Field(description="Lower end of the share's 95 % interval.")
    high: float


class VersionPerformance(BaseModel):
    """The newest live score of a version."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    computed_at: datetime
    window_from: datetime
    window_to: datetime
    alarm: bool = Field(description="Worse than promised in two of the last three computations on new outcomes.")
    metrics: list[Metric]
    reliability: list[Bin] = Field(description="Of yes-or-no models, by rising probability.")
    confidence: float | None = Field(description="Share of outcomes that the shown intervals are to hold.")


class Computed(BaseModel):
    """The decisive metric of an earlier computation."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    computed_at: datetime
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    promised: float | None
    worse: bool
    alarm: bool


class Performance(BaseModel):
    """How a model fares by what became of its predictions."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    measurable: bool = Field(description="False of a model that groups rows: nothing comes later to measure it by.")
    model_version: str | None = Field(description="The version served now.")
    alarm: bool = Field(description="Whether the performance alarm is raised about the version served now.")
    outcomes: int = Field(description="Outcomes known, of all versions.")
    newest: datetime | None = Field(description="When the last of them was received.")
    window_days: int
    versions: list[VersionPerformance] = Field(description="The last computed first.")
    history: list[Computed] = Field(description="Computations so far, the newest first.")


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings
    log: PredictionLog

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def performance_routes(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.get(
        "/models/{model}/performance",
        tags=["models"],
        summary="How well the served versions did by what became of their predictions",
        responses=problems(404, 503),
        operation_id="performance",
    )
    async def performance(model: str) -> Performance:
        follower = service.follower(model)
        served = follower.served.model_version if follower.served else None
        known: tuple[int, datetime | None] = (0, None)
        versions: list[VersionPerformance] = []
        history: list[Computed] = []
        measurable = not isinstance(follower.declaration.task, Clustering)
        if measurable:
            async with asking(service.settings, service.log, _AWAY, SECONDS) as connection:
                scores = await (await connection.execute(_SCORES, [model, VERSIONS, model])).fetchall()
                history = [
                    Computed(**dict(zip(Computed.model_fields, row, strict=True)))
                    for row in await (await connection.execute(_HISTORY, [model, HISTORY])).fetchall()
                ]
                row = await (await connection.execute(_KNOWN, [model])).fetchone()
                known = (row[0], row[1]) if row else known
            versions = _versions(scores)
        alarm = any(each.alarm for each in versions if each.model_version == served)
        return Performance(
            model=model,
            measurable=measurable,
            model_version=served,
            alarm=alarm,
            outcomes=known[0],
            newest=known[1],
            window_days=service.settings.live_window_days,
            versions=versions,
            history=history,
        )

    return router


def _versions(rows: Sequence[tuple[Any, ...]]) -> list[VersionPerformance]:
    grouped: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    found = []
    for version, group in grouped.items():
        metrics = [
            Metric(
                metric=row[4],
                value=row[5],
                low=row[6],
                high=row[7],
                n=row[8],
                promised=row[9],
                promised_sd=row[10],
                decisive=row[11],
                worse=row[12],
                judged=row[8] > 0 and bool(row[15].get("judged", True)),
                reason=row[14],
            )
            for row in group
        ]
        details = {row[4]: row[15] for row in group}
        found.append(
            VersionPerformance(
                model_version=version,
                computed_at=group[0][1],
                window_from=group[0][2],
                window_to=group[0][3],
                alarm=any(row[13] for row in group),
                metrics=metrics,
                reliability=[Bin.model_validate(each) for each in details.get("calibration_error", {}).get("bins", [])],
                confidence=details.get("coverage", {}).get("confidence"),
            )
        )
    # The rows come in the order in which they were written.
    return found[::-1]
