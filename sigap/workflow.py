"""The way of the data as steps: what Mage's blocks call one after another, and what `run` does in one process.

Every step takes and returns plain JSON (no NaN, no tuples), so that it can travel between processes. Every step may be
called again with the same input, after a crash or by an orchestrator's retry, and doubles nothing.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from sigap.bundle import DataEntry, read_members
from sigap.catalog import declaration
from sigap.data.snapshot import Snapshot, take_snapshot
from sigap.data.versions import DataVersions
from sigap.errors import BundleError, PipelineError, RegistryError, SigapError, TrainingError
from sigap.registry.challenge import Challenge, settle
from sigap.registry.code import code
from sigap.registry.models import ModelVersion, Registry
from sigap.registry.tracking import Data, Runs
from sigap.settings import Settings, get_settings
from sigap.training import clusters, figures
from sigap.training.export import fingerprint, write_bundle
from sigap.training.features import Prepared, prepare
from sigap.training.movement import Previous
from sigap.training.params import Params, read_params
from sigap.training.preprocess import TRUSTED_TYPES
from sigap.training.sweep import Trained, candidates, choose, read_snapshot

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
        What `sigap.data.snapshot.Snapshot` holds, and `pipeline_run`, the key of this run of the pipeline;
        `started_at`, in seconds since 1970; `restored`, whether a person asked for this very data.

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
        taken = take_snapshot(declared, settings, version=version or None)
    key = {"pipeline_run": uuid.uuid4().hex, "started_at": started_at, "restored": bool(data_version)}
    return {**asdict(taken), **key}


def clean(snapshot: Json, *, settings: Settings | None = None) -> Json:
    """Prepares the features and says what is used and what is left out.

    Returns:
        `model`, `snapshot`, `period`, `rows`, `entities`, `used`, `left_out`, `not_assessed`.

    Raises:
        TrainingError: The snapshot can't be trained on.
    """
    prepared = _prepared(snapshot, settings or get_settings())
    return {
        "model": snapshot["model"],
        "snapshot": snapshot,
        "period": prepared.period,
        "rows": prepared.rows,
        "entities": len(prepared.matrix),
        "used": list(prepared.used),
        "left_out": [each.model_dump(mode="json") for each in prepared.left_out],
        "not_assessed": [
            {
                "entity": each.entity,
                "name": prepared.names[each.entity],
                "missing": list(each.missing),
                "reason": each.reason.model_dump(),
            }
            for each in prepared.not_assessed
        ],
    }


def preview(cleaned: Json, *, settings: Settings | None = None) -> pd.DataFrame:
    """The table that the model is trained on, one row an entity: for a block that shows it."""
    snapshot = cleaned["snapshot"]
    source = declaration(snapshot["model"]).source
    prepared = _prepared(snapshot, settings or get_settings())
    table = prepared.matrix.rename_axis(source.entity).reset_index()
    table.insert(1, source.entity_name, [prepared.names[str(entity)] for entity in table[source.entity]])
    table.insert(2, source.time, prepared.period)
    return table


def plan(cleaned: Json, *, settings: Settings | None = None) -> list[Json]:
    """Starts the parent run in MLflow; one item a candidate of the sweep.

    Returns:
        Items `{"k", "parent_run_id", "params", "snapshot"}` for `fit`, in the order of k.

    Raises:
        ConfigurationError: `params.yaml` can't be used.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    snapshot = cleaned["snapshot"]
    params = read_params(settings.root, snapshot["model"])
    logged = {**params.model_dump(), "features_used": ", ".join(cleaned["used"]), "period": cleaned["period"]}
    parent = Runs(settings, snapshot["model"]).parent(snapshot["pipeline_run"], _data(snapshot), logged)
    return [
        {"k": k, "parent_run_id": parent, "params": params.model_dump(), "snapshot": snapshot}
        for k in candidates(params)
    ]


def fit(item: Json, *, settings: Settings | None = None) -> Json:
    """Fits one candidate and logs it as a run under the parent.

    Returns:
        The item with `run_id`, `metrics`, `sizes`, `admissible` and `reason` (None, or why it is not admissible).

    Raises:
        TrainingError: There are too few entities.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    snapshot, k, params = item["snapshot"], int(item["k"]), Params.model_validate(item["params"])
    with _failing(settings, item):
        started = time.perf_counter()
        candidate = clusters.fit(_prepared(snapshot, settings), declaration(snapshot["model"]), params, k)
        seconds = time.perf_counter() - started
        logged = {"n_clusters": k, **params.model_dump(include={"init", "n_init", "random_state", "bootstraps"})}
        run_id = Runs(settings, snapshot["model"]).candidate(
            item["parent_run_id"], k, _data(snapshot), logged, candidate.metrics, seconds
        )
    return {**item, **candidate.as_dict(), "run_id": run_id, "admissible": candidate.admissible}


def register(fits: list[Json], *, settings: Settings | None = None) -> Json:
    """Selects among the admissible candidates, writes the bundle, and registers the challenger.

    A model that answers as a registered one does, from the same data, is that version and not a new one.

    Returns:
        `{"model", "model_version", "created", "data_version", "parent_run_id", "k", "metrics", "snapshot"}`.

    Raises:
        PipelineError: The fits are none, or not of one run.
        TrainingError: No candidate is admissible; the champion stays.
        BundleError: The bundle does not answer as its model does.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    item = _one_run(fits)
    snapshot, parent = item["snapshot"], item["parent_run_id"]
    with _failing(settings, item):
        trained = _chosen(fits, settings)
        with tempfile.TemporaryDirectory(prefix="sigap-") as folder:
            drawn = Path(folder) / "figures"
            figures.draw(drawn, trained)
            Runs(settings, snapshot["model"]).log_files(parent, drawn, "figures")
            version, created = _registered(Path(folder) / "bundle", trained, fits, settings)
    return {
        "model": snapshot["model"],
        "model_version": version.name,
        "created": created,
        "data_version": snapshot["version"],
        "parent_run_id": parent,
        "k": trained.winner.k,
        "metrics": trained.winner.metrics,
        "snapshot": snapshot,
    }


def decide(registered: Json, *, settings: Settings | None = None) -> Json:
    """Puts the challenger through the gate and promotes it if it passes.

    Returns:
        `{"model", "promoted", "model_version", "champion", "data_version", "rule", "reason", "k", "metrics",
        "decision"}`; `model_version` is the challenger, `champion` the version served afterwards, both like `v3`.

    Raises:
        AliasMovedError: Somebody kept moving the alias while decisions were taken.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    model, parent = registered["model"], registered["parent_run_id"]
    with _failing(settings, registered):
        snapshot = registered["snapshot"]
        challenge = Challenge(
            model=model,
            number=int(registered["model_version"].removeprefix("v")),
            run_id=parent,
            started_at=snapshot["started_at"],
            restored=snapshot["restored"],
        )
        decision, champion = settle(Registry(settings), challenge, lambda: _prepared(snapshot, settings))
        result = {
            "model": model,
            "promoted": decision.promote,
            "model_version": registered["model_version"],
            "champion": champion.name if champion else None,
            "data_version": registered["data_version"],
            "rule": decision.rule,
            "reason": decision.reason,
            "k": registered["k"],
            "metrics": registered["metrics"],
            "decision": decision.as_dict(),
        }
        runs = Runs(settings, model)
        runs.log_json(parent, "decision.json", result)
        tags = {name: str(result[name]) for name in ("model_version", "champion", "promoted", "rule", "reason")}
        runs.end(parent, metrics={**registered["metrics"], "k": float(registered["k"])}, tags=tags)
    return result


def run(
    model: str,
    version: str | None = None,
    data_version: str | None = None,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Json:
    """Takes all steps in this process; the result of `decide`.

    Args:
        model: Name of a declaration.
        version: See `snapshot`.
        data_version: See `snapshot`.
        settings: Those of this process if not given.
        progress: Called with the name of each step before it is taken.

    Raises:
        SigapError: Whatever a step raises.
    """

    def say(step: str) -> None:
        if progress:
            progress(step)

    say("snapshot")
    taken = snapshot(model, version, data_version, settings=settings)
    say("clean")
    cleaned = clean(taken, settings=settings)
    say("plan")
    fits = []
    for item in plan(cleaned, settings=settings):
        say(f"fit k = {item['k']}")
        fits.append(fit(item, settings=settings))
    say("register")
    registered = register(fits, settings=settings)
    say("decide")
    return decide(registered, settings=settings)


def _restored(model: str, data_version: str, settings: Settings) -> Snapshot:
    versions = DataVersions(settings)
    restored = versions.restore(model, data_version)
    # Another run may put other data into the work tree at any time; DVC's cache holds this version's.
    parquet = pq.read_metadata(versions.stored(model, restored.md5))
    described = parquet.metadata or {}
    return Snapshot(
        model=model,
        path=versions.path(model).relative_to(settings.root).as_posix(),
        md5=restored.md5,
        version=restored.name,
        rows=parquet.num_rows,
        rejected=int(described.get(b"sigap.rejected", b"0")),
        created=False,
        git_commit=restored.commit,
        query=described.get(b"sigap.query", b"").decode(),
        rejects_path="",
    )


def _prepared(snapshot: Json, settings: Settings) -> Prepared:
    path = DataVersions(settings).stored(snapshot["model"], snapshot["md5"])
    return prepare(declaration(snapshot["model"]), read_snapshot(path))


def _data(snapshot: Json) -> Data:
    return Data(snapshot["version"], snapshot["md5"], snapshot["path"], snapshot["rows"])


def _one_run(fits: list[Json]) -> Json:
    parents = {item["parent_run_id"] for item in fits}
    if len(parents) != 1:
        raise PipelineError(
            f"Expected the fitted candidates of one run, found those of {len(parents)}.",
            remedy="Run the pipeline from its first block.",
        )
    return fits[0]


def _chosen(fits: list[Json], settings: Settings) -> Trained:
    item = fits[0]
    snapshot = item["snapshot"]
    by_k = {int(each["k"]): clusters.Candidate.from_dict(each) for each in fits}
    trained = choose(
        declaration(snapshot["model"]),
        _prepared(snapshot, settings),
        Params.model_validate(item["params"]),
        list(by_k.values()),
    )
    fitted, logged = float(trained.model[-1].inertia_), trained.winner.metrics["inertia"]
    if abs(fitted - logged) > 1e-9 * max(1.0, abs(logged)):
        raise TrainingError(
            f"k = {trained.winner.k} has inertia {fitted!r} here and {logged!r} where it was scored.",
            remedy="Score and register with the same locked environment; nothing was registered.",
        )
    return trained


def _registered(folder: Path, trained: Trained, fits: list[Json], settings: Settings) -> tuple[ModelVersion, bool]:
    snapshot, parent = fits[0]["snapshot"], fits[0]["parent_run_id"]
    registry = Registry(settings)
    if known := registry.find(snapshot["model"], fingerprint(trained), snapshot["md5"]):
        return known, False
    started = Runs(settings, snapshot["model"]).started_at(parent) / 1000
    write_bundle(
        folder,
        trained,
        data=DataEntry(
            version=snapshot["version"],
            md5=snapshot["md5"],
            rows=snapshot["rows"],
            rows_rejected=snapshot["rejected"],
            period=trained.prepared.period,
            git_commit=snapshot["git_commit"],
            query=snapshot["query"],
        ),
        code=code(settings.root),
        run_id=parent,
        candidate_runs={int(each["k"]): each["run_id"] for each in fits},
        previous=_previous(registry, snapshot["model"]),
        # The run's own start: written again after a crash, the bundle has the same bytes.
        trained_at=datetime.fromtimestamp(started, UTC),
    )
    return registry.register(folder, trained.model, trained.prepared.matrix, parent, TRUSTED_TYPES)


def _previous(registry: Registry, model: str) -> Previous | None:
    champion = registry.champion(model)
    if champion is None or not champion.servable:
        return None
    try:
        members = read_members(registry.bundle(champion))
    except BundleError:
        # A damaged champion is all the more reason to register another; there is nothing to compare with.
        return None
    return Previous(champion.name, champion.data_version, members)


@contextmanager
def _failing(settings: Settings, item: Json) -> Iterator[None]:
    """Ends the parent run as failed, with the error, when the step fails; a retry that succeeds ends it well."""
    try:
        yield
    except SigapError as error:
        with suppress(RegistryError):
            runs = Runs(settings, item["snapshot"]["model"])
            runs.end(item["parent_run_id"], metrics={}, tags={"error": str(error)[:4000]}, failed=True)
        raise
