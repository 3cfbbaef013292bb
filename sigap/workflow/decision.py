"""The step that decides whether the challenger is served."""

from __future__ import annotations

from pathlib import Path

from sigap.bundle import Bilingual, read_manifest
from sigap.catalog import declaration
from sigap.data.content import note_decided
from sigap.registry import decisions
from sigap.registry.challenge import Challenge, settle
from sigap.registry.decisions import PIPELINE
from sigap.registry.levels import record_levels
from sigap.registry.models import ModelVersion, Registry
from sigap.registry.tracking import DECISION, Runs
from sigap.settings import Settings, get_settings
from sigap.training.gate import Comparison, Decision
from sigap.training.replay import Replay, replay
from sigap.workflow.failure import TAG_LENGTH, failing
from sigap.workflow.items import Json
from sigap.workflow.retries import patiently
from sigap.workflow.rows import prepared_rows
from sigap.workflow.step_log import logged

# Name of the challenger's answers to stored inputs among the parent run's artefacts.
REPLAY = "replay.json"


@logged
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
    with failing(settings, registered):
        judge = _judged if registered["model_version"] else _refused
        return patiently(settings, lambda: _concluded(registered, *judge(registered, settings), settings))


def _judged(registered: Json, settings: Settings) -> tuple[Decision, ModelVersion | None]:
    snapshot, declared = registered["snapshot"], declaration(registered["model"])

    def compare(challenger: Path, champion: Path) -> Comparison | None:
        if read_manifest(champion).task != declared.task.kind:
            return None
        how, prepared = prepared_rows(snapshot, settings)
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
