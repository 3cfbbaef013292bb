"""The way of the data as steps: what Mage's blocks call one after another, and what `run` does in one process.

Every step takes and returns plain JSON (no NaN, no tuples), so that it can travel between processes. Every step may be
called again with the same input, after a crash or by an orchestrator's retry, and doubles nothing.
"""

from __future__ import annotations

import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from sigap import step_log
from sigap.bundle import Bilingual, DataEntry, SampleEntry, read_manifest
from sigap.catalog import declaration, declarations
from sigap.data import parts
from sigap.data.content import note_decided
from sigap.data.postgres import answers_within
from sigap.data.profile import profile_version, write_profile
from sigap.data.samples import Sampled, training_sample
from sigap.data.snapshot import Snapshot, take_snapshot
from sigap.data.versions import DataVersions
from sigap.errors import (
    BundleError,
    PipelineError,
    RegistryError,
    ServiceError,
    SigapError,
    TrainingError,
    UnreachableError,
)
from sigap.model_card import CARD, best, headline, model_card
from sigap.registry import decisions
from sigap.registry.challenge import Challenge, settle
from sigap.registry.code import code
from sigap.registry.connection import wait_for_answer
from sigap.registry.decisions import PIPELINE
from sigap.registry.levels import record_levels
from sigap.registry.models import ModelVersion, Registry
from sigap.registry.owner import this_process
from sigap.registry.tracking import DECISION, Data, Logged, Runs
from sigap.settings import Settings, get_settings
from sigap.training.candidates import Sweep, score
from sigap.training.gate import Comparison, Decision
from sigap.training.replay import Replay, replay
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import Candidate, Prepared, Trained, Trainer, refused_in_indonesian, trainer

Json = dict[str, Any]
Progress = Callable[[str], None]
Result = TypeVar("Result")

PREVIEW_ROWS = 1_000
# Folder of the data's profile among the parent run's artefacts.
PROFILE = "data_profile"
# Name of the challenger's answers to stored inputs among them.
REPLAY = "replay.json"
# Longest text that is put into a tag of a run.
TAG_LENGTH = 4_000


class Served(NamedTuple):
    """The champion that a challenger is trained beside; neither name nor bundle where there is none to be used."""

    name: str = ""
    bundle: Path | None = None


def warm() -> None:
    """Imports what the steps of all tasks import later: for a process whose forks shall have it at hand."""
    for declared in declarations():
        trainer(declared)


@step_log.told
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
        taken = _read_patiently(settings, lambda: take_snapshot(declared, settings, version=version or None))
    key = {"pipeline_run": uuid.uuid4().hex, "started_at": started_at, "restored": bool(data_version)}
    return {**asdict(taken), **key, "owner": owner, "asked_by": asked_by or PIPELINE}


@step_log.told
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
        how, prepared = _prepared(snapshot, settings)
    except TrainingError as error:
        with suppress(RegistryError):
            runs = Runs(settings, snapshot["model"])
            parent = runs.parent(snapshot["pipeline_run"], _data(snapshot), {}, owner=snapshot["owner"])
            runs.end(parent, metrics={}, tags={"error": str(error)[:TAG_LENGTH]}, failed=True)
        raise
    drawn = _sampled(snapshot, settings)
    told = f"{drawn.rows} of {drawn.of} rows, {drawn.drawn}" if drawn.drawn else ""
    return {"model": snapshot["model"], "snapshot": snapshot, "sample": told, **how.summary(prepared)}


def preview(cleaned: Json, *, settings: Settings | None = None) -> pd.DataFrame:
    """The table that the model is trained on, or its first rows: for a block that shows it."""
    how, prepared = _prepared(cleaned["snapshot"], settings or get_settings())
    return how.preview(prepared).head(PREVIEW_ROWS)


@step_log.told
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
    runs, data = Runs(settings, model), _data(snapshot)
    refused = _patiently(settings, lambda: runs.refused(data, logged))
    repeats = refused[0] if refused else ""
    key, owner = snapshot["pipeline_run"], snapshot["owner"]
    parent = _patiently(settings, lambda: runs.parent(key, data, logged, repeats=repeats, owner=owner))
    _patiently(settings, lambda: _log_profile(snapshot, parent, settings))
    families: dict[str, list[str]] = {}
    for spec in how.candidates(params):
        families.setdefault(_family(spec.name), []).append(spec.name)
    shared = {"parent_run_id": parent, "params": params.model_dump(mode="json"), "snapshot": snapshot}
    if refused:
        former = {name: refused[1][name] for name in ("reason", "reason_id", "score")}
        return [{"name": "refused_before", "candidates": [], **shared, "repeats": former}]
    shared["repeats"] = None
    return [{"name": family, "candidates": names, **shared} for family, names in families.items()]


@step_log.told
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
    with _failing(settings, item):
        declared = declaration(snapshot["model"])
        how, rows = trainer(declared), _sampled(snapshot, settings)
        limit = settings.training_rows if rows.drawn else 0
        sweep = Sweep(declared, how.parse_params(item["params"]), rows.path, snapshot["md5"], limit)
        scored = score(sweep, item["candidates"], settings, lambda: how.prepare(declared, read_snapshot(rows.path)))
        fitted = [each.candidate for each in scored]
        logged = [Logged(each.name, each.params, each.metrics, seconds) for each, seconds in scored]
        runs = Runs(settings, snapshot["model"])
        ids = _patiently(settings, lambda: runs.candidates(item["parent_run_id"], _data(snapshot), logged))
    return {**item, "fitted": [{**each.as_dict(), "run_id": ids[each.name]} for each in fitted]}


@step_log.told
def register(fits: list[Json], *, settings: Settings | None = None) -> Json:
    """Selects among the admissible candidates, writes the bundle, and registers the challenger.

    A model that answers as a registered one does, from the same data, is that version and not a new one. Where no
    candidate is admissible nothing is registered: an answer and no error, for the sweep did what it is there for.

    Returns:
        `{"model", "model_version", "created", "refused", "refused_id", "caveat", "data_version", "parent_run_id",
        "candidate", "metrics", "score", "params", "snapshot"}`; `refused` says why no candidate may become champion,
        `refused_id` the same in Indonesian, both empty otherwise; `caveat` is what has to be said of it when served.

    Raises:
        PipelineError: The fits are none, or not of one run.
        BundleError: The bundle does not answer as its model does.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    item = _one_run(fits)
    snapshot, parent = item["snapshot"], item["parent_run_id"]
    declared = declaration(snapshot["model"])
    tried = {each["name"]: each for fit in fits for each in fit["fitted"]}
    answer: Json = {
        "model": declared.name,
        "model_version": "",
        "created": False,
        "refused": "",
        "refused_id": "",
        "caveat": None,
        "data_version": snapshot["version"],
        "parent_run_id": parent,
        "candidate": "",
        "metrics": {},
        "score": best(declared, list(tried.values())).as_dict(),
        "params": item["params"],
        "snapshot": snapshot,
    }
    if former := item.get("repeats"):
        return {
            **answer,
            "refused": f"Refused before on the same data, parameters and code, not trained again: {former['reason']}",
            "refused_id": "Sudah ditolak pada data, parameter, dan kode yang sama, tidak dilatih lagi: "
            f"{former['reason_id']}",
            "score": former["score"],
        }
    with _failing(settings, item):
        how, prepared = _prepared(snapshot, settings)
        candidates = [Candidate.from_dict(each) for each in tried.values()]
        previous = _patiently(settings, lambda: _champion(declared.name, settings))
        try:
            trained = how.choose(
                declared, prepared, how.parse_params(item["params"]), candidates, previous=previous.bundle
            )
        except TrainingError as error:
            if any(each.admissible for each in candidates):
                raise
            return {**answer, "refused": error.message, "refused_id": refused_in_indonesian(candidates)}
        ids = {name: each["run_id"] for name, each in tried.items()}
        with tempfile.TemporaryDirectory(prefix="sigap-") as folder:
            how.figures(trained, Path(folder) / "files" / "figures")
            version, created = _patiently(
                settings, lambda: _registered(Path(folder), how, trained, item, ids, previous, settings)
            )
    return {
        **answer,
        "model_version": version.name,
        "created": created,
        "candidate": trained.chosen.name,
        "caveat": trained.caveat.model_dump() if trained.caveat else None,
        "metrics": dict(trained.metrics),
        "score": headline(declared, trained.metrics, tried[trained.chosen.name]["details"]).as_dict(),
    }


@step_log.told
def decide(registered: Json, *, settings: Settings | None = None) -> Json:
    """Puts the challenger through the gate and promotes it if it passes.

    Returns:
        `{"model", "promoted", "model_version", "champion", "data_version", "rows", "rejected", "rejects_path", "rule",
        "reason", "reason_id", "candidate", "score", "metrics", "decision"}`; `model_version` is the challenger (empty
        if there is none), `champion` the version served afterwards or None, both like `v3`; `reason` is English,
        `reason_id` the same in Indonesian.

    Raises:
        AliasMovedError: Somebody kept moving the alias while decisions were taken.
        RegistryError: MLflow can't be reached or refuses.
    """
    settings = settings or get_settings()
    with _failing(settings, registered):
        judge = _judged if registered["model_version"] else _refused
        return _patiently(settings, lambda: _concluded(registered, *judge(registered, settings), settings))


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
    taken = snapshot(model, version, data_version, owner=this_process(), settings=settings)
    say("clean")
    cleaned = clean(taken, settings=settings)
    say("plan")
    fits = []
    for item in plan(cleaned, settings=settings):
        say(f"fit {item['name']}")
        fits.append(fit(item, settings=settings))
    say("register")
    registered = register(fits, settings=settings)
    say("decide")
    return decide(registered, settings=settings)


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


def _prepared(snapshot: Json, settings: Settings) -> tuple[Trainer, Prepared]:
    declared = declaration(snapshot["model"])
    how = trainer(declared)
    return how, how.prepare(declared, read_snapshot(_sampled(snapshot, settings).path))


def _sampled(snapshot: Json, settings: Settings) -> Sampled:
    return training_sample(declaration(snapshot["model"]), settings, snapshot["md5"])


def _rows(snapshot: Json, settings: Settings) -> Iterator[pd.DataFrame]:
    """All rows of the snapshot in the order of its key, some at a time."""
    path = DataVersions(settings).stored(snapshot["model"], snapshot["md5"])
    for batch in parts.batches(path):
        yield batch.to_pandas()


def _data(snapshot: Json) -> Data:
    return Data(snapshot["version"], snapshot["md5"], snapshot["path"], snapshot["rows"])


def _log_profile(snapshot: Json, parent: str, settings: Settings) -> None:
    made = profile_version(declaration(snapshot["model"]), settings, snapshot["version"], snapshot["md5"])
    with tempfile.TemporaryDirectory(prefix="sigap-") as folder:
        write_profile(Path(folder), made)
        Runs(settings, snapshot["model"]).log_files(parent, Path(folder), PROFILE)


def _family(name: str) -> str:
    """What candidates of one grid share: `random_forest` of `random_forest-2`."""
    return re.sub(r"-\d+$", "", name)


def _one_run(fits: list[Json]) -> Json:
    parents = {item["parent_run_id"] for item in fits}
    if len(parents) != 1:
        raise PipelineError(
            f"Expected the fitted candidates of one run, found those of {len(parents)}.",
            remedy="Run the pipeline from its first block.",
        )
    return fits[0]


def _registered(
    folder: Path,
    how: Trainer,
    trained: Trained,
    item: Json,
    candidate_runs: dict[str, str],
    previous: Served,
    settings: Settings,
) -> tuple[ModelVersion, bool]:
    snapshot, parent = item["snapshot"], item["parent_run_id"]
    registry, runs = Registry(settings), Runs(settings, snapshot["model"])
    known = registry.find(snapshot["model"], how.fingerprint(trained), snapshot["md5"])
    sampled = _sampled(snapshot, settings)
    if known is None:
        manifest = how.write_bundle(
            folder / "bundle",
            trained,
            data=DataEntry(
                version=snapshot["version"],
                md5=snapshot["md5"],
                rows=snapshot["rows"],
                rows_rejected=snapshot["rejected"],
                period=how.summary(trained.prepared)["period"],
                git_commit=snapshot["git_commit"],
                query=snapshot["query"],
                origin=snapshot.get("origin", ""),
                sample=SampleEntry(rows=sampled.rows, drawn=sampled.drawn) if sampled.drawn else None,
            ),
            code=code(settings.root),
            run_id=parent,
            candidate_runs=candidate_runs,
            previous=previous.bundle,
            previous_version=previous.name,
            # The run's own start: written again after a crash, the bundle has the same bytes.
            trained_at=datetime.fromtimestamp(runs.started_at(parent) / 1000, UTC),
        )
        if sampled.drawn:
            how.check_rows(trained, folder / "bundle", _rows(snapshot, settings))
        (folder / "files" / CARD).write_text(model_card(trained.declaration, manifest), encoding="utf-8")
    runs.log_files(parent, folder / "files")
    if known is not None:
        return known, False
    return registry.register(folder / "bundle", trained.model, trained.sample, parent, how.trusted_types)


def _champion(model: str, settings: Settings) -> Served:
    registry = Registry(settings)
    champion = registry.champion(model)
    if champion is None or not champion.servable:
        return Served()
    try:
        bundle = registry.bundle(champion)
    except BundleError:
        # A damaged champion is all the more reason to register another; there is nothing to compare with.
        return Served()
    return Served(champion.name, bundle) if read_manifest(bundle).task == declaration(model).task.kind else Served()


def _judged(registered: Json, settings: Settings) -> tuple[Decision, ModelVersion | None]:
    snapshot, declared = registered["snapshot"], declaration(registered["model"])

    def compare(challenger: Path, champion: Path) -> Comparison | None:
        if read_manifest(champion).task != declared.task.kind:
            return None
        how, prepared = _prepared(snapshot, settings)
        return how.compare(declared, prepared, how.parse_params(registered["params"]), challenger, champion)

    challenge = Challenge(
        model=declared.name,
        number=int(registered["model_version"].removeprefix("v")),
        run_id=registered["parent_run_id"],
        started_at=snapshot["started_at"],
        restored=snapshot["restored"],
        mode=settings.promotion or declared.promotion,
        asked_by=snapshot.get("asked_by") or PIPELINE,
        facts={**_facts(snapshot), "candidate": registered["candidate"], "score": registered["score"]},
        caveat=Bilingual(**registered["caveat"]) if registered["caveat"] else None,
        replay_limit=declared.replay_limit,
    )

    def on_stored_inputs(challenger: Path, champion: Path) -> Replay:
        found = replay(settings, declared, challenger, champion)
        runs, parent = Runs(settings, declared.name), registered["parent_run_id"]
        runs.log_json(parent, REPLAY, found.as_dict())
        runs.log_metrics(parent, found.metrics)
        return found

    return settle(Registry(settings), challenge, compare, on_stored_inputs)


def _refused(registered: Json, settings: Settings) -> tuple[Decision, ModelVersion | None]:
    """The decision on a sweep without an admissible candidate: the champion stays, if there is one."""
    model, snapshot = registered["model"], registered["snapshot"]
    champion = Registry(settings).repair(model)
    decision = Decision(False, "inadmissible", registered["refused"], reason_id=registered["refused_id"])
    name = champion.name if champion else None
    record = {**_facts(snapshot), "candidate": "", "score": registered["score"], **decision.as_dict()}
    row = decisions.Record(
        model=model,
        run_id=registered["parent_run_id"],
        model_version="",
        champion_before=name,
        champion_after=name,
        promoted=False,
        rule=decision.rule,
        reason=decision.reason,
        record=record,
        mode=settings.promotion or declaration(model).promotion,
        asked_by=snapshot.get("asked_by") or PIPELINE,
        data_version=snapshot["version"],
        data_md5=snapshot["md5"],
    )
    decisions.write(settings, row)
    return decision, champion


def _facts(snapshot: Json) -> Json:
    """What a decision's record says of the data."""
    return {"rows": snapshot["rows"], "origin": snapshot["origin"]}


def _concluded(registered: Json, decision: Decision, champion: ModelVersion | None, settings: Settings) -> Json:
    model, parent = registered["model"], registered["parent_run_id"]
    result = {
        "model": model,
        "promoted": decision.promote,
        "model_version": registered["model_version"],
        "champion": champion.name if champion else None,
        "data_version": registered["data_version"],
        "rows": registered["snapshot"]["rows"],
        "rejected": registered["snapshot"]["rejected"],
        "rejects_path": registered["snapshot"]["rejects_path"],
        "rule": decision.rule,
        "reason": decision.reason,
        "reason_id": decision.reason_id,
        "candidate": registered["candidate"],
        "score": registered["score"],
        "metrics": registered["metrics"],
        "decision": decision.as_dict(),
    }
    runs = Runs(settings, model)
    runs.log_json(parent, DECISION, result)
    _record_levels(registered, champion, settings)
    note_decided(settings, model, registered["snapshot"].get("content") or {})
    named = ("model_version", "champion", "promoted", "rule", "reason", "reason_id")
    tags = {**{name: str(result[name])[:TAG_LENGTH] for name in named}, "winner": registered["candidate"]}
    runs.end(parent, metrics=registered["metrics"], tags=tags)
    return result


def _record_levels(registered: Json, champion: ModelVersion | None, settings: Settings) -> None:
    registry = Registry(settings)
    known = {champion.name: champion} if champion else {}
    if (name := registered["model_version"]) and name not in known:
        known[name] = registry.version(registered["model"], int(name.removeprefix("v")))
    for version in known.values():
        record_levels(settings, registry, version)


def _patiently(settings: Settings, call: Callable[[], Result]) -> Result:
    """What `call` gives, called again when MLflow was away meanwhile: whoever supervises it starts it again.

    Everything that is called so may be called twice.
    """
    limit = time.monotonic() + settings.registry_wait_seconds
    while True:
        try:
            return call()
        except UnreachableError:
            if not wait_for_answer(settings, limit - time.monotonic()):
                raise


def _read_patiently(settings: Settings, call: Callable[[], Result]) -> Result:
    """What `call` reads from PostgreSQL, read again when that was away meanwhile; it may be called thrice."""
    limit = time.monotonic() + settings.registry_wait_seconds
    for again in (True, True, False):
        try:
            return call()
        except ServiceError:
            if not (again and answers_within(settings, limit - time.monotonic())):
                raise
    raise AssertionError("The last try has returned or raised.")


@contextmanager
def _failing(settings: Settings, item: Json) -> Iterator[None]:
    """Ends the parent run as failed, with the error, when the step fails; a retry that succeeds ends it well."""
    try:
        yield
    except SigapError as error:
        with suppress(RegistryError):
            runs = Runs(settings, item["snapshot"]["model"])
            runs.end(item["parent_run_id"], metrics={}, tags={"error": str(error)[:TAG_LENGTH]}, failed=True)
        raise
