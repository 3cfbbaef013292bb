"""How sure an answer is: conformal intervals for numbers, calibration for probabilities, both measured."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pandas as pd
from mapie.regression import CrossConformalRegressor
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from sigap.bundle import Bilingual, Interval
from sigap.training.evaluation import Floats, Fold, bins
from sigap.training.wording import in_indonesian

METHOD = "cross-conformal (MAPIE, absolute residuals of 5 folds)"
CONFORMAL_FOLDS = 5
# |Z| of Spiegelhalter's test above this: the probabilities are surely off.
SURELY_OFF = 1.959963984540054
# Off by less on average, a probability is good enough to be shown whatever a test on many rows says.
TOLERATED_ERROR = 0.02


def conformal_interval(
    model: Any,
    features: pd.DataFrame,
    target: Floats,
    *,
    confidence: float,
    scale: Literal["linear", "log"],
    coverage: float,
    seed: int,
) -> Interval:
    """The interval around any prediction of `model`, from the residuals of held-out rows.

    The residuals' quantile stands on both sides of the prediction of the model of all rows (MAPIE's `base`; Barber
    et al. 2021, doi:10.1214/20-AOS1965, call it the naive cross-conformal variant of CV+). CV+ itself needs every
    fold's model at each answer; that its coverage is no better here is measured by `benchmarks/car.py`.

    Args:
        model: The unfitted model.
        features: Training rows.
        target: Their target.
        confidence: Share of true values to hold.
        scale: `log` gives ends in proportion to the prediction.
        coverage: Its measured coverage, see `coverage`.
        seed: Of the folds.
    """
    mapie = _conformal(model, features, target, confidence, scale, seed, "base")
    half = _half_width(mapie, features)
    return Interval(confidence=confidence, scale=scale, low=-half, high=half, coverage=coverage, method=METHOD)


def coverage(
    model: Any,
    features: pd.DataFrame,
    target: Floats,
    split: tuple[Fold, ...],
    *,
    confidence: float,
    scale: Literal["linear", "log"],
    seed: int,
    method: Literal["base", "plus"] = "base",
) -> tuple[float, float]:
    """Share of held-out true values within intervals made without them, and the intervals' median relative width."""
    held, widths = [], []
    for training, testing in split:
        mapie = _conformal(model, features.iloc[training], target[training], confidence, scale, seed, method)
        with threadpool_limits(limits=1):
            _, ends = mapie.predict_interval(features.iloc[testing])
        low, high = (np.exp(end) if scale == "log" else end for end in (ends[:, 0, 0], ends[:, 1, 0]))
        true = target[testing]
        held.append((low <= true) & (true <= high))
        widths.append((high - low) / np.abs(true))
    return float(np.concatenate(held).mean()), float(np.median(np.concatenate(widths)))


def calibration(true: Floats, probability: Floats) -> tuple[dict[str, float], bool, Bilingual]:
    """Whether probabilities can be taken at their word, on held-out rows.

    Metrics: `calibration_error` (expected calibration error over ten equally filled bins, 0 to 1, lower is better)
    and `calibration_z` (Spiegelhalter 1986, doi:10.1002/sim.4780050506: beyond ±1.96 surely off).

    Returns:
        The metrics, whether the probabilities are calibrated, and the same as a sentence.
    """
    gaps = [
        (inside.mean(), abs(float(probability[inside].mean() - true[inside].mean())))
        for _, _, inside in bins(probability, 10)
    ]
    error = float(sum(weight * gap for weight, gap in gaps))
    certain = np.square(1 - 2 * probability) * probability * (1 - probability)
    z = float(((true - probability) * (1 - 2 * probability)).sum() / math.sqrt(max(float(certain.sum()), 1e-12)))
    calibrated = abs(z) <= SURELY_OFF or error <= TOLERATED_ERROR
    shown = f"{100 * error:.1f}"
    if calibrated:
        text = Bilingual(
            id=f"Peluang terkalibrasi: pada data yang tidak dilatih, rata-rata meleset {in_indonesian(shown)} poin "
            "persen.",
            en=f"Probabilities are calibrated: on rows not trained on they are off by {shown} percentage points.",
        )
    else:
        text = Bilingual(
            id=f"Peluang tidak terkalibrasi: rata-rata meleset {in_indonesian(shown)} poin persen; pakai sebagai "
            "urutan saja.",
            en=f"Probabilities are not calibrated: they are off by {shown} percentage points; take them as a ranking.",
        )
    return {"calibration_error": error, "calibration_z": z}, calibrated, text


def _conformal(
    model: Any,
    features: pd.DataFrame,
    target: Floats,
    confidence: float,
    scale: Literal["linear", "log"],
    seed: int,
    method: Literal["base", "plus"],
) -> Any:
    mapie = CrossConformalRegressor(
        _on_scale(model, scale),
        confidence_level=confidence,
        method=method,
        cv=KFold(CONFORMAL_FOLDS, shuffle=True, random_state=seed),
    )
    with threadpool_limits(limits=1):
        return mapie.fit_conformalize(features, np.log(target) if scale == "log" else target)


def _on_scale(model: Any, scale: Literal["linear", "log"]) -> Any:
    """The model, learning and predicting logarithms of the target where the interval is on that scale."""
    if scale == "linear":
        return clone(model)
    if isinstance(model, TransformedTargetRegressor):
        return clone(model.regressor)
    return TransformedTargetRegressor(clone(model), func=np.exp, inverse_func=np.log, check_inverse=False)


def _half_width(mapie: Any, features: pd.DataFrame) -> float:
    with threadpool_limits(limits=1):
        points, ends = mapie.predict_interval(features.iloc[:1])
    return float(ends[0, 1, 0] - points[0])
