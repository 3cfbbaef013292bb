"""What the API tells about its models: from their declarations and from what is served of them."""

from __future__ import annotations

from typing import Any

from backend.follower import Follower
from backend.schemas import (
    FeatureDetail,
    HeldVersion,
    ModelDetail,
    ModelSummary,
    RequestColumn,
    ScoredSummary,
    SegmentsDetail,
    SupervisedDetail,
    TargetDetail,
)
from backend.served import Served
from backend.tasks.predictor import BaselineAnswer, baseline_answer
from backend.tasks.regression import target_of
from sigap.bundle import (
    Bilingual,
    ClassificationManifest,
    ClusteringManifest,
    ForecastingManifest,
    RegressionManifest,
    SupervisedManifest,
)
from sigap.catalog import Declaration, Feature, Text
from sigap.catalog.declaration import Clustering


def summary(follower: Follower, default: str) -> ModelSummary:
    """The model in a line; `default` is the name of the default model."""
    declared, served = follower.declaration, follower.served
    manifest = served.manifest if served else None
    clustering = manifest if isinstance(manifest, ClusteringManifest) else None
    line: dict[str, Any] = {
        "name": declared.name,
        "title": _text(declared.title),
        "question": _text(declared.question),
        "task": declared.task.kind,
        "default": declared.name == default,
        "served": served is not None,
        "model_version": served.model_version if served else None,
        "data_version": manifest.data.version if manifest else None,
        "data_origin": (manifest.data.origin or None) if manifest else None,
        "levels": len(clustering.levels) if clustering else None,
        "silhouette": clustering.metrics.get("silhouette") if clustering else None,
    }
    if isinstance(declared.task, Clustering):
        return ModelSummary(**line)
    beside = _baseline(manifest)
    return ScoredSummary(
        **line,
        metric=declared.task.selection,
        score=beside.model if beside else None,
        spread=beside.spread if beside else None,
        baseline=beside.baseline if beside else None,
        verdict=beside.verdict if beside else None,
        reason=follower.fault,
    )


def detail(follower: Follower) -> ModelDetail | SupervisedDetail:
    """The model's declaration and what is served of it."""
    declared, served = follower.declaration, follower.served
    manifest = served.manifest if served else None
    known: dict[str, Any] = {
        "features_used": list(manifest.features_used) if manifest else None,
        "features_left_out": list(manifest.features_left_out) if manifest else None,
        "fingerprint": manifest.fingerprint if manifest else None,
        **_common(follower),
    }
    if not isinstance(declared.task, Clustering):
        return SupervisedDetail(**known, **_supervised(declared, manifest))
    clustering = manifest if isinstance(manifest, ClusteringManifest) else None
    known["sweep"] = list(clustering.sweep) if clustering else None
    known["levels"] = list(clustering.levels) if clustering else None
    if declared.task.order == "readiness":
        return ModelDetail(**known)
    return SegmentsDetail(**known, profiles=list(clustering.profiles) if clustering else None)


def _common(follower: Follower) -> dict[str, Any]:
    declared, served = follower.declaration, follower.served
    manifest = served.manifest if served else None
    return {
        "name": declared.name,
        "title": _text(declared.title),
        "question": _text(declared.question),
        "task": declared.task.kind,
        "data_source": _text(declared.data_source),
        "request_columns": [_column(follower, name) for name in declared.request_columns],
        "features": [_feature(feature, served) for feature in declared.features],
        "example": declared.example,
        "served": served is not None,
        "reason": follower.fault,
        "alias": follower.alias,
        "aliases": list(follower.aliases),
        "held": _held(follower),
        "model_version": served.model_version if served else None,
        "data_version": manifest.data.version if manifest else None,
        "trained_at": manifest.trained_at if manifest else None,
        "loaded_at": served.loaded_at.isoformat() if served else None,
        "loaded_from": served.origin if served else None,
        "run_id": manifest.run_id if manifest else None,
        "data": manifest.data if manifest else None,
        "code": manifest.code if manifest else None,
        "metrics": manifest.metrics if manifest else None,
    }


def _held(follower: Follower) -> HeldVersion | None:
    held = follower.held
    if held is None:
        return None
    return HeldVersion(
        model_version=f"v{held.version}",
        instead_of=f"v{held.instead_of}" if held.instead_of else None,
        asked_by=held.asked_by,
        at=held.at,
    )


def _supervised(declared: Declaration, manifest: Any) -> dict[str, Any]:
    target = target_of(declared)
    known = manifest if isinstance(manifest, SupervisedManifest) else None
    told: dict[str, Any] = {
        "target": TargetDetail(
            name=target.name,
            kind=target.kind,
            title=_text(target.title),
            meaning=_text(target.meaning),
            unit=_text(target.unit) if target.unit else None,
            categories=list(target.categories),
        ),
        "winner": known.winner if known else None,
        "candidates": list(known.sweep) if known else None,
        "baseline": _baseline(manifest),
        "interval": None,
        "segments": None,
        "calibrated": None,
        "fairness": None,
        "note": None,
    }
    if isinstance(manifest, RegressionManifest):
        told |= {"interval": manifest.interval, "segments": list(manifest.segments)}
    elif isinstance(manifest, ClassificationManifest):
        told |= {"calibrated": manifest.calibrated, "note": manifest.calibration, "fairness": list(manifest.fairness)}
    elif isinstance(manifest, ForecastingManifest):
        told |= {"interval": manifest.interval, "note": manifest.note}
    return told


def _baseline(manifest: Any) -> BaselineAnswer | None:
    if not isinstance(manifest, SupervisedManifest):
        return None
    return BaselineAnswer.model_validate(baseline_answer(manifest))


def _text(text: Text) -> Bilingual:
    return Bilingual(id=text.id, en=text.en)


def _column(follower: Follower, name: str) -> RequestColumn:
    column = follower.declaration.column(name)
    return RequestColumn(
        name=column.name,
        kind=column.kind,
        meaning=_text(column.meaning),
        required=column.required,
        pattern=column.pattern,
        form=_text(column.form) if column.form else None,
    )


def _feature(feature: Feature, served: Served | None) -> FeatureDetail:
    known = served.manifest.training_range.get(feature.name) if served else None
    return FeatureDetail(
        name=feature.name,
        kind=feature.kind,
        title=_text(feature.title),
        meaning=_text(feature.meaning),
        unit=_text(feature.unit),
        minimum=feature.minimum,
        maximum=feature.maximum,
        categories=list(feature.categories),
        category_labels=[_text(label) for label in feature.category_labels],
        flag=feature.flag,
        higher_is_better=feature.higher_is_better,
        personal=feature.personal,
        source=feature.source,
        used=feature.name in served.manifest.features_used if served else None,
        training_range=(known.minimum, known.maximum) if known else None,
    )
