"""Whether Mage stays small, loses no run and doubles none over many runs: `./run bench soak --runs 200`.

The runs are trivial, so that what is measured is Mage: its scheduler, its queue, its processes. Two go on at a time, as
when `./run` trains its models.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from sigap.errors import PipelineError
from sigap.services.mage import mage_service
from sigap.services.mage_api import MageApi
from sigap.services.mage_client import run_pipeline
from sigap.services.service import Running, free_port, relatives
from sigap.settings import Settings

PIPELINE, AT_ONCE, MARKS = "soak", 2, 4
# The first runs import what all later ones share: memory is compared from here on.
WARM_RUNS = 10
LIMIT = 1.25
FILES = {
    "metadata.yaml": "project_type: standalone\nproject_uuid: soak\nhelp_improve_mage: false\n"
    "queue_config: {queue_type: process, concurrency: 8}\n",
    f"pipelines/{PIPELINE}/metadata.yaml": f"name: {PIPELINE}\nuuid: {PIPELINE}\ntype: python\nblocks:\n"
    "- {uuid: first, name: first, type: custom, language: python, upstream_blocks: [], downstream_blocks: [second]}\n"
    "- {uuid: second, name: second, type: custom, language: python, upstream_blocks: [first], downstream_blocks: []}\n",
    "custom/first.py": "@custom\ndef first(*_, **given):\n    return {'number': given['number']}\n",
    "custom/second.py": "@custom\ndef second(told, *_, **__):\n    return told\n",
}


def main() -> None:
    """Runs, and prints memory, runs that stuck and runs that were doubled."""
    parser = argparse.ArgumentParser(prog="./run bench soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="How many.")
    runs = max(WARM_RUNS + MARKS, parser.parse_args().runs)
    with tempfile.TemporaryDirectory(prefix="sigap-soak-") as folder:
        settings = Settings(_env_file=None, root=_project(Path(folder)), state_dir=Path("state"), mage_port=free_port())
        server = Running(mage_service(settings), settings.state)
        try:
            server.wait_ready()
            _soak(settings, server, runs)
        finally:
            server.stop()


def _project(root: Path) -> Path:
    for name, text in FILES.items():
        path = root / "mage_project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def _soak(settings: Settings, server: Running, runs: int) -> None:
    print(machine())
    told: Counter[str] = Counter()

    def one(number: int) -> float:
        begun = time.perf_counter()
        try:
            result = run_pipeline(settings, PIPELINE, {"number": number}, lambda event: _count(told, event))
        except PipelineError as error:
            told["failed"] += 1
            print(f"run {number}: {error.message}")
        else:
            told["mixed up"] += result != {"number": number}
        return time.perf_counter() - begun

    begun, first, seconds = time.perf_counter(), 0.0, list[float]()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for until in sorted({WARM_RUNS, *(WARM_RUNS + (runs - WARM_RUNS) * at // MARKS for at in range(1, MARKS + 1))}):
            seconds += list(threads.map(one, range(len(seconds), until)))
            held = _memory(server)
            first = first or held
            print(f"after {until:>4} runs: {held:.0f} MB in {_processes(server)} processes")
    started, doubled = _started(settings, runs)
    minutes = (time.perf_counter() - begun) / 60
    print(f"{runs} runs in {minutes:.1f} min, {sorted(seconds)[len(seconds) // 2]:.1f} s each (median)")
    print(f"stuck and retried {told['retry']}, failed {told['failed']}, with another's result {told['mixed up']}")
    print(f"runs in Mage's database {started} (asked for {runs + told['retry']}), with a step that ran twice {doubled}")
    print(f"memory {held / first:.2f} times that after {WARM_RUNS} runs, wanted below {LIMIT}")


def _count(told: Counter[str], event: dict[str, Any]) -> None:
    told[event["event"]] += 1


def _memory(server: Running) -> float:
    """Megabytes of the whole family; pages that it shares count once, so a fork is not counted as a copy."""
    return sum(_unless_gone(each) for each in _family(server)) / 2**20


def _unless_gone(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss)
    except psutil.Error:
        return 0.0


def _processes(server: Running) -> int:
    return len(_family(server))


def _family(server: Running) -> list[psutil.Process]:
    process = psutil.Process(server.process.pid)
    return [process, *relatives(process.pid)]


def _started(settings: Settings, runs: int) -> tuple[int, int]:
    """Runs that Mage has recorded, and those of them that have a step more than once."""
    with MageApi(settings) as api:
        api.sign_in()
        recorded = api.runs(PIPELINE, limit=runs * 2)
    steps = [Counter(block["block_uuid"] for block in run["block_runs"]) for run in recorded]
    return len(recorded), sum(max(each.values(), default=0) > 1 for each in steps)


if __name__ == "__main__":
    main()
