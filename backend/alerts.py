"""`POST /alerts`: what Alertmanager and Grafana send when something is wrong, and the trainings that it leads to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from backend.decode import decode
from backend.documentation import problems
from backend.follower import Follower
from backend.mage import Mage
from backend.predict import read_body
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import refused
from sigap.errors import PipelineError, ServiceError
from sigap.retrains import ALARMS, Ask, Verdict, request, resolved
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

T = TypeVar("T")
MOST_ALERTS = 100
MAGE_SECONDS = 30.0
RETRAIN = "retrain"

Name = Annotated[str, StringConstraints(max_length=128)]
Value = Annotated[str, StringConstraints(max_length=2048)]


class _Form(BaseModel):
    # Further fields are the senders' own: Grafana has some that Alertmanager has not.
    model_config = ConfigDict(extra="ignore", strict=True)


class Alert(_Form):
    """One alert."""

    status: Literal["firing", "resolved"]
    labels: dict[Name, Value] = Field(
        max_length=64, description='`action="retrain"` and `model` have a model trained; `cause` is `drift` by default.'
    )
    annotations: dict[Name, Value] = Field(default_factory=dict, max_length=64)
    starts_at: datetime = Field(alias="startsAt", strict=False, description="Since when it fires.")
    fingerprint: str = Field(pattern="^[0-9A-Za-z]{1,64}$", description="Of its labels.")


class Alerts(_Form):
    """A message in Alertmanager's webhook form, version 4; Grafana's, version 1, has the same fields."""

    version: Literal["4", "1"]
    alerts: list[Alert] = Field(max_length=MOST_ALERTS)


class Decided(BaseModel):
    """What was done about one alert."""

    fingerprint: str
    model: str | None
    decision: Verdict | Literal["ignored", "resolved", "unknown_model", "unknown_cause"]
    run: int | None = Field(None, description="Number of the run in Mage that it started.")
    known: bool = Field(False, description="Whether it was decided before, and nothing was done now.")


class AlertsAnswer(BaseModel):
    """What was done about each alert, in their order."""

    alerts: list[Decided]


class Service(Protocol):
    """What this route needs of the service."""

    settings: Settings
    mage: Mage
    followers: dict[str, Follower]


def alert_routes(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["alerts"])
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": _schema()}}}}

    @router.post(
        "/alerts",
        summary='Alerts of Alertmanager or Grafana; those with `action="retrain"` have their model trained',
        description="The same alert starts one run however often it is sent. While a run of the model goes on, within "
        "the cooldown and beyond the hourly cap it starts none. 503 when Mage or PostgreSQL is away: send it again.",
        responses=problems(400, 408, 413, 422, 503),
        operation_id="alerts",
        openapi_extra=body,
    )
    async def alerts(request: Request) -> AlertsAnswer:
        sent = _parsed(await read_body(request, service.settings.max_body_bytes))
        # Asked in a thread, one alert after the other: locks and PostgreSQL make it wait.
        mage = _FromThread(service.mage, asyncio.get_running_loop())
        return AlertsAnswer(alerts=await run_in_threadpool(_decide_all, service, sent.alerts, mage))

    return router


def _schema() -> dict[str, Any]:
    """The form's schema with the alert's inside: a request body's schema may not point into itself."""
    schema = Alerts.model_json_schema()
    definitions = schema.pop("$defs")
    schema["properties"]["alerts"]["items"] = definitions["Alert"]
    return schema


def _parsed(body: bytes) -> Alerts:
    fields = decode(body)
    try:
        return Alerts.model_validate(fields)
    except ValidationError as error:
        raise refused(
            [
                FieldProblem(
                    field=str(shown(".".join(str(part) for part in each["loc"]))),
                    value=None,
                    expected=str(each["msg"]),
                    remedy="Send it as Alertmanager's webhook, version 4, or Grafana's does.",
                )
                for each in error.errors()[:10]
            ]
        ) from None


def _decide_all(service: Service, alerts: Sequence[Alert], mage: _FromThread) -> list[Decided]:
    """Raises `RequestError` 503 after all were tried when one could not be decided: those that were, are known then."""
    decided, faults = [], []
    for alert in alerts:
        try:
            decided.append(_decide(service, alert, mage))
        except (PipelineError, ServiceError) as error:
            log.warning("The alert %s on %s waits: %s", alert.fingerprint, _model(alert), error.message)
            faults.append(error)
    if faults:
        raise RequestError(
            503,
            "retrain",
            "A training could not be started",
            f"{len(faults)} of {len(alerts)} alerts could not be acted upon: {faults[0].message}",
            remedy=faults[0].remedy or "Send them again: what was started is not started twice.",
            headers={"retry-after": "10"},
        )
    return decided


def _decide(service: Service, alert: Alert, mage: _FromThread) -> Decided:
    model, fingerprint = _model(alert), alert.fingerprint
    told = None if model is None else str(shown(model))
    if alert.labels.get("action") != RETRAIN:
        return Decided(fingerprint=fingerprint, model=told, decision="ignored")
    if model is None or model not in service.followers:
        return Decided(fingerprint=fingerprint, model=told, decision="unknown_model")
    cause = alert.labels.get("cause", ALARMS[0])
    if cause not in ALARMS:
        return Decided(fingerprint=fingerprint, model=told, decision="unknown_cause")
    if alert.status == "resolved":
        known = resolved(service.settings, _key(alert))
        return Decided(fingerprint=fingerprint, model=told, decision="resolved", known=known)
    # PostgreSQL has no text with a NUL.
    name = alert.labels.get("alertname", "").replace("\0", "")
    ask = Ask(
        model=model,
        cause="performance" if cause == "performance" else "drift",
        fingerprint=_key(alert),
        detail=_reason(alert.annotations) or name or "An alert.",
        asked_by=f"alert:{name}"[:100],
    )
    answer = request(service.settings, ask, mage)
    return Decided(fingerprint=fingerprint, model=told, decision=answer.decision, run=answer.run, known=answer.known)


def _model(alert: Alert) -> str | None:
    return alert.labels.get("model")


def _key(alert: Alert) -> str:
    """What makes an alert the same one: its labels, and since when it fires, however the sender writes the time."""
    since = alert.starts_at if alert.starts_at.tzinfo else alert.starts_at.replace(tzinfo=UTC)
    return f"alert:{_model(alert)}:{alert.fingerprint}:{since.astimezone(UTC).isoformat()}"


def _reason(annotations: Mapping[str, str]) -> str:
    return (annotations.get("summary") or annotations.get("description") or "").replace("\0", "")


class _FromThread:
    """Mage for a thread, over the loop that holds its connection."""

    def __init__(self, mage: Mage, loop: asyncio.AbstractEventLoop) -> None:
        self._mage = mage
        self._loop = loop

    def runs(self, model: str) -> list[dict[str, Any]]:
        return self._asked(self._mage.runs(model))

    def start(self, model: str, variables: dict[str, Any]) -> int:
        return self._asked(self._mage.start(model, variables))

    def _asked(self, answer: Awaitable[T]) -> T:
        async def waited() -> T:
            return await answer

        try:
            return asyncio.run_coroutine_threadsafe(waited(), self._loop).result(MAGE_SECONDS)
        except (TimeoutError, KeyError, TypeError, ValueError) as error:
            raise PipelineError(f"Mage's answer can't be used ({type(error).__name__}).") from error
