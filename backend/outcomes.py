"""What became of predictions: `POST /models/{model}/outcomes`, by the request id that an answer carried."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Count
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.requests import Request
from starlette.responses import Response

from backend.database import asking, away
from backend.decode import decode
from backend.documentation import problems
from backend.follower import Follower
from backend.outcome_items import Outcome, checked, items_of, reader, spelled
from backend.outcome_rows import Noted, record
from backend.predict import direct, encode, read_body
from backend.prediction_log import PredictionLog
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import type_name
from backend.security.tokens import PRINCIPAL
from sigap.catalog import Declaration
from sigap.catalog.declaration import Classification, Clustering, Forecasting
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

SECONDS = 15.0
# From so many on, they are read outside the event loop, which has predictions to answer.
INLINE = 200
_AWAY = away("outcomes", "Outcomes can't be kept now")
_STATUSES = ("recorded", "conflict", "unknown", "ambiguous", "refused")
_REMEDIES = {
    "conflict": "Another outcome of this prediction is known; send it with `correct: true` if this one is right.",
    "unknown": "No prediction of this model is kept under this id and row: they are written within a second, "
    "kept {days} days, and those of a batch only with `keep=true`.",
    "ambiguous": "Several predictions are kept under this id: name the `row`; an id that was used twice can't be told "
    "apart.",
}


class OutcomeTold(BaseModel):
    """What became of one outcome of the list."""

    model_config = ConfigDict(protected_namespaces=())

    item: int = Field(description="Which one, counted from 1.", ge=1)
    status: Literal["recorded", "conflict", "unknown", "ambiguous", "refused"] = Field(
        description="`recorded`: it stands, now or already; `conflict`: another one stands; `unknown`: there is no "
        "such prediction; `ambiguous`: there are several; `refused`: it is not right in itself."
    )
    request_id: str | None
    row: int | None
    outcome: float | bool | None = Field(description="What stands now: a number, or whether the answer was yes.")
    model_version: str | None = Field(description="The version that had answered.")
    errors: list[FieldProblem]


class OutcomesTold(BaseModel):
    """What became of the list, an entry each in its order."""

    model: str
    received: int
    recorded: int
    conflict: int
    unknown: int
    ambiguous: int
    refused: int
    outcomes: list[OutcomeTold]


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings
    log: PredictionLog
    followers: dict[str, Follower]

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def outcome_routes(service: Service, registry: CollectorRegistry) -> APIRouter:
    """`POST /models/{model}/outcomes` of every model with a target; the others say why not."""
    router = APIRouter()
    counts = Count("sigap_api_outcomes", "Outcomes received.", ["model", "status"], registry=registry)
    for follower in service.followers.values():
        if not isinstance(follower.declaration.task, Clustering):
            _add_route(router, service, follower.declaration, counts)
    router.route_class = APIRoute

    # Of the scope of predictions, as those above: whoever may ask may say what became of it.
    @router.post("/models/{model}/outcomes", tags=["predict"], include_in_schema=False)
    async def none(model: str) -> None:
        service.follower(model)
        raise RequestError(
            422,
            "no-outcomes",
            "The model has no outcomes",
            f"{model} groups rows and has no target: nothing comes later that it could be measured by.",
        )

    return router


def _add_route(router: APIRouter, service: Service, model: Declaration, counts: Count) -> None:
    settings = service.settings
    read, expected = reader(model)

    async def answer(request: Request) -> Response:
        body = await read_body(request, settings.max_file_bytes, "Send fewer outcomes.")
        items = items_of(decode(body), settings.max_batch_rows)
        now = datetime.now(UTC)
        sent, faults = (
            checked(items, read, expected, now)
            if len(items) <= INLINE
            else await asyncio.to_thread(checked, items, read, expected, now)
        )
        noted: list[Noted] = []
        principal = getattr(request.scope.get(PRINCIPAL), "name", "")
        async with asking(settings, service.log, _AWAY, SECONDS) as connection:
            if sent:
                await connection.set_autocommit(True)
                noted = await record(connection, model.name, list(sent.values()), principal)
        told = _told(model.name, items, dict(zip(sent, noted, strict=True)), faults, settings.prediction_log_days)
        for status in _STATUSES:
            if told[status]:
                counts.labels(model.name, status).inc(told[status])
        log.info("%s: %s", model.name, ", ".join(f"{told[status]} {status}" for status in _STATUSES))
        return Response(encode(told), media_type="application/json")

    async def documented(body: Any) -> None:
        """Stands for the handler in the documentation; its route class answers instead."""

    documented.__annotations__["body"] = _body_type(model, settings.max_batch_rows)
    router.route_class = direct(answer)
    router.add_api_route(
        f"/models/{model.name}/outcomes",
        documented,
        methods=["POST"],
        response_model=OutcomesTold,
        responses=problems(400, 408, 413, 422, 503),
        tags=["predict"],
        summary=f"{model.title.en}: what became of predictions",
        description="Each outcome by the request id of its prediction. The same one again changes nothing; another one "
        "of the same prediction is a conflict, unless it says `correct: true`. What is wrong with one keeps no other "
        f"out. `outcome` is {expected}.",
        operation_id=f"outcomes_{model.name}",
        openapi_extra={"requestBody": {"content": {"application/json": {"example": _example(model)}}}},
    )


def _body_type(model: Declaration, most: int) -> type[BaseModel]:
    listed: Any = Annotated[list[Outcome], Field(min_length=1, max_length=most, description="In any order.")]
    return create_model(
        type_name(model, "Outcomes"),
        __doc__="What became of predictions.",
        __config__=ConfigDict(extra="forbid"),
        outcomes=(listed, ...),
    )


def _example(model: Declaration) -> dict[str, Any]:
    value: Any = 10250.0
    if isinstance(model.task, Classification) and model.target:
        value = spelled(model.target)[0]
    elif isinstance(model.task, Forecasting):
        value = 101980.5
    return {
        "outcomes": [
            {"request_id": "8a5edab282632443219e051e", "outcome": value, "observed_at": "2026-01-31T09:30:00Z"}
        ]
    }


def _told(
    model: str,
    items: Sequence[Any],
    noted: Mapping[int, Noted],
    faults: Mapping[int, list[FieldProblem]],
    days: int,
) -> dict[str, Any]:
    entries = []
    for at, item in enumerate(items):
        result = noted.get(at)
        status = result.status if result else "refused"
        entry = item if isinstance(item, dict) else {}
        row, name = entry.get("row"), entry.get("request_id")
        errors = [problem.model_dump() for problem in faults.get(at, ())]
        if result and status != "recorded":
            remedy = _REMEDIES[status].format(days=days)
            known = "one prediction" if result.known is None else f"{result.known}, which stands"
            value = shown(name) if result.known is None else shown(entry.get("outcome"))
            field = "request_id" if result.known is None else "outcome"
            errors = [FieldProblem(field=field, value=value, expected=known, remedy=remedy).model_dump()]
        entries.append(
            {
                "item": at + 1,
                "status": status,
                "request_id": shown(name) if isinstance(name, str) else None,
                "row": row if isinstance(row, int) and not isinstance(row, bool) and abs(row) < 2**31 else None,
                "outcome": result.known if result else None,
                "model_version": result.version if result else None,
                "errors": errors,
            }
        )
    counts = Counter(entry["status"] for entry in entries)
    return {
        "model": model,
        "received": len(entries),
        **{status: counts[status] for status in _STATUSES},
        "outcomes": entries,
    }
