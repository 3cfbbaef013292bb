"""Samples as they are read: out of a snapshot's file, out of logged fields, out of series."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sigap.catalog import declaration
from sigap.errors import TrainingError
from sigap.monitoring import subjects
from sigap.monitoring.samples import ParquetSample, live_sample, unseen
from sigap.monitoring.subjects import live_names, live_returns

CARS, BITCOIN = declaration("car_price"), declaration("bitcoin_price")


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "cars.parquet"
    frame = pd.DataFrame(
        {
            "car_id": pd.array([1, 2, 3, 4], dtype="Int64"),
            "horsepower": pd.array([100, None, 80, 120], dtype="Int64"),
            "fueltype": ["GAS", "gas", None, "steam"],
            "price": [1.0, 2.0, None, 4.0],
        }
    )
    frame.to_parquet(path)
    return path


def test_a_snapshot_is_read_as_training_cleans_it(snapshot):
    sample = ParquetSample(snapshot, CARS, subjects._with_target(CARS, snapshot))
    assert sample.rows == 3, "a row without its target was not trained on"
    np.testing.assert_array_equal(sample.numbers("horsepower"), [100.0, np.nan, 120.0])
    assert sample.counts("fueltype") == ({"gas": 2, "steam": 1}, 0)
    assert ParquetSample(snapshot, CARS).counts("fueltype") == ({"gas": 2, "steam": 1}, 1)
    some = ParquetSample(snapshot, CARS).some(["horsepower", "fueltype"], 2, seed=1)
    assert list(some.columns) == ["horsepower", "fueltype"]
    assert len(some) == 2
    assert some["horsepower"].dtype == "float64"


def test_rows_that_training_did_not_see_are_told_by_their_key(snapshot, tmp_path):
    newer = tmp_path / "newer.parquet"
    frame = pd.read_parquet(snapshot)
    frame["car_id"] = pd.array([3, 4, 5, 6], dtype="Int64")
    frame["fueltype"] = ["gas", "steam", "steam", "gas"]
    frame.to_parquet(newer)
    assert unseen(newer, snapshot, ["car_id"]).tolist() == [False, False, True, True]
    assert unseen(newer, snapshot, ["car_id", "fueltype"]).tolist() == [True, False, True, True]


def test_logged_fields_that_are_no_numbers_count_as_missing():
    sample = live_sample(
        CARS, ["horsepower", "fueltype"], [{"horsepower": 90, "fueltype": "gas"}, {}, {"horsepower": "x"}]
    )
    np.testing.assert_array_equal(sample.numbers("horsepower"), [90.0, np.nan, np.nan])
    assert sample.counts("fueltype") == ({"gas": 1}, 2)


def test_personal_inputs_are_not_tested():
    customers = declaration("customer_segments")
    assert live_names(customers, SimpleNamespace(features_used=customers.feature_names)) == ("Var_1",)
    loans = declaration("loan_approval")
    names = live_names(loans, SimpleNamespace(features_used=loans.feature_names))
    assert names
    assert not any(loans.feature(name).personal for name in names)


def test_of_a_series_each_newest_step_counts_once():
    def request(*closes, day=1):
        return {"candles": [{"opened_at": f"2026-01-0{day + at}", "close": close} for at, close in enumerate(closes)]}

    fields = [request(1.0, 2.0, 4.0), request(9.0, 2.0, 4.0), request(2.0, 4.0, 4.0, day=2), {"candles": None}, {}]
    assert sorted(live_returns(BITCOIN, fields)) == [0.0, pytest.approx(np.log(2))]


def test_the_steps_of_a_series_never_bridge_a_hole():
    days = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-04", "2026-01-05"], utc=True)
    table = pd.DataFrame({"opened_at": days, "close": [1.0, 2.0, 8.0, 16.0]})
    assert subjects._returns(BITCOIN, table).tolist() == pytest.approx([np.log(2), np.log(2)])
    with pytest.raises(TrainingError, match="not above zero"):
        subjects._returns(BITCOIN, table.assign(close=[1.0, 0.0, 1.0, 1.0]))
