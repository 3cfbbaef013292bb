"""Many rows: Sigap's API beside pandas + scikit-learn on the same input with the same forest, and XLSX beside openpyxl.

`./run bench batch` trains a forest of 100 on the mock cars as the pipeline does, serves its bundle by an API in a
process of its own, and prints rows a second and peak memory side by side. The API is asked over HTTP and does all its
duties: upload, recognition, validation of each row, prediction, interval, segment, remarks, and the answer sent back.
The peer is given its rows on disk or in memory and is spared HTTP and validation. `--rows 100000` is a quick run.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pickle
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil
from rich.console import Console
from rich.table import Table

from sigap.bundle import MANIFEST, CodeEntry, DataEntry
from sigap.catalog.car_price import CAR_PRICE
from sigap.data import mock
from sigap.settings import ROOT
from sigap.training.evaluation import answers
from sigap.training.trainer import trainer

MODEL = CAR_PRICE.name
FOREST = {"estimator": "random_forest", "grid": {"n_estimators": [100]}}
PARAMS = {"folds": 5, "repeats": 3, "inner_folds": 2, "candidates": {"forest": FOREST}}
PEER_CHUNK = 100_000
START_SECONDS = 60.0

console = Console(width=None if sys.stdout.isatty() else 120)


def train(folder: Path) -> tuple[str, pd.DataFrame]:
    """Trains, writes the bundle and the scikit-learn model to `folder`; returns the manifest's hash and the cars."""
    declared = [*CAR_PRICE.columns, *CAR_PRICE.features, CAR_PRICE.target]
    names = {each.sql.removeprefix("t."): each.name for each in declared if each and each.sql}
    table = mock.cars().rename(columns=names)
    how = trainer(CAR_PRICE)
    params = how.parse_params(PARAMS)
    prepared = how.prepare(CAR_PRICE, table)
    trained = how.choose(
        CAR_PRICE,
        prepared,
        params,
        [how.fit(prepared, CAR_PRICE, params, each.name) for each in how.candidates(params)],
    )
    data = DataEntry(version="v1", md5="0" * 32, rows=1, rows_rejected=0, period=None, git_commit="", query="")
    bundle = folder / "bundle"
    how.write_bundle(bundle, trained, data=data, code=CodeEntry(git_commit="", lock_sha256=""))
    (folder / "model.pkl").write_bytes(pickle.dumps((trained.model, list(prepared.used))))
    sha256 = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    return sha256, prepared.table[list(CAR_PRICE.feature_names)]


def many(cars: pd.DataFrame, rows: int) -> pd.DataFrame:
    """So many cars, each a little other than one of those known."""
    generator = np.random.default_rng(7)
    drawn = cars.iloc[generator.integers(0, len(cars), rows)].reset_index(drop=True)
    for name in ("wheelbase", "carlength", "carwidth"):
        drawn[name] = (drawn[name] + generator.normal(0, 0.5, rows)).round(1)
    return drawn


@contextlib.contextmanager
def api(state: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The API in a process of its own: its address and the process."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    settings = {
        "SIGAP_STATE_DIR": str(state),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "SIGAP_DEFAULT_MODEL": MODEL,
        "SIGAP_MAX_FILE_BYTES": str(4 * 2**30),
        "SIGAP_MAX_FILE_ROWS": "100000000",
        "SIGAP_BODY_SECONDS": "600",
    }
    command = [sys.executable, "-m", "uvicorn", "backend.app:app", "--host", "127.0.0.1", "--port", str(port)]
    with (state / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--no-access-log"], cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.HTTPError):
                models = httpx.get(f"{address}/models", trust_env=False).json()["models"]
                if any(each["name"] == MODEL and each["served"] for each in models):
                    break
            if time.monotonic() > until:
                raise TimeoutError((state / "api.log").read_text()[-2000:])
            time.sleep(0.2)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def keep(state: Path, bundle: Path, sha256: str) -> None:
    """Puts the bundle where the API keeps the one it served last."""
    kept = state / "api" / MODEL / f"v1-{sha256[:16]}"
    kept.parent.mkdir(parents=True)
    bundle.rename(kept)
    (kept.parent / "last_good.json").write_text(json.dumps({"version": "1", "manifest_sha256": sha256}))


def highest_memory(process: psutil.Process, stop: threading.Event, found: list[float]) -> None:
    """Notes the most memory of the process with its children, in MB, until told to stop."""
    while not stop.wait(0.05):
        with contextlib.suppress(psutil.Error):
            all_of_them = [process, *process.children(recursive=True)]
            found.append(sum(each.memory_info().rss for each in all_of_them) / 1e6)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def send_file(address: str, path: Path, form: str) -> int:
    """Has a file answered and reads the answer to its end; returns its bytes."""
    url = f"{address}/models/{MODEL}/predict-file?format={form}"
    size = 0
    with (
        path.open("rb") as file,
        httpx.stream("POST", url, files={"file": (path.name, file)}, timeout=None, trust_env=False) as answer,
    ):
        answer.raise_for_status()
        for part in answer.iter_raw():
            size += len(part)
    return size


def peer(how: str, csv: Path, folder: Path) -> None:
    """What a notebook does with a file; prints seconds and peak memory in MB."""
    model, used = pickle.loads((folder / "model.pkl").read_bytes())  # our own, written a moment ago
    target = folder / "peer.csv"
    started = time.perf_counter()
    if how == "whole":
        table = pd.read_csv(csv)
        table["price"] = answers(model, table[used])
        table.to_csv(target, index=False)
    else:
        for number, table in enumerate(pd.read_csv(csv, chunksize=PEER_CHUNK)):
            table["price"] = answers(model, table[used])
            table.to_csv(target, index=False, header=not number, mode="a" if number else "w")
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))


def asked_peer(how: str, csv: Path, folder: Path) -> tuple[float, float]:
    """Seconds and MB of the peer in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.batch", "--peer", how, "--csv", str(csv), "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def show_csv(address: str, process: psutil.Process, csv: Path, folder: Path, rows: int, rounds: int) -> None:
    """A CSV file: rows a second and memory of both, in turns."""
    ours, whole, chunks = [], [], []
    memory: list[float] = []
    for _ in range(rounds):
        stop = threading.Event()
        watch = threading.Thread(target=highest_memory, args=(process, stop, memory))
        watch.start()
        ours.append(timed(lambda: send_file(address, csv, "csv")))
        stop.set()
        watch.join()
        whole.append(asked_peer("whole", csv, folder))
        chunks.append(asked_peer("chunks", csv, folder))
    table = Table(title=f"CSV, {rows:,} rows, {csv.stat().st_size / 1e6:.0f} MB, median of {rounds}")
    for name in ("", "rows/s", "ratio", "peak MB"):
        table.add_column(name, justify="left" if not name else "right")
    best = min(statistics.median(each[0] for each in found) for found in (whole, chunks))
    seconds = statistics.median(ours)
    table.add_row("Sigap, over HTTP", f"{rows / seconds:,.0f}", f"{best / seconds:.2f}", f"{max(memory):.0f}")
    for name, found in (("pandas + scikit-learn, whole", whole), (f"the same, {PEER_CHUNK:,} at once", chunks)):
        each = statistics.median(one[0] for one in found)
        table.add_row(name, f"{rows / each:,.0f}", f"{best / each:.2f}", f"{max(one[1] for one in found):.0f}")
    console.print(table)


def show_json(address: str, cars: pd.DataFrame, folder: Path, rows: int, rounds: int) -> None:
    """A JSON array: milliseconds of both, in turns; the peer without HTTP."""
    model, used = pickle.loads((folder / "model.pkl").read_bytes())
    body = many(cars, rows).to_json(orient="records").encode()

    def notebook() -> None:
        table = pd.DataFrame(json.loads(body))
        table["price"] = answers(model, table[used])
        json.dumps(table.to_dict("records"))

    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:

        def ours() -> None:
            found.append(client.post(f"/models/{MODEL}/predict-batch", content=body))

        found: list[httpx.Response] = []
        times: dict[str, list[float]] = {"Sigap, over HTTP": [], "pandas + scikit-learn in memory": []}
        for _ in range(rounds):
            times["Sigap, over HTTP"].append(timed(ours))
            times["pandas + scikit-learn in memory"].append(timed(notebook))
    # Both end with JSON as text; what reads it is neither's work.
    for each in found:
        if each.status_code != 200 or each.json()["answered"] != rows:
            raise RuntimeError(each.text[:500])
    table = Table(title=f"JSON, {rows:,} rows, median of {rounds}")
    for name in ("", "ms", "rows/s", "ratio"):
        table.add_column(name, justify="left" if not name else "right")
    base = statistics.median(times["pandas + scikit-learn in memory"])
    for name, measured in times.items():
        seconds = statistics.median(measured)
        table.add_row(name, f"{seconds * 1e3:.1f}", f"{rows / seconds:,.0f}", f"{base / seconds:.2f}")
    console.print(table)


def show_xlsx(address: str, cars: pd.DataFrame, folder: Path, rows: int) -> None:
    """Reading a sheet: ours with all its checks beside openpyxl's, and the whole way through the API."""
    import openpyxl
    import xlsxwriter

    from backend.files.helper import Reading
    from backend.files.reader import Limits

    path = folder / "cars.xlsx"
    sheet_rows = many(cars, rows)
    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([list(sheet_rows.columns), *sheet_rows.astype(object).values.tolist()]):
            sheet.write_row(number, 0, row)

    def ours() -> None:
        reading = Reading(path, "XLSX", Limits(2**29, 2**29, 200))
        found = sum(table.num_rows for table in reading.tables())
        reading.close()
        if found != rows:
            raise RuntimeError(f"{found} rows were read")

    def theirs() -> None:
        sheet = openpyxl.load_workbook(path, read_only=True).worksheets[0]
        for _ in sheet.iter_rows(values_only=True):
            pass

    with contextlib.suppress(Exception):
        Reading(folder / "none.xlsx", "XLSX", Limits(2**29, 2**29, 200))  # starts the helper, as any file before does
    table = Table(title=f"XLSX, {rows:,} rows, {path.stat().st_size / 1e6:.1f} MB")
    for name in ("", "seconds", "ratio"):
        table.add_column(name, justify="left" if not name else "right")
    slow, fast = timed(theirs), min(timed(ours) for _ in range(2))
    table.add_row("Sigap, read with all checks", f"{fast:.2f}", f"{slow / fast:.1f}")
    table.add_row("openpyxl, read only", f"{slow:.2f}", "1.0")
    table.add_row("Sigap, over HTTP, answered as CSV", f"{timed(lambda: send_file(address, path, 'csv')):.2f}", "")
    table.add_row("Sigap, over HTTP, answered as XLSX", f"{timed(lambda: send_file(address, path, 'xlsx')):.2f}", "")
    console.print(table)


def show_others(address: str, csv: Path) -> None:
    """What single requests notice of a file: their latency without and with one."""
    table = Table(title="One request at a time, 200 a second: milliseconds")
    for name in ("", "median", "p99"):
        table.add_column(name, justify="left" if not name else "right")
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:

        def latencies(goes_on: Callable[[], bool]) -> list[float]:
            found = []
            while goes_on():
                found.append(timed(lambda: client.post(f"/models/{MODEL}/predict", json=CAR_PRICE.example)) * 1e3)
                time.sleep(0.005)
            return found

        until = time.monotonic() + 3
        quiet = latencies(lambda: time.monotonic() < until)
        sending = threading.Thread(target=send_file, args=(address, csv, "csv"))
        sending.start()
        beside = latencies(sending.is_alive)
    for name, found in (("without a file", quiet), ("while a CSV file is answered", beside)):
        table.add_row(name, f"{statistics.median(found):.1f}", f"{np.percentile(found, 99):.1f}")
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the CSV file")
    parser.add_argument("--sheet-rows", type=int, default=50_000, help="of the XLSX file; 0: none")
    parser.add_argument("--json-rows", type=int, default=1000, help="of the JSON array")
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turns")
    parser.add_argument("--peer", choices=["whole", "chunks"], help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        peer(arguments.peer, arguments.csv, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sha256, cars = train(folder)
        state = folder / "state"
        keep(state, folder / "bundle", sha256)
        csv = folder / "cars.csv"
        many(cars, arguments.rows).to_csv(csv, index=False)
        with api(state) as (address, process):
            show_json(address, cars, folder, arguments.json_rows, 7 * arguments.rounds)
            show_csv(address, process, csv, folder, arguments.rows, arguments.rounds)
            show_others(address, csv)
            if arguments.sheet_rows:
                show_xlsx(address, cars, folder, arguments.sheet_rows)


if __name__ == "__main__":
    main()
