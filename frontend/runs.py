"""The pipeline's runs as the API tells them: candidates, decisions with their numbers, data profiles, and origins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import streamlit as st
from pydantic import Field

from frontend import api
from frontend.api import Answer, ApiDownError, Text
from frontend.catalogue import MODELS, Decision, Lineage

A = TypeVar("A", bound=Answer)


class Pages(Answer):
    """Where a browser finds the tools behind; None where nobody said."""

    mlflow: str | None = None
    mage: str | None = None


class Run(Answer):
    """A run of the pipeline in a line."""

    run_id: str
    name: str
    outcome: str
    started_at: str
    seconds: float | None = None
    model_version: str | None = None
    winner: str | None = None
    rule: str | None = None
    reason: str | None = None
    reason_id: str | None = None
    data_version: str = ""
    data_md5: str = ""
    git_commit: str = ""
    lock_sha256: str = ""
    score: float | None = None
    spread: float | None = None
    baseline: float | None = None
    page: str | None = None

    def told(self, language: str) -> tuple[str, str]:
        """The reason in the run's own words, and the language that they are in."""
        return (self.reason_id, "id") if language == "id" and self.reason_id else (self.reason or "", "en")


class Runs(Answer):
    """All runs of a model, newest first."""

    model: str
    task: str
    metric: str
    less_is_better: bool
    pages: Pages = Pages()
    runs: tuple[Run, ...] = ()


class Trial(Answer):
    """A candidate of a sweep."""

    run_id: str
    name: str
    params: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    seconds: float | None = None
    chosen: bool = False
    admissible: bool | None = None
    reason: Text | None = None

    @property
    def clusters(self) -> int | None:
        """How many clusters it makes; None of what makes none."""
        text = self.params.get("n_clusters", "")
        return int(text) if text.isdecimal() else None


class Tried(Run):
    """A run with its sweep."""

    model: str
    task: str
    metric: str
    less_is_better: bool
    params: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    candidates: tuple[Trial, ...] = ()


class Comparison(Answer):
    """Challenger and champion on the same rows."""

    rows: int
    challenger: float
    champion: float
    difference: float
    low: float
    high: float
    confidence: float = 0.95
    metric: str = "silhouette"
    minimum_effect: float | None = None

    @property
    def same(self) -> bool:
        """Whether both came out the same, whatever rows are drawn."""
        return self.difference == self.low == self.high == 0


class Headline(Answer):
    """The score that a decision was taken on."""

    metric: str
    score: float | None = None
    spread: float | None = None
    baseline: float | None = None
    ties: bool = False


class Record(Answer):
    """What the gate wrote down."""

    comparison: Comparison | None = None
    minimum_effect: float | None = None
    score: Headline | None = None
    champion_before: str | None = None


class Judged(Decision):
    """A decision with its numbers."""

    run_id: str = ""
    mode: str | None = None
    record: Record | None = None


class Origin(Answer):
    """Which version answered a request."""

    request_id: str
    at: str
    model_version: str


class Column(Answer):
    """A column of a snapshot."""

    name: str
    kind: str
    role: str
    missing: int
    missing_share: float
    distinct: int
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    quantiles: dict[str, float] = Field(default_factory=dict)
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    top: dict[str, int] = Field(default_factory=dict)


class ColumnChange(Answer):
    """How a column differs from the version before."""

    name: str
    missing_share: float
    median: float | None = None
    psi: float | None = None


class Changes(Answer):
    """What is different from the version before."""

    against: str
    rows_before: int
    added: int
    removed: int
    changed: int
    columns: tuple[ColumnChange, ...] = ()


class Profile(Answer):
    """What is in a snapshot."""

    version: str
    rows: int
    rejected: int = 0
    origin: str = ""
    duplicates: int = 0
    columns: tuple[Column, ...] = ()
    changes: Changes | None = None


@st.cache_data(ttl=10, show_spinner=False)
def runs(model: str) -> Runs | None:
    """The model's runs; None where the registry can't be asked just now."""
    return _asked(f"/{MODELS}/{model}/runs", Runs)


@st.cache_data(ttl=30, show_spinner=False)
def run(model: str, run_id: str) -> Tried | None:
    """A run with its candidates; None where it can't be told just now."""
    return _asked(f"/{MODELS}/{model}/runs/{quote(run_id, safe='')}", Tried)


@st.cache_data(ttl=300, show_spinner=False)
def profile(model: str, run_id: str) -> Profile | None:
    """The profile of a run's data; None where there is none, or it can't be told just now."""
    return _asked(f"/{MODELS}/{model}/runs/{quote(run_id, safe='')}/profile", Profile)


@st.cache_data(ttl=10, show_spinner=False)
def judged(model: str) -> tuple[Judged, ...] | None:
    """What was decided on a model, newest first, with its numbers; None where it can't be told just now."""
    answer = _answered(f"/{MODELS}/{model}/decisions")
    if answer is None:
        return None
    return tuple(Judged.model_validate(each) for each in answer.get("decisions", ()))


@st.cache_data(ttl=30, show_spinner=False)
def lineage(model: str, model_version: str) -> Lineage | None:
    """Where the answers of a version come from; None where it can't be told just now."""
    return _asked(f"/{MODELS}/{model}/lineage?version={quote(model_version, safe='')}", Lineage)


@st.cache_data(ttl=60, show_spinner=False)
def card(model: str, model_version: str) -> str:
    """The model card of a version, Markdown; empty where it can't be told just now."""
    response = api.fetcher()(f"/{MODELS}/{model}/card?version={quote(model_version, safe='')}")
    return "" if response is None or response.is_error else response.text


@st.cache_data(ttl=3, show_spinner=False)
def origins(models: tuple[str, ...], request_id: str) -> tuple[str, Origin] | str:
    """The model and version that answered a request, or why that can't be told: `nothing`, `access`, `unavailable`.

    Raises:
        ApiDownError: The API can't be reached.
    """
    fetch = api.fetcher()
    for model in models:
        response = fetch(f"/{MODELS}/{model}/predictions/{quote(request_id, safe='')}/origin")
        if response is None:
            raise ApiDownError("The API can't be reached.")
        if response.is_success:
            return model, Origin.model_validate(response.json())
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return "access"
        if response.status_code != httpx.codes.NOT_FOUND:
            return "unavailable"
    return "nothing"


def short(commit: str) -> str:
    """A hash as people quote it."""
    return commit[:10]


def varied(trials: Iterable[Trial]) -> dict[str, list[str]]:
    """Parameters that are not the same in all candidates, with each candidate's value; empty text where it has none."""
    listed = list(trials)
    names = dict.fromkeys(name for each in listed for name in each.params)
    values = {name: [each.params.get(name, "") for each in listed] for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def measured(trials: Iterable[Trial]) -> list[str]:
    """Metrics that differ among the candidates, without spreads and baselines, in the order they were written."""
    listed = list(trials)
    names = dict.fromkeys(name for each in listed for name in each.metrics)
    return [
        name
        for name in names
        if not name.endswith(("_sd", "_low", "_high", "_shuffled"))
        and not name.startswith(("baseline_", "naive_", "nested_"))
        and len({each.metrics.get(name) for each in listed}) > 1
    ]


def _asked(path: str, kind: type[A]) -> A | None:
    answer = _answered(path)
    return None if answer is None else kind.model_validate(answer)


def _answered(path: str) -> Mapping[str, Any] | None:
    """What the API answers; None where it has no such thing or its registry is away.

    Raises:
        ApiDownError: It can't be reached, or answers nonsense.
    """
    response = api.fetcher()(path)
    if response is None:
        raise ApiDownError("The API can't be reached.")
    if response.is_error:
        return None
    try:
        answer: Mapping[str, Any] = response.json()
    except ValueError as error:
        raise ApiDownError(f"The API's answer to {path} can't be read.") from error
    return answer
