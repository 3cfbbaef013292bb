"""K-Means whose cluster numbers mean something: fitting, scoring, and choosing among the admissible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sigap.bundle import Bilingual
from sigap.catalog import Clustering, Declaration
from sigap.errors import TrainingError
from sigap.training.features import Prepared
from sigap.training.params import Params
from sigap.training.preprocess import Winsorizer

# Above this many rows silhouette, which is quadratic, is computed on a seeded sample of as many.
SILHOUETTE_ROWS = 10_000
# Quantile of the normal distribution. The floor is held against the bound, not the mean: a candidate that passes only
# by luck of the bootstraps' seed would be admissible today and not tomorrow.
ONE_SIDED_95 = 1.6448536269514722


@dataclass(frozen=True)
class Candidate:
    """One candidate of the sweep, scored.

    Attributes:
        k: Number of clusters.
        metrics: Scores by name; empty when `k` clusters can't be formed.
        sizes: Entities a cluster, by rank.
        reason: Why it is not admissible; None when it is.
        model: The fitted pipeline; None after a journey as JSON (see `as_dict`).
    """

    k: int
    metrics: dict[str, float]
    sizes: tuple[int, ...]
    reason: Bilingual | None
    model: Pipeline | None = field(default=None, repr=False, compare=False)

    @property
    def admissible(self) -> bool:
        """Whether it may become a champion."""
        return self.reason is None

    def as_dict(self) -> dict[str, Any]:
        """The scores as plain JSON, without the model: `fit_model` makes the same one again."""
        return {
            "k": self.k,
            "metrics": dict(self.metrics),
            "sizes": list(self.sizes),
            "reason": self.reason.model_dump() if self.reason else None,
        }

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Candidate:
        """The candidate that `as_dict` wrote."""
        reason = Bilingual(**entry["reason"]) if entry["reason"] else None
        return cls(int(entry["k"]), dict(entry["metrics"]), tuple(entry["sizes"]), reason)


def fit(prepared: Prepared, declaration: Declaration, params: Params, k: int) -> Candidate:
    """Fits and scores `k` clusters. The same rows and parameters give the same result to the last digit.

    Metrics: `silhouette` (−1 to 1, higher is better), `inertia` (sum of squared distances to the centres, in
    standard deviations), `davies_bouldin` (from 0, lower is better), `smallest_cluster` (entities), `stability`,
    `stability_sd` and `stability_low` (mean, standard deviation, and lower 95 % confidence bound of the mean of the
    adjusted Rand index, at most 1, between this clustering and those learnt from bootstrap samples of the scaled
    rows; Hennig 2007, doi:10.1016/j.csda.2006.11.025).

    Raises:
        TrainingError: There are fewer entities than the declaration asks for.
    """
    rows = _enough(prepared, declaration)
    # One thread: with more, sums are added in another order and the last digits change.
    with threadpool_limits(limits=1):
        if _distinct(_transformed(declaration.task, rows)) <= k:
            return Candidate(k, {}, (), _too_alike(k))
        model = fit_model(prepared, declaration, params, k)
        scaled, ranks = model[:-1].transform(rows), model[-1].labels_
        agreement = _stability(scaled, ranks, params, k)
        sizes = tuple(int(size) for size in np.bincount(ranks, minlength=k))
        metrics = {
            "silhouette": _silhouette(scaled, ranks, params.random_state),
            "inertia": float(model[-1].inertia_),
            "davies_bouldin": float(davies_bouldin_score(scaled, ranks)),
            "smallest_cluster": float(min(sizes)),
            **_summary(agreement),
        }
    return Candidate(k, metrics, sizes, inadmissible(declaration.task, metrics, len(rows)), model)


def fit_model(prepared: Prepared, declaration: Declaration, params: Params, k: int) -> Pipeline:
    """The pipeline of the candidate `k` alone, bit for bit the one that `fit` scores.

    Its `predict` takes a frame of the used features, in their units, and gives each row's rank: 0 is the readiest.

    Raises:
        TrainingError: There are fewer entities than the declaration asks for.
    """
    rows = _enough(prepared, declaration)
    model = Pipeline([*_scaling(declaration.task), ("kmeans", _kmeans(params, k))])
    with threadpool_limits(limits=1):
        model.fit(rows)
        _number_by_readiness(model[-1], _directions(declaration, prepared.used))
    return model


def inadmissible(task: Clustering, metrics: dict[str, float], entities: int) -> Bilingual | None:
    """Why a clustering of `entities` rows with these metrics may not become champion; None when it may."""
    least = max(task.smallest_cluster, math.ceil(task.smallest_share * entities))
    smallest = int(metrics["smallest_cluster"])
    if smallest < least:
        return Bilingual(
            id=f"kelompok terkecil hanya {smallest} anggota, perlu {least}",
            en=f"its smallest cluster has {smallest} of {entities} entities, at least {least} needed",
        )
    if metrics["stability_low"] < task.stability_floor:
        mean, error = metrics["stability"], metrics["stability"] - metrics["stability_low"]
        return Bilingual(
            id=f"kurang stabil: {mean:.2f} ± {error:.2f}, perlu pasti di atas {task.stability_floor:.2f}",
            en=f"its stability under resampling is {mean:.2f} ± {error:.2f}, not surely above "
            f"{task.stability_floor:.2f}",
        )
    return None


def select(candidates: Sequence[Candidate]) -> Candidate:
    """The admissible candidate with the best silhouette; of equals, the one with fewer clusters.

    Raises:
        TrainingError: None is admissible; the message gives each one's reason.
    """
    admissible = [candidate for candidate in candidates if candidate.admissible]
    if not admissible:
        reasons = "; ".join(f"k={each.k}: {each.reason.en}" for each in candidates if each.reason)
        raise TrainingError(
            f"No admissible clustering among {len(candidates)} candidates ({reasons}).",
            remedy="The champion stays. Check the newest figures, or the floors in the declaration.",
        )
    return max(admissible, key=lambda each: (each.metrics["silhouette"], -each.k))


def with_model(winner: Candidate, prepared: Prepared, declaration: Declaration, params: Params) -> Candidate:
    """The winner with its model, fitted again when it came without."""
    if winner.model is not None:
        return winner
    return replace(winner, model=fit_model(prepared, declaration, params, winner.k))


def distances(model: Pipeline, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Euclidean distances to every centre in winsorized, standardised space, shape (n_rows, k)."""
    with threadpool_limits(limits=1):
        scaled = model[:-1].transform(rows)
        # Not KMeans.transform: it subtracts large squares, which costs half of the digits near a centre.
        apart: NDArray[np.float64] = scaled[:, None, :] - model[-1].cluster_centers_[None]
    far: NDArray[np.float64] = np.sqrt(np.square(apart).sum(axis=2))
    return far


def centers(model: Pipeline) -> NDArray[np.float64]:
    """The clusters' centres in the features' units, shape (k, n_used), by rank."""
    values: NDArray[np.float64] = model["scale"].inverse_transform(model[-1].cluster_centers_)
    return values


def _enough(prepared: Prepared, declaration: Declaration) -> pd.DataFrame:
    rows, needed = prepared.matrix, declaration.task.minimum_entities
    if len(rows) < needed:
        raise TrainingError(
            f"{declaration.name}: {len(rows)} entities have figures for {', '.join(prepared.used)} as of "
            f"{prepared.period}, at least {needed} are needed.",
            remedy=f"Add figures to {declaration.source.table}, then run the pipeline again.",
        )
    return rows


def _scaling(task: Clustering) -> list[tuple[str, Any]]:
    return [("winsorize", Winsorizer(task.winsorize)), ("scale", StandardScaler())]


def _transformed(task: Clustering, rows: Any) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = Pipeline(_scaling(task)).fit_transform(rows)
    return scaled


def _kmeans(params: Params, k: int) -> KMeans:
    return KMeans(k, init=params.init, n_init=params.n_init, random_state=params.random_state)


def _distinct(scaled: NDArray[np.float64]) -> int:
    return len(np.unique(scaled, axis=0))


def _too_alike(k: int) -> Bilingual:
    return Bilingual(
        id=f"terlalu sedikit nilai berbeda untuk {k} kelompok", en=f"too few different rows for {k} clusters"
    )


def _directions(declaration: Declaration, used: Sequence[str]) -> NDArray[np.float64]:
    """1 where higher is better, −1 where lower is, 0 where a feature has no direction; shape (n_used,)."""
    better = [declaration.feature(name).higher_is_better for name in used]
    directions = np.array([0.0 if each is None else 1.0 if each else -1.0 for each in better])
    if not directions.any():
        raise TrainingError(
            f"{declaration.name}: none of the used features ({', '.join(used)}) has a direction, so clusters "
            "can't be ordered.",
            remedy="Declare higher_is_better for at least one of them.",
        )
    return directions


def _number_by_readiness(kmeans: KMeans, directions: NDArray[np.float64]) -> None:
    """Renumbers the fitted clusters by falling readiness, the mean of their centres with worse-is-higher flipped."""
    found = kmeans.cluster_centers_
    readiness = (found * directions).sum(axis=1) / np.abs(directions).sum()
    # The centres' own values settle a tie, so that the order never depends on the seed.
    order = np.lexsort([*(-found.T[::-1]), -readiness])
    rank = np.empty(len(order), dtype=kmeans.labels_.dtype)
    rank[order] = np.arange(len(order), dtype=rank.dtype)
    kmeans.cluster_centers_ = np.ascontiguousarray(found[order])
    kmeans.labels_ = rank[kmeans.labels_]


def _silhouette(scaled: NDArray[np.float64], ranks: NDArray[np.int32], seed: int) -> float:
    size = SILHOUETTE_ROWS if len(scaled) > SILHOUETTE_ROWS else None
    return float(silhouette_score(scaled, ranks, sample_size=size, random_state=seed))


def _summary(agreement: NDArray[np.float64]) -> dict[str, float]:
    mean, sd = float(np.mean(agreement)), float(np.std(agreement, ddof=1))
    low = mean - ONE_SIDED_95 * sd / math.sqrt(len(agreement))
    return {"stability": mean, "stability_sd": sd, "stability_low": low}


def _stability(scaled: NDArray[np.float64], ranks: NDArray[np.int32], params: Params, k: int) -> NDArray[np.float64]:
    """Adjusted Rand index of each bootstrap's clustering, applied to all rows, with `ranks`; shape (bootstraps,)."""
    agreement = np.zeros(params.bootstraps)
    for i in range(params.bootstraps):
        # A seed of its own for each bootstrap: the same samples for every k, whoever computes them and in what order.
        draw = np.random.default_rng([params.random_state, i]).integers(0, len(scaled), len(scaled))
        # A sample that has no k different rows can't be clustered: it agrees with nothing and counts as 0.
        if _distinct(scaled[draw]) >= k:
            kmeans = _kmeans(params, k).fit(scaled[draw])
            agreement[i] = adjusted_rand_score(ranks, kmeans.predict(scaled))
    return agreement
