"""What the API tells about its models: from their declarations and from what is served of them."""

from __future__ import annotations

from backend.follower import Follower
from backend.schemas import FeatureDetail, ModelDetail, ModelSummary, RequestColumn
from backend.served import Served
from sigap.bundle import Bilingual
from sigap.catalog import Feature, Text


def summary(follower: Follower, default: str) -> ModelSummary:
    """The model in a line; `default` is the name of the default model."""
    declared, served = follower.declaration, follower.served
    return ModelSummary(
        name=declared.name,
        title=_text(declared.title),
        question=_text(declared.question),
        task=declared.task.kind,
        default=declared.name == default,
        served=served is not None,
        model_version=served.model_version if served else None,
        data_version=served.manifest.data.version if served else None,
        levels=len(served.manifest.levels) if served else None,
        silhouette=served.manifest.metrics.get("silhouette") if served else None,
    )


def detail(follower: Follower) -> ModelDetail:
    """The model's declaration and what is served of it."""
    declared, served = follower.declaration, follower.served
    manifest = served.manifest if served else None
    return ModelDetail(
        name=declared.name,
        title=_text(declared.title),
        question=_text(declared.question),
        task=declared.task.kind,
        data_source=_text(declared.data_source),
        request_columns=[_column(follower, name) for name in declared.request_columns],
        features=[_feature(feature, served) for feature in declared.features],
        example=declared.example,
        served=served is not None,
        reason=follower.fault,
        alias=follower.alias,
        model_version=served.model_version if served else None,
        data_version=manifest.data.version if manifest else None,
        trained_at=manifest.trained_at if manifest else None,
        loaded_at=served.loaded_at.isoformat() if served else None,
        loaded_from=served.origin if served else None,
        run_id=manifest.run_id if manifest else None,
        data=manifest.data if manifest else None,
        code=manifest.code if manifest else None,
        metrics=manifest.metrics if manifest else None,
        sweep=list(manifest.sweep) if manifest else None,
        features_used=list(manifest.features_used) if manifest else None,
        features_left_out=list(manifest.features_left_out) if manifest else None,
        levels=list(manifest.levels) if manifest else None,
        fingerprint=manifest.fingerprint if manifest else None,
    )


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
        higher_is_better=feature.higher_is_better,
        personal=feature.personal,
        source=feature.source,
        used=feature.name in served.manifest.features_used if served else None,
        training_range=(known.minimum, known.maximum) if known else None,
    )
