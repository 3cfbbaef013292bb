"""A file of rows on its way to the API and back: sent and taken piece by piece, in a thread of its own.

The page may be drawn anew at any time meanwhile, by a second click or another language: the work goes on, once.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import mkdtemp
from typing import IO, Any, Literal, cast

import httpx
import streamlit as st
from pydantic import ValidationError

from frontend import api, results
from frontend.api import Answer, ApiDownError
from frontend.results import Result
from sigap.settings import get_settings

# A large workbook is read whole before its first row is answered.
TIMEOUT = httpx.Timeout(180.0, connect=1.5)
PIECE_BYTES = 256 * 1024
MEBIBYTE = 2**20
# Where a session keeps the file that it had answered last.
JOB = "batch_job"

State = Literal["sending", "answering", "done", "failed", "stopped"]


class Limits(Answer):
    """What a file may bring."""

    max_file_bytes: int
    max_file_rows: int
    file_kinds: tuple[str, ...]


class Column(Answer):
    """Which column of the file brings a field, or might."""

    field: str
    heading: str | None = None
    near: str | None = None


class Preview(Answer):
    """How the API would read a file."""

    kind: str
    size: int
    delimiter: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Trouble:
    """Why a file was not answered.

    Attributes:
        kind: `down` where the API went away, else the last part of the problem's type.
        detail: What the API said, in English.
    """

    kind: str
    detail: str = ""


class RefusedFileError(Exception):
    """The API refuses a file."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.detail)
        self.trouble = trouble


@st.cache_data(ttl=30, show_spinner=False)
def limits() -> Limits:
    """What a file may bring.

    Raises:
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    try:
        return Limits.model_validate(api.read("/limits"))
    except ValidationError as error:
        raise ApiDownError(f"The API's limits can't be read: {error}.") from error


def preview(model: str, name: str, file: IO[bytes]) -> Preview:
    """How the API would read the file; nothing is asked of the model.

    Raises:
        RefusedFileError: It can't be read.
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    try:
        response = api.connection().post(f"/models/{model}/preview-file", files={"file": (name, file)}, timeout=TIMEOUT)
    except httpx.HTTPError as error:
        raise ApiDownError(f"The API can't be reached: {type(error).__name__}.") from error
    if response.is_error:
        raise RefusedFileError(_trouble(response))
    try:
        return Preview.model_validate(response.json())
    except ValueError as error:
        raise ApiDownError(f"The API's preview can't be read: {error}.") from error


class Job:
    """One file that is being answered; starts at once, and its files go with it.

    Args:
        model: The model's name.
        name: The file's, as its owner calls it.
        file: Its content; nobody else reads it meanwhile.
        preview: How the API reads it.
        columns: By field: the heading that the reader chose, where it is not the field's own.
    """

    def __init__(self, model: str, name: str, file: IO[bytes], preview: Preview, columns: Mapping[str, str]) -> None:
        self.model, self.name, self.preview = model, name, preview
        self.state: State = "sending"
        self.sent = self.lines = self.rows = 0
        self.version = ""
        self.trouble: Trouble | None = None
        self.result: Result | None = None
        folder = get_settings().state / "dashboard"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Goes when nobody holds this job any more, and at the latest when the dashboard ends.
        self._folder = Path(mkdtemp(prefix="batch-", dir=folder))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._stop = threading.Event()
        self._columns = [f"{field}={heading}" for field, heading in columns.items()]
        # Headings that bring a field; what else the file has tells its rows apart.
        self.taken = frozenset(columns.get(each.field) or each.heading for each in preview.columns)
        # The caches that hold the connection belong to the page's thread.
        work = threading.Thread(target=self._run, args=(api.connection(), file), daemon=True)
        work.start()

    @property
    def running(self) -> bool:
        """Whether it still goes on."""
        return self.state in ("sending", "answering")

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1; None where the number of rows is not known beforehand."""
        sent = self.sent / max(self.preview.size, 1)
        if self.preview.kind != "CSV":
            return None
        return min(0.3 * sent + 0.7 * self.rows / max(self.lines, 1), 1.0)

    @property
    def answers(self) -> Path:
        """The CSV file with the answers."""
        return self._folder / "answers.csv"

    def workbook(self) -> Path:
        """The answers as a workbook, written when first asked for."""
        target = self._folder / "answers.xlsx"
        if not target.exists():
            results.write_workbook(self.answers, self.preview.delimiter, target)
        return target

    def stop(self) -> None:
        """Ends the work; what was answered by then is dropped."""
        self._stop.set()

    def _run(self, connection: httpx.Client, file: IO[bytes]) -> None:
        try:
            with (
                connection.stream(
                    "POST",
                    f"/models/{self.model}/predict-file",
                    params={"format": "csv", "column": self._columns},
                    files={"file": (self.name, cast(IO[bytes], _Sent(file, self)))},
                    timeout=TIMEOUT,
                ) as response,
            ):
                if response.is_error:
                    response.read()
                    self._fail(_trouble(response))
                    return
                self._take(response)
            self.result = results.read(self.answers, self.preview.delimiter)
            if self.result.fault:
                self._fail(Trouble("unusable-file", self.result.fault))
                return
            self.state = "done"
        except _StoppedError:
            self.state = "stopped"
        except (httpx.HTTPError, OSError) as error:
            self._fail(Trouble("down", type(error).__name__))
        except Exception as error:
            # The thread has nobody to tell but the page.
            self._fail(Trouble("unforeseen", type(error).__name__))
            raise

    def _take(self, response: httpx.Response) -> None:
        self.version = response.headers.get("x-model-version", "")
        self.state = "answering"
        with self.answers.open("wb") as target:
            for piece in response.iter_bytes(PIECE_BYTES):
                self.check()
                target.write(piece)
                self.rows += piece.count(b"\n")
        self.rows = max(self.rows - 1, 0)

    def _fail(self, trouble: Trouble) -> None:
        self.trouble, self.state = trouble, "failed"
        with contextlib.suppress(OSError):
            self.answers.unlink()

    def check(self) -> None:
        """Ends the work here if somebody stopped it.

        Raises:
            _StoppedError: Somebody did.
        """
        if self._stop.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """Somebody stopped the work."""


class _Sent:
    """A file that tells its job how much of it is sent."""

    def __init__(self, file: IO[bytes], job: Job) -> None:
        self._file = file
        self._job = job

    def read(self, size: int = -1) -> bytes:
        self._job.check()
        piece = self._file.read(size)
        self._job.sent += len(piece)
        self._job.lines += piece.count(b"\n")
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        # Sent once more, with a token: counted from the beginning.
        self._job.sent = self._job.lines = 0
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def stem(name: str) -> str:
    """The file's name without its ending."""
    return PurePath(name).stem[:80] or "file"


def _trouble(response: httpx.Response) -> Trouble:
    try:
        told: dict[str, Any] = response.json()
    except ValueError:
        return Trouble("unforeseen", f"{response.status_code}")
    kind = str(told.get("type", "")).rpartition(":")[2]
    return Trouble(kind or "unforeseen", str(told.get("detail") or told.get("title") or response.status_code))
