"""The runs of a model's pipeline: what each tried, on which data and by which code, and how the candidates scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.history import COMMIT, outcome
from backend.registry_client import RegistryClient, RunEntry, VersionEntry, bundle_of
from sigap.bundle import TAG_DATA_MD5, TAG_DATA_VERSION, Bilingual, CandidateEntry, Manifest
from sigap.catalog import Declaration
from sigap.errors import BundleError, RegistryError
from sigap.promotion import decision_of

Outcome = Literal["promoted", "refused", "failed", "running"]
# Of which less is better, among those that candidates are chosen by.
_ERRORS = frozenset({"rmse", "rmse_percent"})
# How the baseline's score by the same metric is called, by task.
_BESIDE = ("baseline_{}", "naive_{}", "{}_shuffled")
PROFILE = "data_profile/data_profile.json"
PROFILE_BYTES = 4 * 2**20
_CANDIDATE, _WINNER = "candidate", "winner"


class Pages(BaseModel):
    """Addresses for a reader's browser; null where none is known to be reachable."""

    mlflow: str | None
    mage: str | None


class RunSummary(BaseModel):
    """A run in a line."""

    model_config = ConfigDict(protected_namespaces=())

    run_id: str
    name: str
    outcome: Outcome
    started_at: datetime
    seconds: float | None = Field(description="Null while it goes on.")
    model_version: str | None = Field(description="The version that it registered, or found to be the same.")
    winner: str | None = Field(description="Name of the candidate that it chose.")
    rule: str | None
    reason: str | None
    reason_id: str | None = Field(description="The reason in Indonesian.")
    data_version: str
    data_md5: str
    git_commit: str
    lock_sha256: str = Field(description="Hash of the locked environment.")
    score: float | None = Field(description="The chosen candidate's, by the metric that candidates are chosen by.")
    spread: float | None
    baseline: float | None = Field(description="The baseline's score by the same metric on the same folds.")
    page: str | None = Field(description="Address of the run in MLflow.")


class RunList(BaseModel):
    """The runs of a model's pipeline, newest first."""

    model: str
    task: str
    metric: str = Field(description="What candidates are chosen by.")
    less_is_better: bool
    pages: Pages
    runs: list[RunSummary]


class Trial(BaseModel):
    """A candidate of a run's sweep."""

    run_id: str
    name: str
    params: dict[str, str]
    metrics: dict[str, float] = Field(description="`…_sd` is the standard deviation over the repeated folds.")
    seconds: float | None
    chosen: bool
    admissible: bool | None = Field(description="Null where the run left no word on it.")
    reason: Bilingual | None
    page: str | None


class RunDetail(RunSummary):
    """A run with its sweep and its decision."""

    model: str
    task: str
    metric: str
    less_is_better: bool
    params: dict[str, str] = Field(description="What the sweep was told to try.")
    metrics: dict[str, float] = Field(description="Of the chosen candidate, measured once more in full.")
    candidates: list[Trial]
    record: dict[str, Any] | None = Field(description="The gate's numbers, as they stand on the version.")


class ColumnProfile(BaseModel):
    """One column of a snapshot."""

    name: str
    kind: str
    role: str
    unit: str = ""
    missing: int
    missing_share: float
    distinct: int
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    sd: float | None = None
    quantiles: dict[str, float] = {}
    edges: list[float] = []
    counts: list[int] = []
    top: dict[str, int] = {}


class ColumnChange(BaseModel):
    """How a column differs from the data version before."""

    name: str
    missing_share: float
    median: float | None = None
    psi: float | None = Field(None, description="Population stability index; above 0.25 is much.")
    appeared: list[str] = []
    vanished: list[str] = []


class DataChanges(BaseModel):
    """What is different from the data version before."""

    against: str
    rows_before: int
    added: int
    removed: int
    changed: int
    columns: list[ColumnChange]


class DataProfile(BaseModel):
    """The profile of the snapshot that a run was trained on, as the run stored it."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str
    version: str
    rows: int
    rejected: int
    origin: str = ""
    duplicates: int
    columns: list[ColumnProfile]
    changes: DataChanges | None = None


def less_is_better(metric: str) -> bool:
    """Whether a lower score by `metric` is the better one."""
    return metric in _ERRORS


def summary(run: RunEntry, declaration: Declaration, pages: Pages) -> dict[str, Any]:
    """The fields of `RunSummary`."""
    tags, metric = run.tags, declaration.task.selection
    return {
        "run_id": run.run_id,
        "name": run.name or run.run_id,
        "outcome": outcome(run, {}),
        "started_at": run.started_at,
        "seconds": _seconds(run),
        "model_version": _named(tags.get("model_version")),
        "winner": _named(tags.get(_WINNER)),
        "rule": _named(tags.get("rule")),
        "reason": tags.get("reason") or tags.get("error") or None,
        "reason_id": tags.get("reason_id") or None,
        "data_version": tags.get(TAG_DATA_VERSION, ""),
        "data_md5": tags.get(TAG_DATA_MD5, ""),
        "git_commit": tags.get(COMMIT, ""),
        "lock_sha256": tags.get("lock_sha256", ""),
        "score": run.metrics.get(metric),
        "spread": run.metrics.get(f"{metric}_sd"),
        "baseline": baseline(run.metrics, metric),
        "page": _page(run, pages),
    }


def baseline(metrics: Mapping[str, float], metric: str) -> float | None:
    """The baseline's score by `metric`, under whichever name the task writes it down; None if it has none."""
    return next((metrics[name] for form in _BESIDE if (name := form.format(metric)) in metrics), None)


async def detail(registry: RegistryClient, run: RunEntry, declaration: Declaration, pages: Pages) -> RunDetail:
    """A run with its candidates.

    Raises:
        RegistryError: The registry can't be reached or answers nonsense.
    """
    entry, manifest = await _registered(registry, run, declaration.name)
    told = _told(manifest)
    # A run that refused them all registered no version that would tell of each.
    unknown = (False if run.tags.get("rule") == "inadmissible" else None, None)
    record = decision_of(entry.tags) if entry else {}
    winner = _named(run.tags.get(_WINNER))
    candidates = [
        Trial(
            run_id=each.run_id,
            name=each.tags.get(_CANDIDATE) or each.name,
            params=dict(each.params),
            metrics=dict(each.metrics),
            seconds=_number(each.tags.get("duration_seconds")),
            chosen=each.tags.get(_CANDIDATE) == winner,
            admissible=told.get(each.tags.get(_CANDIDATE, ""), unknown)[0],
            reason=told.get(each.tags.get(_CANDIDATE, ""), unknown)[1],
            page=_page(each, pages),
        )
        for each in await registry.candidates(run)
    ]
    return RunDetail(
        **summary(run, declaration, pages),
        model=declaration.name,
        task=declaration.task.kind,
        metric=declaration.task.selection,
        less_is_better=less_is_better(declaration.task.selection),
        params=dict(run.params),
        metrics=dict(run.metrics),
        candidates=_ordered(candidates),
        record=record if record.get("run_id") == run.run_id else None,
    )


async def profile(registry: RegistryClient, run: RunEntry) -> DataProfile:
    """The data profile that a run stored.

    Raises:
        MissingFileError: It stored none.
        RegistryError: The registry can't be reached, or what it has can't be read.
        BundleError: It is too long.
    """
    content = await registry.run_file(run, PROFILE, PROFILE_BYTES)
    try:
        return DataProfile.model_validate_json(content)
    except ValidationError as error:
        raise RegistryError(f"The data profile of run {run.run_id} can't be read.") from error


async def _registered(
    registry: RegistryClient, run: RunEntry, model: str
) -> tuple[VersionEntry | None, Manifest | None]:
    """The version that this run registered, and its manifest: what it tells of the candidates' admissibility."""
    number = (_named(run.tags.get("model_version")) or "").removeprefix("v")
    if not number.isdecimal():
        return None, None
    entry = None
    try:
        entry = await registry.version(model, number)
        # A run that found an earlier version to be the same has no bundle of its own.
        own = entry.run_id == run.run_id
        return entry, await registry.manifest(bundle_of(model, number, entry.tags)) if own else None
    except (RegistryError, BundleError):
        # Deleted since, or without a bundle: the sweep is still there to be shown.
        return entry, None


def _told(manifest: Manifest | None) -> dict[str, tuple[bool, Bilingual | None]]:
    """By candidate: whether it might have been chosen, and why not."""
    sweep = manifest.sweep if manifest else ()
    return {
        f"k{each.k}" if isinstance(each, CandidateEntry) else each.name: (each.admissible, each.reason)
        for each in sweep
    }


def _ordered(candidates: Sequence[Trial]) -> list[Trial]:
    """By the number of clusters where there is one, else by name."""
    return sorted(candidates, key=lambda each: (_number(each.params.get("n_clusters")) or 0.0, each.name))


def _page(run: RunEntry, pages: Pages) -> str | None:
    return f"{pages.mlflow}/#/experiments/{run.experiment}/runs/{run.run_id}" if pages.mlflow else None


def _seconds(run: RunEntry) -> float | None:
    return (run.ended_at - run.started_at).total_seconds() if run.ended_at else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _named(text: str | None) -> str | None:
    return None if text in (None, "", "None") else text
