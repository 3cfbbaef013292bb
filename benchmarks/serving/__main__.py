"""Serving side by side: requests a second, latencies, swaps under load, start and memory, beside other model servers.

`./run bench serving` installs the peers into environments of their own below `.sigap/bench` (a first run takes minutes
longer), starts everything on free ports, and prints tables. `--rounds`, `--seconds` and `--without-peers` shorten it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.serving.models import FOREST, TREES, describe, prepare
from benchmarks.serving.ours import CHAMPION, FOREST_ALIAS, World, world
from benchmarks.serving.peers import MODELS, floors, peers
from benchmarks.serving.servers import CONNECTIONS, MissingError, Server, latencies, need_wrk
from sigap.settings import get_settings

RATE = 1000.0
SWAPS = 100
SWAP_SECONDS = 0.25
console = Console(width=140)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds, whose median counts")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each server in each round")
    parser.add_argument("--without-peers", action="store_true", help="only the API, the echo and the floor")
    options = parser.parse_args()
    # Ended from outside, it shall still end what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    home = get_settings().state / "bench"
    try:
        need_wrk()
        bundles = prepare(home / "serving" / "models", console.print)
        with contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sigap-serving-")))
            around = stack.enter_context(world(bundles))
            servers = [*floors(), *_ours(around, scratch, bundles)]
            if not options.without_peers:
                servers += peers(home, home / "serving" / "models" / "peers", scratch, console.print)
            running = [server for server in servers if _started(server, scratch, stack)]
            for _ in range(options.rounds):
                for model in MODELS:
                    for server in running:
                        if model in server.questions:
                            server.saturate(model, options.seconds)
            for server in running:
                server.weigh()
            _print_rates(running, bundles)
            _print_latencies(running, around, options.seconds * options.rounds)
    except MissingError as error:
        sys.exit(f"Error: {error}")


def _ours(around: World, scratch: Path, bundles: dict[str, Path]) -> list[Server]:
    champion = around.server("Sigap", scratch, CHAMPION, MODELS, "six models; token, limits, metrics, log")
    forest = around.server(
        f"Sigap, forest of {TREES}", scratch, FOREST_ALIAS, ("car_price",), describe(bundles[FOREST])
    )
    return [champion, forest]


def _started(server: Server, scratch: Path, stack: contextlib.ExitStack) -> bool:
    try:
        server.start(scratch)
    except MissingError as error:
        console.print(f"without {server.name}: {error}")
        return False
    stack.callback(server.stop)
    return True


def _print_rates(running: list[Server], bundles: dict[str, Path]) -> None:
    for model in MODELS:
        table = Table(title=f"{model}, {CONNECTIONS} connections, one worker each; ours: {describe(bundles[model])}")
        for name in ("", "requests/s", "× mlflow", "× echo", "CPU µs each", "first answer, s", "memory, MB", ""):
            table.add_column(name, justify="left" if not name else "right")
        asked = [server for server in running if model in server.questions]
        rates = {server.name: server.questions[model].rate for server in asked}
        for server in asked:
            rate = rates[server.name]
            ratios = [_ratio(rate, rates.get(other)) for other in ("mlflow models serve", "FastAPI echo")]
            figures = [
                f"{rate:,.0f}",
                *ratios,
                f"{server.questions[model].cost:.0f}",
                f"{server.start_seconds:.1f}",
                f"{server.memory_mb:.0f}",
            ]
            table.add_row(server.name, *figures, server.note)
        console.print(table)
    console.print(
        f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}; "
        "client and servers on the same machine; medians over interleaved rounds"
    )


def _ratio(rate: float, of: float | None) -> str:
    return f"{rate / of:.1f}" if of else "–"


def _print_latencies(running: list[Server], around: World, seconds: float) -> None:
    table = Table(title=f"education at {RATE:,.0f} requests/s, ms from the moment a request was due")
    for name in ("", "p50", "p90", "p99", "p99.9", "not answered", "not 200"):
        table.add_column(name, justify="left" if not name else "right")
    by_name = {server.name: server for server in running}
    for name in ("raw ASGI floor", "FastAPI echo", "Sigap"):
        found = latencies(by_name[name].paced("education", RATE, seconds, sys.executable))
        table.add_row(name, *_shown(found))
    server = by_name["Sigap"]
    process = server.paced("education", RATE, SWAPS * SWAP_SECONDS, sys.executable)
    followed = around.swap(server, SWAPS, SWAPS * SWAP_SECONDS)
    table.add_row(f"Sigap during {followed} swaps", *_shown(latencies(process)))
    console.print(table)


def _shown(found: dict[str, Any]) -> list[str]:
    wrong = sum(count for status, count in found["statuses"].items() if int(status) != 200)
    return [*(f"{found[name]:.2f}" for name in ("p50", "p90", "p99", "p99.9")), str(found["unanswered"]), str(wrong)]


if __name__ == "__main__":
    main()
