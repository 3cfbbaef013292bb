"""Predictions scored by what became of them: errors with intervals, coverage, calibration, beside what was promised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sigap.training.evaluation import bins

Floats = NDArray[np.float64]

RESAMPLES = 1_000
SEED = 20240601
# Numbers that are drawn in one go: a few megabytes.
AT_ONCE = 500_000
# Of the intervals that are shown, two-sided.
CONFIDENCE = 0.95
# Of the one-sided interval that an alarm rests on.
BEYOND_DOUBT = 0.99
# With fewer outcomes nothing is held against a version.
MINIMUM = 30
BINS = 10
# A bin of the reliability diagram holds about as many, so that few outcomes make few bins.
ROWS_A_BIN = 10
# A probability of exactly 0 or 1 that was wrong would cost without end.
CLIP = 1e-6
# Of which metric an alarm is made, the first that the champion has promised. Absolute errors rather than squared ones,
# and Brier's score rather than the logarithm's: a single outcome decides neither.
DECISIVE: Mapping[str, tuple[str, ...]] = {
    "regression": ("mae", "rmse"),
    "classification": ("brier", "log_loss"),
    "forecasting": ("rmse_percent", "rmse"),
}


@dataclass(frozen=True)
class Pairs:
    """Predictions and what became of them, the oldest first; arrays of shape (n,).

    Attributes:
        predicted: Values in the target's unit, or probabilities of yes.
        actual: Values in the target's unit, or 1 for yes and 0 for no.
        low: Lower ends of the intervals that were shown; NaN where there were none.
        high: Upper ends.
        naive: Of forecasts, the last value before; NaN otherwise.
    """

    predicted: Floats
    actual: Floats
    low: Floats
    high: Floats
    naive: Floats

    def __len__(self) -> int:
        return len(self.actual)


@dataclass(frozen=True)
class Promise:
    """What a version was registered with.

    Attributes:
        metrics: Its cross-validated metrics, with their spread over the folds as `…_sd`.
        confidence: Share of outcomes that its intervals are to hold; None of tasks without intervals.
        coverage: Share that they held, measured.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    coverage: float | None = None


@dataclass(frozen=True)
class Score:
    """One metric over a window.

    Attributes:
        metric: Its name: as in training, or `coverage`, `calibration_error`, `naive_rmse_percent`.
        value: None where there is nothing to compute it from.
        low: Lower end of its interval; None where it has none.
        high: Upper end.
        n: Outcomes that it rests on.
        bound: Lower end of its one-sided interval, on which an alarm rests; None where it has none.
        promised: What was promised of it; None where nothing was.
        promised_sd: The promise's spread over the folds.
        decisive: Whether an alarm is decided on it.
        worse: Whether it is worse than promised beyond doubt.
        reason: What there is to say of it, as a sentence.
        detail: Plain JSON.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    bound: float | None = None
    promised: float | None = None
    promised_sd: float | None = None
    decisive: bool = False
    worse: bool = False
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class _Loss(NamedTuple):
    """A metric as the mean of a loss per row, put on its own scale."""

    metric: str
    rows: Floats
    scale: Callable[[Floats], Floats]


def wilson(hits: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953); 0 and 1 of none."""
    if n == 0:
        return 0.0, 1.0
    z = float(norm.ppf((1 + confidence) / 2))
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    # At the ends, rounding would leave the share itself outside.
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def scored(task: str, pairs: Pairs) -> list[Score]:
    """Every metric of the task on these pairs; none of no pairs.

    Args:
        task: `regression`, `classification` or `forecasting`.
        pairs: Finite predictions and outcomes; a forecast's are above zero.
    """
    if not len(pairs):
        return []
    if task == "classification":
        return [*_resampled(_probability_losses(pairs), 1), _accuracy(pairs), calibration(pairs)]
    losses = _error_losses(pairs)
    if task == "forecasting":
        losses = [*_percent_losses(pairs), *losses]
        # Neighbouring days are alike: whole stretches of them are drawn (Politis and Romano 1992).
        return [*_resampled(losses, math.ceil(len(pairs) ** (1 / 3))), *_coverage(pairs)]
    return [*_resampled(losses, 1), *_coverage(pairs)]


def judged(task: str, scores: list[Score], promise: Promise) -> list[Score]:
    """The scores beside what was promised, the decisive one marked, and marked as worse where it is beyond doubt.

    Live error and promise are two estimates of their own: the lower end of their difference is that of MOVER (Zou and
    Donner 2008, doi:10.1002/sim.3095), with the folds' spread as the promise's uncertainty. That is more than its
    standard error, and rightly so: what comes live is one more stretch of data, as a fold is.
    """
    known = {score.metric for score in scores}
    decisive = next((name for name in DECISIVE[task] if name in known and name in promise.metrics), "")
    found = []
    for score in scores:
        if score.metric == "coverage":
            found.append(_judged_coverage(score, promise))
            continue
        if score.metric not in promise.metrics:
            found.append(score)
            continue
        promised, spread = promise.metrics[score.metric], promise.metrics.get(f"{score.metric}_sd", 0.0)
        beside = replace(score, promised=promised, promised_sd=spread, decisive=score.metric == decisive)
        found.append(_decided(beside) if beside.decisive else beside)
    return found


def calibration(pairs: Pairs) -> Score:
    """Expected calibration error with the bins of a reliability diagram, each with Wilson's interval.

    The error is the mean distance between the probability that was given and the share that came true, over up to ten
    equally filled bins, weighted by their rows: 0 is best. It has no interval of its own, for resampling inflates it;
    `z` is Spiegelhalter's (1986, doi:10.1002/sim.4780050506), beyond ±1.96 surely off.
    """
    probability, actual = pairs.predicted, pairs.actual
    count = max(1, min(BINS, len(pairs) // ROWS_A_BIN))
    told, error = [], 0.0
    for low, high, inside in bins(probability, count):
        n, hits = int(inside.sum()), int(actual[inside].sum())
        given, came = float(probability[inside].mean()), hits / n
        ends = wilson(hits, n)
        told.append(
            {"from": low, "to": high, "n": n, "probability": given, "share": came, "low": ends[0], "high": ends[1]}
        )
        error += n / len(pairs) * abs(given - came)
    certain = float((np.square(1 - 2 * probability) * probability * (1 - probability)).sum())
    z = float(((actual - probability) * (1 - 2 * probability)).sum()) / math.sqrt(certain) if certain > 0 else None
    return Score("calibration_error", error, None, None, len(pairs), detail={"bins": told, "z": z})


def _error_losses(pairs: Pairs) -> list[_Loss]:
    error = pairs.predicted - pairs.actual
    return [_Loss("mae", np.abs(error), _same), _Loss("rmse", np.square(error), np.sqrt)]


def _percent_losses(pairs: Pairs) -> list[_Loss]:
    error = np.log(pairs.actual) - np.log(pairs.predicted)
    losses = [_Loss("rmse_percent", np.square(error), _percent)]
    if not np.isnan(pairs.naive).any():
        naive = np.log(pairs.actual) - np.log(pairs.naive)
        losses.append(_Loss("naive_rmse_percent", np.square(naive), _percent))
    return losses


def _probability_losses(pairs: Pairs) -> list[_Loss]:
    given = np.clip(pairs.predicted, CLIP, 1 - CLIP)
    logs = -np.where(pairs.actual == 1, np.log(given), np.log(1 - given))
    return [_Loss("brier", np.square(pairs.predicted - pairs.actual), _same), _Loss("log_loss", logs, _same)]


def _same(values: Floats) -> Floats:
    return values


def _percent(values: Floats) -> Floats:
    root: Floats = np.asarray(100 * np.sqrt(values), np.float64)
    return root


def _resampled(losses: list[_Loss], stretch: int) -> list[Score]:
    """The metrics with percentile intervals, all from the same draws; `stretch` neighbours are drawn together."""
    rows = np.stack([loss.rows for loss in losses])
    n = rows.shape[1]
    generator = np.random.default_rng(SEED)
    starts = generator.integers(n, size=(RESAMPLES, math.ceil(n / stretch)))
    means = np.concatenate(
        [_means(rows, part, stretch) for part in np.array_split(starts, -(-RESAMPLES * n // AT_ONCE))]
    )
    found = []
    for at, loss in enumerate(losses):
        drawn = loss.scale(means[:, at])
        ends = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2, 1 - BEYOND_DOUBT])
        value = float(loss.scale(rows[at].mean(keepdims=True))[0])
        found.append(Score(loss.metric, value, float(ends[0]), float(ends[1]), n, bound=float(ends[2])))
    return found


def _means(rows: Floats, starts: NDArray[np.int64], stretch: int) -> Floats:
    """Means of each loss over each draw, shape (draws, losses), of rows of shape (losses, n)."""
    n = rows.shape[1]
    chosen = (starts[:, :, None] + np.arange(stretch)).reshape(len(starts), -1)[:, :n] % n
    means: Floats = rows[:, chosen].mean(axis=2).T
    return means


def _accuracy(pairs: Pairs) -> Score:
    hits = int(((pairs.predicted >= 0.5) == (pairs.actual == 1)).sum())
    low, high = wilson(hits, len(pairs))
    return Score("accuracy", hits / len(pairs), low, high, len(pairs))


def _coverage(pairs: Pairs) -> list[Score]:
    shown = ~(np.isnan(pairs.low) | np.isnan(pairs.high))
    n = int(shown.sum())
    if n == 0:
        return []
    hits = int(((pairs.low <= pairs.actual) & (pairs.actual <= pairs.high))[shown].sum())
    low, high = wilson(hits, n)
    return [Score("coverage", hits / n, low, high, n)]


def _judged_coverage(score: Score, promise: Promise) -> Score:
    if promise.confidence is None:
        return score
    below = score.high is not None and score.n >= MINIMUM and score.high < promise.confidence
    reason = f"The intervals hold fewer outcomes than the {promise.confidence:.0%} they are made for." if below else ""
    return replace(
        score, promised=promise.coverage, reason=reason, detail={"confidence": promise.confidence, "below": below}
    )


def _decided(score: Score) -> Score:
    assert score.value is not None and score.bound is not None  # noqa: S101, PT018 - `scored` gave both
    promised, spread = score.promised or 0.0, score.promised_sd or 0.0
    text = f"{score.metric} {score.value:.4g} live by {score.n} outcomes, {promised:.4g} ± {spread:.2g} promised"
    if score.n < MINIMUM:
        reason = f"Too few outcomes to judge: {score.n} of {MINIMUM} needed ({text})."
        return replace(score, reason=reason, detail={"judged": False})
    doubt = math.hypot(score.value - score.bound, float(norm.ppf(BEYOND_DOUBT)) * spread)
    worse = score.value - promised - doubt > 0
    return replace(
        score, worse=worse, reason=f"{'Worse than promised beyond doubt' if worse else 'As promised'}: {text}."
    )
