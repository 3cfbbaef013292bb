"""From a table's cells to the values of requests: by pyarrow where they are plain, by the Validator elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from backend.columns import NUMBERS, UNKNOWN, CategoryCodes, Checked, Columns, settle, text_column, within
from backend.problems import FieldProblem, RequestError
from backend.requests import Validator, refused
from sigap.catalog import Column, Declaration, Feature, Kind
from sigap.catalog.values import FLAG_WORDS, YES_NO

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# What pyarrow and Python surely read as the same number.
_PLAIN_NUMBER = r"^-?[0-9]+(\.[0-9]+)?$"
_JSON_REMEDY = "Send a JSON number, without quotes."
_FLAG_REMEDY = "Write 0 or 1, or yes or no."
_FILE_REMEDY = "Write a plain number, such as 12.5, without unit and thousands separator."


def is_flag(declared: Column | Feature) -> bool:
    """Whether the field is 1 for yes and 0 for no."""
    return isinstance(declared, Feature) and declared.flag


def value_of(cell: float | str | None, kind: Kind, *, decimal_comma: bool, flag: bool = False) -> Any:
    """A cell as the value that a request would bring.

    Args:
        cell: A number, a text, or None for an empty one.
        kind: Of the field.
        decimal_comma: Whether 92,5 is a number.
        flag: Whether yes and no are 1 and 0, in any of their spellings.

    Returns:
        None for a blank; a number where the kind is one and the cell reads as one; else the text.
    """
    if cell is None or cell != cell:
        return None
    if not isinstance(cell, str):
        if kind in NUMBERS:
            return cell
        cell = str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    text = cell.strip()
    if not text:
        return None
    if kind not in NUMBERS:
        return text
    if flag and (known := YES_NO.get(text.casefold())):
        return int(known)
    number = text.replace(",", ".") if decimal_comma and text.count(",") == 1 and "." not in text else text
    if not _NUMBER.fullmatch(number):
        return text
    return int(number) if number.lstrip("+-").isdigit() and len(number) < 400 else float(number)


class Cells:
    """Checks the rows of a file's tables.

    Args:
        declaration: The model's declaration.
        validator: Of the model.
        needed: Features that the served version can't do without.
        fields: By field of a request: the column's position in the file.
        decimal_comma: Whether 92,5 is a number.
    """

    def __init__(
        self,
        declaration: Declaration,
        validator: Validator,
        needed: Sequence[str],
        fields: Mapping[str, int],
        *,
        decimal_comma: bool,
    ) -> None:
        self._declaration = declaration
        self._validator = validator
        self._needed = needed
        self._comma = decimal_comma
        declared: dict[str, Column | Feature] = {name: declaration.column(name) for name in declaration.request_columns}
        declared |= {feature.name: feature for feature in declaration.features}
        self._fields = [(name, fields[name], each) for name, each in declared.items()]
        self._flags = {name for name, each in declared.items() if is_flag(each)}

    def check(self, table: pa.Table, faults: Mapping[int, str]) -> Checked:
        """Checks a table whose columns are called by their position.

        Args:
            table: Texts or doubles.
            faults: What is wrong with whole rows, by position.
        """
        columns = Columns(self._declaration, table.num_rows)
        unsure = np.zeros(table.num_rows, bool)
        unsure[list(faults)] = True
        for name, at, declared in self._fields:
            column = _array(table, at)
            if declared.kind in NUMBERS:
                if is_flag(declared) and pa.types.is_string(column.type):
                    column = _flags(column)
                numbers = self._numbers(column, declared, unsure)
                if name in columns.numbers:
                    columns.numbers[name] = numbers
            elif isinstance(declared, Feature):
                columns.codes[name] = _codes(column, declared, unsure)
            else:
                unsure |= ~_texts(column, declared)

        def fields(position: int) -> dict[str, Any]:
            if position in faults:
                raise refused([FieldProblem(field="", value=None, expected="a cell a column", remedy=faults[position])])
            return {
                name: value_of(
                    _array(table, at)[position].as_py(),
                    declared.kind,
                    decimal_comma=self._comma,
                    flag=is_flag(declared),
                )
                for name, at, declared in self._fields
            }

        return settle(columns, unsure, fields, self._told, self._needed)

    def _told(self, values: dict[str, Any], needed: Sequence[str]) -> dict[str, Any]:
        try:
            return self._validator(values, needed)
        except RequestError as error:
            raise refused([self._in_a_file(entry) for entry in error.errors]) from None

    def _in_a_file(self, entry: FieldProblem) -> FieldProblem:
        """What is wrong with a field, as somebody who fills in cells reads it."""
        if entry.field in self._flags:
            return entry.model_copy(update={"expected": FLAG_WORDS, "remedy": _FLAG_REMEDY})
        if entry.remedy == _JSON_REMEDY:
            return entry.model_copy(update={"remedy": _FILE_REMEDY})
        return entry

    def _numbers(self, column: pa.Array, declared: Column | Feature, unsure: NDArray[np.bool_]) -> NDArray[np.float64]:
        null = _nulls(column)
        if pa.types.is_string(column.type):
            column, blank, odd = _parsed(column)
            unsure |= odd
            null |= blank
        numbers = np.array(pc.fill_null(column, np.nan).to_numpy(zero_copy_only=False), np.float64)
        if null.any():
            numbers = np.where(null, np.nan, numbers)
            if isinstance(declared, Column) and declared.required:
                unsure |= null
        unsure |= ~null & ~within(numbers, declared)
        return numbers


def _array(table: pa.Table, at: int) -> pa.Array:
    column = table.column(at)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _flags(column: pa.Array) -> pa.Array:
    """Texts with 1 and 0 for the spellings of yes and no."""
    encoded = column.dictionary_encode()
    texts = [
        text if text is None else YES_NO.get(text.strip().casefold(), text) for text in encoded.dictionary.to_pylist()
    ]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _nulls(column: pa.Array) -> NDArray[np.bool_]:
    if column.null_count == 0:
        return np.zeros(len(column), bool)
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False), bool)


def _parsed(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Texts as doubles, where they are blank, and where they are no plain numbers."""
    none = np.zeros(len(column), bool)
    try:
        return column.cast(pa.float64()), none, none
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(column)
    plain = pc.fill_null(pc.match_substring_regex(trimmed, _PLAIN_NUMBER), False)
    blank = np.asarray(pc.fill_null(pc.equal(trimmed, ""), True).to_numpy(zero_copy_only=False), bool)
    numbers = pc.if_else(plain, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())
    odd = ~np.asarray(plain.to_numpy(zero_copy_only=False), bool) & ~blank
    return numbers, blank, odd


def _codes(column: pa.Array, declared: Feature, unsure: NDArray[np.bool_]) -> NDArray[np.int32]:
    known = CategoryCodes(declared)
    encoded = column.dictionary_encode()
    found = [known(value_of(value, declared.kind, decimal_comma=False)) for value in encoded.dictionary.to_pylist()]
    # The last is for null.
    looked = np.array([*found, -1], np.int32)
    codes: NDArray[np.int32] = looked[_indices(encoded)]
    unsure |= codes == UNKNOWN
    return codes


def _texts(column: pa.Array, declared: Column) -> NDArray[np.bool_]:
    encoded = column.dictionary_encode()
    values = [value_of(value, declared.kind, decimal_comma=False) for value in encoded.dictionary.to_pylist()]
    return np.append(text_column(values, declared), False)[_indices(encoded)]


def _indices(encoded: pa.DictionaryArray) -> NDArray[np.int32]:
    """Positions in the dictionary; -1 for null."""
    return np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), np.int32)
