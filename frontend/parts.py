"""Pieces of pages as HTML: what Streamlit's own elements don't offer. Every text from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from frontend.api import Clusters, Feature, Member, Model, Moment
from frontend.palette import DARK, LIGHT, Surface, glyphs, ink_on, level_colors
from frontend.words import Words

if TYPE_CHECKING:
    from frontend.catalogue import Detail

HERE = Path(__file__).parent
# Below this share of the range between the extremes, two figures count as the same.
SAME = 0.005
# Origins of data that is not what Sigap brings along: the declared source is no longer theirs.
IMPORTED = ("mock", "import", "live", "own", "mixed")


def surface() -> Surface:
    """The colours of the theme that the reader's browser shows."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def html(body: str) -> None:
    """Shows a piece of HTML in the dashboard's style."""
    st.html(f'<div class="sg">{body}</div>')


def swipe(words: Words) -> None:
    """Says on a phone that what follows is wider than the screen."""
    html(f'<p class="sg-small sg-swipe">↔ {escape(words("pages.swipe"))}</p>')


def sources(model: Model | Detail, words: Words) -> str:
    """Where the figures are from: what the served data tells, else what was declared for what Sigap brings along."""
    origin = model.data.origin if model.data is not None else ""
    declared = model.data_source(words.language)
    return words(f"data.{origin}") if origin in IMPORTED else declared


def style() -> None:
    """Puts the style sheet and the theme's colours into the page."""
    names = ("ink", "muted", "line", "card", "paper", "accent")
    colors = "".join(f"--sg-{name}: {getattr(surface(), name)};" for name in names)
    st.html(f"<style>:root {{{colors}}}\n{(HERE / 'style.css').read_text()}</style>")


def paint(model: Model, rank: int) -> str:
    """The level's colour and the ink on it, as CSS variables."""
    color = level_colors(len(model.levels))[rank]
    return f"--c:{color};--i:{ink_on(color)}"


def chip(model: Model, rank: int, words: Words) -> str:
    """A level's name on its colour."""
    label = escape(model.levels[rank].label(words.language))
    return f'<span class="sg-chip" style="{paint(model, rank)}">{glyphs(len(model.levels))[rank]} {label}</span>'


def hero(model: Model, clusters: Clusters, selected: str | None, words: Words) -> str:
    """What the page found, in a sentence, and a square for each province."""
    best, worst = model.levels[0], model.levels[-1]
    period = model.data.period if model.data else ""
    finding = words(
        "hero.finding" if worst.size else "hero.finding_all",
        best=best.size,
        worst=worst.size,
        total=len(clusters.members),
        best_label=best.label(words.language),
        worst_label=worst.label(words.language),
    )
    eyebrow = words("hero.eyebrow", title=model.title(words.language), period=period)
    return (
        f'<section class="sg-hero"><p class="sg-eyebrow">{escape(eyebrow)}</p><h1>{escape(finding)}</h1>'
        f'<p class="sg-question">{escape(model.question(words.language))}</p>'
        f"{squares(model, clusters, selected, words)}</section>"
    )


def squares(model: Model, clusters: Clusters, selected: str | None, words: Words) -> str:
    """The levels side by side, with a square for each member."""
    groups = []
    for level in model.levels:
        boxes = "".join(
            f'<i title="{escape(m.name)}"{" class=on" if m.entity == selected else ""}></i>'
            for m in clusters.members
            if m.cluster == level.cluster
        )
        sizes = f"--n:{max(level.size, 3)};--size:{max(level.size, 1)}"
        groups.append(
            f'<div class="sg-group" style="{sizes};{paint(model, level.cluster)}">'
            f'<span class="sg-count">{level.size}</span>'
            f'<i class="sg-glyph">{glyphs(len(model.levels))[level.cluster]}</i> '
            f"<b>{escape(level.label(words.language))}</b>"
            f'<div class="sg-squares" aria-hidden="true">{boxes}</div></div>'
        )
    return f'<div class="sg-groups">{"".join(groups)}</div>'


def panel(model: Model, clusters: Clusters, member: Member, words: Words, news: str = "") -> str:
    """One province: its level, what is new, what holds it back, its other figures and its past."""
    language = words.language
    # Those at the best level are shown beside their own level's centre, all others beside the next better one.
    goal = model.levels[max(member.cluster - 1, 0)]
    label = goal.label(language)
    top = member.cluster == 0
    head, text = ("detail.best", "detail.best_text") if top else ("detail.holds", "detail.holds_text")
    rows = "".join(
        feature_row(feature, value, goal.center[feature.name], clusters, (model, member.cluster, goal.cluster), words)
        for feature in model.used
        if (value := member.features.get(feature.name)) is not None
    )
    capital = words("detail.capital", capital=member.place.ibukota) if member.place.ibukota else ""
    return (
        f'<section class="sg-panel"><header><h3>{escape(member.name)}</h3>{chip(model, member.cluster, words)}</header>'
        f'<p class="sg-small">{escape(capital)}</p>{news}'
        f"<h4>{escape(words(head))}</h4>"
        f'<p class="sg-small">{escape(words(text, level=label))}</p>'
        f"{rows}{_unused(model, member, words)}{_past(model, clusters, member, words)}</section>"
    )


def feature_row(
    feature: Feature,
    value: float,
    target: float,
    clusters: Clusters,
    ranks: tuple[Model, int, int],
    words: Words,
) -> str:
    """One figure beside the centre it is measured by: the number, what is lacking, and both on a line."""
    model, own, goal = ranks
    language = words.language
    values = [v for m in clusters.members if (v := m.features.get(feature.name)) is not None] + [value]
    low, high = min(values), max(values)
    better = -1.0 if feature.higher_is_better is False else 1.0
    lack = (target - value) * better
    same = abs(lack) < SAME * ((high - low) or 1.0)

    def position(x: float) -> float:
        share = (x - low) / ((high - low) or 1.0)
        return 100 * min(max(share if better > 0 else 1 - share, 0.0), 1.0)

    here, there = position(value), position(target)
    kind = "even" if same else "lack" if lack > 0 else "ahead"
    unit = feature.unit(language)
    need = words(_need(kind, top=own == goal, more=better > 0), amount=words.number(abs(lack)), unit=unit)
    colors = level_colors(len(model.levels))
    return (
        f'<div class="sg-feature"><div class="top"><span>{escape(feature.title(language))}</span>'
        f'<span class="value">{words.number(value)} {escape(unit)}</span></div>'
        f'<div class="sg-track" style="--c:{colors[own]};--f:{colors[goal]}">'
        f'<span class="fill" style="left:{min(here, there):.1f}%;width:{abs(here - there):.1f}%"></span>'
        f'<span class="goal" style="left:{there:.1f}%"></span><span class="here" style="left:{here:.1f}%"></span></div>'
        f'<div class="need {"" if own == goal else kind}">{escape(need)}'
        f' <span class="sg-small">({escape(words("detail.target", value=words.number(target)))})</span></div></div>'
    )


def _need(kind: str, *, top: bool, more: bool) -> str:
    if kind == "even":
        return "detail.even"
    if top:
        # Where fewer is better, short of the average means more of it.
        return "detail.above" if (kind == "ahead") == more else "detail.below"
    if kind == "ahead":
        return "detail.ahead"
    return "detail.needs_more" if more else "detail.needs_less"


def _unused(model: Model, member: Member, words: Words) -> str:
    language = words.language
    lines = []
    for feature in model.features:
        if feature.name in model.features_used:
            continue
        value, year = member.features.get(feature.name), member.figure_period.get(feature.name)
        figure = f"{words.number(value)} {feature.unit(language)}" if value is not None else words("detail.unpublished")
        when = f" ({words('detail.year', year=year)})" if value is not None and year else ""
        lines.append(
            f"<li><span>{escape(feature.title(language))}</span>"
            f'<span class="sg-muted">{escape(figure)}{escape(when)}</span></li>'
        )
    if not lines:
        return ""
    return f'<h4>{escape(words("detail.unused"))}</h4><ul class="sg-list">{"".join(lines)}</ul>'


def years(clusters: Clusters) -> list[int]:
    """The years in which at least one member has a level."""
    return sorted({moment.period for moment in clusters.history if moment.cluster is not None})


def _past(model: Model, clusters: Clusters, member: Member, words: Words) -> str:
    known = {m.period: m for m in clusters.history if m.entity == member.entity}
    broken = {b.period: b.note for b in clusters.breaks if b.entity == member.entity}
    if not known:
        return ""
    cells = "".join(
        f'<span class="sg-year">{cell(model, known.get(year), broken=year in broken)}{year}</span>'
        for year in years(clusters)
    )
    notes = "".join(
        f'<p class="sg-small">{escape(words("detail.break", year=year, note=note(words.language)))}</p>'
        for year, note in broken.items()
    )
    return f'<h4>{escape(words("detail.past"))}</h4><div class="sg-years">{cells}</div>{notes}'


def cell(model: Model, moment: Moment | None, *, broken: bool = False) -> str:
    """A year's level as a small box; empty when figures were incomplete, dashed where borders changed."""
    edge = "break" if broken else ""
    if moment is None or moment.cluster is None:
        return f'<i class="none {edge}"></i>'
    mark = glyphs(len(model.levels))[moment.cluster]
    return f'<i class="{edge}" style="{paint(model, moment.cluster)}">{mark}</i>'


def matrix(model: Model, clusters: Clusters, words: Words) -> str:
    """Every member's level, year by year."""
    shown = years(clusters)
    past = {(m.entity, m.period): m for m in clusters.history}
    broken = {(b.entity, b.period) for b in clusters.breaks}
    rows = [
        f'<div class="row"><span class="name" title="{escape(m.name)}">{escape(m.name)}</span>'
        + "".join(cell(model, past.get((m.entity, y)), broken=(m.entity, y) in broken) for y in shown)
        + "</div>"
        for m in sorted(clusters.members, key=lambda m: (m.cluster, m.name))
    ]
    legend = " · ".join(f"’{year % 100:02d}" for year in shown)
    note = f'<p class="sg-small">{legend}. {escape(words("moved.history_note"))}</p>'
    return f'{note}<div class="sg-matrix">{"".join(rows)}</div>'


def calm(title: str, text: str, detail: str, *, code: str = "") -> str:
    """A page that has nothing to show and says so without alarm."""
    command = f"<p style='margin-top:.9rem'><code>{escape(code)}</code></p>" if code else ""
    marks = "".join(f'<span style="color:{color}">{g}</span>' for color, g in zip(level_colors(3), "▲●▼", strict=True))
    return (
        f'<section class="sg-calm" role="status"><div class="mark" aria-hidden="true">{marks}</div>'
        f"<h1>{escape(title)}</h1><p>{escape(text)}</p>"
        f'<p class="sg-small" style="margin-top:1rem">{escape(detail)}</p>{command}</section>'
    )


def facts(pairs: Sequence[tuple[str, str, str]]) -> str:
    """Facts in a row: what, its value, and what it means (shown on hover)."""
    return (
        '<div class="sg-facts">'
        + "".join(
            f'<div title="{escape(help_)}"><span>{escape(what)}</span><b>{escape(value)}</b></div>'
            for what, value, help_ in pairs
        )
        + "</div>"
    )
