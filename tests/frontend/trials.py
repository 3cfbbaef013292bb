"""Runs and their candidates as MLflow would tell them, for the stand-in: figures as real sweeps gave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.registry_client import PARENT, PIPELINE_RUN, MissingFileError, NotRegisteredError, RunEntry

BEGUN = datetime(2026, 11, 20, 6, 12, tzinfo=UTC)
SCORES: dict[str, dict[str, tuple[float, float, dict[str, str]]]] = {
    "car_price": {
        "ridge": (2404.7, 424.4, {"estimator": "ridge", "target_scale": "log", "options.alpha": "10.0"}),
        "random_forest": (1454.0, 72.0, {"estimator": "random_forest", "target_scale": "linear"}),
        "gradient_boosting": (1957.0, 394.7, {"estimator": "gradient_boosting", "target_scale": "linear"}),
    },
    "credit_approval": {
        "logistic_regression": (0.52, 0.03, {"estimator": "logistic_regression", "options.C": "1.0"}),
        "random_forest": (0.51, 0.04, {"estimator": "random_forest"}),
    },
}
METRIC = {"car_price": ("rmse", 8119.0, "mae"), "credit_approval": ("accuracy", 0.516, "roc_auc")}
# K, silhouette, inertia, stability.
SWEEP = (
    (2, 0.355, 65.8, 0.66),
    (3, 0.371, 40.8, 0.78),
    (4, 0.33, 32.9, 0.6),
    (5, 0.337, 26.7, 0.55),
    (6, 0.378, 21.3, 0.5),
)


def earlier(model: str) -> str:
    """Id of the run before the newest."""
    return f"before-{model}"


def run(model: str, run_id: str, tags: Mapping[str, str]) -> RunEntry:
    """A run with what it logged; the one before has another setting and a worse score."""
    old = run_id == earlier(model)
    begun = BEGUN - timedelta(days=3 if old else 0)
    known = {
        PIPELINE_RUN: run_id,
        "winner": winner(model),
        "data_md5": ("1" if old else "0") * 32,
        "mlflow.source.git.commit": ("b" if old else "4") * 40,
        "lock_sha256": "e" * 64,
    }
    return RunEntry(
        run_id,
        "FINISHED",
        begun,
        begun + timedelta(seconds=41),
        {**known, **tags},
        f"{model} v1",
        model,
        f"mlflow-artifacts:/{model}",
        {"random_state": "42", "folds": "4" if old else "5"},
        scored(model, winner(model), 1.05 if old else 1.0),
    )


def winner(model: str) -> str:
    """Name of the candidate that was chosen."""
    return "random_forest" if model in SCORES else "k3"


def scored(model: str, name: str, worse: float = 1.0) -> dict[str, float]:
    """A candidate's metrics."""
    if model in SCORES:
        metric, baseline, other = METRIC[model]
        score, spread, _ = SCORES[model][name]
        beside = {other: score * 0.65, f"{other}_sd": spread * 0.5, f"baseline_{metric}": baseline}
        return {metric: score * worse, f"{metric}_sd": spread, **beside}
    found = next(each for each in SWEEP if f"k{each[0]}" == name)
    return {"silhouette": found[1], "inertia": found[2], "stability": found[3], "stability_sd": 0.1}


def candidates(entry: RunEntry) -> list[RunEntry]:
    """The candidates' own runs."""
    model = entry.experiment
    if model in SCORES:
        named = {name: params for name, (_, _, params) in SCORES[model].items()}
    else:
        named = {f"k{k}": {"n_clusters": str(k), "init": "k-means++"} for k, *_ in SWEEP}
    return [
        RunEntry(f"{entry.run_id}-{name}", "FINISHED", BEGUN, BEGUN, {PARENT: entry.run_id, "candidate": name},
                 name, model, "", params, scored(model, name))
        for name, params in named.items()
    ]  # fmt: skip


def stored(entry: RunEntry, path: str) -> bytes:
    """A file of a run.

    Raises:
        MissingFileError: It stored none such.
    """
    if entry.experiment != "car_price" or not path.endswith("data_profile.json"):
        raise MissingFileError("none")
    column: dict[str, Any] = {"kind": "number", "role": "feature", "missing": 4, "missing_share": 0.02, "distinct": 60}
    number = {"minimum": 48.0, "maximum": 288.0, "mean": 104.1, "quantiles": {"0.5": 95.0}}
    horsepower = {"name": "horsepower", **column, **number, "edges": [48, 100, 288], "counts": [120, 85]}
    fuel = {"name": "fueltype", **column, "kind": "category", "missing": 0, "missing_share": 0.0, "distinct": 2,
            "top": {"gas": 185, "diesel": 20}}  # fmt: skip
    changes = {"against": "v0", "rows_before": 200, "added": 5, "removed": 0, "changed": 2,
               "columns": [{"name": "horsepower", "missing_share": 0.0, "median": 1.0, "psi": 0.31}]}  # fmt: skip
    profile = {"model": "car_price", "version": "v1", "rows": 205, "rejected": 3, "origin": "mock", "duplicates": 1,
               "columns": [horsepower, fuel], "changes": changes}  # fmt: skip
    return json.dumps(profile).encode()


def unknown(run_id: str) -> NotRegisteredError:
    """What the registry says of a run that there is not."""
    return NotRegisteredError(f"The registry has nothing with run_id {run_id!r}.")
