"""How served models fare by what became of their predictions: asked of the API, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import plotly.graph_objects as go
import streamlit as st

from frontend import api
from frontend.api import Answer
from frontend.charts.frame import base, channels
from frontend.palette import Surface
from frontend.words import Words


class Metric(Answer):
    """One live metric beside what the version promised of it."""

    metric: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    promised: float | None = None
    promised_sd: float | None = None
    decisive: bool = False
    worse: bool = False
    judged: bool = True


class Bin(Answer):
    """Outcomes of predictions that were given about the same probability."""

    n: int
    probability: float
    share: float
    low: float
    high: float


class Version(Answer):
    """The newest live score of a version."""

    model_version: str
    window_from: str
    window_to: str
    alarm: bool = False
    metrics: tuple[Metric, ...] = ()
    reliability: tuple[Bin, ...] = ()
    confidence: float | None = None

    def metric(self, name: str) -> Metric | None:
        """The metric of that name, if it was computed."""
        return next((each for each in self.metrics if each.metric == name), None)

    @property
    def decisive(self) -> Metric | None:
        """The metric that an alarm is decided on."""
        return next((each for each in self.metrics if each.decisive), None)


class Performance(Answer):
    """How a model fares by what became of its predictions."""

    measurable: bool = True
    model_version: str | None = None
    alarm: bool = False
    outcomes: int = 0
    window_days: int = 0
    versions: tuple[Version, ...] = ()

    @property
    def served(self) -> Version | None:
        """The live score of the version that is served now."""
        return next((each for each in self.versions if each.model_version == self.model_version), None)


@st.cache_data(ttl=15, show_spinner=False)
def performances(names: Sequence[str]) -> dict[str, Performance | None]:
    """How each model fares; None where the API can't tell just now."""
    paths = [f"/models/{name}/performance" for name in names]
    with ThreadPoolExecutor(max(len(paths), 1)) as pool:
        found = list(pool.map(api.fetcher(), paths))
    return {name: _read(response) for name, response in zip(names, found, strict=True)}


def _read(response: httpx.Response | None) -> Performance | None:
    if response is None or response.is_error:
        return None
    try:
        return Performance.model_validate(response.json())
    except ValueError:
        return None


def reliability_figure(bins: Sequence[Bin], surface: Surface, words: Words) -> go.Figure:
    """Share that came true over the probability that was given, with intervals; on the diagonal they are the same."""
    figure = base(surface, words, 320)
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": surface.muted, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[each.probability for each in bins],
        y=[each.share for each in bins],
        mode="lines+markers",
        line={"color": f"rgba({channels(surface.accent)},0.45)", "width": 1.5},
        marker={"color": surface.accent, "size": 10, "line": {"color": surface.card, "width": 1.5}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.share for each in bins],
            "arrayminus": [each.share - each.low for each in bins],
            "color": surface.accent,
            "thickness": 1.5,
            "width": 4,
        },
        customdata=[[each.n] for each in bins],
        hovertemplate=words("live.bin") + "<extra></extra>",
    )
    for update, title in ((figure.update_xaxes, "live.given"), (figure.update_yaxes, "live.came")):
        update(
            title={"text": words(title), "standoff": 8},
            range=[-0.03, 1.03],
            tickformat=".0%",
            color=surface.muted,
            gridcolor=surface.line,
            zeroline=False,
            fixedrange=True,
            automargin=True,
        )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 10, "b": 8})
    return figure
