"""The gate: whether a challenger may take the champion's place. Pure; the registry records what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from threadpoolctl import threadpool_limits

from sigap.training.wording import in_indonesian, metric_in_indonesian

Rule = Literal[
    "inadmissible",
    "waiting",
    "equal",
    "first",
    "superseded",
    "withdrawn",
    "not_comparable",
    "worse",
    "new_data",
    "better",
    "not_better",
    "unanswered",
]

# A silhouette goes from −1 to 1; a smaller gain than this is not worth another meaning of the levels.
MINIMUM_EFFECT = 0.02
RESAMPLES = 1_000
CONFIDENCE = 0.95
SEED = 20240601
# The silhouette is quadratic in rows, and here it is computed once a resample.
ROWS = 1_000
CHUNK = 100


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same rows.

    Attributes:
        rows: Rows compared.
        challenger: The challenger's score by `metric`.
        champion: The champion's on the same rows (and, of supervised models, the same folds).
        difference: By how much the challenger is better, negative where it is worse, whichever way the metric points.
        low: Lower end of the difference's interval.
        high: Its upper end.
        confidence: The interval's confidence, 0 to 1.
        metric: `silhouette`, `accuracy` (both higher is better) or `rmse` (lower is better, in the target's unit).
        minimum_effect: Least difference that changes the champion when the data is the same, in the metric's unit.
    """

    rows: int
    challenger: float
    champion: float
    difference: float
    low: float
    high: float
    confidence: float = CONFIDENCE
    metric: str = "silhouette"
    minimum_effect: float = MINIMUM_EFFECT

    @property
    def same(self) -> bool:
        """Whether both came out the same, whichever rows are drawn."""
        return self.difference == self.low == self.high == 0


@dataclass(frozen=True)
class Decision:
    """The gate's verdict.

    Attributes:
        promote: Whether the challenger is to be served.
        rule: The rule that decided.
        reason: The same as a sentence in English, with its numbers.
        comparison: What was measured, or None where nothing needed to be.
        minimum_effect: Least gain on the same data, in the comparison's metric.
        reason_id: The sentence in Indonesian; empty on records of earlier versions of Sigap.
    """

    promote: bool
    rule: Rule
    reason: str
    comparison: Comparison | None = None
    minimum_effect: float = MINIMUM_EFFECT
    reason_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Decision:
        """The verdict that `as_dict` wrote; what else stands in `entry` is passed over."""
        values = {each.name: entry[each.name] for each in fields(cls) if each.name in entry}
        comparison = Comparison(**entry["comparison"]) if entry["comparison"] else None
        return cls(**{**values, "comparison": comparison})


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

    Rows are drawn with replacement, and both silhouettes are computed anew on each draw. To draw from the rows' own
    differences instead would be quicker and wrong: a row in the wrong cluster lowers the silhouette of its neighbours
    too, and 15 of 100 equal challengers would pass for better; this way 3 to 4 do (Efron and Tibshirani 1993,
    chapter 13).

    Args:
        rows: The rows in the challenger's scaling, shape (n, features).
        challenger: The challenger's labels, shape (n,).
        champion: The champion's labels of the same rows, shape (n,).
        seed: Of the bootstrap, and of the sample of rows when there are more than 1,000.
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
    # One thread: with more, sums are added in another order and the last digits change.
    with threadpool_limits(limits=1):
        return _bootstrapped(rows, challenger, champion, generator, resamples, confidence)


def _bootstrapped(
    rows: NDArray[np.float64],
    challenger: NDArray[np.int64],
    champion: NDArray[np.int64],
    generator: np.random.Generator,
    resamples: int,
    confidence: float,
) -> Comparison:
    distances = pairwise_distances(rows)
    ours, theirs = _one_hot(challenger), _one_hot(champion)
    once = np.ones((1, len(rows)))
    found, former = (float(_silhouettes(distances, each, once)[0]) for each in (ours, theirs))
    drawn = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples).astype(np.float64)
    gains = [
        _silhouettes(distances, ours, chunk) - _silhouettes(distances, theirs, chunk)
        for chunk in np.array_split(drawn, max(1, resamples // CHUNK))
    ]
    low, high = np.quantile(np.concatenate(gains), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Comparison(len(rows), found, former, found - former, float(low), float(high), confidence)


def decide(
    *,
    admissible: bool,
    champion: str | None,
    equal: bool = False,
    superseded: bool = False,
    withdrawn: bool = False,
    same_data: bool = False,
    comparison: Comparison | None = None,
    minimum_effect: float | None = None,
) -> Decision:
    """The verdict on a challenger.

    Args:
        admissible: Whether it passed the floors of its sweep.
        champion: Name of the served version; None if there is none.
        equal: Whether it answers as the champion does and comes from the same data.
        superseded: Whether the champion comes from a run that began later, so that its data is newer.
        withdrawn: Whether a person took the challenger out of service.
        same_data: Whether both were trained on the same snapshot.
        comparison: Both on the same rows; None where the champion can't be applied to them.
        minimum_effect: Least gain that changes the champion when the data is the same; by default the comparison's.
    """
    if minimum_effect is None:
        minimum_effect = comparison.minimum_effect if comparison else MINIMUM_EFFECT

    def verdict(promote: bool, rule: Rule, reason: str, reason_id: str) -> Decision:
        return Decision(promote, rule, reason, comparison, minimum_effect, reason_id)

    if not admissible:
        return verdict(
            False,
            "inadmissible",
            "The challenger does not meet the floors of its declaration.",
            "Penantang tidak memenuhi batas dalam deklarasinya.",
        )
    if equal:
        return verdict(
            False,
            "equal",
            f"The challenger is {champion}: same data, same answers.",
            f"Penantang adalah {champion}: data sama, jawaban sama.",
        )
    if champion is None:
        return verdict(
            True,
            "first",
            "There is no champion, and the challenger meets every floor.",
            "Belum ada model yang dipakai, dan penantang memenuhi semua batas.",
        )
    if superseded:
        return verdict(
            False,
            "superseded",
            f"A run that began later has promoted {champion} meanwhile.",
            f"Pelatihan yang mulai belakangan sudah lebih dulu membuat {champion} dipakai.",
        )
    if withdrawn:
        return verdict(
            False,
            "withdrawn",
            f"A person chose {champion} in place of this version; only a person puts it back.",
            f"Seseorang memilih {champion} sebagai ganti versi ini; hanya orang yang dapat mengembalikannya.",
        )
    if comparison is None:
        return verdict(
            True,
            "not_comparable",
            f"{champion} can't be applied to the new rows, the challenger can.",
            f"{champion} tidak dapat diterapkan pada baris yang baru, penantang dapat.",
        )
    return _measured(verdict, comparison, champion, same_data=same_data, minimum_effect=minimum_effect)


def _measured(
    verdict: Callable[[bool, Rule, str, str], Decision],
    comparison: Comparison,
    champion: str,
    *,
    same_data: bool,
    minimum_effect: float,
) -> Decision:
    en, id_ = _in_words(comparison, champion)
    if comparison.high < 0:
        return verdict(
            False,
            "worse",
            f"The challenger is worse on the same rows: {en}.",
            f"Penantang lebih buruk pada baris yang sama: {id_}.",
        )
    if not same_data and comparison.same:
        return verdict(
            True,
            "new_data",
            f"The data is new: {en}. The challenger has learnt from the new rows, so it takes the place of {champion}.",
            f"Datanya baru: {id_}. Penantang telah mempelajari baris yang baru, jadi ia menggantikan {champion}.",
        )
    if not same_data:
        return verdict(
            True,
            "new_data",
            f"The data is new and the challenger is not worse on it: {en}.",
            f"Datanya baru dan penantang tidak lebih buruk padanya: {id_}.",
        )
    if comparison.low > 0 and comparison.difference >= minimum_effect:
        return verdict(
            True,
            "better",
            f"The challenger is better on the same rows: {en}.",
            f"Penantang lebih baik pada baris yang sama: {id_}.",
        )
    least = _number(minimum_effect)
    return verdict(
        False,
        "not_better",
        f"On the same data a gain of {least} beyond doubt is needed: {en}.",
        f"Pada data yang sama perlu keunggulan {in_indonesian(least)} tanpa ragu: {id_}.",
    )


def _silhouettes(
    distances: NDArray[np.float64], members: NDArray[np.float64], drawn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean silhouette of each resample (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7).

    Args:
        distances: Between the rows, shape (n, n).
        members: 1 where a row belongs to a cluster, shape (n, k).
        drawn: How often each row was drawn, shape (resamples, n).

    Returns:
        −1 to 1 for each resample; a row alone in its cluster counts as 0. Shape (resamples,).
    """
    weights = drawn.T[:, :, None] * members[:, None, :]
    n, resamples, k = weights.shape
    sums = (distances @ weights.reshape(n, resamples * k)).reshape(n, resamples, k)
    sizes = weights.sum(axis=0)
    own = members.astype(bool)[:, None, :]
    own_size = np.where(own, sizes, 0).sum(axis=2)
    inside = np.where(own, sums, 0).sum(axis=2) / np.maximum(own_size - 1, 1)
    others = np.where(own | (sizes == 0), np.inf, sums / np.maximum(sizes, 1))
    outside = others.min(axis=2)
    largest = np.maximum(inside, outside)
    defined = (own_size > 1) & np.isfinite(outside) & (largest > 0)
    values = np.where(defined, outside - inside, 0) / np.where(defined, largest, 1)
    means: NDArray[np.float64] = (drawn.T * values).sum(axis=0) / drawn.sum(axis=1)
    return means


def _one_hot(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.equal.outer(labels, np.unique(labels)).astype(np.float64)


def _has_silhouette(labels: NDArray[np.int64]) -> bool:
    return 2 <= len(np.unique(labels)) < len(labels)


def _in_words(comparison: Comparison, champion: str) -> tuple[str, str]:
    """The comparison in English and in Indonesian."""
    ours, theirs = _number(comparison.challenger), _number(comparison.champion)
    metric, rows = comparison.metric, comparison.rows
    if comparison.same:
        # Figures of a gain would look like a measurement: the same recipe on the same rows can't come out otherwise.
        what = ("groups", "kelompok") if metric == "silhouette" else ("recipes", "resep")
        return (
            f"the {what[0]} of the challenger and of {champion}, both computed anew on the same {rows} rows, "
            f"come out the same ({metric} {ours})",
            f"{what[1]} penantang dan {champion}, keduanya dihitung ulang pada {rows} baris yang sama, "
            f"hasilnya sama ({metric_in_indonesian(metric)} {in_indonesian(ours)})",
        )
    difference, low, high = (_signed(value) for value in _difference(comparison))
    gain = f"{difference} [{low}, {high}]"
    return (
        f"{metric} {ours} against {theirs} of {champion}, gain {gain} on {rows} rows",
        f"{metric_in_indonesian(metric)} {in_indonesian(ours)} dibanding {in_indonesian(theirs)} milik {champion}, "
        f"keunggulan {in_indonesian(gain)} pada {rows} baris",
    )


def _difference(comparison: Comparison) -> tuple[float, float, float]:
    return comparison.difference, comparison.low, comparison.high


def _signed(value: float) -> str:
    text = _number(value)
    # What is written as zero has no sign.
    return f"+{text}" if value > 0 and float(text.replace(",", "")) else text


def _number(value: float) -> str:
    # Rounded first: what is written as zero has no sign.
    return f"{round(value, 3) + 0.0:.3f}" if abs(value) < 10 else f"{value:,.0f}"
