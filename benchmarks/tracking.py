"""What logging to MLflow adds to a sweep of 30 candidates on 205 rows: `./run bench tracking`."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold, cross_validate

from benchmarks import machine
from sigap.registry.tracking import Data, Logged, Runs
from sigap.services.mlflow import mlflow_service
from sigap.services.service import Running, free_port
from sigap.settings import Settings

ROWS, COLUMNS, CANDIDATES, REPEATS, ROUNDS = 205, 18, 30, 4, 3
LIMIT = 0.30


def main() -> None:
    """Prints the time of a sweep with and without tracking, medians of rounds in turn, and their ratio."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        # Nobody's PostgreSQL is at that address: the file lock alone guards, as in a pipeline without one.
        settings = Settings(
            _env_file=None,
            state_dir=Path(folder),
            mlflow_port=free_port(),
            DATABASE_URL="postgresql://n:n@127.0.0.1:1/n",
        )
        server = Running(mlflow_service(settings), settings.state)
        try:
            server.wait_ready()
            measured = [(_sweep(None), _sweep(settings)) for _ in range(ROUNDS)]
        finally:
            server.stop()
    without, with_it = (statistics.median(each) for each in zip(*measured, strict=True))
    print(machine())
    print(f"{CANDIDATES} candidates, {ROWS} rows, {REPEATS}x5 folds: {without:.1f} s; with MLflow {with_it:.1f} s")
    print(f"tracking adds {with_it / without - 1:.0%}, wanted below {LIMIT:.0%}")


def _sweep(settings: Settings | None) -> float:
    generator = np.random.default_rng(42)
    rows = generator.normal(size=(ROWS, COLUMNS))
    target = rows[:, 0] * 3 + rows[:, 1] ** 2 + generator.normal(size=ROWS)
    begun = time.perf_counter()
    data = Data("v1", "0" * 32, "data/raw/bench_snapshot.parquet", ROWS)
    runs = Runs(settings, "bench") if settings else None
    parent = runs.parent(uuid.uuid4().hex, data, {"candidates": CANDIDATES}) if runs else ""
    for family in range(5):
        logged = []
        for number in range(CANDIDATES // 5):
            started = time.perf_counter()
            options = {"n_estimators": 15, "max_depth": 2 + family, "min_samples_leaf": 1 + number}
            metrics = _scores(rows, target, options)
            logged.append(Logged(f"forest{family}-{number}", options, metrics, time.perf_counter() - started))
        if runs:
            runs.candidates(parent, data, logged)
    return time.perf_counter() - begun


def _scores(rows: NDArray[np.float64], target: NDArray[np.float64], options: dict[str, int]) -> dict[str, float]:
    found: dict[str, float] = {}
    for repeat in range(REPEATS):
        scored = cross_validate(
            RandomForestRegressor(**options, random_state=repeat),
            rows,
            target,
            cv=KFold(5, shuffle=True, random_state=repeat),
            scoring=("r2", "neg_root_mean_squared_error", "neg_mean_absolute_error"),
        )
        for name, values in scored.items():
            found |= {f"{name}_{repeat}": float(np.mean(values)), f"{name}_{repeat}_sd": float(np.std(values))}
    return found


if __name__ == "__main__":
    main()
