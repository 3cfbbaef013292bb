"""The way of the data as steps: what Mage's blocks call one after another, and what `run` does in one process.

Every step takes and returns plain JSON (no NaN, no tuples), so that it can travel between processes. Every step may be
called again with the same input, after a crash or by an orchestrator's retry, and doubles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from sigap.settings import Settings

Json = dict[str, Any]
Progress = Callable[[str], None]


def snapshot(
    model: str, version: str | None = None, data_version: str | None = None, *, settings: Settings | None = None
) -> Json:
    """Takes a snapshot of the model's table under DVC, or restores one.

    Args:
        model: Name of a declaration.
        version: Name for the data version if the data is new; by default v1, v2, and so on.
        data_version: Restore this version instead of reading PostgreSQL.
        settings: Those of this process if not given, as in every step.

    Returns:
        What `sigap.data.snapshot.Snapshot` holds, and `pipeline_run`, the key of this run of the pipeline.
    """
    raise NotImplementedError


def clean(snapshot: Json, *, settings: Settings | None = None) -> Json:
    """Prepares the features and says what is used and what is left out.

    Returns:
        `model`, `snapshot`, `used`, `left_out`, `not_assessed`, `rows`, `period`.
    """
    raise NotImplementedError


def preview(cleaned: Json, *, settings: Settings | None = None) -> pd.DataFrame:
    """The table that the model is trained on, one row an entity: for a block that shows it."""
    raise NotImplementedError


def plan(cleaned: Json, *, settings: Settings | None = None) -> list[Json]:
    """Starts the parent run in MLflow; one item a candidate of the sweep.

    Returns:
        Items `{"k", "parent_run_id", "snapshot"}` for `fit`, in the order of k.
    """
    raise NotImplementedError


def fit(item: Json, *, settings: Settings | None = None) -> Json:
    """Fits one candidate and logs it as a run under the parent.

    Returns:
        `{"k", "run_id", "parent_run_id", "metrics", "admissible", "reason", "snapshot"}`.
    """
    raise NotImplementedError


def register(fits: list[Json], *, settings: Settings | None = None) -> Json:
    """Selects among the admissible candidates, writes the bundle, and registers the challenger.

    A model that answers as a registered one does, from the same data, is that version and not a new one.

    Returns:
        `{"model", "model_version", "created", "data_version", "parent_run_id", "k", "metrics", "snapshot"}`.
    """
    raise NotImplementedError


def decide(registered: Json, *, settings: Settings | None = None) -> Json:
    """Puts the challenger through the gate and promotes it if it passes.

    Returns:
        `{"model", "promoted", "model_version", "champion", "data_version", "rule", "reason", "k", "metrics",
        "decision"}`; `model_version` is the challenger, `champion` the version served afterwards, both like `v3`.
    """
    raise NotImplementedError


def run(
    model: str,
    version: str | None = None,
    data_version: str | None = None,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Json:
    """Takes all steps in this process; the result of `decide`."""
    raise NotImplementedError
