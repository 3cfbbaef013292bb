"""How the API is: alive, ready, and in detail; the detail is what the followers saw last, so asking costs nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol

from pydantic import BaseModel, Field

from backend.follower import Follower
from backend.listener import Listener
from backend.registry_client import RegistryClient
from backend.workers import Workers
from sigap import __version__
from sigap.settings import Settings

State = Literal["ok", "degraded", "unavailable"]
# A follower that has not looked at the registry for this many of its pauses, or seconds, is stuck.
STALE_PAUSES = 10
STALE_SECONDS = 45.0


class Watched(Protocol):
    """What is looked at."""

    settings: Settings
    registry: RegistryClient
    listener: Listener
    workers: Workers
    followers: dict[str, Follower]
    started: float


class Live(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ModelReady(BaseModel):
    """Whether a model can answer."""

    ready: bool
    model_version: str | None
    loaded_from: Literal["registry", "disk"] | None
    reason: str | None = Field(description="Why it can't, or why it answers with an older version than it should.")


class Ready(BaseModel):
    """Whether predictions can be answered: true when the default model can."""

    status: Literal["ready", "not ready"]
    models: dict[str, ModelReady]


class Dependency(BaseModel):
    """A service that the API needs."""

    status: Literal["up", "down", "unknown"]
    address: str
    latency_ms: float | None
    checked_seconds_ago: float | None
    fault: str | None


class ModelHealth(BaseModel):
    """A model, in detail."""

    status: State
    model_version: str | None
    data_version: str | None
    alias: str
    held: str | None = Field(description="The version that a person serves in this API whatever the alias says.")
    loaded_from: Literal["registry", "disk"] | None
    trained_at: str | None
    bundle_age_seconds: float | None = Field(description="Since the bundle's training.")
    loaded_seconds_ago: float | None
    fault: str | None


class Health(BaseModel):
    """The API and what it depends on."""

    status: State
    version: str
    worker: int = Field(description="Number of the process that tells this; each knows of itself only.")
    workers: int = Field(description="How many processes answer.")
    uptime_seconds: float
    dependencies: dict[str, Dependency]
    models: dict[str, ModelHealth]


def ready(followers: Mapping[str, Follower], default: str) -> Ready:
    """Whether the API can answer; `default` is the model whose absence makes it unready."""
    able = followers[default].served is not None
    return Ready(
        status="ready" if able else "not ready",
        models={name: _ready(follower) for name, follower in followers.items()},
    )


def health(service: Watched) -> Health:
    """The API in detail."""
    followers = service.followers
    dependencies = {"registry": _registry(service.registry, service.settings.follow_seconds)}
    if service.listener.wanted:
        dependencies["postgresql"] = _postgresql(service.listener)
    models = {name: _model(follower) for name, follower in followers.items()}
    # That the gate found nothing worth serving is no fault of the API's.
    expected = {name for name, model in followers.items() if model.served or not _refused(model)}
    states = {models[name].status for name in expected} or {"unavailable"}
    state: State = "ok"
    if _lacking(dependencies) or states != {"ok"}:
        state = "unavailable" if states == {"unavailable"} else "degraded"
    return Health(
        status=state,
        version=__version__,
        worker=service.workers.pid,
        workers=service.workers.count(),
        uptime_seconds=round(time.monotonic() - service.started, 3),
        dependencies=dependencies,
        models=models,
    )


def _lacking(dependencies: Mapping[str, Dependency]) -> bool:
    # The API starts before it has spoken with PostgreSQL, and answers without it.
    database = dependencies.get("postgresql")
    return dependencies["registry"].status != "up" or (database is not None and database.status == "down")


def _refused(follower: Follower) -> bool:
    return follower.refusal is not None and follower.refusal.by_gate


def _ready(follower: Follower) -> ModelReady:
    served = follower.served
    return ModelReady(
        ready=served is not None,
        model_version=served.model_version if served else None,
        loaded_from=served.origin if served else None,
        reason=follower.fault,
    )


def _registry(registry: RegistryClient, pause: float) -> Dependency:
    seen = registry.status
    age = time.monotonic() - seen.checked_at if seen.checked_at is not None else None
    stale = age is None or age > max(STALE_SECONDS, STALE_PAUSES * pause)
    return Dependency(
        status="unknown" if stale or seen.up is None else "up" if seen.up else "down",
        address=registry.address,
        latency_ms=round(seen.latency_seconds * 1000, 3) if seen.latency_seconds is not None else None,
        checked_seconds_ago=round(age, 3) if age is not None else None,
        fault=seen.fault,
    )


def _postgresql(listener: Listener) -> Dependency:
    seen = listener.status
    age = time.monotonic() - seen.checked_at if seen.checked_at is not None else None
    return Dependency(
        status="unknown" if seen.up is None or age is None or age > STALE_SECONDS else "up" if seen.up else "down",
        address=seen.address,
        latency_ms=round(seen.latency_seconds * 1000, 3) if seen.latency_seconds is not None else None,
        checked_seconds_ago=round(age, 3) if age is not None else None,
        fault=seen.fault,
    )


def _model(follower: Follower) -> ModelHealth:
    served = follower.served
    now = datetime.now(UTC)
    state: State = "unavailable" if served is None else "degraded" if follower.fault else "ok"
    trained = _moment(served.manifest.trained_at) if served else None
    return ModelHealth(
        status=state,
        model_version=served.model_version if served else None,
        data_version=served.manifest.data.version if served else None,
        alias=follower.alias,
        held=f"v{follower.held.version}" if follower.held else None,
        loaded_from=served.origin if served else None,
        trained_at=served.manifest.trained_at if served else None,
        bundle_age_seconds=round((now - trained).total_seconds(), 1) if trained else None,
        loaded_seconds_ago=round((now - served.loaded_at).total_seconds(), 1) if served else None,
        fault=follower.fault,
    )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
