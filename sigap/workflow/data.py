"""The first steps: a snapshot of the table, and features out of it."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import asdict

import pandas as pd

from sigap.catalog import declaration
from sigap.data import parts
from sigap.data.snapshot import Snapshot, take_snapshot
from sigap.data.versions import DataVersions
from sigap.errors import PipelineError, RegistryError, TrainingError
from sigap.registry.decisions import PIPELINE
from sigap.registry.tracking import Runs
from sigap.settings import Settings, get_settings
from sigap.workflow.failure import end_failed
from sigap.workflow.items import Json, data_of
from sigap.workflow.retries import read_patiently
from sigap.workflow.rows import prepared_rows, sampled
from sigap.workflow.step_log import logged

PREVIEW_ROWS = 1_000


@logged
def snapshot(
    model: str,
    version: str | None = None,
    data_version: str | None = None,
    *,
    owner: str = "",
    asked_by: str = "",
    settings: Settings | None = None,
) -> Json:
    """Takes a snapshot of the model's table under DVC, or restores one.

    Args:
        model: Name of a declaration.
        version: Name for the data version if the data is new; by default v1, v2, and so on.
        data_version: Restore this version instead of reading PostgreSQL.
        owner: The process that waits for this run, by `sigap.registry.owner.this_process`; empty if nobody does.
        asked_by: Who or what started this run, for the record of its decision; the pipeline itself if not given.
        settings: Those of this process if not given, as in every step.

    Returns:
        What `sigap.data.snapshot.Snapshot` holds, and `pipeline_run`, the key of this run of the pipeline;
        `started_at`, in seconds since 1970; `restored`, whether a person asked for this very data; `owner`; `asked_by`.

    Raises:
        UnknownModelError: There is no such model.
        PipelineError: Both `version` and `data_version` are given.
        ContractError: The table breaks its contract as a whole.
        ServiceError: PostgreSQL can't be reached.
        VersionError: The version can't be recorded or restored.
    """
    settings = settings or get_settings()
    declared, started_at = declaration(model), time.time()
    if version and data_version:
        raise PipelineError(
            f"A run can't both name new data {version!r} and restore {data_version!r}.",
            remedy="Leave one of them out.",
        )
    if data_version:
        taken = _restored(model, data_version, settings)
    else:
        taken = read_patiently(settings, lambda: take_snapshot(declared, settings, version=version or None))
    key = {"pipeline_run": uuid.uuid4().hex, "started_at": started_at, "restored": bool(data_version)}
    return {**asdict(taken), **key, "owner": owner, "asked_by": asked_by or PIPELINE}


@logged
def clean(snapshot: Json, *, settings: Settings | None = None) -> Json:
    """Prepares the features and says what is used and what is left out.

    Returns:
        `model`, `snapshot`, `sample` (how the rows trained on were drawn, empty where they are all), and what
        `sigap.training.trainer.Trainer.summary` tells of them: `rows`, `entities`, `period`, `used`, `left_out`,
        `not_assessed`.

    Raises:
        TrainingError: The snapshot can't be trained on. A failed run in MLflow then says why.
    """
    settings = settings or get_settings()
    try:
        how, prepared = prepared_rows(snapshot, settings)
    except TrainingError as error:
        with suppress(RegistryError):
            runs = Runs(settings, snapshot["model"])
            parent = runs.parent(snapshot["pipeline_run"], data_of(snapshot), {}, owner=snapshot["owner"])
            end_failed(runs, parent, error)
        raise
    drawn = sampled(snapshot, settings)
    told = f"{drawn.rows} of {drawn.of} rows, {drawn.drawn}" if drawn.drawn else ""
    return {"model": snapshot["model"], "snapshot": snapshot, "sample": told, **how.summary(prepared)}


def preview(cleaned: Json, *, settings: Settings | None = None) -> pd.DataFrame:
    """The table that the model is trained on, or its first rows: for a block that shows it."""
    how, prepared = prepared_rows(cleaned["snapshot"], settings or get_settings())
    return how.preview(prepared).head(PREVIEW_ROWS)


def _restored(model: str, data_version: str, settings: Settings) -> Snapshot:
    versions = DataVersions(settings)
    restored = versions.restore(model, data_version)
    # Another run may put other data into the work tree at any time; DVC's cache holds this version's.
    described = parts.described(versions.stored(model, restored.md5))
    return Snapshot(
        model=model,
        path=versions.path(model).relative_to(settings.root).as_posix(),
        md5=restored.md5,
        version=restored.name,
        rows=described.rows,
        rejected=int(described.facts.get("sigap.rejected", "0")),
        created=False,
        git_commit=restored.commit,
        query=described.facts.get("sigap.query", ""),
        origin=described.facts.get("sigap.origin", ""),
        rejects_path="",
    )
