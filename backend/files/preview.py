"""`POST /models/{model}/preview-file`: how a file would be read, before anything is asked of the model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Protocol

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from backend.documentation import problems
from backend.files.faults import unusable
from backend.files.headers import match, titles
from backend.files.kinds import FileKind, recognise
from backend.files.reader import Limits
from backend.files.upload import documented_form, receive, temporary
from backend.predict import direct
from sigap.catalog import Declaration
from sigap.catalog.declaration import Forecasting
from sigap.settings import Settings

ROWS = 8
SHOWN_CELL = 200
MOST_BLOCKS = 4


class ColumnMatch(BaseModel):
    """Which column of the file brings a field."""

    field: str
    heading: str | None = Field(description="The heading that is taken for it; null where none is its name.")
    near: str | None = Field(description="Where none is: a heading that looks like it.")


class FilePreview(BaseModel):
    """A file as it is read: its headings, its first rows, and which column is which field."""

    model: str
    kind: FileKind
    size: int = Field(description="Bytes.")
    delimiter: str = Field(description="Of a CSV file; a comma for the others.")
    headings: list[str]
    rows: list[list[str]] = Field(description=f"The first {ROWS} rows as texts, long ones shortened.")
    columns: list[ColumnMatch] = Field(description="One entry for each field that the file has to bring.")


class Desk(Protocol):
    """What these routes share with those that answer files."""

    settings: Settings
    folder: Path
    limits: Limits

    def place(self) -> AbstractContextManager[None]:
        """One of the places for jobs."""


def add_preview_route(router: APIRouter, declaration: Declaration, desk: Desk) -> None:
    """Adds the model's route."""

    async def handle(request: Request) -> Response:
        if isinstance(declaration.task, Forecasting):
            raise unusable("A forecast looks at a series, not at rows.", "Send candles to …/predict.")
        with temporary(desk.folder) as (path, file):
            upload = await receive(request, path, file, desk.settings.max_file_bytes)
            kind = recognise(path, upload.name)
            with desk.place():
                found = await run_in_threadpool(preview, path, kind, declaration, desk)
            return Response(found.model_dump_json(), media_type="application/json")

    async def documented() -> None:
        """Stands for the handler in the documentation; its route class answers instead."""

    router.route_class = direct(handle)
    router.add_api_route(
        f"/models/{declaration.name}/preview-file",
        documented,
        methods=["POST"],
        response_model=FilePreview,
        responses=problems(400, 408, 413, 415, 422, 503),
        tags=["predict"],
        summary=f"{declaration.title.en}, how a file would be read",
        description="Headings, first rows, and which column is taken for which field. Nothing is predicted or kept.",
        operation_id=f"models_{declaration.name}_preview_file",
        openapi_extra={"requestBody": documented_form("CSV, XLSX, XLS or Parquet.")},
    )


def preview(path: Path, kind: FileKind, declaration: Declaration, desk: Desk) -> FilePreview:
    """How the file at `path` would be read.

    Raises:
        RequestError: 413 or 422, it can't be.
    """
    from backend.files.job import blocks_of, sheet
    from backend.files.render import safe_texts

    rows: list[list[str]] = []
    with sheet(path, kind, declaration, desk.limits) as found:
        # Empty rows may fill a block; a file of nothing else is told at its end.
        for block in islice(blocks_of(found.tables, desk.settings.max_file_rows), MOST_BLOCKS):
            table = block.table.slice(0, ROWS - len(rows))
            cells = [safe_texts(column.combine_chunks()).to_pylist() for column in table.columns]
            rows += [[cell[:SHOWN_CELL] for cell in row] for row in zip(*cells, strict=True)]
            if len(rows) >= ROWS:
                break
        return FilePreview(
            model=declaration.name,
            kind=kind,
            size=path.stat().st_size,
            delimiter=found.delimiter,
            headings=list(titles(found.names)),
            rows=rows,
            columns=[
                ColumnMatch(field=each.field, heading=each.heading, near=each.near)
                for each in match(declaration, found.names)
            ],
        )
