"""One province beside the centre of its own level and of the level above: a radar, and the figures it shows."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import charts, parts
from frontend.api import Clusters, Level, Member, Model
from frontend.charts.radar import Shape
from frontend.palette import level_colors
from frontend.words import Words

# Fewer features than these make no shape.
CORNERS = 3


def show(model: Model, clusters: Clusters, member: Member, words: Words) -> None:
    """Draws the radar and its table."""
    levels = [model.levels[rank] for rank in (member.cluster, member.cluster - 1) if rank >= 0]
    title = "edu.beside.title" if len(levels) > 1 else "edu.beside.title_top"
    labels = {"name": member.name, "own": levels[0].label(words.language), "next": levels[-1].label(words.language)}
    parts.html(f'<h2 class="sg-title">{escape(words(title, **labels))}</h2>')
    left, right = st.columns([5, 6], gap="large", vertical_alignment="center")
    if len(model.used) >= CORNERS:
        with left:
            st.plotly_chart(
                charts.radar_figure(
                    model.used, _shapes(model, levels, member, words), clusters, parts.surface(), words
                ),
                key="radar",
                theme=None,
                config=charts.NO_BAR,
                alt=words("edu.beside.alt", **labels),
            )
    with right:
        parts.html(_table(model, levels, member, words))
        parts.html(f'<p class="sg-small">{escape(words("edu.beside.note"))}</p>')


def _shapes(model: Model, levels: list[Level], member: Member, words: Words) -> list[Shape]:
    colors = level_colors(len(model.levels))
    centers = [
        Shape(
            words("chart.center", level=level.label(words.language)),
            colors[level.cluster],
            dict(level.center),
            dash="dash" if level.cluster == member.cluster else "solid",
        )
        for level in levels
    ]
    return [*centers, Shape(member.name, parts.surface().accent, member.features, filled=True)]


def _table(model: Model, levels: list[Level], member: Member, words: Words) -> str:
    heads = [words("edu.beside.figure"), member.name]
    heads += [words("chart.center", level=level.label(words.language)) for level in levels]
    if len(levels) > 1:
        heads.append(words("edu.beside.lacks"))
    rows = []
    for feature in model.used:
        value = member.features.get(feature.name)
        goal = levels[-1].center[feature.name]
        cells = [words.number(value), *(words.number(level.center[feature.name]) for level in levels)]
        if len(levels) > 1:
            cells.append(_lack(value, goal, fewer=feature.higher_is_better is False, words=words))
        rows.append(
            f'<tr><th scope="row">{escape(feature.title(words.language))} '
            f'<span class="sg-small">{escape(feature.unit(words.language))}</span></th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
        )
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    return f'<div class="sg-scroll"><table class="sg-table wide"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _lack(value: float | None, goal: float, *, fewer: bool, words: Words) -> str:
    if value is None:
        return words.number(None)
    change = goal - value
    # Already better than that centre: nothing is lacking.
    return (
        words("edu.beside.nothing") if (change >= 0 if fewer else change <= 0) else words.number(change, 2, sign=True)
    )
