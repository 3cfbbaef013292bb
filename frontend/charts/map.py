"""Indonesia with a mark for each member at its capital."""

from __future__ import annotations

import plotly.graph_objects as go

from frontend.api import Clusters, Model
from frontend.charts.coast import absent, ground, placed, ring, spot
from frontend.charts.frame import hints
from frontend.palette import Surface, level_colors, level_symbols
from frontend.words import Words


def map_figure(model: Model, clusters: Clusters, selected: str | None, surface: Surface, words: Words) -> go.Figure:
    """Indonesia with a mark for each member at its capital, coloured and shaped by level.

    The coastlines are carried with the dashboard, so that the map needs no internet.
    """
    figure = ground(surface, words)
    everyone = placed(clusters)
    absent(figure, clusters, surface, words)
    colors, symbols = level_colors(len(model.levels)), level_symbols(len(model.levels))
    # The worst last: where marks overlap, those who need attention lie on top.
    for level in model.levels:
        members = [m for m in everyone if m.cluster == level.cluster]
        figure.add_scatter(
            x=[spot(m)[0] for m in members],
            y=[spot(m)[1] for m in members],
            mode="markers",
            marker={
                "symbol": symbols[level.cluster],
                "size": 14 if "triangle" not in symbols[level.cluster] else 16,
                "color": colors[level.cluster],
                "line": {"color": surface.rim, "width": 1.1},
                "opacity": 1,
            },
            name=level.label(words.language),
            **hints(members, model, words),
        )
    for member in everyone:
        if member.entity == selected:
            ring(figure, member, everyone, surface)
    return figure
