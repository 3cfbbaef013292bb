"""From a multipart request to a temporary file, while it streams in."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from backend.files.faults import too_large, unusable
from backend.problems import RequestError

FIELD = "file"
# What boundaries and part headers may take beside the file.
OVERHEAD_BYTES = 64 * 1024
# How much of a file that is too long is read and thrown away, so that its sender gets to read the answer.
DRAINED_BYTES = 16 * 2**20
IDLE_SECONDS = 15.0
STALE_SECONDS = 24 * 3600.0
_REMEDY = "Send it as a form: curl -F file=@rows.csv"


@dataclass
class Upload:
    """A file that came in.

    Attributes:
        path: The temporary file.
        name: As the client calls it; nothing is opened by it.
        size: Bytes.
    """

    path: Path
    name: str = ""
    size: int = 0


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A file open for writing in a folder of its own in `folder`; both are gone after the block."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in folder.iterdir():
        # Of a worker that was killed.
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as own:
        path = Path(own) / "upload"
        with path.open("wb") as file:
            yield path, file


def documented_form(description: str) -> dict[str, Any]:
    """The request's body in the OpenAPI document: a form with the file that `description` is about."""
    file = {"type": "string", "format": "binary", "description": description}
    form = {"type": "object", "required": [FIELD], "properties": {FIELD: file}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


async def receive(request: Request, path: Path, file: IO[bytes], limit: int) -> Upload:
    """Writes the form's field `file` to `file`, which is open at `path`.

    Raises:
        RequestError: 413 over `limit` bytes, 415 when it is no form, 422 when the form has no such file, 408 when it
            does not come in time, 400 when the client goes away.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise RequestError(
            415,
            "not-a-form",
            "The request is no form with a file",
            "The body is not multipart/form-data with a boundary.",
            remedy=_REMEDY,
            headers={"connection": "close"},
        )
    form = _Form(Upload(path), file, limit)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        length = 0
        async for chunk in _chunks(request):
            length += len(chunk)
            if not form.over and length <= limit + OVERHEAD_BYTES:
                parser.write(chunk)
            else:
                form.over = True
                if length > limit + DRAINED_BYTES:
                    break
    except FormParserError as error:
        raise unusable("The form can't be read: it breaks off or is malformed.", _REMEDY) from error
    if form.over:
        raise too_large(f"The file has more than {limit} bytes.", "Send it in parts, or raise SIGAP_MAX_FILE_BYTES.")
    if not form.ended or form.files != 1:
        found = "breaks off" if not form.ended else f"holds {form.files} files named `{FIELD}`"
        raise unusable(f"The form {found}; one is expected.", _REMEDY)
    file.flush()
    return form.upload


async def _chunks(request: Request):  # type: ignore[no-untyped-def]  # noqa: ANN202 - an async generator of bytes
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                yield await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise RequestError(
                408,
                "slow-body",
                "The body did not come in time",
                f"Nothing of the file came for {IDLE_SECONDS:g} s.",
                headers={"connection": "close"},
            ) from error
        except ClientDisconnect as error:
            raise RequestError(
                400, "gone", "The client went away", "The connection closed before the file's end."
            ) from error


@dataclass
class _Form:
    """What the multipart parser calls back."""

    upload: Upload
    file: IO[bytes]
    limit: int
    files: int = 0
    over: bool = False
    ended: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _wanted: bool = False

    def callbacks(self) -> Any:
        names = ("on_part_begin", "on_part_data", "on_header_field", "on_header_value", "on_header_end", "on_end")
        return {name: getattr(self, name) for name in names}

    def on_part_begin(self) -> None:
        self._wanted = False
        self._header.clear()
        self._value.clear()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            if options.get(b"name") == FIELD.encode():
                self._wanted = True
                self.files += 1
                self.upload.name = options.get(b"filename", b"").decode("utf-8", "replace")[:255]
        self._header.clear()
        self._value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._wanted or self.files > 1:
            return
        self.upload.size += end - start
        if self.upload.size > self.limit:
            self.over = True
        else:
            self.file.write(data[start:end])

    def on_end(self) -> None:
        self.ended = True
