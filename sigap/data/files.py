"""Tables out of files, as texts: CSV of any usual delimiter and encoding, XLSX, XLS, Parquet.

What a file is, its first bytes say; its name may be anything. Rows come in parts, so that a file of any length needs
the memory of one part; a workbook is the exception, whose format ends at a million rows.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sigap.data.repair import TEXT
from sigap.errors import FileError

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 65_536
_HEADING_ROWS = 30
_PART_ROWS = 25_000
# Also the longest row of a CSV.
_BLOCK = 2**20


@dataclass(frozen=True)
class Part:
    """Some rows of a file, in its order.

    Attributes:
        frame: Their cells as texts, headings as columns; the index is the row's line or row number, from 1.
        before: How many rows the parts before it had.
        broken: Rows that have more or fewer cells than there are headings, up to here and in no part before: their
            number and beginning.
    """

    frame: pd.DataFrame
    before: int
    broken: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class FileTable:
    """A table as it stands in a file.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        kind: What it is, for people: `CSV (";", utf-8)`.
        headings: Of its columns.
        semicolons: Whether it is a CSV whose cells stand between semicolons.
    """

    path: Path
    sha256: str
    kind: str
    headings: tuple[str, ...]
    semicolons: bool
    _parts: Callable[[], Iterator[Part]]
    _stamp: tuple[int, int]

    def parts(self) -> Iterator[Part]:
        """The rows from the first to the last; may be asked for again.

        Raises:
            FileError: The file is damaged further on, or somebody changed it since it was opened.
        """
        yield from self._parts()
        if _stamp(self.path) != self._stamp:
            raise FileError(f"The file {self.path} was changed while it was read.", remedy="Import it again.")


def read_file(path: Path, sheet: str = "") -> FileTable:
    """Opens a table: finds out what it is and what its headings are.

    Args:
        path: The file.
        sheet: Name of the sheet of a workbook; by default the first that is not empty.

    Raises:
        FileError: There is no such file, it is empty, damaged, or no table.
    """
    try:
        stamp = _stamp(path)
        with path.open("rb") as file:
            start = file.read(_SAMPLE)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(
            f"The file {path} can't be read: {error.strerror}.", remedy="Check its name and its rights."
        ) from error
    if not start.strip():
        raise FileError(f"The file {path} is empty.", remedy="Check that the right file was given.")
    semicolons = False
    if start.startswith(b"PAR1"):
        kind, headings, parts = _parquet(path)
    elif start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        kind, headings, parts = _workbook(path, sheet)
    else:
        kind, headings, parts, semicolons = _csv(path, start)
    return FileTable(path, sha256, kind, tuple(headings), semicolons, parts, stamp)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _parquet(path: Path) -> tuple[str, list[str], Callable[[], Iterator[Part]]]:
    def unreadable(error: Exception) -> FileError:
        return FileError(
            f"The Parquet file {path} can't be read as a table of plain values: {error}.",
            remedy="Write it again, without nested columns.",
        )

    try:
        with pq.ParquetFile(path) as file:
            headings = _unique(file.schema_arrow.names, path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(error) from error

    def parts() -> Iterator[Part]:
        before = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_PART_ROWS):
                    columns = [pa.compute.cast(column, pa.string()) for column in batch.columns]
                    yield Part(_framed(headings, columns, range(before + 1, before + 1 + batch.num_rows)), before)
                    before += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise unreadable(error) from error

    return "Parquet", headings, parts


def _workbook(path: Path, sheet: str) -> tuple[str, list[str], Callable[[], Iterator[Part]]]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(path) as book:
            names = book.sheet_names
            if sheet and sheet not in names:
                raise FileError(f"The workbook {path} has no sheet {sheet!r}.", remedy=f"It has: {', '.join(names)}.")
            for name in [sheet] if sheet else names:
                found = book.get_sheet_by_name(name)
                if rows := found.to_python(skip_empty_area=False):
                    headings, table, numbers = _from_rows(path, rows)
                    break
            else:
                raise FileError(f"The workbook {path} is empty.", remedy="Check that the right file was given.")
    except (CalamineError, OSError) as error:
        raise FileError(f"The workbook {path} can't be read: {error}.", remedy="Open it and save it again.") from error

    def parts() -> Iterator[Part]:
        for before in range(0, table.num_rows, _PART_ROWS):
            some = table.slice(before, _PART_ROWS)
            yield Part(_framed(headings, some.columns, numbers[before : before + _PART_ROWS]), before)

    return f"sheet {name!r}", headings, parts


def _from_rows(path: Path, rows: list[list[Any]]) -> tuple[list[str], pa.Table, list[int]]:
    """A sheet's headings, its cells as texts, and the number of each row in it."""
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
    return headings, pa.table(columns, names=headings), [number for number, _ in body]


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


def _csv(path: Path, start: bytes) -> tuple[str, list[str], Callable[[], Iterator[Part]], bool]:
    encoding = _encoding(path, start)
    # The last character may be cut in two.
    sample = codecs.getincrementaldecoder(encoding)().decode(start)
    if "\0" in sample:
        raise FileError(
            f"The file {path} is neither a text, a workbook nor Parquet.", remedy="Export the table as CSV or XLSX."
        )
    delimiter = _delimiter(sample)
    with path.open(encoding=encoding, newline="") as text:
        headings = _unique(next(csv.reader(text, delimiter=delimiter)), path)

    def parts() -> Iterator[Part]:
        try:
            yield from _csv_parts(path, encoding, delimiter, headings)
        except pa.ArrowException as error:
            raise FileError(f"The file {path} can't be read as CSV: {error}.", remedy="Check its quotes.") from error

    return f"CSV with {_DELIMITERS[delimiter]}, {encoding}", headings, parts, delimiter == ";"


def _csv_parts(path: Path, encoding: str, delimiter: str, headings: list[str]) -> Iterator[Part]:
    broken: list[tuple[int, str]] = []

    def set_aside(row: pyarrow.csv.InvalidRow) -> str:
        broken.append((row.number, row.text[:120]))
        return "skip"

    reader = pyarrow.csv.open_csv(
        path,
        # One thread, so that a broken row's number is known.
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, column_names=headings, skip_rows_after_names=1, encoding=encoding, block_size=_BLOCK
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=set_aside
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(headings, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    before, number = 0, 2
    ahead: set[int] = set()
    with closing(reader):
        for batch in reader:
            told, broken[:] = tuple(broken), []
            # The reader may be a block ahead: what it found broken there has higher numbers.
            ahead |= {at for at, _ in told}
            rows = (at for at in itertools.count(number) if at not in ahead)
            numbers = list(itertools.islice(rows, batch.num_rows))
            number = numbers[-1] + 1 if numbers else number
            ahead = {at for at in ahead if at >= number}
            yield Part(_framed(headings, batch.columns, numbers), before, told)
            before += batch.num_rows
    if broken:
        yield Part(_framed(headings, [pa.array([], pa.string())] * len(headings), []), before, tuple(broken))


def _encoding(path: Path, start: bytes) -> str:
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    for encoding in (marked, "cp1252"):
        try:
            with path.open(encoding=encoding, newline="") as text:
                while text.read(_BLOCK):
                    pass
        except UnicodeError:
            continue
        return encoding
    return "latin-1"  # in which every byte is a letter


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


def _framed(headings: Sequence[str], columns: Sequence[Any], numbers: Sequence[int]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {name: pd.Series(pd.array(column, dtype=TEXT)) for name, column in zip(headings, columns, strict=True)}
    )
    frame.index = pd.Index(list(numbers), dtype="int64")
    return frame
