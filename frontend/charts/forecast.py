"""From the last value to the forecast one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import plotly.graph_objects as go

from frontend.catalogue import Detail, Forecast
from frontend.charts.frame import base, channels
from frontend.palette import Surface
from frontend.words import Words


def forecast_figure(model: Detail, answer: Forecast, surface: Surface, words: Words) -> go.Figure:
    """From the last value to the next: the forecast with its interval, and the naive line that goes straight on."""
    figure = base(surface, words, 380)
    times = [answer.as_of, answer.forecast_for]
    last = answer.naive_forecast
    figure.add_scatter(
        x=[times[0], times[1], times[1], times[0]],
        y=[last, answer.interval.high, answer.interval.low, last],
        fill="toself",
        mode="lines",
        line={"width": 0},
        fillcolor=f"rgba({channels(surface.accent)},0.16)",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=times,
        y=[last, last],
        mode="lines+markers",
        line={"color": surface.muted, "width": 2, "dash": "dash"},
        marker={"size": [0, 11], "symbol": "diamond", "color": surface.muted},
        hovertemplate=f"{words('forecast.naive')}: %{{y:,.2f}}<extra></extra>",
    )
    figure.add_scatter(
        x=times,
        y=[last, answer.value],
        mode="lines+markers",
        line={"color": surface.accent, "width": 3},
        marker={"size": [11, 15], "color": surface.accent, "line": {"color": surface.card, "width": 2}},
        hovertemplate="%{x|%d-%m-%Y}: <b>%{y:,.2f}</b><extra></extra>",
    )
    for value, anchor in ((answer.interval.high, "bottom"), (answer.interval.low, "top")):
        figure.add_annotation(
            x=times[1],
            y=value,
            text=words.number(value, 0 if abs(value) >= 100 else 2),
            showarrow=False,
            xanchor="right",
            yanchor=anchor,
            font={"color": surface.muted, "size": 12},
        )
    figure.update_xaxes(
        tickvals=times,
        ticktext=[words.moment(moment) for moment in times],
        color=surface.ink,
        showgrid=False,
        fixedrange=True,
        range=_stretched(times),
    )
    figure.update_yaxes(
        gridcolor=surface.line,
        color=surface.muted,
        zeroline=False,
        fixedrange=True,
        automargin=True,
        tickformat=",",
        nticks=7,
    )
    if model.target and model.target.unit:
        figure.update_yaxes(title={"text": model.target.unit(words.language), "standoff": 10})
    figure.update_layout(margin={"l": 8, "r": 8, "t": 16, "b": 28})
    return figure


def _stretched(times: Sequence[str]) -> list[str]:
    """The two moments with room at both sides, for the marks and the labels."""
    start, end = (datetime.fromisoformat(moment) for moment in times)
    room = (end - start) * 0.22
    return [(start - room).isoformat(), (end + room).isoformat()]
