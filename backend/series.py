"""The newest steps of a series as they stand in its table, for a chart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from backend.documentation import problems
from backend.follower import Follower
from backend.newest import NewestRows
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import refused
from sigap.catalog.declaration import Forecasting

MOST_ROWS = 1_000

# A text, so that a wrong one is answered as every other fault is.
RowCount = Annotated[str, Query(description=f"How many of the newest steps: 1 to {MOST_ROWS}.", examples=["120"])]


class Tables(Protocol):
    """What this route needs of the service."""

    @property
    def tables(self) -> Mapping[str, NewestRows]:
        """The tables of models that forecast a series, by the model's name."""

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


class SeriesStep(BaseModel):
    """One step of a series, such as a candle."""

    begun: datetime = Field(description="When it began, UTC.")
    values: dict[str, float | None] = Field(
        description="Of a candle open, high, low, close and volume; null where the table has no value."
    )


class NewestSteps(BaseModel):
    """The newest steps of a series, the oldest first; between two of them may lie a gap."""

    model: str
    step: str = Field(description="How long a step is: 1m, 1h or 1d.")
    target: str = Field(description="Which of the values is forecast.")
    rows: list[SeriesStep]


def series_routes(service: Tables) -> APIRouter:
    """The route of models that forecast a series."""
    router = APIRouter(tags=["models"])

    @router.get(
        "/models/{model}/series",
        summary="The newest steps of a forecasting model's table",
        responses=problems(404, 422, 503),
    )
    async def series(model: str, rows: RowCount = "120") -> NewestSteps:
        declared, table = service.follower(model).declaration, service.tables.get(model)
        if table is None:
            raise RequestError(
                404,
                "no-series",
                "The model has no series",
                f"{model} is a {declared.task.kind}.",
                remedy=f"`GET /models/{model}` tells what is served of it.",
            )
        found = await table.table(_count(rows))
        if found is None:
            raise RequestError(
                503,
                "table-away",
                "The table can't be read",
                f"The database with {declared.source.table} does not answer.",
                remedy="Try again in some seconds; `GET /health` tells what is away.",
                headers={"retry-after": "10"},
            )
        steps = [
            SeriesStep(begun=begun.astimezone(UTC), values=dict(zip(table.names, values, strict=True)))
            for begun, values in found
        ]
        step = declared.task_as(Forecasting).step
        return NewestSteps(model=model, step=step, target=table.names[0], rows=steps)

    return router


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
    if not 1 <= count <= MOST_ROWS:
        expected = f"a whole number from 1 to {MOST_ROWS}"
        raise refused([FieldProblem(field="rows", value=shown(text), expected=expected, remedy="Such as ?rows=120.")])
    return count
