"""Regression and classification: every candidate on the same folds, beside baselines, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sigap.bundle import (
    BaselineEntry,
    Bilingual,
    FairnessEntry,
    Interval,
    SegmentEntry,
)
from sigap.catalog import Declaration
from sigap.catalog.declaration import Classification, Regression
from sigap.errors import TrainingError
from sigap.training import evaluation, uncertainty
from sigap.training.baselines import Baseline, baselines, held_out_baseline
from sigap.training.evaluation import Floats, Fold, Score
from sigap.training.fairness import fairness_table
from sigap.training.gate import Comparison
from sigap.training.recipes import Recipe, SupervisedParams, build
from sigap.training.rows import Rows
from sigap.training.segments import cut_segments, segment_of
from sigap.training.trainer import Candidate, no_candidate
from sigap.training.wording import in_indonesian, metric_in_indonesian

# The chance that a sweep on noise finds one candidate better than its baseline, shared among the candidates.
FALSE_CHAMPION = 0.01
# A rule on one column is stood up to unless the model is surely worse.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scoring:
    """The rows and folds that every candidate of a sweep is scored on.

    Attributes:
        positions: Rows scored, by position in the prepared rows.
        features: Their used features.
        target: Their target.
        repeats: The folds of each repeat.
    """

    positions: NDArray[np.int64]
    features: pd.DataFrame
    target: Floats
    repeats: tuple[tuple[Fold, ...], ...]


@dataclass(frozen=True)
class SupervisedTrained:
    """A finished supervised sweep, as `Trained` describes it.

    Attributes:
        declaration: The model's declaration.
        prepared: The rows it was trained on.
        params: What the sweep tried.
        tried: All candidates.
        chosen: The winner.
        recipe: What the winner is made of.
        model: The winner fitted on all rows.
        scoring: The rows and folds.
        predicted: Held-out predictions, shape (repeats, rows scored).
        baseline: The hardest baseline, beside the winner.
        metrics: The winner's scores and what else was measured of it.
        interval: Of a regression.
        segments: Of a regression that declares them.
        calibrated: Of a classification: whether its probabilities can be taken at their word.
        calibration: The same as a sentence.
        fairness: Of a classification that declares groups.
    """

    declaration: Declaration
    prepared: Rows
    params: SupervisedParams
    tried: tuple[Candidate, ...]
    chosen: Candidate
    recipe: Recipe
    model: Any
    scoring: Scoring
    predicted: Floats
    baseline: BaselineEntry
    metrics: dict[str, float]
    interval: Interval | None = None
    segments: tuple[SegmentEntry, ...] = ()
    calibrated: bool = False
    calibration: Bilingual | None = None
    fairness: tuple[FairnessEntry, ...] = ()

    @property
    def caveat(self) -> Bilingual | None:
        """That it ties with its baseline, if it does."""
        return self.baseline.caveat

    @property
    def sample(self) -> pd.DataFrame:
        """Rows as the model takes them."""
        return self.prepared.features


def fit(prepared: Rows, declaration: Declaration, params: SupervisedParams, name: str) -> Candidate:
    """Scores a candidate by repeated cross-validation; a model of all rows is fitted only of the chosen one.

    Metrics are means over the folds with their standard deviation beside them as `…_sd`; see
    `evaluation.regression_scores` and `evaluation.classification_scores`. `baseline_…` are the scores of the
    hardest baseline on the same folds, `gain`, `gain_low` and `gain_high` the difference to it.

    Raises:
        TrainingError: There is no candidate of that name.
    """
    recipe = params.recipes().get(name)
    if recipe is None:
        raise TrainingError(f"{declaration.name} has no candidate {name!r}.", remedy="Plan the sweep again.")
    scoring = score_on(prepared, declaration, params)
    scores = recipe_scores(prepared, declaration, params, recipe, scoring)
    measured = _beside_baselines(declaration, params, scoring, scores)
    hardest = _hardest(declaration, measured)
    metrics = {
        **evaluation.summary(scores),
        **{f"baseline_{metric}": value for metric, value in hardest.metrics.items()},
        "gain": hardest.gain.difference,
        "gain_low": hardest.gain.low,
        "gain_high": hardest.gain.high,
    }
    return Candidate(
        name=name,
        params=recipe.model_dump(),
        metrics=metrics,
        reason=_inadmissible(measured),
        details={
            "folds": scores,
            "inner": _inner(prepared, declaration, params, recipe, scoring),
            "baseline": hardest.model_dump(mode="json"),
        },
    )


def choose(
    declaration: Declaration, prepared: Rows, params: SupervisedParams, tried: Sequence[Candidate]
) -> SupervisedTrained:
    """Chooses among the admissible and fits the chosen one on all rows.

    The best mean score wins. Of yes-or-no models that differ by less than the declared minimum effect, the one with
    the best probabilities (least Brier score) wins, since they are answered too.

    Raises:
        TrainingError: None is admissible, or the chosen one scores otherwise here than where it was fitted.
    """
    names = list(params.recipes())
    ordered = tuple(sorted(tried, key=lambda each: names.index(each.name)))
    admissible = [each for each in ordered if each.admissible]
    if not admissible:
        raise no_candidate(declaration, ordered)
    chosen = _best(declaration, admissible)
    recipe = params.recipes()[chosen.name]
    scoring = score_on(prepared, declaration, params)
    predicted = held_out_predictions(prepared, declaration, params, recipe, scoring)
    _check_same(declaration, chosen, _scores(declaration, scoring, predicted))
    unfitted = build(recipe, declaration, prepared.used, params.random_state)
    model = evaluation.fit_model(unfitted, prepared.features, prepared.target)
    measured: dict[str, Any] = (
        _classification(declaration, prepared, scoring, predicted)
        if isinstance(declaration.task, Classification)
        else _regression(declaration, prepared, params, recipe, unfitted, scoring, predicted)
    )
    metrics = {**chosen.metrics, **_nested(declaration, ordered, params.folds), **measured.pop("metrics")}
    return SupervisedTrained(
        declaration=declaration,
        prepared=prepared,
        params=params,
        tried=tuple(each.without_model() for each in ordered),
        chosen=chosen,
        recipe=recipe,
        model=model,
        scoring=scoring,
        predicted=predicted,
        baseline=BaselineEntry.model_validate(chosen.details["baseline"]),
        metrics=metrics,
        **measured,
    )


Served = tuple[Recipe, tuple[str, ...]]


def compare_recipes(
    declaration: Declaration, prepared: Rows, params: SupervisedParams, challenger: Served, champion: Served
) -> Comparison:
    """Two recipes, each with its features, on the same folds; the difference is positive where the challenger wins."""
    metric = declaration_metric(declaration)
    scoring = score_on(prepared, declaration, params)
    table = prepared.table.iloc[scoring.positions]
    scores = []
    for recipe, used in (challenger, champion):
        model = build(recipe, declaration, used, params.random_state)
        predicted = np.array(
            [evaluation.held_out(model, table[list(used)], scoring.target, split) for split in scoring.repeats]
        )
        scores.append(_scores(declaration, scoring, predicted)[metric])
    return comparison(declaration, metric, scores[0], scores[1], rows=len(table), folds=params.folds)


def comparison(
    declaration: Declaration, metric: str, ours: Sequence[float], theirs: Sequence[float], *, rows: int, folds: int
) -> Comparison:
    """The gate's comparison out of both scores on the same folds."""
    task = declaration.task
    found = evaluation.paired(metric, ours, theirs, rows=rows, folds=folds)
    champion = float(np.mean(theirs))
    effect = 0.0
    if isinstance(task, Regression):
        effect = task.minimum_effect * champion
    elif isinstance(task, Classification):
        effect = task.minimum_effect
    return Comparison(
        rows=rows,
        challenger=float(np.mean(ours)),
        champion=champion,
        difference=found.difference,
        low=found.low,
        high=found.high,
        confidence=found.confidence,
        metric=metric,
        minimum_effect=effect,
    )


def declaration_metric(declaration: Declaration) -> str:
    """The metric that candidates are chosen by."""
    task = declaration.task
    if not isinstance(task, Regression | Classification):
        raise TypeError(f"{declaration.name} is a {task.kind}")
    return task.selection


def score_on(prepared: Rows, declaration: Declaration, params: SupervisedParams) -> Scoring:
    """The rows and folds of the sweep, the same for each of its candidates."""
    positions = evaluation.sampled(len(prepared.target), params.scored_rows, params.random_state)
    target = prepared.target[positions]
    stratified = isinstance(declaration.task, Classification)
    repeats = evaluation.repeated_folds(
        target, params.folds, params.repeats, params.random_state, stratified=stratified
    )
    return Scoring(positions, prepared.features.iloc[positions], target, repeats)


def held_out_predictions(
    prepared: Rows, declaration: Declaration, params: SupervisedParams, recipe: Recipe, scoring: Scoring
) -> Floats:
    """The recipe's held-out predictions of each repeat, shape (repeats, rows scored)."""
    key = f"{recipe.model_dump_json()} {params.model_dump_json(include={'folds', 'repeats', 'random_state'})}"
    if key not in prepared.remembered:
        model = build(recipe, declaration, prepared.used, params.random_state)
        prepared.remembered[key] = np.array(
            [evaluation.held_out(model, scoring.features, scoring.target, split) for split in scoring.repeats]
        )
    found: Floats = prepared.remembered[key]
    return found


def recipe_scores(
    prepared: Rows, declaration: Declaration, params: SupervisedParams, recipe: Recipe, scoring: Scoring
) -> dict[str, list[float]]:
    """The recipe's scores on every fold of every repeat."""
    return _scores(declaration, scoring, held_out_predictions(prepared, declaration, params, recipe, scoring))


def score_function(declaration: Declaration) -> Score:
    """What scores held-out predictions of this task."""
    if isinstance(declaration.task, Classification):
        return evaluation.classification_scores
    return evaluation.regression_scores


def _scores(declaration: Declaration, scoring: Scoring, predicted: Floats) -> dict[str, list[float]]:
    score = score_function(declaration)
    return evaluation.joined(
        [
            evaluation.fold_scores(score, scoring.target, each, split)
            for each, split in zip(predicted, scoring.repeats, strict=True)
        ]
    )


def _inner(
    prepared: Rows, declaration: Declaration, params: SupervisedParams, recipe: Recipe, scoring: Scoring
) -> dict[str, list[float]]:
    """Mean scores within the training part of each fold of the first repeat: what is known without the fold's rows."""
    score = score_function(declaration)
    model = build(recipe, declaration, prepared.used, params.random_state)
    found: dict[str, list[float]] = {name: [] for name in _decisive(declaration)}
    for training, _ in scoring.repeats[0]:
        features, target = scoring.features.iloc[training], scoring.target[training]
        stratified = isinstance(declaration.task, Classification)
        split = evaluation.folds(target, params.inner_folds, params.random_state, stratified=stratified)
        scores = evaluation.fold_scores(score, target, evaluation.held_out(model, features, target, split), split)
        for name, values in found.items():
            values.append(float(np.mean(scores[name])))
    return found


def _nested(declaration: Declaration, tried: Sequence[Candidate], folds: int) -> dict[str, float]:
    """Score of the whole sweep: on each outer fold, that of the candidate chosen within the fold's training part.

    The winner's own score is the best of several and so a little flattered; this one is not (Cawley and Talbot 2010,
    JMLR 11: 2079–2107).
    """
    outer: dict[str, list[float]] = {}
    for fold in range(folds):
        blind = {
            each.name: replace(each, metrics={name: values[fold] for name, values in each.details["inner"].items()})
            for each in tried
        }
        best = _best(declaration, list(blind.values()))
        for name, values in best.details["folds"].items():
            outer.setdefault(name, []).append(values[fold])
    complete = {name: values for name, values in outer.items() if len(values) == folds}
    return {f"nested_{name}": value for name, value in evaluation.summary(complete).items()}


def _decisive(declaration: Declaration) -> tuple[str, ...]:
    """The metrics that `_best` looks at."""
    metric = declaration_metric(declaration)
    return (metric, "brier") if isinstance(declaration.task, Classification) else (metric,)


def _worth(metric: str, value: float) -> float:
    return -value if metric in evaluation.ERRORS else value


def _beside_baselines(
    declaration: Declaration, params: SupervisedParams, scoring: Scoring, scores: Mapping[str, list[float]]
) -> list[BaselineEntry]:
    """Each baseline on the same folds, and the model's gain over it."""
    metric = declaration_metric(declaration)
    entries = []
    for baseline in baselines(declaration):
        theirs = _baseline_scores(declaration, baseline, scoring)
        must_beat = baseline.name != "one_column_rule"
        gain = evaluation.paired(
            metric,
            scores[metric],
            theirs[metric],
            rows=len(scoring.target),
            folds=params.folds,
            confidence=1 - FALSE_CHAMPION / len(params.recipes()) if must_beat else CONFIDENCE,
        )
        baseline.fit(scoring.features, scoring.target)
        entries.append(
            BaselineEntry(
                name=baseline.name,
                text=baseline.describe(declaration),
                metrics=evaluation.summary(theirs),
                gain=gain,
                verdict="better" if gain.low > 0 else "ties",
            )
        )
    return entries


def _baseline_scores(declaration: Declaration, baseline: Baseline, scoring: Scoring) -> dict[str, list[float]]:
    predicted = np.array(
        [held_out_baseline(baseline, scoring.features, scoring.target, split) for split in scoring.repeats]
    )
    return _scores(declaration, scoring, predicted)


def _hardest(declaration: Declaration, entries: Sequence[BaselineEntry]) -> BaselineEntry:
    metric = declaration_metric(declaration)
    return max(entries, key=lambda entry: _worth(metric, entry.metrics[metric]))


def _inadmissible(entries: Sequence[BaselineEntry]) -> Bilingual | None:
    """Why a candidate may not become champion: not surely better than guessing, or surely worse than one column."""
    for entry in entries:
        gain = entry.gain
        figures = f"{gain.difference:+.3g} [{gain.low:+.3g}, {gain.high:+.3g}]"
        en, id_ = f"{gain.metric} {figures}", f"{metric_in_indonesian(gain.metric)} {in_indonesian(figures)}"
        if entry.name == "one_column_rule" and gain.high < 0:
            return Bilingual(
                id=f"pasti lebih buruk daripada aturan satu kolom ({entry.text.id}): {id_}",
                en=f"surely worse than the rule on one column ({entry.text.en}): {en}",
            )
        if entry.name != "one_column_rule" and gain.low <= 0:
            return Bilingual(
                id=f"tidak pasti lebih baik daripada tebakan ({entry.text.id}): {id_}",
                en=f"not surely better than guessing ({entry.text.en}): {en}",
            )
    return None


def _best(declaration: Declaration, candidates: Sequence[Candidate]) -> Candidate:
    metric = declaration_metric(declaration)
    best = max(candidates, key=lambda each: _worth(metric, each.metrics[metric]))
    if not isinstance(declaration.task, Classification):
        return best
    floor = best.metrics[metric] - declaration.task.minimum_effect
    near = [each for each in candidates if each.metrics[metric] >= floor]
    return min(near, key=lambda each: each.metrics["brier"])


def _check_same(declaration: Declaration, chosen: Candidate, scores: Mapping[str, list[float]]) -> None:
    metric = declaration_metric(declaration)
    if not np.allclose(scores[metric], chosen.details["folds"][metric], rtol=1e-9, atol=1e-12):
        raise TrainingError(
            f"{declaration.name}: {chosen.name} scores otherwise here than where it was fitted.",
            remedy="Score and register with the same locked environment; nothing was registered.",
        )


def _regression(
    declaration: Declaration,
    prepared: Rows,
    params: SupervisedParams,
    recipe: Recipe,
    unfitted: Any,
    scoring: Scoring,
    predicted: Floats,
) -> dict[str, Any]:
    task = declaration.task_as(Regression)
    # In proportion to the prediction, where none can be negative: a forest averages what it has seen.
    averages = recipe.estimator in ("random_forest", "extra_trees") and bool((prepared.target > 0).all())
    scale: Literal["linear", "log"] = "log" if averages or recipe.target_scale == "log" else "linear"
    held, width = uncertainty.coverage(
        unfitted,
        scoring.features,
        scoring.target,
        scoring.repeats[0],
        confidence=task.confidence,
        scale=scale,
        seed=params.random_state,
    )
    interval = uncertainty.conformal_interval(
        unfitted,
        scoring.features,
        scoring.target,
        confidence=task.confidence,
        scale=scale,
        coverage=held,
        seed=params.random_state,
    )
    metrics = {"interval_coverage": held, "interval_relative_width": width}
    segments = cut_segments(task.segments, prepared.target, params.random_state) if task.segments else ()
    if segments:
        true = segment_of(segments, scoring.target)
        metrics["segment_accuracy"] = float(np.mean([segment_of(segments, each) == true for each in predicted]))
    return {"metrics": metrics, "interval": interval, "segments": segments}


def _classification(declaration: Declaration, prepared: Rows, scoring: Scoring, predicted: Floats) -> dict[str, Any]:
    task = declaration.task_as(Classification)
    metrics, calibrated, text = uncertainty.calibration(scoring.target, predicted[0])
    groups = prepared.table.iloc[scoring.positions]
    table = fairness_table(task.fairness, groups, scoring.target, predicted[0])
    for feature in task.fairness:
        # A group of a few rows says little; it stands in the table, not in the summary.
        impacts = [each.disparate_impact for each in table if each.feature == feature and each.rows >= 30]
        if len(impacts) > 1:
            metrics[f"disparate_impact_{feature}"] = min(impacts)
    return {"metrics": metrics, "calibrated": calibrated, "calibration": text, "fairness": table}
