"""The provinces as tiles of one size, arranged to resemble the archipelago."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import plotly.graph_objects as go
import yaml

from frontend.api import Clusters, Model
from frontend.charts.coast import GEOGRAPHY
from frontend.charts.frame import base, facts
from frontend.palette import Surface, glyphs, ink_on, level_colors
from frontend.words import Words

# Share of its cell that a tile fills.
SIDE = 0.93


@lru_cache
def tile_places() -> Mapping[str, tuple[int, int, str, str]]:
    """Row, column, ISO code and short name of each province's tile."""
    places: dict[str, list[int | str]] = yaml.safe_load((GEOGRAPHY / "tiles.yaml").read_text())
    return {k: (int(v[0]), int(v[1]), str(v[2]), str(v[3])) for k, v in places.items()}


def has_tiles(clusters: Clusters) -> bool:
    """Whether every member has its place on the grid."""
    return all(member.entity in tile_places() for member in clusters.members)


def tiles_figure(model: Model, clusters: Clusters, selected: str | None, surface: Surface, words: Words) -> go.Figure:
    """A tile a member with its level's colour and shape, its code and its short name.

    Tiles are bars, since bars grow with the chart and can be chosen by a click.
    """
    figure = base(surface, words, None)
    colors, marks = level_colors(len(model.levels)), glyphs(len(model.levels))
    for level in model.levels:
        members = [m for m in clusters.members if m.cluster == level.cluster]
        ink = ink_on(colors[level.cluster])
        _tiles(
            figure,
            [m.entity for m in members],
            [marks[level.cluster]] * len(members),
            {"color": colors[level.cluster], "line": {"width": 0}},
            ink,
        )
        figure.data[-1].update(
            customdata=[[m.entity] for m in members],
            hovertext=[facts(m, model, words) for m in members],
            hovertemplate="%{hovertext}<extra></extra>",
            name=level.label(words.language),
        )
    absent = [each for each in clusters.not_assessed if each.entity in tile_places()]
    if absent:
        edge = {"color": surface.paper, "line": {"width": 1, "color": surface.muted}}
        _tiles(figure, [each.entity for each in absent], ["–"] * len(absent), edge, surface.muted)
        figure.data[-1].update(
            hovertext=[f"<b>{each.name}</b><br>{each.reason(words.language)}" for each in absent],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    if selected is not None and selected in tile_places():
        row, column = tile_places()[selected][:2]
        edges = {"x0": column - 0.5, "x1": column + 0.5, "y0": -row - 0.5, "y1": -row + 0.5}
        figure.add_shape(type="rect", **edges, line={"color": surface.ink, "width": 3}, layer="above")
    rows = max(place[0] for place in tile_places().values())
    columns = max(place[1] for place in tile_places().values())
    figure.update_xaxes(range=[-0.56, columns + 0.56], visible=False, fixedrange=True)
    figure.update_yaxes(range=[-rows - 0.56, 0.56], visible=False, fixedrange=True)
    figure.update_layout(clickmode="event+select", barmode="overlay", bargap=0)
    return figure


def _tiles(figure: go.Figure, entities: list[str], marks: list[str], marker: Mapping[str, object], ink: str) -> None:
    places = [tile_places()[entity] for entity in entities]
    figure.add_bar(
        x=[place[1] for place in places],
        base=[-place[0] - SIDE / 2 for place in places],
        y=[SIDE] * len(places),
        width=SIDE,
        marker={**marker, "cornerradius": 5},
        text=[f"<b>{mark} {place[2]}</b><br>{place[3]}" for mark, place in zip(marks, places, strict=True)],
        textposition="inside",
        insidetextanchor="middle",
        insidetextfont={"color": ink, "size": 14},
        textangle=0,
        unselected={"marker": {"opacity": 1}},
        selected={"marker": {"opacity": 1}},
    )
