"""The data profile of a large snapshot, in memory that does not grow with its rows.

Exact are rows, missing values, ranges, means, deviations, histograms, repeated rows, and different values up to
`_SKETCH`. Estimated are more different values, by the smallest hashes of them (standard error 1.6 %; Beyer et al. 2007,
doi:10.1145/1247480.1247504), and, from a sample of `SAMPLE_ROWS` rows drawn evenly by their keys, quantiles (standard
error of the share below one at most 0.1 percentage points) and changes since the version before.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sigap.data.contract import Word
from sigap.data.parts import batches, described, parts
from sigap.data.samples import hashes

SAMPLE_ROWS = 250_000
_SKETCH = 4_096
# Hashes that are sorted at a time, 32 MB.
_HELD = 4_000_000
# A column with more different texts has no most frequent ones: to count them all would take their memory.
_COUNTED = 10_000


class Distinct:
    """How many different values there are: exact up to `_SKETCH`, an estimate beyond."""

    def __init__(self) -> None:
        self._smallest: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)

    def add(self, values: NDArray[np.uint64]) -> None:
        """Takes the values' hashes."""
        if len(self._smallest) > _SKETCH:
            values = values[values < self._smallest[-1]]
        if len(values):
            self._smallest = np.unique(np.concatenate([self._smallest, values]))[: _SKETCH + 1]

    def count(self) -> int:
        """Their number."""
        if len(self._smallest) <= _SKETCH:
            return len(self._smallest)
        # Evenly spread, so many lie below the last of them as it has of the whole range.
        return round(_SKETCH / (float(self._smallest[_SKETCH]) / 2.0**64))


class Numbers:
    """Mean, deviation and histogram of a column of numbers, some at a time.

    Args:
        low: Its smallest value.
        high: Its largest.
        bins: Of the histogram.
    """

    def __init__(self, low: float, high: float, bins: int) -> None:
        self.low, self.high = low, high
        self._range = (low, high) if high > low else (low - 0.5, low + 0.5)
        self._counts = np.zeros(bins, dtype=np.int64)
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Takes further values, none missing."""
        if not len(values):
            return
        counts, self._edges = np.histogram(values, bins=len(self._counts), range=self._range)
        self._counts += counts
        # Chan, Golub and LeVeque 1983: no digit is lost to large squares.
        count, mean = len(values), float(values.mean())
        apart, total = mean - self._mean, self._count + count
        self._squares += float(np.square(values - mean).sum()) + apart * apart * self._count * count / total
        self._mean += apart * count / total
        self._count = total

    def told(self) -> dict[str, Any]:
        """As `sigap.data.profile.ColumnProfile` has them."""
        return {
            "minimum": self.low,
            "maximum": self.high,
            "mean": self._mean,
            "sd": (self._squares / (self._count - 1)) ** 0.5 if self._count > 1 else 0.0,
            "edges": tuple(float(edge) for edge in self._edges),
            "counts": tuple(int(count) for count in self._counts),
        }


class Column:
    """What is gathered of one column in a pass over all rows.

    Args:
        word: Its declaration.
        ends: Its smallest and largest value; None where all are missing.
        bins: Of a histogram.
    """

    def __init__(self, word: Word, ends: tuple[Any, Any] | None, bins: int) -> None:
        self.word, self.ends = word, ends
        self.missing = 0
        self.distinct = Distinct()
        self.counts: Counter[str] | None = Counter()
        self.numbers: Numbers | None = None
        if ends is not None and isinstance(ends[0], int | float):
            self.numbers = Numbers(float(ends[0]) + 0.0, float(ends[1]) + 0.0, bins)

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes further rows."""
        name = self.word.name
        known = batch.select([name]).filter(batch.column(name).is_valid())
        values = known.column(0)
        self.missing += batch.num_rows - len(values)
        self.distinct.add(hashes(known, (name,)))
        if self.numbers is not None:
            self.numbers.add(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False))
        elif pa.types.is_string(values.type) and self.counts is not None:
            self.counts.update({pair["values"]: pair["counts"] for pair in values.value_counts().to_pylist()})
            if len(self.counts) > _COUNTED:
                self.counts = None


def gathered(path: Path, words: tuple[Word, ...], bins: int) -> tuple[Column, ...]:
    """All that one pass over a snapshot tells of its columns."""
    ends = _ends(path)
    columns = tuple(Column(word, ends.get(word.name), bins) for word in words)
    for batch in batches(path):
        for column in columns:
            column.add(batch)
    return columns


def repeated(path: Path, names: tuple[str, ...]) -> int:
    """Rows that repeat another one in these columns, counted by hashes of 64 bits.

    Hashes are put into files by their remainder, so that the same ones meet, and one file is held at a time (Grace
    hash; Kitsuregawa et al. 1983, doi:10.1007/BF03037022). It takes 8 bytes of disk a row meanwhile.
    """
    count = 1 + described(path).rows // _HELD
    different = rows = 0
    with tempfile.TemporaryDirectory(prefix="sigap-") as folder, ExitStack() as open_files:
        places = [Path(folder) / str(number) for number in range(count)]
        files = [open_files.enter_context(place.open("wb")) for place in places]
        for batch in batches(path, names):
            found = hashes(batch, names)
            remainders = found % np.uint64(count)
            for number, file in enumerate(files):
                file.write(found[remainders == number].tobytes())
            rows += batch.num_rows
        for file, place in zip(files, places, strict=True):
            file.close()
            different += len(np.unique(np.fromfile(place, dtype=np.uint64)))
    return rows - different


def _ends(path: Path) -> dict[str, tuple[Any, Any]]:
    """Smallest and largest value of each column, as the files' ends tell them: exact, for no value is cut."""
    found: dict[str, tuple[Any, Any]] = {}
    merge: tuple[Callable[..., Any], Callable[..., Any]] = (min, max)
    for part in parts(path):
        metadata = pq.read_metadata(part)
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                told = column.statistics
                if told is None or not told.has_min_max or isinstance(told.min, str | bytes):
                    continue
                ends = (told.min, told.max)
                known = found.get(column.path_in_schema, ends)
                found[column.path_in_schema] = (merge[0](known[0], ends[0]), merge[1](known[1], ends[1]))
    return found
