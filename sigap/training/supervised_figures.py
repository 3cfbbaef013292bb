"""A supervised sweep and its winner, drawn from held-out predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from sigap.catalog.declaration import Classification
from sigap.training import diagnostics
from sigap.training.evaluation import ERRORS, bins
from sigap.training.supervised import SupervisedTrained, declaration_metric

# Blue and orange of Okabe and Ito's palette: apart for every kind of colour vision, and in lightness.
_MAIN, _OTHER = "#0072B2", "#D55E00"
_INK, _FAINT, _GRID = "#333333", "#9a9a9a", "#e6e6e6"
_UNITS = {"rmse": "RMSE", "accuracy": "accuracy"}


def draw(folder: Path, trained: SupervisedTrained) -> list[Path]:
    """Writes each figure of the task as a PNG into `folder`, made if need be, and gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    chosen = CLASSIFICATION if isinstance(trained.declaration.task, Classification) else REGRESSION
    for name, drawn in {**chosen, **COMMON}.items():
        path = folder / f"{name}.png"
        # No software version or time in the file: the same training draws the same bytes.
        drawn(trained).savefig(path, dpi=140, metadata={"Software": None})
        written.append(path)
    return written


def predicted_against_true(trained: SupervisedTrained) -> Figure:
    """Each row's held-out prediction against its true value, with the interval where there is one."""
    figure = _figure(6.6, 6)
    axes = figure.subplots()
    true, predicted = trained.scoring.target, trained.predicted[0]
    least, most = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    # Wide enough that no point is cut off at the edge.
    margin = 0.03 * (most - least)
    ends = (max(float(least - margin), min(float(least), 0.0)), float(most + margin))
    line = np.linspace(*ends, 200)
    axes.plot(line, line, color=_INK, linewidth=1)
    if trained.interval:
        around = np.array([trained.interval.around(float(value)) for value in line])
        label = f"{trained.interval.confidence:.0%} interval (holds {trained.interval.coverage:.0%})"
        # The interval stands around a prediction, so across the figure: mirrored at the diagonal.
        axes.fill_betweenx(line, around[:, 0], around[:, 1], color=_MAIN, alpha=0.12, linewidth=0, label=label)
        axes.legend(frameon=False, loc="upper left")
    axes.scatter(true, predicted, s=18, color=_MAIN, alpha=0.6, linewidth=0)
    axes.set_xlabel(f"true {_target(trained)}")
    axes.set_ylabel(f"held-out prediction {_unit(trained)}".rstrip())
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    metrics = trained.metrics
    _title(axes, trained, f"Predicted against true · R² {metrics['r2']:.3f} ± {metrics['r2_sd']:.3f}")
    return figure


def residuals(trained: SupervisedTrained) -> Figure:
    """Held-out residuals against predictions, and how they are spread."""
    figure = _figure(10, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
    predicted = trained.predicted[0]
    error = trained.scoring.target - predicted
    left.scatter(predicted, error, s=18, color=_MAIN, alpha=0.6, linewidth=0)
    left.axhline(0, color=_INK, linewidth=1)
    left.set_xlabel(f"held-out prediction {_unit(trained)}".rstrip())
    left.set_ylabel(f"true − predicted {_unit(trained)}".rstrip())
    right.hist(error, bins=30, orientation="horizontal", color=_MAIN, alpha=0.75)
    right.axhline(float(np.median(error)), color=_OTHER, linewidth=1.2, label=f"median {np.median(error):,.0f}")
    right.set_xlabel("rows")
    right.legend(frameon=False)
    _title(left, trained, "Residuals")
    for axes in (left, right):
        _plain(axes)
    return figure


def confusion(trained: SupervisedTrained) -> Figure:
    """Held-out answers against the truth, as counts and shares of each true class."""
    task = trained.declaration.task_as(Classification)
    counts = confusion_matrix(trained.scoring.target == 1, trained.predicted[0] >= 0.5, labels=[True, False])
    shares = counts / counts.sum(axis=1, keepdims=True)
    figure = _figure(5.8, 5)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            colour = "white" if shares[row, column] > 0.5 else _INK
            text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=13)
    names = [task.yes, task.no]
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names, rotation=90, va="center")
    axes.set_xlabel("held-out answer")
    axes.set_ylabel("truth")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    _title(axes, trained, "Confusion matrix")
    return figure


def roc_and_precision(trained: SupervisedTrained) -> Figure:
    """ROC and precision-recall curves of the held-out probabilities."""
    figure = _figure(10, 4.8)
    left, right = figure.subplots(1, 2)
    true, probability = trained.scoring.target == 1, trained.predicted[0]
    metrics = trained.metrics
    fall_out, recall, _ = roc_curve(true, probability)
    left.plot(fall_out, recall, color=_MAIN, label=f"area {metrics['roc_auc']:.3f} ± {metrics['roc_auc_sd']:.3f}")
    left.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", label="chance")
    left.set_xlabel("false positive rate")
    left.set_ylabel("true positive rate")
    precision, recall, _ = precision_recall_curve(true, probability)
    area = f"area {metrics['average_precision']:.3f} ± {metrics['average_precision_sd']:.3f}"
    right.plot(recall, precision, color=_MAIN, label=area)
    right.axhline(float(true.mean()), color=_FAINT, linestyle="--", label=f"share of yes {true.mean():.2f}")
    right.set_xlabel("recall")
    right.set_ylabel("precision")
    _title(left, trained, "ROC")
    right.set_title("Precision and recall", loc="left", fontsize=12, color=_INK, pad=12)
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, loc="lower right")
        _plain(axes)
    return figure


def calibration(trained: SupervisedTrained) -> Figure:
    """Share of yes against the probability that was said, in ten equally filled bins."""
    figure = _figure(6.4, 5.6)
    axes = figure.subplots()
    true, probability = trained.scoring.target, trained.predicted[0]
    points = [(probability[inside].mean(), true[inside].mean(), inside.sum()) for *_, inside in bins(probability, 10)]
    said, found, counts = np.array(points).T
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", label="as said")
    error = 1.96 * np.sqrt(found * (1 - found) / counts)
    axes.errorbar(said, found, yerr=error, color=_MAIN, marker="o", linewidth=1.2, capsize=3, label="as found, 95 %")
    axes.set_xlabel("probability said (held out)")
    axes.set_ylabel("share of yes found")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, loc="upper left")
    _plain(axes)
    word = "calibrated" if trained.calibrated else "not calibrated"
    _title(axes, trained, f"Calibration · {word}, off by {100 * trained.metrics['calibration_error']:.1f} points")
    return figure


def sweep(trained: SupervisedTrained) -> Figure:
    """Every candidate's score with its spread over the folds, beside the baseline and the unflattered score."""
    metric = declaration_metric(trained.declaration)
    figure = _figure(8.6, 1.4 + 0.42 * (len(trained.tried) + 2))
    axes = figure.subplots()
    for at, each in enumerate(trained.tried):
        winner = each.name == trained.chosen.name
        colour = _MAIN if winner else _INK if each.admissible else _OTHER
        marker = "D" if winner else "o" if each.admissible else "X"
        axes.errorbar(
            each.metrics[metric], at, xerr=each.metrics[f"{metric}_sd"], color=colour, marker=marker, capsize=3
        )
    nested = f"nested_{metric}"
    last = len(trained.tried)
    axes.errorbar(
        trained.metrics[nested], last, xerr=trained.metrics[f"{nested}_sd"], color=_FAINT, marker="s", capsize=3
    )
    baseline = trained.baseline.metrics[metric]
    axes.axvline(baseline, color=_OTHER, linestyle="--", linewidth=1.2)
    axes.annotate(
        trained.baseline.name.replace("_", " "),
        (baseline, last + 0.75),
        color=_OTHER,
        fontsize=9,
        ha="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    names = [each.name + (" (chosen)" if each.name == trained.chosen.name else "") for each in trained.tried]
    axes.set_yticks(range(last + 1), [*names, "whole sweep, nested"])
    axes.set_ylim(last + 1, -0.7)
    unit = f" {_unit(trained)}".rstrip()
    axes.set_xlabel(f"{_UNITS[metric]}{unit}, mean and standard deviation over the folds")
    _plain(axes, "x")
    _title(axes, trained, "Candidates")
    return figure


def permutation_importance(trained: SupervisedTrained) -> Figure:
    """What each feature's shuffling costs on held-out rows."""
    table = diagnostics.importance(trained).iloc[::-1]
    figure = _figure(8, 1.2 + 0.32 * len(table))
    axes = figure.subplots()
    titles = [trained.declaration.feature(name).title.en for name in table["feature"]]
    axes.barh(titles, table["loss"], xerr=table["sd"], color=_MAIN, ecolor=_FAINT, height=0.7)
    axes.axvline(0, color=_INK, linewidth=0.8)
    metric = _UNITS[declaration_metric(trained.declaration)]
    axes.set_xlabel(f"loss of {metric} when shuffled {_unit(trained)}".rstrip())
    axes.tick_params(axis="y", length=0)
    _plain(axes, "x")
    _title(axes, trained, "Permutation importance")
    return figure


def learning_curve(trained: SupervisedTrained) -> Figure:
    """The metric by number of training rows: whether more rows would help."""
    table = diagnostics.learning_curve(trained)
    figure = _figure(7.4, 4.8)
    axes = figure.subplots()
    axes.plot(table["rows"], table["training"], color=_FAINT, marker="o", label="rows trained on")
    axes.plot(table["rows"], table["held_out"], color=_MAIN, marker="o", label="held-out rows")
    low, high = table["held_out"] - table["held_out_sd"], table["held_out"] + table["held_out_sd"]
    axes.fill_between(table["rows"], low, high, color=_MAIN, alpha=0.15, linewidth=0)
    metric = declaration_metric(trained.declaration)
    axes.set_xlabel("training rows")
    axes.set_ylabel(f"{_UNITS[metric]} {_unit(trained)}".rstrip())
    if metric in ERRORS:
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    _plain(axes)
    _title(axes, trained, "Learning curve")
    return figure


def error_by_slice(trained: SupervisedTrained) -> Figure:
    """Held-out error by value of the features whose slices differ most."""
    parts = diagnostics.slices(trained)
    figure = _figure(8.6, 1.4 + 0.3 * len(parts))
    axes = figure.subplots()
    labels = [f"{trained.declaration.feature(each.feature).title.en}: {each.value}  ({each.rows})" for each in parts]
    names = list(dict.fromkeys(each.feature for each in parts))
    colours = [_MAIN if names.index(each.feature) % 2 == 0 else "#56B4E9" for each in parts]
    axes.barh(range(len(parts)), [each.score for each in parts], color=colours, height=0.75)
    axes.set_yticks(range(len(parts)), labels, fontsize=9)
    axes.invert_yaxis()
    classifies = isinstance(trained.declaration.task, Classification)
    axes.set_xlabel("share of wrong answers" if classifies else "mean relative error")
    # As many decimals as the ticks are apart.
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.margins(y=0.01)
    axes.tick_params(axis="y", length=0)
    _plain(axes, "x")
    _title(axes, trained, "Error by slice (rows)")
    return figure


Drawing = Callable[[SupervisedTrained], Figure]
REGRESSION: dict[str, Drawing] = {"predicted_against_true": predicted_against_true, "residuals": residuals}
CLASSIFICATION: dict[str, Drawing] = {
    "confusion_matrix": confusion,
    "roc_and_precision_recall": roc_and_precision,
    "calibration": calibration,
}
COMMON: dict[str, Drawing] = {
    "sweep": sweep,
    "permutation_importance": permutation_importance,
    "learning_curve": learning_curve,
    "error_by_slice": error_by_slice,
}


def _figure(width: float, height: float) -> Figure:
    # Not pyplot: it keeps every figure alive in the process and looks for a display.
    return Figure(figsize=(width, height), layout="constrained")


def _unit(trained: SupervisedTrained) -> str:
    target = trained.declaration.target
    return f"({target.unit.en})" if target and target.unit and target.unit.en else ""


def _target(trained: SupervisedTrained) -> str:
    target = trained.declaration.target
    return f"{target.title.en.lower()} {_unit(trained)}".rstrip() if target else ""


def _title(axes: Axes, trained: SupervisedTrained, text: str) -> None:
    axes.set_title(f"{text} · {trained.declaration.title.en}", loc="left", fontsize=12, color=_INK, pad=12)


def _plain(axes: Axes, grid: str = "y") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x" if grid == "x" else "y", color=_GRID)
    axes.set_axisbelow(True)
