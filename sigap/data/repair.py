"""How the files of the field write what the declarations call otherwise: spellings, missing values, numbers, names.

What is written here turns a cell into the declared value or leaves it as it is; whether it may stay is the contract's
to say. Both ways of loading use it: the importer in Python, and the loans' ELT in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sigap.catalog import Kind
from sigap.catalog.values import YES_NO
from sigap.data.contract import Word, is_flag

# Several times as fast as Python's own texts.
TEXT = pd.StringDtype("pyarrow")

# Written where there is no value. Zero is not among them: see `sigap.data.plausible`.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a", "tidak ada", "n.a."})

# Other spellings of a category, by the word's name; letters' case never matters.
_SPELLINGS: Mapping[str, Mapping[str, str]] = {
    "CompanyName": {
        "maxda": "mazda",
        "porcshce": "porsche",
        "toyouta": "toyota",
        "vokswagen": "volkswagen",
        "vw": "volkswagen",
        # The published data set's own spelling is the declared one.
        "alfa-romeo": "alfa-romero",
        "alfa": "alfa-romero",
    },
    "Gender": {"m": "Male", "f": "Female", "l": "Male", "p": "Female"},
    "Married": {"y": "Yes", "n": "No", "true": "Yes", "false": "No", "1": "Yes", "0": "No"},
    "Ever_Married": {"y": "Yes", "n": "No", "true": "Yes", "false": "No", "1": "Yes", "0": "No"},
    "Graduated": {"y": "Yes", "n": "No", "true": "Yes", "false": "No", "1": "Yes", "0": "No"},
    "Self_Employed": {"y": "Yes", "n": "No", "true": "Yes", "false": "No", "1": "Yes", "0": "No"},
    "Dependents": {"3": "3+", "4": "3+", "5": "3+", "4+": "3+", "0.0": "0", "1.0": "1", "2.0": "2", "3.0": "3+"},
    "Education": {"not_graduate": "Not Graduate", "non graduate": "Not Graduate", "undergraduate": "Not Graduate"},
    "Property_Area": {"semi-urban": "Semiurban", "semi urban": "Semiurban"},
    "Loan_Status": {"yes": "Y", "no": "N", "approved": "Y", "rejected": "N", "1": "Y", "0": "N", "true": "Y"},
    "doornumber": {"2": "two", "4": "four"},
    "cylindernumber": {"2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "8": "eight", "12": "twelve"},
    "fueltype": {"petrol": "gas", "gasoline": "gas"},
}
# Categories that are the first word of what files write: "toyota corolla".
FIRST_WORD = frozenset({"CompanyName"})

_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_DOT_GROUPS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


def spellings(word: Word) -> dict[str, str]:
    """Declared value by every known spelling in small letters; empty for a word without categories."""
    if word.kind is not Kind.CATEGORY:
        return dict(YES_NO) if is_flag(word) else {}
    declared = {category.lower(): category for category in getattr(word, "categories", ())}
    return {**_SPELLINGS.get(word.name, {}), **declared}


def cleaned(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Texts without spaces around them, and nothing where a file writes that there is nothing."""
    text = cells.astype(TEXT).str.strip()
    return text.mask(text.str.lower().isin(MISSING))


def respelt(word: Word, cells: pd.Series[Any]) -> pd.Series[Any]:
    """Cells in the declared spelling where it is known; others as they are."""
    known = spellings(word)
    if not known:
        return cells
    small = cells.str.lower()
    found = small.map(known).astype(TEXT)
    if word.name in FIRST_WORD:
        found = found.fillna(small.str.split(n=1).str[0].map(known).astype(TEXT))
    return found.fillna(cells)


class Commas:
    """How the commas of a column are meant, decided for all its cells together.

    Args:
        semicolons: Whether the file's cells stand between semicolons, as where people write 3,5: then 1,234 is 1.234.
    """

    def __init__(self, *, semicolons: bool = False) -> None:
        self._semicolons = semicolons
        self._decimal = self._only_decimal = self._only_thousands = self._grouped = False

    def see(self, cells: pd.Series[Any]) -> None:
        """Takes note of some of the cells, as texts."""
        cells = _without_percent(cells[cells.str.contains(",", regex=False).fillna(False)])
        if cells.empty:
            return
        decimal, thousands = cells.str.fullmatch(_DECIMAL_COMMA.pattern), cells.str.fullmatch(_THOUSANDS.pattern)
        self._decimal |= bool(decimal.any())
        self._only_decimal |= bool((decimal & ~thousands).any())
        self._grouped |= bool((decimal & cells.str.contains(".", regex=False)).any())
        self._only_thousands |= bool((thousands & ~decimal).any())

    def plain(self, cells: pd.Series[Any]) -> pd.Series[Any]:
        """Numbers as a program writes them: 3,5 and 1.234,5 and 1,234.5 and 12 % become 3.5, 1234.5, 1234.5 and 12.

        Where some cells can only be the one and others only the other, they stay as they are.
        """
        cells = _without_percent(cells)
        if self._decimal and (self._semicolons or self._only_decimal):
            if self._only_thousands:
                return cells
            plain = cells.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            numbers = cells.str.fullmatch(_DECIMAL_COMMA.pattern)
            if self._grouped:
                # Beside 1.500,00 a 12.000 is twelve thousand.
                numbers |= cells.str.fullmatch(_DOT_GROUPS.pattern)
            return plain.where(numbers.fillna(False), cells)
        if self._decimal or self._only_thousands:
            plain = cells.str.replace(",", "", regex=False)
            return plain.where(cells.str.fullmatch(_THOUSANDS.pattern).fillna(False), cells)
        return cells


def _without_percent(cells: pd.Series[Any]) -> pd.Series[Any]:
    return cells.str.replace(r"\s*%$", "", regex=True) if cells.str.endswith("%").any() else cells


def moments(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Points in time in UTC: ISO 8601 (without zone: UTC), or seconds, milli- or microseconds since 1970; else NaT."""
    digits = cells.str.fullmatch(r"\d{9,17}(\.0+)?").fillna(False)
    parsed = pd.to_datetime(cells.mask(digits), utc=True, errors="coerce", format="ISO8601")
    if digits.any():
        number = pd.to_numeric(cells.where(digits))
        # Seconds have 10 digits until 2286, milliseconds 13, microseconds 16.
        unit = number.map(lambda value: 1e6 if value < 1e11 else 1e3 if value < 1e14 else 1.0)
        micros = (number * unit).astype("Float64").round().astype("Int64")
        parsed = parsed.fillna(pd.to_datetime(micros, unit="us", utc=True))
    return parsed.astype("datetime64[us, UTC]")


def plain_name(name: str) -> str:
    """A place's name for comparing: letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
