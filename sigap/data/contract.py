"""The data contract of a model: what a row has to be, and why one is set aside.

A table as a whole that can't be read as declared raises `ContractError` (see `sigap.data.reading`); single rows that
break their declaration are set aside with a reason and counted, never dropped in silence or trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sigap.catalog import Column, Declaration, Feature, Kind
from sigap.catalog.declaration import Target

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
    if not word.sql:
        return word.name
    found = re.fullmatch(r't\."?(\w+)"?', word.sql)
    return found[1] if found else None


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
        self._held: pa.RecordBatch | None = None
        self._judged = 0
        self.words = declaration_words(declaration)
        self.schema = pa.schema([(word.name, ARROW_TYPES[word.kind]) for word in self.words])

    def check(self, batch: pa.RecordBatch) -> Checked:
        """Checks the next rows; those of the last key wait for the next batch, which may bring them a double.

        Args:
            batch: One column for each declared one, by name, as the database driver hands them over.
        """
        batch = pa.record_batch(
            [_plain(batch.column(word.name)) for word in self.words], names=[word.name for word in self.words]
        )
        if self._held is not None:
            batch = pa.concat_batches([self._held, batch])
        same = self._same_key_as_before(batch)
        starts = np.flatnonzero(~same)
        ready = int(starts[-1]) if len(starts) else 0
        self._held = batch.slice(ready)
        return self._judge(batch.slice(0, ready), same[:ready])

    def judge(self, batch: pa.RecordBatch) -> Checked:
        """Checks rows in any order, each for itself: what their keys have in common is for others to see.

        Args:
            batch: One column for each declared one, by name.
        """
        batch = batch.select([word.name for word in self.words])
        return self._judge(batch, np.zeros(batch.num_rows, dtype=bool))

    def finish(self) -> Checked:
        """Checks the rows that `check` has held back. Call it once, after the last batch."""
        batch, self._held = self._held, None
        if batch is None:
            empty = pa.record_batch([pa.array([], field.type) for field in self.schema], schema=self.schema)
            return Checked(empty, (), 0)
        return self._judge(batch, self._same_key_as_before(batch))

    def _same_key_as_before(self, batch: pa.RecordBatch) -> Mask:
        same = np.zeros(batch.num_rows, dtype=bool)
        if batch.num_rows < 2:
            return same
        same[1:] = True
        for name in self._declaration.source.key:
            column = batch.column(name)
            same[1:] &= _true(pc.equal(column.slice(1), column.slice(0, batch.num_rows - 1)))
        return same

    def _judge(self, batch: pa.RecordBatch, same: Mask) -> Checked:
        faults = [self._doubles(batch, same), self._other_names(batch)]
        arrays = []
        for word in self.words:
            array, found = self._column(word, batch.column(word.name))
            arrays.append(array)
            faults += found
        first, self._judged = self._judged, self._judged + batch.num_rows
        bad = np.zeros(batch.num_rows, dtype=bool)
        for fault in faults:
            bad |= fault.rows
        good = pa.record_batch(arrays, schema=self.schema)
        if not bad.any():
            return Checked(good, (), 0)
        rejects = tuple(self._rejects(batch, faults, first))
        return Checked(good.filter(pa.array(~bad)), rejects, int(bad.sum()))

    def _rejects(self, batch: pa.RecordBatch, faults: list[_Fault], first: int) -> list[Reject]:
        keys = [batch.column(name) for name in self._declaration.source.key]
        found = [
            Reject(first + int(row), tuple(_shown(key[row]) for key in keys), f.field, _shown(f.found[row]), f.expected)
            for f in faults
            for row in np.flatnonzero(f.rows)
        ]
        return sorted(found, key=lambda reject: reject.row)

    def _doubles(self, batch: pa.RecordBatch, same: Mask) -> _Fault:
        # All rows of a doubled key go: which of them is true can't be known here.
        rows = same.copy()
        rows[:-1] |= same[1:]
        key = self._declaration.source.key
        found: list[str | None] = [None] * len(rows)
        for row in np.flatnonzero(rows):
            found[row] = ", ".join(_shown(batch.column(name)[row]) for name in key)
        return _Fault(rows, ", ".join(key), pa.array(found, pa.string()), "one row for each key")

    def _other_names(self, batch: pa.RecordBatch) -> _Fault:
        source = self._declaration.source
        rows = np.zeros(batch.num_rows, dtype=bool)
        names = batch.column(source.entity_name) if source.entity_name else pa.nulls(len(rows), pa.string())
        if self._names and source.entity_name:
            entities = batch.column(source.entity).to_pylist()
            for row, (entity, name) in enumerate(zip(entities, names.to_pylist(), strict=True)):
                rows[row] = str(entity) in self._names and name != self._names[str(entity)]
        return _Fault(rows, source.entity_name, names, f"one name for each {source.entity}, the one most rows have")

    def _column(self, word: Word, raw: pa.Array) -> tuple[pa.Array, list[_Fault]]:
        """The column in its declared type, and what is wrong with it."""
        if word.kind in (Kind.NUMBER, Kind.INTEGER) and pa.types.is_string(raw.type):
            # In a text column, an empty cell is how a missing number is written.
            raw = pc.utf8_trim_whitespace(raw)
            raw = pc.if_else(pc.equal(raw, ""), None, raw)
        array = _READERS[word.kind](raw)
        null = _true(pc.is_null(array))
        unread = null & ~_true(pc.is_null(raw))
        wanted = expected(word)
        faults = [_Fault(unread, word.name, raw, wanted)]
        required = word.name in self._declaration.source.key or (isinstance(word, Column) and word.required)
        if required:
            missing = _true(pc.is_null(raw))
            if pa.types.is_string(array.type):
                missing |= _true(pc.equal(pc.utf8_trim_whitespace(array), ""))
            faults.append(_Fault(missing, word.name, raw, f"{wanted}; it is required"))
        faults.append(_Fault(_out_of_range(word, array) & ~null, word.name, raw, wanted))
        return array, faults


def expected(word: Word) -> str:
    """What a value of `word` has to be, in words with its unit."""
    text = _KIND_WORDS[word.kind]
    unit = f" {word.unit.en}" if isinstance(word, Feature | Target) and word.unit and word.unit.en else ""
    if word.minimum is not None and word.maximum is not None:
        text += f" from {word.minimum:g} to {word.maximum:g}{unit}"
    elif word.minimum is not None:
        text += f" of at least {word.minimum:g}{unit}"
    elif word.maximum is not None:
        text += f" of at most {word.maximum:g}{unit}"
    if isinstance(word, Feature | Target) and word.categories:
        text = f"one of {', '.join(word.categories)}"
    if isinstance(word, Column) and word.pattern:
        text += f" like {word.pattern}"
    return text


def _out_of_range(word: Word, array: pa.Array) -> Mask:
    """Where a value that could be read is none that the declaration allows."""
    bad = np.zeros(len(array), dtype=bool)
    if word.kind is Kind.NUMBER:
        bad |= ~_true(pc.is_finite(array))
    if word.kind in (Kind.NUMBER, Kind.INTEGER):
        if word.minimum is not None:
            bad |= _true(pc.less(array, word.minimum))
        if word.maximum is not None:
            bad |= _true(pc.greater(array, word.maximum))
    if isinstance(word, Column) and word.pattern:
        bad |= ~_true(pc.match_substring_regex(array, rf"\A(?:{word.pattern})\z"))
    if isinstance(word, Feature | Target) and word.categories:
        bad |= ~_true(pc.is_in(array, pa.array(word.categories)))
    return bad


def _number(raw: pa.Array) -> pa.Array:
    """Numbers as float64; a text that is none becomes null."""
    if pa.types.is_string(raw.type):
        try:
            return pc.cast(raw, pa.float64())
        except pa.ArrowInvalid:
            return pa.array([_float_or_none(value) for value in raw.to_pylist()], pa.float64())
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
    return pc.cast(pc.if_else(inside, micros, None), ARROW_TYPES[Kind.TIMESTAMP])


_READERS = {
    Kind.INTEGER: _whole_number,
    Kind.NUMBER: _number,
    Kind.TEXT: _text,
    Kind.CATEGORY: _text,
    Kind.TIMESTAMP: _time,
}


def _float_or_none(value: str | None) -> float | None:
    try:
        return None if value is None or "_" in value else float(value)
    except ValueError:
        return None


def _plain(array: pa.Array) -> pa.Array:
    """The array without the driver's marks: NUMERIC arrives as a marked exact string."""
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _true(array: pa.Array) -> Mask:
    """A boolean array as a mask in which null is False."""
    mask: Mask = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
    return mask


def _shown(scalar: pa.Scalar) -> str:
    """A value as it stands in a reason, cut when it is long; NULL as such."""
    try:
        value: Any = scalar.as_py()
    except (ValueError, OverflowError):
        return "infinity"
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
