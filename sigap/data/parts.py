"""A snapshot's rows on the disk: one parquet file, or a folder of partitions. Everything reads both in the same way.

A folder holds `part-000000.parquet` and so on, in the order of the key, and `_common_metadata`: Parquet's own name for
a file without rows that says what all of them share. Tools that read folders of parquet (Dask, Spark, Arrow) know both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

COMMON = "_common_metadata"
# One row group of a snapshot: few enough to hold, many enough that none is read for the sake of a handful of rows.
BATCH_ROWS = 131_072


@dataclass(frozen=True)
class Described:
    """What a snapshot says of itself.

    Attributes:
        rows: Its rows, counted in its files.
        schema: Its columns.
        facts: What was noted when it was taken: `sigap.query`, `sigap.rejected`, `sigap.origin`.
    """

    rows: int
    schema: pa.Schema
    facts: dict[str, str]


def part_name(number: int) -> str:
    """File name of a partition, counted from 0."""
    return f"part-{number:06d}.parquet"


def parts(path: Path) -> tuple[Path, ...]:
    """The parquet files of a snapshot, in the order of its key.

    Raises:
        FileNotFoundError: There is no snapshot, or its folder holds no partition.
    """
    if not path.is_dir():
        path.stat()
        return (path,)
    # By length first: the millionth partition has a longer name.
    found = sorted(path.glob("part-*.parquet"), key=lambda each: (len(each.name), each.name))
    if not found:
        raise FileNotFoundError(f"The folder {path} holds no partition of a snapshot.")
    return tuple(found)


def described(path: Path) -> Described:
    """Rows, columns and notes of a snapshot, from its files' ends alone.

    Raises:
        OSError: There is no snapshot.
        pyarrow.ArrowInvalid: A file is no parquet.
    """
    files = parts(path)
    noted = pq.read_metadata(path / COMMON if path.is_dir() else path)
    rows = noted.num_rows if not path.is_dir() else sum(pq.read_metadata(each).num_rows for each in files)
    facts = {name.decode(): value.decode() for name, value in (noted.metadata or {}).items() if name != b"ARROW:schema"}
    return Described(rows, pq.read_schema(files[0]).remove_metadata(), facts)


def batches(path: Path, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of a snapshot in the order of its key, at most `rows` at a time; no more than that is held.

    Args:
        path: The snapshot.
        columns: Their names, in the wanted order; all of them if not given.
        rows: Most rows of a batch.

    Raises:
        OSError: There is no snapshot.
        pyarrow.ArrowInvalid: A file is no parquet.
    """
    for each in parts(path):
        # Read ahead, a file of 5 million rows would be held whole.
        with pq.ParquetFile(each, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=rows, columns=None if columns is None else list(columns)):
                yield batch if columns is None else batch.select(list(columns))


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a snapshot, all at once; see `batches`."""
    schema = described(path).schema
    schema = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches(list(batches(path, columns)), schema=schema)
