"""What a supervised winner rests on, what more rows would bring, and where it errs; all on held-out rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sigap.catalog import Kind
from sigap.training import evaluation
from sigap.training.evaluation import bins
from sigap.training.recipes import build
from sigap.training.supervised import SupervisedTrained, declaration_metric, score_function

PERMUTATIONS = 3
# More rows than these tell nothing new about importance.
PERMUTED_ROWS = 2_000
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
SLICES = 4
SMALLEST_SLICE = 5
UNKNOWN = "missing"


@dataclass(frozen=True)
class Slice:
    """Rows that share a feature's value or range.

    Attributes:
        feature: The feature.
        value: Its category, or its range as text.
        rows: How many rows.
        score: Their mean error: relative absolute error of a number, share of wrong answers of a class.
    """

    feature: str
    value: str
    rows: int
    score: float


def importance(trained: SupervisedTrained) -> pd.DataFrame:
    """How much the selection metric loses when a feature's held-out values are shuffled (Breiman 2001).

    Returns:
        Columns `feature`, `loss` (mean over folds and shuffles, in the metric's unit) and `sd`, the largest first.
    """
    declaration, scoring, metric = trained.declaration, trained.scoring, declaration_metric(trained.declaration)
    score = score_function(declaration)
    model = build(trained.recipe, declaration, trained.prepared.used, trained.params.random_state)
    generator = np.random.default_rng(trained.params.random_state)
    losses: dict[str, list[float]] = {name: [] for name in trained.prepared.used}
    sign = -1.0 if metric in evaluation.ERRORS else 1.0
    for training, testing in scoring.repeats[0]:
        fitted = evaluation.fit_model(model, scoring.features.iloc[training], scoring.target[training])
        testing = testing[:PERMUTED_ROWS]
        rows, target = scoring.features.iloc[testing], scoring.target[testing]
        whole = score(target, evaluation.answers(fitted, rows))[metric]
        for name, found in losses.items():
            # All shuffles of a feature in one call: a call costs more than its rows.
            shuffled = pd.concat([rows] * PERMUTATIONS)
            orders = [generator.permutation(len(rows)) for _ in range(PERMUTATIONS)]
            shuffled[name] = rows[name].to_numpy()[np.concatenate(orders)]
            answers = evaluation.answers(fitted, shuffled).reshape(PERMUTATIONS, len(rows))
            found += [sign * (whole - score(target, each)[metric]) for each in answers]
    table = pd.DataFrame(
        {
            "feature": list(losses),
            "loss": [float(np.mean(found)) for found in losses.values()],
            "sd": [float(np.std(found)) for found in losses.values()],
        }
    )
    return table.sort_values("loss", ascending=False, kind="stable").reset_index(drop=True)


def learning_curve(trained: SupervisedTrained) -> pd.DataFrame:
    """The selection metric by number of training rows, on the same held-out folds.

    Returns:
        Columns `rows`, `training`, `held_out` and `held_out_sd` (over the folds).
    """
    declaration, scoring, metric = trained.declaration, trained.scoring, declaration_metric(trained.declaration)
    score = score_function(declaration)
    model = build(trained.recipe, declaration, trained.prepared.used, trained.params.random_state)
    generator = np.random.default_rng(trained.params.random_state)
    points = []
    shuffled = [(generator.permutation(training), testing) for training, testing in scoring.repeats[0]]
    for share in SHARES:
        inside, outside, counts = [], [], []
        for training, testing in shuffled:
            part = training[: max(20, round(share * len(training)))]
            if len(np.unique(scoring.target[part])) < 2:
                continue
            features, target = scoring.features.iloc[part], scoring.target[part]
            fitted = evaluation.fit_model(model, features, target)
            inside.append(score(target, evaluation.answers(fitted, features))[metric])
            held = evaluation.answers(fitted, scoring.features.iloc[testing])
            outside.append(score(scoring.target[testing], held)[metric])
            counts.append(len(part))
        if counts:
            points.append((int(np.mean(counts)), np.mean(inside), np.mean(outside), np.std(outside)))
    return pd.DataFrame(points, columns=["rows", "training", "held_out", "held_out_sd"])


def slices(trained: SupervisedTrained, features: int = 6) -> list[Slice]:
    """Held-out error by value of the features whose slices differ most, the most different feature first."""
    error = _errors(trained)
    found: list[tuple[float, list[Slice]]] = []
    for name in trained.prepared.used:
        parts = [each for each in _parts(trained, name, error) if each.rows >= SMALLEST_SLICE]
        if len(parts) > 1:
            weights = np.array([each.rows for each in parts])
            scores = np.array([each.score for each in parts])
            mean = float(np.average(scores, weights=weights))
            found.append((float(np.average(np.square(scores - mean), weights=weights)), parts))
    found.sort(key=lambda entry: -entry[0])
    return [each for _, parts in found[:features] for each in parts]


def _errors(trained: SupervisedTrained) -> evaluation.Floats:
    """Each scored row's error, mean over the repeats, shape (n,)."""
    target = trained.scoring.target
    errors: evaluation.Floats
    if trained.declaration.task.kind == "classification":
        errors = ((trained.predicted >= 0.5) != (target == 1)).mean(axis=0)
    else:
        scale = np.where(target == 0, 1.0, np.abs(target))
        errors = (np.abs(trained.predicted - target) / scale).mean(axis=0)
    return errors


def _parts(trained: SupervisedTrained, name: str, error: evaluation.Floats) -> list[Slice]:
    column = trained.scoring.features[name]
    missing = column.isna().to_numpy()
    parts = [Slice(name, UNKNOWN, int(missing.sum()), float(error[missing].mean()))] if missing.any() else []
    if trained.declaration.feature(name).kind is Kind.CATEGORY:
        for value in sorted(column.dropna().unique()):
            inside = (column == value).to_numpy()
            parts.append(Slice(name, str(value), int(inside.sum()), float(error[inside].mean())))
        return parts
    known = column[~missing].to_numpy()
    for low, high, inside in bins(known, SLICES):
        rows = np.flatnonzero(~missing)[inside]
        parts.append(Slice(name, f"{low:,g} to {high:,g}", len(rows), float(error[rows].mean())))
    return parts
