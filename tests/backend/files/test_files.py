"""Files in, files out: every kind and dialect, what passes through, and what is told of rows that are wrong."""

from __future__ import annotations

import io
import json
from typing import Any

import openpyxl
import pytest

from sigap.catalog.credit_approval import CREDIT_APPROVAL
from tests.backend.bundles import BODY
from tests.backend.conftest import Client
from tests.backend.files.conftest import CAR, Send, csv_of, rows_of
from tests.backend.files.workbooks import pq, xls, xlsx
from tests.backend.task_bundles import FIVE

HEADER = (
    "wheelbase,carlength,carwidth,curbweight,enginesize,boreratio,horsepower,citympg,highwaympg,CompanyName,fueltype,"
    "aspiration,doornumber,carbody,drivewheel,enginetype,cylindernumber,fuelsystem"
)
LINE = "99.8,176.6,66.2,2545,109,3.19,102,24,30,honda,gas,std,four,sedan,fwd,ohc,four,mpfi"


def alone(six: Client, **changes: Any) -> float:
    return six.post("/models/car_price/predict", json={**CAR, **changes}).json()["price"]


@pytest.mark.parametrize("path", ["/predict-file", "/batch-predict-file", "/models/car_price/predict-file"])
def test_the_source_system_s_csv_is_answered(send: Send, path: str) -> None:
    (row,) = rows_of(send(f"{HEADER}\n{LINE}\n".encode(), path=path))
    assert list(row)[:19] == [*HEADER.split(","), "price"]
    assert row["status"] == "answered"
    assert float(row["price"]) > 0
    assert list(row)[-3:] == ["model_version", "status", "problem"]


@pytest.mark.parametrize("make", [csv_of, xlsx, xls, pq])
def test_every_kind_gives_the_answers_of_single_requests(six: Client, send: Send, make: Any) -> None:
    cars = [CAR, {**CAR, "curbweight": 3000}, {**CAR, "curbweight": 9}]
    name = {csv_of: "cars.CSV", xlsx: "Cars.XlSx", xls: "cars.XLS", pq: "cars.Parquet"}[make]
    answer = send(make(cars), name)
    first, second, third = rows_of(answer)
    assert float(first["price"]) == pytest.approx(alone(six))
    assert float(second["price"]) == pytest.approx(alone(six, curbweight=3000))
    assert (third["status"], third["price"]) == ("refused", "")
    assert "curbweight: found 9, expected a whole number from 1000 to 8000 (pounds)" in third["problem"]
    assert answer.headers["x-model-version"] == "v7"
    assert [answer.headers[f"x-rows{which}"] for which in ("", "-answered", "-refused")] == ["3", "2", "1"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_dialect_is_read(send: Send, delimiter: str, encoding: str) -> None:
    cars = [{**CAR, "Catatan": 'né, "baik"; ya'}, {**CAR, "Catatan": "dua\nbaris"}]
    content = csv_of(cars, delimiter).decode().encode(encoding)
    first, second = rows_of(send(content), delimiter)
    assert (first["status"], second["status"]) == ("answered", "answered")
    assert first["Catatan"] == 'né, "baik"; ya'
    assert second["Catatan"] == "dua\nbaris"


@pytest.mark.parametrize("make", [csv_of, xlsx])
def test_yes_and_no_are_taken_for_one_and_zero(six: Client, send: Send, make: Any) -> None:
    flags = ["Y", "no", " TRUE ", "tidak", "1", "maybe"]
    rows = [{**CREDIT_APPROVAL.example, "Had_Past_Default": flag} for flag in flags]
    name = "kredit.csv" if make is csv_of else "kredit.xlsx"
    told = rows_of(send(make(rows), name, path="/models/credit_approval/predict-file"))
    alone = {
        flag: six.post("/models/credit_approval/predict", json={**CREDIT_APPROVAL.example, "Had_Past_Default": flag})
        for flag in (0, 1)
    }
    assert [float(row["probability"]) for row in told[:5]] == pytest.approx(
        [alone[flag].json()["probability"] for flag in (1, 0, 1, 0, 1)]
    )
    assert told[5]["status"] == "refused"
    assert told[5]["problem"] == (
        'Had_Past_Default: found "maybe", expected 0 or 1, yes or no. Write 0 or 1, or yes or no.'
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read(send: Send, ending: str) -> None:
    content = ending.join(["", HEADER, LINE, "", LINE]).encode()
    assert [row["status"] for row in rows_of(send(content))] == ["answered"] * 2


def test_headings_in_any_case_order_and_with_blanks(send: Send) -> None:
    turned = dict(reversed(CAR.items()))
    content = csv_of([turned], header=[f"  {name.upper()} " for name in turned])
    assert rows_of(send(content))[0]["status"] == "answered"


def test_unknown_columns_pass_through_and_never_clash(send: Send) -> None:
    (row,) = rows_of(send(csv_of([{"price": "13495", **CAR, "Status": "sold", "": "x"}])))
    assert (row["price"], row["Status"], row["column_21"]) == ("13495", "sold", "x")
    assert float(row["predicted_price"]) > 0
    assert row["predicted_status"] == "answered"


def test_decimal_commas_are_numbers_only_beside_semicolons(six: Client, send: Send) -> None:
    german = {name: str(value).replace(".", ",") for name, value in CAR.items()}
    (row,) = rows_of(send(csv_of([german], ";")), ";")
    assert float(row["price"].replace(",", ".")) == pytest.approx(alone(six))
    assert row["wheelbase"] == "102,4"
    (row,) = rows_of(send(csv_of([german], "\t")), "\t")
    assert row["status"] == "refused"


def test_empty_cells_are_null_and_whole_numbers_may_have_a_point(send: Send) -> None:
    rows = rows_of(
        send(csv_of([{**CAR, "horsepower": ""}, {**CAR, "horsepower": " 92.0 "}, {**CAR, "horsepower": "92.5"}]))
    )
    assert [row["status"] for row in rows] == ["answered", "answered", "refused"]
    assert rows[0]["filled_in"] == "horsepower"
    assert "Write a plain number" in rows[2]["problem"]


def test_rows_with_too_many_or_too_few_cells_are_refused_alone(send: Send) -> None:
    content = f"{HEADER}\n{LINE}\n1,2\n{LINE},more\n{LINE}\n"
    rows = rows_of(send(content.encode()))
    assert [row["status"] for row in rows] == ["answered", "refused", "refused", "answered"]
    assert "The row has 2 cells, the header 18" in rows[1]["problem"]


def test_formulas_do_no_harm_on_the_way_out(send: Send) -> None:
    texts = ["=1+1", "+SUM(A1)", "-2+3", "@x", "\t=1", " =1", "-5.5", "+62 811", "=cmd|'/c calc'!A0"]
    cars = [{**CAR, "note": text, "CompanyName": "=HYPERLINK(1)"} for text in texts]
    answer = send(csv_of(cars))
    for row, text in zip(rows_of(answer), texts, strict=True):
        assert row["note"] == (text if text == "-5.5" else f"'{text}")
        assert row["CompanyName"] == "'=HYPERLINK(1)"
    book = openpyxl.load_workbook(io.BytesIO(send(csv_of(cars), params={"format": "xlsx"}).content))
    assert {cell.data_type for row in book.active.rows for cell in row} <= {"s", "n"}
    header = csv_of([{**CAR, "=1+1": "x"}])
    assert "'=1+1" in send(header).text.splitlines()[0]


def test_the_answer_comes_in_the_form_asked_for(six: Client, send: Send) -> None:
    content = csv_of([CAR, {**CAR, "fueltype": "water"}])
    answer = send(content, headers={"accept": "text/html, application/json;q=0.9, text/csv;q=0.1"})
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert (told["rows"], told["answered"], told["refused"], told["fault"]) == (2, 1, 1, None)
    first, second = told["predictions"]
    assert (first["row"], first["input"]["CompanyName"], first["price"]) == (1, "Toyota", alone(six))
    assert second["errors"][0]["field"] == "fueltype"
    media = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    answer = send(content, headers={"accept": media})
    assert answer.headers["content-type"] == media
    names, row, refused = openpyxl.load_workbook(io.BytesIO(answer.content)).active.values
    assert dict(zip(names, row, strict=True))["price"] == pytest.approx(alone(six))
    assert dict(zip(names, refused, strict=True))["status"] == "refused"
    assert send(content, headers={"accept": "*/*"}).headers["content-type"].startswith("text/csv")
    assert send(content, params={"format": "pdf"}).status_code == 422


@pytest.mark.parametrize("model", [each.name for each in FIVE[1:4]] + ["education"])
def test_every_model_of_rows_answers_files(six: Client, send: Send, model: str) -> None:
    row = BODY if model == "education" else next(each.example for each in FIVE if each.name == model)
    answer = send(csv_of([row]), path=f"/models/{model}/predict-file")
    (told,) = rows_of(answer)
    assert told["status"] == "answered", told
    single = six.post(f"/models/{model}/predict", json=row).json()
    for name in set(told) & set(single) - set(row):
        if isinstance(single[name], float):
            assert float(told[name]) == pytest.approx(single[name], abs=1e-9)
        elif isinstance(single[name], str | bool):
            assert told[name].lower() == str(single[name]).lower()


def test_a_forecast_takes_no_file_of_rows(send: Send) -> None:
    answer = send(b"a\n1\n", path="/models/bitcoin_price/predict-file")
    assert answer.status_code == 422
    assert "series" in answer.json()["detail"]


def test_large_files_are_answered_in_blocks_and_in_order(send: Send) -> None:
    cars = [{**CAR, "curbweight": 1000 + at % 7000, "number": at} for at in range(40_000)]
    cars[20_000] = {**cars[20_000], "fueltype": "water"}
    rows = rows_of(send(csv_of(cars)))
    assert [int(row["number"]) for row in rows] == list(range(40_000))
    assert [at for at, row in enumerate(rows) if row["status"] != "answered"] == [20_000]
    assert float(rows[6999]["price"]) > float(rows[0]["price"]) == float(rows[7000]["price"])
    told = json.loads(send(csv_of(cars), params={"format": "json"}).content)
    assert [each["row"] for each in told["predictions"]] == list(range(1, 40_001))
