"""A bundle ready to answer: everything that belongs to one model version, in one object that never changes.

A request takes this object once. So an answer is whole, whatever the follower swaps in meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

from backend.newest import Series
from backend.problems import RequestError
from backend.requests import Validator
from backend.schemas import Clusters, Members, SegmentClusters, SegmentMembers
from backend.tasks import Predictor, predictor
from backend.tasks.forecasting import ForecastingPredictor
from sigap.bundle import MEMBERS, MODEL, ClusteringManifest, Manifest, read_manifest
from sigap.catalog import Clustering, Declaration
from sigap.errors import BundleError

Origin = Literal["registry", "disk"]


@dataclass(frozen=True)
class Served:
    """A model version that answers."""

    declaration: Declaration
    version: str
    manifest: Manifest
    manifest_sha256: str
    predictor: Predictor
    validator: Validator
    clusters: bytes | None
    origin: Origin
    loaded_at: datetime

    @cached_property
    def model_version(self) -> str:
        """The version as answered, such as v3."""
        return f"v{self.version}"

    @cached_property
    def constant(self) -> bytes:
        """What every answer of this version says: members of a JSON object, with a comma before them."""
        return b",%b" % msgspec.json.encode(self.predictor.constant)[1:-1]

    @cached_property
    def seam(self) -> bytes:
        """What stands behind `constant` in an answer; empty where only the closing brace does."""
        # A text in front of it can't look like it: there, a quote has a backslash before it.
        name = getattr(self.predictor, "constant_before", "")
        return f',"{name}":'.encode() if name else b""

    def predict(self, fields: dict[str, Any], newest: Series | None = None) -> dict[str, Any]:
        """The answer to decoded fields, as the model's answer type describes it.

        Args:
            fields: Of the request.
            newest: The newest rows of the table, for a forecast that brings none of its own.

        Raises:
            RequestError: 422, the fields are not valid for this model.
        """
        return self.answer(self.validated(fields), newest)

    def validated(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields, once they are known to be right for this version.

        Raises:
            RequestError: 422, they are not.
        """
        return self.validator(fields, self.predictor.needed)

    def answer(self, values: Mapping[str, Any], newest: Series | None = None) -> dict[str, Any]:
        """The answer to validated fields.

        Raises:
            RequestError: 422, the fields are valid, but not for this version.
        """
        if newest and isinstance(self.predictor, ForecastingPredictor):
            return self.predictor.answer(values, newest)
        return self.predictor.answer(values)


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
    if manifest.model != declaration.name:
        raise BundleError(f"The bundle is of the model {manifest.model!r}, not {declaration.name!r}.")
    served = Served(
        declaration=declaration,
        version=version,
        manifest=manifest,
        manifest_sha256=manifest_sha256,
        predictor=predictor(declaration, manifest, (folder / MODEL).read_bytes(), f"v{version}"),
        validator=validator,
        clusters=_clusters(folder, declaration, manifest, f"v{version}"),
        origin=origin,
        loaded_at=datetime.now(UTC),
    )
    _self_test(served)
    return served


def _clusters(folder: Path, declaration: Declaration, manifest: Manifest, model_version: str) -> bytes | None:
    # The same for every request to this version, so it is written once.
    if not isinstance(manifest, ClusteringManifest):
        return None
    levels = declaration.task_as(Clustering).order == "readiness"
    members = _members(folder, Members if levels else SegmentMembers)
    clusters = (Clusters if levels else SegmentClusters)(
        model=manifest.model,
        model_version=model_version,
        data_version=manifest.data.version,
        levels=list(manifest.levels),
        **{name: getattr(members, name) for name in type(members).model_fields},
    )
    return clusters.model_dump_json(by_alias=True).encode()


def _members(folder: Path, kind: type[Members]) -> Members:
    try:
        return kind.model_validate_json((folder / MEMBERS).read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"The bundle's {MEMBERS} can't be read: {error}.") from error


def _self_test(served: Served) -> None:
    try:
        answer = served.predict(served.manifest.example.request)
    except RequestError as error:
        raise BundleError(f"The bundle's own example is not a valid request: {error}") from error
    served.predictor.check(answer)
