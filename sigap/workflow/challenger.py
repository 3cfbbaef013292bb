"""The step that makes a registered model version of the best candidate."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sigap.bundle import DataEntry, SampleEntry, read_manifest
from sigap.catalog import declaration
from sigap.errors import BundleError, PipelineError, TrainingError
from sigap.model_card import CARD, best, headline, model_card
from sigap.registry.models import ModelVersion, Registry
from sigap.registry.tracking import Runs
from sigap.settings import Settings, get_settings
from sigap.training.trainer import Candidate, Trained, Trainer, refused_in_indonesian
from sigap.workflow.failure import failing
from sigap.workflow.items import Json
from sigap.workflow.retries import patiently
from sigap.workflow.rows import all_rows, prepared_rows, sampled
from sigap.workflow.step_log import logged


class Served(NamedTuple):
    """The champion that a challenger is trained beside; neither name nor bundle where there is none to be used."""

    name: str = ""
    bundle: Path | None = None


@logged
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
    with failing(settings, item):
        how, prepared = prepared_rows(snapshot, settings)
        candidates = [Candidate.from_dict(each) for each in tried.values()]
        previous = patiently(settings, lambda: _champion(declared.name, settings))
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
            version, created = patiently(
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
    drawn = sampled(snapshot, settings)
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
                sample=SampleEntry(rows=drawn.rows, drawn=drawn.drawn) if drawn.drawn else None,
            ),
            code=runs.code(parent),
            run_id=parent,
            candidate_runs=candidate_runs,
            previous=previous.bundle,
            previous_version=previous.name,
            # The run's own start: written again after a crash, the bundle has the same bytes.
            trained_at=datetime.fromtimestamp(runs.started_at(parent) / 1000, UTC),
        )
        if drawn.drawn:
            how.check_rows(trained, folder / "bundle", all_rows(snapshot, settings))
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
