"""Many rows at once: values by column, checked by numpy where they are surely right and by the Validator elsewhere.

The rules have one home, the Validator. What is decided here is only which rows need not be asked about; a property
test proves that both agree.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.decode import Doubled
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import Validator, refused
from sigap.catalog import Column, Declaration, Feature, Kind

NUMBERS = (Kind.NUMBER, Kind.INTEGER)
# Above it, a double does not hold every whole number: such values are left to the Validator.
EXACT = 2.0**53
Fields = Callable[[int], Any]
Validate = Callable[[dict[str, Any], Sequence[str]], dict[str, Any]]


class Columns:
    """Validated features of `size` rows.

    Attributes:
        numbers: By number: float64 [size], NaN where it is null.
        codes: By category: int32 [size], the position in the declared categories, -1 where it is null.
    """

    def __init__(self, declaration: Declaration, size: int) -> None:
        self.declaration = declaration
        self.size = size
        self.numbers: dict[str, NDArray[np.float64]] = {}
        self.codes: dict[str, NDArray[np.int32]] = {}
        for feature in declaration.features:
            if feature.categories:
                self.codes[feature.name] = np.full(size, -1, np.int32)
            else:
                self.numbers[feature.name] = np.full(size, np.nan)

    @classmethod
    def of(cls, declaration: Declaration, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """The columns of validated rows."""
        columns = cls(declaration, len(rows))
        for position, values in enumerate(rows):
            columns.put(position, values)
        return columns

    def put(self, position: int, values: Mapping[str, Any]) -> None:
        """Sets one row to validated values."""
        for name, numbers in self.numbers.items():
            value = values.get(name)
            numbers[position] = np.nan if value is None else value
        for name, codes in self.codes.items():
            value = values.get(name)
            codes[position] = -1 if value is None else self.declaration.feature(name).categories.index(value)

    def values(self, position: int) -> dict[str, Any]:
        """One row as the Validator gives it, features only."""
        found: dict[str, Any] = {}
        for feature in self.declaration.features:
            name = feature.name
            if feature.categories:
                code = self.codes[name][position]
                found[name] = None if code < 0 else feature.categories[code]
                continue
            number = float(self.numbers[name][position])
            whole = feature.kind is Kind.INTEGER
            found[name] = None if number != number else int(number) if whole else number
        return found

    def null(self, name: str) -> NDArray[np.bool_]:
        """Where a feature is null, bool [size]."""
        return np.isnan(self.numbers[name]) if name in self.numbers else self.codes[name] < 0

    def only(self, positions: NDArray[np.intp]) -> Columns:
        """The rows at `positions`."""
        if len(positions) == self.size:
            return self
        chosen = Columns(self.declaration, 0)
        chosen.size = len(positions)
        chosen.numbers = {name: numbers[positions] for name, numbers in self.numbers.items()}
        chosen.codes = {name: codes[positions] for name, codes in self.codes.items()}
        return chosen


@dataclass(frozen=True)
class Checked:
    """Rows after their validation.

    Attributes:
        size: Number of rows that were checked.
        columns: The accepted rows.
        accepted: Their positions among all rows, ascending.
        refused: What is wrong with each of the others, by position.
    """

    size: int
    columns: Columns
    accepted: NDArray[np.intp]
    refused: dict[int, tuple[FieldProblem, ...]]


def settle(
    columns: Columns, unsure: NDArray[np.bool_], fields: Fields, validator: Validate, needed: Sequence[str]
) -> Checked:
    """Asks the Validator about the rows that are not surely right.

    Args:
        columns: All rows; those that are `unsure` may hold anything.
        unsure: Which rows to ask about, bool [size].
        fields: The fields of the row at a position, as a request would bring them.
        validator: Of the model.
        needed: Features that the served version can't do without.
    """
    for name in needed:
        unsure = unsure | columns.null(name)
    faults: dict[int, tuple[FieldProblem, ...]] = {}
    for position in np.flatnonzero(unsure).tolist():
        try:
            columns.put(position, validator(as_object(fields(position)), needed))
        except RequestError as error:
            faults[position] = error.errors
    kept = np.ones(columns.size, bool)
    kept[list(faults)] = False
    accepted = np.flatnonzero(kept)
    return Checked(columns.size, columns.only(accepted), accepted, faults)


def as_object(given: Any) -> dict[str, Any]:
    """A decoded row, known to be an object.

    Raises:
        RequestError: 422, it is something else, or a field stands in it twice.
    """
    if isinstance(given, Doubled):
        raise refused(
            [FieldProblem(field=given.field, value=None, expected="every field once", remedy="Send it once.")]
        )
    if not isinstance(given, dict):
        expected, remedy = "one JSON object", 'Send {"field": value, …}.'
        raise refused([FieldProblem(field="", value=shown(given), expected=expected, remedy=remedy)])
    return given


def check_rows(declaration: Declaration, rows: Sequence[Any], validator: Validator, needed: Sequence[str]) -> Checked:
    """Checks decoded JSON rows of a model that answers rows."""
    columns = Columns(declaration, len(rows))
    unsure = np.zeros(len(rows), bool)
    names = (*declaration.request_columns, *declaration.feature_names)
    try:
        taken = list(zip(*map(operator.itemgetter(*names), rows), strict=True))
        plain = (type(row) is dict and len(row) == len(names) for row in rows)
        unsure |= ~np.fromiter(plain, bool, len(rows))
    except (KeyError, TypeError, IndexError):
        unsure[:] = True
    else:
        for name, values in zip(names, taken, strict=True):
            _take(declaration, name, values, columns, unsure)
    return settle(columns, unsure, rows.__getitem__, validator, needed)


def _take(
    declaration: Declaration, name: str, values: Sequence[Any], columns: Columns, unsure: NDArray[np.bool_]
) -> None:
    if name in declaration.request_columns:
        column = declaration.column(name)
        if column.kind in NUMBERS:
            number_column(values, column, unsure)
        else:
            unsure |= ~text_column(values, column)
    elif name in columns.numbers:
        columns.numbers[name] = number_column(values, declaration.feature(name), unsure)
    else:
        columns.codes[name] = category_column(values, declaration.feature(name), unsure)


def number_column(values: Sequence[Any], declared: Column | Feature, unsure: NDArray[np.bool_]) -> NDArray[np.float64]:
    """JSON values as numbers, NaN for null; marks rows that are not surely right in `unsure`."""
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        plain = np.fromiter((type(value) in (int, float) for value in values), bool, len(values))
        null = np.fromiter((value is None for value in values), bool, len(values))
        unsure |= ~plain & ~null
        values = [value if fits else 0.0 for value, fits in zip(values, plain, strict=True)]
    else:
        null = np.zeros(len(values), bool)
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:  # a whole number beyond a double
        unsure[:] = True
        return np.full(len(values), np.nan)
    unsure |= ~null & ~within(numbers, declared)
    if isinstance(declared, Column) and declared.required:
        unsure |= null
    numbers[null] = np.nan
    return numbers


def within(numbers: NDArray[np.float64], declared: Column | Feature) -> NDArray[np.bool_]:
    """Where numbers are surely of the declared kind and in its range, bool [n]; NaN never is."""
    fits = np.abs(numbers) < EXACT
    if declared.minimum is not None:
        fits &= numbers >= declared.minimum
    if declared.maximum is not None:
        fits &= numbers <= declared.maximum
    if declared.kind is Kind.INTEGER:
        with np.errstate(invalid="ignore"):
            fits &= np.floor(numbers) == numbers
    return fits


def text_column(values: Sequence[Any], declared: Column) -> NDArray[np.bool_]:
    """Where texts are surely of the declared pattern, bool [n]."""
    known: dict[Any, bool] = {}
    pattern = re.compile(declared.pattern or r"[\s\S]*", re.ASCII)

    def fits(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if value not in known:
            known[value] = value.isascii() and pattern.fullmatch(value) is not None
        return known[value]

    return np.fromiter((fits(value) for value in values), bool, len(values))


def category_column(values: Sequence[Any], declared: Feature, unsure: NDArray[np.bool_]) -> NDArray[np.int32]:
    """JSON values as positions in the declared categories, -1 for null; marks what is no category in `unsure`."""
    known = CategoryCodes(declared)
    codes = np.fromiter(map(known, values), np.int32, len(values))
    unsure |= codes == UNKNOWN
    return codes


UNKNOWN = -2


class CategoryCodes:
    """The position of a category in any case of letters; -1 of null, `UNKNOWN` of anything else."""

    def __init__(self, declared: Feature) -> None:
        self._folded = {category.casefold(): code for code, category in enumerate(declared.categories)}
        self._seen: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        """The position."""
        if value is None:
            return -1
        if not isinstance(value, str):
            return UNKNOWN
        code = self._seen.get(value)
        if code is None:
            code = self._folded.get(value.strip().casefold(), UNKNOWN)
            if len(self._seen) < 1000:
                self._seen[value] = code
        return code
