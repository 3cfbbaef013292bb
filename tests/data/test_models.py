"""The tables of the six models: mock rows that say so, and snapshots with a target, without names or time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sigap.catalog import Declaration
from sigap.data.contract import declaration_words
from sigap.data.mock import MOCKS
from sigap.data.origin import origin_of
from sigap.data.postgres import connect
from sigap.data.seed import seed
from sigap.data.snapshot import take_snapshot
from sigap.errors import ContractError
from sigap.settings import Settings

Execute = Callable[..., list[tuple[Any, ...]]]
pytestmark = pytest.mark.usefixtures("catalogue")


@pytest.mark.parametrize("declared", [declared for declared, _ in MOCKS], ids=lambda declared: declared.name)
def test_mock_rows_repeat_and_keep_the_declaration(declared: Declaration) -> None:
    make = next(make for other, make in MOCKS if other is declared)
    pd.testing.assert_frame_equal(make(), make())
    table = make()
    assert list(table.columns) == [word.name for word in declaration_words(declared)]
    for feature in declared.features:
        if feature.categories:
            assert set(table[feature.name].dropna()) <= set(feature.categories)


def test_a_first_start_says_that_its_rows_are_made_up(settings: Settings, execute: Execute) -> None:
    origins = dict(execute("SELECT table_name, origin FROM data_origin"))
    mock = {"cars", "customers", "loan_applications", "credit_applications", "candles"}
    assert {table for table, origin in origins.items() if origin == "mock"} == mock
    assert origins["education_data"] == "seed"
    for table in mock:
        assert execute(f"SELECT DISTINCT origin FROM {table}") == [("mock",)]
    # The loans took the way of all loans: staged as text, in thousands, and loaded by SQL into units.
    assert execute("SELECT count(*) FROM loan_staging WHERE batch = 'mock' AND loaded_at IS NOT NULL") == [(600,)]
    assert execute("SELECT min(loan_amount) >= 9000, count(*) FROM loan_applications") == [(True, 600)]
    assert execute("SELECT count(*) FROM loan_rejects") == [(0,)]


def test_mock_rows_that_somebody_deleted_do_not_come_back(settings: Settings, execute: Execute) -> None:
    execute("DELETE FROM cars")
    execute("INSERT INTO customers (customer_id, age) VALUES (1, 30)")
    assert set(seed(settings).values()) == {0}
    assert execute("SELECT count(*) FROM cars") == [(0,)]


def test_every_model_gets_its_snapshot(settings: Settings, catalogue: dict[str, Declaration]) -> None:
    for declared in catalogue.values():
        taken = take_snapshot(declared, settings)
        assert (taken.version, taken.rejected) == ("v1", 0), declared.name
        table = pq.read_table(settings.root / taken.path)
        assert table.column_names == [word.name for word in declaration_words(declared)]
        assert taken.origin == ("seed" if declared.name == "education" else "mock")
        if declared.target is not None:
            assert table[declared.target.name].null_count == 0
            assert table.column_names[-1] == declared.target.name
        assert take_snapshot(declared, settings).created is False
    times = pq.read_table(settings.root / "data/raw/bitcoin_price_snapshot.parquet")["opened_at"]
    assert str(times.type) == "timestamp[us, tz=UTC]"
    assert times.to_pylist() == sorted(times.to_pylist())


def test_rows_that_cannot_be_are_set_aside(
    settings: Settings, catalogue: dict[str, Declaration], execute: Execute
) -> None:
    execute("UPDATE cars SET company_name = 'Trabant' WHERE car_id = 1")
    execute("UPDATE cars SET price = -1 WHERE car_id = 2")
    execute("UPDATE cars SET price = NULL WHERE car_id = 3")
    taken = take_snapshot(catalogue["car_price"], settings)
    assert (taken.rows, taken.rejected) == (298, 2)
    reasons = (settings.root / taken.rejects_path).read_text().splitlines()
    assert reasons[1].startswith('1,CompanyName,Trabant,"one of alfa-romero, audi')
    assert reasons[2] == '2,price,-1.0,"a number from 100 to 1,000,000 US dollars"'
    # A row without target keeps the contract; whether it is learnt from is training's to say.
    assert pq.read_table(settings.root / taken.path)["price"].null_count == 1

    execute("UPDATE candles SET opened_at = 'infinity' WHERE opened_at = '2018-01-02'")
    execute("UPDATE candles SET close = 'NaN' WHERE opened_at = '2018-01-03'")
    taken = take_snapshot(catalogue["bitcoin_price"], settings)
    assert (taken.rows, taken.rejected) == (1998, 2)
    reasons = (settings.root / taken.rejects_path).read_text().splitlines()
    assert sorted(reason.split(",", 1)[1] for reason in reasons[1:]) == [
        'close,nan,"a number from 0.00000001 to 100,000,000 US dollars"',
        "opened_at,infinity,a point in time",
    ]


def test_own_rows_are_another_version_than_mock_ones(
    settings: Settings, catalogue: dict[str, Declaration], execute: Execute
) -> None:
    first = take_snapshot(catalogue["car_price"], settings)
    execute("UPDATE cars SET origin = 'own'")
    second = take_snapshot(catalogue["car_price"], settings)
    assert (first.origin, second.origin, second.created) == ("mock", "own", True)
    assert pq.read_metadata(settings.root / second.path).metadata[b"sigap.origin"] == b"own"


def test_one_word_says_where_a_table_s_rows_are_from(
    settings: Settings, catalogue: dict[str, Declaration], execute: Execute
) -> None:
    def told(model: str) -> str:
        with connect(settings) as connection:
            return origin_of(connection, catalogue[model].source)

    # As long as one row is made up, nobody may take the whole for real.
    execute("UPDATE cars SET origin = 'own' WHERE car_id = 1")
    assert told("car_price") == "mock"
    execute("UPDATE cars SET origin = 'import' WHERE car_id > 1")
    assert told("car_price") == "mixed"
    execute("UPDATE candles SET origin = 'trades'")
    execute("UPDATE candles SET origin = 'rest' WHERE opened_at < '2024-01-01'")
    assert told("bitcoin_price") == "live"
    # Its rows carry no origin; what was loaded into it is known all the same.
    assert told("education") == "seed"
    execute("INSERT INTO data_origin (table_name, origin, rows) VALUES ('education_data', 'import', 0)")
    assert told("education") == "seed"
    execute("INSERT INTO data_origin (table_name, origin, rows) VALUES ('education_data', 'import', 30)")
    assert told("education") == "mixed"
    execute("DELETE FROM data_origin WHERE table_name = 'education_data'")
    assert told("education") == "own"
    execute("DROP TABLE data_origin")
    assert told("education") == "own"


def test_a_renamed_column_is_named_as_the_table_has_it(
    settings: Settings, catalogue: dict[str, Declaration], execute: Execute
) -> None:
    execute("ALTER TABLE cars RENAME company_name TO compani_name")
    with pytest.raises(ContractError, match=r"no column 'company_name'; it has 'compani_name'.*RENAME COLUMN compani"):
        take_snapshot(catalogue["car_price"], settings)
