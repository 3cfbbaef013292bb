"""What a K-Means sweep costs from ten thousand rows to a million: it has to grow with the rows, not with their square.

`./run bench kmeans` sweeps k = 2..6 over 12 columns by the pipeline's own code (scaling, K-Means, silhouette and
stability, the last two on a seeded sample above 10,000 rows), prints the times, and draws them. Times are those of
the processor on one core, so that other programs at work change them little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from benchmarks import machine
from sigap.catalog import Clustering, Declaration
from sigap.catalog.declaration import Column, Feature, Kind, Source, Text
from sigap.settings import get_settings
from sigap.training.clusters import SILHOUETTE_ROWS, fit
from sigap.training.features import Prepared, prepare
from sigap.training.params import Params
from sigap.training.sweep import candidates

COLUMNS = 12
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
# Of four kinds of rows, so that there is something to find; `n_init` as for a table of this size.
KINDS = 4
PARAMS = Params(k_min=2, k_max=6, n_init=3, bootstraps=10)
# Exact silhouettes grow with the square: measured once, on as many rows as that is bearable for.
EXACT_ROWS = (5_000, 10_000, 20_000)
SEED = 12


def declared() -> Declaration:
    """A clustering of 12 numbers without time or names."""
    text = Text(id="", en="")
    return Declaration(
        name="made_up",
        title=text,
        question=text,
        source=Source(table="made_up", relation="made_up AS t", key=("row_id",), entity="row_id"),
        columns=(Column(name="row_id", kind=Kind.INTEGER, meaning=text),),
        features=tuple(
            Feature(name=f"x{i}", kind=Kind.NUMBER, title=text, meaning=text, unit=text) for i in range(COLUMNS)
        ),
        task=Clustering(
            published_share=0.8,
            carry_forward=0,
            winsorize=0.01,
            minimum_entities=50,
            smallest_cluster=10,
            smallest_share=0.05,
            stability_floor=0.6,
            order="size",
            best=text,
            middle=text,
            worst=text,
        ),
        example={},
        data_source=text,
    )


def made_up(rows: int) -> pd.DataFrame:
    """Rows of four overlapping kinds, 12 standardised numbers each; the same numbers every time."""
    generator = np.random.default_rng(SEED)
    centers = generator.normal(0, 1.2, (KINDS, COLUMNS))
    values = centers[generator.integers(0, KINDS, rows)] + generator.normal(0, 1, (rows, COLUMNS))
    table = pd.DataFrame(values, columns=[f"x{i}" for i in range(COLUMNS)])
    table.insert(0, "row_id", np.arange(rows))
    return table


def sweep(declaration: Declaration, prepared: Prepared) -> tuple[float, int, float]:
    """CPU seconds of a sweep, the number of clusters with the best silhouette, and that silhouette."""
    start = time.process_time()
    tried = [fit(prepared, declaration, PARAMS, k) for k in candidates(PARAMS)]
    seconds = time.process_time() - start
    best = max(tried, key=lambda each: each.metrics["silhouette"])
    return seconds, best.k, best.metrics["silhouette"]


def exact(declaration: Declaration) -> dict[int, float]:
    """CPU seconds of one exact silhouette by number of rows."""
    found = {}
    prepared = prepare(declaration, made_up(max(EXACT_ROWS)))
    candidate = fit(prepared, declaration, PARAMS.model_copy(update={"k_max": KINDS, "bootstraps": 10}), KINDS)
    assert candidate.model is not None
    scaled = candidate.model[:-1].transform(prepared.matrix)
    for rows in EXACT_ROWS:
        start = time.process_time()
        with threadpool_limits(limits=1):
            silhouette_score(scaled[:rows], candidate.model[-1].labels_[:rows])
        found[rows] = time.process_time() - start
    return found


def growth(rows: list[int], seconds: list[float]) -> float:
    """Exponent b of seconds ~ rows^b, by least squares on the logarithms; 1 is linear, 2 quadratic."""
    return float(np.polyfit(np.log(rows), np.log(seconds), 1)[0])


def draw(path: Path, rows: list[int], seconds: list[float], slow: dict[int, float]) -> None:
    """Writes the plot: times of the sweeps, the straight line through them, and what exact silhouettes would cost."""
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.loglog(rows, seconds, "o-", color="#0072B2", label=f"sweep k = 2..6, {COLUMNS} columns, sampled silhouette")
    slope, fixed = np.polyfit(rows, seconds, 1)
    many = np.geomspace(rows[0], rows[-1], 100)
    label = f"straight line: {fixed:.1f} s + {1e6 * slope:.0f} µs a row"
    axes.loglog(many, fixed + slope * many, "--", color="#9a9a9a", label=label)
    last, cost = max(slow.items())
    times = len(candidates(PARAMS))
    square = [times * cost * (each / last) ** 2 for each in rows]
    axes.loglog(rows, square, ":", color="#D55E00", label="five exact silhouettes alone (extrapolated from 20,000)")
    axes.set_xlabel("rows")
    axes.set_ylabel("CPU seconds, one core")
    axes.grid(which="major", color="#e6e6e6")
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements a size, of which the median counts")
    parser.add_argument("--most", type=int, default=max(SIZES), help="greatest number of rows")
    parser.add_argument("--plot", type=Path, default=get_settings().state / "benchmarks" / "kmeans.png")
    arguments = parser.parse_args()
    declaration, sizes = declared(), [each for each in SIZES if each <= arguments.most]
    ready: dict[int, float] = {}
    measured: dict[int, list[float]] = {each: [] for each in sizes}
    found: dict[int, tuple[int, float]] = {}
    # One size after another in each round, so that a busy minute spoils one value of each and not all of one.
    for _ in range(arguments.rounds):
        for rows in sizes:
            start = time.process_time()
            prepared = prepare(declaration, made_up(rows))
            ready[rows] = time.process_time() - start
            seconds, k, silhouette = sweep(declaration, prepared)
            measured[rows].append(seconds)
            found[rows] = k, silhouette
    medians = [statistics.median(measured[rows]) for rows in sizes]
    slow = exact(declaration)
    table = Table(
        title=f"K-Means, k = 2..6, {COLUMNS} columns, n_init {PARAMS.n_init}, {PARAMS.bootstraps} bootstraps, one core"
    )
    for heading in ("rows", "making ready, s", "sweep, s", "µs a row", "best k", "silhouette"):
        table.add_column(heading, justify="right")
    for rows, seconds in zip(sizes, medians, strict=True):
        k, silhouette = found[rows]
        table.add_row(
            f"{rows:,}", f"{ready[rows]:.2f}", f"{seconds:.2f}", f"{1e6 * seconds / rows:.0f}", str(k),
            f"{silhouette:.3f}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    if len(sizes) > 2:
        slope, fixed = np.polyfit(sizes, medians, 1)
        fitted = 1 - np.var(np.array(medians) - (fixed + slope * np.array(sizes))) / np.var(medians)
        console.print(
            f"A straight line, {fixed:.1f} s + {1e6 * slope:.0f} µs a row, says {fitted:.1%} of it (R²); what is fixed "
            f"is silhouette and stability on {SILHOUETTE_ROWS:,} rows."
        )
        steepest = max(growth(sizes[at : at + 2], medians[at : at + 2]) for at in range(len(sizes) - 1))
        console.print(f"Between two sizes it grows as rows^{steepest:.2f} at most (1 is linear, 2 quadratic).")
    exact_exponent = growth(list(slow), list(slow.values()))
    console.print(
        "One exact silhouette: "
        + ", ".join(f"{rows:,} rows {seconds:.2f} s" for rows, seconds in slow.items())
        + f"; grows as rows^{exact_exponent:.2f}."
    )
    draw(arguments.plot, sizes, medians, slow)
    console.print(f"Drawn: {arguments.plot}")
    memory = psutil.Process().memory_info().rss / 2**20
    console.print(f"{machine()}; made-up rows of a fixed seed, median of {arguments.rounds}, {memory:.0f} MB.")


if __name__ == "__main__":
    main()
