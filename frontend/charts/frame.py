"""What all charts share: the empty figure, the bar above it, and how a member or a feature is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from frontend.api import Feature, Member, Model
from frontend.palette import Surface
from frontend.words import Words

FONT = "Source Sans, sans-serif"
SERIF = "Source Serif, Georgia, serif"
NO_BAR = {"displayModeBar": False, "scrollZoom": False, "responsive": True}


def base(surface: Surface, words: Words, height: int | None) -> go.Figure:
    """A figure without axes of its own, in the theme's colours and the language's numbers.

    Args:
        surface: The theme's colours.
        words: The language.
        height: Pixels; None where the page's style decides.
    """
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


def mark_baseline(figure: go.Figure, score: float, surface: Surface, words: Words) -> None:
    """Draws the baseline's score as an upright dashed line with its name."""
    figure.add_vline(x=score, line={"color": surface.muted, "width": 1.5, "dash": "dash"}, layer="below")
    figure.add_annotation(
        x=score,
        y=1,
        yref="paper",
        yanchor="bottom",
        text=words("tried.baseline"),
        showarrow=False,
        font={"size": 12, "color": surface.muted},
    )


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


def hints(members: Sequence[Member], model: Model, words: Words, opacity: float = 1) -> dict[str, Any]:
    """What marks of members tell: their figures under the pointer, who it is at a click, after which none fades."""
    return {
        "unselected": {"marker": {"opacity": opacity}},
        "selected": {"marker": {"opacity": opacity}},
        "customdata": [[m.entity] for m in members],
        "text": [facts(m, model, words) for m in members],
        "hovertemplate": "%{text}<extra></extra>",
    }


def spread(widths: Sequence[float], surface: Surface) -> dict[str, Any]:
    """The whiskers of scores, each so wide on either side."""
    return {"array": list(widths), "color": surface.muted, "thickness": 1.5, "width": 4}


def axis_title(feature: Feature, words: Words) -> str:
    """The feature's title with its unit."""
    return f"{feature.title(words.language)} ({feature.unit(words.language)})"


def span(values: Sequence[float]) -> list[float]:
    """The ends of an axis that shows all values with a margin."""
    margin = (max(values) - min(values)) * 0.07 or 1.0
    return [min(values) - margin, max(values) + margin]


def channels(color: str) -> str:
    """Red, green and blue of `#RRGGBB`, as `rgba()` wants them."""
    return ",".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))
