"""Reads one XLSX, XLS or Parquet file, in a process of its own with a limit to its memory and its time."""

from __future__ import annotations

import contextlib
import json
import os
import resource
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

CPU_SECONDS = 120
ROWS = 8192
_SAVE = "Save it anew, or send it as CSV."
_LOCKED = "The workbook is protected by a password."
_PARTS = "Send it as CSV, or in parts."
MOST_BLOCK_BYTES = 512 * 2**20


class Limits(NamedTuple):
    """What reading a file may take.

    Attributes:
        memory: Bytes of the process that reads.
        unpacked: Bytes that the file may unpack to.
        ratio: How many times its size it may unpack to.
    """

    memory: int
    unpacked: int
    ratio: int


class ReadingError(Exception):
    """The file can't be read; carries what is told of it."""

    def __init__(self, message: str, remedy: str = _SAVE, *, large: bool = False) -> None:
        super().__init__(message)
        self.told = {"message": message, "remedy": remedy, "large": large}


def read(path: str, kind: str, limits: Limits, connection: Connection) -> None:
    """What the process does: sends the headings, then tables, then an empty message; or a fault."""
    _limit(limits.memory)
    readers = {"XLSX": _sheet, "XLS": _sheet, "Parquet": _parquet}
    with contextlib.suppress(BrokenPipeError):
        try:
            for message in readers[kind](Path(path), kind, limits):
                connection.send_bytes(b"=" + message)
            connection.send_bytes(b"=")
        except ReadingError as error:
            told = error.told
        except MemoryError:
            told = ReadingError("The file takes too much memory to read.", _PARTS, large=True).told
        except Exception:  # hostile files raise anything; none of it is for the client
            told = ReadingError(f"The {kind} file is damaged: it can't be read.").told
        else:
            return
        connection.send_bytes(b"!" + json.dumps(told).encode())


def _taken() -> int:
    """Bytes of memory that count against the limit already."""
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in status if line.startswith("VmData:")))
    return 0


def _limit(memory: int) -> None:
    for name, value in (("RLIMIT_DATA", _taken() + memory), ("RLIMIT_CPU", CPU_SECONDS), ("RLIMIT_CORE", 0)):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))
    with contextlib.suppress(OSError):
        os.nice(5)
    # A library that gives up says so on the error stream, at length.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)


def _sheet(path: Path, kind: str, limits: Limits) -> Iterator[bytes]:
    import python_calamine as calamine

    from backend.files.archive import ArchiveError, inspect

    if kind == "XLSX":
        try:
            inspect(path, limits.unpacked, limits.ratio)
        except ArchiveError as fault:
            raise ReadingError(fault.message, fault.remedy, large=fault.large) from None
    elif b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e" in path.read_bytes():
        raise ReadingError(_LOCKED, "Remove the password and send it again.")
    elif b"V\0B\0A\0" in path.read_bytes():
        raise ReadingError("The workbook holds macros.", "Save the sheet alone as XLSX or CSV and send that.")
    try:
        workbook = calamine.CalamineWorkbook.from_path(str(path))
        sheets = [
            meta.name
            for meta in workbook.sheets_metadata
            if meta.typ == calamine.SheetTypeEnum.WorkSheet and meta.visible == calamine.SheetVisibleEnum.Visible
        ]
        if not sheets:
            raise ReadingError("The workbook has no visible sheet.")
        sheet = workbook.get_sheet_by_name(sheets[0])
    except calamine.PasswordError:
        raise ReadingError(
            "The workbook is protected by a password.", "Remove the password and send it again."
        ) from None
    except calamine.CalamineError:
        raise ReadingError(f"The {kind} file is damaged: its first sheet can't be read.") from None
    rows = iter(sheet.iter_rows())
    names = next((row for row in rows if any(cell != "" for cell in row)), None)
    if names is None:
        raise ReadingError("The first sheet is empty.", "Put the rows on the first sheet.")
    yield json.dumps([_text(cell) for cell in names]).encode()
    block: list[list[Any]] = []
    for row in rows:
        block.append(row)
        if len(block) == ROWS:
            yield _message(_columns(block))
            block = []
    if block:
        yield _message(_columns(block))


def _columns(rows: list[list[Any]]) -> list[pa.Array]:
    import pyarrow as pa

    arrays = []
    for cells in zip(*rows, strict=True):
        kinds = set(map(type, cells))
        if kinds <= {str}:
            arrays.append(pa.array(cells, pa.string()))
        elif kinds <= {float, int}:
            arrays.append(pa.array(cells, pa.float64()))
        elif kinds <= {float, int, str} and all(not cell for cell in cells if type(cell) is str):
            # Numbers with gaps.
            arrays.append(pa.array([None if type(cell) is str else cell for cell in cells], pa.float64()))
        else:
            arrays.append(pa.array([_text(cell) for cell in cells], pa.string()))
    return arrays


def _text(cell: Any) -> str:
    """A cell as CSV would have it."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    return cell if isinstance(cell, str) else str(cell)


def _parquet(path: Path, _kind: str, limits: Limits) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    pa.set_cpu_count(1)
    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError):
        raise ReadingError("The Parquet file is damaged or encrypted: its footer can't be read.") from None
    metadata, size = file.metadata, path.stat().st_size
    unpacked = sum(
        max(metadata.row_group(group).column(column).total_uncompressed_size, 0)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    )
    if unpacked > limits.unpacked or unpacked > limits.ratio * size:
        raise ReadingError(
            f"The file unpacks to {unpacked} bytes, at most {min(limits.unpacked, limits.ratio * size)} are read.",
            _PARTS,
            large=True,
        )
    schema = file.schema_arrow
    if nested := [field.name for field in schema if pa.types.is_nested(field.type)]:
        raise ReadingError(f"The column {nested[0][:80]} holds more than one value a row.", "Leave it out.")
    yield json.dumps(schema.names).encode()
    for batch in file.iter_batches(batch_size=ROWS, use_threads=False):
        yield _message([_plain(column) for column in batch.columns])


def _plain(column: pa.Array) -> pa.Array:
    """The column as doubles or texts."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_boolean(kind):
        return pa.compute.utf8_upper(column.cast(pa.string()))
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary()).cast(pa.string())
    # Whole numbers too: as texts they keep all their digits.
    return column.cast(pa.string())


def _message(arrays: list[pa.Array]) -> bytes:
    import pyarrow as pa

    table = pa.table(arrays, [str(at) for at in range(len(arrays))])
    if table.nbytes > MOST_BLOCK_BYTES:
        raise ReadingError("The file's cells hold too much text.", "Send fewer columns, or shorter texts.", large=True)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content
