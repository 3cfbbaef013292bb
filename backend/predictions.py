"""What was kept of a prediction, and the way from it to its version and its data."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from backend.database import asking, away
from backend.documentation import problems
from backend.follower import Follower
from backend.prediction_log import PredictionLog
from backend.problems import RequestError
from sigap.settings import Settings

QUERY_SECONDS = 5.0
SHOWN = 20
ORIGINS_AT_ONCE = 2
RequestId = Annotated[str, Path(description="As the answer's header `x-request-id` told it.")]
_QUERY = """
    SELECT at, model_version, shadow, principal, latency_ms, fields, answer, "row"
    FROM predictions WHERE request_id = %s AND model = %s ORDER BY id DESC LIMIT %s
"""

_AWAY = away("prediction-log", "Kept predictions can't be read")


class Kept(BaseModel):
    """One prediction as it was kept."""

    model_config = ConfigDict(protected_namespaces=())

    at: datetime
    model_version: str
    shadow: bool = Field(description="Answered beside the champion and never returned to the client.")
    principal: str = Field(description="Name of the key that asked; empty without one.")
    latency_ms: float | None = Field(description="From the request's body to the answer.")
    fields: dict[str, Any] = Field(description="As validated; personal ones as keyed hashes, or left out.")
    answer: dict[str, Any] = Field(description="Without what is the same for every answer of the version.")
    row: int = Field(description="Which row of a batch, counted from 1; 0 of a single request.")
    lineage: str = Field(description="Path that tells which version, run, data and query it comes from.")


class KeptPredictions(BaseModel):
    """What was kept under a request id; a client may have sent the same one more than once."""

    model: str
    request_id: str
    predictions: list[Kept] = Field(description="The newest first, at most 20.")


class Origin(BaseModel):
    """Which version answered a request, without what was asked and who asked."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    request_id: str
    at: datetime
    model_version: str
    lineage: str = Field(description="Path that tells which version, run, data and query it comes from.")


class Asked(Protocol):
    """What these routes need of the service."""

    settings: Settings
    log: PredictionLog

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def prediction_routes(service: Asked) -> APIRouter:
    """The route that shows a kept prediction."""
    router = APIRouter()
    # Whoever may read may ask: so few at once that they leave the database its connections.
    looking = asyncio.Semaphore(ORIGINS_AT_ONCE)

    @router.get(
        "/models/{model}/predictions/{request_id}",
        tags=["admin"],
        summary="What was kept of a prediction, with the way to its origin",
        responses=problems(404, 503),
        operation_id="kept_prediction",
    )
    async def kept_prediction(model: str, request_id: RequestId) -> KeptPredictions:
        rows = await found(model, request_id)
        return KeptPredictions(model=model, request_id=request_id, predictions=[_kept(model, row) for row in rows])

    # No part of the admin's: it tells neither what was asked nor who asked.
    @router.get(
        "/models/{model}/predictions/{request_id}/origin",
        summary="Which version answered a request, with the way to its data",
        responses=problems(404, 503),
        tags=["provenance"],
    )
    async def prediction_origin(model: str, request_id: RequestId) -> Origin:
        async with looking:
            kept = [_kept(model, row) for row in await found(model, request_id)]
        # The champion's, which the client was given; a challenger in the shadow answered too, and nobody saw it.
        first = next((each for each in kept if not each.shadow), kept[0])
        return Origin(
            model=model, request_id=request_id, at=first.at, model_version=first.model_version, lineage=first.lineage
        )

    async def found(model: str, request_id: str) -> list[tuple[Any, ...]]:
        service.follower(model)
        rows = await _asked(service, request_id, model)
        if not rows:
            raise RequestError(
                404,
                "unknown-prediction",
                "There is no such prediction",
                f"No prediction of {model} is kept under {request_id[:80]!r}.",
                remedy=f"Predictions are written within a second and kept {service.settings.prediction_log_days} days.",
            )
        return rows

    return router


def _kept(model: str, row: tuple[Any, ...]) -> Kept:
    at, version, shadow, principal, latency, fields, answer, number = row
    return Kept(
        at=at,
        model_version=version,
        shadow=shadow,
        principal=principal,
        latency_ms=latency,
        fields=fields,
        answer=answer,
        row=number,
        lineage=f"/models/{model}/lineage?version={version}",
    )


async def _asked(service: Asked, request_id: str, model: str) -> list[tuple[Any, ...]]:
    if "\0" in request_id and service.log.enabled:
        return []  # PostgreSQL has no such text
    async with asking(service.settings, service.log, _AWAY, QUERY_SECONDS) as connection:
        cursor = await connection.execute(_QUERY, [request_id, model, SHOWN])
        return await cursor.fetchall()
