"""Starting a model's pipeline in Mage, and watching its blocks."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from backend.admin import asker_of, fields_of
from backend.documentation import problems
from backend.follower import Follower
from backend.mage import Json, Mage, MageAwayError, MageRefusedError
from backend.problems import FieldProblem, RequestError
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

T = TypeVar("T")
GOING_ON = {"initial", "running"}
SHOWN_ERROR = 500
MOST_ID = 2**31 - 1


class WantedRun(BaseModel):
    """What a run shall train on; by default what stands in the table."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    data_version: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="An earlier data version, such as v1."
    )


class PipelineRun(BaseModel):
    """A run of a model's pipeline."""

    run: int = Field(description="Its number in Mage.")
    model: str
    status: str = Field(description="`initial`, `running`, `completed`, `failed` or `cancelled`.")
    asked_by: str | None = Field(description="Who or what started it; null where nobody said.")
    started_at: datetime | None
    ended_at: datetime | None
    blocks_done: int = Field(description="Steps that came to their end.")
    blocks_total: int = Field(description="Steps known so far; a sweep adds one a candidate.")


class PipelineRuns(BaseModel):
    """The last runs of a model's pipeline, newest first."""

    model: str
    runs: list[PipelineRun]


class BlockRun(BaseModel):
    """A step of a run."""

    block: str
    status: str = Field(description="`initial`, `queued`, `running`, `completed`, `failed`, `cancelled`, …")
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None = Field(description="Why it failed, shortened; null where it did not, or gave no reason.")


class PipelineRunDetail(PipelineRun):
    """A run with its steps, in the order in which they began to exist."""

    blocks: list[BlockRun]


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings
    mage: Mage

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def pipeline_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/models/{model}/pipeline")
    body = {"requestBody": {"content": {"application/json": {"schema": WantedRun.model_json_schema()}}}}

    @router.post(
        "",
        tags=["admin"],
        summary="Start the model's pipeline",
        description="From the table to a decision. Refused while a run goes on; `errors` then names it.",
        responses=problems(400, 404, 408, 409, 413, 422, 503),
        operation_id="start_pipeline",
        openapi_extra=body,
    )
    async def start(model: str, request: Request) -> PipelineRun:
        service.follower(model)
        wanted = await fields_of(request, WantedRun)
        return await _start(service, model, asker_of(request), wanted)

    @router.get("/runs", tags=["pipelines"], summary="The last runs of the pipeline", responses=problems(404, 503))
    async def runs(model: str) -> PipelineRuns:
        service.follower(model)
        found = await _asked(service.mage.runs(model))
        return PipelineRuns(model=model, runs=[_run(model, each) for each in found])

    @router.get(
        "/runs/{run}", tags=["pipelines"], summary="A run of the pipeline with its steps", responses=problems(404, 503)
    )
    async def run(model: str, run: str) -> PipelineRunDetail:
        service.follower(model)
        number = int(run) if re.fullmatch("[0-9]{1,10}", run) else 0
        found = await _asked(service.mage.run(number)) if 0 < number <= MOST_ID else None
        if found is None or found.get("pipeline_uuid") != model:
            raise RequestError(
                404,
                "unknown-run",
                "There is no such run",
                f"The pipeline of {model} has no run {run[:20]!r}.",
                remedy=f"`GET /models/{model}/pipeline/runs` lists the last ones.",
            )
        blocks = [_block(each) for each in found.get("block_runs") or ()]
        return PipelineRunDetail(**_run(model, found).model_dump(), blocks=blocks)

    return router


async def _start(service: Service, model: str, asked_by: str, wanted: WantedRun) -> PipelineRun:
    folder = service.settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    # Whoever asks at the same moment, of this worker or another, finds the run or this lock.
    lock = FileLock(folder / f"pipeline-{model}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise _goes_on(model, None, "Somebody is starting it just now.") from None
    with lock:
        for each in await _asked(service.mage.runs(model)):
            if each["status"] not in GOING_ON:
                continue
            if not _lost(each, service.settings):
                began = _moment(each.get("created_at"))
                since = f" since {began:%Y-%m-%d %H:%M} UTC" if began else ""
                raise _goes_on(model, int(each["id"]), f"Run {each['id']} goes on{since}.")
            log.warning("%s: run %s of the pipeline does not move any more, and is ended.", model, each["id"])
            await _asked(service.mage.cancel(int(each["id"])))
        variables = {"asked_by": asked_by} | wanted.model_dump(exclude_none=True)
        number = await _asked(service.mage.start(model, variables))
        found = await _asked(service.mage.run(number))
    ids = {"model": model, "pipeline_run": number}
    log.info("%s: %s started run %d of the pipeline.", model, asked_by, number, extra=ids)
    return _run(model, found or {"id": number, "status": "initial", "variables": {"asked_by": asked_by}})


def _goes_on(model: str, run: int | None, message: str) -> RequestError:
    problem = FieldProblem(field="run", value=run, expected="no run that goes on", remedy="Wait for its end.")
    return RequestError(
        409,
        "pipeline-running",
        "The pipeline runs already",
        message,
        remedy=f"`GET /models/{model}/pipeline/runs` tells when it has ended.",
        errors=(problem,),
    )


def _lost(run: Json, settings: Settings) -> bool:
    """Whether nothing has happened in a run for so long that nothing will."""
    blocks = run.get("block_runs") or []
    times = [
        _moment(each.get(name)) for each in (run, *blocks) for name in ("created_at", "started_at", "completed_at")
    ]
    moved = max((each for each in times if each is not None), default=None)
    if moved is None:
        return False
    working = any(block.get("status") == "running" for block in blocks)
    allowed = settings.step_timeout_seconds + settings.stuck_seconds if working else settings.stuck_seconds
    return (datetime.now(UTC) - moved).total_seconds() > allowed


def _run(model: str, record: Json) -> PipelineRun:
    blocks = record.get("block_runs") or []
    variables = record.get("variables") or {}
    asked_by = variables.get("asked_by") if isinstance(variables, dict) else None
    return PipelineRun(
        run=int(record["id"]),
        model=model,
        status=str(record["status"]),
        asked_by=str(asked_by) if asked_by else None,
        started_at=_moment(record.get("started_at") or record.get("created_at")),
        ended_at=_moment(record.get("completed_at")),
        blocks_done=sum(block.get("status") == "completed" for block in blocks),
        blocks_total=len(blocks),
    )


def _block(record: Json) -> BlockRun:
    cause = ((record.get("metrics") or {}).get("error") or {}).get("error")
    return BlockRun(
        block=str(record["block_uuid"]),
        status=str(record["status"]),
        started_at=_moment(record.get("started_at")),
        ended_at=_moment(record.get("completed_at")),
        error=str(cause)[:SHOWN_ERROR] if cause else None,
    )


def _moment(text: Any) -> datetime | None:
    with suppress(ValueError, TypeError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


async def _asked(answer: Awaitable[T]) -> T:
    """What Mage was asked for.

    Raises:
        RequestError: 503, it can't answer.
    """
    try:
        return await answer
    except (MageAwayError, MageRefusedError, KeyError, TypeError) as error:
        told = error.message if isinstance(error, (MageAwayError, MageRefusedError)) else "Its answer can't be read."
        remedy = getattr(error, "remedy", "") or "`./run status` shows whether Mage runs."
        raise RequestError(
            503, "mage", "The pipelines can't be asked", told, remedy=remedy, headers={"retry-after": "5"}
        ) from error
