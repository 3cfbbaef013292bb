"""Where a prediction comes from, what was decided on which version, and which versions saw which data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from backend.registry_client import RegistryClient, RunEntry, VersionEntry
from sigap.bundle import TAG_DATA_MD5, TAG_DATA_VERSION, CodeEntry, Manifest
from sigap.catalog import Declaration
from sigap.promotion import CHALLENGER, Move, decision_of, in_indonesian, moves_by_hand

DECISIONS_LISTED = 50
RUNS_SEARCHED = 200
COMMIT = "mlflow.source.git.commit"


class VersionLink(BaseModel):
    """The registered version that answered."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    aliases: list[str]
    registered_at: datetime | None
    fingerprint: str
    manifest_sha256: str = Field(description="Hash of the bundle's manifest, which names every other file by hash.")


class RunLink(BaseModel):
    """The MLflow run that made the version."""

    run_id: str
    status: str | None
    started_at: datetime | None
    seconds: float | None


class DataLink(BaseModel):
    """The snapshot that the run saw, and the query that it was read with."""

    version: str
    dvc_md5: str
    git_tag: str = Field(description="Git tag on the commit that holds the snapshot's pointer; empty if uncommitted.")
    git_commit: str
    pointer: str = Field(description="DVC's pointer file within that commit.")
    query: str
    rows: int
    rows_rejected: int
    period: int | str | None


class Refusal(NamedTuple):
    """Why a model has no champion, in a sentence, and whether that is how it should be."""

    text: str
    by_gate: bool


class Lineage(BaseModel):
    """From a prediction back to the rows: model version, run, data, commit, query."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    version: VersionLink
    run: RunLink
    data: DataLink
    code: CodeEntry
    registry_reached: bool = Field(description="Whether the registry could add aliases and the run's times.")


class Decision(BaseModel):
    """What a run of the pipeline, or a person after it, led to."""

    model_config = ConfigDict(protected_namespaces=())

    run_id: str = Field(description="Of a move by hand, a key of its own.")
    decided_at: datetime | None = Field(description="Null while the run goes on.")
    outcome: Literal["promoted", "refused", "failed", "running"]
    model_version: str | None = Field(description="The version decided on; null where none could be registered.")
    champion: str | None = Field(description="The version served afterwards.")
    rule: str | None
    reason: str | None
    reason_id: str | None = Field(None, description="The reason in Indonesian, where the run wrote it down.")
    data_version: str
    data_md5: str
    git_commit: str
    mode: str | None = Field(description="`auto`, or `manual` where a person has to approve.")
    asked_by: str | None
    record: dict[str, Any] | None = Field(description="The gate's numbers, as they stand on the version.")


class Decisions(BaseModel):
    """The decisions on a model, newest first."""

    model: str
    decisions: list[Decision]


class RegisteredVersion(BaseModel):
    """A version of a model, served or not."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    aliases: list[str] = Field(description="Such as `champion`, `challenger` and `previous`.")
    registered_at: datetime
    data_version: str
    waiting: bool = Field(description="Whether it passed the gate and needs a person's approval.")
    reason: str | None = Field(description="What the gate said of it.")
    reason_id: str | None = Field(description="The same in Indonesian, where the run wrote it down.")


class RegisteredVersions(BaseModel):
    """The versions of a model, newest first."""

    model: str
    versions: list[RegisteredVersion]


class Seen(BaseModel):
    """A version that was trained on a data version."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    aliases: list[str]
    run_id: str
    registered_at: datetime


class DataLineage(BaseModel):
    """Every version and every run that saw a data version."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    data_version: str
    dvc_md5: str
    git_tag: str
    model_versions: list[Seen]
    runs: list[Decision] = Field(description="Those too that registered nothing.")


def lineage(
    manifest: Manifest,
    *,
    number: str,
    manifest_sha256: str,
    entry: VersionEntry | None = None,
    aliases: Sequence[str] = (),
    run: RunEntry | None = None,
) -> Lineage:
    """The chain from a version's predictions to its rows.

    Args:
        manifest: Of the version's bundle.
        number: The version's number.
        manifest_sha256: The manifest's hash.
        entry: The version, if the registry could be asked.
        aliases: Those that stand on it.
        run: Its run, if the registry could be asked.
    """
    data = manifest.data
    return Lineage(
        model=manifest.model,
        version=VersionLink(
            model_version=f"v{number}",
            aliases=list(aliases),
            registered_at=entry.created_at if entry else None,
            fingerprint=manifest.fingerprint,
            manifest_sha256=manifest_sha256,
        ),
        run=RunLink(
            run_id=manifest.run_id,
            status=run.status if run else None,
            started_at=run.started_at if run else None,
            seconds=(run.ended_at - run.started_at).total_seconds() if run and run.ended_at else None,
        ),
        data=DataLink(
            version=data.version,
            dvc_md5=data.md5,
            git_tag=_tag(manifest.model, data.version) if data.git_commit else "",
            git_commit=data.git_commit,
            pointer=f"data/raw/{manifest.model}_snapshot.parquet.dvc",
            query=data.query,
            rows=data.rows,
            rows_rejected=data.rows_rejected,
            period=data.period,
        ),
        code=manifest.code,
        registry_reached=entry is not None,
    )


async def decisions(registry: RegistryClient, model: str, limit: int = DECISIONS_LISTED) -> list[Decision]:
    """The decisions on a model, newest first.

    Raises:
        RegistryError: The registry can't be reached or answers nonsense.
    """
    records: dict[str, dict[str, Any]] = {}
    for version in await registry.versions(model):
        record = decision_of(version.tags)
        if run_id := record.get("run_id"):
            records.setdefault(str(run_id), record)
    return [_decision(run, records.get(run.run_id)) for run in await registry.runs(model, limit)]


async def with_moves(registry: RegistryClient, model: str, limit: int = DECISIONS_LISTED) -> list[Decision]:
    """The decisions on a model and the moves of its alias by hand, newest first; what goes on still comes first.

    Raises:
        RegistryError: The registry can't be reached or answers nonsense.
    """
    decided = await decisions(registry, model, limit)
    for version in await registry.versions(model):
        decided += [_moved(version, move) for move in moves_by_hand(version.tags)]
    ongoing = datetime.max.replace(tzinfo=UTC)
    return sorted(decided, key=lambda each: each.decided_at or ongoing, reverse=True)[:limit]


async def versions(registry: RegistryClient, model: str) -> list[RegisteredVersion]:
    """The versions of a model, newest first.

    Raises:
        RegistryError: The registry can't be reached or answers nonsense.
    """
    aliases = await registry.aliases(model)
    found = []
    for entry in sorted(await registry.versions(model), key=lambda each: int(each.number), reverse=True):
        record, standing = decision_of(entry.tags), aliases.get(entry.number, [])
        found.append(
            RegisteredVersion(
                model_version=entry.name,
                aliases=standing,
                registered_at=entry.created_at,
                data_version=entry.tags.get(TAG_DATA_VERSION, ""),
                waiting=record.get("rule") == "waiting" and CHALLENGER in standing,
                reason=record.get("reason") or None,
                reason_id=record.get("reason_id") or None,
            )
        )
    return found


async def seen(registry: RegistryClient, declaration: Declaration, data_version: str) -> DataLineage | None:
    """Which versions and runs of a model saw a data version; None if none did.

    Raises:
        RegistryError: The registry can't be reached or answers nonsense.
    """
    model = declaration.name
    aliases = await registry.aliases(model)
    versions = [each for each in await registry.versions(model) if each.tags.get(TAG_DATA_VERSION) == data_version]
    runs = [each for each in await decisions(registry, model, RUNS_SEARCHED) if each.data_version == data_version]
    if not versions and not runs:
        return None
    hashes = [each.tags.get(TAG_DATA_MD5, "") for each in versions] + [each.data_md5 for each in runs]
    return DataLineage(
        model=model,
        data_version=data_version,
        dvc_md5=hashes[0],
        git_tag=_tag(model, data_version),
        model_versions=[
            Seen(
                model_version=each.name,
                aliases=aliases.get(each.number, []),
                run_id=each.run_id,
                registered_at=each.created_at,
            )
            for each in versions
        ],
        runs=runs,
    )


def refusal(decided: Sequence[Decision]) -> Refusal | None:
    """Why there is no champion, by the newest run that came to an end; None if there is no such reason."""
    for decision in decided:
        if decision.outcome == "running":
            continue
        if not decision.reason:
            return None
        did = "failed" if decision.outcome == "failed" else "promoted nothing"
        data = f" on the data {decision.data_version}" if decision.data_version else ""
        return Refusal(f"The last run{data} {did}: {decision.reason}", decision.outcome == "refused")
    return None


def _decision(run: RunEntry, record: Mapping[str, Any] | None) -> Decision:
    tags, known = run.tags, record or {}
    reason = known.get("reason") or tags.get("reason") or tags.get("error")
    rule = known.get("rule") or tags.get("rule")
    return Decision(
        run_id=run.run_id,
        decided_at=run.ended_at,
        outcome=outcome(run, known),
        model_version=_named(tags.get("model_version")),
        champion=_named(tags.get("champion")),
        rule=str(rule) if rule else None,
        reason=str(reason) if reason else None,
        reason_id=known.get("reason_id") or tags.get("reason_id") or None,
        data_version=tags.get(TAG_DATA_VERSION, ""),
        data_md5=tags.get(TAG_DATA_MD5, ""),
        git_commit=tags.get(COMMIT, ""),
        mode=known.get("mode"),
        asked_by=known.get("asked_by"),
        record=dict(known) or None,
    )


def _moved(version: VersionEntry, move: Move) -> Decision:
    return Decision(
        run_id=move.key,
        decided_at=datetime.fromisoformat(move.at),
        outcome="promoted",
        model_version=version.name,
        champion=version.name,
        rule=move.rule,
        reason=move.reason,
        reason_id=in_indonesian(move),
        data_version=version.tags.get(TAG_DATA_VERSION, ""),
        data_md5=version.tags.get(TAG_DATA_MD5, ""),
        git_commit="",
        mode=None,
        asked_by=move.asked_by,
        record=None,
    )


def outcome(run: RunEntry, record: Mapping[str, Any]) -> Literal["promoted", "refused", "failed", "running"]:
    """What a run led to, by its state and its version's record."""
    if run.status in ("RUNNING", "SCHEDULED"):
        return "running"
    if run.status != "FINISHED":
        return "failed"
    promoted = bool(record["promote"]) if "promote" in record else run.tags.get("promoted") == "True"
    return "promoted" if promoted else "refused"


def _named(text: str | None) -> str | None:
    return None if text in (None, "", "None") else text


def _tag(model: str, data_version: str) -> str:
    return f"{model}/{data_version}"
