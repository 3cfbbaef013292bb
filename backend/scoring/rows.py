"""Batches of a parquet file, and their cells as the checks of files take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from backend.columns import EXACT

# Rows that are worked on at once; what a worker needs grows with them, not with the partition.
BATCH = 65_536
READ_BYTES = 2**20


class UnreadableError(Exception):
    """A partition can't be read; the message is for people."""


def schema_of(path: Path) -> pa.Schema:
    """The columns of the file.

    Raises:
        UnreadableError: It is no whole parquet file.
    """
    with _reading(path) as file:
        return file.schema_arrow


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows, in their order.

    Raises:
        UnreadableError: The file is damaged.
    """
    with _reading(path) as file:
        found = file.iter_batches(batch_size=BATCH, use_threads=False)
        while True:
            try:
                batch = next(found, None)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise UnreadableError(f"it is damaged: {_short(error)}") from error
            if batch is None:
                return
            yield batch


def _reading(path: Path) -> pq.ParquetFile:
    try:
        # Buffered: one row group may hold the whole partition, and is then not read at once.
        return pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableError(f"it is no whole parquet file: {_short(error)}") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")


def cells(
    batch: pa.RecordBatch, fields: Mapping[str, int], beside: Mapping[str, str], names: tuple[str, ...]
) -> pa.Table:
    """The columns of a request's fields, as doubles or texts, called by their position in `fields`.

    Args:
        batch: Of the file.
        fields: By field: the position among `names`.
        beside: Columns that stand in the path.
        names: The file's columns, then those in the path.
    """
    columns = []
    for at in fields.values():
        if at < batch.num_columns:
            columns.append(plain(batch.column(at)))
        else:
            columns.append(pa.array([beside[names[at]]], pa.string()).take(pa.array([0] * batch.num_rows, pa.int32())))
    return pa.table(columns, [str(at) for at in range(len(columns))])


def plain(column: pa.Array) -> pa.Array:
    """The column as doubles or texts, no digit lost.

    Raises:
        UnreadableError: Its cells hold more than one value each.
    """
    kind = column.type
    if pa.types.is_nested(kind):
        raise UnreadableError("a column that the model needs holds more than one value a row")
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_boolean(kind):
        return pc.utf8_upper(column.cast(pa.string()))
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_integer(kind) and _fits(column):
        return column.cast(pa.float64())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        try:
            return column.cast(pa.binary()).cast(pa.string())
        except pa.ArrowInvalid as error:
            raise UnreadableError("a column that the model needs holds bytes that are no text") from error
    return column.cast(pa.string())


def _fits(column: pa.Array) -> bool:
    """Whether doubles hold these whole numbers."""
    if column.type.bit_width <= 32:
        return True
    ends = pc.min_max(column)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return low is None or (abs(low) < EXACT and abs(high) < EXACT)
