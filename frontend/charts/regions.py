"""Indonesia with each province's area in its level's colour, where a file of boundaries is set."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from frontend.api import Clusters, Member, Model
from frontend.boundaries import Boundaries
from frontend.charts.coast import absent, ground, lines, placed, ring, spot
from frontend.charts.frame import facts, hints
from frontend.palette import Surface, level_colors, level_symbols
from frontend.words import Words


def regions_figure(
    model: Model, clusters: Clusters, selected: str | None, boundaries: Boundaries, surface: Surface, words: Words
) -> go.Figure:
    """Each member's area in its level's colour, and a small mark of its level's shape at its capital.

    Filled lines on plain axes: Plotly's own choropleth fetches its ground from the internet.
    """
    figure = ground(surface, words)
    colors, symbols = level_colors(len(model.levels)), level_symbols(len(model.levels))
    everyone = placed(clusters)
    for entity, fill in _fills(model, clusters, surface).items():
        if entity in boundaries.rings:
            on = entity == selected
            x, y = lines(boundaries.rings[entity])
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines",
                fill="toself",
                fillcolor=fill,
                line={"color": surface.ink if on else surface.card, "width": 2.2 if on else 0.7},
                hoverinfo="skip",
                name=f"area {entity}",
            )
    absent(figure, clusters, surface, words)
    for level in model.levels:
        members = [m for m in everyone if m.cluster == level.cluster]
        _clickable(figure, model, [m for m in members if m.entity in boundaries.inside], boundaries, words)
        figure.add_scatter(
            x=[spot(m)[0] for m in members],
            y=[spot(m)[1] for m in members],
            mode="markers",
            marker={
                "symbol": symbols[level.cluster],
                "size": 9,
                "color": colors[level.cluster],
                "line": {"color": surface.rim, "width": 1.2},
            },
            name=level.label(words.language),
            **hints(members, model, words),
        )
    for member in everyone:
        if member.entity == selected:
            ring(figure, member, everyone, surface)
    return figure


def _fills(model: Model, clusters: Clusters, surface: Surface) -> dict[str, str]:
    """The colour of each area; those without a level are as bare as paper."""
    colors = level_colors(len(model.levels))
    bare = {each.entity: surface.paper for each in clusters.not_assessed}
    return {**bare, **{member.entity: colors[member.cluster] for member in clusters.members}}


def _clickable(
    figure: go.Figure, model: Model, members: Sequence[Member], boundaries: Boundaries, words: Words
) -> None:
    """Unseen points inside the areas: Plotly tells of clicks on points, not on areas."""
    points = [(m, point) for m in members for point in boundaries.inside[m.entity]]
    text = {m.entity: facts(m, model, words) for m in members}
    figure.add_scatter(
        x=[point[0] for _, point in points],
        y=[point[1] for _, point in points],
        mode="markers",
        marker={"size": 12, "opacity": 0},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        customdata=[[m.entity] for m, _ in points],
        text=[text[m.entity] for m, _ in points],
        hovertemplate="%{text}<extra></extra>",
    )
