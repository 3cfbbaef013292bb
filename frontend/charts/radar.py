"""One member against the centre of its own level and of the next better one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import plotly.graph_objects as go

from frontend.api import Clusters, Feature
from frontend.charts.frame import base, channels
from frontend.palette import Surface
from frontend.words import Words


@dataclass(frozen=True)
class Shape:
    """What is drawn as one line: its name, colour, figures by feature, and whether it is filled."""

    name: str
    color: str
    figures: Mapping[str, float | None]
    filled: bool = False
    dash: str = "solid"


def scaled(feature: Feature, value: float, clusters: Clusters) -> float:
    """The figure between 0, the worst seen in training, and 100, the best; also where fewer is better."""
    known = [v for m in clusters.members if (v := m.features.get(feature.name)) is not None]
    low, high = feature.training_range or (min(known, default=0.0), max(known, default=1.0))
    share = (value - low) / ((high - low) or 1.0)
    return 100 * min(max(1 - share if feature.higher_is_better is False else share, 0.0), 1.0)


def _wrapped(title: str) -> str:
    """The title in short lines, so that it fits beside its corner on a phone."""
    return "<br>".join(wrap(title, 15))


def radar_figure(
    features: Sequence[Feature], shapes: Sequence[Shape], clusters: Clusters, surface: Surface, words: Words
) -> go.Figure:
    """The shapes over the features, each scaled to 0 to 100 within what was seen in training; further out is better.

    Args:
        features: At least three.
        shapes: Drawn in this order.
        clusters: Their members stand in for a training range that is not known.
        surface: The theme's colours.
        words: The language.
    """
    figure = base(surface, words, 400)
    language = words.language
    titles = [_wrapped(f"{f.title(language)} ({f.unit(language)})") for f in features]
    for shape in shapes:
        values = [shape.figures.get(f.name) for f in features]
        at = [None if v is None else scaled(f, v, clusters) for f, v in zip(features, values, strict=True)]
        hover = [
            f"<b>{shape.name}</b><br>{f.title(language)}: <b>{words.number(v)}</b> {f.unit(language)}"
            for f, v in zip(features, values, strict=True)
        ]
        figure.add_scatterpolar(
            # The first once more: the line closes.
            r=[*at, at[0]],
            theta=[*titles, titles[0]],
            text=[*hover, hover[0]],
            hovertemplate="%{text}<extra></extra>",
            mode="lines+markers",
            line={"color": shape.color, "width": 3 if shape.filled else 2, "dash": shape.dash},
            marker={"size": 9 if shape.filled else 7, "color": shape.color},
            fill="toself" if shape.filled else "none",
            fillcolor=f"rgba({channels(shape.color)},0.16)",
            name=shape.name,
        )
    figure.update_layout(
        margin={"l": 84, "r": 84, "t": 54, "b": 12},
        showlegend=True,
        legend={"orientation": "h", "y": -0.08, "yanchor": "top", "x": 0.5, "xanchor": "center"},
        polar={
            "bgcolor": "rgba(0,0,0,0)",
            "radialaxis": {
                "range": [0, 100],
                "tickvals": [0, 25, 50, 75, 100],
                "ticktext": ["0", "", "50", "", "100"],
                "gridcolor": surface.line,
                "linecolor": surface.line,
                "tickfont": {"color": surface.muted, "size": 11},
                "angle": 90,
                "tickangle": 90,
            },
            "angularaxis": {
                "gridcolor": surface.line,
                "linecolor": surface.line,
                "rotation": 90,
                "direction": "clockwise",
            },
        },
    )
    return figure
