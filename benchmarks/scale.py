"""Work on several processes by Dask: overhead a task, speed-up beside loky, a model of cost, and scoring many rows.

`./run bench scale` starts a scheduler and two workers on 127.0.0.1. It sends tasks that do nothing, fits forests on
one core, by loky and by Dask (the scores have to be equal), says what a sweep would take on 10, 100 and 1,000 workers
and under which assumptions, and scores a made data set of cars twice: undisturbed, and with a worker killed in the
middle. Both outputs have to be the same bytes. `--rows 100000 --tasks 200 --fits 4` is a quick run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track
from rich.table import Table

from backend.scoring.partition import file_sha256
from backend.scoring.run import Scored, score_folder
from benchmarks import machine
from benchmarks.batch import many, train
from sigap.catalog.car_price import CAR_PRICE
from sigap.scale import spread
from sigap.settings import ROOT, Settings
from sigap.training.candidates import Sweep, score
from sigap.training.recipes import Family, SupervisedParams
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import Candidate, trainer

WORKERS = 2
START_SECONDS = 120.0
PARTITION = 100_000
MODELLED = (10, 100, 1000)
TASKS = (100, 1_000, 10_000)

console = Console(width=None if sys.stdout.isatty() else 120)


class Cluster:
    """A scheduler and workers of one thread each, on 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        # Of its own: an earlier cluster's logs would say that this one is there.
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=folder))
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{found.getsockname()[1]}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._scheduler = self._start("scheduler", "--port", self.address.rpartition(":")[2])
        self._wait("scheduler", "Scheduler at")

    @property
    def settings(self) -> Settings:
        """Those with which work goes to it."""
        return Settings(dask_address=self.address)

    def add(self) -> None:
        """Starts a worker and waits until the scheduler knows it."""
        name = f"worker-{len(self.workers)}"
        words = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--local-directory", str(self._folder / name))
        self.workers.append(self._start("worker", self.address, *words, name=name))
        self._wait(name, "Registered to")

    def close(self) -> None:
        """Ends all of it."""
        for process in (*self.workers, self._scheduler):
            process.kill()
            process.wait()

    def _start(self, kind: str, *words: str, name: str = "") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words, "--host", "127.0.0.1"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self._folder / f"{name or kind}.log").open("wb") as log:
            return subprocess.Popen([*command, "--no-dashboard"], cwd=ROOT, env=environment, stdout=log, stderr=log)

    def _wait(self, name: str, told: str) -> None:
        limit, log = time.monotonic() + START_SECONDS, self._folder / f"{name}.log"
        while told not in log.read_text(errors="replace"):
            if time.monotonic() > limit:
                raise TimeoutError(log.read_text(errors="replace")[-2000:])
            time.sleep(0.05)


def nothing(number: int) -> int:
    """A task that does nothing."""
    return number


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and what it gives."""
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


class Overhead(NamedTuple):
    """What fanning out costs.

    Attributes:
        start: Seconds until the first result: connecting, checking the workers, closing.
        task: Seconds a task.
        loky: Seconds a task by loky, once its processes run.
    """

    start: float
    task: float
    loky: float


def measure_overhead(cluster: Cluster, tasks: int) -> Overhead:
    """Tasks that do nothing, once many and thrice one."""
    spread(nothing, [0] * WORKERS, settings=cluster.settings)  # imports
    start = statistics.median(timed(lambda: spread(nothing, [0], settings=cluster.settings))[0] for _ in range(3))
    whole, found = timed(lambda: spread(nothing, list(range(tasks)), settings=cluster.settings))
    if found != list(range(tasks)):
        raise RuntimeError("The results are not in their order.")
    with Parallel(n_jobs=WORKERS, backend="loky", batch_size=1) as pool:
        pool(delayed(nothing)(each) for each in range(WORKERS))
        loky, _ = timed(lambda: pool(delayed(nothing)(each) for each in range(tasks)))
    return Overhead(start, max(whole - start, 0.0) / tasks, loky / tasks)


def forests(count: int) -> SupervisedParams:
    """So many forests of 100 trees, all about equally large."""
    grid: dict[str, list[int | float | str | None]] = {
        "n_estimators": [100],
        "min_samples_leaf": list(range(1, count + 1)),
    }
    family = Family(estimator="random_forest", preprocessor="median_imputer", grid=grid)
    return SupervisedParams(folds=5, repeats=1, inner_folds=2, candidates={"random_forest": family})


def measure_sweep(cluster: Cluster, folder: Path, cars: pd.DataFrame, count: int) -> dict[str, float]:
    """Seconds of the same sweep on one core, by loky and by Dask.

    Raises:
        RuntimeError: The scores differ.
    """
    path = folder / "car_price_snapshot.parquet"
    cars.to_parquet(path, index=False)
    what = Sweep(CAR_PRICE, forests(count), path)
    names = list(what.params.recipes())
    prepared = trainer(CAR_PRICE).prepare(CAR_PRICE, read_snapshot(path))
    seconds, scores = {}, {}
    for name, call in (
        ("one core", lambda: score(what, names, Settings(), lambda: prepared)),
        ("loky", lambda: by_loky(what, names)),
        ("Dask", lambda: score(what, names, cluster.settings, lambda: prepared)),
    ):
        seconds[name], found = timed(call)
        scores[name] = [each[0].without_model().as_dict() for each in found]
    if not scores["one core"] == scores["loky"] == scores["Dask"]:
        raise RuntimeError("The scores are not the same to the last digit.")
    return seconds


def by_loky(what: Sweep, names: Sequence[str]) -> list[tuple[Candidate]]:
    """The sweep in processes of joblib's."""
    with Parallel(n_jobs=WORKERS, backend="loky", batch_size=1) as pool:
        found: list[tuple[Candidate]] = pool(delayed(_fit)(what, name) for name in names)
        return found


def _fit(what: Sweep, name: str) -> tuple[Candidate]:
    how = trainer(what.declaration)
    prepared = how.prepare(what.declaration, read_snapshot(what.snapshot))
    return (how.fit(prepared, what.declaration, what.params, name),)


def modelled(overhead: Overhead, work: float, tasks: int, workers: int) -> float:
    """Seconds of so many equal tasks of `work` seconds each: t = start + tasks · task + ⌈tasks / workers⌉ · work."""
    return overhead.start + tasks * overhead.task + -(-tasks // workers) * work


def write_data(folder: Path, cars: pd.DataFrame, rows: int) -> None:
    """Cars with a key, in partitions; nearly all of them are right, one in 10,000 is not."""
    folder.mkdir()
    drawn = many(cars, min(rows, PARTITION))
    for at in track(range(-(-rows // PARTITION)), "partitions", console=console):
        part = drawn.sample(frac=1, random_state=at)[: rows - at * PARTITION].reset_index(drop=True)
        part.insert(0, "car_ID", range(at * PARTITION + 1, at * PARTITION + 1 + len(part)))
        part.loc[part.index[::10_000], "horsepower"] = -1.0
        part.to_parquet(folder / f"part-{at:05}.parquet", index=False)


def measure_scoring(
    cluster: Cluster, folder: Path, bundle: Path, output: str, killed: subprocess.Popen[bytes] | None = None
) -> tuple[float, Scored]:
    """Seconds, and what became of the rows; a worker is killed when a third of the partitions is done."""

    def killing(done: int, total: int, _: Any) -> None:
        if killed is not None and killed.poll() is None and done * 3 >= total:
            killed.kill()
            killed.wait()

    return timed(
        partial(
            score_folder,
            cluster.settings,
            CAR_PRICE.name,
            folder / "in",
            folder / output,
            bundle,
            "1",
            progress=killing,
        )
    )


def hashes(folder: Path) -> dict[str, str]:
    """Of every partition."""
    return {path.name: file_sha256(path) for path in sorted(folder.glob("*.parquet"))}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster with its workers."""
    cluster = Cluster(folder)
    try:
        for _ in range(WORKERS):
            cluster.add()
        yield cluster
    finally:
        cluster.close()


def show_fan_out(overhead: Overhead, seconds: dict[str, float], count: int) -> float:
    """Prints what fanning out costs and gains; seconds of one fit."""
    table = Table(
        title=f"{count} forests of 100 trees, {WORKERS} processes, imports included, equal scores · {machine()}"
    )
    for heading in ("", "seconds", "speed-up", "a task that does nothing"):
        table.add_column(heading)
    tasks = {"one core": "", "loky": f"{overhead.loky * 1e3:.2f} ms", "Dask": f"{overhead.task * 1e3:.2f} ms"}
    for name, each in seconds.items():
        table.add_row(name, f"{each:.1f}", f"{seconds['one core'] / each:.2f}", tasks[name])
    console.print(table)
    return seconds["one core"] / count


def show_model(overhead: Overhead, work: float) -> None:
    """Prints what a sweep would take on more workers."""
    table = Table(title="Modelled: t = start + tasks · overhead + ⌈tasks / workers⌉ · work")
    table.add_column("equal tasks")
    for workers in MODELLED:
        table.add_column(f"{workers:,} workers", justify="right")
    for tasks in TASKS:
        row = []
        for workers in MODELLED:
            seconds = modelled(overhead, work, tasks, workers)
            row.append(f"{seconds:,.0f} s, {tasks * work / seconds:,.0f} ×")
        table.add_row(f"{tasks:,}", *row)
    console.print(table)
    console.print(
        f"Assumed: start {overhead.start:.2f} s and {overhead.task * 1e3:.2f} ms a task in scheduler and client, one "
        f"after another, as measured above; {work:.2f} s of work a task, as one core of this machine needs; workers as "
        f"fast as it, all equal, with the snapshot read. Not in it: a slow network, and workers that start meanwhile. "
        f"Beyond {work / overhead.task:,.0f} workers the scheduler is the limit for tasks of this size."
    )


def main() -> int:
    """Prints all of it; 1 when the killed run's output is not that of the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows to score")
    parser.add_argument("--tasks", type=int, default=5_000, help="tasks that do nothing")
    parser.add_argument("--fits", type=int, default=16, help="forests of the sweep")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sigap-scale-") as made:
        folder = Path(made)
        train(folder)
        with running(folder) as cluster:
            overhead = measure_overhead(cluster, given.tasks)
            seconds = measure_sweep(cluster, folder, snapshot(), given.fits)
            show_model(overhead, show_fan_out(overhead, seconds, given.fits))
        # Anew: what workers remember of sweeps is not what scoring needs.
        with running(folder) as cluster:
            return show_scoring(cluster, folder, given.rows)


def snapshot() -> pd.DataFrame:
    """The mock cars as a snapshot has them."""
    from sigap.data import mock

    declared = [*CAR_PRICE.columns, *CAR_PRICE.features, CAR_PRICE.target]
    return mock.cars().rename(
        columns={each.sql.removeprefix("t."): each.name for each in declared if each and each.sql}
    )


def show_scoring(cluster: Cluster, folder: Path, rows: int) -> int:
    """Scores the made data set twice and prints what that took; 1 when the outputs differ."""
    write_data(folder / "in", snapshot()[list(CAR_PRICE.feature_names)], rows)
    bundle = folder / "bundle"
    calm, found = measure_scoring(cluster, folder, bundle, "calm")
    harmed, again = measure_scoring(cluster, folder, bundle, "harmed", cluster.workers[0])
    same = hashes(folder / "calm") == hashes(folder / "harmed")
    once = same and (found.rows, found.refused, again.rows, again.refused) == (rows, again.refused, rows, found.refused)
    table = Table(title=f"Forest of 100, {rows:,} rows in {len(found.parts)} partitions, by Dask · {machine()}")
    for heading in ("", "seconds", "rows a second", "refused", "peak memory of a worker"):
        table.add_column(heading)
    for name, each, scored in ((f"{WORKERS} workers", calm, found), ("one of them killed", harmed, again)):
        memory = f"{scored.memory / 2**20:,.0f} MiB"
        table.add_row(name, f"{each:.1f}", f"{rows / each:,.0f}", f"{scored.refused:,}", memory)
    console.print(table)
    told = "the same bytes, each partition once" if once else "NOT the same"
    console.print(f"Output after a killed worker: {told}.")
    return 0 if once else 1


if __name__ == "__main__":
    sys.exit(main())
