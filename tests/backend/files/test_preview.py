"""What is told of a file before it is answered, and files whose headings are named by the request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backend.conftest import Client
from tests.backend.files.conftest import CAR, Send, csv_of, rows_of
from tests.backend.files.workbooks import pq, xls, xlsx

PREVIEW = "/models/car_price/preview-file"


def renamed(**names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in CAR.items()}


def test_the_limits_are_those_of_the_settings(six: Client) -> None:
    told = six.get("/limits").json()
    assert told["max_file_bytes"] == 16 * 2**20
    assert told["max_file_rows"] == 1_000_000
    assert told["file_kinds"] == ["CSV", "XLSX", "XLS", "Parquet"]


@pytest.mark.parametrize("make", [csv_of, xlsx, xls, pq])
def test_a_preview_shows_the_first_rows_and_which_column_is_which_field(send: Send, make: Any) -> None:
    told = send(make([{**CAR, "note": "@x"}] * 40), "cars", path=PREVIEW).json()
    assert told["headings"] == [*CAR, "note"]
    assert len(told["rows"]) == 8
    assert told["rows"][0][-1] == "'@x"
    assert all(each["heading"] == each["field"] and each["near"] is None for each in told["columns"])


def test_a_heading_that_looks_like_a_field_is_suggested(send: Send) -> None:
    content = csv_of([renamed(carlength="Car Length", horsepower="power", curbweight="Curb-weight (lb)")], ";")
    told = send(content, path=PREVIEW).json()
    found = {each["field"]: (each["heading"], each["near"]) for each in told["columns"]}
    assert found["carlength"] == (None, "Car Length")
    assert found["curbweight"] == (None, "Curb-weight (lb)")
    assert found["enginesize"] == ("enginesize", None)
    assert told["delimiter"] == ";"
    suggested = [near for _, near in found.values() if near]
    assert len(set(suggested)) == len(suggested)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"a,b\n", "header and no rows"), (b"\x89PNG\r\n", "a picture"), (b"a\0b,c\n1,2\n", "no text")],
)
def test_what_is_no_table_is_said_so(send: Send, content: bytes, said: str) -> None:
    answer = send(content, path=PREVIEW)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_forecast_has_no_file_to_preview(send: Send) -> None:
    assert send(b"a\n1\n", path="/models/bitcoin_price/preview-file").status_code == 422


def test_headings_named_by_the_request_are_taken_for_the_fields(send: Send) -> None:
    content = csv_of([renamed(carlength="länge = mm", horsepower="PS")])
    assert send(content).status_code == 422
    answer = send(content, params={"column": ["carlength=LÄNGE = mm", "horsepower=PS"]})
    (row,) = rows_of(answer)
    (plain,) = rows_of(send(csv_of([CAR])))
    assert row["status"] == "answered"
    assert row["price"] == plain["price"]
    assert row["PS"] == plain["horsepower"]


def test_a_named_heading_goes_before_the_field_s_own(send: Send) -> None:
    (row,) = rows_of(send(csv_of([{**CAR, "new": 5}]), params={"column": "curbweight=new"}))
    assert "curbweight: found 5" in row["problem"]


@pytest.mark.parametrize(
    "column", ["price=PS", "horsepower", "horsepower=", "=PS", "horsepower=nowhere", ["horsepower=PS", "horsepower=PS"]]
)
def test_a_column_that_can_t_be_is_refused(send: Send, column: Any) -> None:
    answer = send(csv_of([renamed(horsepower="PS")]), params={"column": column})
    assert answer.status_code == 422
    assert answer.json()["errors"]
