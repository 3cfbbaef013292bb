"""One encoder for tables with numbers and categories, described by plain data so that the API repeats it exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import TargetEncoder
from sklearn.utils.validation import check_is_fitted

from sigap.bundle import InputColumn
from sigap.catalog import Declaration, Kind

# What skops has to be told to trust when it loads a pipeline with this step.
TRUSTED_TYPES = ("sigap.training.tabular.TabularEncoder",)

Coding = Literal["one_hot", "target"]
TARGET_FOLDS = 5


class TabularEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # sklearn is untyped
    """Turns a frame of features into a matrix of numbers, learnt from the training rows alone.

    A number that is missing becomes the training rows' median. A category becomes a column of its own for each value
    seen, where a missing or unseen value is all zeros; or, coded by target, one number: the mean of the target over
    the rows of that category, shrunk towards the mean of all (Micci-Barreca 2001, doi:10.1145/507533.507538), where a
    missing or unseen value is the mean of all. While training, a row's own target never enters its own code.
    Categories are the same in any case of letters.

    Args:
        features: The features, in the matrix' order.
        categories: Declared values by categorical feature; every other feature is a number.
        coding: How categories become numbers.
        by_target: Categorical features coded by target although `coding` is one-hot.
        random_state: Seed of the folds of target coding.

    Attributes:
        inputs_: One mapping a feature, the fields of `sigap.bundle.InputColumn`.
    """

    def __init__(
        self,
        features: Sequence[str] = (),
        categories: Mapping[str, Sequence[str]] | None = None,
        coding: Coding = "one_hot",
        by_target: Sequence[str] = (),
        random_state: int = 42,
    ) -> None:
        self.features = features
        self.categories = categories
        self.coding = coding
        self.by_target = by_target
        self.random_state = random_state

    @property
    def inputs(self) -> tuple[InputColumn, ...]:
        """The matrix' columns as the manifest has them.

        Raises:
            NotFittedError: Before `fit`.
        """
        check_is_fitted(self)
        return tuple(InputColumn.model_validate(entry) for entry in self.inputs_)

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: N803 - scikit-learn's signature
        """Learns from `X`, a frame with the features as columns; `y`, shape (n_rows,), is needed to code by target."""
        self.inputs_ = [self._learn(name, X[name], y) for name in self.features]
        return self

    def fit_transform(self, X: pd.DataFrame, y: Any = None, **_: Any) -> NDArray[np.float64]:  # noqa: N803
        """`fit` and `transform`, but a row is coded by the targets of other rows only."""
        self.fit(X, y)
        matrix = self.transform(X)
        start = 0
        for column in self.inputs:
            if self._is_by_target(column.feature) and len(column.categories) > 1:
                codes = _codes(X[column.feature], column.categories)
                coder = self._target_encoder(y, column.categories, folds=True)
                matrix[:, start] = coder.fit_transform(codes[:, None], y)[:, 0]
            start += column.width
        return matrix

    def transform(self, X: pd.DataFrame) -> NDArray[np.float64]:  # noqa: N803
        """The matrix, shape (n_rows, width), float64, without missing values."""
        inputs = self.inputs
        if not inputs:
            return np.zeros((len(X), 0))
        return np.hstack([_columns(X[column.feature], column) for column in inputs])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Names of the matrix' columns: the feature, or `feature=category`."""
        names: list[str] = []
        for column in self.inputs:
            one_hot = column.kind == "one_hot"
            names += [f"{column.feature}={each}" for each in column.categories] if one_hot else [column.feature]
        return np.array(names, dtype=object)

    def _is_by_target(self, name: str) -> bool:
        declared = self.categories or {}
        return name in declared and (self.coding == "target" or name in self.by_target)

    def _learn(self, name: str, values: pd.Series[Any], y: Any) -> dict[str, Any]:
        missing = float(values.isna().mean()) if len(values) else 0.0
        declared = (self.categories or {}).get(name)
        if declared is None:
            known = values.astype("float64").dropna()
            impute = float(known.median()) if len(known) else 0.0
            return {"feature": name, "kind": "number", "impute": impute, "missing_share": missing}
        present = {str(value).casefold() for value in values.dropna().unique()}
        seen = [value for value in declared if value.casefold() in present]
        if not self._is_by_target(name):
            return {"feature": name, "kind": "one_hot", "categories": seen, "missing_share": missing}
        mean = float(np.mean(y))
        coded = [mean] * len(seen)
        if len(seen) > 1:
            coder = self._target_encoder(y, seen, folds=False).fit(_codes(values, seen)[:, None], y)
            coded = [float(value) for value in coder.encodings_[0][: len(seen)]]
        return {
            "feature": name,
            "kind": "ordinal",
            "impute": mean,
            "categories": seen,
            "values": coded,
            "missing_share": missing,
        }

    def _target_encoder(self, y: Any, seen: Sequence[str], *, folds: bool) -> TargetEncoder:
        binary = set(np.unique(y)) <= {0, 1}
        return TargetEncoder(
            # One more code than categories, for missing values.
            categories=[np.arange(len(seen) + 1)],
            target_type="binary" if binary else "continuous",
            cv=TARGET_FOLDS if folds else 2,
            random_state=self.random_state,
        )


def encoder(
    declaration: Declaration,
    used: Sequence[str] | None = None,
    *,
    coding: Coding = "one_hot",
    by_target: Sequence[str] = (),
    random_state: int = 42,
) -> TabularEncoder:
    """An unfitted encoder of the declaration's features, or of those `used`, in the declaration's order."""
    features = [each for each in declaration.features if used is None or each.name in used]
    return TabularEncoder(
        features=[each.name for each in features],
        categories={each.name: list(each.categories) for each in features if each.kind is Kind.CATEGORY},
        coding=coding,
        by_target=list(by_target),
        random_state=random_state,
    )


def canonical(declaration: Declaration, table: pd.DataFrame) -> pd.DataFrame:
    """The table with each declared category in its declared spelling, whatever its case; other values stay."""
    table = table.copy()
    for feature in declaration.features:
        if feature.kind is Kind.CATEGORY and feature.name in table:
            spelling = {value.casefold(): value for value in feature.categories}
            table[feature.name] = [
                spelling.get(str(value).casefold(), value) if pd.notna(value) else None for value in table[feature.name]
            ]
    return table


def _codes(values: pd.Series[Any], categories: Sequence[str]) -> NDArray[np.int64]:
    """Position of each value among the categories; one past the last for a missing or unseen one."""
    position = {value.casefold(): at for at, value in enumerate(categories)}
    unknown = len(categories)
    codes: dict[Any, int] = {value: position.get(str(value).casefold(), unknown) for value in values.dropna().unique()}
    return values.map(codes).fillna(unknown).to_numpy(dtype=np.int64)


def _columns(values: pd.Series[Any], column: InputColumn) -> NDArray[np.float64]:
    if column.kind == "number":
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isnan(numbers), np.float64(column.impute or 0.0), numbers)[:, None]
    codes = _codes(values, column.categories)
    if column.kind == "one_hot":
        return np.eye(len(column.categories) + 1)[codes][:, :-1]
    return np.array([*column.values, column.impute], dtype=np.float64)[codes][:, None]
