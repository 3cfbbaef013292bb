"""`GET /limits`: how large a request may be, so that a client can say so beforehand."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from backend.files.kinds import FileKind
from sigap.settings import Settings


class RequestLimits(BaseModel):
    """What one request may bring."""

    max_file_bytes: int = Field(description="Of a file or a batch.")
    max_file_rows: int = Field(description="Rows of a file.")
    max_unpacked_bytes: int = Field(description="What an XLSX or Parquet file may unpack to.")
    max_batch_rows: int = Field(description="Rows of a JSON batch.")
    max_body_bytes: int = Field(description="Of a single prediction.")
    files_at_once: int = Field(description="Files that one worker answers at once.")
    file_kinds: list[str]


def add_limits_route(router: APIRouter, settings: Settings) -> None:
    """Adds the route."""

    @router.get("/limits", tags=["operation"], summary="How large requests and files may be")
    async def limits() -> RequestLimits:
        return RequestLimits(
            max_file_bytes=settings.max_file_bytes,
            max_file_rows=settings.max_file_rows,
            max_unpacked_bytes=settings.max_unpacked_bytes,
            max_batch_rows=settings.max_batch_rows,
            max_body_bytes=settings.max_body_bytes,
            files_at_once=settings.file_jobs,
            file_kinds=[kind.value for kind in FileKind],
        )
