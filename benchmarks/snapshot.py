"""A snapshot out of PostgreSQL against chunked pandas and against a COPY that is thrown away.

`./run bench snapshot` makes a table of 10 million rows and 12 columns in a PostgreSQL of its own (`--rows` for others),
reads it in each way in a process of its own, in turns, and prints medians, ratios, peak memory and whether the bytes
repeat. With `--broken 0.01` that share of the rows breaks the contract.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks._apart import own_postgres, told_by
from sigap.catalog import Clustering, Column, Declaration, Feature, Kind, Source, Text
from sigap.data.keeping import md5_of
from sigap.data.snapshot import write_file
from sigap.settings import Settings

ROWS = 10_000_000
TABLE = "benchmark_rows"
WAYS = ("sigap", "copy", "pandas")
LIMITS = {"pandas": 6.0, "copy": 2.2, "memory": 400}

_NUMBERS = tuple(f"x{number}" for number in range(1, 8))
_NAME = Text(id="Ukur", en="Benchmark")


def _feature(name: str, kind: Kind, categories: tuple[str, ...] = ()) -> Feature:
    bounds = {} if categories else {"minimum": -1e9, "maximum": 1e9}
    return Feature(
        name=name, kind=kind, title=_NAME, meaning=_NAME, unit=Text(id="", en=""), categories=categories, **bounds
    )


BENCHMARK = Declaration(
    name="benchmark",
    title=_NAME,
    question=_NAME,
    source=Source(table=TABLE, relation=f"{TABLE} AS t", key=("id",), entity="id"),
    columns=(
        Column(name="id", kind=Kind.INTEGER, required=True, meaning=_NAME),
        Column(name="seen", kind=Kind.TIMESTAMP, meaning=_NAME),
    ),
    features=(
        *(_feature(name, Kind.NUMBER) for name in _NUMBERS),
        _feature("count", Kind.INTEGER),
        _feature("fuel", Kind.CATEGORY, ("gas", "diesel", "electric")),
        _feature("code", Kind.TEXT),
    ),
    task=Clustering(
        published_share=0.5, carry_forward=0, winsorize=0, minimum_entities=4, smallest_cluster=1, smallest_share=0,
        stability_floor=0, best=_NAME, middle=_NAME, worst=_NAME,
    ),
    example={},
    data_source=_NAME,
)  # fmt: skip
COLUMNS = ", ".join([*(column.name for column in BENCHMARK.columns), *BENCHMARK.feature_names])
QUERY = f"SELECT {COLUMNS} FROM {TABLE} ORDER BY id"


def fill(settings: Settings, rows: int, broken: float) -> None:
    """Makes the table: random but the same every time, in the order of its key, analysed."""
    numbers = ", ".join(f"round((random() * 1000)::numeric, 3)::double precision AS {name}" for name in _NUMBERS)
    with psycopg.connect(settings.dsn, autocommit=True) as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(
            f"CREATE TABLE {TABLE} AS SELECT n::bigint AS id, timestamptz '2020-01-01 UTC' + n * interval '1 second'"
            f" AS seen, {numbers}, (random() * 100)::integer AS count,"
            f" CASE WHEN random() < {broken} THEN 'steam' ELSE (ARRAY['gas','diesel','electric'])[1 + n % 3] END"
            f" AS fuel, 'c' || n % 1000 AS code FROM generate_series(1, {rows}) AS n".encode()
        )
        connection.execute(f"ALTER TABLE {TABLE} ADD PRIMARY KEY (id)".encode())
        connection.execute(f"VACUUM ANALYZE {TABLE}".encode())


def by_sigap(settings: Settings, folder: Path) -> Path:
    """As a pipeline does it, contract and all, without DVC and Git."""
    path = folder / "sigap.parquet"
    write_file(BENCHMARK, settings, path, folder / "rejects.csv")
    return path


def by_copy(settings: Settings, _: Path) -> None:
    """The limit: the same ordered rows in binary, thrown away."""
    # libpq itself, so that psycopg's own work per row is not measured.
    libpq = psycopg.pq.PGconn.connect(settings.dsn.encode())
    libpq.exec_(f"COPY ({QUERY}) TO STDOUT (FORMAT binary)".encode())
    while libpq.get_copy_data(0)[0] > 0:
        pass
    libpq.finish()


def by_pandas(settings: Settings, folder: Path) -> Path:
    """As it is usually written: `read_sql` in chunks through SQLAlchemy, and `to_parquet`."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sqlalchemy import create_engine

    path = folder / "pandas.parquet"
    engine = create_engine(settings.dsn.replace("postgresql://", "postgresql+psycopg://"))
    writer: pq.ParquetWriter | None = None
    with engine.connect().execution_options(stream_results=True) as connection:
        for chunk in pd.read_sql(QUERY, connection, chunksize=100_000):
            table = pa.Table.from_pandas(chunk)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()
    return path


_BY: dict[str, Callable[[Settings, Path], Path | None]] = {"sigap": by_sigap, "copy": by_copy, "pandas": by_pandas}


def once(way: str, settings: Settings, folder: Path) -> None:
    """One way in this process: prints seconds, those of its own work, peak memory in MB and the hash as JSON."""
    import resource

    begin, busy = time.perf_counter(), time.process_time()
    path = _BY[way](settings, folder)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = usage.ru_maxrss / 1024
    digest = md5_of(path) if path is not None else ""
    print(json.dumps({"seconds": seconds, "busy": busy, "peak": peak, "md5": digest}))


def measured(way: str, settings: Settings, folder: Path) -> dict[str, float | str]:
    """One way in a process of its own."""
    return told_by("benchmarks.snapshot", ["--once", way, "--folder", str(folder)], settings.as_environment())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured; pandas once less")
    parser.add_argument("--broken", type=float, default=0.0, help="share of the rows that break the contract")
    parser.add_argument("--once", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        once(arguments.once, Settings(), arguments.folder)
        return
    results: dict[str, list[dict[str, float | str]]] = {way: [] for way in WAYS}
    with own_postgres() as (folder, settings):
        fill(settings, arguments.rows, arguments.broken)
        for turn in range(arguments.rounds):
            for way in WAYS:
                if way != "pandas" or turn < max(1, arguments.rounds - 1):
                    results[way].append(measured(way, settings, folder))
    show(results, arguments.rows, arguments.broken)


def show(results: dict[str, list[dict[str, float | str]]], rows: int, broken: float) -> None:
    """Prints the figures and whether they keep what is asked of them."""
    seconds = {way: statistics.median(float(each["seconds"]) for each in found) for way, found in results.items()}
    table = Table(
        title=f"Snapshot of {rows:,} rows × 12, {broken:.1%} broken; {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    for column in ("", "median s", "× Sigap", "client's CPU s", "peak MB", "same bytes"):
        table.add_column(column, justify="right" if column else "left")
    labels = {"sigap": "Sigap, contract and all", "copy": "COPY binary, thrown away", "pandas": "pandas, in chunks"}
    for way, found in results.items():
        hashes = {str(each["md5"]) for each in found}
        same = "" if way == "copy" else "once only" if len(found) == 1 else "yes" if len(hashes) == 1 else "no"
        peak = max(float(each["peak"]) for each in found)
        busy = statistics.median(float(each["busy"]) for each in found)
        ratio = seconds[way] / seconds["sigap"]
        table.add_row(labels[way], f"{seconds[way]:.2f}", f"{ratio:.2f}", f"{busy:.2f}", f"{peak:.0f}", same)
    console = Console()
    console.print(table)
    faster, slower = seconds["pandas"] / seconds["sigap"], seconds["sigap"] / seconds["copy"]
    peak = max(float(each["peak"]) for each in results["sigap"])
    console.print(f"{faster:.1f} times as fast as pandas (at least {LIMITS['pandas']:g} asked)")
    console.print(f"{slower:.2f} times the COPY (at most {LIMITS['copy']:g} asked)")
    console.print(f"{peak:.0f} MB at most (below {LIMITS['memory']:g} asked)")


if __name__ == "__main__":
    main()
