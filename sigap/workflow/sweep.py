"""The steps that try candidates: the plan of a sweep, and the fit of a family."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from sigap.catalog import declaration
from sigap.data.profile import profile_version, write_profile
from sigap.registry.tracking import Logged, Runs
from sigap.settings import Settings, get_settings
from sigap.training.candidates import Sweep, score
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import trainer
from sigap.workflow.failure import failing
from sigap.workflow.items import Json, data_of
from sigap.workflow.retries import patiently
from sigap.workflow.rows import sampled
from sigap.workflow.step_log import logged

# Folder of the data's profile among the parent run's artefacts.
PROFILE = "data_profile"


@logged
def plan(cleaned: Json, *, settings: Settings | None = None) -> list[Json]:
    """Starts the parent run in MLflow, with the data's profile, and gives one item a family of candidates.

    A family is fitted in one process: that costs an orchestrator seconds, and a small candidate of a grid less. What
    was refused before on the same data, with the same parameters, code and environment, would be refused again to the
    last digit: then there is one item without candidates, with that decision as `repeats`.

    Returns:
        Items `{"name", "candidates", "parent_run_id", "params", "snapshot", "repeats"}` for `fit`, in the sweep's
        order.

    Raises:
        ConfigurationError: `params.yaml` can't be used.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    snapshot, model = cleaned["snapshot"], cleaned["model"]
    how = trainer(declaration(model))
    params = how.params(settings.root, model)
    logged = {**params.model_dump(), "features_used": ", ".join(cleaned["used"])}
    if cleaned["period"] is not None:
        logged["period"] = cleaned["period"]
    if cleaned["sample"]:
        logged["sample"] = cleaned["sample"]
    runs, data = Runs(settings, model), data_of(snapshot)
    refused = patiently(settings, lambda: runs.refused(data, logged))
    repeats = refused[0] if refused else ""
    key, owner = snapshot["pipeline_run"], snapshot["owner"]
    parent = patiently(settings, lambda: runs.parent(key, data, logged, repeats=repeats, owner=owner))
    patiently(settings, lambda: _log_profile(snapshot, parent, settings))
    families: dict[str, list[str]] = {}
    for spec in how.candidates(params):
        families.setdefault(_family(spec.name), []).append(spec.name)
    shared = {"parent_run_id": parent, "params": params.model_dump(mode="json"), "snapshot": snapshot}
    if refused:
        former = {name: refused[1][name] for name in ("reason", "reason_id", "score")}
        return [{"name": "refused_before", "candidates": [], **shared, "repeats": former}]
    shared["repeats"] = None
    return [{"name": family, "candidates": names, **shared} for family, names in families.items()]


@logged
def fit(item: Json, *, settings: Settings | None = None) -> Json:
    """Fits a family's candidates, here or on a Dask cluster, and logs each as a run under the parent.

    Returns:
        The item with `fitted`: of each candidate `name`, `params`, `metrics`, `admissible`, `reason` (None, or why it
        is not admissible), `details` and `run_id`.

    Raises:
        ClusterError: The cluster can't be reached, is lost, or computes with other code.
        TrainingError: There are too few rows.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    snapshot = item["snapshot"]
    if not item["candidates"]:
        return {**item, "fitted": []}
    with failing(settings, item):
        declared = declaration(snapshot["model"])
        how, rows = trainer(declared), sampled(snapshot, settings)
        limit = settings.training_rows if rows.drawn else 0
        sweep = Sweep(declared, how.parse_params(item["params"]), rows.path, snapshot["md5"], limit)
        scored = score(sweep, item["candidates"], settings, lambda: how.prepare(declared, read_snapshot(rows.path)))
        fitted = [each.candidate for each in scored]
        logged = [Logged(each.name, each.params, each.metrics, seconds) for each, seconds in scored]
        runs = Runs(settings, snapshot["model"])
        ids = patiently(settings, lambda: runs.candidates(item["parent_run_id"], data_of(snapshot), logged))
    return {**item, "fitted": [{**each.as_dict(), "run_id": ids[each.name]} for each in fitted]}


def _log_profile(snapshot: Json, parent: str, settings: Settings) -> None:
    made = profile_version(declaration(snapshot["model"]), settings, snapshot["version"], snapshot["md5"])
    with tempfile.TemporaryDirectory(prefix="sigap-") as folder:
        write_profile(Path(folder), made)
        Runs(settings, snapshot["model"]).log_files(parent, Path(folder), PROFILE)


def _family(name: str) -> str:
    """What candidates of one grid share: `random_forest` of `random_forest-2`."""
    return re.sub(r"-\d+$", "", name)
