"""Car prices on the public file: repeated cross-validation, intervals, and the single split that notebooks publish.

`./run bench car FILE` reads CarPrice_Assignment.csv (by default from ../shared/data/car), trains as the pipeline does,
and prints every figure beside what it is held against.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import train_test_split

from benchmarks import SHARED, machine
from sigap.catalog.car_price import BRANDS, CAR_PRICE
from sigap.catalog.declaration import Regression
from sigap.settings import ROOT
from sigap.training import evaluation
from sigap.training.evaluation import Floats
from sigap.training.recipes import Recipe, build
from sigap.training.rows import Rows
from sigap.training.segments import cut_segments, segment_of
from sigap.training.supervised import SupervisedTrained
from sigap.training.supervised_trainer import SupervisedTrainer
from sigap.training.uncertainty import coverage

FILE = SHARED / "car" / "CarPrice_Assignment.csv"
MISSPELT = {"maxda": "mazda", "porcshce": "porsche", "toyouta": "toyota", "vokswagen": "volkswagen", "vw": "volkswagen"}
PUBLISHED = {"rmse": 1778.0, "mae": 1233.0, "segments": 0.95}
RANDOM_SPLITS = 100


def read_cars(path: Path) -> pd.DataFrame:
    """The public file as the table `cars` has it: brands apart from models and in one spelling.

    Raises:
        ValueError: A brand is not a declared one.
    """
    table = pd.read_csv(path).rename(columns={"car_ID": "car_id"})
    brands = table["CarName"].str.split().str[0].str.lower()
    table["CompanyName"] = brands.replace(MISSPELT)
    if unknown := set(table["CompanyName"]) - set(BRANDS):
        raise ValueError(f"unknown brands: {sorted(unknown)}")
    return table[["car_id", *CAR_PRICE.feature_names, "price"]]


def one_split(prepared: Rows, recipe: Recipe, seed: int) -> tuple[float, float, float]:
    """RMSE, MAE and segment accuracy on 20 % of the rows, the segments cut on the other 80 %."""
    training, testing = train_test_split(np.arange(len(prepared.target)), test_size=0.2, random_state=seed)
    model = build(recipe, CAR_PRICE, prepared.used, 42)
    fitted = evaluation.fit_model(model, prepared.features.iloc[training], prepared.target[training])
    predicted = evaluation.answers(fitted, prepared.features.iloc[testing])
    true: Floats = prepared.target[testing]
    scores = evaluation.regression_scores(true, predicted)
    declared = CAR_PRICE.task_as(Regression).segments
    assert declared is not None
    segments = cut_segments(declared, prepared.target[training], 42)
    right = segment_of(segments, predicted) == segment_of(segments, true)
    return scores["rmse"], scores["mae"], float(right.mean())


def coverages(trained: SupervisedTrained) -> dict[str, tuple[float, float]]:
    """Coverage and median relative width by MAPIE's method, over every fold of every repeat."""
    model = build(trained.recipe, CAR_PRICE, trained.prepared.used, trained.params.random_state)
    found = {}
    for method in ("base", "plus"):
        each = [
            coverage(
                model,
                trained.scoring.features,
                trained.scoring.target,
                split,
                confidence=0.9,
                scale="log" if trained.interval and trained.interval.scale == "log" else "linear",
                seed=42 + repeat,
                method="base" if method == "base" else "plus",
            )
            for repeat, split in enumerate(trained.scoring.repeats)
        ]
        found[method] = tuple(np.mean(each, axis=0))
    return {name: (float(values[0]), float(values[1])) for name, values in found.items()}


def main() -> int:
    """Prints the figures; 1 when one that has to hold does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    path = parser.parse_args().file
    console, started = Console(width=120), time.monotonic()
    if not path.is_file():
        console.print(f"There is no file {path}; name CarPrice_Assignment.csv.")
        return 2
    trainer = SupervisedTrainer()
    params = trainer.params(ROOT, CAR_PRICE.name)
    prepared = trainer.prepare(CAR_PRICE, read_cars(path))
    sweep = Table(title=f"Candidates, {params.repeats} × {params.folds}-fold CV, and one split (20 %, random_state 42)")
    for heading in ("candidate", "R²", "RMSE", "MAE", "split RMSE", "split MAE", "split segments"):
        sweep.add_column(heading)
    tried, splits = [], {}
    for name, recipe in params.recipes().items():
        candidate = trainer.fit(prepared, CAR_PRICE, params, name)
        tried.append(candidate)
        splits[name] = one_split(prepared, recipe, 42)
        scores = [
            f"{candidate.metrics[m]:,.{digits}f} ± {candidate.metrics[m + '_sd']:,.{digits}f}"
            for m, digits in (("r2", 3), ("rmse", 0), ("mae", 0))
        ]
        rmse, mae, segments = splits[name]
        sweep.add_row(name, *scores, f"{rmse:,.0f}", f"{mae:,.0f}", f"{segments:.3f}")
    console.print(sweep)
    trained = trainer.choose(CAR_PRICE, prepared, params, tried)
    metrics, winner = trained.metrics, trained.chosen.name
    held = coverages(trained)
    best = min(splits.values(), key=lambda split: split[0])
    others = np.array([one_split(prepared, trained.recipe, seed) for seed in range(RANDOM_SPLITS)])
    lucky = float(((others[:, 0] <= PUBLISHED["rmse"]) & (others[:, 1] <= PUBLISHED["mae"])).mean())
    table = Table(title=f"car_price, champion {winner} · {machine()}")
    for heading in ("what", "found", "held against"):
        table.add_column(heading)
    table.add_row("R², repeated CV", f"{metrics['r2']:.4f} ± {metrics['r2_sd']:.3f}", "≥ 0.92")
    table.add_row("R², whole sweep, nested CV", f"{metrics['nested_r2']:.4f} ± {metrics['nested_r2_sd']:.3f}", "")
    table.add_row("RMSE, repeated CV", f"{metrics['rmse']:,.0f} ± {metrics['rmse_sd']:,.0f}", "")
    table.add_row("MAE, repeated CV", f"{metrics['mae']:,.0f} ± {metrics['mae_sd']:,.0f}", "")
    table.add_row("RMSE of the median", f"{metrics['baseline_rmse']:,.0f}", "has to be beaten")
    table.add_row("segment accuracy, repeated CV", f"{metrics['segment_accuracy']:.3f}", "")
    for name, (share, width) in held.items():
        label = "served: one quantile" if name == "base" else "CV+, for comparison"
        table.add_row(f"90 % interval ({label})", f"holds {share:.1%}, width {width:.0%}", "88–93 %")
    table.add_row("one split: champion", "RMSE {:,.0f}, MAE {:,.0f}, segments {:.3f}".format(*splits[winner]), "")
    table.add_row(
        "one split: best of the sweep", "RMSE {:,.0f}, MAE {:,.0f}, segments {:.3f}".format(*best), "1778, 1233, 0.95"
    )
    table.add_row(
        f"champion on {RANDOM_SPLITS} other such splits",
        f"RMSE {np.median(others[:, 0]):,.0f} ({others[:, 0].min():,.0f} to {others[:, 0].max():,.0f})",
        f"{lucky:.0%} of them reach 1778 and 1233",
    )
    console.print(table)
    console.print(
        "One split of 41 cars says little: its RMSE moves by hundreds of dollars with the seed. The champion is chosen "
        f"by repeated CV, not by that split.  ({time.monotonic() - started:.0f} s)"
    )
    return 0 if metrics["r2"] >= 0.92 and 0.88 <= held["base"][0] <= 0.93 else 1


if __name__ == "__main__":
    sys.exit(main())
