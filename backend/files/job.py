"""The work on one file: rows come in blocks, are checked, answered and written, some blocks at once."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from backend.columns import Checked
from backend.files.arrow import without_pandas
from backend.files.cells import Cells
from backend.files.faults import as_told, too_large, unusable
from backend.files.headers import Plan, known_headings, plan
from backend.files.helper import Reading
from backend.files.kinds import FileKind
from backend.files.reader import Limits, ReadingError
from backend.files.text import TextFile
from backend.served import Served
from backend.tasks.predictor import RowPredictor, Words
from sigap.catalog import Declaration

# Blocks that are worked on ahead of the one that is sent.
AHEAD = 2
THREAD_NICENESS = 5


@dataclass(frozen=True)
class Block:
    """Some rows of the file.

    Attributes:
        first: Number of its first row, counted from 1.
        table: Their cells, columns called by position.
        faults: What is wrong with whole rows, by position in the block.
    """

    first: int
    table: pa.Table
    faults: dict[int, str] = field(default_factory=dict)


@dataclass
class Rows:
    """The rows of an open file.

    Attributes:
        plan: Which column is which field.
        delimiter: Of a CSV file; a comma for the others.
        decimal_comma: Whether 92,5 is a number.
        bom: Whether it begins with a byte order mark.
        blocks: The rows.
    """

    plan: Plan
    delimiter: str
    decimal_comma: bool
    bom: bool
    blocks: Iterator[Block]


@dataclass
class Sheet:
    """An open file, before anybody asks which of its columns is which field.

    Attributes:
        names: The headings.
        delimiter: Of a CSV file; a comma for the others.
        decimal_comma: Whether 92,5 is a number.
        bom: Whether it begins with a byte order mark.
        tables: The rows below the headings, and what is wrong with whole rows of each.
    """

    names: tuple[str, ...]
    delimiter: str
    decimal_comma: bool
    bom: bool
    tables: Iterator[tuple[pa.Table, dict[int, str]]]


@contextlib.contextmanager
def sheet(path: Path, kind: FileKind, declaration: Declaration, limits: Limits) -> Iterator[Sheet]:
    """The file at `path` with its headings.

    Raises:
        RequestError: 413 or 422, the file can't be used.
    """
    without_pandas()
    if kind is FileKind.CSV:
        text = TextFile(path, known_headings(declaration))
        dialect = text.dialect
        tables = (text.table(piece) for piece in text.pieces())
        yield Sheet(text.names, dialect.delimiter, dialect.decimal_comma, dialect.bom, tables)
        return
    try:
        with contextlib.closing(Reading(path, kind.value, limits)) as reading:
            yield Sheet(reading.names, ",", False, False, ((table, {}) for table in reading.tables()))
    except ReadingError as fault:
        raise as_told(fault.told) from None


@contextlib.contextmanager
def opened(
    path: Path,
    kind: FileKind,
    served: Served,
    limits: Limits,
    most_rows: int,
    columns: Mapping[str, str] | None = None,
) -> Iterator[Rows]:
    """The rows of the file at `path`; `columns` names the headings of fields that the file calls otherwise.

    Raises:
        RequestError: 413 or 422, the file can't be used.
    """
    with sheet(path, kind, served.declaration, limits) as found:
        yield Rows(
            plan(served.declaration, found.names, columns or {}),
            found.delimiter,
            found.decimal_comma,
            found.bom,
            blocks_of(found.tables, most_rows),
        )


def blocks_of(tables: Iterator[tuple[pa.Table, dict[int, str]]], most_rows: int) -> Iterator[Block]:
    """The rows in blocks, without empty ones.

    Raises:
        RequestError: 413, there are more than `most_rows`; 422, there is none.
    """
    rows = 0
    for table, faults in tables:
        whole = _without_empty(table, faults)
        if not whole[0].num_rows:
            continue
        yield Block(rows + 1, *whole)
        rows += whole[0].num_rows
        if rows > most_rows:
            raise too_large(f"The file has more than {most_rows} rows.", "Send it in parts.")
    if not rows:
        raise unusable("The file has a header and no rows.", "Send at least one row.")


def _without_empty(table: pa.Table, faults: dict[int, str]) -> tuple[pa.Table, dict[int, str]]:
    """The table without rows in which every cell is blank, as spreadsheets leave them below their last row."""
    if not table.num_columns:
        return table, faults
    empty = _blank(table.column(0))
    for column in table.columns[1:]:
        if not pa.compute.any(empty).as_py():
            return table, faults
        empty = pa.compute.and_(empty, _blank(column))
    if not pa.compute.any(empty).as_py() or faults:
        return table, faults
    return table.filter(pa.compute.invert(empty)).combine_chunks(), faults


def _blank(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(column.type):
        return column.is_null(nan_is_null=True)
    return pa.compute.fill_null(pa.compute.equal(column, ""), True)


@dataclass
class Tally:
    """How many rows were answered and refused, and of which outcomes."""

    answered: int = 0
    refused: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """All of them."""
        return self.answered + self.refused

    def add(self, checked: Checked, outcomes: Counter[str]) -> None:
        """Adds a block's."""
        self.answered += len(checked.accepted)
        self.refused += len(checked.refused)
        self.outcomes += outcomes


@dataclass(frozen=True)
class Answered:
    """A block with its answers."""

    block: Block
    checked: Checked
    outcomes: Counter[str]
    content: Any


Write = Callable[[Block, Checked, RowPredictor], tuple[Any, Counter[str]]]


def answered(rows: Rows, served: Served, write: Write, threads: Executor, ahead: int = AHEAD) -> Iterator[Answered]:
    """Answers the blocks of a file in their order; some are worked on at once.

    Args:
        rows: Of the file.
        served: The version that answers all of them.
        write: Turns a block and its checked rows into the answer's content, and counts outcomes.
        threads: Where the work is done.
        ahead: How many blocks are worked on at once.
    """
    predictor = cast(RowPredictor, served.predictor)
    cells = Cells(
        served.declaration,
        served.validator,
        predictor.needed,
        rows.plan.fields,
        decimal_comma=rows.decimal_comma,
    )

    def work(block: Block) -> Answered:
        checked = cells.check(block.table, block.faults)
        content, outcomes = write(block, checked, predictor)
        return Answered(block, checked, outcomes, content)

    waiting: deque[Future[Answered]] = deque()
    try:
        for block in rows.blocks:
            waiting.append(threads.submit(work, block))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def outcomes(predictor: RowPredictor, flat: dict[str, Any]) -> Counter[str]:
    """How many predictions there are of each outcome."""
    name = predictor.outcome
    if not flat:
        return Counter()
    if not name:
        return Counter({"": len(next(column for column in flat.values() if not isinstance(column, Words)))})
    column = flat[name]
    if isinstance(column, Words):
        found = Counter(column.codes.tolist())
        return Counter({column.texts[code]: times for code, times in found.items()})
    return Counter(str(value) for value in column.tolist())


def yield_the_processor() -> None:
    """Lets requests go before files: the thread that calls it is served after the others (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, THREAD_NICENESS)
