"""Time from a fresh clone to a first correct prediction and to all six models, and of a second, warm start.

`./run bench start` clones the committed tree into a temporary folder, installs there with an empty package cache
(`--keep-cache`: with yours), starts everything on free ports, and prints installing and running apart.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from sigap.catalog import declaration, declarations
from sigap.settings import ROOT

LIMIT_SECONDS = 1200
# What ./run says last, when every model has a champion or the reason for none.
DONE = "Ready after"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def seconds_until(check: Callable[[], bool], process: subprocess.Popen[bytes]) -> float:
    """Seconds from now until `check` first holds.

    Raises:
        SystemExit: The process ended or the limit passed first.
    """
    start = time.monotonic()
    while not check():
        if process.poll() is not None or time.monotonic() - start > LIMIT_SECONDS:
            raise SystemExit(f"./run did not get there (exit status {process.poll()}).")
        time.sleep(0.1)
    return time.monotonic() - start


def answers(url: str, body: dict[str, Any]) -> bool:
    """Whether the API gives a champion's answer to the declared example."""
    try:
        answer = httpx.post(f"{url}/predict", json=body, timeout=5)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and answer.json()["model_version"].startswith("v")


def reachable(urls: list[str]) -> bool:
    """Whether every page answers."""
    try:
        return all(httpx.get(url, timeout=5, follow_redirects=True).status_code == 200 for url in urls)
    except httpx.HTTPError:
        return False


def says(log: Path, text: str) -> bool:
    """Whether the log holds the text by now."""
    return text in log.read_text()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep-cache", action="store_true", help="install from your package cache")
    arguments = parser.parse_args()
    console = Console()
    body = declaration("education").example
    with tempfile.TemporaryDirectory(prefix="sigap-start-") as folder:
        clone = Path(folder) / "sigap"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        api, dashboard, mlflow, mage, postgres = free_ports(5)
        env = {key: value for key, value in os.environ.items() if not key.startswith(("SIGAP_", "VIRTUAL_ENV"))}
        env |= {
            "SIGAP_API_PORT": str(api),
            "SIGAP_DASHBOARD_PORT": str(dashboard),
            "SIGAP_MLFLOW_PORT": str(mlflow),
            "SIGAP_MAGE_PORT": str(mage),
            "SIGAP_POSTGRES_PORT": str(postgres),
        }
        if not arguments.keep_cache:
            env["UV_CACHE_DIR"] = str(Path(folder) / "cache")
        url = f"http://127.0.0.1:{api}"
        pages = [
            f"http://127.0.0.1:{port}{path}"
            for port, path in ((dashboard, "/_stcore/health"), (mlflow, "/health"), (mage, "/api/status"))
        ]
        begin = time.monotonic()
        subprocess.run([sys.executable, "run", "settings"], cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
        rows = [("installing", time.monotonic() - begin)]
        for label in ("first start", "second start"):
            log = Path(folder) / f"{label}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [sys.executable, "run"], cwd=clone, env=env, stdout=out, stderr=out, start_new_session=True
                )
            try:
                predicted = seconds_until(lambda: answers(url, body), process)
                rows.append((f"{label}: to the first correct prediction", predicted))
                whole = predicted + seconds_until(lambda: reachable(pages), process)
                rows.append((f"{label}: to every page", whole))
                whole += seconds_until(partial(says, log, DONE), process)
                rows.append((f"{label}: to all {len(declarations())} models", whole))
                if label == "first start":
                    said = log.read_text()
            finally:
                process.send_signal(signal.SIGINT)
                stop = time.monotonic()
                process.wait(timeout=60)
            rows.append((f"{label}: to stop", time.monotonic() - stop))
    console.print(said[said.rindex("\nModel ") :], highlight=False, soft_wrap=True)
    table = Table(title=f"Start, {machine()}")
    table.add_column("")
    table.add_column("seconds", justify="right")
    for label, seconds in rows:
        table.add_row(label, f"{seconds:.1f}")
    console.print(table)
    console.print_json(json.dumps({label: round(seconds, 1) for label, seconds in rows}))


if __name__ == "__main__":
    main()
