"""The forms in which a file's answer is sent: CSV, JSON and XLSX, each in blocks of bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from backend.columns import Checked, Columns
from backend.files.faults import unusable
from backend.files.job import Answered, Block, Rows, Tally, outcomes
from backend.files.render import (
    PROBLEM,
    STATUS,
    answer_arrays,
    answer_names,
    csv_bytes,
    csv_line,
    harmless,
    problem_text,
    safe_texts,
)
from backend.served import Served
from backend.tasks.predictor import RowPredictor, Words

BOM = b"\xef\xbb\xbf"
XLSX_ROWS = 1_048_575
XLSX_TEXT = 32_767
READ_BYTES = 2**18


class Format(StrEnum):
    """How the answer is written."""

    CSV = "csv"
    JSON = "json"
    XLSX = "xlsx"


MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSON: "application/json",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class Writer(Protocol):
    """Writes a file's answer."""

    def write(self, block: Block, checked: Checked, predictor: RowPredictor) -> tuple[Any, Counter[str]]:
        """A block's content, made in any thread, and its outcomes."""

    def stream(self, blocks: Iterator[Answered], tally: Tally) -> Iterator[bytes]:
        """The answer's bytes; `tally` is complete when the last has come."""

    def broken(self, told: str) -> bytes:
        """How an answer ends whose file could not be read on after its beginning was sent."""


def writer(form: Format, rows: Rows, served: Served, scratch: Path) -> Writer:
    """What writes the answer in this form; `scratch` is a file that it may fill."""
    if form is Format.JSON:
        return JsonWriter(rows, served)
    return CsvWriter(rows, served) if form is Format.CSV else XlsxWriter(rows, served, scratch)


def _answer_columns(served: Served, predictor: RowPredictor) -> list[str]:
    example = served.validator(dict(served.manifest.example.request), predictor.needed)
    return list(predictor.flat(Columns.of(served.declaration, [example])))


@dataclass
class Table:
    """What the answers as tables share: the input's columns first, then the answer's, then status and problem."""

    rows: Rows
    served: Served

    def __post_init__(self) -> None:
        self.answers = _answer_columns(self.served, self.served.predictor)  # type: ignore[arg-type]
        names = self.rows.plan.names
        self.names = [*names, *answer_names(names, [*self.answers, "model_version", STATUS, PROBLEM])]

    def arrays(
        self, block: Block, checked: Checked, predictor: RowPredictor, *, decimal_comma: bool
    ) -> tuple[list[pa.Array], Counter[str]]:
        """The block's columns as texts, in the order of `names`."""
        flat = predictor.flat(checked.columns) if len(checked.accepted) else {}
        own = [safe_texts(block.table.column(at).combine_chunks()) for at in range(block.table.num_columns)]
        told = answer_arrays(checked, flat, self.served.model_version, decimal_comma=decimal_comma)
        blank = pa.array([""], pa.string()).take(pa.array([0] * checked.size)) if not flat else None
        return [*own, *(told.get(name, blank) for name in self.answers), *list(told.values())[-3:]], outcomes(
            predictor, flat
        )


class CsvWriter(Table):
    """CSV in the input's dialect: its delimiter, its decimal comma, its byte order mark; always UTF-8."""

    def write(self, block: Block, checked: Checked, predictor: RowPredictor) -> tuple[Any, Counter[str]]:
        """See `Writer.write`."""
        arrays, found = self.arrays(block, checked, predictor, decimal_comma=self.rows.decimal_comma)
        return csv_bytes(arrays, self.rows.delimiter), found

    def stream(self, blocks: Iterator[Answered], tally: Tally) -> Iterator[bytes]:
        """See `Writer.stream`."""
        yield (BOM if self.rows.bom else b"") + csv_line(self.names, self.rows.delimiter)
        for answered in blocks:
            tally.add(answered.checked, answered.outcomes)
            yield bytes(answered.content)

    def broken(self, told: str) -> bytes:
        """See `Writer.broken`: a last row that says so."""
        return csv_line([*[""] * (len(self.names) - 2), "failed", told], self.rows.delimiter)


class JsonWriter:
    """One entry a row as a batch's answer has it, and beside it the input's cells."""

    def __init__(self, rows: Rows, served: Served) -> None:
        self._names = rows.plan.names
        self._served = served

    def write(self, block: Block, checked: Checked, predictor: RowPredictor) -> tuple[Any, Counter[str]]:
        """See `Writer.write`."""
        parts = predictor.parts(checked.columns) if len(checked.accepted) else []
        by_position = dict(zip(checked.accepted.tolist(), parts, strict=True))
        cells = zip(*(column.to_pylist() for column in block.table.columns), strict=True)
        entries = []
        for position, row in enumerate(cells):
            head = {
                "row": block.first + position,
                "status": "answered",
                "input": dict(zip(self._names, row, strict=True)),
            }
            if position in by_position:
                entries.append({**head, **by_position[position]})
            else:
                errors = [error.model_dump() for error in checked.refused[position]]
                entries.append({**head, "status": "refused", "errors": errors})
        name = predictor.outcome
        found = Counter(str(part[name]) if name else "" for part in parts)
        return msgspec.json.encode(entries)[1:-1], found

    def stream(self, blocks: Iterator[Answered], tally: Tally) -> Iterator[bytes]:
        """See `Writer.stream`."""
        shared = msgspec.json.encode(self._served.predictor.constant)
        before = shared[:-1] + b',"predictions":['
        for answered in blocks:
            tally.add(answered.checked, answered.outcomes)
            yield before + answered.content
            before = b","
        yield b'],"rows":%d,"answered":%d,"refused":%d,"fault":null}' % (tally.rows, tally.answered, tally.refused)

    def broken(self, told: str) -> bytes:
        """See `Writer.broken`."""
        return b'],"fault":' + msgspec.json.encode(told) + b"}"


class XlsxWriter(Table):
    """A workbook, written row by row to a file and sent when it is whole."""

    def __init__(self, rows: Rows, served: Served, scratch: Path) -> None:
        super().__init__(rows, served)
        self._scratch = scratch
        declaration = served.declaration
        numbers = {feature.name for feature in declaration.features if not feature.categories}
        own = {at for name, at in rows.plan.fields.items() if name in numbers}
        first = len(rows.plan.names)
        example = Columns.of(declaration, [served.validator(dict(served.manifest.example.request), ())])
        flat = list(served.predictor.flat(example).values())  # type: ignore[attr-defined]
        self._numeric = own | {
            first + at for at, column in enumerate(flat) if not isinstance(column, Words) and column.dtype != bool
        }

    def write(self, block: Block, checked: Checked, predictor: RowPredictor) -> tuple[Any, Counter[str]]:
        """See `Writer.write`."""
        arrays, found = self.arrays(block, checked, predictor, decimal_comma=False)
        return [array.to_pylist() for array in arrays], found

    def stream(self, blocks: Iterator[Answered], tally: Tally) -> Iterator[bytes]:
        """See `Writer.stream`.

        Raises:
            RequestError: 422, a sheet holds fewer rows.
        """
        import xlsxwriter

        options = {"constant_memory": True, "tmpdir": str(self._scratch.parent), "in_memory": False}
        plain = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
        book = xlsxwriter.Workbook(str(self._scratch), {**options, **plain})
        sheet = book.add_worksheet("predictions")
        try:
            for at, name in enumerate(self.names):
                sheet.write_string(0, at, harmless(name)[:XLSX_TEXT])
            for answered in blocks:
                tally.add(answered.checked, answered.outcomes)
                _check_rows(tally.rows)
                self._rows(sheet.write_number, sheet.write_string, answered)
                yield b""
        except BaseException:
            # Nobody wants the workbook: closing it would write it. Its rows lie in the job's own folder.
            sheet.row_data_fh.close()
            raise
        book.close()
        with self._scratch.open("rb") as file:
            while part := file.read(READ_BYTES):
                yield part

    def _rows(self, number: Callable[..., Any], text: Callable[..., Any], answered: Answered) -> None:
        for position, cells in enumerate(zip(*answered.content, strict=True)):
            row = answered.block.first + position
            for at, cell in enumerate(cells):
                if not cell:
                    continue
                if at in self._numeric:
                    try:
                        number(row, at, float(cell))
                        continue
                    except (ValueError, TypeError):
                        pass  # refused, or with a decimal comma: as it came
                text(row, at, cell[:XLSX_TEXT])

    def broken(self, told: str) -> bytes:
        """See `Writer.broken`: a workbook is not sent before it is whole."""
        raise NotImplementedError(told)


def _check_rows(rows: int) -> None:
    if rows > XLSX_ROWS:
        raise unusable(f"A sheet holds {XLSX_ROWS} rows at most.", "Ask for CSV: ?format=csv.")


__all__ = ["MEDIA_TYPES", "Format", "Writer", "problem_text", "writer"]
