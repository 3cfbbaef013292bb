"""Answers to a file's rows as a table of texts: CSV, safe for the spreadsheets that open it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from backend.columns import Checked
from backend.problems import FieldProblem
from backend.tasks.predictor import Flat, Words

STATUS, PROBLEM = "status", "problem"
# A spreadsheet takes such a text for a formula (OWASP, CSV injection); a number may begin so.
_FORMULA = r"^[\s\x00]*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|^[\t\r]"
_NUMBER = r"^[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?$"
_FORMULA_TEXT = re.compile(r"^[\s\0]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|^[\t\r]")
_NUMBER_TEXT = re.compile(_NUMBER)


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA_TEXT.search(text) and not _NUMBER_TEXT.match(text) else text


def answer_names(names: Sequence[str], answers: Sequence[str]) -> list[str]:
    """The answer's headings; one that the file has already gets `predicted_` before it."""
    taken = {name.strip().casefold() for name in names}
    found = []
    for name in answers:
        free = name
        while free.casefold() in taken:
            free = f"predicted_{free}"
        taken.add(free.casefold())
        found.append(free)
    return found


def problem_text(errors: Sequence[FieldProblem]) -> str:
    """What is wrong with a row, in one cell."""
    return "; ".join(_one_problem(error) for error in errors)


def _one_problem(error: FieldProblem) -> str:
    found = "nothing" if error.value is None else json.dumps(error.value, ensure_ascii=False)
    where = f"{error.field}: " if error.field else ""
    return f"{where}found {found}, expected {error.expected}. {error.remedy}"


def answer_arrays(
    checked: Checked, flat: Mapping[str, Flat], version: str, *, decimal_comma: bool = False
) -> dict[str, pa.Array]:
    """The answer's columns as texts for all rows; empty where a row is refused."""
    place = _places(checked)
    arrays = {name: _spread(_text_array(column, decimal_comma=decimal_comma), place) for name, column in flat.items()}
    problems = {at: harmless(problem_text(errors)) for at, errors in checked.refused.items()}
    status = np.zeros(checked.size, np.int32)
    status[list(problems)] = 1
    arrays["model_version"] = _words(np.zeros(checked.size, np.int32), [version])
    arrays[STATUS] = _words(status, ["answered", "refused"])
    numbers = np.zeros(checked.size, np.int32)
    numbers[list(problems)] = np.arange(1, len(problems) + 1)
    arrays[PROBLEM] = _words(numbers, ["", *problems.values()])
    return arrays


def _places(checked: Checked) -> pa.Array | None:
    """For every row its place among the accepted ones; None when all are."""
    if len(checked.accepted) == checked.size:
        return None
    place = np.full(checked.size, -1, np.int64)
    place[checked.accepted] = np.arange(len(checked.accepted))
    return pa.array(place, mask=place < 0)


def _spread(column: pa.Array, place: pa.Array | None) -> pa.Array:
    return column if place is None else pc.fill_null(column.take(place), "")


def _words(codes: NDArray[Any], texts: Sequence[str]) -> pa.Array:
    # By taking, not by a dictionary: two of the texts may be the same.
    return pa.array(list(texts), pa.string()).take(pa.array(np.asarray(codes, np.int32)))


def _text_array(column: Flat, *, decimal_comma: bool) -> pa.Array:
    if isinstance(column, Words):
        return _words(column.codes, [harmless(text) for text in column.texts])
    if column.dtype == np.float64:
        texts = pa.array(column, mask=np.isnan(column)).cast(pa.string())
        return pc.fill_null(pc.replace_substring(texts, ".", ",") if decimal_comma else texts, "")
    return pa.array(column).cast(pa.string())


def csv_line(cells: Sequence[str], delimiter: str) -> bytes:
    """One line of plain texts, such as the header."""
    quoted = [_quoted_text(harmless(cell), delimiter) for cell in cells]
    return (delimiter.join(quoted) + "\n").encode()


def _quoted_text(text: str, delimiter: str) -> str:
    if any(sign in text for sign in (delimiter, '"', "\n", "\r")) or text != text.strip():
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text


def csv_bytes(arrays: Sequence[pa.Array], delimiter: str) -> pa.Buffer:
    """The rows of text columns as CSV."""
    cells = [_cells(array, delimiter) for array in arrays]
    ended = (
        pc.binary_join_element_wise(*cells[:-1], _ended(cells[-1]), delimiter) if len(cells) > 1 else _ended(cells[0])
    )
    # The texts of an array lie one behind the other: that is the file.
    _, offsets, content = ended.buffers()
    starts = np.frombuffer(offsets, np.int32)
    first, last = int(starts[ended.offset]), int(starts[ended.offset + len(ended)])
    return content.slice(first, last - first) if content is not None else pa.py_buffer(b"")


def _ended(array: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(array, "", "\n")


def _cells(array: pa.Array, delimiter: str) -> pa.Array:
    if not pc.any(pc.match_substring_regex(array, f'[{re.escape(delimiter)}"\\n\\r]|^\\s|\\s$')).as_py():
        return array
    odd = pc.match_substring_regex(array, f'[{re.escape(delimiter)}"\\n\\r]|^\\s|\\s$')
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(array, '"', '""'), '"', "")
    return pc.if_else(odd, quoted, array)


def safe_texts(column: pa.Array) -> pa.Array:
    """A column of the input as it is written back: texts, formulas made harmless, empty for null."""
    if not pa.types.is_string(column.type):
        texts = column.cast(pa.string())
        return pc.fill_null(texts, "")
    if column.null_count:
        column = pc.fill_null(column, "")
    encoded = column.dictionary_encode()
    few = len(encoded.dictionary) * 4 < len(column)
    looked = encoded.dictionary if few else column
    risky = pc.match_substring_regex(looked, _FORMULA)
    if pc.any(risky).as_py():
        risky = pc.and_not(risky, pc.match_substring_regex(looked, _NUMBER))
        looked = pc.if_else(risky, pc.binary_join_element_wise("'", looked, ""), looked)
    return looked.take(encoded.indices) if few else looked
