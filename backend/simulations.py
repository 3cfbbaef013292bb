"""A stated shift, injected by a person into a model's live inputs or its table to see the alarm come, and taken back.

It is what `./run simulate-drift` does, in a process of its own like the other acts on data; production refuses it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request

from backend.admin import asker_of, fields_of
from backend.data_acts import Refusal, Service, alone, told_by
from backend.documentation import json_body, problems
from sigap.simulations import shifted_since

log = logging.getLogger("sigap.api")

_REFUSAL = Refusal(
    # The command line's own rules: production, a table that is shifted already or can't be, no champion; and a
    # champion whose training data is not to be had, as for a rollback.
    frozenset({"ConfigurationError", "RegistryError", "VersionError"}),
    "simulation",
    "It is not simulated",
    "rows of the table are as they were, requests that were sent stay sent",
)


class WantedShift(BaseModel):
    """Which shift, or that the one of the table is taken back."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    into: Literal["live", "table"] = Field(description="Requests that are sent, or rows that are changed.")
    shift: float = Field(1.0, ge=-10, le=10, allow_inf_nan=False, description="In standard deviations.")
    rows: int = Field(200, ge=1, le=10_000, description="Requests to send, or most rows to change.")
    feature: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="The number to shift; null for all that the champion uses.",
    )
    undo: bool = Field(False, description="Take the shift of the table back instead.")

    @model_validator(mode="after")
    def _of_the_table(self) -> WantedShift:
        if self.undo and self.into != "table":
            raise ValueError("only a shift of the table can be taken back")
        return self


class MovedFeature(BaseModel):
    """How a feature was shifted."""

    feature: str
    asked: float = Field(description="In standard deviations.")
    got: float = Field(description="What is left of it within the declared range.")
    clipped: float = Field(description="Share of the values that were pulled in to the declared range.")
    tested: bool = Field(description="Whether the check of drift looks at it.")


class Simulated(BaseModel):
    """What was sent, changed, or brought back."""

    model: str
    into: Literal["live", "table"]
    undone: bool = Field(description="Whether a shift of the table was taken back.")
    table: str | None = Field(description="Null for live inputs.")
    rows: int = Field(description="Requests that were sent, or rows that were changed or brought back.")
    answered: int | None = Field(description="How many requests were answered with a prediction; null for a table.")
    left: int = Field(description="Rows that somebody changed since, and that were left as they are.")
    refusal: str = Field(description="What was said to the first request that was refused; empty if none was.")
    moved: list[MovedFeature]
    asked_by: str


class Simulation(BaseModel):
    """Whether the model's table holds a simulated shift."""

    model: str
    shifted_since: datetime | None = Field(description="Null if it holds none.")


def simulation_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/models/{model}", tags=["admin"])
    settings = service.settings

    @router.get(
        "/simulate-drift",
        summary="Whether the model's table holds a simulated shift",
        responses=problems(404),
        operation_id="simulated_drift",
    )
    async def standing(model: str) -> Simulation:
        service.follower(model)
        return Simulation(model=model, shifted_since=await asyncio.to_thread(shifted_since, settings, model))

    @router.post(
        "/simulate-drift",
        summary="Inject a stated shift, or take it back",
        description="As `./run simulate-drift` does it, never in production: `live` sends real requests, drawn from "
        "the champion's training snapshot and shifted; `table` changes rows in one transaction, and `undo` brings them "
        "back.",
        responses=problems(400, 404, 408, 409, 413, 422, 503),
        operation_id="simulate_drift",
        openapi_extra=json_body(WantedShift),
    )
    async def simulate(model: str, request: Request) -> Simulated:
        service.follower(model)
        wanted, asked_by = await fields_of(request, WantedShift), asker_of(request)
        words = ["simulate-drift", f"--into={wanted.into}", f"--shift={wanted.shift}", f"--rows={wanted.rows}"]
        words += [f"--feature={wanted.feature}"] if wanted.feature else []
        words += ["--undo"] if wanted.undo else []
        with alone(settings, model):
            told = await told_by(settings, [*words, f"--asked-by={asked_by}", "--", model], refusal=_REFUSAL)
        done = "took the simulated shift back" if wanted.undo else f"simulated drift ({wanted.shift:+g} sd)"
        log.info("%s: %s %s: %s, %d rows.", model, asked_by, done, wanted.into, told["rows"])
        return Simulated(**told, asked_by=asked_by)

    return router
