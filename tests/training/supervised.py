"""Made-up tables for supervised models, and a small sweep over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sigap.bundle import CodeEntry, DataEntry, Manifest
from sigap.catalog import Declaration, Kind
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.training.recipes import SupervisedParams
from sigap.training.supervised import SupervisedTrained
from sigap.training.supervised_trainer import SupervisedTrainer
from sigap.training.trainer import Candidate
from tests.shared import SHARED

CARS = SHARED / "car" / "CarPrice_Assignment.csv"
LOANS = SHARED / "loan" / "loan_prediction_train.csv"
TRAINER = SupervisedTrainer()


def public(path: Path) -> Path:
    """The file, or the test is skipped."""
    if not path.is_file():
        pytest.skip(f"the public file {path} is not there")
    return path


def features(declared: Declaration, rows: int, seed: int) -> tuple[pd.DataFrame, np.random.Generator]:
    generator = np.random.default_rng(seed)
    table = pd.DataFrame({declared.source.key[0]: np.arange(1, rows + 1)})
    for feature in declared.features:
        if feature.kind is Kind.CATEGORY:
            table[feature.name] = generator.choice(feature.categories, rows)
        else:
            low, high = feature.minimum or 0, feature.maximum or 1
            values = low + (high - low) * generator.beta(2, 5, rows)
            table[feature.name] = np.round(values) if feature.kind is Kind.INTEGER else values
    return table, generator


def cars(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    table, generator = features(CAR_PRICE, rows, seed)
    brand = 1 + 0.5 * table["CompanyName"].isin(["bmw", "jaguar", "porsche"])
    table["price"] = np.round((3 * table["curbweight"] + 20 * table["horsepower"]) * brand)
    table["price"] *= np.exp(generator.normal(0, 0.1, rows))
    return table


def credit_cases(rows: int = 400, seed: int = 0, *, noise: bool = False) -> pd.DataFrame:
    table, generator = features(CREDIT_APPROVAL, rows, seed)
    score = (table["Credit_Score"] - table["Credit_Score"].mean()) / table["Credit_Score"].std()
    signal = 0 if noise else 3 * score - 2 * (table["Had_Past_Default"] - table["Had_Past_Default"].mean())
    table["Approved"] = (signal + generator.logistic(size=rows) > 0).astype(int)
    return table


def sweep(classifies: bool, **changes: Any) -> SupervisedParams:
    linear = "logistic_regression" if classifies else "ridge"
    forest = {"estimator": "random_forest", "grid": {"n_estimators": [15], "min_samples_leaf": [3]}}
    candidates = {
        "linear": {"estimator": linear, "preprocessor": "median_imputer_with_scaler"},
        "forest": forest,
        "boosting": {"estimator": "hist_gradient_boosting", "grid": {"max_iter": [20], "max_leaf_nodes": [5]}},
    }
    return SupervisedParams.model_validate({"folds": 4, "repeats": 2, "candidates": candidates, **changes})


def trained_on(declared: Declaration, table: pd.DataFrame, params: SupervisedParams) -> SupervisedTrained:
    prepared = TRAINER.prepare(declared, table)
    tried = [TRAINER.fit(prepared, declared, params, spec.name) for spec in TRAINER.candidates(params)]
    # As they come back from other processes.
    return TRAINER.choose(declared, prepared, params, [Candidate.from_dict(each.as_dict()) for each in tried])


def bundled(folder: Path, trained: SupervisedTrained) -> Manifest:
    data = DataEntry(version="v1", md5="0" * 32, rows=1, rows_rejected=0, period=None, git_commit="", query="")
    return TRAINER.write_bundle(folder, trained, data=data, code=CodeEntry(git_commit="", lock_sha256=""))
