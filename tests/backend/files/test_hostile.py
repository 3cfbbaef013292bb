"""Files that are not what they should be: refused in clear words, in bounded memory, and nobody else notices."""

from __future__ import annotations

import asyncio
import gzip
import io
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.backend.conftest import Client, Loop, wait_for
from tests.backend.files.conftest import CAR, Send, csv_of, rows_of
from tests.backend.files.workbooks import changed, part, pq, xls, xlsx

SHEET = "xl/worksheets/sheet1.xml"
ROWS = [CAR] * 3


def refused(answer: httpx.Response, *words: str, status: int = 422) -> None:
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    for word in words:
        assert word in answer.text


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (xlsx(ROWS), "cars.csv", "content is XLSX"),
        (csv_of(ROWS), "cars.xls", "content is CSV"),
        (xls(ROWS), "cars.xlsx", "content is XLS"),
        (pq(ROWS), "cars.XLSX", "content is Parquet"),
        (csv_of(ROWS), "..\\..\\cars.Parquet", "content is CSV"),
        (xlsx(ROWS), "cars.xlsm", "macros"),
        (gzip.compress(csv_of(ROWS)), "cars.csv.gz", "gzip"),
        (b"%PDF-1.7", "cars", "PDF"),
        (b"", "cars.csv", "empty"),
        (b"\n\n \n", "cars.csv", "empty"),
        (csv_of(ROWS)[:-5] + b"\0\0\0", "cars.csv", "no text"),
        (csv_of(ROWS).decode().encode("utf-16")[:-1], "cars.csv", "UTF-16"),
        (b"PK\x03\x04" + bytes(100), "cars.xlsx", "damaged"),
        (xlsx(ROWS)[:-700], "cars.xlsx", "damaged"),
        (xls(ROWS)[:600], "cars.xls", "damaged"),
        (pq(ROWS)[:-20], "cars.parquet", "damaged"),
        (b"PAR1" + bytes(50) + b"PAR1", "cars.parquet", "damaged"),
    ],
)
def test_what_is_no_table_is_told_by_name(send: Send, content: bytes, name: str, words: str) -> None:
    refused(send(content, name), words)


def test_missing_and_doubled_columns_are_named_with_what_is_near(send: Send) -> None:
    content = csv_of([CAR]).replace(b"enginesize", b"engine_size").replace(b"horsepower", b"citympg")
    answer = send(content)
    refused(answer, "Is it engine_size? Call it enginesize.")
    assert {error["field"] for error in answer.json()["errors"]} == {"enginesize", "horsepower", "citympg"}


@pytest.mark.parametrize("content", [csv_of([CAR]).splitlines()[0] + b"\n", b'"a\n', b"a"])
def test_a_file_without_rows_is_refused(send: Send, content: bytes) -> None:
    refused(send(content))


def zipped(parts: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target.getvalue()


BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + at, b"&%c;" % (97 + at) * 10) for at in range(9))
    + b"]><worksheet>&j;</worksheet>"
)
ONE_FAR_CELL = b'<c r="XFD1048576"><v>1</v></c></row></sheetData>'


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        ({SHEET: BILLION_LAUGHS}, 422, "document type"),
        ({SHEET: BILLION_LAUGHS.decode().encode("utf-16")}, 422, "UTF-8"),
        ({SHEET: b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><worksheet/>'}, 422, "document type"),
        ({"xl/externalLinks/externalLink1.xml": b"<externalLink/>"}, 422, "links to other files"),
        ({"xl/vbaProject.bin": b"x"}, 422, "macros"),
        ({"xl/media/zeros.bin": bytes(100 * 2**20)}, 413, "times its size"),
        ({"xl/workbook.xml": None}, 422, "no XLSX workbook"),
        ({SHEET: b"<worksheet><sheetData><row"}, 422, "damaged"),
    ],
)
def test_hostile_workbooks_are_refused(send: Send, parts: dict[str, bytes | None], status: int, words: str) -> None:
    refused(send(changed(xlsx(ROWS), parts), "cars.xlsx"), words, status=status)


def test_a_sheet_with_a_cell_in_its_last_corner_takes_nothing_with_it(send: Send) -> None:
    book = xlsx(ROWS)
    far = part(book, SHEET).replace(b"</row></sheetData>", ONE_FAR_CELL)
    assert ONE_FAR_CELL in far
    refused(send(changed(book, {SHEET: far}), "cars.xlsx"), "memory", status=413)
    assert send(book, "cars.xlsx").status_code == 200


def test_a_text_that_all_cells_share_takes_nothing_with_it(send: Send) -> None:
    text = b"x" * 32_000
    cells = b'<row r="1">' + b'<c t="s"><v>0</v></c>' * 40 + b"</row>"
    parts = {
        "xl/sharedStrings.xml": b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>'
        + text + b"</t></si></sst>",
        SHEET: b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        + cells + cells.replace(b'<row r="1">', b"<row>") * 1000 + b"</sheetData></worksheet>",
    }  # fmt: skip
    answer = send(changed(xlsx(ROWS), parts), "cars.xlsx", params={"format": "csv"})
    assert answer.status_code in (413, 422)


def test_encrypted_workbooks_are_told_apart(send: Send) -> None:
    locked = xls(ROWS) + "EncryptedPackage".encode("utf-16-le")
    refused(send(locked, "cars.xlsx"), "content is XLS")
    refused(send(locked, "cars.xls"), "password")


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip"])
def test_parquet_that_unpacks_to_too_much_is_refused(make_app: Callable[..., FastAPI], compression: str) -> None:
    zeros = [{**CAR, "note": "x" * 5000} for _ in range(1000)]
    content = pq(zeros, compression=compression, use_dictionary=False)
    with Loop() as runner:
        client = Client(make_app(max_unpacked_bytes=2**20), runner)
        refused(client.post("/predict-file", files={"file": ("cars.parquet", content)}), "unpacks", status=413)


def test_limits_on_bytes_and_rows(make_app: Callable[..., FastAPI]) -> None:
    with Loop() as runner:
        client = Client(make_app(max_file_bytes=2000, max_file_rows=2), runner)
        refused(client.post("/predict-file", files={"file": ("cars.csv", csv_of([CAR] * 50))}), status=413)
        refused(client.post("/predict-file", files={"file": ("cars.csv", csv_of([CAR] * 3))}), "2 rows", status=413)
        assert client.post("/predict-file", files={"file": ("cars.csv", csv_of([CAR] * 2))}).status_code == 200


def test_a_quotation_mark_that_is_never_closed(send: Send) -> None:
    refused(send(csv_of([CAR]) + b'"' + csv_of([CAR] * 40_000)), "quotation mark")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", csv_of(ROWS)),
        ("multipart/form-data", csv_of(ROWS)),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nno header"),
        ("multipart/form-data; boundary=x", b"--x\r\ncontent-disposition: form-data; name=file\r\n\r\na"),
        ("multipart/form-data; boundary=x", b"--x\r\ncontent-disposition: form-data; name=other\r\n\r\na\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\ncontent-disposition: form-data; name=file\r\n\r\na\r\n" * 2 + b"--x--\r\n",
        ),
    ],
)
def test_what_is_no_form_with_one_file(six: Client, kind: str, body: bytes) -> None:
    answer = six.post("/predict-file", content=body, headers={"content-type": kind})
    refused(answer, "-F file=@", status=422 if "boundary" in kind else 415)


def test_more_files_at_once_than_there_are_places_are_told_to_wait(make_app: Callable[..., FastAPI]) -> None:
    application = make_app(file_jobs=1)
    transport = httpx.ASGITransport(application)
    content = csv_of([CAR] * 20_000)

    async def at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://api", trust_env=False) as client:
            files = [client.post("/predict-file", files={"file": ("cars.csv", content)}) for _ in range(4)]
            return await asyncio.gather(*files)

    with Loop() as runner:
        answers = runner.run(at_once())
        assert {answer.status_code for answer in answers} == {200, 503}
        told = next(answer for answer in answers if answer.status_code == 503)
        assert int(told.headers["retry-after"]) > 0
        again = Client(application, runner).post("/predict-file", files={"file": ("cars.csv", csv_of([CAR]))})
        assert rows_of(again)[0]["status"] == "answered"


def test_nothing_is_left_behind(application_of_six: FastAPI, send: Send) -> None:
    for content, name in ((csv_of(ROWS), "a.csv"), (xlsx(ROWS), "a.xlsx"), (b"PK\x03\x04", "b.xlsx"), (b"", "c.csv")):
        send(content, name, params={"format": "xlsx"})
    folder = application_of_six.state.service.settings.state / "api" / "files"
    # What an earlier test cut off may be at its end only now.
    wait_for(lambda: list(folder.iterdir()) == [], "The files of all requests to be gone")


def test_one_version_answers_the_whole_file(make_app: Callable[..., FastAPI], bundles: dict[str, Any]) -> None:
    application = make_app()
    transport = httpx.ASGITransport(application)
    content = csv_of([CAR] * 40_000)
    follower = application.state.service.followers["car_price"]
    from dataclasses import replace

    async def swapped() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://api", trust_env=False) as client:
            asking = asyncio.ensure_future(client.post("/predict-file", files={"file": ("cars.csv", content)}))
            while not asking.done():
                await asyncio.sleep(0.002)
                follower.served = replace(bundles["car_price"], version=str(int(follower.served.version) + 1))
            return await asking

    with Loop() as runner:
        answer = runner.run(swapped())
    assert {row["model_version"] for row in rows_of(answer)} == {answer.headers["x-model-version"]}
