"""Where the name of the chosen mark stands, so that it covers no other mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from frontend.palette import Surface

# Pixels: of a letter, of half a label's height, of half a mark, of half the ring around the chosen one.
LETTER, HALF_HEIGHT, MARK, RING = 7.4, 13.0, 9.0, 14.0
# Further away a line leads from the mark to its name.
NEAR, FAR = (0.0,), (22.0, 44.0, 70.0, 100.0)


@dataclass(frozen=True)
class Scale:
    """A size at which a chart is seen: pixels a unit of each axis (negative where an axis is turned), and its ends."""

    x: float
    y: float
    ends: tuple[float, float, float, float]


def offset(
    at: tuple[float, float], others: Sequence[tuple[float, float]], name: str, scales: Sequence[Scale]
) -> tuple[float, float]:
    """Pixels to the right and up from the mark to the middle of its name.

    Of the places around the mark it is the nearest that covers no other mark and stays inside, at all sizes; the one
    that covers fewest where there is none.

    Args:
        at: The mark, in the axes' units.
        others: The other marks.
        name: What is written.
        scales: The sizes at which the chart is seen.
    """
    half = len(name) * LETTER / 2 + 6
    places = [place for extra in (*NEAR, *FAR) for place in _around(half, extra)]
    covered = [sum(_faults(place, half, at, others, scale) for scale in scales) for place in places]
    return places[covered.index(min(covered))]


def _around(half: float, extra: float) -> list[tuple[float, float]]:
    beside, above = RING + half + 2 + extra, RING + HALF_HEIGHT + extra
    slant = half * 0.8
    return [
        (0, above),
        (0, -above),
        (beside, 0),
        (-beside, 0),
        (slant, above),
        (-slant, above),
        (slant, -above),
        (-slant, -above),
        (beside, above),
        (-beside, above),
        (beside, -above),
        (-beside, -above),
    ]


def _faults(
    place: tuple[float, float],
    half: float,
    at: tuple[float, float],
    others: Sequence[tuple[float, float]],
    scale: Scale,
) -> float:
    hidden = sum(
        abs((x - at[0]) * scale.x - place[0]) < half + MARK
        and abs((y - at[1]) * scale.y - place[1]) < HALF_HEIGHT + MARK
        for x, y in others
    )
    west, east, south, north = scale.ends
    across = sorted(((west - at[0]) * scale.x, (east - at[0]) * scale.x))
    along = sorted(((south - at[1]) * scale.y, (north - at[1]) * scale.y))
    outside = not (
        across[0] < place[0] - half
        and place[0] + half < across[1]
        and along[0] < place[1] - HALF_HEIGHT
        and place[1] + HALF_HEIGHT < along[1]
    )
    return hidden + 100.0 * outside


def write(
    figure: go.Figure,
    at: tuple[float, float],
    others: Sequence[tuple[float, float]],
    name: str,
    scales: Sequence[Scale],
    surface: Surface,
) -> None:
    """Puts a mark's name into the figure, with a line to it where it stands further away."""
    right, up = offset(at, others, name, scales)
    figure.add_annotation(
        x=at[0],
        y=at[1],
        ax=right,
        ay=-up,
        text=f"<b>{name}</b>",
        showarrow=True,
        arrowhead=0,
        arrowwidth=1,
        arrowcolor=surface.ink,
        standoff=RING,
        font={"size": 13, "color": surface.ink},
        bgcolor=surface.card,
        bordercolor=surface.line,
        borderpad=3,
    )
