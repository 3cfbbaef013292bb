"""The routes that tell of a model's runs: what each tried, how it scored, and which data it saw."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Protocol

from fastapi import APIRouter, Query

from backend.documentation import problems
from backend.follower import Follower
from backend.problems import RequestError
from backend.provenance import asked
from backend.registry_client import PIPELINE_RUN, MissingFileError, NotRegisteredError, RegistryClient, RunEntry
from backend.runs import DataProfile, Pages, RunDetail, RunList, RunSummary, detail, less_is_better, profile, summary
from sigap.settings import Settings

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MOST_RUNS = 200
Limit = Annotated[int, Query(ge=1, le=MOST_RUNS, description="At most so many.")]


class Models(Protocol):
    """What these routes need of the service."""

    settings: Settings
    registry: RegistryClient

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def experiment_routes(service: Models) -> APIRouter:
    """The routes under `/models/{model}/runs`."""
    router = APIRouter(prefix="/models/{model}/runs", tags=["provenance"])

    @router.get("", summary="The runs of the model's pipeline, newest first", responses=problems(404, 422, 503))
    async def runs(model: str, limit: Limit = 50) -> RunList:
        declared = service.follower(model).declaration
        found = await asked(service.registry.runs(model, limit))
        at = pages(service.settings, service.registry, model)
        metric = declared.task.selection
        return RunList(
            model=model,
            task=declared.task.kind,
            metric=metric,
            less_is_better=less_is_better(metric),
            pages=at,
            runs=[RunSummary(**summary(run, declared, at)) for run in found],
        )

    @router.get("/{run}", summary="A run: its sweep, and what was decided on it", responses=problems(404, 503))
    async def run_detail(model: str, run: str) -> RunDetail:
        declared = service.follower(model).declaration
        found = await _run(service.registry, model, run)
        at = pages(service.settings, service.registry, model)
        return await asked(detail(service.registry, found, declared, at))

    @router.get("/{run}/profile", summary="The profile of the data that a run saw", responses=problems(404, 503))
    async def run_profile(model: str, run: str) -> DataProfile:
        service.follower(model)
        found = await _run(service.registry, model, run)
        try:
            return await asked(profile(service.registry, found))
        except RequestError as error:
            if isinstance(error.__cause__, MissingFileError):
                raise RequestError(
                    404,
                    "unknown-profile",
                    "There is no data profile",
                    f"Run {run} of {model} stored no profile of its data.",
                    remedy=f"`./run pipeline {model}` stores one.",
                ) from error
            raise

    return router


async def _run(registry: RegistryClient, model: str, run: str) -> RunEntry:
    """The run of the model's pipeline with that id.

    Raises:
        RequestError: 404, there is none; 503, the registry can't be asked.
    """
    unknown = RequestError(
        404,
        "unknown-run",
        "There is no such run",
        f"The pipeline of {model} has no run {run[:80]!r}.",
        remedy=f"`GET /models/{model}/runs` lists them.",
    )
    if not _RUN_ID.fullmatch(run):
        raise unknown
    try:
        found = await asked(registry.run(run))
    except RequestError as error:
        if isinstance(error.__cause__, NotRegisteredError):
            raise unknown from error
        raise
    # A candidate's own run, or one of another model, is none of this pipeline's.
    if PIPELINE_RUN not in found.tags or found.experiment != await asked(registry.experiment(model)):
        raise unknown
    return found


def pages(settings: Settings, registry: RegistryClient, model: str) -> Pages:
    """Where a reader's browser finds MLflow and the model's pipeline in Mage: what is set, else what `./run` started.

    A server's own address, such as `http://mlflow:5000` in a network of containers, is none for a reader.
    """
    here = _reachable(settings.host)
    mlflow = settings.mlflow_page or (registry.address.rstrip("/") if here and _local(registry.address) else None)
    mage = settings.mage_page or (settings.mage_address if here and (settings.state / "mage").is_dir() else None)
    return Pages(
        mlflow=mlflow.rstrip("/") if mlflow else None,
        mage=f"{mage.rstrip('/')}/pipelines/{model}/runs" if mage else None,
    )


def _local(address: str) -> bool:
    return re.match(r"https?://(127\.|localhost[:/]?|\[::1\])", address) is not None


def _reachable(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
