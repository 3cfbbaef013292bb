"""What `dvc repro` tracks of a supervised training: its scores and held-out predictions, without a clock in them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sigap.training.supervised import SupervisedTrained

METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"


def write_report(folder: Path, trained: SupervisedTrained) -> Path:
    """Writes metrics.json and predictions.csv into `folder`; the same training gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    predictions(trained).to_csv(folder / PREDICTIONS, index=False, lineterminator="\n")
    content = {
        "winner": trained.chosen.name,
        "rows": len(trained.prepared.keys),
        "features_used": list(trained.prepared.used),
        **trained.metrics,
        "baseline": trained.baseline.model_dump(mode="json"),
        "segments": [each.model_dump(mode="json") for each in trained.segments],
        "fairness": [each.model_dump(mode="json") for each in trained.fairness],
        "sweep": {each.name: {**each.metrics, "admissible": each.admissible} for each in trained.tried},
    }
    (folder / METRICS).write_text(
        json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    return folder


def predictions(trained: SupervisedTrained) -> pd.DataFrame:
    """One row a scored row: its key, its target, and its held-out prediction in the first repeat."""
    scoring = trained.scoring
    return pd.DataFrame(
        {
            "key": [trained.prepared.keys[position] for position in scoring.positions],
            "target": scoring.target,
            "held_out_prediction": trained.predicted[0],
        }
    )
