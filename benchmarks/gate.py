"""How often the gate is wrong: equal challengers promoted, champions out of noise, better ones recognised.

`./run bench gate` draws data sets whose truth is known and lets the same functions decide as in a pipeline run.
`--quick` draws a tenth.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import machine
from sigap.catalog import Column, Declaration, Feature, Kind, Source, Text
from sigap.catalog.declaration import Classification, Regression, Target
from sigap.scale import completed
from sigap.settings import get_settings
from sigap.training import evaluation, gate
from sigap.training.recipes import Estimator, Family, Recipe, SupervisedParams, build
from sigap.training.rows import prepare_rows
from sigap.training.supervised import compare_recipes, fit
from sigap.training.uncertainty import coverage

NOTHING = Text(id="", en="")
REAL = ("x1", "x2", "x3")
# Two features that say nothing: by symmetry a model with one is as good as a model with the other.
IDLE = ("idle1", "idle2")
ROWS = 300
EFFECTS = (0.02, 0.05, 0.10)
KINDS = ("regression", "classification")
EQUAL, NOISE = "equal challengers promoted", "noise targets that yield a champion"
COVERAGE = "90 % conformal intervals, coverage"


class Trial(NamedTuple):
    """One data set to draw.

    Attributes:
        what: The line of the table that it is counted for.
        decide: What to do with it.
    """

    what: str
    decide: Callable[[], Any]


def declared(kind: str) -> Declaration:
    """A declaration of numbers named as above, with a target of this kind."""
    regression = kind == "regression"
    task = Regression() if regression else Classification(positive="1", yes="Yes", no="No", flag="prediction_code")
    return Declaration(
        name=f"drawn_{kind}",
        title=Text(id=kind, en=kind),
        question=NOTHING,
        source=Source(table="drawn", relation="drawn AS t", key=("id",), entity="id"),
        columns=(Column(name="id", kind=Kind.INTEGER, required=True, meaning=NOTHING),),
        features=tuple(
            Feature(name=name, kind=Kind.NUMBER, title=Text(id=name, en=name), meaning=NOTHING, unit=NOTHING)
            for name in (*REAL, *IDLE)
        ),
        target=Target(
            name="y", kind=Kind.NUMBER if regression else Kind.INTEGER, title=Text(id="y", en="y"), meaning=NOTHING
        ),
        task=task,
        example={},
        data_source=NOTHING,
    )


def drawn(kind: str, seed: int, *, noise: bool = False, weight: float = 1.0) -> pd.DataFrame:
    """A data set: the target depends on x1, x2 and, by `weight`, on x3; with `noise`, on nothing."""
    generator = np.random.default_rng([seed, kind == "regression"])
    table = pd.DataFrame(generator.normal(size=(ROWS, len(REAL) + len(IDLE))), columns=[*REAL, *IDLE])
    signal = 0.0 if noise else table["x1"] + table["x2"] + weight * table["x3"]
    target = signal + generator.normal(size=ROWS)
    table["y"] = target + 100 if kind == "regression" else (target > 0).astype(int)
    table.insert(0, "id", np.arange(ROWS))
    return table


def weight_for(effect: float) -> float:
    """Weight of x3 without which the root mean squared error is `effect` higher, as a share of the champion's."""
    # Without x3 its part becomes noise: the champion's error is sqrt(1 + weight²), the challenger's 1.
    return math.sqrt(1 / (1 - effect) ** 2 - 1)


def sweep(kind: str) -> SupervisedParams:
    """A small sweep of each family, on the folds that all comparisons here use."""
    linear: Estimator = "ridge" if kind == "regression" else "logistic_regression"
    return SupervisedParams(
        folds=5,
        repeats=2,
        inner_folds=2,
        candidates={
            "linear": Family(estimator=linear, preprocessor="median_imputer_with_scaler"),
            "random_forest": Family(estimator="random_forest", grid={"n_estimators": [10], "min_samples_leaf": [5]}),
            "hist_gradient_boosting": Family(
                estimator="hist_gradient_boosting", grid={"max_iter": [12], "max_leaf_nodes": [5]}
            ),
        },
    )


def equal_challenger(kind: str, trial: int) -> tuple[bool, bool]:
    """An equally good challenger on the same data: is it promoted, does the interval hold the true difference, 0."""
    declaration, params = declared(kind), sweep(kind)
    prepared = prepare_rows(declaration, drawn(kind, trial))
    recipe = params.recipes()["random_forest" if trial % 4 == 0 else "linear"]
    found = compare_recipes(declaration, prepared, params, (recipe, (*REAL, "idle1")), (recipe, (*REAL, "idle2")))
    verdict = gate.decide(admissible=True, champion="v1", same_data=True, comparison=found)
    return verdict.promote, found.low <= 0 <= found.high


def champion_of_noise(kind: str, trial: int) -> bool:
    """A data set whose target is noise: does any candidate of the sweep pass for better than guessing."""
    declaration, params = declared(kind), sweep(kind)
    prepared = prepare_rows(declaration, drawn(kind, 10_000 + trial, noise=True))
    return any(fit(prepared, declaration, params, name).admissible for name in params.recipes())


def better_challenger(effect: float, trial: int) -> bool:
    """A challenger whose error is truly lower by `effect`: is it promoted on the same data."""
    declaration, params = declared("regression"), sweep("regression")
    recipe = Recipe(estimator="ridge", preprocessor="median_imputer_with_scaler")
    prepared = prepare_rows(declaration, drawn("regression", 20_000 + trial, weight=weight_for(effect)))
    found = compare_recipes(declaration, prepared, params, (recipe, REAL), (recipe, REAL[:2]))
    return gate.decide(admissible=True, champion="v1", same_data=True, comparison=found).promote


def interval_coverage(trial: int) -> float:
    """Share of held-out values within the 90 % interval."""
    declaration = declared("regression")
    recipe = Recipe(estimator="ridge", preprocessor="median_imputer_with_scaler")
    prepared = prepare_rows(declaration, drawn("regression", 30_000 + trial))
    model = build(recipe, declaration, prepared.used, trial)
    split = evaluation.folds(prepared.target, 5, trial, stratified=False)
    held, _ = coverage(model, prepared.features, prepared.target, split, confidence=0.9, scale="linear", seed=trial)
    return held


def trials(count: int) -> list[Trial]:
    """All data sets to draw, `count` for each line of the table, each with the name of what it is counted for."""
    half = count // 2
    return [
        *(Trial(EQUAL, partial(equal_challenger, kind, each)) for kind in KINDS for each in range(half)),
        *(Trial(NOISE, partial(champion_of_noise, kind, each)) for kind in KINDS for each in range(half)),
        *(Trial(power(by), partial(better_challenger, by, each)) for by in EFFECTS for each in range(count)),
        *(Trial(COVERAGE, partial(interval_coverage, each)) for each in range(half)),
    ]


def power(effect: float) -> str:
    """What challengers that are better by `effect` are counted for."""
    return f"challengers with {effect:.0%} less error promoted (power)"


def decided(trial: Trial) -> Any:
    """What comes of a data set."""
    return trial.decide()


def main() -> int:
    """Prints all shares with the limits they have to keep; 1 when one is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data sets")
    count = 20 if parser.parse_args().quick else 200
    console, started, settings = Console(width=120), time.monotonic(), get_settings()
    table = Table(title=f"Gate, {count} data sets of {ROWS} rows for each line · {machine()}")
    for heading in ("what", "found", "limit"):
        table.add_column(heading)
    drawn_of: dict[str, dict[int, Any]] = defaultdict(dict)
    every = trials(count)
    # On the workers of a Dask cluster where one is set, else on all cores here: the shares are the same.
    done = completed(decided, every, settings=settings, processes=os.cpu_count() or 1)
    for at, value in track(done, "data sets", total=len(every), console=console):
        drawn_of[every[at].what][at] = value
    found = {what: [values[at] for at in sorted(values)] for what, values in drawn_of.items()}
    promoted, inside = np.array(found[EQUAL]).mean(axis=0)
    noise, held = np.mean(found[NOISE]), found[COVERAGE]
    table.add_row(EQUAL, f"{promoted:.1%}", "≤ 5 %")
    table.add_row("95 % intervals that hold the true difference, 0", f"{inside:.1%}", "≥ 95 %")
    table.add_row(NOISE, f"{noise:.1%}", "≤ 1 %")
    for effect in EFFECTS:
        table.add_row(power(effect), f"{np.mean(found[power(effect)]):.1%}", "the higher the better")
    table.add_row(COVERAGE, f"{np.mean(held):.1%} ± {np.std(held):.1%}", "88–93 %")
    console.print(table)
    console.print(f"{time.monotonic() - started:.0f} s")
    kept = promoted <= 0.05 and inside >= 0.95 and noise <= 0.01 and 0.88 <= np.mean(held) <= 0.93
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
