"""A real Dask scheduler and real worker processes, on 127.0.0.1, without dashboards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sigap.services.service import free_port
from sigap.settings import ROOT

STARTED_WITHIN = 240.0


class Cluster:
    """A scheduler and its workers; workers are started, and killed, by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.workers: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start("scheduler", "--port", port)
        self._wait(lambda: "Scheduler at" in self._log("scheduler"))

    def add(self, count: int = 1, *more: str, environment: dict[str, str] | None = None) -> list[int]:
        """Starts workers and waits until the scheduler knows them; their process ids."""
        started = []
        for _ in range(count):
            number = len(self.workers)
            folder = self.folder / f"worker-{number}"
            words = ("--no-nanny", "--local-directory", str(folder), "--memory-limit", "0")
            threads = () if "--nthreads" in more else ("--nthreads", "1")
            self.workers.append(
                self._start("worker", self.address, *words, *threads, *more, name=folder.name, environment=environment)
            )
            started.append(self.workers[-1].pid)
        for number in range(len(self.workers) - count, len(self.workers)):
            self._wait(lambda number=number: "Registered to" in self._log(f"worker-{number}"))
        return started

    def kill(self, pid: int) -> None:
        """kill -9 of one worker, or of the scheduler."""
        process = next(each for each in (*self.workers, self.scheduler) if each.pid == pid)
        os.kill(pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """Ends whatever still runs, the workers first."""
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                process.kill()
                process.wait()

    def _start(
        self, kind: str, *words: str, name: str = "", environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words, "--host", "127.0.0.1"]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "", **(environment or {})}
        with (self.folder / f"{name or kind}.log").open("wb") as log:
            return subprocess.Popen(
                [*command, "--no-dashboard"], cwd=self.folder, stdout=log, stderr=log, env=variables
            )

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _wait(self, ready: Callable[[], bool]) -> None:
        limit = time.monotonic() + STARTED_WITHIN
        while not ready():
            if time.monotonic() > limit:
                logs: Sequence[str] = [path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log")]
                pytest.fail("the Dask cluster did not start:\n" + "\n".join(logs))
            time.sleep(0.05)


@pytest.fixture
def make_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Cluster]]:
    """Makes clusters that end with the test."""
    made: list[Cluster] = []

    def make() -> Cluster:
        made.append(Cluster(tmp_path_factory.mktemp("dask")))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()
