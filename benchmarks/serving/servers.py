"""Servers as processes: started with a stopwatch, asked, weighed, and ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from sigap.errors import SigapError
from sigap.services.service import free_port
from sigap.settings import ROOT

START_LIMIT = 120.0
CONNECTIONS = 16


class MissingError(SigapError):
    """Something that the benchmark needs is not on this machine and can't be put there."""


@dataclass
class Question:
    """A request, and how often it was answered."""

    path: str
    body: str
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """Microseconds of processor time that the server spent on a request: the median of all rounds."""
        return statistics.median(self.costs) if self.costs else float("nan")

    @property
    def rate(self) -> float:
        """Requests a second: the median of all rounds."""
        return statistics.median(self.rates) if self.rates else float("nan")


@dataclass
class Server:
    """A server under test.

    Attributes:
        name: As the table calls it.
        command: What starts it; `{port}` stands for the port.
        questions: By model.
        env: Variables besides those of this process.
        note: What the table says of it.
    """

    name: str
    command: list[str]
    questions: dict[str, Question]
    env: dict[str, str] = field(default_factory=dict)
    note: str = ""
    port: int = field(default_factory=free_port)
    start_seconds: float = float("nan")
    memory_mb: float = float("nan")
    _process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> None:
        """Starts it and notes the seconds to its first right answer.

        Raises:
            MissingError: It ended or did not answer in time.
        """
        log = folder / f"{re.sub('[^a-z0-9]+', '-', self.name.lower())}.log"
        command = [part.replace("{port}", str(self.port)) for part in self.command]
        begin = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | self.env, stdout=output, stderr=output, start_new_session=True
            )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - begin > START_LIMIT:
                self.stop()
                raise MissingError(f"{self.name} did not start.", remedy=f"Its log is {log}.")
            time.sleep(0.02)
        self.start_seconds = time.perf_counter() - begin

    def _answers(self) -> bool:
        try:
            return all(self.ask(name).status_code == 200 for name in self.questions)
        except httpx.HTTPError:
            return False

    def ask(self, model: str) -> httpx.Response:
        """The answer to one request."""
        asked = self.questions[model]
        url = f"http://127.0.0.1:{self.port}{asked.path}"
        return httpx.post(url, content=asked.body, headers=asked.headers, timeout=10, trust_env=False)

    def weigh(self) -> None:
        """Notes the resident memory of the process that answers: the largest of its processes."""
        self.memory_mb = max(each.memory_info().rss for each in self._processes()) / 2**20

    def _processor_seconds(self) -> float:
        times = [each.cpu_times() for each in self._processes()]
        return sum(each.user + each.system for each in times)

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def stop(self) -> None:
        """Ends it with all its processes."""
        if self._process is None:
            return
        for signal_number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            try:
                os.killpg(self._process.pid, signal_number)
                self._process.wait(seconds)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
            break
        self._process = None

    def saturate(self, model: str, seconds: float) -> None:
        """Notes the requests a second that 16 connections get answered (wrk).

        Raises:
            MissingError: An answer was not 200.
        """
        asked = self.questions[model]
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            lines = ['wrk.method = "POST"', f"wrk.body = {_lua(asked.body)}"]
            lines += [f'wrk.headers["{name}"] = {_lua(value)}' for name, value in asked.headers.items()]
            script.write("\n".join(lines))
            script.flush()
            url = f"http://127.0.0.1:{self.port}{asked.path}"
            command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", script.name, url]
            before = self._processor_seconds()
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            spent = self._processor_seconds() - before
        if "Non-2xx" in output:
            raise MissingError(f"{self.name} refused requests: {self.ask(model).text[:300]}")
        found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
        asked.rates.append(float(found[1]) if found else float("nan"))
        if count := re.search(r"(\d+) requests in", output):
            asked.costs.append(spent / max(int(count[1]), 1) * 1e6)

    def paced(self, model: str, rate: float, seconds: float, python: str) -> subprocess.Popen[str]:
        """Starts asking at a fixed rate, in a process of its own; `latencies` reads what it found."""
        asked = self.questions[model]
        job: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "path": asked.path, "headers": asked.headers}
        job |= {"body": asked.body, "rate": rate, "seconds": seconds, "connections": 64}
        process = subprocess.Popen(
            [python, "-m", "benchmarks.serving.paced"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if process.stdin is not None:
            process.stdin.write(json.dumps(job))
            process.stdin.close()
        return process


def latencies(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a paced run found; see `benchmarks.serving.paced`."""
    found: dict[str, Any] = json.loads(process.stdout.read() if process.stdout else "{}")
    process.wait()
    return found


def _lua(text: str) -> str:
    return f"[==[{text}]==]"


def need_wrk() -> None:
    """Puts wrk on this machine, where that is possible.

    Raises:
        MissingError: It is not there and can't be installed.
    """
    if shutil.which("wrk"):
        return
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (["update"], ["install", "--yes", "--no-install-recommends", "wrk"]):
            subprocess.run(["apt-get", "-q", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if not shutil.which("wrk"):
        raise MissingError("wrk, the client, is not on this machine.", remedy="As root: `apt-get install wrk`.")
