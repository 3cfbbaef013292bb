"""Members along each feature that decides the level."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frontend.api import Clusters, Feature, Level, Member, Model
from frontend.charts.frame import base, hints, span
from frontend.palette import Surface, level_colors, level_symbols
from frontend.words import Words


def strips_figure(model: Model, clusters: Clusters, selected: str | None, surface: Surface, words: Words) -> go.Figure:
    """A row for each feature that decides the level: every member as a mark, the levels' centres as bars."""
    features = model.used
    # Built on the empty figure: taking its layout over afterwards takes ten times as long.
    empty = base(surface, words, 158 * len(features))
    figure = make_subplots(rows=len(features), cols=1, vertical_spacing=0.44 / max(len(features), 1), figure=empty)
    colors, symbols = level_colors(len(model.levels)), level_symbols(len(model.levels))
    for row, feature in enumerate(features, start=1):
        values = [v for m in clusters.members if (v := m.features.get(feature.name)) is not None]
        for level in model.levels:
            _strip(figure, row, feature, level, clusters.members, (colors, symbols), model, words, surface)
        chosen = next((m for m in clusters.members if m.entity == selected), None)
        value = chosen.features.get(feature.name) if chosen else None
        if chosen and value is not None:
            lane = _lane(chosen.cluster, len(model.levels))
            figure.add_scatter(
                x=[value],
                y=[lane],
                mode="markers",
                marker={"symbol": "circle-open", "size": 19, "color": surface.ink, "line": {"width": 2}},
                hoverinfo="skip",
                row=row,
                col=1,
            )
            # Its number stands beside the title, where it hides nobody else's mark.
            figure.add_annotation(
                text=f"○ <b>{words.number(value)}</b>",
                xref="paper",
                x=1,
                xanchor="right",
                y=1.3,
                yref=f"y{row if row > 1 else ''} domain",
                showarrow=False,
                font={"size": 13, "color": surface.ink},
            )
        figure.add_annotation(
            text=f"<b>{feature.title(words.language)}</b>  <span style='color:{surface.muted}'>"
            f"{feature.unit(words.language)}</span>",
            xref="paper",
            x=0,
            xanchor="left",
            y=1.3,
            yref=f"y{row if row > 1 else ''} domain",
            showarrow=False,
            font={"size": 13, "color": surface.ink},
        )
        reach = span(values)
        figure.update_xaxes(
            range=reach[::-1] if feature.higher_is_better is False else reach,
            showgrid=False,
            zeroline=False,
            color=surface.muted,
            ticks="outside",
            tickcolor=surface.line,
            showline=True,
            linecolor=surface.line,
            nticks=7,
            fixedrange=True,
            row=row,
            col=1,
        )
        figure.update_yaxes(range=[-1.25, 1.25], visible=False, fixedrange=True, row=row, col=1)
    figure.update_layout(margin={"l": 6, "r": 6, "t": 30, "b": 26}, clickmode="event+select")
    return figure


def _lane(rank: int, count: int) -> float:
    """A lane a level, the best on top, so that marks of different levels don't hide each other."""
    return 0.8 - 1.6 * rank / (count - 1)


def _strip(
    figure: go.Figure,
    row: int,
    feature: Feature,
    level: Level,
    everyone: Sequence[Member],
    marks: tuple[tuple[str, ...], tuple[str, ...]],
    model: Model,
    words: Words,
    surface: Surface,
) -> None:
    members = [m for m in everyone if m.cluster == level.cluster and m.features.get(feature.name) is not None]
    lane = _lane(level.cluster, len(model.levels))
    color, symbol = marks[0][level.cluster], marks[1][level.cluster]
    figure.add_scatter(
        x=[m.features[feature.name] for m in members],
        y=[lane] * len(members),
        mode="markers",
        marker={
            "symbol": symbol,
            "size": 9,
            "color": color,
            "opacity": 0.75,
            "line": {"width": 0.6, "color": surface.rim},
        },
        **hints(members, model, words, opacity=0.75),
        row=row,
        col=1,
    )
    figure.add_scatter(
        x=[level.center[feature.name]],
        y=[lane],
        mode="markers",
        marker={"symbol": "line-ns", "size": 22, "line": {"width": 3.5, "color": color}},
        hovertemplate=f"{words('chart.center', level=level.label(words.language))}: "
        f"{words.number(level.center[feature.name])} {feature.unit(words.language)}<extra></extra>",
        row=row,
        col=1,
    )
