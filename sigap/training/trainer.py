"""The one way to train, whatever the task: what the workflow, Mage's blocks and `dvc repro` call.

A trainer is made for a declaration's task by `trainer`. Its steps take and return what only it understands (`Prepared`,
`Trained`) and what everybody understands (`Spec`, `Candidate`, `Manifest`): the latter travel between processes as
plain JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Required, TypedDict, Unpack

import pandas as pd

from sigap.bundle import Bilingual, CodeEntry, DataEntry, Manifest
from sigap.catalog import Declaration
from sigap.errors import TrainingError
from sigap.training.gate import Comparison

# What a step of one task gives to the next; no other code looks inside. `Params` is a pydantic model.
Prepared = Any
Params = Any
AnyTrained = Any


@dataclass(frozen=True)
class Spec:
    """One candidate of a sweep, before it is fitted.

    Attributes:
        name: Its name within the sweep, such as `k3` or `random_forest-2`; part of file names and of run names.
        params: What makes it different from the others, plain JSON; logged as the run's parameters.
    """

    name: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One candidate of a sweep, scored.

    Attributes:
        name: Its name within the sweep.
        params: What makes it different from the others, plain JSON.
        metrics: Finite scores by name; a score from repeated folds has its standard deviation beside it as `…_sd`.
        reason: Why it may not become champion; None when it may.
        details: What `choose` needs to know besides, plain JSON.
        model: The fitted estimator; None after a journey as JSON, and wherever scoring needs no model of all rows.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, float]
    reason: Bilingual | None = None
    details: dict[str, Any] = field(default_factory=dict)
    model: Any = field(default=None, repr=False, compare=False)

    @property
    def admissible(self) -> bool:
        """Whether it may become champion."""
        return self.reason is None

    def as_dict(self) -> dict[str, Any]:
        """The candidate as plain JSON, without the model: `choose` makes the same one again."""
        return {
            "name": self.name,
            "params": dict(self.params),
            "metrics": dict(self.metrics),
            "admissible": self.admissible,
            "reason": self.reason.model_dump() if self.reason else None,
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Candidate:
        """The candidate that `as_dict` wrote; other keys are ignored."""
        reason = Bilingual(**entry["reason"]) if entry["reason"] else None
        return cls(entry["name"], dict(entry["params"]), dict(entry["metrics"]), reason, dict(entry["details"]))

    def without_model(self) -> Candidate:
        """The same without the model, as it comes back from a journey."""
        return replace(self, model=None)


class BundleFacts(TypedDict, total=False):
    """Where a bundle's model comes from; see `Trainer.write_bundle`."""

    data: Required[DataEntry]
    code: Required[CodeEntry]
    run_id: str
    candidate_runs: Mapping[str, str] | None
    previous: Path | None
    previous_version: str
    trained_at: datetime | None


class Trained(Protocol):
    """A finished sweep and the model it chose. Each task's own has more; this much all have."""

    @property
    def declaration(self) -> Declaration:
        """The model's declaration."""

    @property
    def prepared(self) -> Prepared:
        """What it was trained on."""

    @property
    def tried(self) -> tuple[Candidate, ...]:
        """All candidates of the sweep, in its order."""

    @property
    def chosen(self) -> Candidate:
        """The one chosen."""

    @property
    def metrics(self) -> dict[str, float]:
        """What the parent run and the manifest show: the chosen one's scores and what else was measured of it."""

    @property
    def caveat(self) -> Bilingual | None:
        """What has to be said wherever it is served, such as that it is no better than its baseline."""

    @property
    def model(self) -> Any:
        """The scikit-learn estimator fitted on all rows, as the registry keeps it."""

    @property
    def sample(self) -> pd.DataFrame:
        """Rows as `model.predict` takes them: for the registry's signature and input example."""


class Trainer(Protocol):
    """How the models of one task are trained. Pure: it knows neither Mage, PostgreSQL nor MLflow."""

    # Classes that skops has to be told to trust when it loads such a model.
    trusted_types: tuple[str, ...]

    def params(self, root: Path, model: str) -> Params:
        """The model's section of the checkout's `params.yaml`.

        Raises:
            ConfigurationError: The file can't be read, has no such section, or a value can't be used.
        """

    def parse_params(self, values: Mapping[str, Any]) -> Params:
        """Parameters out of their `model_dump()`, after a journey as JSON."""

    def prepare(self, declaration: Declaration, table: pd.DataFrame) -> Prepared:
        """Makes a snapshot's rows ready for training.

        Raises:
            TrainingError: They can't be trained on.
        """

    def summary(self, prepared: Prepared) -> dict[str, Any]:
        """What was made ready, plain JSON: `rows`, `entities`, `period`, `used`, `left_out`, `not_assessed`.

        `entities` are the rows trained on, `period` is None where rows have no time, `left_out` are `LeftOut` entries.
        """

    def preview(self, prepared: Prepared) -> pd.DataFrame:
        """The table that is trained on, for a block that shows it."""

    def candidates(self, params: Params) -> tuple[Spec, ...]:
        """The sweep's candidates, in its order."""

    def fit(
        self,
        prepared: Prepared,
        declaration: Declaration,
        params: Params,
        name: str,
        told: Sequence[float] | None = None,
    ) -> Candidate:
        """Fits and scores the candidate `name`; the same input gives the same scores to the last digit.

        Args:
            prepared: The rows.
            declaration: The model.
            params: What the sweep tries.
            name: Of the candidate.
            told: What all its `parts` gave, one behind the other, where they were computed elsewhere.

        Raises:
            TrainingError: There are too few rows, or there is no candidate of that name.
        """

    def parts(self, params: Params, name: str) -> int:
        """In how many parts the longest part of scoring the candidate can be shared out; 0 where it can't."""

    def part(self, prepared: Prepared, declaration: Declaration, params: Params, name: str, at: int) -> list[float]:
        """One of these parts, counted from 0.

        Raises:
            TrainingError: There are too few rows, or there is no candidate of that name.
        """

    def choose(
        self,
        declaration: Declaration,
        prepared: Prepared,
        params: Params,
        tried: Sequence[Candidate],
        previous: Path | None = None,
    ) -> Trained:
        """Chooses among scored candidates, with or without their models, and fits the chosen one on all rows.

        Args:
            declaration: The model.
            prepared: What the candidates were scored on.
            params: What the sweep tried.
            tried: The candidates.
            previous: Folder of the champion's bundle, for tasks whose classes have no order of their own: what the
                champion has as segment 2 is segment 2 in the new model too.

        Raises:
            TrainingError: None is admissible, with each one's reason; or the chosen one fitted here is not the one
                that was scored.
        """

    def figures(self, trained: AnyTrained, folder: Path) -> list[Path]:
        """Draws the sweep and its winner as PNGs into `folder`, made if need be, and gives their paths."""

    def fingerprint(self, trained: AnyTrained) -> str:
        """sha256 (hex) over what decides an answer, as it stands in the manifest."""

    def write_bundle(self, folder: Path, trained: AnyTrained, **facts: Unpack[BundleFacts]) -> Manifest:
        """Writes the serving bundle into `folder`, the manifest last.

        Args:
            folder: Where to; made if need be.
            trained: The finished sweep.
            facts: `data` and `code`: which data the model saw, and which code trained it. `run_id`, the MLflow run that
                registers it; `candidate_runs`, the MLflow run by candidate name; `previous`, folder of the champion's
                bundle, to show movement against, for tasks that show any; `previous_version`, the champion's name, such
                as `v3`; `trained_at`, by default now, stands in the manifest and not in the fingerprint.

        Raises:
            BundleError: The ONNX model answers otherwise than scikit-learn on a row of the snapshot.
        """

    def check_rows(self, trained: AnyTrained, bundle: Path, tables: Iterable[pd.DataFrame]) -> int:
        """Holds a bundle's answers against scikit-learn's on a whole snapshot of which a sample was trained on.

        Args:
            trained: The finished sweep.
            bundle: Folder of the bundle that `write_bundle` wrote.
            tables: The snapshot's rows in the order of its key, some at a time; no more than that is held.

        Returns:
            How many rows were answered.

        Raises:
            BundleError: The ONNX model answers otherwise on one of them.
        """

    def report(self, trained: AnyTrained, folder: Path) -> Path:
        """Writes what `dvc repro` tracks into `folder`, without a clock in it; the same training gives the same bytes.

        `metrics.json`, and `assignments.csv` of a clustering or `predictions.csv` (held-out ones) of the others.
        """

    def compare(
        self,
        declaration: Declaration,
        prepared: Prepared,
        params: Params,
        challenger: Path,
        champion: Path,
    ) -> Comparison | None:
        """Challenger and champion on the challenger's rows, paired row by row.

        Args:
            declaration: The model.
            prepared: What the challenger was trained on.
            params: What the challenger's sweep tried.
            challenger: Folder of its bundle.
            champion: Folder of the champion's bundle.

        Returns:
            The comparison; None where the champion can't be applied to these rows.
        """


def trainer(declaration: Declaration) -> Trainer:
    """The trainer for the declaration's task."""
    # Imported here: each brings its own libraries, and no process needs all of them.
    if declaration.task.kind == "clustering":
        from sigap.training.clustering import ClusteringTrainer

        return ClusteringTrainer()
    if declaration.task.kind == "forecasting":
        from sigap.training.forecasting import ForecastingTrainer

        return ForecastingTrainer()
    from sigap.training.supervised_trainer import SupervisedTrainer

    return SupervisedTrainer()


def no_candidate(declaration: Declaration, tried: Sequence[Candidate]) -> TrainingError:
    """The refusal to promote anything, with each candidate's reason."""
    reasons = "; ".join(f"{each.name}: {each.reason.en}" for each in tried if each.reason)
    return TrainingError(
        f"{declaration.name}: none of {len(tried)} candidates may become champion ({reasons}).",
        remedy="Nothing was promoted; a champion that there is stays. Check the newest data, or the declaration.",
    )


def refused_in_indonesian(tried: Sequence[Candidate]) -> str:
    """What `no_candidate` says, for people who read Indonesian."""
    reasons = "; ".join(f"{each.name}: {each.reason.id}" for each in tried if each.reason)
    return f"Tidak satu pun dari {len(tried)} kandidat cukup baik untuk dipakai ({reasons})."
