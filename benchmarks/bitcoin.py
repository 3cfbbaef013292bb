"""Forecasts of the next close beside the naive one, on real daily candles, and how often the gate errs.

`./run bench bitcoin` prints: held-out errors of every candidate in the order of time, the last fifth alone as notebooks
publish it, the interval's measured coverage, and of made-up series the share that yields a champion other than naive
(noise: none wanted; an echo of stated strength: the power) and of equal challengers the share that is promoted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score

from benchmarks import SHARED, machine
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.declaration import Forecasting
from sigap.settings import ROOT
from sigap.training.forecasting import (
    NAIVE,
    ForecastingParams,
    ForecastingTrainer,
    ForecastRecipe,
    ForecastTrained,
    held_out,
)
from sigap.training.series import Series, folds, gain, prepare_series

CANDLES = SHARED / "crypto" / "btcusdt_daily_2018_2025.csv"
HOW = ForecastingTrainer()
STEPS = 800  # of each made-up series
ECHOES = (0.1, 0.15, 0.2, 0.3)

console = Console(width=None if sys.stdout.isatty() else 130)


def real_series(path: Path) -> Series:
    """The real daily candles."""
    read = pd.read_csv(path)
    return prepare_series(
        BITCOIN_PRICE, pd.DataFrame({"opened_at": pd.to_datetime(read["Open time"], utc=True), "close": read["Close"]})
    )


def made_up(returns: NDArray[np.float64]) -> Series:
    """A series with these log returns, one a day."""
    closes = 20_000 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    times = pd.date_range("2020-01-01", periods=len(closes), freq="D", tz="UTC")
    return prepare_series(BITCOIN_PRICE, pd.DataFrame({"opened_at": times, "close": closes}))


def echoes(generator: np.random.Generator, strength: float) -> NDArray[np.float64]:
    """Heavy-tailed returns, of which the share `strength` comes back the next day; 0 is noise."""
    returns = 0.02 * generator.standard_t(4, STEPS)
    for at in range(1, STEPS):
        returns[at] += strength * returns[at - 1]
    return returns


def sweep(series: Series, params: ForecastingParams) -> ForecastTrained:
    """The whole sweep."""
    tried = [HOW.fit(series, BITCOIN_PRICE, params, spec.name) for spec in HOW.candidates(params)]
    return HOW.choose(BITCOIN_PRICE, series, params, tried)


def show_sweep(trained: ForecastTrained, seconds: float) -> None:
    """Held-out errors of every candidate, in the order of time."""
    table = Table(
        title=f"{trained.params.folds} held-out stretches of time, each learnt from all before it; {seconds:.1f} s"
    )
    for column in ("", "RMSE % ± sd", "RMSE USD", "MAE USD", "direction", "gain over naive [interval]", "may win"):
        table.add_column(column, justify="left" if not column else "right")
    for each in trained.tried:
        m = each.metrics
        table.add_row(
            each.name,
            f"{m['rmse_percent']:.3f} ± {m['rmse_percent_sd']:.3f}",
            f"{m['rmse']:.0f}",
            f"{m['mae']:.0f}",
            f"{m['direction']:.3f}",
            f"{m['gain']:+.2%} [{m['gain_low']:+.2%}, {m['gain_high']:+.2%}]",
            "–" if each.name == NAIVE else "yes" if each.admissible else "no",
        )
    console.print(table)
    console.print(f"Winner: {trained.chosen.name}. {trained.note.en}")
    console.print(f"Gain of always taking what had been best until then: {trained.metrics['blind_gain']:+.2%}")


def show_last_fifth(series: Series, params: ForecastingParams) -> dict[str, float]:
    """The last fifth alone, as notebooks publish it, with the trap of forecasting levels."""
    cut = int(len(series.at) * 0.8)
    training, testing = np.arange(cut), np.arange(cut, len(series.at))
    table = Table(title="The last 20 % alone, for comparison with published notebooks")
    for column in ("", "RMSE USD", "MAE USD", "R² of the level"):
        table.add_column(column, justify="left" if not column else "right")
    found: dict[str, float] = {}

    def row(name: str, levels: NDArray[np.float64]) -> None:
        error = series.next[testing] - levels
        found[name] = float(np.sqrt(np.square(error).mean()))
        r2 = r2_score(series.next[testing], levels)
        table.add_row(name, f"{found[name]:.0f}", f"{np.abs(error).mean():.0f}", f"{r2:.3f}")

    for name, recipe in params.recipes().items():
        predicted = held_out(series, recipe, params, [(training, testing)])
        row(name, series.now[testing] * np.exp(predicted))
    back = series.at[:, None] - np.arange(series.lags)
    forest = RandomForestRegressor(100, random_state=params.random_state).fit(
        series.closes[back][training], series.next[training]
    )
    row("forest on price levels (the trap)", forest.predict(series.closes[back][testing]))
    console.print(table)
    return found


def show_coverage(trained: ForecastTrained) -> dict[str, Any]:
    """How often intervals made from the past alone held the next close."""
    series, calibrated = trained.prepared, trained.calibrated
    judged = ~np.isnan(calibrated.halves)
    spreads = series.spreads[trained.held][judged]
    ratios = np.abs(series.changes[trained.held] - trained.predicted)[judged] / spreads
    hit = ratios <= calibrated.halves[judged]
    thirds = spreads.argsort().argsort() * 3 // len(spreads)
    found = {
        "coverage": calibrated.coverage,
        "by_stretch": [round(part, 3) for part in calibrated.by_fold],
        "calm_middling_stormy": [round(float(hit[thirds == third].mean()), 3) for third in range(3)],
        "mean_width": calibrated.width,
    }
    console.print(
        f"Interval of {trained.interval.confidence:.0%}: held {calibrated.coverage:.1%} of {int(judged.sum())} closes "
        f"(five stretches of time {found['by_stretch']}; calm, middling, stormy {found['calm_middling_stormy']}), "
        f"mean width {calibrated.width:.1%} of the price."
    )
    return found


def quick(params: ForecastingParams) -> ForecastingParams:
    """The checkout's sweep with fewer folds and smaller forests, for hundreds of trials."""
    families = {
        name: family.model_copy(update={"grid": {**family.grid, "n_estimators": [25]}})
        if family.estimator == "random_forest"
        else family
        for name, family in params.candidates.items()
    }
    return params.model_copy(update={"folds": 5, "calibration": 200, "candidates": families})


def champions(params: ForecastingParams, strength: float, trials: int) -> float:
    """Share of made-up series whose sweep finds something better than the naive forecast."""
    found = 0
    for trial in range(trials):
        series = made_up(echoes(np.random.default_rng([trial, round(1000 * strength)]), strength))
        tried = [HOW.fit(series, BITCOIN_PRICE, params, spec.name) for spec in HOW.candidates(params)]
        found += any(each.admissible for each in tried if each.name != NAIVE)
    return found / trials


def equal_promoted(params: ForecastingParams, trials: int) -> float:
    """Share of equal challengers that the gate would promote: the same forest from another seed, on the same data."""
    effect = BITCOIN_PRICE.task_as(Forecasting).minimum_effect
    promoted = 0
    recipe = ForecastRecipe(estimator="random_forest", options={"n_estimators": 20, "min_samples_leaf": 20})
    for trial in range(trials):
        series = made_up(echoes(np.random.default_rng([trial, 77]), 0.2))
        split = folds(series, params.folds)
        held = np.concatenate([testing for _, testing in split])
        ours, theirs = (
            series.changes[held] - held_out(series, recipe, params.model_copy(update={"random_state": seed}), split)
            for seed in (2 * trial, 2 * trial + 1)
        )
        found = gain(ours, theirs, 0.95)
        promoted += found.low > 0 and found.difference >= effect
    return promoted / trials


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trials", type=int, default=200, help="made-up series; a quarter as many for each power; 0: none"
    )
    parser.add_argument("--candles", type=Path, default=CANDLES, help="CSV with the columns Open time and Close")
    arguments = parser.parse_args()
    params = HOW.params(ROOT, BITCOIN_PRICE.name)
    console.print(machine())
    results: dict[str, Any] = {}
    if arguments.candles.exists():
        series = real_series(arguments.candles)
        begin = time.perf_counter()
        trained = sweep(series, params)
        show_sweep(trained, time.perf_counter() - begin)
        results |= {"winner": trained.chosen.name, "naive_rmse_percent": trained.metrics["naive_rmse_percent"]}
        results["last_fifth_rmse"] = show_last_fifth(series, params)
        results |= show_coverage(trained)
    else:
        console.print(f"Skipped: the real candles are not here ({arguments.candles}); --candles names another file.")
    if arguments.trials:
        small = quick(params)
        begin = time.perf_counter()
        table = Table(title=f"{arguments.trials} made-up series of {STEPS} steps each")
        table.add_column("")
        table.add_column("share", justify="right")
        results["noise_champions"] = champions(small, 0.0, arguments.trials)
        table.add_row("noise: something passes for better than naive", f"{results['noise_champions']:.1%}")
        for strength in ECHOES:
            power = champions(small, strength, max(1, arguments.trials // 4))
            results[f"power_{strength}"] = power
            table.add_row(f"an echo of {strength:.0%} of yesterday's return is found", f"{power:.1%}")
        results["equal_promoted"] = equal_promoted(small, arguments.trials)
        table.add_row("an equal challenger is promoted", f"{results['equal_promoted']:.1%}")
        console.print(table)
        console.print(f"{time.perf_counter() - begin:.0f} s")
    console.print_json(json.dumps(results, default=float))


if __name__ == "__main__":
    main()
