"""One whole system, started as a newcomer does: `./run` in a copy of this tree, on free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from sigap.services.service import free_port
from sigap.settings import Settings
from tests.trees import copy_tree

START_SECONDS = 240


def wait_for(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of `check`, or a failure that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := check():
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass
class System:
    """A running system and the ways a person has into it."""

    root: Path
    env: dict[str, str]
    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`./run` with the words, as typed in another shell, which need not know the ports."""
        env = {key: value for key, value in self.env.items() if not key.endswith("_PORT")}
        done = subprocess.run(
            [sys.executable, "run", *words], cwd=self.root, env=env, capture_output=True, text=True, timeout=240
        )
        if check:
            assert done.returncode == 0, f"./run {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done

    def git(self, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def sql(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.settings.dsn) as connection:
            connection.execute(statement, values)  # type: ignore[arg-type]

    def get(self, path: str) -> Any:
        answer = httpx.get(self.settings.api_address + path, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def predict(self, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.settings.api_address}/predict", json=body, timeout=10)

    def served(self) -> str:
        """Version that answers now, or an empty text."""
        try:
            return str(self.get("/models/education")["model_version"] or "")
        except httpx.HTTPError:
            return ""


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    root = tmp_path_factory.mktemp("system") / "sigap"
    root.mkdir()
    copy_tree(root)
    names = ("API", "DASHBOARD", "MLFLOW", "MAGE", "POSTGRES")
    ports: dict[str, int] = {}
    for name in names:
        ports[name] = free_port(start=max(ports.values(), default=21000) + 1)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SIGAP_")}
    env = inherited | {f"SIGAP_{name}_PORT": str(port) for name, port in ports.items()}
    env["SIGAP_VENV"] = sys.prefix
    # The story is that of education; the other models would only make it longer.
    env["SIGAP_TRAIN_AT_START"] = "education"
    settings = Settings(root=root, **{f"{name.lower()}_port": port for name, port in ports.items()})  # type: ignore[arg-type]
    log = root.parent / "run.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "run"], cwd=root, env=env, stdout=out, stderr=out, start_new_session=True
        )
    running = System(root, env, settings, process, log)
    try:
        wait_for(
            lambda: running.served() or process.poll() is not None, START_SECONDS, "a first champion that is served"
        )
        assert process.poll() is None, log.read_text()
        # The address table closes the start; what comes before it may still be logging the first run.
        wait_for(lambda: "Ctrl-C" in log.read_text(), 60, "the table of addresses")
        yield running
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
