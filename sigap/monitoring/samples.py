"""Samples of features: rows of a snapshot, read one column at a time, or rows that are held already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sigap.catalog import Declaration, Kind
from sigap.data import parts

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Sample(Protocol):
    """Rows with named features."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def is_number(self, name: str) -> bool:
        """Whether the feature is a number, and not a category."""

    def numbers(self, name: str) -> Floats:
        """Its values, shape (rows,), NaN where missing."""

    def counts(self, name: str) -> tuple[dict[str, int], int]:
        """How often each category occurs, and how many rows lack one."""

    def some(self, names: Sequence[str], limit: int, seed: int) -> pd.DataFrame:
        """At most `limit` rows of these features, drawn without regard to order; all where there are no more."""


class FrameSample:
    """Rows in memory.

    Args:
        frame: Numbers as float64, categories as text or None.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    @property
    def rows(self) -> int:
        """See `Sample.rows`."""
        return len(self._frame)

    def is_number(self, name: str) -> bool:
        """See `Sample.is_number`."""
        return self._frame[name].dtype.kind == "f"

    def numbers(self, name: str) -> Floats:
        """See `Sample.numbers`."""
        return self._frame[name].to_numpy(dtype=np.float64)

    def counts(self, name: str) -> tuple[dict[str, int], int]:
        """See `Sample.counts`."""
        column = self._frame[name]
        return {str(value): int(count) for value, count in column.value_counts().items()}, int(column.isna().sum())

    def some(self, names: Sequence[str], limit: int, seed: int) -> pd.DataFrame:
        """See `Sample.some`."""
        return self._frame[list(names)].iloc[_drawn(self.rows, limit, seed)].reset_index(drop=True)


class ParquetSample:
    """Rows of a snapshot, cleaned as training cleans them: finite numbers, categories in their declared spelling.

    Args:
        path: The snapshot, or a sample of it.
        declaration: Whose snapshot.
        keep: Which rows belong to the sample, shape (rows of the snapshot,); all of them if None.
    """

    def __init__(self, path: Path, declaration: Declaration, keep: Mask | None = None) -> None:
        self._path = path
        self._declaration = declaration
        self._keep = None if keep is None else pa.array(keep)
        self._rows = parts.described(path).rows if keep is None else int(keep.sum())

    @property
    def rows(self) -> int:
        """See `Sample.rows`."""
        return self._rows

    def is_number(self, name: str) -> bool:
        """See `Sample.is_number`."""
        return self._declaration.feature(name).kind in (Kind.NUMBER, Kind.INTEGER)

    def numbers(self, name: str) -> Floats:
        """See `Sample.numbers`."""
        column = pc.cast(self._column(name), pa.float64(), safe=False)
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)

    def counts(self, name: str) -> tuple[dict[str, int], int]:
        """See `Sample.counts`."""
        column = pc.cast(self._column(name), pa.string())
        spelling = {value.casefold(): value for value in self._declaration.feature(name).categories}
        found: dict[str, int] = {}
        for entry in pc.value_counts(column).to_pylist():
            if (value := entry["values"]) is not None:
                value = spelling.get(value.casefold(), value)
                found[value] = found.get(value, 0) + int(entry["counts"])
        return found, int(column.null_count)

    def some(self, names: Sequence[str], limit: int, seed: int) -> pd.DataFrame:
        """See `Sample.some`."""
        at = pa.array(_drawn(self._rows, limit, seed))
        columns = {name: self._column(name).take(at).to_pandas() for name in names}
        frame = pd.DataFrame(columns)
        for name in names:
            if self.is_number(name):
                frame[name] = frame[name].astype("float64")
        return frame

    def _column(self, name: str) -> pa.Array:
        column = parts.read(self._path, [name]).column(0)
        column = column if self._keep is None else column.filter(self._keep)
        return column.combine_chunks()


def live_sample(declaration: Declaration, names: Sequence[str], fields: Sequence[Mapping[str, Any]]) -> FrameSample:
    """Inputs of predictions; the API has validated them, so that categories have their declared spelling."""
    columns: dict[str, Any] = {}
    for name in names:
        values = [each.get(name) for each in fields]
        if declaration.feature(name).kind in (Kind.NUMBER, Kind.INTEGER):
            numbers = [float(value) if isinstance(value, int | float) else np.nan for value in values]
            columns[name] = np.array(numbers, dtype=np.float64)
        else:
            texts = [None if value is None else str(value) for value in values]
            columns[name] = pd.Series(texts, dtype=object)
    return FrameSample(pd.DataFrame(columns))


def unseen(path: Path, reference: Path, key: Sequence[str]) -> Mask:
    """Which rows of a snapshot have a key that another one does not have, shape (rows,)."""
    now, known = (parts.read(each, key) for each in (path, reference))
    if len(key) == 1:
        seen = pc.is_in(now.column(0), value_set=known.column(0).combine_chunks()).to_numpy()
    else:
        seen = now.to_pandas().set_index(list(key)).index.isin(known.to_pandas().set_index(list(key)).index)
    return ~np.asarray(seen, dtype=np.bool_)


def _drawn(rows: int, limit: int, seed: int) -> NDArray[np.int64]:
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size=limit, replace=False))
