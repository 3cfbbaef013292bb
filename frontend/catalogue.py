"""The models of any task as the API tells them: what each answers, how good it is, and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import streamlit as st
from pydantic import AliasChoices, Field, ValidationError, model_validator

from frontend import api
from frontend.api import Answer, ApiDownError, Candidate, Feature, LeftOut, Level, RejectedError, RequestColumn, Text

MODELS = "models"


class Entry(Answer):
    """A model of the catalogue in a line."""

    name: str
    title: Text
    task: str
    served: bool = False
    model_version: str | None = None
    reason: str | None = None


class FormField(Feature):
    """A field of the request, as the form needs it."""

    kind: str = "number"
    categories: tuple[str, ...] = ()
    category_labels: tuple[Text, ...] = ()
    flag: bool = False
    personal: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers make sense."""
        return self.kind == "integer"

    def label(self, category: str, language: str) -> str:
        """A category for people; itself where it has no label."""
        labels = dict(zip(self.categories, self.category_labels, strict=False))
        return labels[category](language) if category in labels else category


class Data(Answer):
    """Which data the served model saw; `origin` says where its rows are from, empty where it was not noted."""

    version: str
    rows: int
    rows_rejected: int = 0
    period: int | str | None = None
    origin: str = ""


class Target(Answer):
    """What a model answers."""

    name: str
    title: Text
    unit: Text | None = None


class Baseline(Answer):
    """What the model has to be compared with, scored on the same held-out rows."""

    name: str
    text: Text
    metric: str
    model: float | None = None
    spread: float | None = None
    baseline: float | None = None
    difference: float
    low: float
    high: float
    confidence: float
    verdict: str

    @property
    def better(self) -> bool:
        """Whether the model beats it beyond doubt."""
        return self.verdict == "better"

    @property
    def same(self) -> bool:
        """Whether what is served is the baseline itself."""
        return not self.better and self.low == self.high == 0


class Interval(Answer):
    """How the interval was made, and how many true values it held."""

    confidence: float
    coverage: float
    method: str = ""


class Bounds(Answer):
    """A class of the target; it holds `minimum` and does not hold `maximum`."""

    label: Text
    minimum: float | None = None
    maximum: float | None = None


class Tried(Answer):
    """A candidate of a supervised sweep."""

    name: str
    metrics: dict[str, float]
    admissible: bool
    reason: Text | None = None


class Fairness(Answer):
    """How a group fares, by held-out predictions."""

    feature: str
    value: str
    rows: int
    approval_rate: float
    actual_rate: float
    disparate_impact: float


class Trait(Answer):
    """How a segment differs from all rows in one feature."""

    feature: str
    category: str | None = None
    here: float
    overall: float
    effect: float


class Profile(Answer):
    """What a segment looks like."""

    cluster: int
    typical: dict[str, float | str]
    traits: tuple[Trait, ...] = ()


class Detail(Answer):
    """A declared model of any task and, when it has one, its champion."""

    name: str
    title: Text
    question: Text
    task: str
    data_source: Text
    features: tuple[FormField, ...]
    request_columns: tuple[RequestColumn, ...] = ()
    example: dict[str, Any] = Field(default_factory=dict)
    served: bool = False
    reason: str = ""
    model_version: str = ""
    data_version: str = ""
    trained_at: str = ""
    data: Data | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    features_used: tuple[str, ...] = ()
    features_left_out: tuple[LeftOut, ...] = ()
    target: Target | None = None
    winner: str = ""
    candidates: tuple[Tried, ...] = ()
    baseline: Baseline | None = None
    interval: Interval | None = None
    segments: tuple[Bounds, ...] = ()
    calibrated: bool | None = None
    fairness: tuple[Fairness, ...] = ()
    note: Text | None = None
    levels: tuple[Level, ...] = ()
    profiles: tuple[Profile, ...] = ()
    sweep: tuple[Candidate, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_champion(cls, answer: Any) -> Any:
        """Drops nulls: without a champion, the API answers null for all that only a champion has."""
        return {k: v for k, v in answer.items() if v is not None} if isinstance(answer, dict) else answer

    @property
    def ranked(self) -> bool:
        """Whether it is a clustering whose levels go from best to worst; segments only have sizes."""
        return bool(self.levels) and not self.profiles

    def feature(self, name: str) -> FormField | None:
        """The feature of that name; None for a name that the declaration does not know."""
        return next((feature for feature in self.features if feature.name == name), None)

    def column(self, name: str) -> RequestColumn | None:
        """The request's column of that name; None where there is none."""
        return next((column for column in self.request_columns if column.name == name), None)

    def titled(self, name: str, language: str) -> str:
        """The feature's title, or its name where it is not known."""
        feature = self.feature(name)
        return feature.title(language) if feature else name


class Ends(Answer):
    """An interval around an answer."""

    low: float
    high: float
    confidence: float
    coverage: float


class Reply(Answer):
    """What the answers of all tasks say of the model and of the row."""

    request_id: str = ""
    model_version: str
    data_version: str = ""
    out_of_training_range: tuple[str, ...] = ()
    filled_in: tuple[str, ...] = ()
    unseen_categories: tuple[str, ...] = ()
    baseline: Baseline | None = None


class Estimate(Reply):
    """A number in the target's unit."""

    value: float
    interval: Ends
    segment_label: Text | None = None
    segment_bounds: tuple[Bounds, ...] = ()


class Reason(Answer):
    """What spoke for or against."""

    kind: str
    feature: str | None = None
    effect: float | None = None
    text: Text


class Verdict(Reply):
    """Yes or no."""

    prediction: str
    yes: bool = Field(validation_alias=AliasChoices("is_approved", "prediction_code"))
    probability: float
    threshold: float
    calibrated: bool
    calibration: Text
    decided_by: str
    reasons: tuple[Reason, ...] = ()


class Forecast(Reply):
    """The next value of a series, beside the guess that the last one stays."""

    value: float
    interval: Ends
    naive_forecast: float
    direction: str
    as_of: str
    forecast_for: str
    source: str
    note: Text


class Group(Reply):
    """The segment, or the level, that a row belongs to."""

    cluster: int
    distance_to_center: float
    distinguishing: tuple[Trait, ...] = ()
    profile: dict[str, float | str] = Field(default_factory=dict)


REPLIES: dict[str, type[Reply]] = {
    "regression": Estimate,
    "classification": Verdict,
    "forecasting": Forecast,
    "clustering": Group,
}


class Decision(Answer):
    """What a run of the pipeline, or a person after it, led to."""

    decided_at: str | None = None
    outcome: str
    model_version: str | None = None
    champion: str | None = None
    rule: str | None = None
    reason: str | None = None
    reason_id: str | None = None
    data_version: str = ""
    asked_by: str | None = None

    def told(self, language: str) -> tuple[str, str]:
        """The reason in the run's own words, and the language that they are in."""
        return (self.reason_id, "id") if language == "id" and self.reason_id else (self.reason or "", "en")


class VersionLink(Answer):
    """The registered version that answers."""

    model_version: str
    aliases: tuple[str, ...] = ()
    registered_at: str | None = None
    fingerprint: str = ""


class RunLink(Answer):
    """The run that made it."""

    run_id: str = ""
    started_at: str | None = None
    seconds: float | None = None


class DataLink(Answer):
    """The snapshot it saw."""

    version: str
    dvc_md5: str = ""
    git_tag: str = ""
    git_commit: str = ""
    query: str = ""
    rows: int
    rows_rejected: int = 0


class CodeLink(Answer):
    """The code that trained it."""

    git_commit: str = ""


class Lineage(Answer):
    """From an answer back to the rows."""

    version: VersionLink
    run: RunLink
    data: DataLink
    code: CodeLink


@st.cache_data(ttl=2, show_spinner=False)
def entries() -> tuple[Entry, ...]:
    """All models of the catalogue, in its order.

    Raises:
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    try:
        return tuple(Entry.model_validate(entry) for entry in api.read(f"/{MODELS}")["models"])
    except (ValidationError, KeyError, TypeError) as error:
        raise ApiDownError(f"The API's list of models can't be read: {error}.") from error


def detail(name: str) -> Detail:
    """The model's declaration and champion.

    Raises:
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    return _detail(name, pulse())


def forget() -> None:
    """What the API serves is asked anew: this page has just changed it."""
    entries.clear()
    _detail.clear()
    api.model.clear()


@st.cache_data(ttl=2, show_spinner=False)
def _detail(name: str, pulse: str) -> Detail:  # noqa: ARG001 - see `api.model`
    try:
        return Detail.model_validate(api.read(f"/{MODELS}/{name}"))
    except ValidationError as error:
        raise ApiDownError(f"The API's answer about {name!r} can't be read: {error}.") from error


@st.cache_data(ttl=10, show_spinner=False)
def decisions(names: Sequence[str]) -> dict[str, tuple[Decision, ...] | None]:
    """What was decided on each model, newest first; None where the registry can't be asked just now."""
    paths = [f"/{MODELS}/{name}/decisions" for name in names]
    # Each asks the registry; one after another they would keep the page waiting.
    with ThreadPoolExecutor(max(len(paths), 1)) as pool:
        found = list(pool.map(api.fetcher(), paths))
    return {name: _decisions(response) for name, response in zip(names, found, strict=True)}


def _decisions(response: httpx.Response | None) -> tuple[Decision, ...] | None:
    if response is None or response.is_error:
        return None
    try:
        return tuple(Decision.model_validate(each) for each in response.json()["decisions"])
    except (ValueError, KeyError, TypeError):
        return None


@st.cache_data(ttl=30, show_spinner=False)
def lineage(name: str, model_version: str) -> Lineage | None:
    """Where the answers of `model_version` come from; None where the API can't tell just now."""
    response = api.fetcher()(f"/{MODELS}/{name}/lineage")
    if response is None or response.is_error:
        return None
    try:
        found = Lineage.model_validate(response.json())
    except ValueError:
        return None
    # A champion that changed meanwhile is told of when the page asks for it.
    return found if found.version.model_version == model_version else None


@st.cache_data(ttl=30, show_spinner=False)
def card(name: str, model_version: str) -> str:  # noqa: ARG001 - makes another champion another question
    """The model card of the champion, Markdown; empty where the API can't tell just now."""
    response = api.fetcher()(f"/{MODELS}/{name}/card")
    return "" if response is None or response.is_error else response.text


def ask(model: Detail, body: Mapping[str, Any]) -> Reply:
    """The model's answer.

    Raises:
        RejectedError: The API refused what was asked.
        ApiDownError: The API can't be reached, has no champion, or its answer can't be read.
    """
    answer = api.asked(model.name, body)
    target = model.target.name if model.target else ""
    value = answer.get(f"next_{target}" if model.task == "forecasting" else target)
    try:
        return REPLIES[model.task].model_validate({**answer, "value": value})
    except (ValidationError, KeyError) as error:
        raise ApiDownError(f"The API's answer of {model.name!r} can't be read: {error}.") from error


@st.cache_data(ttl=5, show_spinner=False)
def latest_forecast(_model: Detail, name: str, model_version: str) -> Forecast | None:  # noqa: ARG001 - the cache's key
    """The forecast from the newest values in the table; None where there is none just now."""
    try:
        answer = ask(_model, {})
    except (ApiDownError, RejectedError):
        return None
    return answer if isinstance(answer, Forecast) else None


def pulse() -> str:
    """What the API serves now, in one short text: it changes when a page should be drawn anew."""
    try:
        return " ".join(f"{entry.name}:{entry.model_version}:{entry.reason}" for entry in entries())
    except ApiDownError:
        return "down"
