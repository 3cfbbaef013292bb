"""What was tried in training, and how well it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from frontend.api import Candidate
from frontend.catalogue import Detail
from frontend.charts.frame import base, mark_baseline, spread
from frontend.palette import Surface
from frontend.scores import SHARES, candidate, score, unit
from frontend.scores import name as metric_name
from frontend.words import Words


def sweep_figure(
    sweep: Sequence[Candidate], chosen: int, surface: Surface, words: Words, label: str = "sweep.levels"
) -> go.Figure:
    """How well each number of levels separates the members; those that may not be chosen are hatched."""
    figure = base(surface, words, 230)
    bars: dict[str, Any] = {
        "color": [surface.accent if c.k == chosen else surface.coast for c in sweep],
        "pattern": {"shape": ["" if c.admissible else "/" for c in sweep], "fgcolor": surface.paper, "size": 6},
        "cornerradius": 3,
    }
    figure.add_bar(
        x=[words(label, k=c.k) for c in sweep],
        y=[c.metrics["silhouette"] for c in sweep],
        marker=bars,
        text=[words.number(c.metrics["silhouette"], 3) for c in sweep],
        textposition="outside",
        cliponaxis=False,
        hovertext=[
            words("sweep.hover", stability=words.number(c.metrics.get("stability"), 2))
            + (f"<br>{c.reason(words.language)}" if c.reason else "")
            for c in sweep
        ],
        hoverinfo="text",
    )
    figure.update_xaxes(color=surface.ink, fixedrange=True)
    figure.update_yaxes(visible=False, fixedrange=True, rangemode="tozero")
    figure.update_layout(margin={"t": 22, "b": 28}, bargap=0.45)
    return figure


def tried_figure(model: Detail, surface: Surface, words: Words) -> go.Figure:
    """Each candidate's score with its spread, the chosen one filled, beside the baseline's as a line."""
    beside = model.baseline
    metric = beside.metric if beside else ""
    tried = [each for each in model.candidates if metric in each.metrics][::-1]
    scale = 100.0 if metric in SHARES else 1.0
    figure = base(surface, words, 92 + 46 * max(len(tried), 1))
    figure.add_scatter(
        x=[each.metrics[metric] * scale for each in tried],
        y=[candidate(each.name, words) for each in tried],
        error_x=spread([each.metrics.get(f"{metric}_sd", 0.0) * scale for each in tried], surface),
        mode="markers",
        marker={
            "size": 13,
            "symbol": ["circle" if each.admissible else "x" for each in tried],
            "color": [surface.accent if each.name == model.winner else surface.coast for each in tried],
            "line": {"color": surface.rim, "width": 1},
        },
        # As the table beside it rounds.
        hovertext=[
            f"{candidate(each.name, words)}: <b>"
            f"{score(metric, each.metrics[metric], model, words, each.metrics.get(f'{metric}_sd'))}</b>"
            for each in tried
        ],
        hoverinfo="text",
    )
    for each in tried:
        # Above its mark: beside it, long names would leave a phone no room for the marks.
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=candidate(each.name, words),
            yshift=16,
            text=candidate(each.name, words),
            showarrow=False,
            font={"size": 12, "color": surface.ink if each.name == model.winner else surface.muted},
            # The baseline's line passes behind the name, not through it.
            bgcolor=surface.paper,
            borderpad=1,
        )
    if beside is not None and beside.baseline is not None:
        mark_baseline(figure, beside.baseline * scale, surface, words)
    figure.update_xaxes(
        gridcolor=surface.line,
        zeroline=False,
        color=surface.muted,
        fixedrange=True,
        nticks=6,
        tickformat=",.6~f",
        title={
            "text": f"{metric_name(metric, words)} ({unit(metric, model, words)})".replace(" ()", ""),
            "standoff": 8,
        },
    )
    figure.update_yaxes(gridcolor=surface.line, showticklabels=False, fixedrange=True)
    figure.update_layout(margin={"l": 8, "r": 14, "t": 26, "b": 46})
    return figure
