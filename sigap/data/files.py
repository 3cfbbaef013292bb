"""Tables out of files, as texts: CSV of any usual delimiter and encoding, XLSX, XLS, Parquet.

What a file is, its first bytes say; its name may be anything.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sigap.errors import FileError

_TEXT = pd.StringDtype("pyarrow")
_DELIMITERS = ",;\t|"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 65_536
_HEADING_ROWS = 30


@dataclass(frozen=True)
class FileTable:
    """A table as it stands in a file.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        kind: What it is, for people: `CSV (";", utf-8)`.
        frame: Its cells as texts, headings as columns; the index is the row's line or row number in the file, from 1.
        broken: Rows that have more or fewer cells than there are headings: their number and beginning.
        semicolons: Whether it is a CSV whose cells stand between semicolons.
    """

    path: Path
    sha256: str
    kind: str
    frame: pd.DataFrame
    broken: tuple[tuple[int, str], ...] = ()
    semicolons: bool = False


def read_file(path: Path, sheet: str = "") -> FileTable:
    """Reads a whole table into memory.

    Args:
        path: The file.
        sheet: Name of the sheet of a workbook; by default the first that is not empty.

    Raises:
        FileError: There is no such file, it is empty, damaged, or no table.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(
            f"The file {path} can't be read: {error.strerror}.", remedy="Check its name and its rights."
        ) from error
    if not content.strip():
        raise FileError(f"The file {path} is empty.", remedy="Check that the right file was given.")
    broken: list[tuple[int, str]] = []
    semicolons = False
    if content.startswith(b"PAR1"):
        kind, frame = "Parquet", _parquet(path)
    elif content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        kind, frame = _workbook(path, sheet)
    else:
        kind, frame, broken, semicolons = _csv(path, content)
    if frame.empty:
        raise FileError(f"The file {path} has headings but no rows.", remedy="Check that the right file was given.")
    return FileTable(path, hashlib.sha256(content).hexdigest(), kind, frame, tuple(broken), semicolons)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path, partitioning=None)
        columns = [pa.compute.cast(column, pa.string()) for column in table.columns]
    except (pa.ArrowException, OSError) as error:
        raise FileError(
            f"The Parquet file {path} can't be read as a table of plain values: {error}.",
            remedy="Write it again, without nested columns.",
        ) from error
    return _framed(_unique(table.column_names, path), columns, first=1)


def _workbook(path: Path, sheet: str) -> tuple[str, pd.DataFrame]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(path) as book:
            names = book.sheet_names
            if sheet and sheet not in names:
                raise FileError(f"The workbook {path} has no sheet {sheet!r}.", remedy=f"It has: {', '.join(names)}.")
            for name in [sheet] if sheet else names:
                found = book.get_sheet_by_name(name)
                if rows := found.to_python(skip_empty_area=False):
                    return f"sheet {name!r}", _from_rows(path, rows)
    except (CalamineError, OSError) as error:
        raise FileError(f"The workbook {path} can't be read: {error}.", remedy="Open it and save it again.") from error
    raise FileError(f"The workbook {path} is empty.", remedy="Check that the right file was given.")


def _from_rows(path: Path, rows: list[list[Any]]) -> pd.DataFrame:
    width = max(sum(cell != "" for cell in row) for row in rows[:_HEADING_ROWS])
    # Titles and notes stand above the headings in many workbooks: headings are the first row that is full of texts.
    start = next((at for at, row in enumerate(rows[:_HEADING_ROWS]) if _are_headings(row, width)), None)
    if start is None:
        raise FileError(
            f"No row of headings was found in the first {_HEADING_ROWS} rows of {path}.",
            remedy="Put the headings into one row above the figures.",
        )
    kept = [at for at, cell in enumerate(rows[start]) if cell != ""]
    headings = _unique([str(rows[start][at]) for at in kept], path)
    body = [(number, [_cell(row[at]) for at in kept]) for number, row in enumerate(rows[start + 1 :], start + 2)]
    body = [(number, row) for number, row in body if any(row)]
    columns = [pa.array([row[at] for _, row in body], pa.string()) for at in range(len(kept))]
    frame = _framed(headings, columns, first=1)
    frame.index = pd.Index([number for number, _ in body])
    return frame


def _are_headings(row: list[Any], width: int) -> bool:
    cells = [cell for cell in row if cell != ""]
    return bool(cells) and len(cells) >= 0.6 * width and all(isinstance(cell, str) for cell in cells)


def _cell(value: Any) -> str | None:
    if value == "" or value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return str(value)


def _csv(path: Path, content: bytes) -> tuple[str, pd.DataFrame, list[tuple[int, str]], bool]:
    encoding = _encoding(content, path)
    text = content.decode(encoding)
    if "\0" in text[:_SAMPLE]:
        raise FileError(
            f"The file {path} is neither a text, a workbook nor Parquet.", remedy="Export the table as CSV or XLSX."
        )
    delimiter = _delimiter(text[:_SAMPLE])
    headings = _unique(next(csv.reader(io.StringIO(text), delimiter=delimiter)), path)
    broken: list[tuple[int, str]] = []

    def set_aside(row: pyarrow.csv.InvalidRow) -> str:
        broken.append((row.number, row.text[:120]))
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(text.encode()),
            # One thread, so that a broken row's number is known.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=headings, skip_rows_after_names=1),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=set_aside
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(headings, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowException as error:
        raise FileError(f"The file {path} can't be read as CSV: {error}.", remedy="Check its quotes.") from error
    frame = _framed(headings, table.columns, first=2)
    if broken:
        # Rows after a broken one have moved up.
        missing = {number for number, _ in broken}
        frame.index = pd.Index([n for n in range(2, 2 + len(frame) + len(missing)) if n not in missing])
    shown = "tab" if delimiter == "\t" else delimiter
    return f"CSV ({shown!r}, {encoding})", frame, broken, delimiter == ";"


def _encoding(content: bytes, path: Path) -> str:
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    for encoding in (marked, "cp1252", "latin-1"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    raise FileError(f"The file {path} is no text.", remedy="Export the table as CSV or XLSX.")


def _delimiter(sample: str) -> str:
    lines = [line for line in sample.splitlines()[:30] if line.strip()]

    def agreement(delimiter: str) -> tuple[int, int]:
        widths = [len(row) for row in csv.reader(lines[:-1] or lines, delimiter=delimiter)]
        # A delimiter that cuts most lines like the headings, and into the most cells.
        return (sum(width == widths[0] for width in widths) if widths[0] > 1 else 0, widths[0])

    return max(_DELIMITERS, key=agreement)


def _unique(names: Sequence[str], path: Path) -> list[str]:
    names = [name.strip().lstrip("\ufeff") or f"column {number}" for number, name in enumerate(names, 1)]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise FileError(
            f"The file {path} has the heading {doubled[0]!r} twice.", remedy="Rename or remove one of the columns."
        )
    return names


def _framed(headings: Sequence[str], columns: Sequence[Any], first: int) -> pd.DataFrame:
    frame = pd.DataFrame(
        {name: pd.Series(pd.array(column, dtype=_TEXT)) for name, column in zip(headings, columns, strict=True)}
    )
    frame.index = pd.RangeIndex(first, first + len(frame))
    return frame
