"""A file's columns under their declared names, as clean texts in the declared spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sigap.catalog import Declaration, Kind
from sigap.data import tables
from sigap.data.contract import Word
from sigap.data.files import FileTable, Part
from sigap.data.mapping import Headings, check_complete, importable, map_headings
from sigap.data.repair import FIRST_WORD, TEXT, Commas, cleaned, respelt
from sigap.errors import FileError

_SHOWN = 8


@dataclass(frozen=True)
class Options:
    """How a file is to be understood.

    Attributes:
        mapping: Heading by declared name, where they differ.
        values: One value for all rows, by declared name.
        units: What a column's numbers are multiplied by, by declared name.
        accept_near: Take headings that look like a declared name for it.
        trusted: Declared names whose numbers are not compared with the range's unit or with other figures.
        number_rows: Make the key of the row's number, where files have none.
        sheet: Which sheet of a workbook.
        dry_run: Do everything and then undo it.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    accept_near: bool = False
    trusted: tuple[str, ...] = ()
    number_rows: bool = False
    sheet: str = ""
    dry_run: bool = False


class Understanding:
    """What a file's cells mean, after all of them were looked at once.

    Args:
        declared: Whose table they are for.
        file: The file.
        options: What its owner says of it.
        seen: Called with the number of rows looked at so far.

    Attributes:
        headings: Which heading stands for which declared name.
        words: What is declared of each column that the rows give, in the declaration's order.
        rows: Rows in the file, without those that `Part.broken` tells.
        mock_said: Rows whose column `origin`, where the model reads none, says `mock`: such as an export of mock rows.

    Raises:
        FileError: The columns don't fit, or there are no rows.
    """

    def __init__(
        self, declared: Declaration, file: FileTable, options: Options, seen: Callable[[int], None] = lambda _: None
    ) -> None:
        self._declared = declared
        self._options = options
        self.headings = _headings(declared, file, options)
        self.words = tuple(
            word
            for word in importable(declared)
            if word.name in {*options.values, *self.headings.found} or self._numbered(word.name)
        )
        numbers = [word.name for word in self.words if word.kind in (Kind.NUMBER, Kind.INTEGER)]
        self._commas = {name: Commas(semicolons=file.semicolons) for name in numbers}
        self._respelt: dict[str, int] = {}
        self._spellings: dict[str, set[str]] = {}
        self.rows = self.mock_said = 0
        self._origins = [each for each in self.headings.unused if each.strip().lower() == "origin"]
        for part in file.parts():
            self._look(part)
            self.rows += len(part.frame)
            seen(self.rows)
        if not self.rows:
            raise FileError(f"The file {file.path} has headings but no rows.", remedy="Check the right file was given.")

    def texts(self, part: Part) -> pd.DataFrame:
        """Some rows: a column of texts for each declared name that the file or its owner gives."""
        frame = pd.DataFrame(index=part.frame.index)
        for word in self.words:
            cells = respelt(word, cleaned(self._raw(word, part)))
            frame[word.name] = self._commas[word.name].plain(cells) if word.name in self._commas else cells
        return frame

    def notes(self) -> list[str]:
        """What was written otherwise than declared, and not just in other letters' case, for people."""
        notes = []
        for name, pairs in self._spellings.items():
            shown = ", ".join(sorted(pairs)[:_SHOWN]) + (", …" if len(pairs) > _SHOWN else "")
            notes.append(f"{name} is respelt in {self._respelt[name]} rows: {shown}")
        return notes

    def _numbered(self, name: str) -> bool:
        return self._options.number_rows and name in self._declared.source.key and name not in self.headings.found

    def _raw(self, word: Word, part: Part) -> pd.Series[Any]:
        index = part.frame.index
        if word.name in self._options.values:
            return pd.Series(self._options.values[word.name], index=index)
        if self._numbered(word.name):
            return pd.Series(range(part.before + 1, part.before + 1 + len(index)), index=index).astype(TEXT)
        return part.frame[self.headings.found[word.name]]

    def _look(self, part: Part) -> None:
        for heading in self._origins:
            self.mock_said += int((cleaned(part.frame[heading]).str.lower() == "mock").sum())
        for word in self.words:
            if word.name in self._commas:
                self._commas[word.name].see(self._raw(word, part))
            elif word.kind is Kind.CATEGORY and word.name in self.headings.found:
                self._look_at_spellings(word, part.frame[self.headings.found[word.name]])

    def _look_at_spellings(self, word: Word, cells: pd.Series[Any]) -> None:
        # Each text once: a category has few.
        often = cells.value_counts()
        raw = cleaned(pd.Series(often.index, dtype=TEXT))
        often = pd.Series(often.to_numpy(), index=raw.index)[raw.notna()]
        raw = raw.dropna()
        first = raw.str.split(n=1).str[0] if word.name in FIRST_WORD else raw
        spelt = respelt(word, raw)
        small = spelt.str.lower()
        other = (first.str.lower() != small) & (raw.str.lower() != small)
        if other.any():
            self._respelt[word.name] = self._respelt.get(word.name, 0) + int(often[other].sum())
            pairs = self._spellings.setdefault(word.name, set())
            pairs |= {f"{one} → {two}" for one, two in zip(first[other].str.lower(), spelt[other], strict=True)}


def _headings(declared: Declaration, file: FileTable, options: Options) -> Headings:
    names = list(file.headings)
    constants = tables.constants(declared)
    mapping = map_headings(declared, names, options.mapping, accept_near=options.accept_near)
    words = [word.name for word in importable(declared)]
    for name in (*options.values, *options.units, *options.trusted):
        if name not in words and name not in constants:
            raise FileError(
                f"{declared.source.table} has no column {name!r}.", remedy=f"It has: {', '.join([*words, *constants])}."
            )
    known = {*options.values, *tables.derived(declared, mapping.found.keys() | options.values.keys())}
    if options.number_rows:
        known |= set(declared.source.key)
    check_complete(declared, mapping, known, file.path, names)
    tables.refuse_finer(declared, mapping)
    return mapping
