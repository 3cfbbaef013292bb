"""Cells of a file: what pyarrow finds right, the Validator finds right, with the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backend.files.cells import Cells, value_of
from backend.files.job import opened
from backend.files.kinds import FileKind
from backend.files.reader import Limits
from backend.problems import RequestError
from backend.served import Served
from sigap.catalog import Declaration
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.declaration import Kind
from tests.backend.bundles import BODY, EDUCATION
from tests.backend.files.conftest import CAR, csv_of

ODD = st.one_of(
    st.none(),
    st.sampled_from(
        ["", " ", "92", "92.0", "92.5", "+92", "-1", ".5", "5.", "1e2", "1E400", "nan", "inf", "0x10", "1_000",
         "1.000,5", "92,5", "٩٢",
         " Toyota ", "TOYOTA", "toyota\xa0", "P35", "p35", "P35 ", "=1", "true", "9" * 400, "1" * 5000]
    ),
    st.text(max_size=4),
    st.floats().map(repr),
    st.integers().map(str),
)  # fmt: skip


@pytest.mark.parametrize("declaration", [CAR_PRICE, EDUCATION], ids=lambda each: each.name)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data(), comma=st.booleans())
def test_both_ways_agree(declaration: Declaration, data: st.DataObject, comma: bool, bundles: dict[str, Any]) -> None:
    served = bundles[declaration.name]
    valid = BODY if declaration is EDUCATION else CAR
    names = [*declaration.request_columns, *declaration.feature_names]
    row = st.fixed_dictionaries({name: st.one_of(*[st.just(str(valid[name]))] * 12, ODD) for name in names})
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    table = pa.table([pa.array([each[name] for each in rows], pa.string()) for name in names], names)
    fields = {name: at for at, name in enumerate(names)}
    needed = served.predictor.needed
    cells = Cells(declaration, served.validator, needed, fields, decimal_comma=comma)
    checked = cells.check(table.rename_columns([str(at) for at in range(len(names))]), {})
    accepted = dict(zip(checked.accepted.tolist(), range(len(checked.accepted)), strict=True))
    for position, cell in enumerate(rows):
        kinds = {name: _kind(declaration, name) for name in names}
        request = {name: value_of(cell[name], kinds[name], decimal_comma=comma) for name in names}
        values = _validated(served, request)
        if values is None:
            assert checked.refused[position]
        else:
            found = checked.columns.values(accepted[position])
            assert found == {name: values[name] for name in declaration.feature_names}


def _validated(served: Served, request: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return served.validator(request, served.predictor.needed)
    except RequestError:
        return None


def _kind(declaration: Declaration, name: str) -> Kind:
    features = declaration.feature_names
    return declaration.feature(name).kind if name in features else declaration.column(name).kind


@given(st.one_of(ODD, st.floats(), st.integers(-(2**60), 2**60).map(float)), st.sampled_from(Kind), st.booleans())
@example(92.0, Kind.TEXT, False)
def test_a_cell_s_value_is_null_a_number_or_a_text(cell: Any, kind: Kind, comma: bool) -> None:
    value = value_of(cell, kind, decimal_comma=comma)
    assert value is None or isinstance(value, int | float | str)
    if kind not in (Kind.NUMBER, Kind.INTEGER):
        assert value is None or (isinstance(value, str) and value == value.strip() != "")


def test_memory_does_not_grow_with_the_file(bundles: dict[str, Any], tmp_path: Any) -> None:
    path = tmp_path / "cars.csv"
    block = csv_of([CAR] * 2000)
    header, rows = block.split(b"\n", 1)
    with path.open("wb") as file:
        file.write(header + b"\n")
        for _ in range(100):
            file.write(rows)
    largest, count = 0, 0
    with opened(path, FileKind.CSV, bundles["car_price"], Limits(2**28, 2**29, 200), 10**9) as found:
        for each in found.blocks:
            largest, count = max(largest, each.table.nbytes), count + each.table.num_rows
    assert count == 200_000
    assert largest < 8 * 2**20


def test_short_records_come_in_blocks_too(bundles: dict[str, Any], tmp_path: Any) -> None:
    path = tmp_path / "cars.csv"
    path.write_bytes(csv_of([CAR]) + b"1\n" * 100_000)
    with opened(path, FileKind.CSV, bundles["car_price"], Limits(2**28, 2**29, 200), 10**9) as found:
        sizes = [each.table.num_rows for each in found.blocks]
    assert sum(sizes) == 100_001
    assert max(sizes) <= 2**15
    assert np.median(sizes) > 1000
