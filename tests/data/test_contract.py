"""The contract row by row: what is kept, what is set aside, and the reasons given."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigap.catalog import Column, Declaration, Feature, Kind, Text, declaration
from sigap.data.contract import Contract, Reject, expected

EDUCATION = declaration("education")
NAMES = [word.name for word in (*EDUCATION.columns, *EDUCATION.features)]


CODE = "a text: P and two or four digits, such as P35"


def row(**changes: Any) -> dict[str, Any]:
    good = {
        "provinsi_id": "P35",
        "provinsi": "Jawa Timur",
        "tahun": 2023,
        "ibukota": "Surabaya",
        "lat": -7.2,
        "lon": 112.7,
        "break_id": None,
        "break_en": None,
        "angka_melek_huruf": 98.5,
        "rata_lama_sekolah": 8.1,
        "harapan_lama_sekolah": 13.4,
        "rasio_guru_murid": 15.0,
        "anggaran_pendidikan_persen": None,
    }
    return {**good, **changes}


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    types = {field.name: field.type for field in Contract(EDUCATION).schema}
    columns = {}
    for name in NAMES:
        values = [one[name] for one in rows]
        texts = any(isinstance(value, str) for value in values)
        columns[name] = pa.array(values, pa.string() if texts else types[name])
    return pa.record_batch(columns)


def check(
    *batches: pa.RecordBatch, names: dict[str, str | None] | None = None, declared: Declaration = EDUCATION
) -> tuple[list[dict[str, Any]], list[Reject], int]:
    contract = Contract(declared, names)
    results = [*(contract.check(one) for one in batches), contract.finish()]
    good = [one for result in results for one in result.good.to_pylist()]
    return good, [r for result in results for r in result.rejects], sum(result.rejected_rows for result in results)


@pytest.mark.parametrize(
    ("changes", "field", "found", "expected"),
    [
        ({"angka_melek_huruf": 998.0}, "angka_melek_huruf", "998.0", "a number from 0 to 100 %"),
        ({"rasio_guru_murid": 0.5}, "rasio_guru_murid", "0.5", "a number from 1 to 100 pupils"),
        ({"rata_lama_sekolah": float("nan")}, "rata_lama_sekolah", "nan", "a number from 0 to 20 years"),
        ({"lat": float("inf")}, "lat", "inf", "a number from -90 to 90"),
        ({"rata_lama_sekolah": "8,1"}, "rata_lama_sekolah", "8,1", "a number from 0 to 20 years"),
        ({"rata_lama_sekolah": "1_0"}, "rata_lama_sekolah", "1_0", "a number from 0 to 20 years"),
        ({"rata_lama_sekolah": "Infinity"}, "rata_lama_sekolah", "Infinity", "a number from 0 to 20 years"),
        ({"provinsi_id": "35"}, "provinsi_id", "35", CODE),
        ({"provinsi_id": "P35\nP36"}, "provinsi_id", "P35\nP36", CODE),
        ({"provinsi": None}, "provinsi", "NULL", "a text; it is required"),
        ({"provinsi": "  "}, "provinsi", "  ", "a text; it is required"),
        ({"tahun": None}, "tahun", "NULL", "a whole number from 1990 to 2100; it is required"),
        ({"tahun": 20240}, "tahun", "20240", "a whole number from 1990 to 2100"),
        ({"tahun": "2023.5"}, "tahun", "2023.5", "a whole number from 1990 to 2100"),
    ],
)
def test_a_row_that_breaks_its_declaration_is_set_aside(
    changes: dict[str, Any], field: str, found: str, expected: str
) -> None:
    bad = row(**{"provinsi_id": "P36", "provinsi": "Banten", **changes})
    # A text among numbers makes the whole column one of texts, as it does in a table.
    first = row(**{name: str(row()[name]) for name, value in changes.items() if isinstance(value, str)})
    good, rejects, rejected = check(batch(first, bad))
    assert [one["provinsi_id"] for one in good] == ["P35"]
    assert [(reject.field, reject.found, reject.expected) for reject in rejects] == [(field, found, expected)]
    assert rejected == 1


def test_numbers_in_a_text_column_are_read() -> None:
    good, rejects, _ = check(
        batch(row(rata_lama_sekolah=" 8.25 ", tahun="2023"), row(rata_lama_sekolah="", tahun="2024"))
    )
    assert [(one["rata_lama_sekolah"], one["tahun"]) for one in good] == [(8.25, 2023), (None, 2024)]
    assert rejects == []


def test_every_reason_of_a_row_is_given_and_the_row_counted_once() -> None:
    good, rejects, rejected = check(batch(row(angka_melek_huruf=998.0, rasio_guru_murid=0.0)))
    assert good == []
    assert [reject.field for reject in rejects] == ["angka_melek_huruf", "rasio_guru_murid"]
    assert rejected == 1


def test_a_year_without_figures_keeps_the_contract() -> None:
    empty = dict.fromkeys(EDUCATION.feature_names)
    good, rejects, _ = check(batch(row(), row(tahun=2024, **empty)))
    assert [one["tahun"] for one in good] == [2023, 2024]
    assert rejects == []


def test_a_column_of_nothing_but_null_is_kept() -> None:
    one = batch(row())
    index = NAMES.index("angka_melek_huruf")
    good, rejects, _ = check(one.set_column(index, "angka_melek_huruf", pa.nulls(1)))
    assert good[0]["angka_melek_huruf"] is None
    assert rejects == []


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_all_rows_of_a_doubled_key_are_set_aside_across_batches(cut: int) -> None:
    rows = [row(tahun=2022), row(tahun=2023), row(tahun=2023, rata_lama_sekolah=9.9), row(tahun=2023), row(tahun=2024)]
    good, rejects, rejected = check(batch(*rows[:cut]), batch(*rows[cut:]))
    assert [one["tahun"] for one in good] == [2022, 2024]
    assert {(r.key, r.field, r.expected) for r in rejects} == {
        (("P35", "2023"), "provinsi_id, tahun", "one row for each key")
    }
    assert rejected == 3


def test_an_entity_is_known_by_the_name_that_counts() -> None:
    rows = [row(tahun=2022), row(tahun=2023, provinsi="Jatim"), row(tahun=2024)]
    good, rejects, _ = check(batch(*rows), names={"P35": "Jawa Timur"})
    assert [one["tahun"] for one in good] == [2022, 2024]
    assert [(r.field, r.found) for r in rejects] == [("provinsi", "Jatim")]
    assert check(batch(*rows), names={"P35": None})[0] == []


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(2000, 2003), st.floats(allow_nan=True), st.booleans()), max_size=12), st.data())
def test_no_row_is_lost_however_it_arrives(rows: list[tuple[int, float, bool]], data: st.DataObject) -> None:
    rows = sorted(rows, key=lambda one: one[0])
    made = [row(tahun=year, rata_lama_sekolah=None if null else value) for year, value, null in rows]
    cut = data.draw(st.integers(0, len(made)))
    whole = check(batch(*made)) if made else check()
    cut_up = check(*(batch(*part) for part in (made[:cut], made[cut:]) if part))
    assert whole == cut_up
    assert len(whole[0]) + whole[2] == len(rows)
    assert all(one["rata_lama_sekolah"] is None or 0 <= one["rata_lama_sekolah"] <= 20 for one in whole[0])


def _other_kinds() -> Declaration:
    text = Text(id="x", en="x")
    word: dict[str, Any] = {"title": text, "meaning": text, "unit": Text(id="", en="")}
    source = {"table": "things", "relation": "things AS t", "key": ("id",)}
    return EDUCATION.model_copy(
        update={
            "name": "things",
            "source": EDUCATION.source.model_copy(
                update={**source, "entity": "id", "entity_name": "id", "time": "seen"}
            ),
            "columns": (
                Column(name="id", kind=Kind.INTEGER, meaning=text),
                Column(name="seen", kind=Kind.TIMESTAMP, meaning=text, required=True),
            ),
            "features": (
                Feature(name="fuel", kind=Kind.CATEGORY, categories=("gas", "diesel"), **word),
                Feature(name="price", kind=Kind.NUMBER, minimum=0, **word),
            ),
        }
    )


def test_times_categories_and_exact_numbers() -> None:
    table = pa.record_batch(
        {
            "id": pa.array([1, 2, 3, 4, 5]),
            # What PostgreSQL's infinity becomes on its way through the driver.
            "seen": pa.array([0, -9222425352054775809 + 1, 2**63 - 1, 1, 2], pa.int64()).cast(pa.timestamp("us")),
            "fuel": pa.array(["gas", "gas", "gas", "petrol", None]),
            "price": pa.array([Decimal("9.25"), 1, 1, 1, -1], pa.decimal128(6, 2)),
        }
    )
    good, rejects, _ = check(table, declared=_other_kinds())
    assert good == [{"id": 1, "seen": dt.datetime(1970, 1, 1, tzinfo=dt.UTC), "fuel": "gas", "price": 9.25}]
    assert [(r.key, r.field, r.expected) for r in rejects] == [
        (("2",), "seen", "a point in time"),
        (("3",), "seen", "a point in time"),
        (("4",), "fuel", "one of gas, diesel"),
        (("5",), "price", "a number of at least 0"),
    ]


def test_no_rows_at_all_are_no_fault() -> None:
    nothing = batch(row()).slice(0, 0)
    assert check(nothing) == ([], [], 0)
    assert check(nothing, batch(row()), nothing)[2] == 0


def test_what_is_expected_is_said_with_the_ends_that_there_are() -> None:
    word = EDUCATION.feature("rata_lama_sekolah")
    ends = [(0.0, 20.0), (0.0, None), (None, 20.0), (None, None)]
    told = [expected(word.model_copy(update={"minimum": low, "maximum": high})) for low, high in ends]
    assert told == [
        "a number from 0 to 20 years",
        "a number of at least 0 years",
        "a number of at most 20 years",
        "a number",
    ]
