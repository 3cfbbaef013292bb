"""Files as they are opened: sheets, headings, cells and encodings, without a table to import them into."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from sigap.data.files import FileTable, read_file
from sigap.errors import FileError


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def rows(table: FileTable) -> list[dict[str, Any]]:
    return [row for part in table.parts() for row in part.frame.to_dict("records")]


TITLE = [["Figures of the year"], [], ["name", "price"], ["a", 1.5]]


def test_of_a_workbook_the_first_sheet_that_holds_something_is_read(tmp_path: Path) -> None:
    path = workbook(tmp_path / "two.xlsx", cover=[], figures=TITLE, others=[["name", "price"], ["b", 2]])
    table = read_file(path)
    assert (table.kind, table.headings) == ("sheet 'figures'", ("name", "price"))
    assert rows(table) == [{"name": "a", "price": "1.5"}]
    assert rows(read_file(path, "others")) == [{"name": "b", "price": "2"}]
    with pytest.raises(FileError, match="no sheet 'cars'") as caught:
        read_file(path, "cars")
    assert caught.value.remedy == "It has: cover, figures, others."
    for sheet in ("", "cover"):
        with pytest.raises(FileError, match="is empty"):
            read_file(workbook(tmp_path / "none.xlsx", cover=[]), sheet)


def test_a_workbook_without_headings_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No row of headings was found"):
        read_file(workbook(tmp_path / "bare.xlsx", figures=[[1, 2, 3], [4, 5, 6]]))


def test_cells_become_texts_as_a_person_reads_them(tmp_path: Path) -> None:
    cells = [True, 12.0, 1.25, dt.datetime(2025, 1, 2, 3, 4), "", 1e20]
    path = workbook(tmp_path / "cells.xlsx", all=[["yes", "whole", "part", "day", "none", "huge"], cells, [None] * 6])
    (row,) = rows(read_file(path))
    assert (row["yes"], row["whole"], row["part"]) == ("true", "12", "1.25")
    assert row["day"] == "2025-01-02T03:04:00"
    assert row["none"] is None or row["none"] != row["none"]
    assert row["huge"] == "1e+20"


@pytest.mark.parametrize(
    ("content", "encoding", "found"),
    [
        ("name,price\nJosé,1\n".encode(), "utf-8", "José"),
        ("name,price\nJosé,1\n".encode("utf-16"), "utf-16", "José"),
        ("name,price\nJosé,1\n".encode("cp1252"), "cp1252", "José"),
        (b"name,price\n\x81\xe9,1\n", "latin-1", "\x81é"),
    ],
)
def test_a_text_is_read_in_the_encoding_it_can_be_in(content: bytes, encoding: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    table = read_file(path)
    assert encoding in table.kind
    assert rows(table)[0] == {"name": found, "price": "1"}


def test_a_last_line_that_is_broken_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("name,price\na,1,2\n")
    (part,) = list(read_file(path).parts())
    assert part.frame.empty
    assert len(part.broken) == 1
