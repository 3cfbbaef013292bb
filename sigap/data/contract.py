"""The data contract of a model: what a row has to be, and why one is set aside.

A table as a whole that can't be read as declared raises `ContractError` (see `sigap.data.reading`); single rows that
break their declaration are set aside with a reason and counted, never dropped in silence or trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sigap.catalog import Column, Declaration, Feature, Kind
from sigap.catalog.declaration import Target
from sigap.catalog.names import selected_column
from sigap.catalog.values import FLAG_WORDS, plain

Mask = NDArray[np.bool_]
Word = Column | Feature | Target

ARROW_TYPES = {
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.CATEGORY: pa.string(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}
_KIND_WORDS = {
    Kind.INTEGER: "a whole number",
    Kind.NUMBER: "a number",
    Kind.TEXT: "a text",
    Kind.CATEGORY: "a category",
    Kind.TIMESTAMP: "a point in time",
}
# Years 1 and 10000 in microseconds. PostgreSQL's infinity arrives far outside, as a wrapped integer without any error.
_FIRST_TIME, _LAST_TIME = -62_135_596_800_000_000, 253_402_300_800_000_000
_LONGEST_VALUE = 120
_NUMBER = r"\A[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\z"


@dataclass(frozen=True)
class Reject:
    """One reason why a row was set aside; `row` is its place in the order the rows came in, from 0."""

    row: int
    key: tuple[str, ...]
    field: str
    found: str
    expected: str


@dataclass(frozen=True)
class Checked:
    """A batch after the contract: the rows that keep it, and why the others don't."""

    good: pa.RecordBatch
    rejects: tuple[Reject, ...]
    rejected_rows: int


@dataclass(frozen=True)
class _Fault:
    rows: Mask
    field: str
    found: pa.Array
    expected: str


def declaration_words(declaration: Declaration) -> tuple[Word, ...]:
    """What makes up a row of the snapshot, in its order: the columns, the features, the target if there is one."""
    target = (declaration.target,) if declaration.target is not None else ()
    return (*declaration.columns, *declaration.features, *target)


def table_column(word: Word) -> str | None:
    """Name of the column of the model's own table that a word stands for; None where it comes from elsewhere."""
    return selected_column(word.sql) if word.sql else word.name


class Contract:
    """Checks the rows of one table, batch by batch, in the order of their key.

    Args:
        declaration: What is expected.
        names: For entities that the table knows by several names, the one that counts, or None where no name is
            the most frequent; entities that are not in it are known by one name.
    """

    def __init__(self, declaration: Declaration, names: Mapping[str, str | None] | None = None) -> None:
        self._declaration = declaration
        self._names = names or {}
        self._held: tuple[pa.RecordBatch, Mask] | None = None
        self._judged = 0
        self.words = declaration_words(declaration)
        self.schema = pa.schema([(word.name, ARROW_TYPES[word.kind]) for word in self.words])

    def check(self, batch: pa.RecordBatch) -> Checked:
        """Takes the next rows and checks those of the batch before, whose last key may have a double here.

        Args:
            batch: One column for each declared one, by name, as the database driver hands them over.
        """
        if not batch.num_rows:
            return self._nothing()
        batch = pa.record_batch(
            [_plain(batch.column(word.name)) for word in self.words], names=[word.name for word in self.words]
        )
        before, self._held = self._held, (batch, self._same_key_as_before(batch))
        return self._judge(*before, doubled_after=bool(self._held[1][0])) if before else self._nothing()

    def judge(self, batch: pa.RecordBatch) -> Checked:
        """Checks rows in any order, each for itself: what their keys have in common is for others to see.

        Args:
            batch: One column for each declared one, by name.
        """
        batch = batch.select([word.name for word in self.words])
        return self._judge(batch, np.zeros(batch.num_rows, dtype=bool))

    def finish(self) -> Checked:
        """Checks the rows that `check` has held back. Call it once, after the last batch."""
        before, self._held = self._held, None
        return self._judge(*before) if before else self._nothing()

    def _nothing(self) -> Checked:
        none = [pa.array([], field.type) for field in self.schema]
        return Checked(pa.record_batch(none, schema=self.schema), (), 0)

    def _same_key_as_before(self, batch: pa.RecordBatch) -> Mask:
        """Where a row's key is that of the row before it; before the first row stands the last one held."""
        same = np.ones(batch.num_rows, dtype=bool)
        same[0] = self._held is not None
        for name in self._declaration.source.key:
            column = batch.column(name)
            same[1:] &= _true(pc.equal(column.slice(1), column.slice(0, batch.num_rows - 1)))
            if self._held is not None:
                same[0] &= pc.equal(column[0], self._held[0].column(name)[-1]).as_py() is True
        return same

    def _judge(self, batch: pa.RecordBatch, same: Mask, *, doubled_after: bool = False) -> Checked:
        faults = [*self._doubles(batch, same, doubled_after), *self._other_names(batch)]
        arrays = []
        for word in self.words:
            array, found = self._column(word, batch.column(word.name))
            arrays.append(array)
            faults += found
        first, self._judged = self._judged, self._judged + batch.num_rows
        good = pa.record_batch(arrays, schema=self.schema)
        bad = np.zeros(batch.num_rows, dtype=bool)
        for fault in faults:
            bad |= fault.rows
        if not bad.any():
            return Checked(good, (), 0)
        rejects = tuple(self._rejects(batch, faults, first))
        return Checked(good.filter(pa.array(~bad)), rejects, int(bad.sum()))

    def _rejects(self, batch: pa.RecordBatch, faults: list[_Fault], first: int) -> list[Reject]:
        found = []
        for fault in faults:
            rows = np.flatnonzero(fault.rows)
            keys = zip(*(_texts(batch.column(name).take(rows)) for name in self._declaration.source.key), strict=True)
            values = _texts(fault.found.take(rows))
            found += [
                Reject(first + int(row), key, fault.field, value, fault.expected)
                for row, key, value in zip(rows, keys, values, strict=True)
            ]
        return sorted(found, key=lambda reject: reject.row)

    def _doubles(self, batch: pa.RecordBatch, same: Mask, doubled_after: bool) -> list[_Fault]:
        # All rows of a doubled key go: which of them is true can't be known here.
        rows = same.copy()
        rows[:-1] |= same[1:]
        if len(rows):
            rows[-1] |= doubled_after
        if not rows.any():
            return []
        key = self._declaration.source.key
        found: list[str | None] = [None] * len(rows)
        for row in np.flatnonzero(rows):
            found[row] = ", ".join(_shown(batch.column(name)[row]) for name in key)
        return [_Fault(rows, ", ".join(key), pa.array(found, pa.string()), "one row for each key")]

    def _other_names(self, batch: pa.RecordBatch) -> list[_Fault]:
        source = self._declaration.source
        if not self._names or not source.entity_name:
            return []
        rows = np.zeros(batch.num_rows, dtype=bool)
        names = batch.column(source.entity_name)
        entities = batch.column(source.entity).to_pylist()
        for row, (entity, name) in enumerate(zip(entities, names.to_pylist(), strict=True)):
            rows[row] = str(entity) in self._names and name != self._names[str(entity)]
        expected = f"one name for each {source.entity}, the one most rows have"
        return [_Fault(rows, source.entity_name, names, expected)]

    def _column(self, word: Word, raw: pa.Array) -> tuple[pa.Array, list[_Fault]]:
        """The column in its declared type, and what is wrong with it.

        Masks are made only of what is wrong: of nearly all batches nothing is, and looking costs a tenth of that.
        """
        if word.kind in (Kind.NUMBER, Kind.INTEGER) and pa.types.is_string(raw.type):
            # In a text column, an empty cell is how a missing number is written.
            raw = pc.utf8_trim_whitespace(raw)
            raw = pc.if_else(pc.equal(raw, ""), None, raw)
        array = _READERS[word.kind](raw)
        wanted = expected(word)
        faults = []
        if array.null_count > raw.null_count:
            faults.append(_Fault(_true(pc.is_null(array)) & ~_true(pc.is_null(raw)), word.name, raw, wanted))
        if word.name in self._declaration.source.key or (isinstance(word, Column) and word.required):
            missing = pc.is_null(raw)
            if pa.types.is_string(array.type):
                missing = pc.or_kleene(missing, pc.equal(pc.utf8_trim_whitespace(array), ""))
            if pc.any(missing).as_py():
                faults.append(_Fault(_true(missing), word.name, raw, f"{wanted}; it is required"))
        for allowed in _allowed(word, array):
            if pc.all(allowed).as_py() is False:
                faults.append(_Fault(_true(pc.invert(allowed)), word.name, raw, wanted))
        return array, faults


def is_flag(word: Word) -> bool:
    """Whether the word is 1 for yes and 0 for no."""
    whole = word.kind is Kind.INTEGER and (word.minimum, word.maximum) == (0, 1)
    return whole or (isinstance(word, Feature) and word.flag)


def expected(word: Word) -> str:
    """What a value of `word` has to be, in words with its unit."""
    if is_flag(word):
        return FLAG_WORDS
    text = _KIND_WORDS[word.kind]
    unit = f" {word.unit.en}" if isinstance(word, Feature | Target) and word.unit and word.unit.en else ""
    if word.minimum is not None and word.maximum is not None:
        text += f" from {plain(word.minimum, word.maximum)} to {plain(word.maximum, word.minimum)}{unit}"
    elif word.minimum is not None:
        text += f" of at least {plain(word.minimum)}{unit}"
    elif word.maximum is not None:
        text += f" of at most {plain(word.maximum)}{unit}"
    if isinstance(word, Feature | Target) and word.categories:
        text = f"one of {', '.join(word.categories)}"
    if isinstance(word, Column) and word.pattern:
        text += f": {word.form.en}" if word.form else f" like {word.pattern}"
    return text


def _allowed(word: Word, array: pa.Array) -> Iterator[pa.Array]:
    """Whether a value that could be read is one that the declaration allows; null where there is none."""
    if word.kind is Kind.NUMBER:
        # Comparisons are false for what is no number; only where a bound is lacking could infinity lie within.
        bounded = word.minimum is not None and word.maximum is not None
        within = None if bounded else pc.is_finite(array)
        for compared in _compared(word, array):
            within = compared if within is None else pc.and_(within, compared)
        yield within
    elif word.kind is Kind.INTEGER:
        for compared in _compared(word, array):
            yield compared
    if isinstance(word, Column) and word.pattern:
        yield pc.match_substring_regex(array, rf"\A(?:{word.pattern})\z")
    if isinstance(word, Feature | Target) and word.categories:
        known = pc.is_in(array, pa.array(word.categories))
        yield pc.if_else(pc.is_valid(array), known, None) if array.null_count else known


def _compared(word: Word, array: pa.Array) -> Iterator[pa.Array]:
    if word.minimum is not None:
        yield pc.greater_equal(array, word.minimum)
    if word.maximum is not None:
        yield pc.less_equal(array, word.maximum)


def _number(raw: pa.Array) -> pa.Array:
    """Numbers as float64; a text that is none becomes null."""
    if pa.types.is_string(raw.type):
        try:
            return pc.cast(raw, pa.float64())
        except pa.ArrowInvalid:
            readable = pc.match_substring_regex(raw, _NUMBER)
            return pc.cast(pc.replace_substring_regex(pc.if_else(readable, raw, None), r"^\+", ""), pa.float64())
    return pc.cast(raw, pa.float64(), safe=False)


def _whole_number(raw: pa.Array) -> pa.Array:
    """Whole numbers as int64; a fraction, or a text that is no number, becomes null."""
    if pa.types.is_integer(raw.type):
        return pc.cast(raw, pa.int64())
    values = _number(raw)
    # Beyond 2**53 a float no longer tells neighbours apart.
    whole = pc.and_(pc.equal(values, pc.round(values)), pc.less(pc.abs(values), 2.0**53))
    return pc.cast(pc.if_else(whole, values, None), pa.int64())


def _text(raw: pa.Array) -> pa.Array:
    return pc.cast(raw, pa.string())


def _time(raw: pa.Array) -> pa.Array:
    """Points in time in UTC (a date at its midnight, a time without zone as UTC); infinity becomes null."""
    if pa.types.is_date32(raw.type):
        micros = pc.multiply(pc.cast(pc.cast(raw, pa.int32()), pa.int64()), 86_400_000_000)
    else:
        micros = pc.cast(raw, pa.int64())
    inside = pc.and_(pc.greater_equal(micros, _FIRST_TIME), pc.less(micros, _LAST_TIME))
    if pc.all(inside).as_py() is False:
        micros = pc.if_else(inside, micros, None)
    return pc.cast(micros, ARROW_TYPES[Kind.TIMESTAMP])


_READERS = {
    Kind.INTEGER: _whole_number,
    Kind.NUMBER: _number,
    Kind.TEXT: _text,
    Kind.CATEGORY: _text,
    Kind.TIMESTAMP: _time,
}


def _plain(array: pa.Array) -> pa.Array:
    """The array without the driver's marks: NUMERIC arrives as a marked exact string."""
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _true(array: pa.Array) -> Mask:
    """A boolean array as a mask in which null is False."""
    mask: Mask = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
    return mask


def _texts(array: pa.Array) -> list[str]:
    return [_shown(scalar) for scalar in array]


def _shown(scalar: pa.Scalar) -> str:
    """A value as it stands in a reason, cut when it is long; NULL as such."""
    try:
        value: Any = scalar.as_py()
    except (ValueError, OverflowError):
        return "infinity"
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
