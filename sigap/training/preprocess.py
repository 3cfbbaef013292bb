"""Winsorizing: pulling the few extreme values of a feature in to a quantile before scaling."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

# What skops has to be told to trust when it loads a pipeline with this step.
TRUSTED_TYPES = ("sigap.training.preprocess.Winsorizer",)


class Winsorizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # sklearn is untyped
    """Clips each feature at a quantile and its mirror, learnt from the training rows.

    Standardised distances grow with the square of an outlier; clipped, it stays the most extreme value without
    deciding alone how all others are grouped.

    Args:
        quantile: Share of rows pulled in at each end, in [0, 0.5). 0 changes no training row.

    Attributes:
        lower_: Smallest value let through, shape (n_features,), in the features' units.
        upper_: Largest value let through, shape (n_features,), in the features' units.
    """

    def __init__(self, quantile: float = 0.05) -> None:
        self.quantile = quantile

    def fit(self, X: ArrayLike, y: Any = None) -> Self:  # noqa: ARG002, N803 - scikit-learn's signature
        """Learns the bounds from `X`, shape (n_rows, n_features), without missing values."""
        values = validate_data(self, X, dtype=np.float64)
        self.lower_ = np.quantile(values, self.quantile, axis=0)
        self.upper_ = np.quantile(values, 1 - self.quantile, axis=0)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """`X` with every value inside the bounds, shape (n_rows, n_features)."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False)
        clipped: NDArray[np.float64] = np.clip(values, self.lower_, self.upper_)
        return clipped
