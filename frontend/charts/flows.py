"""How many went from which level to which: a Sankey diagram."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go

from frontend.api import Level, Move
from frontend.charts.frame import base, channels
from frontend.palette import Surface, glyphs, level_colors
from frontend.words import Words


def flows_figure(
    levels: Sequence[Level], moves: Sequence[Move], ends: tuple[str, str], surface: Surface, words: Words
) -> go.Figure:
    """Bands from the levels before, on the left, to those after; what a change of borders caused is grey.

    Args:
        levels: The served model's; both ends are judged by it.
        moves: One a member.
        ends: What stands above the left and the right side.
        surface: The theme's colours.
        words: The language.
    """
    figure = base(surface, words, 430)
    bands: dict[tuple[int | None, int | None, bool], list[str]] = defaultdict(list)
    for move in moves:
        bands[move.before, move.after, move.kind == "break"].append(move.name)
    sides = [sorted({key[end] for key in bands}, key=lambda rank: (rank is None, rank)) for end in (0, 1)]
    nodes = {(end, rank): number for number, (end, rank) in enumerate((e, r) for e in (0, 1) for r in sides[e])}
    colors, marks = level_colors(len(levels)), glyphs(len(levels))

    def called(rank: int | None) -> str:
        if rank is None or rank >= len(levels):
            return words("edu.moved.unassessed")
        return f"{marks[rank]} {levels[rank].label(words.language)}"

    def painted(rank: int | None) -> str:
        return surface.coast if rank is None or rank >= len(levels) else colors[rank]

    size = {node: sum(len(names) for key, names in bands.items() if key[node[0]] == node[1]) for node in nodes}
    ordered = sorted(bands, key=lambda key: (key[0] is None, key[0], key[1] is None, key[1], key[2]))
    figure.add_sankey(
        arrangement="snap",
        node={
            "label": [f"{called(rank)} · {size[end, rank]}" for end, rank in nodes],
            "color": [painted(rank) for _, rank in nodes],
            "x": [0.001 if end == 0 else 0.999 for end, _ in nodes],
            "y": _heights(size),
            "line": {"width": 0},
            "pad": 22,
            "thickness": 18,
            "hovertemplate": "%{label}<extra></extra>",
        },
        link={
            "source": [nodes[0, key[0]] for key in ordered],
            "target": [nodes[1, key[1]] for key in ordered],
            "value": [len(bands[key]) for key in ordered],
            "color": [
                f"rgba({channels(surface.muted if key[2] or key[0] is None else painted(key[1]))},"
                f"{0.22 if key[0] == key[1] else 0.35 if key[2] or key[0] is None else 0.6})"
                for key in ordered
            ],
            "customdata": [_told(key, bands[key], called, words) for key in ordered],
            "hovertemplate": "%{customdata}<extra></extra>",
        },
        textfont={"color": surface.ink, "size": 13, "shadow": "none"},
    )
    for end, (x, anchor) in enumerate(((0, "left"), (1, "right"))):
        figure.add_annotation(
            x=x,
            y=1,
            xref="paper",
            yref="paper",
            xanchor=anchor,
            yanchor="bottom",
            yshift=6,
            text=f"<b>{ends[end]}</b>",
            showarrow=False,
            font={"size": 13, "color": surface.ink},
        )
    figure.update_layout(margin={"l": 4, "r": 4, "t": 34, "b": 14})
    return figure


def _heights(size: Mapping[tuple[int, int | None], int]) -> list[float]:
    """The middle of each node between top and bottom, so that the best level stays on top on both sides."""
    heights = []
    above = [0.0, 0.0]
    whole = [sum(count for (side, _), count in size.items() if side == end) for end in (0, 1)]
    for (end, _), count in size.items():
        heights.append((above[end] + count / 2) / whole[end])
        above[end] += count
    return heights


def _told(
    key: tuple[int | None, int | None, bool], names: Sequence[str], called: Callable[[int | None], str], words: Words
) -> str:
    told = f"{called(key[0])} → {called(key[1])}: <b>{len(names)}</b>"
    if key[2]:
        told += f"<br><i>{words('moved.break')}</i>"
    rows = [", ".join(names[start : start + 4]) for start in range(0, len(names), 4)]
    return "<br>".join([told, *rows])
