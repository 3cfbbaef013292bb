"""The gate: whether a challenger may take the champion's place. Pure; the registry records what it says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import silhouette_samples

Rule = Literal[
    "equal", "inadmissible", "withdrawn", "first", "not_comparable", "worse", "new_data", "better", "not_better"
]

# A silhouette goes from −1 to 1; a smaller gain than this is not worth another meaning of the levels.
MINIMUM_EFFECT = 0.02
RESAMPLES = 2_000
CONFIDENCE = 0.95
SEED = 20240601
# The silhouette is quadratic in rows; so many of them give it to ±0.003.
ROWS = 10_000


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same rows.

    Attributes:
        rows: Rows compared.
        challenger: Mean silhouette of the challenger's labels, −1 to 1, higher is better.
        champion: Mean silhouette of the champion's labels in the same space.
        difference: Challenger minus champion.
        low: Lower end of the difference's interval.
        high: Its upper end.
        confidence: The interval's confidence, 0 to 1.
    """

    rows: int
    challenger: float
    champion: float
    difference: float
    low: float
    high: float
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Decision:
    """The gate's verdict.

    Attributes:
        promote: Whether the challenger is to be served.
        rule: The rule that decided.
        reason: The same as a sentence, with its numbers.
        comparison: What was measured, or None where nothing needed to be.
        minimum_effect: Least gain in silhouette on the same data.
    """

    promote: bool
    rule: Rule
    reason: str
    comparison: Comparison | None = None
    minimum_effect: float = MINIMUM_EFFECT

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Decision:
        """The verdict that `as_dict` wrote."""
        comparison = Comparison(**entry["comparison"]) if entry["comparison"] else None
        return cls(**{**entry, "comparison": comparison})


def compare(
    rows: NDArray[np.float64],
    challenger: NDArray[np.int64],
    champion: NDArray[np.int64],
    *,
    seed: int = SEED,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Comparison | None:
    """Compares two labellings by silhouette, with a paired bootstrap interval of the difference.

    Each row's silhouette is taken once and rows are drawn with replacement, so that what a row contributes to one
    labelling is always set against what it contributes to the other (Efron and Tibshirani 1993, chapter 13).

    Args:
        rows: The rows in the challenger's scaling, shape (n, features).
        challenger: The challenger's labels, shape (n,).
        champion: The champion's labels of the same rows, shape (n,).
        seed: Of the bootstrap, and of the sample of rows when there are more than 10,000.
        resamples: Number of bootstrap samples.
        confidence: Of the interval, between 0 and 1.

    Returns:
        The comparison; None if a labelling has no silhouette on these rows (one cluster, or as many as rows).
    """
    generator = np.random.default_rng(seed)
    if len(rows) > ROWS:
        chosen = generator.choice(len(rows), ROWS, replace=False)
        rows, challenger, champion = rows[chosen], challenger[chosen], champion[chosen]
    if not (_has_silhouette(challenger) and _has_silhouette(champion)):
        return None
    ours, theirs = silhouette_samples(rows, challenger), silhouette_samples(rows, champion)
    gain = ours - theirs
    means = np.array([gain[generator.integers(0, len(gain), len(gain))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Comparison(
        rows=len(rows),
        challenger=float(ours.mean()),
        champion=float(theirs.mean()),
        difference=float(gain.mean()),
        low=float(low),
        high=float(high),
        confidence=confidence,
    )


def decide(
    *,
    admissible: bool,
    champion: str | None,
    equal: bool = False,
    withdrawn: bool = False,
    same_data: bool = False,
    comparison: Comparison | None = None,
    minimum_effect: float = MINIMUM_EFFECT,
) -> Decision:
    """The verdict on a challenger.

    Args:
        admissible: Whether it passed the floors of its sweep.
        champion: Name of the served version; None if there is none.
        equal: Whether it answers as the champion does and comes from the same data.
        withdrawn: Whether a person took it out of service.
        same_data: Whether both were trained on the same snapshot.
        comparison: Both on the same rows; None where the champion can't be applied to them.
        minimum_effect: Least gain in silhouette that changes the champion when the data is the same.
    """

    def verdict(promote: bool, rule: Rule, reason: str) -> Decision:
        return Decision(promote, rule, reason, comparison, minimum_effect)

    if not admissible:
        return verdict(False, "inadmissible", "The challenger does not meet the floors of its declaration.")
    if equal:
        return verdict(False, "equal", f"The challenger is {champion}: same data, same answers.")
    if withdrawn:
        return verdict(
            False, "withdrawn", "This version was served before and a person took it out; only a person puts it back."
        )
    if champion is None:
        return verdict(True, "first", "There is no champion yet, and the challenger meets every floor.")
    if comparison is None:
        return verdict(True, "not_comparable", f"{champion} can't be applied to the new rows, the challenger can.")
    measured = _in_words(comparison, champion)
    if comparison.high < 0:
        return verdict(False, "worse", f"The challenger separates the same rows worse: {measured}.")
    if not same_data:
        return verdict(True, "new_data", f"The data is new and the challenger is not worse on it: {measured}.")
    if comparison.low > 0 and comparison.difference >= minimum_effect:
        return verdict(True, "better", f"The challenger separates the same rows better: {measured}.")
    return verdict(
        False, "not_better", f"On the same data a gain of {minimum_effect:.2f} beyond doubt is needed: {measured}."
    )


def _has_silhouette(labels: NDArray[np.int64]) -> bool:
    return 2 <= len(np.unique(labels)) < len(labels)


def _in_words(comparison: Comparison, champion: str) -> str:
    return (
        f"silhouette {comparison.challenger:.3f} against {comparison.champion:.3f} of {champion}, "
        f"difference {comparison.difference:+.3f} [{comparison.low:+.3f}, {comparison.high:+.3f}] "
        f"on {comparison.rows} rows"
    )
