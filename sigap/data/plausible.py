"""Whether figures can be what they say they are: the right unit, and near the figures that stand already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from psycopg import sql

from sigap.catalog import Declaration, Feature, Kind
from sigap.catalog.declaration import Target
from sigap.data.contract import Word, expected, table_column
from sigap.data.postgres import Connection
from sigap.errors import FileError

# Thousands and millions, and shares written as percentages, either way.
_FACTORS = (1000.0, 0.001, 1e6, 1e-6, 100.0, 0.01)
_ENOUGH_TO_JUDGE = 5
_ENOUGH_TO_COMPARE = 20
_FAR = 200.0
_OUTER_FENCE = 3.0
_SAMPLE = 100_000


@dataclass(frozen=True)
class Reference:
    """What the values of a column are like.

    Attributes:
        count: How many there are.
        minimum: Smallest.
        lower: Lower quartile.
        median: Median.
        upper: Upper quartile.
        maximum: Largest.
    """

    count: int
    minimum: float
    lower: float
    median: float
    upper: float
    maximum: float

    @property
    def fences(self) -> tuple[float, float]:
        """Tukey's outer fences (three interquartile ranges beyond the quartiles), widened to the values there are.

        Of positive figures, the lower fence is that of their logarithms: no difference reaches below zero.
        """
        high = self.upper + _OUTER_FENCE * (self.upper - self.lower)
        if self.minimum > 0:
            low = self.lower * (self.lower / self.upper) ** _OUTER_FENCE
        else:
            low = self.lower - _OUTER_FENCE * (self.upper - self.lower)
        return min(low, self.minimum), max(high, self.maximum)


class Sample:
    """The numbers of a column, or evenly spaced ones of them where they are many; count and extremes are exact."""

    def __init__(self) -> None:
        self._count = 0
        self._step = 1
        self._kept = np.empty(0)
        self._low, self._high = math.inf, -math.inf

    def see(self, values: pd.Series[Any]) -> None:
        """Takes note of some of the numbers; none of them is missing."""
        first = -self._count % self._step
        self._kept = np.concatenate([self._kept, values.to_numpy()[first :: self._step]])
        self._count += len(values)
        given = values[values != 0]
        # Of no number at all the least is NaN, beside which what was seen before would be forgotten.
        if len(given):
            self._low, self._high = min(given.min(), self._low), max(given.max(), self._high)
        if len(self._kept) > _SAMPLE:
            self._kept = self._kept[::2].copy()
            self._step *= 2

    @property
    def values(self) -> pd.Series[Any]:
        """Those that were kept."""
        return pd.Series(self._kept)

    @property
    def figures(self) -> Reference | None:
        """What the numbers but for zeros are like, if they are enough to be told."""
        given = self.values
        given = given[given != 0]
        if len(given) < _ENOUGH_TO_COMPARE:
            return None
        lower, median, upper = (float(each) for each in given.quantile([0.25, 0.5, 0.75]))
        return Reference(len(given), self._low, lower, median, upper, self._high)


def numbers_of(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The features and the target among the words that are numbers, without yes-or-no ones."""
    return tuple(
        word
        for word in words
        if isinstance(word, Feature | Target)
        and word.kind in (Kind.NUMBER, Kind.INTEGER)
        and (word.minimum, word.maximum) != (0, 1)
    )


def references(connection: Connection, table: str, words: tuple[Word, ...]) -> dict[str, Reference]:
    """What the table's numbers are like now, by the word's name; without columns that hold no value."""
    found = {}
    for word in words:
        column = sql.Identifier(table_column(word) or word.name)
        row = connection.execute(
            sql.SQL(
                "SELECT count({0}), min({0})::float8, percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP"
                " (ORDER BY {0}::float8), max({0})::float8 FROM {1} WHERE {0}::float8 BETWEEN -1e300 AND 1e300"
            ).format(column, sql.Identifier(table))
        ).fetchone()
        if row and row[0]:
            found[word.name] = Reference(int(row[0]), row[1], row[2][0], row[2][1], row[2][2], row[3])
    return found


def check_unit(word: Word, values: pd.Series[Any], reference: Reference | None) -> None:
    """Refuses a column that is in another unit.

    Such a column is out of range as it is and in range times a round factor, or hundreds of times what stands there.

    Args:
        word: What is declared.
        values: The file's numbers.
        reference: What stands in the table; None for nothing.

    Raises:
        FileError: Names the factor that it takes.
    """
    if len(values) < _ENOUGH_TO_JUDGE:
        return
    if _inside(word, values) < 0.5:
        factor = next((each for each in _FACTORS if _inside(word, values * each) >= 0.95), None)
        if factor is not None:
            raise _other_unit(word, values, factor, f"expected is {expected(word)}")
    if reference is None or min(len(values), reference.count) < _ENOUGH_TO_COMPARE:
        return
    median = float(values.median())
    if median > 0 and reference.median > 0 and not 1 / _FAR < median / reference.median < _FAR:
        factor = min(_FACTORS, key=lambda each: abs(1 - median * each / reference.median))
        raise _other_unit(word, values, factor, f"the table's median is {reference.median:,.10g}")


def implausible(values: pd.Series[Any], reference: Reference) -> pd.Series[Any]:
    """Where a figure lies beyond everything seen of its kind; see `Reference.fences`."""
    low, high = reference.fences
    return (values < low) | (values > high)


def comparable(declaration: Declaration) -> bool:
    """Whether rows are the same figures of one place and period after another, so that they can be held together."""
    source = declaration.source
    return bool(source.time) and source.entity != source.time


def known_figures(sample: Sample, reference: Reference | None) -> Reference | None:
    """What figures are like: those of the table if they are enough, else the file's own but for zeros."""
    if reference is not None and reference.count >= _ENOUGH_TO_COMPARE:
        return reference
    return sample.figures


def _inside(word: Word, values: pd.Series[Any]) -> float:
    low = float("-inf") if word.minimum is None else word.minimum
    high = float("inf") if word.maximum is None else word.maximum
    return float(values.between(low, high).mean())


def _other_unit(word: Word, values: pd.Series[Any], factor: float, against: str) -> FileError:
    return FileError(
        f"The values of {word.name} look as if they were in another unit: half of them are below "
        f"{values.median():,.10g}, and {against}.",
        remedy=f"If so, --unit {word.name}={factor:g} multiplies them; --unit {word.name}=1 takes them as they are.",
    )


def fences_in_words(word: Word, reference: Reference) -> str:
    """What a figure would have to be to be believed."""
    low, high = reference.fences
    unit = f" {word.unit.en}" if isinstance(word, Feature) and word.unit.en else ""
    return f"near the other figures, {low:.4g} to {high:.4g}{unit}; empty if not published"


def references_for(
    connection: Connection, declaration: Declaration, words: tuple[Word, ...], entities: Sequence[str]
) -> dict[str, Reference]:
    """`references` of the model's table, unless it is about others than the rows are.

    Districts differ more than provinces do, so figures of places that the table does not know are no outliers of it.

    Args:
        connection: Of the import's transaction.
        declaration: Whose table.
        words: The numbers asked for.
        entities: Whom the rows are about.
    """
    if comparable(declaration):
        column = sql.Identifier(table_column(declaration.column(declaration.source.entity)) or "")
        found = connection.execute(
            sql.SQL("SELECT count(DISTINCT {0}) FROM {1} WHERE {0}::text = ANY(%s)").format(
                column, sql.Identifier(declaration.source.table)
            ),
            [list(entities)],
        ).fetchone()
        if found is None or found[0] < len(entities) / 2:
            return {}
    return references(connection, declaration.source.table, words)
