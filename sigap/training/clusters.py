"""K-Means whose cluster numbers mean something: fitting, scoring, and choosing among the admissible."""

from __future__ import annotations

import copy
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

from sigap.bundle import Bilingual, InputColumn
from sigap.catalog import Clustering, Declaration, Kind
from sigap.errors import TrainingError
from sigap.training.features import Prepared
from sigap.training.params import Params
from sigap.training.preprocess import Standardizer, Winsorizer
from sigap.training.tabular import encoder
from sigap.training.wording import in_indonesian

# Above this many rows silhouette, which is quadratic, is computed on a seeded sample of as many.
SILHOUETTE_ROWS = 10_000
# Above this many rows a bootstrap draws only as many, and agreement is looked at on a seeded sample of as many: less is
# drawn than there is, so what is found is rather too low than too high.
STABILITY_ROWS = 10_000
# Rows with every column shuffled on its own: how often, and on a seeded sample of how many rows.
SHUFFLES = 5
SHUFFLED_ROWS = 4_000
# Standard deviations by which a silhouette has to be above those of shuffled rows.
BEYOND_CHANCE = 3.0
# Rows whose distances to all centres are held in memory at once.
CHUNK = 50_000
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


def fit(
    prepared: Prepared,
    declaration: Declaration,
    params: Params,
    k: int,
    agreement: Sequence[float] | None = None,
) -> Candidate:
    """Fits and scores `k` clusters. The same rows and parameters give the same result to the last digit.

    Metrics: `silhouette` (−1 to 1, higher is better), `inertia` (sum of squared distances to the centres, in
    standard deviations), `davies_bouldin` (from 0, lower is better), `smallest_cluster` (entities), `stability`,
    `stability_sd` and `stability_low` (mean, standard deviation, and lower 95 % confidence bound of the mean of the
    adjusted Rand index, at most 1, between this clustering and those learnt from bootstrap samples of the scaled
    rows; Hennig 2007, doi:10.1016/j.csda.2006.11.025). Where the declaration has a `structure_floor`, also
    `silhouette_shuffled` and `silhouette_shuffled_sd`: mean and standard deviation of the silhouette that as many
    clusters reach on rows whose columns were shuffled one by one.

    Args:
        prepared: The rows.
        declaration: The model.
        params: What the sweep tries.
        k: Number of clusters.
        agreement: That of all bootstraps, where `agreements` has computed it elsewhere.

    Raises:
        TrainingError: There are fewer entities than the declaration asks for.
    """
    # One thread: with more, sums are added in another order and the last digits change.
    with threadpool_limits(limits=1):
        scaled = _scaled(prepared, declaration, k)
        if scaled is None:
            return Candidate(k, {}, (), _too_alike(k))
        model = fit_model(prepared, declaration, params, k)
        ranks = model[-1].labels_
        if agreement is None:
            agreement = _stability(scaled, ranks, params, k, range(params.bootstraps)).tolist()
        sizes = tuple(int(size) for size in np.bincount(ranks, minlength=k))
        metrics = {
            "silhouette": _silhouette(scaled, ranks, params.random_state),
            "inertia": float(model[-1].inertia_),
            "davies_bouldin": float(davies_bouldin_score(scaled, ranks)),
            "smallest_cluster": float(min(sizes)),
            **_summary(np.asarray(agreement, np.float64)),
            **_shuffled(prepared, declaration, params, k),
        }
    return Candidate(k, metrics, sizes, inadmissible(_task(declaration), metrics, len(scaled)), model)


def agreements(
    prepared: Prepared, declaration: Declaration, params: Params, k: int, bootstraps: Sequence[int]
) -> list[float]:
    """Adjusted Rand index of each of these bootstraps with the clustering of all rows: what `fit` computes of all.

    Raises:
        TrainingError: There are fewer entities than the declaration asks for.
    """
    with threadpool_limits(limits=1):
        scaled = _scaled(prepared, declaration, k)
        if scaled is None:
            return [0.0] * len(bootstraps)  # nobody asks: `fit` refuses such rows before it looks at stability
        ranks = fit_model(prepared, declaration, params, k)[-1].labels_
        found: list[float] = _stability(scaled, ranks, params, k, bootstraps).tolist()
        return found


def fit_model(prepared: Prepared, declaration: Declaration, params: Params, k: int) -> Pipeline:
    """The pipeline of the candidate `k` alone, bit for bit the one that `fit` scores.

    Its `predict` takes a frame of the used features, in their units, and gives each row's rank: 0 is the readiest or,
    where clusters are ordered by size, the largest.

    Raises:
        TrainingError: There are fewer entities than the declaration asks for.
    """
    rows = enough(prepared, declaration)
    model = Pipeline([*_scaling(declaration, prepared, rows), ("kmeans", _kmeans(params, k))])
    with threadpool_limits(limits=1):
        model.fit(rows)
        if _task(declaration).order == "size":
            _number_by_size(model[-1])
        else:
            _number_by_readiness(model[-1], _directions(declaration, prepared.used))
    return model


def renumber(candidate: Candidate, order: Sequence[int]) -> Candidate:
    """The candidate, with its model, so that what was cluster `order[i]` is cluster i."""
    model = copy.deepcopy(candidate.model)
    if model is None:
        raise ValueError("only a candidate with its model can be renumbered")
    _reorder(model[-1], np.asarray(order))
    return replace(candidate, sizes=tuple(candidate.sizes[each] for each in order), model=model)


def inadmissible(task: Clustering, metrics: dict[str, float], entities: int) -> Bilingual | None:
    """Why a clustering of `entities` rows with these metrics may not become champion; None when it may."""
    least = max(task.smallest_cluster, math.ceil(task.smallest_share * entities))
    smallest = int(metrics["smallest_cluster"])
    if smallest < least:
        return Bilingual(
            id=f"kelompok terkecil hanya {smallest} anggota, perlu {least}",
            en=f"its smallest cluster has {smallest} of {entities} entities, at least {least} needed",
        )
    if task.structure_floor is not None and (reason := _unstructured(metrics, task.structure_floor)):
        return reason
    if metrics["stability_low"] < task.stability_floor:
        # Not as mean ± error: beside it stands the score, whose ± is the spread over the samples.
        mean, low, floor = (
            f"{each:.3f}" for each in (metrics["stability"], metrics["stability_low"], task.stability_floor)
        )
        return Bilingual(
            id=f"kurang stabil: rata-rata {in_indonesian(mean)} hanya pasti di atas {in_indonesian(low)}, "
            f"perlu {in_indonesian(floor)}",
            en=f"its stability under resampling, {mean} on average, is surely above {low} only; {floor} needed",
        )
    return None


def _unstructured(metrics: dict[str, float], floor: float) -> Bilingual | None:
    found, by_chance = metrics["silhouette"], metrics["silhouette_shuffled"]
    # With few rows chance alone goes beyond the floor.
    needed = max(floor, BEYOND_CHANCE * metrics["silhouette_shuffled_sd"])
    if found - by_chance >= needed:
        return None
    return Bilingual(
        id=f"silhouette {in_indonesian(f'{found:.3f}')} tidak {in_indonesian(f'{needed:.2f}')} di atas "
        f"{in_indonesian(f'{by_chance:.3f}')} pada kolom yang diacak, yang tak punya kelompok",
        en=f"its silhouette {found:.3f} is not {needed:.2f} above the {by_chance:.3f} that the same columns reach "
        "when shuffled, where no groups are",
    )


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
    centers = model[-1].cluster_centers_
    far = np.empty((len(scaled), len(centers)))
    for start in range(0, len(scaled), CHUNK):
        # Not KMeans.transform: it subtracts large squares, which costs half of the digits near a centre.
        apart = scaled[start : start + CHUNK, None, :] - centers[None]
        far[start : start + CHUNK] = np.sqrt(np.square(apart).sum(axis=2))
    return far


def encoded(model: Pipeline, rows: pd.DataFrame) -> NDArray[np.float64]:
    """What the model's scaling takes, shape (n_rows, columns): the features' numbers, categories as 0 and 1."""
    values: NDArray[np.float64] = model["encode"].transform(rows) if "encode" in model.named_steps else rows.to_numpy()
    return values


def inputs(model: Pipeline) -> tuple[InputColumn, ...]:
    """How features become columns of what the model's scaling takes; none where each is one as it is."""
    return model["encode"].inputs if "encode" in model.named_steps else ()


def centers(model: Pipeline) -> NDArray[np.float64]:
    """The clusters' centres by rank, shape (k, columns): numbers in their units, of categories the share."""
    values: NDArray[np.float64] = model["scale"].inverse_transform(model[-1].cluster_centers_)
    return values


def enough(prepared: Prepared, declaration: Declaration) -> pd.DataFrame:
    """The rows to train on, one an entity.

    Raises:
        TrainingError: There are fewer than the declaration asks for.
    """
    rows, needed = prepared.matrix, _task(declaration).minimum_entities
    if len(rows) < needed:
        when = "" if prepared.period is None else f" as of {prepared.period}"
        raise TrainingError(
            f"{declaration.name}: {len(rows)} entities have figures for {', '.join(prepared.used)}{when}, "
            f"at least {needed} are needed.",
            remedy=f"Add figures to {declaration.source.table}, then run the pipeline again.",
        )
    return rows


def _task(declaration: Declaration) -> Clustering:
    return declaration.task_as(Clustering)


def _scaling(declaration: Declaration, prepared: Prepared, rows: pd.DataFrame) -> list[tuple[str, Any]]:
    """The steps before K-Means, not fitted."""
    quantile = _task(declaration).winsorize
    mixed = any(declaration.feature(name).kind is Kind.CATEGORY for name in prepared.used)
    if not (mixed or prepared.imputes):
        return [("winsorize", Winsorizer(quantile)), ("scale", StandardScaler())]
    encode = encoder(declaration, prepared.used)
    kinds = [kind for column in encode.fit(rows).inputs for kind in [column.kind] * column.width]
    indicators = [at for at, kind in enumerate(kinds) if kind == "one_hot"]
    return [("encode", encode), ("winsorize", Winsorizer(quantile, indicators)), ("scale", Standardizer(indicators))]


def _scaled(prepared: Prepared, declaration: Declaration, k: int) -> NDArray[np.float64] | None:
    """The rows as K-Means takes them, shape (rows, columns); None where too few differ for `k` clusters."""
    rows = enough(prepared, declaration)
    scaled: NDArray[np.float64] = Pipeline(_scaling(declaration, prepared, rows)).fit_transform(rows)
    return scaled if _has_distinct(scaled, k + 1) else None


def _kmeans(params: Params, k: int) -> KMeans:
    return KMeans(k, init=params.init, n_init=params.n_init, random_state=params.random_state)


def _has_distinct(scaled: NDArray[np.float64], least: int) -> bool:
    """Whether at least so many rows differ. The first few nearly always do, so the rest is rarely sorted."""
    few = 100 * least
    return len(np.unique(scaled[:few], axis=0)) >= least or (
        len(scaled) > few and len(np.unique(scaled, axis=0)) >= least
    )


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
    _reorder(kmeans, np.lexsort([*(-found.T[::-1]), -readiness]))


def _number_by_size(kmeans: KMeans) -> None:
    """Renumbers the fitted clusters from the largest to the smallest."""
    found = kmeans.cluster_centers_
    sizes = np.bincount(kmeans.labels_, minlength=len(found))
    _reorder(kmeans, np.lexsort([*(-found.T[::-1]), -sizes]))


def _reorder(kmeans: KMeans, order: NDArray[np.int64]) -> None:
    """Makes what was cluster `order[i]` cluster i."""
    rank = np.empty(len(order), dtype=kmeans.labels_.dtype)
    rank[order] = np.arange(len(order), dtype=rank.dtype)
    kmeans.cluster_centers_ = np.ascontiguousarray(kmeans.cluster_centers_[order])
    kmeans.labels_ = rank[kmeans.labels_]


def _silhouette(scaled: NDArray[np.float64], ranks: NDArray[np.int32], seed: int) -> float:
    size = SILHOUETTE_ROWS if len(scaled) > SILHOUETTE_ROWS else None
    return float(silhouette_score(scaled, ranks, sample_size=size, random_state=seed))


def _summary(agreement: NDArray[np.float64]) -> dict[str, float]:
    mean, sd = float(np.mean(agreement)), float(np.std(agreement, ddof=1))
    low = mean - ONE_SIDED_95 * sd / math.sqrt(len(agreement))
    return {"stability": mean, "stability_sd": sd, "stability_low": low}


def _stability(
    scaled: NDArray[np.float64], ranks: NDArray[np.int32], params: Params, k: int, bootstraps: Sequence[int]
) -> NDArray[np.float64]:
    """Adjusted Rand index of each bootstrap's clustering, applied to all rows, with `ranks`; shape (bootstraps,)."""
    agreement = np.zeros(len(bootstraps))
    size = min(len(scaled), STABILITY_ROWS)
    judged = _sample(len(scaled), STABILITY_ROWS, params.random_state)
    for at, i in enumerate(bootstraps):
        # A seed of its own for each bootstrap: the same samples for every k, whoever computes them and in what order.
        draw = np.random.default_rng([params.random_state, i]).integers(0, len(scaled), size)
        # A sample that has no k different rows can't be clustered: it agrees with nothing and counts as 0.
        if _has_distinct(scaled[draw], k):
            kmeans = _kmeans(params, k).fit(scaled[draw])
            agreement[at] = adjusted_rand_score(ranks[judged], kmeans.predict(scaled[judged]))
    return agreement


def _sample(rows: int, size: int, seed: int) -> NDArray[np.int64] | slice:
    """Positions of at most `size` of the rows, in their order; all where there are no more."""
    if rows <= size:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def _shuffled(prepared: Prepared, declaration: Declaration, params: Params, k: int) -> dict[str, float]:
    """Silhouette of `k` clusters where no column says anything of another; empty where nobody asks.

    Each column keeps its values, so what clusters it makes alone stay; only what columns have in common is gone (a
    permutation null in place of the uniform one of Tibshirani et al. 2001, doi:10.1111/1467-9868.00293).
    """
    if _task(declaration).structure_floor is None:
        return {}
    rows = prepared.matrix
    found = np.empty(SHUFFLES)
    for i in range(SHUFFLES):
        generator = np.random.default_rng([params.random_state, i])
        size = min(len(rows), SHUFFLED_ROWS)
        mixed = pd.DataFrame(
            {name: column.to_numpy()[generator.permutation(len(rows))[:size]] for name, column in rows.items()}
        )
        scaled = Pipeline(_scaling(declaration, prepared, mixed)).fit_transform(mixed)
        if not _has_distinct(scaled, k + 1):
            return {"silhouette_shuffled": 0.0, "silhouette_shuffled_sd": 0.0}
        labels = _kmeans(params, k).fit_predict(scaled)
        found[i] = silhouette_score(scaled, labels)
    return {"silhouette_shuffled": float(found.mean()), "silhouette_shuffled_sd": float(found.std(ddof=1))}
