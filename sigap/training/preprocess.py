"""Scaling for K-Means: extremes pulled in to a quantile, numbers standardised, indicators of categories left alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

# What skops has to be told to trust when it loads a pipeline with this step.
TRUSTED_TYPES = ("sigap.training.preprocess.Standardizer", "sigap.training.preprocess.Winsorizer")


class Winsorizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # sklearn is untyped
    """Clips each feature at a quantile and its mirror, learnt from the training rows.

    Standardised distances grow with the square of an outlier; clipped, it stays the most extreme value without
    deciding alone how all others are grouped.

    Args:
        quantile: Share of rows pulled in at each end, in [0, 0.5). 0 changes no training row.
        spare: Positions of columns that are let through as the training rows have them, such as a category's 0 and 1:
            a rare category is no extreme value.

    Attributes:
        lower_: Smallest value let through, shape (n_features,), in the features' units.
        upper_: Largest value let through, shape (n_features,), in the features' units.
    """

    def __init__(self, quantile: float = 0.05, spare: Sequence[int] = ()) -> None:
        self.quantile = quantile
        self.spare = spare

    def fit(self, X: ArrayLike, y: Any = None) -> Self:  # noqa: ARG002, N803 - scikit-learn's signature
        """Learns the bounds from `X`, shape (n_rows, n_features), without missing values."""
        values = validate_data(self, X, dtype=np.float64)
        self.lower_ = np.quantile(values, self.quantile, axis=0)
        self.upper_ = np.quantile(values, 1 - self.quantile, axis=0)
        spare = list(self.spare)
        self.lower_[spare], self.upper_[spare] = values[:, spare].min(axis=0), values[:, spare].max(axis=0)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """`X` with every value inside the bounds, shape (n_rows, n_features)."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False)
        clipped: NDArray[np.float64] = np.clip(values, self.lower_, self.upper_)
        return clipped


class Standardizer(StandardScaler):  # type: ignore[misc]  # sklearn is untyped
    """Standardises numbers and leaves the 0 and 1 of categories as they are.

    So two rows of different categories are √2 apart in that feature, which is how far two random rows are apart in a
    standardised number (root mean square): a category weighs what a number weighs. Standardised indicators would
    instead let the rarest category weigh most.

    Args:
        spare: Positions of the columns left as they are.
    """

    def __init__(self, spare: Sequence[int] = ()) -> None:
        super().__init__()
        self.spare = spare

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: N803
        """Learns means and standard deviations of the other columns from `X`, shape (n_rows, n_features)."""
        super().fit(X, y, sample_weight)
        spare = list(self.spare)
        self.mean_[spare], self.var_[spare], self.scale_[spare] = 0.0, 1.0, 1.0
        return self
