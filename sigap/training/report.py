"""What `dvc repro` tracks: who stands in which cluster, and the sweep's scores, without a clock in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from sigap.catalog import declaration
from sigap.settings import Settings
from sigap.training.candidates import train
from sigap.training.sweep import Progress, Trained
from sigap.training.trainer import trainer

ASSIGNMENTS = "assignments.csv"
METRICS = "metrics.json"


def train_and_report(model: str, settings: Settings, progress: Progress | None = None) -> Path:
    """Trains `model` on the checked-out snapshot and writes reports/<model>/, with neither MLflow nor PostgreSQL.

    Returns:
        The folder of the report.

    Raises:
        UnknownModelError: There is no such model.
        ConfigurationError: `params.yaml` can't be used.
        TrainingError: The snapshot can't be trained on.
    """
    declared = declaration(model)
    snapshot = settings.root / "data" / "raw" / f"{model}_snapshot.parquet"
    how, trained = train(declared, snapshot, trainer(declared).params(settings.root, model), settings, progress)
    return how.report(trained, settings.root / "reports" / model)


def write_report(folder: Path, trained: Trained) -> Path:
    """Writes assignments.csv and metrics.json into `folder`; the same training gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    assignments(trained).to_csv(folder / ASSIGNMENTS, index=False, lineterminator="\n")
    metrics = {
        "k": trained.winner.k,
        "period": trained.prepared.period,
        "entities": len(trained.prepared.matrix),
        "features_used": list(trained.prepared.used),
        "sizes": list(trained.winner.sizes),
        **trained.winner.metrics,
        "sweep": {f"k{each.k}": {**each.metrics, "admissible": each.admissible} for each in trained.candidates},
    }
    (folder / METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def assignments(trained: Trained) -> pd.DataFrame:
    """One row an assessed entity: key, name, period, cluster, level, distance to its centre, used features.

    Name and period stand only where there are such, and no feature that says something about a person.
    """
    prepared, source = trained.prepared, trained.declaration.source
    ranks = trained.ranks.to_numpy()
    public = [name for name in prepared.used if not trained.declaration.feature(name).personal]
    columns: dict[str, Any] = {source.entity: trained.ranks.index}
    if source.entity_name:
        columns[source.entity_name] = [prepared.name(str(entity)) for entity in trained.ranks.index]
    if source.time:
        columns[source.time] = prepared.period
    columns["cluster"] = ranks
    columns["cluster_label"] = [trained.levels[rank].text for rank in ranks]
    columns["distance_to_center"] = trained.distances[range(len(ranks)), ranks]
    return pd.DataFrame({**columns, **{name: prepared.matrix[name].to_numpy() for name in public}})
