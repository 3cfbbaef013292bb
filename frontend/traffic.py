"""How the API fares, as it tells itself: its health, and what happened in its last minutes; and charts of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st
from pydantic import Field, ValidationError

from frontend import api, charts
from frontend.api import Answer, ApiDownError
from frontend.catalogue import Decision
from frontend.palette import Surface, translucent
from frontend.words import Words

# Of a shorter period, the seconds are told too.
SHORT_SECONDS = 240.0


class Dependency(Answer):
    """A service behind the API."""

    status: str
    latency_ms: float | None = None
    fault: str | None = None


class ModelHealth(Answer):
    """How a model is served."""

    status: str
    model_version: str | None = None
    data_version: str | None = None
    held: str | None = None
    trained_at: str | None = None
    fault: str | None = None


class Health(Answer):
    """The API and what it depends on."""

    status: str
    workers: int = 1
    uptime_seconds: float = 0.0
    dependencies: dict[str, Dependency] = Field(default_factory=dict)
    models: dict[str, ModelHealth] = Field(default_factory=dict)


class Period(Answer):
    """The time that figures are of."""

    since: str
    until: str
    seconds: float


class Errors(Answer):
    """Refused or failed requests of one kind."""

    kind: str
    count: int


class Latency(Answer):
    """How long answers took."""

    count: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    longest_told_ms: float = 0.0


class Step(Answer):
    """One step of the period."""

    at: str
    seconds: float
    predictions: int
    reads: int
    refused: int
    failed: int
    p95_ms: float | None = None


class Answered(Answer):
    """Predictions by the version that answered."""

    model: str
    model_version: str
    count: int


class ShadowFigures(Answer):
    """A challenger that answers beside the champion, unseen."""

    model: str
    model_version: str
    same: int = 0
    other: int = 0
    refused: int = 0
    failed: int = 0
    skipped: int = 0
    mean_difference: float | None = None


class FailedPipeline(Answer):
    """A pipeline whose newest run failed."""

    pipeline: str
    failed_at: str


class Traffic(Answer):
    """What happened in a period that ends now."""

    period: Period
    workers: int = 1
    requests: dict[str, int] = Field(default_factory=dict)
    errors: tuple[Errors, ...] = ()
    latency: dict[str, Latency] = Field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    predictions: tuple[Answered, ...] = ()
    shadow: tuple[ShadowFigures, ...] = ()
    kept: int = 0
    dropped: int = 0
    failed_pipelines: tuple[FailedPipeline, ...] = ()

    def failed(self, kind: str) -> int:
        """How many requests met an error of that kind."""
        return sum(each.count for each in self.errors if each.kind == kind)


@st.cache_data(ttl=5, show_spinner=False)
def health() -> Health:
    """How the API is.

    Raises:
        ApiDownError: It can't be reached or its answer can't be read.
    """
    try:
        return Health.model_validate(api.read("/health"))
    except ValidationError as error:
        raise ApiDownError(f"The API's health can't be read: {error}.") from error


@st.cache_data(ttl=5, show_spinner=False)
def traffic(minutes: int) -> Traffic:
    """What happened in the last `minutes`.

    Raises:
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    try:
        return Traffic.model_validate(api.read(f"/monitoring?minutes={minutes}"))
    except ValidationError as error:
        raise ApiDownError(f"The API's figures can't be read: {error}.") from error


def requests_figure(found: Traffic, surface: Surface, words: Words) -> go.Figure:
    """Requests a second, step by step: those for predictions filled, all others as a line."""
    figure = _timeline(found, words, surface)
    times = [step.at for step in found.steps]
    figure.add_scatter(
        x=times,
        y=[step.predictions / step.seconds for step in found.steps],
        name=words("watch.predictions"),
        mode="lines",
        line={"color": surface.accent, "width": 2.5, "shape": "hv"},
        fill="tozeroy",
        fillcolor=translucent(surface.accent, 0.16),
        hovertemplate="%{x|%H:%M:%S} · %{y:.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=times,
        y=[step.reads / step.seconds for step in found.steps],
        name=words("watch.reads"),
        mode="lines",
        line={"color": surface.muted, "width": 1.5, "dash": "dot", "shape": "hv"},
        hovertemplate="%{x|%H:%M:%S} · %{y:.2f}<extra></extra>",
    )
    figure.update_yaxes(title={"text": words("watch.per_second"), "standoff": 6}, rangemode="tozero")
    return figure


def latency_figure(found: Traffic, surface: Surface, words: Words) -> go.Figure:
    """How long the slowest twentieth of predictions took at least, step by step."""
    figure = _timeline(found, words, surface)
    known = [step for step in found.steps if step.p95_ms is not None]
    figure.add_scatter(
        x=[step.at for step in known],
        y=[step.p95_ms for step in known],
        mode="lines+markers",
        line={"color": surface.accent, "width": 2},
        marker={"size": 6},
        hovertemplate="%{x|%H:%M:%S} · %{y:.1f} ms<extra></extra>",
        showlegend=False,
    )
    # Without a prediction there is no scale either, which the figure would make up.
    figure.update_yaxes(
        title={"text": words("watch.milliseconds"), "standoff": 6}, rangemode="tozero", showticklabels=bool(known)
    )
    return figure


def _timeline(found: Traffic, words: Words, surface: Surface) -> go.Figure:
    figure = charts.base(surface, words, 230)
    figure.update_xaxes(
        type="date",
        color=surface.muted,
        showgrid=False,
        fixedrange=True,
        nticks=5,
        # Of a short time, minutes alone would all be the same.
        tickformat="%H:%M" if found.period.seconds > SHORT_SECONDS else "%H:%M:%S",
        range=[found.period.since, found.period.until],
    )
    figure.update_yaxes(
        gridcolor=surface.line, zeroline=False, color=surface.muted, fixedrange=True, nticks=5, automargin=True
    )
    figure.update_layout(
        margin={"l": 8, "r": 8, "t": 30, "b": 24},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.16, "font": {"size": 12, "color": surface.ink}},
    )
    return figure


# Marks of what a training led to.
OUTCOMES = {"promoted": "diamond", "refused": "circle-open", "failed": "x", "running": "hourglass"}


def retrains_figure(
    decided: Mapping[str, Sequence[Decision]], titles: Mapping[str, str], surface: Surface, words: Words
) -> go.Figure:
    """Every training by when it ended, a row a model, marked by what it led to."""
    rows = [name for name, found in decided.items() if found][::-1]
    figure = charts.base(surface, words, 110 + 44 * max(len(rows), 1))
    for outcome, symbol in OUTCOMES.items():
        each = [(name, one) for name in rows for one in decided[name] if one.outcome == outcome and one.decided_at]
        figure.add_scatter(
            x=[one.decided_at for _, one in each],
            y=[titles.get(name, name) for name, _ in each],
            name=words(f"decided.{outcome}"),
            mode="markers",
            marker={
                "symbol": symbol,
                "size": 13,
                "color": surface.accent if outcome == "promoted" else surface.muted,
                "line": {"color": surface.ink, "width": 1.5 if outcome in ("refused", "failed") else 0.5},
            },
            hovertext=[
                f"<b>{titles.get(name, name)} {one.model_version or ''}</b><br>{words.moment(one.decided_at or '')}<br>"
                + words.get(f"rule.{one.rule}", words(f"decided.{outcome}"))
                for name, one in each
            ],
            hoverinfo="text",
            showlegend=bool(each),
        )
    # In figures, which read the same in both languages.
    figure.update_xaxes(
        color=surface.muted,
        gridcolor=surface.line,
        fixedrange=True,
        nticks=5,
        tickformat="%d-%m<br>%H:%M",
        tickangle=0,
    )
    figure.update_yaxes(color=surface.ink, gridcolor=surface.line, fixedrange=True, automargin=True)
    figure.update_layout(
        margin={"l": 8, "r": 8, "t": 34, "b": 46},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 12, "color": surface.ink}},
    )
    return figure
