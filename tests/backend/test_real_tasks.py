"""Models of the further tasks, trained and exported for real, served: every row gets the answer that training gave."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backend.requests import Validator
from backend.served import Served, load
from sigap.bundle import MANIFEST, CodeEntry, DataEntry
from sigap.catalog import Declaration
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.declaration import Clustering
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.data import mock
from sigap.data.market import mock_candles
from sigap.settings import ROOT
from sigap.training.evaluation import answers
from sigap.training.trainer import trainer

ROWS = 120


def named(declaration: Declaration, table: pd.DataFrame) -> pd.DataFrame:
    """The mock table with the snapshot's names in place of the table's columns."""
    declared = [*declaration.columns, *declaration.features, declaration.target]
    return table.rename(columns={each.sql.removeprefix("t."): each.name for each in declared if each and each.sql})


def loans() -> pd.DataFrame:
    table = named(LOAN_APPROVAL, mock.loans())
    # The mock file is as the public one: in thousands, which the way into the warehouse mends.
    return table.assign(LoanAmount=table["LoanAmount"] * 1000)


def candles() -> pd.DataFrame:
    table = pd.DataFrame(mock_candles(260))
    return table.astype({name: float for name in table.columns if name != "opened_at"})


def supervised(**candidates: dict[str, Any]) -> dict[str, Any]:
    return {"folds": 5, "repeats": 3, "inner_folds": 2, "candidates": candidates}


LINEAR = supervised(linear={"estimator": "logistic_regression", "preprocessor": "median_imputer_with_scaler"})
BOOSTED = {"estimator": "hist_gradient_boosting", "target_scale": "log", "grid": {"max_iter": [40]}}
CODED = {"estimator": "ridge", "preprocessor": "median_imputer_target_coded_with_scaler", "target_scale": "log"}


def trained_and_served(folder: Path, declaration: Declaration, table: pd.DataFrame, values: Any) -> tuple[Any, Served]:
    """What was trained on the table, and the API's own view of its bundle."""
    how = trainer(declaration)
    params = how.parse_params(values)
    prepared = how.prepare(declaration, table)
    tried = [how.fit(prepared, declaration, params, spec.name) for spec in how.candidates(params)]
    trained = how.choose(declaration, prepared, params, tried)
    period = how.summary(prepared)["period"]
    data = DataEntry(version="v1", md5="0" * 32, rows=1, rows_rejected=0, period=period, git_commit="", query="")
    how.write_bundle(folder, trained, data=data, code=CodeEntry(git_commit="", lock_sha256=""))
    sha256 = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    check = Validator(declaration)
    return trained, load(folder, declaration, check, version="1", manifest_sha256=sha256, origin="registry")


def requests(declaration: Declaration, features: pd.DataFrame) -> list[dict[str, Any]]:
    plain = features[list(declaration.feature_names)].astype(object)
    return [dict(row) for row in plain.where(plain.notna(), None).to_dict("records")]


@pytest.mark.parametrize("recipe", [BOOSTED, CODED])
def test_every_car_gets_its_price(tmp_path: Path, recipe: dict[str, Any]) -> None:
    trained, served = trained_and_served(tmp_path, CAR_PRICE, named(CAR_PRICE, mock.cars()), supervised(only=recipe))
    table = trained.prepared.table.iloc[:ROWS]
    expected = answers(trained.model, table[list(trained.prepared.used)])
    for request, price in zip(requests(CAR_PRICE, table), expected, strict=True):
        answer = served.predict(request | {"CompanyName": request["CompanyName"].upper()})
        assert answer["price"] == pytest.approx(price, rel=1e-5)
        assert answer["interval"]["low"] < answer["price"] < answer["interval"]["high"]
        assert served.manifest.segment(answer["price"]).label.en == answer["segment"]
        assert answer["out_of_training_range"] == answer["unseen_categories"] == []
    assert answer["baseline"]["model"] < answer["baseline"]["baseline"]


@pytest.mark.parametrize(
    ("declaration", "table"),
    [(LOAN_APPROVAL, loans()), (CREDIT_APPROVAL, named(CREDIT_APPROVAL, mock.credits()))],
    ids=["loan", "credit"],
)
def test_every_applicant_gets_the_decision(tmp_path: Path, declaration: Declaration, table: pd.DataFrame) -> None:
    trained, served = trained_and_served(tmp_path, declaration, table, LINEAR)
    rows = trained.prepared.table.iloc[:ROWS]
    expected = answers(trained.model, rows[list(trained.prepared.used)])
    filled_in = 0
    for request, probability in zip(requests(declaration, rows), expected, strict=True):
        answer = served.predict(request)
        assert answer["probability"] == pytest.approx(probability, abs=1e-5)
        assert bool(answer[declaration.task.flag]) == (answer["probability"] >= 0.5)
        assert answer["reasons"]
        filled_in += len(answer["filled_in"])
    assert (filled_in > 0) == bool(rows[list(trained.prepared.used)].isna().to_numpy().any())


def test_every_customer_gets_the_segment(tmp_path: Path) -> None:
    task = CUSTOMER_SEGMENTS.task_as(Clustering).model_copy(update={"stability_floor": 0.0, "structure_floor": None})
    declaration = CUSTOMER_SEGMENTS.model_copy(update={"task": task})
    table = named(declaration, mock.customers(400))
    values = trainer(declaration).params(ROOT, declaration.name).model_dump()
    quick = {**values, "k_min": 3, "k_max": 3, "n_init": 2, "bootstraps": 10}
    trained, served = trained_and_served(tmp_path, declaration, table, quick)
    rows = trained.prepared.matrix.iloc[:ROWS]
    for request, cluster in zip(requests(declaration, rows), trained.model.predict(rows), strict=True):
        answer = served.predict(request)
        assert answer["cluster"] == cluster
        assert set(answer["profile"]) == set(trained.prepared.used)
        assert answer["distinguishing"]
    assert served.clusters is not None


def test_the_next_close_is_the_models(tmp_path: Path) -> None:
    declaration = BITCOIN_PRICE
    how = trainer(declaration)
    values = how.params(ROOT, declaration.name).model_dump()
    trained, served = trained_and_served(tmp_path, declaration, candles(), values)
    series = trained.prepared
    newest = pd.DataFrame([served.manifest.returns(series.closes)], columns=series.frame.columns)
    change = float(np.asarray(trained.model.predict(newest)).reshape(-1)[0])
    answer = served.predict({})
    assert answer["next_close"] == pytest.approx(series.closes[-1] * math.exp(change), rel=1e-6)
    assert answer["naive_forecast"] == pytest.approx(series.closes[-1])
    assert answer["interval"]["low"] < answer["next_close"] < answer["interval"]["high"]
