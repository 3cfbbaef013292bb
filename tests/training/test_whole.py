"""A model that was trained on a sample is held against scikit-learn on every row of its snapshot, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sigap.bundle import MODEL, SampleEntry, read_manifest
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.data.mock import customers
from sigap.errors import BundleError
from sigap.model_card import model_card
from sigap.training.bundling import serialized
from sigap.training.clustering import ClusteringTrainer
from sigap.training.forecasting_export import _constant
from sigap.training.params import Params
from sigap.training.series import prepare_series, stretches
from tests.training import test_forecasting as forecasting
from tests.training import test_segments as segments
from tests.training.conftest import bundled as clusters_bundled
from tests.training.supervised import TRAINER, bundled, cars, sweep, trained_on


def _batches(table: pd.DataFrame, rows: int = 50) -> Iterator[pd.DataFrame]:
    for start in range(0, len(table), rows):
        yield table.iloc[start : start + rows]


def test_every_row_of_a_regression(tmp_path: Path) -> None:
    table = cars(400)
    table.loc[::7, "horsepower"] = np.nan
    forest = {"estimator": "random_forest", "grid": {"n_estimators": [15], "min_samples_leaf": [3]}}
    params = sweep(False, candidates={"forest": forest}, repeats=10)
    trained = trained_on(CAR_PRICE, table.iloc[:300], params)
    bundled(tmp_path / "ours", trained)
    assert TRAINER.check_rows(trained, tmp_path / "ours", _batches(table)) == 400

    other = trained_on(CAR_PRICE, cars(300, seed=5), params)
    bundled(tmp_path / "other", other)
    with pytest.raises(BundleError, match=r"answers 50 of 50 rows otherwise than scikit-learn, first \(1,\)"):
        TRAINER.check_rows(trained, tmp_path / "other", _batches(table))

    manifest = read_manifest(tmp_path / "ours")
    assert '"sample"' not in manifest.model_dump_json()
    assert "Trained on 1 rows" in model_card(CAR_PRICE, manifest)
    data = manifest.data.model_copy(update={"rows": 400, "sample": SampleEntry(rows=120, drawn="drawn evenly")})
    card = model_card(CAR_PRICE, manifest.model_copy(update={"data": data}))
    assert "| Trained on | 120 of these rows, drawn evenly |" in card
    assert "Trained on 120 rows of one source" in card


def test_every_row_of_a_clustering(tmp_path: Path) -> None:
    table, how = customers(600), ClusteringTrainer()
    params = Params(n_init=2, bootstraps=10)
    trained = [segments.train(part, params).sweep for part in (table.iloc[:400], customers(500, seed=3))]
    for name, each in zip(("ours", "other"), trained, strict=True):
        clusters_bundled(tmp_path / name, each)
    finished = segments.train(table.iloc[:400], params)
    known = finished.prepared.used
    assert how.check_rows(finished, tmp_path / "ours", _batches(table)) == len(table[list(known)].dropna(how="all"))
    with pytest.raises(BundleError, match="rows otherwise than scikit-learn"):
        how.check_rows(finished, tmp_path / "other", _batches(table))


def test_every_step_of_a_series(tmp_path: Path) -> None:
    table = forecasting.echo(count=1_500)
    whole = prepare_series(BITCOIN_PRICE, table)
    parts = list(stretches(BITCOIN_PRICE, _batches(table, 40)))
    assert sum(len(each.at) for each in parts) == len(whole.at)
    assert np.array_equal(np.concatenate([each.looks for each in parts]), whole.looks)
    # A batch that is shorter than what is looked back at.
    assert sum(len(each.at) for each in stretches(BITCOIN_PRICE, _batches(table, 3))) == len(whole.at)
    # Holes stay holes, on a batch's border too.
    holes = table.drop(table.index[[79, 80, 500]])
    assert sum(len(each.at) for each in stretches(BITCOIN_PRICE, _batches(holes, 40))) == len(
        prepare_series(BITCOIN_PRICE, holes).at
    )

    trained = forecasting.train(table.tail(900))
    forecasting.write(tmp_path, trained)
    assert forecasting.HOW.check_rows(trained, tmp_path, _batches(table, 100)) == len(whole.at)
    (tmp_path / MODEL).write_bytes(serialized(_constant(trained.prepared.lags, 0.5)))
    with pytest.raises(BundleError, match="steps otherwise than scikit-learn"):
        forecasting.HOW.check_rows(trained, tmp_path, _batches(table, 100))
