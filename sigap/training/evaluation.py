"""Scoring on held-out rows: the folds, the metrics on each of them, and differences with an interval."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from sigap.bundle import Paired
from sigap.errors import ConfigurationError

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
Floats = NDArray[np.float64]
Score = Callable[[Floats, Floats], dict[str, float]]

# Metrics of which less is better.
ERRORS = frozenset({"rmse", "mae", "mape", "log_loss", "brier"})


def folds(target: Floats, count: int, seed: int, *, stratified: bool) -> tuple[Fold, ...]:
    """Training and held-out positions of each fold; classes are spread evenly when `stratified`."""
    splitter = (StratifiedKFold if stratified else KFold)(count, shuffle=True, random_state=seed)
    return tuple(splitter.split(np.zeros((len(target), 1)), target if stratified else None))


def repeated_folds(
    target: Floats, count: int, repeats: int, seed: int, *, stratified: bool
) -> tuple[tuple[Fold, ...], ...]:
    """The folds of each repeat, each split anew from a seed of its own."""
    return tuple(folds(target, count, seed + repeat, stratified=stratified) for repeat in range(repeats))


def fit_model(model: Any, features: pd.DataFrame, target: Floats) -> Any:
    """A fitted clone, in one thread so that the last digits never change.

    Raises:
        ConfigurationError: An option of the estimator has a value that it does not take.
    """
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A linear model that stops a little early on one fold is scored as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return clone(model).fit(features, target)
        except ValueError as error:
            if "must be" not in str(error):
                raise
            raise ConfigurationError(
                f"params.yaml: an estimator can't be fitted: {error}.", remedy="Correct its grid."
            ) from error


def answers(model: Any, features: pd.DataFrame) -> Floats:
    """The model's predictions: probability of yes where it has any, else the target. Shape (n,)."""
    with threadpool_limits(limits=1):
        given = model.predict_proba(features)[:, 1] if hasattr(model, "predict_proba") else model.predict(features)
    values: Floats = np.asarray(given, dtype=np.float64)
    return values


def held_out(model: Any, features: pd.DataFrame, target: Floats, split: Sequence[Fold]) -> Floats:
    """Each row's prediction by the model that was fitted without the row's fold, shape (n,)."""
    predicted = np.full(len(target), np.nan)
    for training, testing in split:
        fitted = fit_model(model, features.iloc[training], target[training])
        predicted[testing] = answers(fitted, features.iloc[testing])
    return predicted


def regression_scores(true: Floats, predicted: Floats) -> dict[str, float]:
    """`r2` (best 1; 0 says nothing more than the mean), `rmse` and `mae` in the target's unit, `mape` as a share."""
    error = predicted - true
    spread = float(np.square(true - true.mean()).sum())
    scores = {
        "r2": 1 - float(np.square(error).sum()) / spread if spread else 0.0,
        "rmse": math.sqrt(float(np.square(error).mean())),
        "mae": float(np.abs(error).mean()),
    }
    if (true != 0).all():
        scores["mape"] = float(np.abs(error / true).mean())
    return scores


def classification_scores(true: Floats, predicted: Floats) -> dict[str, float]:
    """Scores of probabilities of yes: the answer is yes from 0.5 on.

    `accuracy`, `balanced_accuracy` and `f1` (0 to 1), `roc_auc` (0.5 is chance), `average_precision`, `brier` (mean
    squared error of the probability) and `log_loss` (both from 0, lower is better).
    """
    said = predicted >= 0.5
    yes = true == 1
    scores = {
        "accuracy": float((said == yes).mean()),
        "f1": float(f1_score(yes, said, zero_division=0.0)),
        "brier": float(np.square(predicted - true).mean()),
        "log_loss": float(log_loss(yes, np.clip(predicted, 1e-6, 1 - 1e-6), labels=[False, True])),
    }
    if yes.any() and not yes.all():
        scores["balanced_accuracy"] = float(balanced_accuracy_score(yes, said))
        scores["roc_auc"] = float(roc_auc_score(yes, predicted))
        scores["average_precision"] = float(average_precision_score(yes, predicted))
    return scores


def fold_scores(score: Score, true: Floats, predicted: Floats, split: Sequence[Fold]) -> dict[str, list[float]]:
    """Each metric on each fold, in their order; a metric that one fold can't have is left out."""
    each = [score(true[testing], predicted[testing]) for _, testing in split]
    common = [name for name in each[0] if all(name in scores for scores in each)]
    return {name: [scores[name] for scores in each] for name in common}


def joined(parts: Sequence[Mapping[str, list[float]]]) -> dict[str, list[float]]:
    """The scores of several repeats one after another."""
    common = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: [value for part in parts for value in part[name]] for name in common}


def summary(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean over the folds of each metric, with the folds' standard deviation as `…_sd`."""
    found: dict[str, float] = {}
    for name, values in scores.items():
        found[name] = float(np.mean(values))
        found[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return found


def paired(
    metric: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    rows: int,
    folds: int,
    confidence: float = 0.95,
) -> Paired:
    """Mean difference of two scores on the same folds, positive where `ours` is better, with its interval.

    Repeated folds share rows, so that their differences vary less than those of fresh data would; the variance is
    corrected by the share of held-out rows (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366).

    Args:
        metric: Name of the score; of an error less is better.
        ours: Score on each fold of each repeat.
        theirs: The other's on the same folds.
        rows: Number of rows scored.
        folds: Folds of one repeat.
        confidence: Of the interval, between 0 and 1.
    """
    gains = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if metric in ERRORS:
        gains = -gains
    mean = float(gains.mean())
    error = 0.0
    if len(gains) > 1:
        error = math.sqrt(float(gains.var(ddof=1)) * (1 / len(gains) + 1 / (folds - 1)))
        error *= float(student.ppf((1 + confidence) / 2, len(gains) - 1))
    return Paired(metric=metric, difference=mean, low=mean - error, high=mean + error, confidence=confidence, rows=rows)


def sampled(count: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Positions to score: all of them, or a seeded sample of `limit` in rising order."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def bins(values: Floats, count: int) -> Iterator[tuple[float, float, NDArray[np.bool_]]]:
    """Up to `count` slices of equally many rows by rising value: lowest, highest, which rows; equal values are one."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)))
    edges = np.repeat(edges, 2) if len(edges) == 1 else edges
    for low, high in itertools.pairwise(edges):
        inside = (values >= low) & ((values < high) | (high == edges[-1]))
        if inside.any():
            yield float(low), float(high), inside
