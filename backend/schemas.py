"""What the API tells about its models, as types."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.tasks.clustering import Answer
from backend.tasks.predictor import BaselineAnswer
from sigap.bundle import (
    Bilingual,
    CandidateEntry,
    CodeEntry,
    DataEntry,
    FairnessEntry,
    Interval,
    LeftOut,
    Level,
    Profile,
    SegmentEntry,
    TriedEntry,
)
from sigap.catalog import Kind

__all__ = ["Answer"]


class RequestColumn(BaseModel):
    """A field of the request that says whom it is about; the model does not use it."""

    name: str
    kind: Kind
    meaning: Bilingual
    required: bool
    pattern: str
    form: Bilingual | None = Field(description="The pattern in words; null where there is none.")


class FeatureDetail(BaseModel):
    """A field of the request, and how the served model takes it."""

    name: str
    kind: Kind
    title: Bilingual
    meaning: Bilingual
    unit: Bilingual
    minimum: float | None
    maximum: float | None
    categories: list[str]
    category_labels: list[Bilingual] = Field(description="The categories for people; empty where they are plain.")
    flag: bool = Field(description="Whether it is 1 for yes and 0 for no; files may say yes and no.")
    higher_is_better: bool | None
    personal: bool
    source: str
    used: bool | None = Field(description="Whether the served model uses it; null when none is served.")
    training_range: tuple[float, float] | None = Field(description="Least and greatest value it was trained on.")


class ModelSummary(BaseModel):
    """A model of the catalogue in a line."""

    name: str
    title: Bilingual
    question: Bilingual
    task: str
    default: bool = Field(description="Whether `POST /predict` without a name asks it.")
    served: bool
    model_version: str | None
    data_version: str | None
    data_origin: str | None = Field(description="Where its rows are from, such as mock or import; null if not noted.")
    levels: int | None
    silhouette: float | None


class ScoredSummary(ModelSummary):
    """A model with a target, in a line."""

    metric: str = Field(description="What its candidates are chosen by.")
    score: float | None
    spread: float | None = Field(description="The score's standard deviation over the repeated folds.")
    baseline: float | None = Field(description="The baseline's score on the same folds.")
    verdict: Literal["better", "ties"] | None
    reason: str | None = Field(description="Why none is served, or why the served one is not the newest.")


class Models(BaseModel):
    """All models of the catalogue."""

    models: list[ScoredSummary | ModelSummary]


class HeldVersion(BaseModel):
    """A version served by hand in this API alone, until the alias moves."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    instead_of: str | None = Field(description="The version that the alias stands on.")
    asked_by: str
    at: str


class DetailBase(BaseModel):
    """A model's declaration, and what is served of it: those fields are null while there is no champion."""

    name: str
    title: Bilingual
    question: Bilingual
    task: str
    data_source: Bilingual
    request_columns: list[RequestColumn]
    features: list[FeatureDetail]
    example: dict[str, Any]
    served: bool
    reason: str | None = Field(description="Why none is served, or why the served one is not the newest.")
    alias: str
    aliases: list[str] = Field(description="Those on the served version when the registry was last looked at.")
    held: HeldVersion | None = Field(description="What a person serves in this API, whatever the alias says.")
    model_version: str | None
    data_version: str | None
    trained_at: str | None
    loaded_at: str | None
    loaded_from: Literal["registry", "disk"] | None
    run_id: str | None
    data: DataEntry | None
    code: CodeEntry | None
    metrics: dict[str, float] | None


class ModelDetail(DetailBase):
    """A clustering."""

    sweep: list[CandidateEntry] | None
    features_used: list[str] | None
    features_left_out: list[LeftOut] | None
    levels: list[Level] | None
    fingerprint: str | None


class SegmentsDetail(ModelDetail):
    """A clustering whose clusters are segments: what each looks like."""

    profiles: list[Profile] | None


class TargetDetail(BaseModel):
    """What a model answers."""

    name: str
    kind: Kind
    title: Bilingual
    meaning: Bilingual
    unit: Bilingual | None
    categories: list[str]


class SupervisedDetail(DetailBase):
    """A model with a target: its candidates, and its score beside the baseline's."""

    target: TargetDetail
    winner: str | None
    candidates: list[TriedEntry] | None
    baseline: BaselineAnswer | None
    interval: Interval | None = Field(description="Null of yes or no.")
    segments: list[SegmentEntry] | None = Field(description="Classes of the target, where it has any.")
    calibrated: bool | None = Field(description="Null of a number.")
    fairness: list[FairnessEntry] | None
    note: Bilingual | None = Field(description="What else has to be said beside its answers.")
    features_used: list[str] | None
    features_left_out: list[LeftOut] | None
    fingerprint: str | None


class Member(BaseModel):
    """An entity and its level."""

    entity: str
    name: str
    period: int | None
    place: dict[str, str | float | None] = Field(description="Where it is: capital, latitude and longitude in degrees.")
    features: dict[str, float | str | None]
    figure_period: dict[str, int | None] = Field(description="The period each figure was published for.")
    cluster: int
    distance: float
    gap: dict[str, float] | None


class NotAssessed(BaseModel):
    """An entity that lacks a figure that the model needs."""

    entity: str
    name: str
    place: dict[str, str | float | None] = Field(description="Where it is: capital, latitude and longitude in degrees.")
    features: dict[str, float | str | None]
    missing: list[str]
    reason: Bilingual


class HistoryPoint(BaseModel):
    """The level of an entity in an earlier period, by the same model."""

    entity: str
    period: int
    cluster: int | None
    features: dict[str, float | str | None] | None = Field(
        None, description="The figures that decide the level, as of then; null in versions that did not keep them."
    )


class Break(BaseModel):
    """A border or definition that changed: figures before and after do not compare."""

    entity: str
    period: int
    note: Bilingual


class Against(BaseModel):
    """What the movement is told against."""

    model_version: str
    data_version: str
    period: int
    levels: int = Field(description="Number of levels that it had.")


class Move(BaseModel):
    """Where an entity went since the last champion."""

    model_config = ConfigDict(populate_by_name=True)

    entity: str
    name: str
    kind: Literal["up", "down", "same", "new", "gone", "break"]
    origin: int | None = Field(alias="from")
    to: int | None
    from_text: str | None
    to_text: str | None
    note: Bilingual | None
    from_features: dict[str, float | str | None] | None = Field(
        None, description="The figures that decide the level, as they were; null for who was not assessed then."
    )


class Movement(BaseModel):
    """Who moved, told with one fixed model."""

    against: Against
    moves: list[Move]


class Members(BaseModel):
    """What stands in a bundle's `members.json`."""

    model_config = ConfigDict(allow_inf_nan=False)

    period: int | None
    members: list[Member]
    not_assessed: list[NotAssessed]
    history: list[HistoryPoint]
    breaks: list[Break]
    movement: Movement | None


class Clusters(Members):
    """Every level and every entity's place in it."""

    model: str
    model_version: str
    data_version: str
    levels: list[Level]


class Share(BaseModel):
    """How many of a segment have a category, beside how many of all rows."""

    share: float
    overall: float
    effect: float = Field(description="The difference, in standard deviations of all rows.")


class CategoryProfile(BaseModel):
    """How a segment spreads over the values of a feature."""

    shares: dict[str, Share]
    missing_share: float


class NumberProfile(BaseModel):
    """A segment's values of a number, beside the mean of all rows."""

    mean: float
    deviation: float
    lower_quartile: float
    median: float
    upper_quartile: float
    overall: float
    effect: float = Field(description="Difference of the means, in standard deviations of all rows.")
    missing_share: float


class SegmentTable(BaseModel):
    """Everything known of a segment as a whole."""

    cluster: int
    label: Bilingual
    size: int
    share: float
    silhouette: float
    numbers: dict[str, NumberProfile]
    categories: dict[str, CategoryProfile]


class Structure(BaseModel):
    """How far the segments are apart."""

    silhouette: float
    text: Bilingual
    silhouette_shuffled: float | None = Field(None, description="What the same columns reach when shuffled.")


class SegmentMembers(Members):
    """What stands in the `members.json` of segments: whole segments instead of persons."""

    assessed_count: int | None = None
    not_assessed_count: int | None = None
    profiles: list[SegmentTable] = []
    structure: Structure | None = None
    matched: dict[str, Any] | None = Field(None, description="Which segment of the former champion each one is.")


class SegmentClusters(SegmentMembers, Clusters):
    """Every segment and its profile."""
