"""Segments of mixed columns, drawn: what sets each apart, how its numbers are spread, who is in it."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sigap.bundle import Trait
from sigap.catalog import Feature
from sigap.training.figures import (
    Drawing,
    Language,
    bare,
    blank,
    colours_of,
    elbow,
    label_of,
    legend,
    silhouette_profile,
)
from sigap.training.profiles import all_traits
from sigap.training.sweep import Trained

_INK, _FAINT = "#333333", "#9a9a9a"
# Beyond this many standard deviations the colour says no more.
_STRONG = 1.0
# Rows of the profile: what differs in no segment is left out.
_MOST_ROWS = 18
_COLUMNS = 3
_WHOLE_NUMBERS = 30

_WORDS = {
    "profile": {"id": "Yang membedakan tiap segmen", "en": "What sets each segment apart"},
    "effect": {
        "id": "selisih dari semua, dalam simpangan baku",
        "en": "difference from all, in standard deviations",
    },
    "all": {"id": "Semua", "en": "All"},
    "numbers": {"id": "Sebaran angka tiap segmen", "en": "Numbers by segment"},
    "categories": {"id": "Kategori tiap segmen", "en": "Categories by segment"},
    "share": {"id": "persen anggota", "en": "percent of members"},
    "density": {"id": "persen anggota", "en": "percent of members"},
}


def segment_profile(trained: Trained, language: Language = "en") -> Figure:
    """Mean or share of every telling feature by segment, coloured by how far it is from that of all."""
    rows = _telling(trained)
    figure = blank(2.6 + 1.7 * (trained.winner.k + 1), 1.6 + 0.34 * len(rows))
    axes = figure.subplots()
    effects = np.array([[trait.effect for trait in row] for row in rows])
    # A column for all rows comes first; it differs from nothing.
    shown = np.hstack([np.zeros((len(rows), 1)), effects])
    image = axes.imshow(shown, cmap="PuOr", vmin=-_STRONG, vmax=_STRONG, aspect="auto")
    for y, row in enumerate(rows):
        for x, value in enumerate([row[0].overall, *(trait.here for trait in row)]):
            dark = abs(shown[y, x]) > 0.6 * _STRONG
            text = _value(trained.declaration.feature(row[0].feature), row[0], value, language)
            axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color="white" if dark else _INK)
    headings = [_say("all", language), *(f"{label_of(level, language)}\n({level.size})" for level in trained.levels)]
    axes.set_xticks(np.arange(len(headings)), headings, fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(np.arange(len(rows)), [_row_name(trained, row[0], language) for row in rows], fontsize=9)
    axes.tick_params(length=0)
    bare(axes, "bottom")
    figure.suptitle(_heading(trained, "profile", language), x=0.01, ha="left", fontsize=12, color=_INK)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=35, pad=0.03, extend="both")
    bar.set_label(_say("effect", language), fontsize=9)
    bar.outline.set_visible(False)
    return figure


def segment_numbers(trained: Trained, language: Language = "en") -> Figure:
    """How each number is spread in each segment, as a share of its members."""
    names = trained.numbers
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names, strict=False):
        feature = trained.declaration.feature(name)
        column = trained.prepared.matrix[name]
        edges = _edges(column.dropna().to_numpy())
        for level, colour in zip(trained.levels, colours_of(trained), strict=True):
            known = column[trained.ranks.to_numpy() == level.cluster].dropna()
            heights = 100 * np.histogram(known, edges)[0] / max(len(known), 1)
            axes.stairs(heights, edges, color=colour, linewidth=1.8)
        unit = feature.unit.in_language(language)
        axes.set_xlabel(feature.title.in_language(language) + (f" ({unit})" if unit else ""), fontsize=9)
        axes.set_ylabel(_say("density", language), fontsize=9)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(_heading(trained, "numbers", language), x=0.01, ha="left", fontsize=12, color=_INK)
    legend(figure, trained, language)
    return figure


def segment_categories(trained: Trained, language: Language = "en") -> Figure:
    """Share of each segment's members that has each category, beside that of all."""
    names = [name for name in trained.prepared.used if name not in trained.numbers]
    figure, panels = _panels(len(names), height=3.2)
    for axes, name in zip(panels, names, strict=False):
        _shares(axes, trained, trained.declaration.feature(name), language)
    figure.suptitle(_heading(trained, "categories", language), x=0.01, ha="left", fontsize=12, color=_INK)
    legend(figure, trained, language)
    return figure


FIGURES: dict[str, Drawing] = {
    "elbow": elbow,
    "silhouette_profile": silhouette_profile,
    "segment_profile": segment_profile,
    "segment_numbers": segment_numbers,
    "segment_categories": segment_categories,
}


def _shares(axes: Axes, trained: Trained, feature: Feature, language: Language) -> None:
    column, ranks = trained.prepared.matrix[feature.name], trained.ranks.to_numpy()
    overall = column.value_counts(normalize=True)
    categories = [str(each) for each in overall.index]
    places, height = np.arange(len(categories)), 0.8 / trained.winner.k
    for level, colour in zip(trained.levels, colours_of(trained), strict=True):
        shares = column[ranks == level.cluster].value_counts(normalize=True).reindex(overall.index).fillna(0.0)
        axes.barh(places + (level.cluster + 0.5) * height - 0.4, 100 * shares, height * 0.92, color=colour)
    for place, share in zip(places, 100 * overall, strict=True):
        axes.vlines(share, place - 0.44, place + 0.44, color=_INK, linewidth=1.4)
    axes.set_yticks(places, [textwrap.shorten(each, 18) for each in categories], fontsize=8.5)
    axes.invert_yaxis()
    axes.set_title(feature.title.in_language(language), loc="left", fontsize=10, color=_INK)
    axes.set_xlabel(f"{_say('share', language)}, | {_say('all', language).lower()}", fontsize=8.5)
    axes.tick_params(axis="x", labelsize=8)
    bare(axes, "bottom")
    axes.tick_params(axis="y", length=0)


def _telling(trained: Trained) -> list[tuple[Trait, ...]]:
    """A row for each number and category, one trait a segment; the most telling ones, in the declaration's order."""
    by_segment = [all_traits(trained, level.cluster) for level in trained.levels]
    rows = list(zip(*by_segment, strict=True))
    strength = [max(abs(trait.effect) for trait in row) for row in rows]
    kept = sorted(np.argsort(strength)[::-1][:_MOST_ROWS])
    return [rows[at] for at in kept]


def _row_name(trained: Trained, trait: Trait, language: Language) -> str:
    title = trained.declaration.feature(trait.feature).title.in_language(language)
    return title if trait.category is None else f"{title}: {trait.category}"


def _value(feature: Feature, trait: Trait, value: float, language: Language) -> str:
    if trait.category is not None:
        return f"{value:.0%}"
    return f"{value:.1f} {feature.unit.in_language(language)}".strip()


def _panels(count: int, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    columns = min(count, _COLUMNS) or 1
    rows = -(-count // columns) or 1
    figure = blank(3.9 * columns, height * rows + 0.9)
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels


def _edges(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of a histogram's bars: one for each value of a few whole numbers, else twenty."""
    low, high = known.min(), known.max()
    if high - low <= _WHOLE_NUMBERS and (known == np.round(known)).all():
        return np.arange(low - 0.5, high + 1)
    return np.histogram_bin_edges(known, bins=20)


def _heading(trained: Trained, word: str, language: Language) -> str:
    return f"{_say(word, language)} · {trained.declaration.title.in_language(language)}"


def _say(word: str, language: Language) -> str:
    return _WORDS[word][language]
