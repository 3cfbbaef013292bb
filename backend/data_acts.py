"""What a person changes about a model's data: rows from a file into its table, and the way back to older data.

The API's own process knows neither pandas nor DVC. Each act is a short-lived process of the command line, which is
what `./run import` and `./run data` are too: it has a time limit and a memory limit, and of one model only one runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from backend.admin import asker_of, fields_of
from backend.documentation import json_body, problems
from backend.files.faults import unusable
from backend.files.kinds import recognise
from backend.files.upload import documented_form, receive, temporary
from backend.follower import Follower
from backend.problems import RequestError
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

ROOT = Path(__file__).resolve().parents[1]
# How long an act may take to give up once it is told to.
STOP_SECONDS = 10.0
# A workbook is read whole; beyond this, a file is not one that somebody filled in.
MEMORY_BYTES = 3 * 2**30
# The errors of the command line as problems; the others are faults of a service.
_UNUSABLE = {"FileError", "ContractError"}


@dataclass(frozen=True)
class Refusal:
    """How a word of the command line says that it does not do it as things are: told as 409.

    Attributes:
        errors: The names of the errors that say so.
        kind: The problem's.
        title: The problem's.
        ended: What holds of a word that took too long.
    """

    errors: frozenset[str]
    kind: str
    title: str
    ended: str = "nothing was changed"


_NOT_BROUGHT_BACK = Refusal(
    frozenset({"VersionError", "AlreadyRunningError"}), "data-version", "The data can't be brought back"
)


class Reason(BaseModel):
    """Why rows were set aside."""

    field: str = Field(description="Empty where it is about the row as a whole.")
    expected: str
    rows: int = Field(description="How many.")


class RefusedRow(BaseModel):
    """A row that was set aside."""

    row: int = Field(description="Its number in the file, as a spreadsheet counts.")
    key: str
    field: str
    found: str
    expected: str


class Imported(BaseModel):
    """What an import did, or would do."""

    model: str
    table: str
    file: str
    kind: str
    dry_run: bool = Field(description="Whether nothing was changed.")
    rows: int = Field(description="In the file.")
    inserted: int = Field(description="New in the table.")
    changed: int = Field(description="Stood there, and are different now.")
    unchanged: int
    doubles: int = Field(description="Repeat another row of the file.")
    rejected: int = Field(description="Set aside.")
    mock_removed: int = Field(description="Made-up rows that gave way.")
    mock_said: int = Field(0, description="Rows of the file whose column `origin` says `mock`; they count as imported.")
    headings: dict[str, str] = Field(description="The file's heading by declared name.")
    missing: list[str] = Field(description="Declared names that the file does not bring: they stay as they are.")
    unused: list[str]
    notes: list[str] = Field(description="What was repaired or noticed.")
    reasons: list[Reason]
    refused: list[RefusedRow] = Field(description="The first of the rows that were set aside.")
    asked_by: str


class DataVersion(BaseModel):
    """A recorded snapshot."""

    version: str
    md5: str
    git_commit: str
    created_at: datetime | None = Field(None, description="When it was recorded.")


class DataVersions(BaseModel):
    """The data versions of a model, newest first."""

    model: str
    current: str | None = Field(description="The one that is checked out.")
    versions: list[DataVersion]


class WantedData(BaseModel):
    """Which data version."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="Such as v1.")


class Returned(BaseModel):
    """The data version that is checked out now; what is served is as it was."""

    model: str
    before: str | None
    version: str
    md5: str
    asked_by: str


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def data_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/models/{model}", tags=["admin"])
    settings = service.settings

    @router.post(
        "/import-file",
        summary="Import a file into the model's table",
        description="As `./run import` does it: checked row by row, in one transaction; the same file again changes "
        "nothing. With `dry_run` it is only told what would be done.",
        responses=problems(400, 404, 408, 409, 413, 415, 422, 503),
        operation_id="import_file",
        openapi_extra={"requestBody": documented_form("CSV, XLSX, XLS or Parquet.")},
    )
    async def import_file(
        model: str,
        request: Request,
        dry_run: Annotated[bool, Query(description="Tell what would be done, and change nothing.")] = False,
        accept: Annotated[bool, Query(description="Take headings that look like a column's name for it.")] = False,
        number_rows: Annotated[bool, Query(description="Number the rows where the file has no key.")] = False,
    ) -> Imported:
        service.follower(model)
        asked_by = asker_of(request)
        with temporary(settings.state / "api" / "files") as (path, file), alone(settings, model):
            upload = await receive(request, path, file, settings.max_file_bytes)
            recognise(path, upload.name)
            # Its own name is what the table's record of origins tells.
            named = path.rename(path.with_name(_plain(upload.name)))
            flags = {"--dry-run": dry_run, "--accept": accept, "--number-rows": number_rows}
            words = ["import", *(flag for flag, given in flags.items() if given), "--asked-by", asked_by]
            told = await told_by(settings, [*words, "--", model, str(named)], named)
        if not dry_run:
            log.info("%s: %s imported a file: %d rows new, %d changed.", model, asked_by, told["inserted"],
                     told["changed"])  # fmt: skip
        return Imported(**told, asked_by=asked_by)

    @router.get("/data/versions", summary="The recorded data versions", responses=problems(404, 409, 503))
    async def versions(model: str) -> DataVersions:
        service.follower(model)
        told = await told_by(settings, ["data", "versions", "--", model])
        return DataVersions.model_validate(
            told | {"versions": [each | {"created_at": each["created_at"] or None} for each in told["versions"]]}
        )

    @router.post(
        "/data/rollback",
        summary="Check an earlier data version out",
        description="What is served stays as it is; a pipeline that is started with it as `data_version` trains on it.",
        responses=problems(400, 404, 408, 409, 413, 422, 503),
        operation_id="rollback_data",
        openapi_extra=json_body(WantedData),
    )
    async def rollback(model: str, request: Request) -> Returned:
        service.follower(model)
        wanted, asked_by = await fields_of(request, WantedData), asker_of(request)
        with alone(settings, model):
            told = await told_by(settings, ["data", "rollback", "--asked-by", asked_by, "--", model, wanted.version])
        log.info("%s: %s returned the data to %s.", model, asked_by, wanted.version)
        return Returned(**told, asked_by=asked_by)

    return router


@contextlib.contextmanager
def alone(settings: Settings, model: str) -> Iterator[None]:
    """Keeps others of this worker and the next from changing the model's data meanwhile.

    Raises:
        RequestError: 409, somebody is at it.
    """
    folder = settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"data-act-{model}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RequestError(
            409,
            "data-busy",
            "The data is being changed already",
            f"Somebody is importing a file of {model}, returning its data to another version, or simulating drift.",
            remedy="Send it again when that has ended.",
        ) from None
    with lock:
        yield


def _plain(name: str) -> str:
    """A file's name without anything that a path or a command line could stumble over."""
    plain = re.sub(r"[^\w. -]+", "_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".- ")[-80:]
    return plain if plain and plain != "upload" else "file"


async def told_by(
    settings: Settings, words: Sequence[str], file: Path | None = None, refusal: Refusal = _NOT_BROUGHT_BACK
) -> dict[str, Any]:
    """What a word of the command line tells, with the name of the `file` instead of where it lies here.

    Raises:
        RequestError: 409 or 422, it refuses; 503, it can't be done here or now.
    """
    at = words.index("--")
    command = [sys.executable, "-m", "sigap", *words[:at], "--json", *words[at:]]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=os.environ | settings.as_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=2**24,
    )
    _limit_memory(process.pid)
    try:
        async with asyncio.timeout(settings.data_act_seconds):
            said, faults = await process.communicate()
    except TimeoutError:
        raise RequestError(
            503,
            "data-act-slow",
            "It took too long",
            f"It did not end within {settings.data_act_seconds:g} s and was ended; {refusal.ended}.",
            remedy=f"`./run {words[0]}` has no such limit.",
        ) from None
    finally:
        await _ended(process)
    plain = said.replace(f"{file.parent}{os.sep}".encode(), b"") if file is not None else said
    return _answer(plain, faults, refusal)


def _limit_memory(pid: int) -> None:
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ends a process that goes on: first so that it can undo what it began."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _answer(said: bytes, faults: bytes, refusal: Refusal) -> dict[str, Any]:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    try:
        told: dict[str, Any] = json.loads(lines[-1])
        kind = str(told.get("error", ""))
    except (IndexError, ValueError, AttributeError):
        # Whatever it said is for the log: it may hold what no client should read.
        log.warning("The command line told nothing: %s", faults.decode("utf-8", "replace")[-2000:])
        raise RequestError(
            503,
            "data-act",
            "It can't be done here",
            "Changing data needs the whole of Sigap beside the API, and its command line gave no answer.",
            remedy="The API's log has its words; `./run import` and `./run data` do the same.",
        ) from None
    if not kind:
        return told
    message, remedy = str(told.get("message", "")), str(told.get("remedy", ""))
    if kind in _UNUSABLE:
        raise unusable(message, remedy)
    if kind in refusal.errors:
        raise RequestError(409, refusal.kind, refusal.title, message, remedy=remedy)
    raise RequestError(503, "data-act", "It can't be done now", message, remedy=remedy, headers={"retry-after": "5"})
