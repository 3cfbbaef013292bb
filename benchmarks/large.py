"""A table larger than memory: snapshot in partitions, contract, profile, sample, features and answers of every row.

`./run bench large --rows 50000000` makes a table of 8 columns on the server of a PostgreSQL of its own and takes a
tenth, a fifth, two fifths and all of it through what a pipeline does with its data, each size in a process and a
checkout of its own. It prints seconds and peak memory (of the process and its children; the server's is not counted) of
each step, the time a million rows, and how far time and memory are from a straight line and from flat. The change
sensor's digest, which a snapshot takes too where changed rows start a training, is a step of its own. The disk needs
about 300 bytes a row.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks._apart import own_postgres, told_by
from sigap.bundle import CodeEntry, DataEntry
from sigap.catalog.declaration import Column, Declaration, Kind, Regression, Source, Target, Text, choice, number
from sigap.data import parts
from sigap.data.content import digest
from sigap.data.postgres import connect
from sigap.data.profile import profile_version
from sigap.data.samples import training_sample
from sigap.data.snapshot import take_snapshot
from sigap.settings import ROOT, Settings
from sigap.training.rows import typed
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import trainer

ROWS = 10_000_000
SHARES = (0.1, 0.2, 0.4, 1.0)
TABLE = "benchmark_trips"
PARAMS = {"folds": 3, "repeats": 1, "inner_folds": 2, "candidates": {"ridge": {"estimator": "ridge"}}}

_NAME = Text(id="Ukur", en="Benchmark")
_NO_UNIT = Text(id="", en="")
_KINDS = ("economy", "comfort", "van")
TRIPS = Declaration(
    name="benchmark",
    title=_NAME,
    question=_NAME,
    source=Source(table=TABLE, relation=f"{TABLE} AS t", key=("trip",), entity="trip"),
    columns=(
        Column(name="trip", kind=Kind.INTEGER, required=True, minimum=1, meaning=_NAME),
        Column(name="began", kind=Kind.TIMESTAMP, required=True, meaning=_NAME),
    ),
    features=(
        number("distance", _NAME, _NAME, _NO_UNIT, 0, 1000),
        number("minutes", _NAME, _NAME, _NO_UNIT, 0, 10_000),
        number("surge", _NAME, _NAME, _NO_UNIT, 1, 10),
        number("rating", _NAME, _NAME, _NO_UNIT, 1, 5),
        choice("kind", _NAME, _NAME, _KINDS),
    ),
    target=Target(name="fare", kind=Kind.NUMBER, title=_NAME, meaning=_NAME, minimum=0),
    task=Regression(),
    example={"distance": 5.0, "minutes": 15.0, "surge": 1.0, "rating": 4.5, "kind": "comfort"},
    data_source=_NAME,
)


def fill(connection: psycopg.Connection[Any], begun: int, rows: int, broken: float) -> None:
    """Adds rows on the server up to `rows`, random but the same every time; a share of them breaks the contract."""
    if not begun:
        connection.execute(
            f"CREATE UNLOGGED TABLE {TABLE} (trip bigint PRIMARY KEY, began timestamptz NOT NULL, distance float8,"
            " minutes float8, surge float8, rating float8, kind text, fare float8)".encode()
        )
    connection.execute("SELECT setseed(0.5)")
    connection.execute(
        f"INSERT INTO {TABLE} SELECT n, began, distance, minutes, surge, CASE WHEN random() < 0.1 THEN NULL ELSE rating"
        f" END, CASE WHEN random() < {broken} THEN 'boat' ELSE kind END, surge * (2 + distance + minutes / 3)"
        " + random() FROM (SELECT n, timestamptz '2020-01-01 UTC' + n * interval '1 second' AS began,"
        " round((random() * 40)::numeric, 2)::float8 AS distance,"
        " round((random() * 90)::numeric, 1)::float8 AS minutes,"
        " 1 + round((random() * random() * 3)::numeric, 1)::float8 AS surge,"
        " 1 + floor(random() * 9)::float8 / 2 AS rating,"
        f" (ARRAY['economy','comfort','van'])[1 + n % 3] AS kind FROM generate_series({begun} + 1, {rows}) AS n"
        " OFFSET 0) AS drawn".encode()
    )
    connection.execute(f"VACUUM ANALYZE {TABLE}".encode())


class Watched:
    """Seconds and peak memory of steps, of this process and its children.

    Attributes:
        steps: By name: `seconds`, `busy` (those of this process's own work) and `peak` in MB.
    """

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures what the block does."""
        peak, over, process = [0.0], threading.Event(), psutil.Process()

        def look() -> None:
            while not over.wait(0.05):
                peak[0] = max(peak[0], _memory(process))

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        begin, busy = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            seconds, busy = time.perf_counter() - begin, time.process_time() - busy
            over.set()
            watcher.join()
            self.steps[name] = {"seconds": seconds, "busy": busy, "peak": max(peak[0], _memory(process))}


def _memory(process: psutil.Process) -> float:
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20


def once(settings: Settings) -> dict[str, Any]:
    """All steps on the table as it is, in this process."""
    watched = Watched()
    with watched.step("digest, on the server"), connect(settings, read_only=True) as connection:
        digest(connection, TRIPS)
    with watched.step("snapshot: contract, partitions, DVC, Git"):
        taken = take_snapshot(TRIPS, settings)
    with watched.step("profile"):
        profile_version(TRIPS, settings, taken.version, taken.md5)
    with watched.step("sample to train on"):
        sampled = training_sample(TRIPS, settings, taken.md5)
    how = trainer(TRIPS)
    params = how.parse_params(PARAMS)
    with watched.step("training on the sample"):
        prepared = how.prepare(TRIPS, read_snapshot(sampled.path))
        trained = how.choose(TRIPS, prepared, params, [how.fit(prepared, TRIPS, params, "ridge")])
        data = DataEntry(version="v1", md5=taken.md5, rows=1, rows_rejected=0, period=None, git_commit="", query="")
        bundle = settings.state / "bundle"
        how.write_bundle(bundle, trained, data=data, code=CodeEntry(git_commit="", lock_sha256=""))
    path = settings.root / taken.path
    with watched.step("features of every row"):
        rows = sum(len(typed(TRIPS, batch.to_pandas())) for batch in parts.batches(path))
    with watched.step("ONNX = scikit-learn on every row"):
        rows = how.check_rows(trained, bundle, (batch.to_pandas() for batch in parts.batches(path)))
    size = sum(each.stat().st_size for each in parts.parts(path))
    return {
        "steps": watched.steps,
        "rows": taken.rows,
        "rejected": taken.rejected,
        "checked": rows,
        "partitions": len(parts.parts(path)),
        "bytes": size,
    }


def _checkout(folder: Path) -> None:
    """A checkout of its own, with Git and DVC."""
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    (folder / "data" / "raw").mkdir(parents=True)
    for name in (".gitignore", ".dvcignore", "data/raw/.gitignore"):
        shutil.copy2(ROOT / name, folder / name)
    for words in (
        ("init", "--quiet"),
        ("add", "--all"),
        ("-c", "user.name=B", "-c", "user.email=b@localhost", "commit", "-qm", "B"),
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)


def measured(settings: Settings, folder: Path) -> dict[str, Any]:
    """All steps in a process and a checkout of its own, which are gone afterwards."""
    _checkout(folder)
    own = {"SIGAP_ROOT": str(folder), "SIGAP_STATE_DIR": str(folder / ".sigap"), "DATABASE_URL": settings.dsn}
    try:
        return told_by("benchmarks.large", ["--once"], settings.as_environment() | own)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the largest table")
    parser.add_argument("--broken", type=float, default=0.001, help="share of the rows that break the contract")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(once(Settings())))
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    found: list[dict[str, Any]] = []
    with own_postgres() as (folder, settings), psycopg.connect(settings.dsn, autocommit=True) as connection:
        begun = 0
        for share in SHARES:
            rows = int(arguments.rows * share)
            fill(connection, begun, rows, arguments.broken)
            begun = rows
            found.append(measured(settings, folder / f"checkout-{rows}"))
            show_one(console, found[-1])
    show_growth(console, found)


def show_one(console: Console, found: dict[str, Any]) -> None:
    """Prints the steps of one size."""
    million = (found["rows"] + found["rejected"]) / 1e6
    table = Table(
        title=f"{found['rows']:,} rows and {found['rejected']:,} set aside, {found['partitions']} partitions, "
        f"{found['bytes'] / 2**20:,.0f} MB; {machine()}"
    )
    for column in ("", "s", "s a million", "own CPU s a million", "rows a s", "peak MB"):
        table.add_column(column, justify="right" if column else "left")
    for name, step in found["steps"].items():
        each, busy = step["seconds"] / million, step["busy"] / million
        rate = million * 1e6 / step["seconds"]
        shown = (f"{step['seconds']:.1f}", f"{each:.2f}", f"{busy:.2f}", f"{rate:,.0f}", f"{step['peak']:.0f}")
        table.add_row(name, *shown)
    console.print(table)


def show_growth(console: Console, found: list[dict[str, Any]]) -> None:
    """Prints how time and memory grow with the rows."""
    rows = np.array([(each["rows"] + each["rejected"]) / 1e6 for each in found])
    table = Table(title=f"Growth from {rows[0]:g} to {rows[-1]:g} million rows; {machine()}")
    for column in (
        "",
        "s a million",
        "+ s",
        "R²",
        "most / least s a million",
        "own CPU, most / least s a million",
        "peak MB, most / least",
    ):
        table.add_column(column, justify="right" if column else "left")
    names = list(found[0]["steps"])
    for name in (*names, "all"):
        chosen = names if name == "all" else [name]
        seconds = np.array([sum(each["steps"][step]["seconds"] for step in chosen) for each in found])
        own = np.array([sum(each["steps"][step]["busy"] for step in chosen) for each in found])
        peaks = [max(each["steps"][step]["peak"] for step in chosen) for each in found]
        slope, constant = np.polyfit(rows, seconds, 1)
        rest = seconds - (slope * rows + constant)
        explained = 1 - float(np.square(rest).sum() / np.square(seconds - seconds.mean()).sum())
        each, busy = seconds / rows, own / rows
        table.add_row(
            name, f"{slope:.2f}", f"{constant:.1f}", f"{explained:.4f}", f"{each.max():.2f} / {each.min():.2f}",
            f"{busy.max():.2f} / {busy.min():.2f}", f"{max(peaks):.0f} / {min(peaks):.0f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
