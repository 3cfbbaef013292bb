"""Which trainings were asked for, why, and what came of them: read from the table `retrains`."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from backend.documentation import problems
from backend.follower import Follower
from backend.problems import RequestError
from sigap.retrains import Cause, Outcome, Verdict
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

CONNECT_SECONDS = 3
QUERY_SECONDS = 5.0
# Whoever may read may ask: so few at once that they leave the database its connections.
AT_ONCE = 2
MOST = 200
Limit = Annotated[int, Query(ge=1, le=MOST, description="How many, of the newest.")]
_COLUMNS = (
    "id", "model", "asked_at", "cause", "detail", "decision", "asked_by", "pipeline_run", "started_at", "ended_at",
    "outcome", "model_version", "resolved_at",
)  # fmt: skip


class Retrain(BaseModel):
    """A training that somebody or something asked for."""

    model_config = ConfigDict(protected_namespaces=())

    id: int
    model: str
    asked_at: datetime
    cause: Cause
    detail: str = Field(description="Why, in a sentence of whoever asked.")
    decision: Verdict = Field(description="Whether it was started, or why not.")
    asked_by: str
    pipeline_run: int | None = Field(description="Number of the run in Mage.")
    started_at: datetime | None
    ended_at: datetime | None = Field(description="Null while the run goes on, and where there is none.")
    outcome: Outcome | None = Field(
        description="What came of it; `kept` if the champion stayed, `waiting` if a person has to approve, `stuck` if "
        "no step moved even in a second run."
    )
    model_version: str | None = Field(description="The version decided on.")
    resolved_at: datetime | None = Field(description="When the alert that asked was over.")


class Retrains(BaseModel):
    """Trainings that were asked for, the newest first."""

    retrains: list[Retrain]


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def retrain_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["pipelines"])
    asking = asyncio.Semaphore(AT_ONCE)

    @router.get("/retrains", summary="Trainings that were asked for, of all models", responses=problems(422, 503))
    async def retrains(limit: Limit = 50) -> Retrains:
        async with asking:
            return await _found(service.settings, "", [limit])

    @router.get(
        "/models/{model}/retrains",
        summary="Trainings of a model that were asked for",
        responses=problems(404, 422, 503),
    )
    async def of_model(model: str, limit: Limit = 50) -> Retrains:
        service.follower(model)
        async with asking:
            return await _found(service.settings, "WHERE model = %s", [model, limit])

    return router


async def _found(settings: Settings, where: Literal["", "WHERE model = %s"], values: list[Any]) -> Retrains:
    if not settings.has_database:
        raise _away("There is no database here.", "`./run` starts one, or set DATABASE_URL.")
    # Here, not above: an API without a database needs no driver.
    from psycopg import AsyncConnection

    query = f"SELECT {', '.join(_COLUMNS)} FROM retrains {where} ORDER BY id DESC LIMIT %s"  # noqa: S608
    try:
        async with (
            asyncio.timeout(QUERY_SECONDS),
            await AsyncConnection.connect(
                settings.dsn, connect_timeout=CONNECT_SECONDS, application_name="sigap-api"
            ) as connection,
        ):
            rows = await (await connection.execute(query.encode(), values)).fetchall()
    except Exception as error:  # a driver's errors and the time-out mean the same here
        log.warning("The table of trainings can't be read: %s", type(error).__name__)
        raise _away("PostgreSQL does not answer, or has no such table yet.", "`./run status` shows it.") from error
    return Retrains(retrains=[Retrain(**dict(zip(_COLUMNS, row, strict=True))) for row in rows])


def _away(found: str, remedy: str) -> RequestError:
    return RequestError(
        503, "retrains", "Trainings can't be listed", found, remedy=remedy, headers={"retry-after": "5"}
    )
