"""Charts: the map of Indonesia, features against each other, provinces along each feature, and the sweep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frontend.api import Candidate, Clusters, Feature, Level, Member, Model
from frontend.catalogue import Detail, Forecast
from frontend.palette import Surface, level_colors, level_symbols
from frontend.scores import SHARES, unit
from frontend.scores import name as metric_name
from frontend.words import Words

GEOGRAPHY = Path(__file__).parent / "geography"
# Degrees; the archipelago with a margin for marks at its ends.
WEST, EAST, SOUTH, NORTH = 94.3, 141.9, -11.4, 6.4
# Where the seas' names stand: longitude, latitude.
SEAS = {
    "indian": (101.2, -8.6),
    "java": (110.9, -4.75),
    "banda": (126.3, -5.9),
    "pacific": (137.2, 3.6),
    "south_china": (108.6, 4.9),
}
FONT = "Source Sans, sans-serif"
SERIF = "Source Serif, Georgia, serif"
NO_BAR = {"displayModeBar": False, "scrollZoom": False, "responsive": True}
MAP_BAR = {
    "displaylogo": False,
    "scrollZoom": False,
    "responsive": True,
    "modeBarButtons": [["zoomIn2d", "zoomOut2d", "pan2d", "resetScale2d"]],
}


@lru_cache
def _outline(which: str) -> tuple[list[float | None], list[float | None]]:
    """Longitudes and latitudes of all rings, with a gap after each, so that one trace draws them."""
    rings = json.loads((GEOGRAPHY / "coastlines.json").read_text())[which]
    x: list[float | None] = []
    y: list[float | None] = []
    for ring in rings:
        x += [point[0] for point in ring] + [None]
        y += [point[1] for point in ring] + [None]
    return x, y


def _base(surface: Surface, words: Words, height: int | None) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        separators=words.separators,
        showlegend=False,
        dragmode=False,
        font={"color": surface.ink, "size": 13, "family": FONT},
        hoverlabel={
            "bgcolor": surface.card,
            "bordercolor": surface.line,
            "font": {"color": surface.ink, "size": 13, "family": FONT},
        },
        uirevision="kept",
    )
    return figure


def facts(member: Member, model: Model, words: Words) -> str:
    """The member's figures as lines for a hover label."""
    level = model.levels[member.cluster]
    lines = [f"<b>{member.name}</b>", words("level.named", level=level.label(words.language))]
    for feature in model.features:
        value = member.features.get(feature.name)
        if value is not None:
            title, unit = feature.title(words.language), feature.unit(words.language)
            lines.append(f"{title}: <b>{words.number(value)}</b> {unit}")
    return "<br>".join(lines)


def map_figure(model: Model, clusters: Clusters, selected: str | None, surface: Surface, words: Words) -> go.Figure:
    """Indonesia with a mark for each member at its capital, coloured and shaped by level.

    The coastlines are carried with the dashboard, so that the map needs no internet.
    """
    figure = _base(surface, words, None)
    for which, fill, line in (
        ("neighbours", surface.neighbour, 0.0),
        ("indonesia", surface.land, 0.8),
    ):
        x, y = _outline(which)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            fill="toself",
            fillcolor=fill,
            line={"color": surface.coast, "width": line},
            hoverinfo="skip",
            name=which,
        )
    for name, (lon, lat) in SEAS.items():
        figure.add_annotation(
            x=lon,
            y=lat,
            text=f"<i>{words(f'sea.{name}')}</i>",
            showarrow=False,
            font={"size": 12, "color": surface.muted, "family": SERIF},
            opacity=0.75,
        )
    placed = [m for m in clusters.members if m.place.lat is not None and m.place.lon is not None]
    colors, symbols = level_colors(len(model.levels)), level_symbols(len(model.levels))
    # The worst last: where marks overlap, those who need attention lie on top.
    for level in model.levels:
        members = [m for m in placed if m.cluster == level.cluster]
        figure.add_scatter(
            x=[m.place.lon for m in members],
            y=[m.place.lat for m in members],
            mode="markers",
            marker={
                "symbol": symbols[level.cluster],
                "size": 14 if "triangle" not in symbols[level.cluster] else 16,
                "color": colors[level.cluster],
                "line": {"color": surface.rim, "width": 1.1},
                "opacity": 1,
            },
            unselected={"marker": {"opacity": 1}},
            selected={"marker": {"opacity": 1}},
            customdata=[[m.entity] for m in members],
            text=[facts(m, model, words) for m in members],
            hovertemplate="%{text}<extra></extra>",
            name=level.label(words.language),
        )
    for member in placed:
        if member.entity == selected:
            _ring(figure, member, surface)
    figure.update_xaxes(range=[WEST, EAST], visible=False, constrain="domain")
    figure.update_yaxes(range=[SOUTH, NORTH], visible=False, scaleanchor="x", scaleratio=1, constrain="domain")
    figure.update_layout(paper_bgcolor=surface.sea, clickmode="event+select")
    return figure


def _ring(figure: go.Figure, member: Member, surface: Surface) -> None:
    lon, lat = member.place.lon or 0.0, member.place.lat or 0.0
    figure.add_scatter(
        x=[lon],
        y=[lat],
        mode="markers",
        marker={"symbol": "circle-open", "size": 27, "color": surface.ink, "line": {"width": 2.2}},
        hoverinfo="skip",
        name="selected",
    )
    # To the side that has room: Java's label lies south of it, where it covers no other province's mark.
    west = lon > (WEST + EAST) / 2 + 12
    figure.add_annotation(
        x=lon,
        y=lat,
        text=f"<b>{member.name}</b>",
        showarrow=False,
        yshift=25 if lat > -5 else -25,
        xanchor="right" if west else "center" if lon > WEST + 6 else "left",
        font={"size": 13, "color": surface.ink},
        bgcolor=surface.card,
        bordercolor=surface.line,
        borderpad=3,
    )


def axis_title(feature: Feature, words: Words) -> str:
    """The feature's title with its unit."""
    return f"{feature.title(words.language)} ({feature.unit(words.language)})"


def _range(values: Sequence[float]) -> list[float]:
    margin = (max(values) - min(values)) * 0.07 or 1.0
    return [min(values) - margin, max(values) + margin]


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
    figure = _base(surface, words, 470)
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
            figure.add_scatter(
                x=[center[0]],
                y=[center[1]],
                mode="markers",
                marker={"symbol": "cross-thin", "size": 18, "line": {"width": 4, "color": color}},
                hovertemplate=f"<b>{words('chart.center', level=level.label(words.language))}</b><br>"
                f"%{{x:.2f}} · %{{y:.2f}}<extra></extra>",
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
            text=[facts(m, model, words) for m in members],
            hovertemplate="%{text}<extra></extra>",
            name=level.label(words.language),
        )
    for member in shown:
        if member.entity == selected:
            _name_point(figure, member, axes, surface)
    figure.update_xaxes(title={"text": f"<b>{axis_title(horizontal, words)}</b>", "standoff": 12}, automargin=True)
    figure.update_yaxes(title={"text": f"<b>{axis_title(vertical, words)}</b>", "standoff": 12}, automargin=True)
    figure.update_layout(margin={"l": 8, "r": 12, "t": 12, "b": 8})
    for axis, feature in (("xaxis", horizontal), ("yaxis", vertical)):
        values = [v for m in shown if (v := m.features[feature.name]) is not None]
        span = _range(values) if values else [0.0, 1.0]
        # Better is always to the right and to the top, also where fewer is better.
        figure.layout[axis].range = span[::-1] if feature.higher_is_better is False else span
        figure.layout[axis].update(gridcolor=surface.line, zeroline=False, linecolor=surface.line, color=surface.muted)
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
    figure.add_scatter(x=x, y=y, mode="lines", line={"color": color, "width": 1}, opacity=0.28, hoverinfo="skip")


def _name_point(figure: go.Figure, member: Member, axes: tuple[Feature, Feature], surface: Surface) -> None:
    x, y = member.features[axes[0].name], member.features[axes[1].name]
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"symbol": "circle-open", "size": 22, "color": surface.ink, "line": {"width": 2}},
        hoverinfo="skip",
    )
    figure.add_annotation(
        x=x,
        y=y,
        text=f"<b>{member.name}</b>",
        showarrow=False,
        yshift=23,
        bgcolor=surface.card,
        bordercolor=surface.line,
        borderpad=3,
    )


def strips_figure(model: Model, clusters: Clusters, selected: str | None, surface: Surface, words: Words) -> go.Figure:
    """A row for each feature that decides the level: every member as a mark, the levels' centres as bars."""
    features = model.used
    figure = make_subplots(rows=len(features), cols=1, vertical_spacing=0.44 / max(len(features), 1))
    figure.update_layout(_base(surface, words, 158 * len(features)).layout)
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
        span = _range(values)
        figure.update_xaxes(
            range=span[::-1] if feature.higher_is_better is False else span,
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
    figure.update_layout(margin={"l": 6, "r": 6, "t": 30, "b": 26})
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
        text=[facts(m, model, words) for m in members],
        hovertemplate="%{text}<extra></extra>",
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


def sweep_figure(
    sweep: Sequence[Candidate], chosen: int, surface: Surface, words: Words, label: str = "sweep.levels"
) -> go.Figure:
    """How well each number of levels separates the members; those that may not be chosen are hatched."""
    figure = _base(surface, words, 230)
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
    figure = _base(surface, words, 92 + 46 * max(len(tried), 1))
    figure.add_scatter(
        x=[each.metrics[metric] * scale for each in tried],
        y=[each.name.replace("_", " ") for each in tried],
        error_x={
            "array": [each.metrics.get(f"{metric}_sd", 0.0) * scale for each in tried],
            "color": surface.muted,
            "thickness": 1.5,
            "width": 4,
        },
        mode="markers",
        marker={
            "size": 13,
            "symbol": ["circle" if each.admissible else "x" for each in tried],
            "color": [surface.accent if each.name == model.winner else surface.coast for each in tried],
            "line": {"color": surface.rim, "width": 1},
        },
        hovertemplate="%{y}: <b>%{x:,.3~f}</b><extra></extra>",
    )
    for each in tried:
        # Above its mark: beside it, long names would leave a phone no room for the marks.
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=each.name.replace("_", " "),
            yshift=16,
            text=each.name.replace("_", " "),
            showarrow=False,
            font={"size": 12, "color": surface.ink if each.name == model.winner else surface.muted},
        )
    if beside is not None and beside.baseline is not None:
        figure.add_vline(x=beside.baseline * scale, line={"color": surface.muted, "width": 1.5, "dash": "dash"})
        figure.add_annotation(
            x=beside.baseline * scale,
            y=1,
            yref="paper",
            yanchor="bottom",
            text=words("tried.baseline"),
            showarrow=False,
            font={"size": 12, "color": surface.muted},
        )
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


def forecast_figure(model: Detail, answer: Forecast, surface: Surface, words: Words) -> go.Figure:
    """From the last value to the next: the forecast with its interval, and the naive line that goes straight on."""
    figure = _base(surface, words, 380)
    times = [answer.as_of, answer.forecast_for]
    last = answer.naive_forecast
    figure.add_scatter(
        x=[times[0], times[1], times[1], times[0]],
        y=[last, answer.interval.high, answer.interval.low, last],
        fill="toself",
        mode="lines",
        line={"width": 0},
        fillcolor=f"rgba({_red_green_blue(surface.accent)},0.16)",
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


def _red_green_blue(color: str) -> str:
    return ",".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))


def _stretched(times: Sequence[str]) -> list[str]:
    """The two moments with room at both sides, for the marks and the labels."""
    start, end = (datetime.fromisoformat(moment) for moment in times)
    room = (end - start) * 0.22
    return [(start - room).isoformat(), (end + room).isoformat()]


# For charts that have modules of their own.
base = _base
