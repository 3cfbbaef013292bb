"""What became of predictions: `POST /models/{model}/outcomes`, by the request id that an answer carried."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Count
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from starlette.requests import Request
from starlette.responses import Response

from backend.database import asking, away
from backend.decode import decode
from backend.documentation import problems
from backend.follower import Follower
from backend.outcome_rows import Noted, Sent, Value, record
from backend.predict import direct, encode, read_body
from backend.prediction_log import PredictionLog
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import expected_value, refused, type_name, whole
from backend.security.tokens import PRINCIPAL
from sigap.catalog import Declaration, Kind
from sigap.catalog.declaration import Classification, Clustering, Forecasting, Target
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

SECONDS = 15.0
# A client's clock may be ahead by this.
AHEAD = timedelta(minutes=5)
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
Reader = Callable[[Any], Value]


def _text(value: Any) -> Any:
    """A moment's text; a number, which pydantic takes for seconds since 1970, is none."""
    return value if isinstance(value, str) else ""


class Outcome(BaseModel):
    """What became of one prediction."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    request_id: str = Field(
        min_length=1, max_length=64, description="As the prediction's answer told it in `x-request-id`."
    )
    row: Annotated[int, BeforeValidator(whole)] | None = Field(
        None, ge=0, lt=2**31, description="Which row of a batch, counted from 1; may be left out where there was one."
    )
    outcome: Any = Field(description="The target as it turned out.")
    observed_at: Annotated[datetime, Field(strict=False), BeforeValidator(_text)] | None = Field(
        None, description="When that was observed, ISO 8601; by default now."
    )
    correct: bool = Field(False, description="Whether it takes the place of another outcome of the same prediction.")


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


def reader(declaration: Declaration) -> tuple[Reader, str]:
    """What reads an outcome of the model, and what it expects, in words.

    A number has to lie in the target's range; yes or no may be true or false, or as the source or the answer spells it.
    What it reads with raises ValueError for anything else.

    Raises:
        TypeError: The model has no target.
    """
    task, target = declaration.task, declaration.target
    if target is None:
        raise TypeError(f"{declaration.name} has no target")
    if isinstance(task, Classification):
        spellings = _spellings(task, target)
        words = ", ".join([*_values(target), task.yes, task.no])
        return lambda value: _yes_or_no(value, spellings), f"true, false, or one of: {words}"
    return lambda value: _number(value, target), expected_value(target)


def _values(target: Target) -> list[str]:
    if target.categories:
        return list(target.categories)
    return [str(value) for value in range(int(target.minimum or 0), int(target.maximum or 0) + 1)]


def _spellings(task: Classification, target: Target) -> dict[str, bool]:
    known = {value.casefold(): value == task.positive for value in _values(target)}
    return known | {task.yes.casefold(): True, task.no.casefold(): False}


def _yes_or_no(value: Any, spellings: Mapping[str, bool]) -> bool:
    if isinstance(value, bool):
        return value
    # JSON knows one kind of number: 1.0 is 1.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = spellings.get(str(value).strip().casefold()) if isinstance(value, str | int) else None
    if found is None:
        raise ValueError(value)
    return found


def _number(value: Any, target: Target) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            number = float(value)
    inside = (target.minimum is None or number >= target.minimum) and (
        target.maximum is None or number <= target.maximum
    )
    whole = target.kind is not Kind.INTEGER or number.is_integer()
    if not (math.isfinite(number) and inside and whole):
        raise ValueError(value)
    return number


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
        items = _items(decode(body), settings.max_batch_rows)
        now = datetime.now(UTC)
        sent, faults = (
            _checked(items, read, expected, now)
            if len(items) <= INLINE
            else await asyncio.to_thread(_checked, items, read, expected, now)
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
    return create_model(
        type_name(model, "Outcomes"),
        __doc__="What became of predictions.",
        __config__=ConfigDict(extra="forbid"),
        outcomes=(
            Annotated[list[Outcome], Field(min_length=1, max_length=most, description="In any order.")],
            ...,
        ),
    )


def _example(model: Declaration) -> dict[str, Any]:
    value: Any = 10250.0
    if isinstance(model.task, Classification) and model.target:
        value = _values(model.target)[0]
    elif isinstance(model.task, Forecasting):
        value = 101980.5
    return {
        "outcomes": [
            {"request_id": "8a5edab282632443219e051e", "outcome": value, "observed_at": "2026-01-31T09:30:00Z"}
        ]
    }


def _items(fields: Mapping[str, Any], most: int) -> list[Any]:
    """The list in a decoded body.

    Raises:
        RequestError: 413, it is too long; 422, it is none.
    """
    items = fields.get("outcomes")
    if not isinstance(items, list) or not items or len(fields) > 1:
        other = next((name for name in fields if name != "outcomes"), None)
        expected = 'one list: {"outcomes": [{"request_id": …, "outcome": …}]}'
        field = "outcomes" if other is None else str(shown(other))
        value = shown(fields.get("outcomes") if other is None else fields[other])
        remedy = "Send at least one outcome." if other is None else "Leave it out."
        raise refused([FieldProblem(field=field, value=value, expected=expected, remedy=remedy)])
    if len(items) > most:
        raise RequestError(
            413,
            "too-many-rows",
            "There are too many rows",
            f"The list has {len(items)} outcomes.",
            remedy=f"Send at most {most} at once.",
        )
    return items


def _checked(
    items: Sequence[Any], read: Reader, expected: str, now: datetime
) -> tuple[dict[int, Sent], dict[int, list[FieldProblem]]]:
    """The outcomes that are right in themselves, and what is wrong with the others, by position."""
    sent, faults = {}, {}
    for at, item in enumerate(items):
        try:
            sent[at] = _sent(item, read, expected, now)
        except RequestError as error:
            faults[at] = list(error.errors)
    return sent, faults


def _sent(item: Any, read: Reader, expected: str, now: datetime) -> Sent:
    try:
        given = Outcome.model_validate(item)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise refused([_problem(entry) for entry in found]) from None
    faults = []
    value: Value = False
    try:
        value = read(given.outcome)
    except ValueError:
        remedy = "Correct the value; an outcome that is not known yet is sent later."
        faults.append(FieldProblem(field="outcome", value=shown(given.outcome), expected=expected, remedy=remedy))
    moment = given.observed_at
    if moment is not None:
        # Without a zone it is UTC, as everywhere here.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment > now + AHEAD:
            wanted = f"a moment that is past at {now.isoformat(timespec='seconds')}"
            remedy = "Check the clock and the time zone, or leave it out."
            faults.append(FieldProblem(field="observed_at", value=moment.isoformat(), expected=wanted, remedy=remedy))
    if "\0" in given.request_id:  # PostgreSQL has no such text
        faults.append(
            FieldProblem(
                field="request_id",
                value=shown(given.request_id),
                expected="the id of a prediction",
                remedy="Correct it.",
            )
        )
    if faults:
        raise refused(faults)
    return Sent(given.request_id, given.row, value, moment, given.correct)


_EXPECTED = {
    "request_id": "the id of a prediction, a text of 1 to 64 characters",
    "row": "a whole number, 1 for the first row of a batch, or none",
    "outcome": "the target as it turned out",
    "observed_at": "a moment in ISO 8601, such as 2026-01-31T09:30:00Z",
    "correct": "true or false",
}


def _problem(entry: Any) -> FieldProblem:
    name = str(entry["loc"][0]) if entry["loc"] else ""
    if entry["type"] == "extra_forbidden":
        expected, remedy = f"one of: {', '.join(_EXPECTED)}", "Leave it out."
    else:
        missing = entry["type"] == "missing"
        expected = _EXPECTED.get(name, 'an object: {"request_id": …, "outcome": …}')
        remedy = "Add the field." if missing else "Correct the value."
    value = None if entry["type"] == "missing" else shown(entry["input"])
    return FieldProblem(field=str(shown(name)), value=value, expected=expected, remedy=remedy)


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
