"""Estimators and pre-processors by name, and what a supervised sweep tries, out of `params.yaml`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sigap import catalog
from sigap.catalog import Declaration, Kind
from sigap.errors import ConfigurationError
from sigap.training import tabular
from sigap.training.params import read_section

# What skops has to be told to trust when it loads a recipe's model.
TRUSTED_TYPES = (
    *tabular.TRUSTED_TYPES,
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
)
# A category with more values than this is coded by target where a recipe asks for it; one-hot, most of its columns
# would be nearly empty.
MANY_CATEGORIES = 8
MAXIMUM_CANDIDATES = 200
CALIBRATION_FOLDS = 5

Estimator = Literal[
    "ridge",
    "logistic_regression",
    "random_forest",
    "extra_trees",
    "hist_gradient_boosting",
    "gradient_boosting",
]
Preprocessor = Literal[
    "median_imputer",
    "median_imputer_with_scaler",
    "median_imputer_target_coded",
    "median_imputer_target_coded_with_scaler",
]
_REGRESSORS: dict[str, Any] = {
    "ridge": Ridge,
    "random_forest": RandomForestRegressor,
    "extra_trees": ExtraTreesRegressor,
    "hist_gradient_boosting": HistGradientBoostingRegressor,
    "gradient_boosting": GradientBoostingRegressor,
}
_CLASSIFIERS: dict[str, Any] = {
    "logistic_regression": LogisticRegression,
    "random_forest": RandomForestClassifier,
    "extra_trees": ExtraTreesClassifier,
    "hist_gradient_boosting": HistGradientBoostingClassifier,
    "gradient_boosting": GradientBoostingClassifier,
}


class Family(BaseModel):
    """Candidates that share estimator and pre-processor; every combination of the grid's values is one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    estimator: Estimator
    preprocessor: Preprocessor = "median_imputer"
    target_scale: Literal["linear", "log"] = Field("linear", description="Scale on which a number is learnt.")
    calibration: Literal["none", "sigmoid"] = Field("none", description="How a class's probability is put right.")
    grid: dict[str, list[int | float | str | None]] = Field({}, description="Values to try, by estimator option.")


class Recipe(BaseModel):
    """One candidate: everything that makes its model, plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimator: Estimator
    preprocessor: Preprocessor
    target_scale: Literal["linear", "log"] = "linear"
    calibration: Literal["none", "sigmoid"] = "none"
    options: dict[str, int | float | str | None] = Field({}, description="Of the estimator.")


class SupervisedParams(BaseModel):
    """A supervised model's section of `params.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    folds: int = Field(5, ge=2, le=20, description="Folds of the cross-validation.")
    repeats: int = Field(4, ge=1, le=50, description="How often it is repeated, each time split anew.")
    inner_folds: int = Field(3, ge=2, le=20, description="Folds within each training part, to choose as if blind.")
    scored_rows: int = Field(20_000, ge=100, description="Of more rows, a seeded sample of so many is scored.")
    random_state: int = Field(42, ge=0, lt=2**32, description="Seed of everything random.")
    candidates: dict[str, Family] = Field(min_length=1, description="Families by name.")

    @model_validator(mode="after")
    def _grids_are_small(self) -> SupervisedParams:
        if (count := len(self.recipes())) > MAXIMUM_CANDIDATES:
            raise ValueError(f"{count} candidates are more than {MAXIMUM_CANDIDATES}")
        return self

    @model_validator(mode="after")
    def _families_can_be_served(self) -> SupervisedParams:
        for name, family in self.candidates.items():
            scaled = family.preprocessor.endswith("with_scaler")
            if family.estimator == "hist_gradient_boosting" and scaled:
                # Its thresholds travel to ONNX as float32, and scaled values lie too near to them.
                raise ValueError(f"{name}: hist_gradient_boosting needs no scaler and can't be served behind one")
        return self

    def recipes(self) -> dict[str, Recipe]:
        """Every candidate by name: the family's, numbered when its grid has several."""
        found: dict[str, Recipe] = {}
        for name, family in self.candidates.items():
            combinations = list(itertools.product(*family.grid.values()))
            for number, values in enumerate(combinations, 1):
                found[f"{name}-{number}" if len(combinations) > 1 else name] = Recipe(
                    estimator=family.estimator,
                    preprocessor=family.preprocessor,
                    target_scale=family.target_scale,
                    calibration=family.calibration,
                    options=dict(zip(family.grid, values, strict=True)),
                )
        return found


def read_supervised_params(root: Path, model: str) -> SupervisedParams:
    """The parameters of `model` in the checkout's `params.yaml`; without a section of its own, the usual families.

    Raises:
        ConfigurationError: The file can't be read, or a value can't be used; the message names it.
    """
    return read_section(root, model, SupervisedParams, lambda: {"candidates": _usual(catalog.declaration(model))})


def _usual(declaration: Declaration) -> dict[str, Any]:
    linear = "logistic_regression" if declaration.task.kind == "classification" else "ridge"
    boosting = {"max_iter": [80], "learning_rate": [0.06], "max_leaf_nodes": [8], "min_samples_leaf": [15]}
    return {
        linear: {"estimator": linear, "preprocessor": "median_imputer_with_scaler"},
        "random_forest": {"estimator": "random_forest", "grid": {"n_estimators": [150], "min_samples_leaf": [2, 8]}},
        "hist_gradient_boosting": {"estimator": "hist_gradient_boosting", "grid": boosting},
    }


def build(recipe: Recipe, declaration: Declaration, used: Sequence[str], random_state: int) -> Any:
    """The recipe's unfitted model: takes a frame of the features `used`, gives the target or the probability of yes.

    Raises:
        ConfigurationError: The estimator is not one for this task, or does not know an option.
    """
    classifies = declaration.task.kind == "classification"
    known = _CLASSIFIERS if classifies else _REGRESSORS
    if recipe.estimator not in known:
        raise ConfigurationError(
            f"params.yaml: {declaration.name} is a {declaration.task.kind}; {recipe.estimator} is none.",
            remedy=f"Choose one of: {', '.join(known)}.",
        )
    by_target = [
        feature.name
        for feature in declaration.features
        if feature.kind is Kind.CATEGORY and len(feature.categories) > MANY_CATEGORIES
    ]
    coded = recipe.preprocessor.startswith("median_imputer_target_coded")
    steps: list[tuple[str, Any]] = [
        (
            "encode",
            tabular.encoder(declaration, used, by_target=by_target if coded else (), random_state=random_state % 2**31),
        )
    ]
    if recipe.preprocessor.endswith("with_scaler"):
        steps.append(("scale", StandardScaler()))
    model = Pipeline([*steps, ("estimate", _estimator(known[recipe.estimator], recipe, declaration, random_state))])
    if recipe.calibration == "sigmoid" and classifies:
        # Learnt from predictions held out within the training rows (Platt 1999); the model itself sees them all.
        return CalibratedClassifierCV(model, method="sigmoid", cv=CALIBRATION_FOLDS, ensemble=False)
    if recipe.target_scale == "log" and not classifies:
        return TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp)
    return model


def pipeline(model: Any) -> Pipeline:
    """The fitted pipeline within a recipe's fitted model."""
    if isinstance(model, CalibratedClassifierCV):
        return model.calibrated_classifiers_[0].estimator
    return model.regressor_ if isinstance(model, TransformedTargetRegressor) else model


def _estimator(kind: Any, recipe: Recipe, declaration: Declaration, random_state: int) -> Any:
    options: dict[str, Any] = dict(recipe.options)
    if recipe.estimator != "ridge" or "solver" in options:
        options["random_state"] = random_state
    if recipe.estimator == "logistic_regression":
        options.setdefault("max_iter", 2000)
    if recipe.estimator == "hist_gradient_boosting":
        # Stopping early would set rows aside within the fold and depend on how many there are.
        options.setdefault("early_stopping", False)
    try:
        estimator = kind(**options)
    except TypeError as error:
        raise ConfigurationError(
            f"params.yaml: {declaration.name}: {recipe.estimator} can't be made: {error}.", remedy="Correct its grid."
        ) from None
    return estimator
