"""The sweep: every candidate on the same rows and seeds, then the choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from sigap.bundle import Bilingual, Level
from sigap.catalog import Declaration, Kind
from sigap.catalog.declaration import Clustering
from sigap.data import parts
from sigap.errors import TrainingError
from sigap.training.clusters import Candidate, centers, distances, fit, inputs, renumber, select, with_model
from sigap.training.features import Prepared, complete, prepare
from sigap.training.gate import MINIMUM_EFFECT, compare
from sigap.training.matching import Match, keep_numbers, match_to_champion
from sigap.training.params import Params, read_params

__all__ = ["Params", "Progress", "Trained", "candidates", "choose", "read_params", "read_snapshot", "train"]

# Called with the steps done, the steps in all, and what was done.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Trained:
    """A finished sweep and the model it chose.

    Attributes:
        declaration: The model's declaration.
        params: What the sweep tried.
        prepared: The rows it was tried on.
        candidates: All candidates, by k.
        winner: The one chosen, with its model.
        matches: Where each cluster comes from, if clusters are ordered by size and there was a champion to match.
    """

    declaration: Declaration
    params: Params
    prepared: Prepared
    candidates: tuple[Candidate, ...]
    winner: Candidate
    matches: tuple[Match, ...] = ()

    @property
    def task(self) -> Clustering:
        """The declaration's task."""
        return self.declaration.task_as(Clustering)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The used features that are numbers, in order."""
        return tuple(name for name in self.prepared.used if self.declaration.feature(name).kind is not Kind.CATEGORY)

    @property
    def model(self) -> Pipeline:
        """The chosen pipeline; `predict` gives ranks."""
        return self.winner.model

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Distance of each assessed entity to each centre, shape (n_entities, k), in standard deviations."""
        return distances(self.model, self.prepared.matrix)

    @cached_property
    def ranks(self) -> pd.Series[int]:
        """Rank of each assessed entity, index entity; 0 is the readiest, or the first of the segments."""
        matrix = self.prepared.matrix
        return pd.Series(self.model[-1].labels_.astype(int), index=matrix.index, name="cluster")

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The clusters, by rank, with label, size and centre in the features' units, of numbers."""
        labels = self.task.labels(self.winner.k)
        in_units = centers(self.model)
        at = _columns_of_numbers(self)
        return tuple(
            Level(
                cluster=rank,
                label=Bilingual(id=label.id, en=label.en),
                text=f"{label.id} ({label.en})",
                size=self.winner.sizes[rank],
                center={name: float(in_units[rank, at[name]]) for name in self.numbers},
            )
            for rank, label in enumerate(labels)
        )

    def predict(self, known: pd.DataFrame) -> dict[str, int]:
        """Rank by entity of those rows (index entity, columns at least the used features) that lack no used feature."""
        rows = complete(known, self.prepared.used, imputes=self.prepared.imputes)
        if rows.empty:
            return {}
        nearest = distances(self.model, rows).argmin(axis=1)
        return {str(entity): int(rank) for entity, rank in zip(rows.index, nearest, strict=True)}


def _columns_of_numbers(trained: Trained) -> dict[str, int]:
    """Position of each used number among the columns that K-Means sees."""
    encoded = inputs(trained.model)
    if not encoded:
        return {name: at for at, name in enumerate(trained.prepared.used)}
    starts = np.cumsum([0, *(column.width for column in encoded)])
    return {column.feature: int(start) for column, start in zip(encoded, starts, strict=False)}


def candidates(params: Params) -> tuple[int, ...]:
    """The numbers of clusters to try."""
    return tuple(range(params.k_min, params.k_max + 1))


def read_snapshot(path: Path) -> pd.DataFrame:
    """The snapshot's rows, of one file or of a folder of partitions.

    Raises:
        TrainingError: There is no snapshot, or it can't be read.
    """
    if not path.exists():
        raise TrainingError(
            f"There is no snapshot {path}.",
            remedy="Fetch it with `dvc checkout` (or `dvc pull`), or take one by running the pipeline.",
        )
    try:
        return parts.read(path).to_pandas() if path.is_dir() else pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"The snapshot {path} can't be read: {error}.", remedy="Fetch it again with `dvc checkout --force`."
        ) from error


def choose(
    declaration: Declaration,
    prepared: Prepared,
    params: Params,
    tried: Sequence[Candidate],
    champion: Path | None = None,
) -> Trained:
    """Chooses among scored candidates, whether or not they still have their models.

    Args:
        declaration: The model.
        prepared: The rows that the candidates were scored on.
        params: What the sweep tried.
        tried: The candidates.
        champion: Folder of the champion's bundle. Where clusters are ordered by size, one that is found again keeps
            the number it has there.

    Raises:
        TrainingError: None is admissible.
        BundleError: The champion's bundle can't be read.
    """
    ordered = tuple(sorted(tried, key=lambda each: each.k))
    winner = _preferred(declaration, prepared, params, ordered)
    matches = None
    if champion is not None and declaration.task_as(Clustering).order == "size":
        ranks = np.asarray(Trained(declaration, params, prepared, ordered, winner).ranks, dtype=np.int64)
        # With the features that this model leaves out: the champion may use them.
        everything = prepared.now.values.loc[prepared.matrix.index]
        matches = match_to_champion(champion, everything, ranks, winner.k)
    if not matches:
        return Trained(declaration, params, prepared, ordered, winner)
    order = keep_numbers(matches)
    renumbered = tuple(replace(matches[cluster], cluster=number) for number, cluster in enumerate(order))
    return Trained(declaration, params, prepared, ordered, renumber(winner, order), renumbered)


def _preferred(declaration: Declaration, prepared: Prepared, params: Params, tried: Sequence[Candidate]) -> Candidate:
    """The best admissible candidate, or the declared number of clusters where the best is not surely better."""
    best = with_model(select(tried), prepared, declaration, params)
    wanted = declaration.task_as(Clustering).preferred_clusters
    kept = next((each for each in tried if each.k == wanted and each.admissible), None)
    if kept is None or kept.k == best.k:
        return best
    kept = with_model(kept, prepared, declaration, params)
    ours, theirs = cast(Pipeline, best.model), cast(Pipeline, kept.model)
    measured = compare(ours[:-1].transform(prepared.matrix), ours[-1].labels_, theirs[-1].labels_)
    surely = measured is not None and measured.low > 0 and measured.difference >= MINIMUM_EFFECT
    return best if surely else kept


def train(declaration: Declaration, snapshot_path: Path, params: Params, progress: Progress | None = None) -> Trained:
    """The whole training on a snapshot, in this process and without MLflow.

    Raises:
        TrainingError: The snapshot can't be read or trained on, or no candidate is admissible.
    """
    prepared = prepare(declaration, read_snapshot(snapshot_path))
    numbers = candidates(params)
    tried = []
    for done, k in enumerate(numbers, 1):
        tried.append(fit(prepared, declaration, params, k))
        if progress:
            progress(done, len(numbers), f"k = {k}")
    return choose(declaration, prepared, params, tried)
