"""The serving bundle: a model as ONNX with a manifest, as training writes it and the API reads it.

A bundle is a folder: `manifest.json`, `model.onnx` and `members.json`. The manifest names every other file with its
sha256 and size, so that an altered or half-written bundle is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sigap.errors import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
MEMBERS = "members.json"

# Tags on a registered model version: the registry writes them, the API follows them to the bundle.
TAG_BUNDLE_RUN = "bundle_run_id"
TAG_BUNDLE_PATH = "bundle_path"
TAG_MANIFEST_SHA256 = "manifest_sha256"
TAG_FINGERPRINT = "fingerprint"
TAG_DATA_VERSION = "data_version"
TAG_DATA_MD5 = "data_md5"
TAG_DECISION = "decision"  # JSON: the gate's verdict with its numbers


class Part(BaseModel):
    """Base of the manifest's parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bilingual(Part):
    """A text in Indonesian and in English."""

    id: str
    en: str


class FileEntry(Part):
    """A file of the bundle."""

    sha256: str
    bytes: int


class DataEntry(Part):
    """Which data the model saw."""

    version: str = Field(description="Name of the data version, such as v1 or v_2025_Q1.")
    md5: str = Field(description="DVC's hash of the snapshot.")
    rows: int
    rows_rejected: int
    period: int = Field(description="Newest period with figures, a year.")
    git_commit: str = Field(description="Commit that holds the snapshot's pointer; empty when committing is off.")
    query: str


class CodeEntry(Part):
    """Which code trained it."""

    git_commit: str
    lock_sha256: str


class LeftOut(Part):
    """A declared feature that the model does not use."""

    name: str
    reason: Bilingual
    published_share: float = Field(ge=0, le=1)


class Level(Part):
    """A cluster, by rank: 0 is the best."""

    cluster: int
    label: Bilingual
    text: str = Field(description="The label as answered: `Tinggi (High Readiness)`.")
    size: int
    center: dict[str, float] = Field(description="Centre per used feature, in the feature's unit.")


class CandidateEntry(Part):
    """One candidate of the sweep."""

    k: int
    run_id: str = Field("", description="Its MLflow run; empty when trained without MLflow.")
    metrics: dict[str, float]
    admissible: bool
    reason: Bilingual | None = Field(None, description="Why it is not admissible.")


class Range(Part):
    """Smallest and largest value of a used feature that the model was trained on, in the feature's unit."""

    minimum: float
    maximum: float


class Example(Part):
    """A request and what has to come out of it; the self-test of every load."""

    request: dict[str, Any]
    cluster: int
    distance_to_center: float


class Manifest(Part):
    """What a bundle holds and where it comes from."""

    format: Literal[1] = 1
    model: str
    task: Literal["clustering"]
    trained_at: str = Field(description="ISO 8601, UTC.")
    run_id: str = Field("", description="The MLflow run that registered it.")
    data: DataEntry
    code: CodeEntry
    features_used: tuple[str, ...] = Field(description="The ONNX input's columns, in order.")
    features_left_out: tuple[LeftOut, ...]
    training_range: dict[str, Range] = Field(description="Per used feature; outside it, an answer extrapolates.")
    levels: tuple[Level, ...]
    metrics: dict[str, float]
    sweep: tuple[CandidateEntry, ...]
    fingerprint: str = Field(description="sha256 over what decides an answer: equal fingerprints answer equally.")
    example: Example
    files: dict[str, FileEntry]


def digest(path: Path) -> FileEntry:
    """The file's sha256 (hex) and size in bytes."""
    data = path.read_bytes()
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def read_manifest(folder: Path) -> Manifest:
    """The bundle's manifest, after every file it names was found unaltered.

    Raises:
        BundleError: A file is missing, altered or unreadable, or a name points outside the folder.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"The bundle's manifest {path} can't be read: {error}.") from error
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise BundleError(f"The bundle's manifest names {name!r}, which is not a plain file name.")
        file = folder / name
        if not file.is_file():
            raise BundleError(f"The bundle lacks {name}.")
        if digest(file) != expected:
            raise BundleError(f"The bundle's {name} is not the file its manifest was written for.")
    if missing := {MODEL, MEMBERS} - set(manifest.files):
        raise BundleError(f"The bundle's manifest does not name {', '.join(sorted(missing))}.")
    return manifest


def read_members(folder: Path) -> dict[str, Any]:
    """The members, history and movement that the bundle carries, as written."""
    members: dict[str, Any] = json.loads((folder / MEMBERS).read_bytes())
    return members
