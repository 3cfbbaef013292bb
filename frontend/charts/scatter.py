"""Members by two features, with the centres of the levels."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from frontend.api import Clusters, Feature, Member, Model
from frontend.charts import labels
from frontend.charts.frame import axis_title, base, hints, span
from frontend.palette import Surface, level_colors, level_symbols
from frontend.words import Words

# Pixels of the plain between the axes: its height, and its width on a phone and on a large screen.
HEIGHT, WIDTHS = 390, (300, 900)


def scatter_figure(
    model: Model,
    clusters: Clusters,
    axes: tuple[Feature, Feature],
    selected: str | None,
    surface: Surface,
    words: Words,
) -> go.Figure:
    """Members by two features, with the centre of each level where the model uses both."""
    horizontal, vertical = axes
    figure = base(surface, words, 490)
    colors, symbols = level_colors(len(model.levels)), level_symbols(len(model.levels))
    shown = [
        m
        for m in clusters.members
        if m.features.get(horizontal.name) is not None and m.features.get(vertical.name) is not None
    ]
    for level in model.levels:
        members = [m for m in shown if m.cluster == level.cluster]
        color = colors[level.cluster]
        if horizontal.name in level.center and vertical.name in level.center:
            center = level.center[horizontal.name], level.center[vertical.name]
            _spokes(figure, center, members, axes, color)
            told = [f"{words.number(v)} {f.unit(words.language)}" for v, f in zip(center, axes, strict=True)]
            figure.add_scatter(
                x=[center[0]],
                y=[center[1]],
                mode="markers",
                marker={"symbol": "cross-thin", "size": 18, "line": {"width": 4, "color": color}},
                hovertemplate="<br>".join([f"<b>{words('chart.center', level=level.label(words.language))}</b>", *told])
                + "<extra></extra>",
                showlegend=False,
            )
        figure.add_scatter(
            x=[m.features[horizontal.name] for m in members],
            y=[m.features[vertical.name] for m in members],
            mode="markers",
            marker={
                "symbol": symbols[level.cluster],
                "size": 12,
                "color": color,
                "line": {"color": surface.rim, "width": 0.8},
            },
            name=level.label(words.language),
            **hints(members, model, words),
        )
    figure.update_xaxes(title={"text": f"<b>{axis_title(horizontal, words)}</b>", "standoff": 12}, automargin=True)
    figure.update_yaxes(title={"text": f"<b>{axis_title(vertical, words)}</b>", "standoff": 12}, automargin=True)
    figure.update_layout(margin={"l": 8, "r": 12, "t": 30, "b": 8})
    ends: list[list[float]] = []
    for axis, feature in (("xaxis", horizontal), ("yaxis", vertical)):
        values = [v for m in shown if (v := m.features[feature.name]) is not None]
        reach = span(values) if values else [0.0, 1.0]
        # Better is always to the right and to the top, also where fewer is better.
        ends.append(reach[::-1] if feature.higher_is_better is False else reach)
        figure.layout[axis].range = ends[-1]
        figure.layout[axis].update(gridcolor=surface.line, zeroline=False, linecolor=surface.line, color=surface.muted)
    for member in shown:
        if member.entity == selected:
            _name_point(figure, member, shown, axes, ends, surface)
    figure.update_layout(
        clickmode="event+select",
        showlegend=True,
        legend={
            "orientation": "h",
            "y": 1.01,
            "yanchor": "bottom",
            "x": 0,
            "itemclick": False,
            "itemdoubleclick": False,
        },
    )
    return figure


def _spokes(
    figure: go.Figure,
    center: tuple[float, float],
    members: Sequence[Member],
    axes: tuple[Feature, Feature],
    color: str,
) -> None:
    x: list[float | None] = []
    y: list[float | None] = []
    for member in members:
        x += [center[0], member.features[axes[0].name], None]
        y += [center[1], member.features[axes[1].name], None]
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": color, "width": 1}, opacity=0.28, hoverinfo="skip", showlegend=False
    )


def _name_point(
    figure: go.Figure,
    member: Member,
    everyone: Sequence[Member],
    axes: tuple[Feature, Feature],
    ends: Sequence[Sequence[float]],
    surface: Surface,
) -> None:
    def spot(each: Member) -> tuple[float, float]:
        return each.features[axes[0].name] or 0.0, each.features[axes[1].name] or 0.0

    x, y = spot(member)
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"symbol": "circle-open", "size": 22, "color": surface.ink, "line": {"width": 2}},
        hoverinfo="skip",
        showlegend=False,
    )
    corners = (ends[0][0], ends[0][1], ends[1][0], ends[1][1])
    scales = [
        labels.Scale(width / (corners[1] - corners[0]), HEIGHT / (corners[3] - corners[2]), corners) for width in WIDTHS
    ]
    others = [spot(each) for each in everyone if each.entity != member.entity]
    labels.write(figure, (x, y), others, member.name, scales, surface)
