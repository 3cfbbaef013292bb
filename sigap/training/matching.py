"""Numbers that stay: a new model's clusters matched to the champion's, so that a segment keeps its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sigap.bundle import MODEL, ClusteringManifest, read_manifest
from sigap.training.tabular import TabularEncoder

# From this Jaccard index on a cluster counts as found again; below, it is dissolved (Hennig 2007,
# doi:10.1016/j.csda.2006.11.025).
FOUND_AGAIN = 0.5
# More rows would change an index in its third digit.
ROWS = 20_000
SEED = 20240601


@dataclass(frozen=True)
class Match:
    """Where a cluster comes from.

    Attributes:
        cluster: The new model's cluster.
        former: The champion's cluster that it is; None if it is a new one.
        agreement: Jaccard index of the two, 0 to 1: rows in both over rows in either.
    """

    cluster: int
    former: int | None
    agreement: float


def served_labels(bundle: Path, rows: pd.DataFrame) -> NDArray[np.int64]:
    """The labels that the model of a bundle gives, shape (n,).

    Args:
        bundle: Its folder.
        rows: At least the features it uses, without missing values unless it has its own way with them.

    Raises:
        BundleError: The bundle can't be read.
    """
    manifest = read_manifest(bundle)
    session = onnxruntime.InferenceSession(str(bundle / MODEL), providers=["CPUExecutionProvider"])
    wanted = {"tensor(float)": np.float32, "tensor(double)": np.float64}[session.get_inputs()[0].type]
    matrix = rows[list(manifest.features_used)].to_numpy()
    if manifest.inputs:
        encoder = TabularEncoder([column.feature for column in manifest.inputs])
        encoder.inputs_ = [column.model_dump() for column in manifest.inputs]
        matrix = encoder.transform(rows)
    labels: NDArray[np.int64] = session.run(["label"], {"X": matrix.astype(wanted)})[0]
    return labels


def match_to_champion(champion: Path, rows: pd.DataFrame, ranks: NDArray[np.int64], k: int) -> tuple[Match, ...] | None:
    """Matches clusters to those of the champion's that hold the same rows.

    Each row goes to the nearest of the champion's centres, as the champion itself answers: so the two may use other
    features, scales and numbers of clusters. Each pair of clusters is then as alike as its Jaccard index says, and
    the pairs are chosen to be most alike together (Kuhn 1955, doi:10.1002/nav.3800020109).

    Args:
        champion: Folder of its bundle.
        rows: The new model's rows with all their features, shape (n, features).
        ranks: Their clusters, shape (n,).
        k: Number of new clusters.

    Returns:
        One match a cluster, by cluster; None where the champion can't be applied to these rows.
    """
    manifest = read_manifest(champion)
    if not isinstance(manifest, ClusteringManifest) or not set(manifest.features_used) <= set(rows.columns):
        return None
    chosen = np.random.default_rng(SEED).permutation(len(rows))[:ROWS]
    known = rows.iloc[chosen][list(manifest.features_used)]
    kept = np.ones(len(known), bool) if manifest.inputs else known.notna().all(axis=1).to_numpy()
    if not kept.any():
        return None
    former = served_labels(champion, known[kept])
    return match(ranks[chosen][kept], former, k, len(manifest.levels))


def match(ranks: NDArray[np.int64], former: NDArray[np.int64], k: int, former_k: int) -> tuple[Match, ...]:
    """Matches `k` clusters to `former_k` by the same rows' labels, both of shape (n,)."""
    both = np.zeros((k, former_k))
    np.add.at(both, (ranks, former), 1)
    either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    jaccard = both / np.maximum(either, 1)
    pairs = dict(zip(*linear_sum_assignment(jaccard, maximize=True), strict=True))
    matches = []
    for cluster in range(k):
        partner = pairs.get(cluster)
        found = partner is not None and jaccard[cluster, partner] >= FOUND_AGAIN
        best = float(jaccard[cluster].max() if partner is None else jaccard[cluster, partner])
        matches.append(Match(cluster, int(partner) if found and partner is not None else None, best))
    return tuple(matches)


def keep_numbers(matches: Sequence[Match]) -> tuple[int, ...]:
    """The order in which every cluster found again has its former number, as far as there is one.

    The others fill the free numbers in their own order, which is by size.

    Returns:
        At each new number, the cluster that gets it.
    """
    k = len(matches)
    order: dict[int, int] = {
        each.former: each.cluster for each in matches if each.former is not None and each.former < k
    }
    waiting = [each.cluster for each in matches if each.cluster not in set(order.values())]
    free = [number for number in range(k) if number not in order]
    order.update(zip(free, waiting, strict=True))
    return tuple(order[number] for number in range(k))
