"""What reads workbooks and Parquet, asked in this process: what it sends for odd files, and why it refuses others.

The API has it in a process that ends as soon as the answer is known; here nothing limits it but what it is told.
"""

from __future__ import annotations

import io
import json
import struct
import threading
import zipfile
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from backend.files import archive, reader
from backend.files.archive import ArchiveError, inspect
from backend.files.reader import ROWS, Limits
from tests.backend.files.test_hostile import BILLION_LAUGHS, SHEET
from tests.backend.files.workbooks import changed, pq, xls, xlsx

CELLS = [{"name": "a", "value": 1.5}, {"name": "b", "value": 2.0}]
AMPLE = Limits(2**31, 2**28, 1000)
RELATION = b'<Relationships><Relationship Type="http://x/relationships/externalLink"/></Relationships>'


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Any], Any]]:
    """Has bytes read: the headings and tables that were sent, and the fault or None."""
    monkeypatch.setattr(reader, "_limit", lambda _memory: None)

    def asked(content: bytes, kind: str, limits: Limits = AMPLE) -> tuple[list[Any], Any]:
        path = tmp_path / "file"
        path.write_bytes(content)
        ours, theirs = Pipe(duplex=False)
        with ours, theirs:
            # Beside, as in a process of its own: a pipe holds only so much that nobody has taken.
            threading.Thread(target=reader.read, args=(str(path), kind, limits, theirs), daemon=True).start()
            sent: list[Any] = []
            while True:
                message = ours.recv_bytes()
                if message == b"=":
                    return sent, None
                if message[:1] == b"!":
                    return sent, json.loads(message[1:])
                if sent:
                    with pa.ipc.open_stream(pa.py_buffer(message[1:])) as stream:
                        sent.append(stream.read_all())
                else:
                    sent.append(json.loads(message[1:]))

    return asked


Ask = Callable[..., tuple[list[Any], Any]]


def book(*rows: list[Any]) -> bytes:
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    content = io.BytesIO()
    made.save(content)
    return content.getvalue()


@pytest.mark.parametrize(("make", "kind"), [(xlsx, "XLSX"), (xls, "XLS"), (pq, "Parquet")])
def test_every_kind_is_sent_as_headings_and_columns(ask: Ask, make: Any, kind: str) -> None:
    (names, table), fault = ask(make(CELLS), kind)
    assert fault is None
    assert names == ["name", "value"]
    assert table.to_pydict() == {"0": ["a", "b"], "1": [1.5, 2.0]}


def test_blank_rows_before_the_headings_are_passed_over_and_headings_need_not_be_text(ask: Ask) -> None:
    (names, table), fault = ask(book([None, None, None], ["name", 2019, True], ["a", 1, 2]), "XLSX")
    assert fault is None
    assert names == ["name", "2019", "TRUE"]
    assert table.num_rows == 1


def test_a_column_is_of_numbers_where_only_gaps_stand_between_them(ask: Ask) -> None:
    rows = (["gaps", "mixed"], [1.5, 1.5], [None, "n/a"], [3.0, 1e20], [4.25, True])
    (_, table), _ = ask(book(*rows), "XLSX")
    assert table.to_pydict() == {"0": [1.5, None, 3.0, 4.25], "1": ["1.5", "n/a", "1e+20", "TRUE"]}


def test_a_long_sheet_comes_in_blocks_and_none_is_empty(ask: Ask) -> None:
    whole = xlsx([{"name": "a", "value": float(at)} for at in range(ROWS)])
    (_, *tables), fault = ask(whole, "XLSX")
    assert fault is None
    assert [table.num_rows for table in tables] == [ROWS]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([True, None]), ["TRUE", None]),
        (pa.array([1.5, None], pa.float32()), [1.5, None]),
        (pa.array([b"ab", None], pa.binary()), ["ab", None]),
        (pa.array([b"ab", b"cd"], pa.binary(2)), ["ab", "cd"]),
        (pa.array([2**63, 1], pa.uint64()), ["9223372036854775808", "1"]),
    ],
    ids=["dictionary", "truth", "float", "bytes", "fixed", "whole"],
)
def test_parquets_types_become_numbers_or_texts(ask: Ask, column: pa.Array, told: list[Any]) -> None:
    content = io.BytesIO()
    parquet.write_table(pa.table({"c": column}), content)
    (names, table), fault = ask(content.getvalue(), "Parquet")
    assert fault is None
    assert (names, table.to_pydict()) == (["c"], {"0": told})


def hidden() -> bytes:
    made = openpyxl.Workbook()
    made.active.append(["name"])
    made.create_chartsheet("chart")
    made.active.sheet_state = "hidden"
    made.active = 1
    content = io.BytesIO()
    made.save(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "kind", "said", "large"),
    [
        (book(), "XLSX", "first sheet is empty", False),
        (hidden(), "XLSX", "no visible sheet", False),
        (changed(xlsx(CELLS), {SHEET: b"<worksheet><sheetData><row"}), "XLSX", "damaged", False),
        (changed(xlsx(CELLS), {"xl/vbaProject.bin": b"x"}), "XLSX", "macros", False),
        (changed(xlsx(CELLS), {"xl/media/zeros.bin": bytes(10 * 2**20)}), "XLSX", "times its size", True),
        (xls(CELLS) + "EncryptedPackage".encode("utf-16-le"), "XLS", "password", False),
        (xls(CELLS) + "VBA\0".encode("utf-16-le"), "XLS", "macros", False),
        (xls(CELLS)[:600], "XLS", "damaged", False),
        (pq(CELLS)[:-20], "Parquet", "footer can't be read", False),
        (pq([{"name": ["a", "b"]}]), "Parquet", "more than one value a row", False),
    ],
)
def test_what_can_t_be_read_is_told_with_a_remedy(ask: Ask, content: bytes, kind: str, said: str, large: bool) -> None:
    sent, fault = ask(content, kind, AMPLE._replace(ratio=20))
    assert sent == []
    assert said in fault["message"]
    assert fault["remedy"]
    assert fault["large"] is large


def test_parquet_that_unpacks_to_too_much_is_large(ask: Ask) -> None:
    _, fault = ask(pq([{"note": "x" * 5000}] * 100), "Parquet", AMPLE._replace(unpacked=64))
    assert fault["large"] is True
    assert "at most 64 are read" in fault["message"]


def test_cells_with_too_much_text_end_the_reading_with_a_reason(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_BLOCK_BYTES", 1000)
    sent, fault = ask(xlsx([{"note": "x" * 900}] * 4), "XLSX")
    assert sent == [["note"]]
    assert (fault["message"], fault["large"]) == ("The file's cells hold too much text.", True)


@pytest.mark.parametrize(
    ("error", "said", "large"), [(MemoryError, "too much memory", True), (ZeroDivisionError, "is damaged", False)]
)
def test_whatever_a_library_raises_is_told_in_our_words(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, error: type[Exception], said: str, large: bool
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error("secret internals")

    monkeypatch.setattr(parquet, "ParquetFile", failing)
    _, fault = ask(pq(CELLS), "Parquet")
    assert said in fault["message"]
    assert "internals" not in fault["message"]
    assert fault["large"] is large


def test_nobody_is_told_where_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_limit", lambda _memory: None)
    (tmp_path / "file").write_bytes(xlsx(CELLS))
    ours, theirs = Pipe(duplex=False)
    ours.close()
    with theirs:
        reader.read(str(tmp_path / "file"), "XLSX", AMPLE, theirs)


def flagged(content: bytes) -> bytes:
    """The archive with the first entry of its directory marked as encrypted."""
    at = content.index(b"PK\x01\x02") + 8
    flags = struct.unpack_from("<H", content, at)[0] | 1
    return content[:at] + struct.pack("<H", flags) + content[at + 2 :]


def twice(name: str) -> bytes:
    target = io.BytesIO(xlsx(CELLS))
    with zipfile.ZipFile(target, "a") as found:
        found.writestr(name, b"<x/>")
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "said", "large"),
    [
        (b"PK\x03\x04 and no more", "damaged", False),
        (twice("XL\\Workbook.xml"), "under one name", False),
        (changed(xlsx(CELLS), {"xl/workbook.xml": None}), "no XLSX workbook", False),
        (changed(xlsx(CELLS), {"xl/macrosheets/sheet1.xml": b"<x/>"}), "macros", False),
        (changed(xlsx(CELLS), {"xl/embeddings/oleObject1.bin": b"x"}), "links to other files", False),
        (changed(xlsx(CELLS), {"xl/_rels/workbook.xml.rels": RELATION}), "links to other files", False),
        (flagged(xlsx(CELLS)), "encrypted", False),
        (changed(xlsx(CELLS), {"xl/media/a.bin": bytes(2**21)}), "unpacks to", True),
        (changed(xlsx(CELLS), {SHEET: BILLION_LAUGHS}), "document type", False),
        (changed(xlsx(CELLS), {SHEET: "<worksheet/>".encode("utf-16")}), "not in UTF-8", False),
    ],
)
def test_an_archive_is_refused_for_what_is_in_it(tmp_path: Path, content: bytes, said: str, large: bool) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(content)
    with pytest.raises(ArchiveError) as found:
        inspect(path, 2**20, 1000)
    assert said in found.value.message
    assert found.value.remedy
    assert found.value.large is large


def test_a_part_that_lies_about_itself_is_damage(tmp_path: Path) -> None:
    content = bytearray(xlsx(CELLS))
    at = content.index(b"PK\x01\x02") + 16
    content[at] ^= 255  # the checksum of the first part
    (tmp_path / "book.xlsx").write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged"):
        inspect(tmp_path / "book.xlsx", 2**20, 1000)


def test_many_parts_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_PARTS", 3)
    (tmp_path / "book.xlsx").write_bytes(xlsx(CELLS))
    with pytest.raises(ArchiveError, match="too many"):
        inspect(tmp_path / "book.xlsx", 2**20, 1000)


def test_comments_in_xml_and_what_stands_in_pictures_are_no_document_type(tmp_path: Path) -> None:
    parts = {SHEET: b"<worksheet><!-- made by hand --></worksheet>", "xl/media/a.png": b"\0<!DOCTYPE"}
    (tmp_path / "book.xlsx").write_bytes(changed(xlsx(CELLS), parts))
    inspect(tmp_path / "book.xlsx", 2**20, 1000)


def test_memory_that_is_taken_is_a_number_of_bytes() -> None:
    assert reader._taken() > 2**20
