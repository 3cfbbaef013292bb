"""The sweep and its winner, drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import silhouette_samples
from threadpoolctl import threadpool_limits

from sigap.bundle import Level
from sigap.catalog import Feature
from sigap.training.sweep import Trained

Language = Literal["id", "en"]
Drawing = Callable[[Trained, Language], Figure]

# The dashboard's scale from the readiest level to the least ready: apart in hue and in lightness, for every kind of
# colour vision and for grey paper; the markers repeat what the colours say.
_SCALE = LinearSegmentedColormap.from_list("readiness", ["#1FA187", "#F2C14E", "#B5361C"])
_GOOD, _BAD = "#1FA187", "#B5361C"
# Okabe and Ito (2008): segments have no order, so no scale.
_SEGMENTS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_INK, _FAINT = "#333333", "#9a9a9a"
# More rows than this are not drawn one by one.
ROWS_DRAWN = 2_000
BARS_DRAWN = 300

_WORDS = {
    "k": {"id": "Jumlah kelompok (k)", "en": "Number of clusters (k)"},
    "inertia": {"id": "Inersia (jumlah kuadrat jarak baku)", "en": "Inertia (sum of squared standardised distances)"},
    "silhouette": {"id": "Rata-rata silhouette", "en": "Mean silhouette"},
    "silhouette_one": {"id": "Silhouette tiap wilayah", "en": "Silhouette of each region"},
    "silhouette_row": {"id": "Silhouette tiap baris", "en": "Silhouette of each row"},
    "shuffled": {"id": "kolom diacak: tanpa kelompok", "en": "columns shuffled: no groups"},
    "chosen": {"id": "terpilih", "en": "chosen"},
    "admissible": {"id": "layak", "en": "admissible"},
    "inadmissible": {"id": "tidak layak", "en": "not admissible"},
    "elbow": {"id": "Inersia menurut jumlah kelompok", "en": "Inertia by number of clusters"},
    "profile": {"id": "Profil silhouette", "en": "Silhouette profile"},
    "parallel": {"id": "Setiap wilayah, fitur demi fitur", "en": "Every region, feature by feature"},
    "matrix": {"id": "Fitur berpasangan", "en": "Features in pairs"},
    "centers": {"id": "Profil kelompok", "en": "Cluster profile"},
    "better": {"id": "← kurang siap        lebih siap →", "en": "← less ready        readier →"},
    "deviations": {"id": "simpangan baku dari rata-rata", "en": "standard deviations from the mean"},
    "flipped": {"id": "dibalik: rendah lebih baik", "en": "flipped: lower is better"},
}


def draw(
    folder: Path, trained: Trained, language: Language = "en", figures: Mapping[str, Drawing] | None = None
) -> list[Path]:
    """Writes each figure as a PNG into `folder`, made if need be, and gives their paths; by default `FIGURES`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, drawn in (FIGURES if figures is None else figures).items():
        figure = drawn(trained, language)
        path = folder / f"{name}.png"
        # No software version or time in the file: the same training draws the same bytes.
        figure.savefig(path, dpi=150, metadata={"Software": None})
        written.append(path)
    return written


def elbow(trained: Trained, language: Language = "en") -> Figure:
    """Inertia by number of clusters, with the chosen one marked."""
    figure = blank(7, 4.2)
    axes = figure.subplots()
    _by_k(axes, trained, "inertia", language)
    axes.set_ylim(bottom=0)
    _title(axes, trained, "elbow", language)
    return figure


def silhouette_profile(trained: Trained, language: Language = "en") -> Figure:
    """Mean silhouette by number of clusters, and the winner's region by region."""
    figure = blank(11, 5)
    left, right = figure.subplots(1, 2)
    _by_k(left, trained, "silhouette", language)
    _title(left, trained, "silhouette", language)
    _silhouette_bars(right, trained, language)
    return figure


def parallel_coordinates(trained: Trained, language: Language = "en") -> Figure:
    """One line a region over the used features, each axis in the feature's own unit and with its better end up."""
    matrix, ranks = trained.prepared.matrix, trained.ranks.to_numpy()
    low, high = matrix.min(), matrix.max()
    features = _features(trained)
    down = np.array([feature.higher_is_better is False for feature in features])
    position = ((matrix - low) / (high - low)).to_numpy()
    position = np.where(down, 1 - position, position)
    figure = blank(10, 5.6)
    axes = figure.subplots()
    colours = colours_of(trained)
    markers, places = _markers(trained), np.arange(len(features))
    for row, rank in zip(position, ranks, strict=True):
        axes.plot(places, row, color=colours[rank], marker=markers[rank], markersize=3.5, alpha=0.6, linewidth=1.2)
    for at, feature in enumerate(features):
        ends = (high[feature.name], low[feature.name]) if down[at] else (low[feature.name], high[feature.name])
        axes.vlines(at, 0, 1, color=_FAINT, linewidth=0.8, zorder=0)
        for y, end, align in ((-0.03, ends[0], "top"), (1.03, ends[1], "bottom")):
            axes.text(at, y, f"{end:g}", ha="center", va=align, color=_INK, fontsize=9)
    axes.set_xticks(places, [_name(feature, language, flipped=True) for feature in features])
    axes.set_yticks([])
    axes.set_ylim(-0.1, 1.1)
    bare(axes, "bottom")
    axes.tick_params(axis="x", length=0, pad=8)
    _title(axes, trained, "parallel", language)
    legend(figure, trained, language)
    return figure


def scatter_matrix(trained: Trained, language: Language = "en") -> Figure:
    """Every two used features against each other, with the clusters' centres; each one's spread on the diagonal."""
    features = _features(trained)
    size = len(features)
    figure = blank(2.9 * size + 0.6, 2.7 * size + 1)
    grid = figure.subplots(size, size, squeeze=False, sharex="col")
    for i, vertical in enumerate(features):
        for j, across in enumerate(features):
            axes = grid[i, j]
            if i == j:
                _spread(axes, trained, across.name)
            else:
                _pair(axes, trained, across.name, vertical.name)
            axes.tick_params(labelsize=8)
            if j == 0:
                axes.set_ylabel(_name(vertical, language), fontsize=9)
            if i == size - 1:
                axes.set_xlabel(_name(across, language), fontsize=9)
    figure.suptitle(_heading(trained, "matrix", language), x=0.01, ha="left", fontsize=12, color=_INK)
    legend(figure, trained, language)
    return figure


def _by_level(trained: Trained) -> Iterator[tuple[Level, pd.DataFrame, str, str]]:
    """Each level with its regions' figures, its colour and its marker."""
    matrix, ranks = trained.prepared.matrix, trained.ranks
    for level, colour, marker in zip(trained.levels, colours_of(trained), _markers(trained), strict=True):
        yield level, matrix[ranks == level.cluster], colour, marker


def _spread(axes: Axes, trained: Trained, across: str) -> None:
    for level, rows, colour, marker in _by_level(trained):
        at = np.full(len(rows), -level.cluster)
        axes.scatter(rows[across], at, color=colour, marker=marker, s=24, alpha=0.8, linewidth=0)
    axes.set_yticks([])
    axes.margins(y=0.5)
    bare(axes)


def _pair(axes: Axes, trained: Trained, across: str, vertical: str) -> None:
    for level, rows, colour, marker in _by_level(trained):
        axes.scatter(rows[across], rows[vertical], color=colour, marker=marker, s=24, alpha=0.8, linewidth=0)
        center = (level.center[across], level.center[vertical])
        axes.plot(*center, marker=marker, color=colour, markeredgecolor=_INK, markeredgewidth=1.2, markersize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def cluster_profile(trained: Trained, language: Language = "en") -> Figure:
    """Each cluster's centre, in standard deviations from the mean, with its value in the feature's unit."""
    features, levels = _features(trained), trained.levels
    scaled = trained.model[-1].cluster_centers_
    direction = np.array([-1.0 if feature.higher_is_better is False else 1.0 for feature in features])
    figure = blank(10, 1.2 + 0.42 * len(features) * (len(levels) + 1))
    axes = figure.subplots()
    height = 0.8 / len(levels)
    colours = colours_of(trained)
    for rank, level in enumerate(levels):
        y = np.arange(len(features)) + (rank - (len(levels) - 1) / 2) * height
        widths = scaled[rank] * direction
        axes.barh(y, widths, height * 0.9, color=colours[rank])
        for at, width, feature in zip(y, widths, features, strict=True):
            text = f"{level.center[feature.name]:.1f} {feature.unit.in_language(language)}"
            right = width >= 0
            axes.annotate(
                text, (width, at), (4 if right else -4, 0), textcoords="offset points", va="center",
                ha="left" if right else "right", fontsize=8.5, color=_INK,
            )  # fmt: skip
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_yticks(np.arange(len(features)), [_name(feature, language, flipped=True) for feature in features])
    axes.invert_yaxis()
    furthest = 1.3 * float(np.abs(scaled).max())
    axes.set_xlim(-furthest, furthest)
    axes.set_xlabel(f"{_word('better', language)}\n{_word('deviations', language)}", fontsize=9)
    bare(axes, "bottom")
    axes.tick_params(axis="y", length=0)
    _title(axes, trained, "centers", language)
    legend(figure, trained, language)
    return figure


FIGURES: dict[str, Drawing] = {
    "elbow": elbow,
    "silhouette_profile": silhouette_profile,
    "parallel_coordinates": parallel_coordinates,
    "scatter_matrix": scatter_matrix,
    "cluster_profile": cluster_profile,
}


def blank(width: float, height: float) -> Figure:
    """An empty figure of this size, in inches."""
    # Not pyplot: it keeps every figure alive in the process and looks for a display.
    return Figure(figsize=(width, height), layout="constrained")


def _word(name: str, language: Language) -> str:
    return _WORDS[name][language]


def _features(trained: Trained) -> list[Feature]:
    return [trained.declaration.feature(name) for name in trained.prepared.used]


def _name(feature: Feature, language: Language, *, flipped: bool = False) -> str:
    text = f"{feature.title.in_language(language)}\n({feature.unit.in_language(language)})"
    if flipped and feature.higher_is_better is False:
        text += f"\n{_word('flipped', language)}"
    return text


def colours_of(trained: Trained) -> tuple[str, ...]:
    """A colour for each cluster, by rank: a scale where they have an order, else apart from one another."""
    k = trained.winner.k
    if trained.task.order == "size":
        return tuple(_SEGMENTS[rank % len(_SEGMENTS)] for rank in range(k))
    return tuple(to_hex(_SCALE(rank / (k - 1))) for rank in range(k))


def _markers(trained: Trained) -> tuple[str, ...]:
    if trained.task.order == "size":
        return ("s",) * trained.winner.k
    between = "osDP"
    return ("^", *(between[i % len(between)] for i in range(trained.winner.k - 2)), "v")


def label_of(level: Level, language: Language) -> str:
    """The cluster's label in one language."""
    return level.label.id if language == "id" else level.label.en


def _heading(trained: Trained, word: str, language: Language) -> str:
    title = trained.declaration.title.in_language(language)
    period = trained.prepared.period
    return f"{_word(word, language)} · {title}" + ("" if period is None else f", {period}")


def _title(axes: Axes, trained: Trained, word: str, language: Language) -> None:
    axes.set_title(_heading(trained, word, language), loc="left", fontsize=12, color=_INK, pad=12)


def bare(axes: Axes, *hidden: str) -> None:
    """Takes away the frame but for the bottom, and that too if `hidden`."""
    for side in {"top", "right", "left", *hidden}:
        axes.spines[side].set_visible(False)


def legend(figure: Figure, trained: Trained, language: Language) -> None:
    """Puts the clusters with their sizes below the figure."""
    handles = [
        Line2D([], [], marker=marker, linestyle="", color=colour, label=f"{label_of(level, language)} ({level.size})")
        for level, _, colour, marker in _by_level(trained)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False, fontsize=10)


def _by_k(axes: Axes, trained: Trained, metric: str, language: Language) -> None:
    scored = [each for each in trained.candidates if metric in each.metrics]
    axes.plot([each.k for each in scored], [each.metrics[metric] for each in scored], color=_FAINT, zorder=1)
    styles = {"chosen": ("*", _GOOD, 240), "admissible": ("o", _GOOD, 60), "inadmissible": ("X", _BAD, 60)}
    for word, (marker, colour, size) in styles.items():
        group = [each for each in scored if _state(trained, each.k) == word]
        if group:
            axes.scatter(
                [each.k for each in group], [each.metrics[metric] for each in group], marker=marker, color=colour,
                s=size, zorder=2, label=_word(word, language),
            )  # fmt: skip
    if metric == "silhouette" and "silhouette_shuffled" in trained.winner.metrics:
        by_chance = [each.metrics["silhouette_shuffled"] for each in scored]
        axes.plot([each.k for each in scored], by_chance, "--", color=_BAD, label=_word("shuffled", language))
        axes.set_ylim(bottom=0)
    axes.set_xticks([each.k for each in trained.candidates])
    axes.set_xlabel(_word("k", language))
    axes.set_ylabel(_word(metric, language))
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    bare(axes)


def _state(trained: Trained, k: int) -> str:
    if k == trained.winner.k:
        return "chosen"
    return "admissible" if next(each for each in trained.candidates if each.k == k).admissible else "inadmissible"


def _silhouette_bars(axes: Axes, trained: Trained, language: Language) -> None:
    generator = np.random.default_rng(trained.params.random_state)
    chosen = np.sort(generator.permutation(len(trained.ranks))[:ROWS_DRAWN])
    ranks = trained.ranks.to_numpy()[chosen]
    with threadpool_limits(limits=1):
        values = silhouette_samples(trained.model[:-1].transform(trained.prepared.matrix.iloc[chosen]), ranks)
    colours, start = colours_of(trained), 0
    gap = max(2, len(ranks) // 100)
    for level in trained.levels:
        group = np.sort(values[ranks == level.cluster])[::-1]
        rows = np.arange(start, start + len(group))
        if len(ranks) > BARS_DRAWN:
            axes.fill_betweenx(rows, group, step="mid", color=colours[level.cluster], linewidth=0)
        else:
            axes.barh(rows, group, height=0.9, color=colours[level.cluster])
        label = f"{label_of(level, language)} ({level.size})"
        axes.text(-0.02, rows.mean(), label, ha="right", va="center", fontsize=9, color=_INK)
        start += len(group) + gap
    axes.axvline(trained.winner.metrics["silhouette"], color=_INK, linestyle="--", linewidth=1)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.invert_yaxis()
    axes.set_yticks([])
    axes.set_xlabel(_word("silhouette_one" if trained.task.order == "readiness" else "silhouette_row", language))
    bare(axes)
    _title(axes, trained, "profile", language)
