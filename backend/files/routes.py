"""`POST /models/{model}/predict-file`: a file of rows in, the same rows with their answers out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backend.batch import count
from backend.documentation import problems
from backend.files.faults import unusable
from backend.files.kinds import FileKind, recognise
from backend.files.limits import add_limits_route
from backend.files.parameters import XLSX_MEDIA, chosen_columns, chosen_format
from backend.files.preview import add_preview_route
from backend.files.reader import Limits
from backend.files.upload import Upload, documented_form, receive, temporary
from backend.follower import Follower
from backend.metrics import Metrics
from backend.predict import Handler, direct, serving
from backend.problems import FieldProblem, RequestError
from backend.served import Served
from backend.tasks.forecasting import ForecastingPredictor
from sigap.catalog import Declaration
from sigap.errors import SigapError
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

# As much of an answer is held back before its head is sent: what fits is answered with its counts, and a fault in it
# with a problem instead of half an answer.
HELD_BYTES = 8 * 2**20
LOOK_SECONDS = 0.5


class FileRow(BaseModel):
    """A row of the file."""

    model_config = ConfigDict(extra="allow")

    row: int = Field(description="Which one, counted from 1, without the header and empty rows.")
    status: Literal["answered", "refused"]
    input: dict[str, Any] = Field(description="The row's cells by the file's headings.")
    errors: list[FieldProblem] | None = Field(None, description="Of a refused row: one entry a field that is wrong.")


class FileAnswer(BaseModel):
    """A file's answer as JSON; each answered row carries what a batch's does."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str
    model_version: str
    predictions: list[FileRow]
    rows: int
    answered: int
    refused: int
    fault: str | None = Field(description="Why the file could not be read to its end; null when it was.")


def file_paths(model: str, default: str) -> tuple[str, ...]:
    """Where a model answers files."""
    aliases = ("/predict-file", "/batch-predict-file") if model == default else ()
    return (*aliases, f"/models/{model}/predict-file")


class FileDesk:
    """What the jobs of one worker share.

    Args:
        settings: Limits, and where temporary files lie.
        metrics: Where predictions are counted.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.folder = settings.state / "api" / "files"
        self.limits = Limits(settings.file_reader_bytes, settings.max_unpacked_bytes, settings.max_unpacked_ratio)
        self._free = settings.file_jobs
        # Threads start with the first file.
        self.jobs = ThreadPoolExecutor(settings.file_jobs, "sigap-file", initializer=_yield_the_processor)
        self.blocks = ThreadPoolExecutor(settings.file_threads, "sigap-rows", initializer=_yield_the_processor)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """One of the places for jobs.

        Raises:
            RequestError: 503, all are taken.
        """
        if not self._free:
            raise RequestError(
                503,
                "busy-with-files",
                "Too many files at once",
                f"{self.settings.file_jobs} files are being answered.",
                remedy="Send it again in a few seconds.",
                headers={"retry-after": "5"},
            )
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def file_routes(settings: Settings, followers: Mapping[str, Follower], default: str, metrics: Metrics) -> APIRouter:
    """The paths that answer files.

    Args:
        settings: Their limits.
        followers: By model.
        default: The model that answers where the path names none.
        metrics: Where predictions are counted.
    """
    router, desk = APIRouter(), FileDesk(settings, metrics)
    for name, follower in followers.items():
        for path in file_paths(name, default):
            _add_route(router, path, follower.declaration, file_handler(follower, desk))
        add_preview_route(router, follower.declaration, desk)
    router.route_class = APIRoute
    add_limits_route(router, settings)
    return router


def file_handler(follower: Follower, desk: FileDesk) -> Handler:
    """The function that answers files of one model."""

    async def predict_file(request: Request) -> Response:
        form = chosen_format(request)
        columns = chosen_columns(request, follower.declaration)
        with contextlib.ExitStack() as stack:
            path, file = stack.enter_context(temporary(desk.folder))
            upload = await receive(request, path, file, desk.settings.max_file_bytes)
            served = serving(follower)
            if isinstance(served.predictor, ForecastingPredictor):
                raise unusable("A forecast looks at a series, not at rows.", "Send candles to …/predict.")
            kind = recognise(path, upload.name)
            stack.enter_context(desk.place())
            work = Work(desk, upload, kind, served, form, stack.pop_all(), columns)
        return await work.response(request)

    return predict_file


class Work:
    """One file that is being answered.

    Args:
        desk: What all jobs share.
        upload: The file.
        kind: Its kind.
        served: The version that answers all its rows.
        form: How the answer is written.
        held: What is to be let go at the end: the temporary file and the place.
        columns: By field: the file's heading for it, where that is none of the field's own.
    """

    def __init__(
        self,
        desk: FileDesk,
        upload: Upload,
        kind: FileKind,
        served: Served,
        form: str,
        held: contextlib.ExitStack,
        columns: Mapping[str, str],
    ) -> None:
        self._desk = desk
        self._served = served
        self._form = form
        self._held = held
        self._columns = columns
        self._stopped = threading.Event()
        self._begun = threading.Event()
        self._ended = False
        self._turn = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._counts: Any = None
        self._parts = self._produce(upload.path, kind)

    async def response(self, request: Request) -> Response:
        """The answer, once it is whole or too long to hold back."""
        try:
            first, whole = await self._while_there(request, self._in_thread(self._take_held))
        except BaseException:
            self.end()
            raise
        headers = {
            "x-model": self._served.manifest.model,
            "x-model-version": self._served.model_version,
            "content-disposition": f'attachment; filename="predictions.{self._form}"',
        }
        media = {"csv": "text/csv; charset=utf-8", "json": "application/json", "xlsx": XLSX_MEDIA}[self._form]
        if self._counts is not None and whole:
            headers |= {
                "x-rows": str(self._counts.rows),
                "x-rows-answered": str(self._counts.answered),
                "x-rows-refused": str(self._counts.refused),
            }
        return StreamingResponse(self._sent(first, whole=whole), headers=headers, media_type=media)

    async def _sent(self, first: list[bytes], *, whole: bool) -> AsyncIterator[bytes]:
        if whole:
            self._let_go()
        try:
            for part in first:
                yield part
            while not whole and (part := await self._in_thread(self._next)) is not None:
                yield part
        finally:
            self.end()

    async def _while_there(self, request: Request, work: Any) -> Any:
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
                if await request.is_disconnected():
                    self._stopped.set()
                    raise RequestError(400, "gone", "The client went away", "The connection closed before the answer.")
            return task.result()
        finally:
            if not task.done():
                self._stopped.set()
                with contextlib.suppress(Exception):
                    await task

    def _take_held(self) -> tuple[list[bytes], bool]:
        parts: list[bytes] = []
        size = 0
        while size < HELD_BYTES:
            part = self._next()
            if part is None:
                return parts, True
            parts.append(part)
            size += len(part)
        self._begun.set()
        return parts, False

    def _next(self) -> bytes | None:
        with self._turn:
            return next(self._parts, None)

    async def _in_thread(self, function: Any) -> Any:
        return await self._loop.run_in_executor(self._desk.jobs, function)

    def _let_go(self) -> None:
        # Before the last bytes are sent: who sends the next file at once finds the place free.
        self._ended = True
        self._held.close()

    def end(self) -> None:
        """Stops the work, and lets file and place go when the thread that may be at it has noticed."""
        if self._ended:
            return
        self._ended = True
        self._stopped.set()

        def close() -> None:
            with self._turn:
                self._parts.close()
            self._loop.call_soon_threadsafe(self._held.close)

        self._desk.jobs.submit(close)

    def _produce(self, path: Path, kind: FileKind) -> Generator[bytes]:
        """The answer's bytes; runs in a thread of its own, one step at a time."""
        from backend.files.formats import Format, writer
        from backend.files.job import Tally, answered, opened

        desk, tally = self._desk, Tally()
        scratch = path.with_name("answer")
        write = None
        try:
            with opened(path, kind, self._served, desk.limits, desk.settings.max_file_rows, self._columns) as rows:
                write = writer(Format(self._form), rows, self._served, scratch)
                blocks = answered(rows, self._served, write.write, desk.blocks)
                yield from write.stream(self._while_wanted(blocks), tally)
        except SigapError as error:
            if not self._begun.is_set() or write is None:
                raise
            log.warning("The answer to a file broke off after %d rows: %s", tally.rows, error)
            yield write.broken(str(error))
        finally:
            self._counts = tally
            self._loop.call_soon_threadsafe(count, desk.metrics, self._served, tally.outcomes)

    def _while_wanted(self, blocks: Iterator[Any]) -> Iterator[Any]:
        with contextlib.closing(blocks):  # type: ignore[type-var]
            for block in blocks:
                if self._stopped.is_set():
                    raise RequestError(400, "gone", "The client went away", "The connection closed before the answer.")
                yield block


def _yield_the_processor() -> None:
    if sys.platform == "linux":
        from backend.files.job import yield_the_processor

        yield_the_processor()


class FormatName(StrEnum):
    """Forms of a file's answer."""

    CSV = "csv"
    JSON = "json"
    XLSX = "xlsx"


def _add_route(router: APIRouter, path: str, declaration: Declaration, handle: Handler) -> None:
    async def documented(
        format: Annotated[
            FormatName | None, Query(description="Form of the answer; by default as `Accept` says, else CSV.")
        ] = None,
        column: Annotated[
            list[Annotated[str, Field(pattern="^[^=]+=.+$")]] | None,
            Query(description="`FIELD=HEADING`, once for each field that the file calls otherwise."),
        ] = None,
    ) -> None:
        """Stands for the handler in the documentation; its route class answers instead."""

    names = ",".join((*declaration.request_columns, *declaration.feature_names))
    answers = problems(400, 408, 413, 415, 422, 503)
    binary = {"schema": {"type": "string", "format": "binary"}}
    answers[200] = {
        "description": "The file's rows, then the answer's columns, `model_version`, `status` and `problem`.",
        "content": {"text/csv": {"schema": {"type": "string"}}, XLSX_MEDIA: binary},
        "model": FileAnswer,
    }
    told = f"CSV, XLSX, XLS or Parquet with the headings {names}, in any case and order; others are passed through."
    router.route_class = direct(handle)
    router.add_api_route(
        path,
        documented,
        methods=["POST"],
        response_class=Response,
        responses=answers,
        tags=["predict"],
        summary=f"{declaration.title.en}, a file",
        description="A row that is wrong is refused with its reasons; the others are answered all the same. One model "
        "version answers the whole file.",
        operation_id="_".join(part for part in path.replace("-", "_").split("/") if part),
        openapi_extra={"requestBody": documented_form(told)},
    )
