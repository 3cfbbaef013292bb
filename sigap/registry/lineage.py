"""Lineage both ways: from a model version back to query and commit, and from a data version on to every model.

What an answer was made by is its `model_version`: from there the way goes on as here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sigap.bundle import Manifest, read_manifest
from sigap.catalog import declaration
from sigap.data.versions import DataVersions
from sigap.errors import BundleError, RegistryError, VersionError
from sigap.registry.challenge import read_record
from sigap.registry.models import ModelVersion, Registry
from sigap.registry.tracking import RunEntry, Runs
from sigap.settings import Settings

Json = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where a model version comes from.

    Attributes:
        version: The version.
        run: The pipeline run that registered it, None if somebody deleted it.
        candidates: Its sweep's runs.
        manifest: What its bundle says of data and code; None where the bundle is damaged or missing.
        decision: What the gate said of it; empty if nothing.
        data_tag: Git tag of its data version; empty where there is none.
        data_there: Whether the data version can still be fetched by name.
    """

    version: ModelVersion
    run: RunEntry | None
    candidates: tuple[RunEntry, ...]
    manifest: Manifest | None
    decision: Json
    data_tag: str
    data_there: bool

    def as_dict(self) -> Json:
        """The way back as plain JSON, from the version to the query."""
        version, manifest = self.version, self.manifest
        data = manifest.data if manifest else None
        return {
            "model": version.model,
            "model_version": version.name,
            "aliases": list(version.aliases),
            "registered_at": _moment(version.created_at),
            "decision": {name: self.decision.get(name) for name in ("rule", "reason", "promote", "mode", "asked_by")}
            if self.decision
            else None,
            "run": self.run.as_dict() if self.run else None,
            "candidates": [each.as_dict() for each in self.candidates],
            "data": {
                "version": version.data_version,
                "md5": version.tags.get("data_md5", ""),
                "tag": self.data_tag,
                "can_be_restored": self.data_there,
                "rows": data.rows if data else None,
                "rows_rejected": data.rows_rejected if data else None,
                "git_commit": data.git_commit if data else "",
                "source_table": declaration(version.model).source.table,
                "query": data.query if data else "",
            },
            "code": {
                "git_commit": manifest.code.git_commit if manifest else "",
                "lock_sha256": manifest.code.lock_sha256 if manifest else "",
            },
        }


@dataclass(frozen=True)
class Offspring:
    """What came of a data version.

    Attributes:
        model: Whose data.
        data_version: Its name.
        md5: DVC's hash.
        tag: Git tag; empty where there is none.
        git_commit: Commit that holds the pointer.
        runs: Every pipeline run that saw it, newest first, whatever became of it.
        versions: Every registered version trained on it, newest first.
    """

    model: str
    data_version: str
    md5: str
    tag: str
    git_commit: str
    runs: tuple[RunEntry, ...]
    versions: tuple[ModelVersion, ...]

    def as_dict(self) -> Json:
        """The way on as plain JSON."""
        return {
            "model": self.model,
            "data": {
                "version": self.data_version, "md5": self.md5, "tag": self.tag, "git_commit": self.git_commit,
            },
            "runs": [each.as_dict() for each in self.runs],
            "model_versions": [
                {"model_version": each.name, "aliases": list(each.aliases), "run_id": each.run_id}
                for each in self.versions
            ],
        }  # fmt: skip


def of_version(settings: Settings, model: str, number: int | None = None) -> Origin:
    """Where a version comes from.

    Args:
        settings: Where registry and checkout are.
        model: The model.
        number: The version; by default the one served.

    Raises:
        RegistryError: There is no such version, none is served, or MLflow can't be reached.
    """
    registry, runs = Registry(settings), Runs(settings, model)
    version = registry.version(model, number) if number is not None else registry.champion(model)
    if version is None:
        raise RegistryError(
            f"No version of {model} is served.",
            remedy=f"Name one of `./run model versions {model}`, or run `./run pipeline {model}`.",
        )
    manifest = None
    if version.servable:
        try:
            manifest = read_manifest(registry.bundle(version))
        except BundleError:
            manifest = None
    tag, there = _data_version(settings, model, version.data_version, version.tags.get("data_md5", ""))
    return Origin(
        version=version,
        run=runs.entry(version.run_id) if version.run_id else None,
        candidates=tuple(runs.children(version.run_id)) if version.run_id else (),
        manifest=manifest,
        decision=read_record(version),
        data_tag=tag,
        data_there=there,
    )


def of_data(settings: Settings, model: str, data_version: str) -> Offspring:
    """Every run and version that saw a data version.

    Raises:
        VersionError: There is no data version of that name.
        RegistryError: MLflow can't be reached.
    """
    found = next((each for each in DataVersions(settings).list(model) if each.name == data_version), None)
    if found is None:
        raise VersionError(
            f"{model} has no data version {data_version!r}.", remedy=f"See `./run data versions {model}`."
        )
    versions = [each for each in Registry(settings).versions(model) if each.tags.get("data_md5") == found.md5]
    return Offspring(
        model=model,
        data_version=found.name,
        md5=found.md5,
        tag=found.tag,
        git_commit=found.commit,
        runs=tuple(Runs(settings, model).on_data(found.md5)),
        versions=tuple(versions),
    )


def _data_version(settings: Settings, model: str, name: str, md5: str) -> tuple[str, bool]:
    try:
        known = DataVersions(settings).list(model)
    except VersionError:
        return "", False
    found = next((each for each in known if each.name == name and each.md5 == md5), None)
    return (found.tag, True) if found else ("", False)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
