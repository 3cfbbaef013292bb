"""Charts of a sweep: how the candidates scored, along which parameters, and against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frontend import charts, scores
from frontend.axes import Axis, span, told
from frontend.palette import Surface, translucent
from frontend.runs import Trial, Tried, measured
from frontend.words import Words

# Marks that say without colour what a candidate is.
SYMBOLS = {"chosen": "diamond", "open": "circle", "refused": "x"}


def state(trial: Trial) -> str:
    """What became of a candidate: `chosen`, `open` (it might have been) or `refused`."""
    return "chosen" if trial.chosen else "refused" if trial.admissible is False else "open"


def color(trial: Trial, surface: Surface) -> str:
    """The colour of its mark."""
    return {"chosen": surface.accent, "open": surface.muted, "refused": surface.coast}[state(trial)]


def title(trial: Trial, words: Words) -> str:
    """The candidate's name for people."""
    return words("sweep.groups", k=trial.clusters) if trial.clusters else scores.candidate(trial.name, words)


def over_k(run: Tried, metric: str, surface: Surface, words: Words) -> go.Figure:
    """A score over the number of clusters, with the chosen one marked and, where measured, what chance would give."""
    trials = [each for each in run.candidates if each.clusters and metric in each.metrics]
    figure = charts.base(surface, words, 270)
    numbers = [each.clusters for each in trials]
    chance = [each.metrics.get(f"{metric}_shuffled") for each in trials]
    if trials and all(value is not None for value in chance):
        figure.add_scatter(
            x=numbers,
            y=chance,
            mode="lines",
            line={"color": surface.muted, "width": 1.5, "dash": "dot"},
            hovertemplate=f"{words('runs.by_chance')}: %{{y:.3f}}<extra></extra>",
        )
    figure.add_scatter(
        x=numbers,
        y=[each.metrics[metric] for each in trials],
        mode="lines+markers+text",
        line={"color": surface.coast, "width": 2},
        text=[told(metric, each.metrics[metric], words) for each in trials],
        textposition="top center",
        textfont={"size": 12, "color": surface.ink},
        cliponaxis=False,
        marker={
            "size": [15 if each.chosen else 10 for each in trials],
            "opacity": 1,
            "symbol": [SYMBOLS[state(each)] for each in trials],
            "color": [color(each, surface) for each in trials],
            "line": {"color": surface.rim, "width": 1},
        },
        hovertext=[hover(each, run, words) for each in trials],
        hoverinfo="text",
    )
    figure.update_xaxes(
        tickvals=numbers,
        title={"text": words("runs.k"), "standoff": 6},
        color=surface.ink,
        fixedrange=True,
        showgrid=False,
    )
    # Every mark has its value beside it.
    figure.update_yaxes(gridcolor=surface.line, zeroline=False, showticklabels=False, fixedrange=True, nticks=5)
    values = [each.metrics[metric] for each in trials] + [value for value in chance if value is not None]
    if values:
        room = (max(values) - min(values)) * 0.22 or 1.0
        figure.update_yaxes(range=[min(values) - room, max(values) + room])
    figure.update_layout(margin={"l": 14, "r": 14, "t": 16, "b": 52})
    return figure


def hover(trial: Trial, run: Tried, words: Words) -> str:
    """What is told of a candidate where the pointer stands on it."""
    lines = [f"<b>{title(trial, words)}</b>"]
    for name in [run.metric, *(each for each in measured(run.candidates) if each != run.metric)][:6]:
        if name in trial.metrics:
            spread = trial.metrics.get(f"{name}_sd")
            around = f" ± {scores.bare(name, spread, words, trial.metrics[name])}" if spread is not None else ""
            lines.append(f"{scores.name(name, words)}: {told(name, trial.metrics[name], words)}{around}")
    lines.append(words(f"runs.{state(trial)}"))
    if trial.reason is not None:
        lines.append(_folded(trial.reason(words.language)))
    return "<br>".join(lines)


def _folded(text: str) -> str:
    """A sentence in lines short enough for a hover label."""
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) > 46:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "<br>".join([*lines, line])


def ranked(run: Tried, unit: str, surface: Surface, words: Words) -> go.Figure:
    """Each candidate's score with its spread, the best on top, beside the baseline's as a line."""
    metric = run.metric
    scale = 100.0 if metric in scores.SHARES else 1.0
    trials = [each for each in run.candidates if metric in each.metrics]
    trials.sort(key=lambda each: each.metrics[metric], reverse=run.less_is_better)
    rows = list(range(len(trials)))
    figure = charts.base(surface, words, 96 + 46 * max(len(trials), 1))
    figure.add_scatter(
        x=[each.metrics[metric] * scale for each in trials],
        y=rows,
        error_x=charts.spread([each.metrics.get(f"{metric}_sd", 0.0) * scale for each in trials], surface),
        mode="markers",
        marker={
            "size": 13,
            "symbol": [SYMBOLS[state(each)] for each in trials],
            "color": [color(each, surface) for each in trials],
            "line": {"color": surface.rim, "width": 1},
        },
        hovertext=[hover(each, run, words) for each in trials],
        hoverinfo="text",
    )
    for row, each in zip(rows, trials, strict=True):
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=row,
            yshift=16,
            text=f"<b>{title(each, words)}</b>" if each.chosen else title(each, words),
            showarrow=False,
            font={"size": 12, "color": surface.ink if each.chosen else surface.muted},
            # The baseline's line passes behind the name, not through it.
            bgcolor=surface.paper,
            borderpad=1,
        )
    if run.baseline is not None:
        charts.mark_baseline(figure, run.baseline * scale, surface, words)
    figure.update_xaxes(
        gridcolor=surface.line,
        zeroline=False,
        color=surface.muted,
        fixedrange=True,
        nticks=6,
        tickformat=",.6~f",
        title={"text": f"{scores.name(metric, words)} ({unit})".replace(" ()", ""), "standoff": 8},
    )
    figure.update_yaxes(
        gridcolor=surface.line, showticklabels=False, tickvals=rows, fixedrange=True, range=[-0.6, len(trials) - 0.25]
    )
    figure.update_layout(margin={"l": 8, "r": 14, "t": 26, "b": 46})
    return figure


def parallel(run: Tried, shown: Sequence[Axis], surface: Surface, words: Words) -> go.Figure:
    """A line a candidate through the chosen parameters and metrics, each axis from its least to its greatest."""
    figure = charts.base(surface, words, 400)
    spans = [span(axis) for axis in shown]
    order = sorted(range(len(run.candidates)), key=lambda at: run.candidates[at].chosen)
    for at in order:
        each = run.candidates[at]
        places = [_share(axis.places[at], ends) for axis, ends in zip(shown, spans, strict=True)]
        values = "<br>".join(f"{axis.title}: {axis.texts[at]}" for axis in shown)
        figure.add_scatter(
            x=list(range(len(shown))),
            y=places,
            mode="lines+markers",
            line={
                "color": color(each, surface),
                "width": 4 if each.chosen else 1.8,
                "dash": "dot" if state(each) == "refused" else "solid",
            },
            marker={"size": 11 if each.chosen else 8, "symbol": SYMBOLS[state(each)]},
            hovertext=f"<b>{title(each, words)}</b><br>{values}",
            hoverinfo="text",
            name=title(each, words),
        )
    for at, (axis, ends) in enumerate(zip(shown, spans, strict=True)):
        figure.add_vline(x=at, line={"color": surface.line, "width": 1.5}, layer="below")
        for place, text in axis.ticks or [(end, _least(axis, end)) for end in ends]:
            figure.add_annotation(
                x=at,
                y=_share(place, ends),
                text=_wrapped(text, 18),
                showarrow=False,
                yshift=8,
                yanchor="bottom",
                bgcolor=translucent(surface.paper, 0.75),
                font={"size": 11, "color": surface.muted},
            )
    figure.update_xaxes(
        tickvals=list(range(len(shown))),
        ticktext=[_wrapped(axis.title) for axis in shown],
        color=surface.ink,
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        range=[-0.45, len(shown) - 0.55],
        tickangle=0,
    )
    figure.update_yaxes(visible=False, fixedrange=True, range=[-0.12, 1.22])
    figure.update_layout(margin={"l": 4, "r": 4, "t": 8, "b": 56})
    return figure


def _wrapped(text: str, width: int = 13) -> str:
    """A title in short lines, so that axes keep apart."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "<br>".join(lines)


def _least(axis: Axis, place: float) -> str:
    """The text of the candidate that stands at an end."""
    return next((text for text, at in zip(axis.texts, axis.places, strict=True) if at == place), "")


def _share(place: float | None, ends: tuple[float, float]) -> float | None:
    if place is None:
        # Without a value of its own, below all that have one.
        return -0.08
    return (place - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.5


def matrix(run: Tried, shown: Sequence[Axis], surface: Surface, words: Words) -> go.Figure:
    """Every pair of the chosen parameters and metrics against each other, a mark a candidate."""
    count = len(shown)
    empty = charts.base(surface, words, 110 + 150 * count)
    figure = make_subplots(rows=count, cols=count, horizontal_spacing=0.025, vertical_spacing=0.025, figure=empty)
    marker: dict[str, Any] = {
        "size": 10,
        "symbol": [SYMBOLS[state(each)] for each in run.candidates],
        "color": [color(each, surface) for each in run.candidates],
        "line": {"color": surface.rim, "width": 0.8},
    }
    look = {
        "gridcolor": surface.line,
        "color": surface.muted,
        "zeroline": False,
        "fixedrange": True,
        "nticks": 3,
        "showline": True,
        "linecolor": surface.line,
        "mirror": True,
        "tickformat": ",",
        "tickangle": 0,
    }
    for row, down in enumerate(shown, 1):
        for column, across in enumerate(shown, 1):
            at = {"row": row, "col": column}
            figure.update_xaxes(**look, showticklabels=row == count, range=_room(across), **at)
            figure.update_yaxes(**look, showticklabels=column == 1, range=_room(down), automargin=True, **at)
            # A figure against itself says nothing: its name stands there.
            same = row == column
            figure.add_scatter(
                x=across.places,
                y=down.places,
                mode="markers",
                opacity=0 if same else 1,
                marker=marker,
                hovertext=[
                    f"<b>{title(each, words)}</b><br>{across.title}: {a}<br>{down.title}: {d}"
                    for each, a, d in zip(run.candidates, across.texts, down.texts, strict=True)
                ],
                hoverinfo="skip" if same else "text",
                **at,
            )
            if same:
                figure.add_annotation(
                    text=f"<b>{_wrapped(down.title)}</b>",
                    xref="x domain",
                    yref="y domain",
                    x=0.5,
                    y=0.5,
                    showarrow=False,
                    font={"size": 12, "color": surface.ink},
                    **at,
                )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 30})
    return figure


def _room(axis: Axis) -> list[float]:
    low, high = span(axis)
    room = (high - low) * 0.15 or 1.0
    return [low - room, high + room]
