"""How often drift is called where there is none, how surely it is seen, and what it costs beside Evidently.

`./run bench drift` draws windows whose truth is known and decides on them as a check does. `--quick` draws a tenth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import machine
from sigap.monitoring.decision import alarms, compare, judge
from sigap.monitoring.rules import Rules
from sigap.monitoring.samples import FrameSample

console = Console(width=None if sys.stdout.isatty() else 120)
RULES = Rules()
REFERENCE_ROWS = 2_000
SIZES = (38, 200, 1_000, 10_000)
SHIFTS = (0.25, 0.5, 1.0)
NUMBERS, CATEGORIES = 8, 4
NAMES = [*(f"number_{at}" for at in range(NUMBERS)), *(f"category_{at}" for at in range(CATEGORIES))]
LARGE_ROWS, LARGE_COLUMNS = 1_000_000, 20
MOST_SECONDS, MOST_MEGABYTES = 10.0, 500.0
MOST_FALSE = 0.01


def drawn(rows: int, random: np.random.Generator, shift: float = 0.0) -> FrameSample:
    """Rows of numbers that go up and down together, some skewed, some missing, and of unequal categories.

    Args:
        rows: How many.
        random: Draws them.
        shift: Added to every number, in its standard deviations; categories stay.
    """
    common = random.normal(size=rows)
    columns: dict[str, object] = {}
    for at in range(NUMBERS):
        values = 0.6 * common + 0.8 * random.normal(size=rows) + shift
        # Every third is skewed, as incomes are; a monotone change of scale keeps the shift what it is.
        values = np.exp(values) if at % 3 == 2 else values
        columns[f"number_{at}"] = np.where(random.random(rows) < 0.05 * (at == 1), np.nan, values)
    for at in range(CATEGORIES):
        weights = 1.0 / np.arange(1, 3 + 4 * at)
        names = np.array([f"c{each}" for each in range(len(weights))], dtype=object)
        columns[f"category_{at}"] = random.choice(names, size=rows, p=weights / weights.sum())
    return FrameSample(pd.DataFrame(columns))


def false_alarms(windows: int) -> list[tuple[int, float, float, float]]:
    """Of each size, without any shift: shares of windows that drift, that alarm, and that alarm of one feature alone.

    One feature alone is the worst that the share rule can meet. All windows of a size meet the same reference, as those
    of a champion do.
    """
    found = []
    for size in SIZES:
        random = np.random.default_rng([1, size])
        reference = drawn(REFERENCE_ROWS, random)
        drifted: list[bool] = []
        alone: list[bool] = []
        alarmed = alarmed_alone = 0
        for _ in track(range(windows), f"without shift, n = {size}", console=console, transient=True):
            verdict = compare(reference, drawn(size, random), NAMES, RULES)
            drifted.append(verdict.drifted)
            alarmed += alarms(drifted, RULES)
            alone.append(judge([verdict.features[0].tested], RULES).drifted)
            alarmed_alone += alarms(alone, RULES)
        found.append((size, sum(drifted) / windows, alarmed / windows, alarmed_alone / windows))
    return found


def power(windows: int) -> list[tuple[int, float, float, float]]:
    """Of each size and shift: shares of shifted features found, and of windows that drift."""
    found = []
    numbers = set(NAMES[:NUMBERS])
    for size in SIZES:
        for shift in SHIFTS:
            random = np.random.default_rng([2, size, int(100 * shift)])
            reference = drawn(REFERENCE_ROWS, random)
            seen = drifted = 0
            for _ in track(range(windows), f"shift {shift}, n = {size}", console=console, transient=True):
                verdict = compare(reference, drawn(size, random, shift), NAMES, RULES)
                drifted += verdict.drifted
                seen += sum(each.drifted for each in verdict.features if each.tested.feature in numbers)
            found.append((size, shift, seen / (windows * NUMBERS), drifted / windows))
    return found


def large(folder: Path, rows: int) -> list[tuple[str, float, float]]:
    """Name, seconds and megabytes at the peak of ours and of Evidently's plain default, on the same two files.

    Each in a process of its own, from the start of reading to the verdict; imports stand aside in the time, and count
    in the memory.
    """
    random = np.random.default_rng(3)
    for name in ("reference", "now"):
        columns = {f"f{at}": random.normal(size=rows) for at in range(LARGE_COLUMNS)}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=131_072)
    return [(what, *_measured(what, folder)) for what in ("ours", "evidently")]


def _measured(what: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.drift", "--measure", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} failed: {done.stderr[-500:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return float(told["seconds"]), float(told["megabytes"])


def measure(what: str, folder: Path) -> None:
    """Runs one side, and prints what it took."""
    paths = [folder / f"{name}.parquet" for name in ("reference", "now")]
    seconds = _ours(paths) if what == "ours" else _evidently(paths)
    # Not `ru_maxrss`: across `exec` it keeps the peak of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    megabytes = int(peak.split()[1]) / 1024
    print(json.dumps({"seconds": seconds, "megabytes": megabytes}))


def _ours(paths: Sequence[Path]) -> float:
    from sigap.catalog import Column, Declaration, Feature, Kind, Source, Text
    from sigap.catalog.declaration import Clustering
    from sigap.monitoring.samples import ParquetSample

    text = Text(id="", en="")
    task = Clustering(
        published_share=0.5, carry_forward=0, winsorize=0, minimum_entities=4, smallest_cluster=1, smallest_share=0,
        stability_floor=0, best=text, middle=text, worst=text,
    )  # fmt: skip
    names = [f"f{at}" for at in range(LARGE_COLUMNS)]
    declared = Declaration(
        name="large",
        title=text,
        question=text,
        source=Source(table="large", relation="large AS t", key=("id",), entity="id"),
        columns=(Column(name="id", kind=Kind.INTEGER, meaning=text),),
        features=tuple(Feature(name=name, kind=Kind.NUMBER, title=text, meaning=text, unit=text) for name in names),
        task=task,
        example={},
        data_source=text,
    )
    begin = time.perf_counter()
    reference, now = (ParquetSample(path, declared) for path in paths)
    verdict = compare(reference, now, names, RULES)
    seconds = time.perf_counter() - begin
    if verdict.drifted:
        raise SystemExit("Drift was called where there is none.")
    return seconds


def _evidently(paths: Sequence[Path]) -> float:
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    begin = time.perf_counter()
    reference, now = (Dataset.from_pandas(pd.read_parquet(path)) for path in paths)
    Report([DataDriftPreset()]).run(current_data=now, reference_data=reference).dict()
    return time.perf_counter() - begin


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="./run bench drift", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="A tenth of the windows and of the rows.")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return 0
    part = 10 if options.quick else 1
    console.print(f"Drift on {machine()}; rules: {RULES.model_dump_json()}\n")
    good = _show_false(1_000 // part)
    _show_power(100 // part)
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        good &= _show_large(large(Path(folder), LARGE_ROWS // part), LARGE_ROWS // part)
    return 0 if good else 1


def _show_false(windows: int) -> bool:
    heads = ("rows", "windows that drift", "with an alarm", "with an alarm, of one feature")
    shown = Table(*heads, title=f"{windows} windows without shift of each size, {len(NAMES)} features")
    found = false_alarms(windows)
    for size, *shares in found:
        shown.add_row(f"{size:,}", *(f"{share:.2%}" for share in shares))
    console.print(shown)
    return all(max(alarmed) <= MOST_FALSE for _, _, *alarmed in found)


def _show_power(windows: int) -> None:
    title = f"All {NUMBERS} numbers of {len(NAMES)} features shifted, {windows} windows each"
    shown = Table("rows", "shift, sd", "shifted features found", "windows that drift", title=title)
    for size, shift, seen, drifted in power(windows):
        shown.add_row(f"{size:,}", f"{shift}", f"{seen:.0%}", f"{drifted:.0%}")
    console.print(shown)


def _show_large(found: list[tuple[str, float, float]], rows: int) -> bool:
    shown = Table("", "seconds", "peak, MB", title=f"{rows:,} rows × {LARGE_COLUMNS} features on both sides")
    for what, seconds, megabytes in found:
        shown.add_row(what, f"{seconds:.1f}", f"{megabytes:.0f}")
    (_, ours, memory), (_, theirs, their_memory) = found
    shown.add_row("evidently ÷ ours", f"{theirs / ours:.1f}", f"{their_memory / memory:.1f}")
    console.print(shown)
    return ours <= MOST_SECONDS and memory <= MOST_MEGABYTES


if __name__ == "__main__":
    raise SystemExit(main())
