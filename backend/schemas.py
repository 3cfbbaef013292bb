"""What goes in and out, as types: requests are built from a model's declaration, answers are the same for all."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from backend.problems import FieldProblem, RequestError, shown
from sigap.bundle import Bilingual, CandidateEntry, CodeEntry, DataEntry, LeftOut, Level
from sigap.catalog import Column, Declaration, Feature, Kind

SHOWN_ERRORS = 20
_TYPES: dict[Kind, Any] = {Kind.NUMBER: float, Kind.INTEGER: int, Kind.TEXT: str, Kind.TIMESTAMP: str}


class Request(BaseModel):
    """Base of the requests: numbers are numbers and finite, and no field is unknown."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Answer(BaseModel):
    """Where a request belongs, and why."""

    cluster: int = Field(description="The level's number: 0 is the highest readiness.", ge=0)
    cluster_label: str = Field(description="The level in words, Indonesian and English.")
    distance_to_center: float = Field(
        description="Euclidean distance to the level's centre, in standard deviations of the features used.", ge=0
    )
    model_version: str = Field(description="Version in the registry.")
    model: str
    data_version: str = Field(description="Version of the data that the model was trained on.")
    features_used: list[str]
    features_left_out: list[str] = Field(description="Declared features that this model does not use.")
    gap_to_next_level: dict[str, float] | None = Field(
        description="What each used feature lacks, in its unit and signed, to the centre of the next better level; "
        "0 where it is there already, null at the best level."
    )
    out_of_training_range: list[str] = Field(
        description="Used features whose value lies outside of what the model was trained on: judge with care."
    )


class RequestColumn(BaseModel):
    """A field of the request that says whom it is about; the model does not use it."""

    name: str
    kind: Kind
    meaning: Bilingual
    required: bool
    pattern: str


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
    levels: int | None
    silhouette: float | None


class Models(BaseModel):
    """All models of the catalogue."""

    models: list[ModelSummary]


class ModelDetail(BaseModel):
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
    model_version: str | None
    data_version: str | None
    trained_at: str | None
    loaded_at: str | None
    loaded_from: Literal["registry", "disk"] | None
    run_id: str | None
    data: DataEntry | None
    code: CodeEntry | None
    metrics: dict[str, float] | None
    sweep: list[CandidateEntry] | None
    features_used: list[str] | None
    features_left_out: list[LeftOut] | None
    levels: list[Level] | None
    fingerprint: str | None


class Member(BaseModel):
    """An entity and its level."""

    entity: str
    name: str
    period: int
    place: dict[str, str | float | None] = Field(description="Where it is: capital, latitude and longitude in degrees.")
    features: dict[str, float | None]
    figure_period: dict[str, int | None] = Field(description="The period each figure was published for.")
    cluster: int
    distance: float
    gap: dict[str, float] | None


class NotAssessed(BaseModel):
    """An entity that lacks a figure that the model needs."""

    entity: str
    name: str
    place: dict[str, str | float | None] = Field(description="Where it is: capital, latitude and longitude in degrees.")
    features: dict[str, float | None]
    missing: list[str]
    reason: Bilingual


class HistoryPoint(BaseModel):
    """The level of an entity in an earlier period, by the same model."""

    entity: str
    period: int
    cluster: int | None


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


class Movement(BaseModel):
    """Who moved, told with one fixed model."""

    against: Against
    moves: list[Move]


class Members(BaseModel):
    """What stands in a bundle's `members.json`."""

    model_config = ConfigDict(allow_inf_nan=False)

    period: int
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


def request_model(declaration: Declaration) -> type[Request]:
    """The type of a request to the model: its request columns and all its features.

    Every field has to be there. A feature may be null; whether the served model can do without it is checked against
    that model, because another champion may use other features.
    """
    fields: dict[str, Any] = {}
    for name in declaration.request_columns:
        fields[name] = _column_field(declaration.column(name), declaration.example.get(name))
    for feature in declaration.features:
        fields[feature.name] = _feature_field(feature, declaration.example.get(feature.name))
    name = "".join(part.title() for part in declaration.name.split("_"))
    return create_model(
        f"{name}Request",
        __base__=Request,
        __doc__=declaration.question.en,
        __config__=None,
        **fields,
    )


def _column_field(column: Column, example: Any) -> Any:
    described = Field(
        description=f"{column.meaning.en}. {column.meaning.id}.",
        pattern=f"^(?:{column.pattern})$" if column.pattern else None,
        ge=column.minimum,
        le=column.maximum,
        examples=[example],
    )
    kind = _TYPES[column.kind]
    return Annotated[kind if column.required else kind | None, described], ...


def _feature_field(feature: Feature, example: Any) -> Any:
    described = Field(
        title=f"{feature.title.en} ({feature.unit.en})",
        description=f"{feature.meaning.en}, {feature.unit.en}. {feature.meaning.id}, {feature.unit.id}.",
        ge=feature.minimum,
        le=feature.maximum,
        examples=[example],
        json_schema_extra=_nullable,
    )
    kind = Literal[feature.categories] if feature.kind is Kind.CATEGORY else _TYPES[feature.kind]
    return Annotated[kind | None, described], ...


def _nullable(schema: dict[str, Any]) -> None:
    # {"type": ["number", "null"]} says the same as anyOf and is what people can read in Swagger UI and ReDoc.
    kind, _null = schema.pop("anyOf")
    schema |= kind
    schema["type"] = [kind["type"], "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    schema["description"] += " Null only if the served model does not use it."


class Validator:
    """Checks decoded requests to one model.

    Args:
        declaration: The model's declaration.
    """

    def __init__(self, declaration: Declaration) -> None:
        self.request = request_model(declaration)
        self._validator = self.request.__pydantic_validator__
        columns = {name: _expected_column(declaration.column(name)) for name in declaration.request_columns}
        self._expected = columns | {feature.name: _expected_feature(feature) for feature in declaration.features}

    def __call__(self, fields: dict[str, Any], used: tuple[str, ...]) -> dict[str, Any]:
        """The fields, once they are known to be right for a model that uses the features `used`.

        Raises:
            RequestError: 422, with one entry a field that is missing, unknown, of another type, out of its range or
                not finite, or null although the model uses it.
        """
        try:
            self._validator.validate_python(fields)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            raise self._refused(
                [self._problem(entry["type"], entry["loc"], entry["input"]) for entry in found]
            ) from None
        if absent := [name for name in used if fields[name] is None]:
            raise self._refused([self._needed(name) for name in absent])
        return fields

    def _refused(self, errors: list[FieldProblem]) -> RequestError:
        names = ", ".join(error.field or "the body" for error in errors[:SHOWN_ERRORS])
        more = f" and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
        return RequestError(
            422,
            "invalid-request",
            "The request is not valid",
            f"Not valid: {names}{more}.",
            remedy="`errors` says what is expected of each.",
            errors=tuple(errors[:SHOWN_ERRORS]),
        )

    def _problem(self, kind: str, location: tuple[int | str, ...], value: Any) -> FieldProblem:
        name = str(location[0]) if location else ""
        if kind == "extra_forbidden":
            near = difflib.get_close_matches(name, self._expected, n=1)
            remedy = f"Did you mean {near[0]}?" if near else "Leave it out."
            known = ", ".join(self._expected)
            return FieldProblem(field=str(shown(name)), value=shown(value), expected=f"one of: {known}", remedy=remedy)
        expected = self._expected.get(name, "text in valid Unicode")
        if kind == "missing":
            return FieldProblem(field=name, value=None, expected=expected, remedy="Add the field.")
        return FieldProblem(field=name, value=shown(value), expected=expected, remedy=_remedy(kind))

    def _needed(self, name: str) -> FieldProblem:
        return FieldProblem(
            field=name, value=None, expected=self._expected[name], remedy="The served model needs it: send a value."
        )


def _remedy(kind: str) -> str:
    if kind in ("float_type", "int_type"):
        return "Send a JSON number, without quotes."
    if kind in ("greater_than_equal", "less_than_equal"):
        return "Check the value and its unit."
    if kind == "finite_number":
        return "Send a finite number; if it is unknown, don't send NaN or Infinity for it."
    return "Correct the value."


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:g} to {maximum:g}"
    if minimum is not None:
        return f" of at least {minimum:g}"
    return f" of at most {maximum:g}" if maximum is not None else ""


def _expected_column(column: Column) -> str:
    if column.kind in (Kind.NUMBER, Kind.INTEGER):
        return f"{_noun(column.kind)}{_range(column.minimum, column.maximum)}"
    return f"a text like {column.pattern}: {column.meaning.en}" if column.pattern else f"a text: {column.meaning.en}"


def _expected_feature(feature: Feature) -> str:
    if feature.kind is Kind.CATEGORY:
        return f"one of: {', '.join(feature.categories)}"
    return f"{_noun(feature.kind)}{_range(feature.minimum, feature.maximum)} ({feature.unit.en})"


def _noun(kind: Kind) -> str:
    return {Kind.NUMBER: "a number", Kind.INTEGER: "a whole number"}.get(kind, "a text")


def answer_example(declaration: Declaration) -> dict[str, Any]:
    """An answer to the declaration's example as the documentation shows it; its numbers illustrate."""
    label = declaration.task.labels(3)[1]
    names = list(declaration.feature_names)
    return {
        "cluster": 1,
        "cluster_label": f"{label.id} ({label.en})",
        "distance_to_center": 0.45,
        "model_version": "v3",
        "model": declaration.name,
        "data_version": "v_2025_Q1",
        "features_used": names[:-1],
        "features_left_out": names[-1:],
        "gap_to_next_level": dict.fromkeys(names[:-1], 0.5),
        "out_of_training_range": [],
    }


def problem_example(declaration: Declaration) -> dict[str, Any]:
    """A refusal as the documentation shows it: the declaration's first feature out of its range."""
    feature = declaration.features[0]
    return {
        "type": "urn:sigap:problem:invalid-request",
        "title": "The request is not valid",
        "status": 422,
        "detail": f"Not valid: {feature.name}. `errors` says what is expected of each.",
        "errors": [
            {
                "field": feature.name,
                "value": 998,
                "expected": _expected_feature(feature),
                "remedy": _remedy("less_than_equal"),
            }
        ],
        "request_id": "8a5edab282632443219e051e",
    }
