"""Sea, coastlines and the seas' names: the ground of every map, carried along so that none needs the internet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import plotly.graph_objects as go

from frontend.api import Clusters, Member
from frontend.charts import labels
from frontend.charts.frame import SERIF, base
from frontend.palette import Surface
from frontend.words import Words

GEOGRAPHY = Path(__file__).parent.parent / "geography"
# Degrees; the archipelago with a margin for marks at its ends.
WEST, EAST, SOUTH, NORTH = 94.3, 141.9, -11.4, 6.4
# Pixels: on a phone, where the map is swiped, and on a large screen.
WIDTHS = (664, 980)
# Where the seas' names stand: longitude, latitude.
SEAS = {
    "indian": (101.2, -8.6),
    "java": (110.9, -4.75),
    "banda": (126.3, -5.9),
    "pacific": (137.2, 3.6),
    "south_china": (108.6, 4.9),
}
MAP_BAR = {
    "displaylogo": False,
    "scrollZoom": False,
    "responsive": True,
    "modeBarButtons": [["zoomIn2d", "zoomOut2d", "pan2d", "resetScale2d"]],
}
LINES = tuple[list[float | None], list[float | None]]


def lines(rings: Sequence[Sequence[Sequence[float]]]) -> LINES:
    """Longitudes and latitudes of all rings, with a gap after each, so that one trace draws them."""
    x: list[float | None] = []
    y: list[float | None] = []
    for ring in rings:
        x += [point[0] for point in ring] + [None]
        y += [point[1] for point in ring] + [None]
    return x, y


@lru_cache
def _outline(which: str) -> LINES:
    return lines(json.loads((GEOGRAPHY / "coastlines.json").read_text())[which])


def ground(surface: Surface, words: Words) -> go.Figure:
    """The map without any member."""
    figure = base(surface, words, None)
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
    figure.update_xaxes(range=[WEST, EAST], visible=False, constrain="domain")
    figure.update_yaxes(range=[SOUTH, NORTH], visible=False, scaleanchor="x", scaleratio=1, constrain="domain")
    figure.update_layout(paper_bgcolor=surface.sea, clickmode="event+select")
    return figure


def placed(clusters: Clusters) -> list[Member]:
    """The members whose place is known."""
    return [m for m in clusters.members if m.place.lat is not None and m.place.lon is not None]


def spot(member: Member) -> tuple[float, float]:
    """Longitude and latitude of a member whose place is known."""
    return member.place.lon or 0.0, member.place.lat or 0.0


def absent(figure: go.Figure, clusters: Clusters, surface: Surface, words: Words) -> None:
    """Hollow marks for those without a level; the label says what they lack."""
    shown = [each for each in clusters.not_assessed if each.place.lat is not None and each.place.lon is not None]
    if shown:
        figure.add_scatter(
            x=[each.place.lon for each in shown],
            y=[each.place.lat for each in shown],
            mode="markers",
            marker={"symbol": "circle-open", "size": 12, "color": surface.muted, "line": {"width": 1.6}},
            text=[
                f"<b>{each.name}</b><br>{words('table.not_assessed')}<br>{each.reason(words.language)}"
                for each in shown
            ],
            hovertemplate="%{text}<extra></extra>",
            name="absent",
        )


def ring(figure: go.Figure, chosen: Member, everyone: Sequence[Member], surface: Surface) -> None:
    """A ring around the chosen member, and its name where it covers no other mark."""
    lon, lat = spot(chosen)
    figure.add_scatter(
        x=[lon],
        y=[lat],
        mode="markers",
        marker={"symbol": "circle-open", "size": 27, "color": surface.ink, "line": {"width": 2.2}},
        hoverinfo="skip",
        name="selected",
    )
    ends = (WEST, EAST, SOUTH, NORTH)
    scales = [labels.Scale(width / (EAST - WEST), width / (EAST - WEST), ends) for width in WIDTHS]
    others = [spot(each) for each in everyone if each.entity != chosen.entity]
    labels.write(figure, (lon, lat), others, chosen.name, scales, surface)
