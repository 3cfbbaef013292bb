"""The answers to a file: counted and shown in part, and turned into a workbook, one row at a time."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Rows that a page shows; the download has all of them.
SHOWN = 500
WORKBOOK_ROWS = 1_048_575
CELL_CHARACTERS = 32_767
ANSWERED, REFUSED = "answered", "refused"
# As a spreadsheet would write it; a number with leading zeros, or too long for a double, is a name.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})([.,][0-9]+)?([eE][+-]?[0-9]{1,3})?")
_REASON = re.compile(
    r"(?:^|; )(?P<field>[^\s:;]+): found (?P<found>.*?), expected (?P<expected>.*?)(?=; [^\s:;]+: found |$)"
)

csv.field_size_limit(2**24)


@dataclass(frozen=True)
class Reason:
    """What is wrong with one field of a row, in the API's words."""

    field: str
    found: str
    expected: str


@dataclass
class Result:
    """The answers to a file.

    Attributes:
        columns: Headings; the last three are the version's, the status' and the problem's.
        answered: Number of rows with an answer.
        refused: Number of rows without.
        rows: The first rows with their numbers.
        refused_rows: The first refused rows with their numbers.
        reasons: By field: how many rows it had refused.
        examples: By field: the first reason that a row was refused for.
        fault: Why the file could not be read to its end; empty when it was.
    """

    columns: tuple[str, ...] = ()
    answered: int = 0
    refused: int = 0
    rows: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    refused_rows: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Reason] = field(default_factory=dict)
    fault: str = ""

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.answered + self.refused


def read(path: Path, delimiter: str) -> Result:
    """The answers in the CSV file at `path`; a few of the rows stay in memory."""
    found = Result()
    with _rows(path, delimiter) as rows:
        found.columns = tuple(next(rows, ()))
        for number, row in enumerate(rows, 1):
            status, problem = row[-2:]
            if status == "failed":
                found.fault = problem
                break
            if status == REFUSED:
                found.refused += 1
                told = reasons(problem)
                found.reasons.update({reason.field for reason in told} or {""})
                for reason in told or (Reason("", problem, ""),):
                    found.examples.setdefault(reason.field, reason)
                if len(found.refused_rows) < SHOWN:
                    found.refused_rows.append((number, tuple(row)))
            else:
                found.answered += 1
            if len(found.rows) < SHOWN:
                found.rows.append((number, tuple(row)))
    return found


def reasons(problem: str) -> tuple[Reason, ...]:
    """The parts of a row's problem; none where it is about the row as a whole."""
    return tuple(
        Reason(each["field"], each["found"].removeprefix('"').removesuffix('"'), each["expected"])
        for each in _REASON.finditer(problem)
    )


def write_workbook(path: Path, delimiter: str, target: Path) -> None:
    """Writes the CSV file at `path` as a workbook to `target`, in constant memory."""
    import xlsxwriter

    plain = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    scratch = target.with_suffix(".part")
    book = xlsxwriter.Workbook(str(scratch), {"constant_memory": True, "tmpdir": str(target.parent), **plain})
    sheet = book.add_worksheet("predictions")
    number, text = sheet.write_number, sheet.write_string
    with _rows(path, delimiter) as rows:
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                if not cell:
                    continue
                if at and _NUMBER.fullmatch(cell) and ("," not in cell or delimiter == ";"):
                    number(at, column, float(cell.replace(",", ".")))
                else:
                    text(at, column, cell[:CELL_CHARACTERS])
    book.close()
    scratch.rename(target)


def template(names: Sequence[str], example: dict[str, object]) -> str:
    """A CSV file with the headings of `names` and one row."""
    cells = ["" if example.get(name) is None else str(example[name]) for name in names]
    return f"{','.join(names)}\n{','.join(cells)}\n"


@contextmanager
def _rows(path: Path, delimiter: str) -> Iterator[Iterator[list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield csv.reader(file, delimiter=delimiter)
