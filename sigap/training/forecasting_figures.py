"""A forecasting sweep and its winner, drawn: beside the naive forecast, and in the order of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from sigap.catalog.declaration import Forecasting
from sigap.training.forecasting import NAIVE, ForecastTrained

Language = Literal["id", "en"]

# As in the other figures: apart in lightness too, for every kind of colour vision.
_GOOD, _BAD, _INK, _FAINT = "#1FA187", "#B5361C", "#333333", "#9a9a9a"
_LINES = ("#3B6FB6", "#B5361C", "#1FA187", "#D98E04", "#7B4FA3", "#5D6D7E")
_SHOWN_STEPS = 120
_THIRDS = {"id": ("tenang", "sedang", "badai"), "en": ("calm", "middling", "stormy")}

_WORDS = {
    "gain": {"id": "Apakah ada yang mengalahkan ramalan naif?", "en": "Does anything beat the naive forecast?"},
    "gain_axis": {
        "id": "galat lebih kecil daripada ramalan naif",
        "en": "error smaller than the naive forecast's",
    },
    "needed": {"id": "diperlukan, tanpa ragu", "en": "needed, beyond doubt"},
    "running": {"id": "Keunggulan atas ramalan naif, dijumlahkan", "en": "Gain over the naive forecast, added up"},
    "running_axis": {"id": "jumlah selisih galat kuadrat (%²)", "en": "sum of differences in squared error (%²)"},
    "better": {"id": "naik: lebih baik daripada naif", "en": "rising: better than naive"},
    "interval": {"id": "Ramalan, selangnya, dan yang terjadi", "en": "The forecast, its interval, and what came"},
    "inside": {"id": "harga sebenarnya", "en": "true value"},
    "outside": {"id": "di luar selang", "en": "outside the interval"},
    "forecast": {"id": "ramalan", "en": "forecast"},
    "band": {"id": "selang", "en": "interval"},
    "coverage": {"id": "Seberapa sering selang memuat harga", "en": "How often the interval held the value"},
    "held": {"id": "bagian yang termuat", "en": "share held"},
    "stretches": {"id": "potongan waktu", "en": "stretch of time"},
    "weather": {"id": "gejolak sebelum ramalan", "en": "volatility before the forecast"},
    "slices": {"id": "Galat menurut gejolak", "en": "Error by volatility"},
    "percent": {"id": "galat (RMSE, % dari harga)", "en": "error (RMSE, % of the value)"},
    "naive": {"id": "naif", "en": "naive"},
    "residuals": {"id": "Galat ramalan yang dibakukan", "en": "Scaled errors of the forecast"},
    "scaled": {"id": "galat dibagi gejolak terakhir", "en": "error over recent volatility"},
    "steps": {"id": "banyaknya", "en": "steps"},
}


def draw(folder: Path, trained: ForecastTrained, language: Language = "en") -> list[Path]:
    """Writes each figure as a PNG into `folder`, made if need be, and gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, drawn in FIGURES.items():
        path = folder / f"{name}.png"
        # No software version or time in the file: the same training draws the same bytes.
        drawn(trained, language).savefig(path, dpi=150, metadata={"Software": None})
        written.append(path)
    return written


def beside_naive(trained: ForecastTrained, language: Language = "en") -> Figure:
    """Every candidate's gain over the naive forecast with its interval, and the gain that is needed."""
    rivals = [each for each in trained.tried if each.name != NAIVE]
    figure = _figure(8, 1.6 + 0.5 * len(rivals))
    axes = figure.subplots()
    for row, each in enumerate(rivals):
        colour = _GOOD if each.admissible else _BAD
        low, high = each.metrics["gain_low"], each.metrics["gain_high"]
        axes.plot([low, high], [row, row], color=colour, linewidth=2.5, solid_capstyle="round")
        axes.plot(each.metrics["gain"], row, marker="o" if each.admissible else "X", color=colour, markersize=9)
    axes.axvline(0, color=_INK, linewidth=1)
    effect = trained.declaration.task_as(Forecasting).minimum_effect
    axes.axvline(effect, color=_GOOD, linewidth=1, linestyle="--")
    axes.annotate(
        _word("needed", language),
        (effect, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -4),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=_GOOD,
    )
    axes.set_yticks(range(len(rivals)), [each.name for each in rivals])
    axes.set_ylim(len(rivals) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set_xlabel(_word("gain_axis", language))
    _finish(axes, trained, "gain", language)
    return figure


def running_gain(trained: ForecastTrained, language: Language = "en") -> Figure:
    """Each candidate's squared error against the naive one's, added up over the held-out stretches of time."""
    naive = next(each for each in trained.tried if each.name == NAIVE)
    sizes = np.array(naive.details["sizes"])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    when = _times(trained)[np.minimum(ends, len(trained.held) - 1)]
    figure = _figure(9, 4.6)
    axes = figure.subplots()
    rivals = [each for each in trained.tried if each.name != NAIVE]
    for colour, each in zip(_LINES * len(rivals), rivals, strict=False):
        gained = (np.array(naive.details["squares"]) - np.array(each.details["squares"])) * sizes * 1e4
        axes.plot(when, np.concatenate([[0], np.cumsum(gained)]), color=colour, marker=".", label=each.name)
    axes.axhline(0, color=_INK, linewidth=1)
    _dates(axes)
    axes.set_ylabel(_word("running_axis", language))
    axes.annotate(
        _word("better", language), (0.01, 0.02), xycoords="axes fraction", va="bottom", fontsize=9, color=_FAINT
    )
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    _finish(axes, trained, "running", language)
    return figure


def interval(trained: ForecastTrained, language: Language = "en") -> Figure:
    """The last held-out steps: forecast and interval as they could be made then, and what came."""
    series, held = trained.prepared, trained.held[-_SHOWN_STEPS:]
    predicted = trained.predicted[-_SHOWN_STEPS:]
    half = trained.calibrated.halves[-_SHOWN_STEPS:] * series.spreads[held]
    now, true, when = series.now[held], series.next[held], _times(trained)[-_SHOWN_STEPS:]
    low, high = now * np.exp(predicted - half), now * np.exp(predicted + half)
    out = (true < low) | (true > high)
    figure = _figure(10, 4.8)
    axes = figure.subplots()
    confidence = f"{trained.interval.confidence:.0%}"
    band = axes.fill_between(when, low, high, color=_LINES[0], alpha=0.18, linewidth=0, step="mid")
    band.set_label(f"{_word('band', language)} {confidence}")
    axes.plot(when, now * np.exp(predicted), color=_LINES[0], linewidth=1, label=_word("forecast", language))
    axes.plot(when, true, color=_INK, linewidth=1, marker=".", markersize=4, label=_word("inside", language))
    axes.plot(when[out], true[out], "X", color=_BAD, markersize=9, label=_word("outside", language))
    _dates(axes)
    target = trained.declaration.target
    if target and target.unit:
        axes.set_ylabel(f"{target.title.in_language(language)} ({target.unit.in_language(language)})")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    _finish(axes, trained, "interval", language)
    return figure


def coverage(trained: ForecastTrained, language: Language = "en") -> Figure:
    """Share of values that the interval held, by stretch of time and by volatility."""
    figure = _figure(10, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    judged = ~np.isnan(trained.calibrated.halves)
    series = trained.prepared
    ratios = np.abs(series.changes[trained.held] - trained.predicted) / series.spreads[trained.held]
    hit = (ratios <= trained.calibrated.halves)[judged]
    when = _times(trained)[judged]
    parts = np.array_split(np.arange(len(hit)), 5)
    labels = [f"{when[part[0]]:%Y-%m}\n– {when[part[-1]]:%Y-%m}" for part in parts]
    _shares(left, [hit[part] for part in parts], labels, trained)
    left.set_xlabel(_word("stretches", language))
    left.set_ylabel(_word("held", language))
    thirds = _thirds(series.spreads[trained.held][judged])
    _shares(right, [hit[thirds == third] for third in range(3)], list(_THIRDS[language]), trained)
    right.set_xlabel(_word("weather", language))
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _finish(left, trained, "coverage", language)
    _bare(right)
    return figure


def error_slices(trained: ForecastTrained, language: Language = "en") -> Figure:
    """The error in calm and stormy times, beside the naive forecast's; and the errors over recent volatility."""
    series, held = trained.prepared, trained.held
    errors = series.changes[held] - trained.predicted
    thirds = _thirds(series.spreads[held])
    figure = _figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    shown = [(series.changes[held], _FAINT, _word("naive", language))]
    if trained.chosen.name != NAIVE:
        shown.append((errors, _LINES[0], trained.chosen.name))
    for offset, (values, colour, label) in enumerate(shown):
        heights = [100 * np.sqrt(np.square(values[thirds == third]).mean()) for third in range(3)]
        bars = left.bar(np.arange(3) + 0.4 * (offset - (len(shown) - 1) / 2), heights, 0.36, color=colour, label=label)
        left.bar_label(bars, fmt="%.2f", fontsize=8, color=_INK)
    left.set_xticks(range(3), _THIRDS[language])
    left.set_xlabel(_word("weather", language))
    left.set_ylabel(_word("percent", language))
    left.legend(frameon=False, fontsize=9)
    _finish(left, trained, "slices", language)
    right.hist(errors / series.spreads[held], bins=60, color=_LINES[0], alpha=0.8)
    for side in (-1, 1):
        right.axvline(side * trained.calibrated.half, color=_BAD, linestyle="--", linewidth=1)
    right.set_xlabel(_word("scaled", language))
    right.set_ylabel(_word("steps", language))
    right.set_title(_word("residuals", language), loc="left", fontsize=11, color=_INK)
    _bare(right)
    return figure


FIGURES: dict[str, Callable[[ForecastTrained, Language], Figure]] = {
    "beside_naive": beside_naive,
    "running_gain": running_gain,
    "interval": interval,
    "coverage": coverage,
    "error_slices": error_slices,
}


def _shares(axes: Axes, parts: list[NDArray[np.bool_]], labels: list[str], trained: ForecastTrained) -> None:
    """Shares with the spread that chance alone gives them, and the share that was promised."""
    promised = trained.interval.confidence
    for at, part in enumerate(parts):
        share = float(part.mean())
        chance = 1.96 * np.sqrt(promised * (1 - promised) / max(len(part), 1))
        axes.plot([at, at], [share - chance, min(share + chance, 1)], color=_LINES[0], linewidth=2.5)
        axes.plot(at, share, "o", color=_LINES[0], markersize=8)
        axes.annotate(f"{share:.1%}", (at, share), xytext=(9, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axhline(promised, color=_BAD, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(parts)), labels, fontsize=8)
    axes.set_xlim(-0.5, len(parts) - 0.3)


def _thirds(spreads: NDArray[np.float64]) -> NDArray[np.int64]:
    """0, 1 or 2 for calm, middling and stormy, a third of the steps each."""
    ranks = spreads.argsort(kind="stable").argsort(kind="stable")
    thirds: NDArray[np.int64] = ranks * 3 // max(len(ranks), 1)
    return thirds


def _times(trained: ForecastTrained) -> pd.DatetimeIndex:
    """When each held-out step began."""
    series = trained.prepared
    return pd.DatetimeIndex(series.times[series.at[trained.held] + 1], tz=UTC)


def _dates(axes: Axes) -> None:
    locator: Any = AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _figure(width: float, height: float) -> Figure:
    # Not pyplot: it keeps every figure alive in the process and looks for a display.
    return Figure(figsize=(width, height), layout="constrained")


def _word(name: str, language: Language) -> str:
    return _WORDS[name][language]


def _bare(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _finish(axes: Axes, trained: ForecastTrained, word: str, language: Language) -> None:
    title = f"{trained.declaration.title.in_language(language)}: {_word(word, language)}"
    axes.set_title(title, loc="left", fontsize=12, color=_INK, pad=10)
    _bare(axes)
