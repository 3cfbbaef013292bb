"""A bundle ready to answer: everything that belongs to one model version, in one object that never changes.

A request takes this object once. So an answer is whole, whatever the follower swaps in meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from backend.engine import Engine
from backend.problems import RequestError
from backend.schemas import Clusters, Members, Validator
from sigap.bundle import MEMBERS, MODEL, ClusteringManifest, read_manifest
from sigap.catalog import Declaration
from sigap.errors import BundleError

Origin = Literal["registry", "disk"]


@dataclass(frozen=True)
class Served:
    """A model version that answers."""

    declaration: Declaration
    version: str
    manifest: ClusteringManifest
    manifest_sha256: str
    engine: Engine
    validator: Validator
    clusters: bytes
    origin: Origin
    loaded_at: datetime

    @property
    def model_version(self) -> str:
        """The version as answered, such as v3."""
        return f"v{self.version}"

    def predict(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The answer to decoded fields, as `backend.schemas.Answer` describes it.

        Raises:
            RequestError: 422, the fields are not valid for this model.
        """
        manifest = self.manifest
        used = manifest.features_used
        values = self.validator(fields, used)
        row = [float(values[name]) for name in used]
        cluster, distance = self.engine.infer(row)
        return {
            "cluster": cluster,
            "cluster_label": manifest.levels[cluster].text,
            "distance_to_center": distance,
            "model_version": self.model_version,
            "model": manifest.model,
            "data_version": manifest.data.version,
            "features_used": used,
            "features_left_out": [entry.name for entry in manifest.features_left_out],
            "gap_to_next_level": self._gap(cluster, values),
            "out_of_training_range": [name for name in used if not self._in_range(name, values[name])],
        }

    def _gap(self, cluster: int, values: dict[str, Any]) -> dict[str, float] | None:
        if cluster == 0:
            return None
        center = self.manifest.levels[cluster - 1].center
        feature = self.declaration.feature
        return {name: feature(name).shortfall(values[name], center[name]) for name in self.manifest.features_used}

    def _in_range(self, name: str, value: float) -> bool:
        known = self.manifest.training_range[name]
        return known.minimum <= value <= known.maximum


def load(
    folder: Path, declaration: Declaration, validator: Validator, *, version: str, manifest_sha256: str, origin: Origin
) -> Served:
    """Reads, checks and tests the bundle in `folder`.

    Args:
        folder: The bundle.
        declaration: The model's declaration.
        validator: Checks requests to that model.
        version: The model version's number in the registry.
        manifest_sha256: Hash of the bundle's manifest, already checked.
        origin: Where the bundle was fetched from.

    Raises:
        BundleError: The bundle is incomplete, altered, of another model, or does not give its own example's answer.
    """
    manifest = read_manifest(folder)
    if not isinstance(manifest, ClusteringManifest):
        raise BundleError(f"The bundle is of a {manifest.task}, not of a clustering.")
    _agrees(manifest, declaration)
    members = _members(folder)
    served = Served(
        declaration=declaration,
        version=version,
        manifest=manifest,
        manifest_sha256=manifest_sha256,
        engine=Engine((folder / MODEL).read_bytes(), len(manifest.features_used), len(manifest.levels)),
        validator=validator,
        clusters=_clusters(members, manifest, f"v{version}"),
        origin=origin,
        loaded_at=datetime.now(UTC),
    )
    _self_test(served)
    return served


def _agrees(manifest: ClusteringManifest, declaration: Declaration) -> None:
    if manifest.model != declaration.name:
        raise BundleError(f"The bundle is of the model {manifest.model!r}, not {declaration.name!r}.")
    if not manifest.features_used or (unknown := set(manifest.features_used) - set(declaration.feature_names)):
        names = ", ".join(sorted(unknown)) if manifest.features_used else "none"
        raise BundleError(f"The bundle's features are not those of the declaration: {names}.")
    if missing := set(manifest.features_used) - set(manifest.training_range):
        raise BundleError(f"The bundle's training range lacks {', '.join(sorted(missing))}.")
    for rank, level in enumerate(manifest.levels):
        if level.cluster != rank or not set(level.center) >= set(manifest.features_used):
            raise BundleError(f"The bundle's level {rank} is out of order or lacks its centre.")


def _members(folder: Path) -> Members:
    try:
        return Members.model_validate_json((folder / MEMBERS).read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"The bundle's {MEMBERS} can't be read: {error}.") from error


def _clusters(members: Members, manifest: ClusteringManifest, model_version: str) -> bytes:
    # The same for every request to this version, so it is written once.
    clusters = Clusters(
        model=manifest.model,
        model_version=model_version,
        data_version=manifest.data.version,
        levels=list(manifest.levels),
        **{name: getattr(members, name) for name in Members.model_fields},
    )
    return clusters.model_dump_json(by_alias=True).encode()


def _self_test(served: Served) -> None:
    example = served.manifest.example
    try:
        answer = served.predict(example.request)
    except RequestError as error:
        raise BundleError(f"The bundle's own example is not a valid request: {error}") from error
    same = math.isclose(answer["distance_to_center"], example.distance_to_center, rel_tol=1e-5, abs_tol=1e-6)
    if answer["cluster"] != example.cluster or not same:
        raise BundleError(
            f"The bundle answers its own example with level {answer['cluster']} at {answer['distance_to_center']:.6g}; "
            f"its manifest says {example.cluster} at {example.distance_to_center:.6g}."
        )
