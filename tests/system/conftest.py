"""One whole system, started as a newcomer does: `./run` in a copy of this tree, on free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from sigap.services.service import free_port, relatives
from sigap.settings import Settings
from tests.trees import copy_tree

START_SECONDS = 900


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
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, **variables: str) -> None:
        """`./run`, up to its table of addresses, which closes the start."""
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "run"],
                cwd=self.root,
                env=self.env | variables,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        wait_for(lambda: "Ctrl-C" in self.log.read_text() or self.process.poll() is not None, START_SECONDS, "a start")
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        """Ctrl-C; nothing that was started may be left."""
        if self.process.poll() is not None:
            return
        children = relatives(self.process.pid)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`./run` with the words, as typed in another shell, which need not know the ports."""
        env = {key: value for key, value in self.env.items() if not key.endswith("_PORT")}
        done = subprocess.run(
            [sys.executable, "run", *words], cwd=self.root, env=env, capture_output=True, text=True, timeout=600
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

    def predict(self, body: dict[str, Any], model: str = "") -> httpx.Response:
        path = f"/models/{model}/predict" if model else "/predict"
        return httpx.post(self.settings.api_address + path, json=body, timeout=10)

    def retrains(self, model: str = "education") -> list[dict[str, Any]]:
        """Trainings of a model that were asked for, the newest first."""
        return list(self.get(f"/models/{model}/retrains")["retrains"])

    def alert(self, model: str = "education", cause: str = "drift", **changes: Any) -> dict[str, Any]:
        """Sends an alert as Alertmanager does; what was decided on it."""
        now = datetime.now(UTC).isoformat()
        labels = {"alertname": "SigapDrift", "action": "retrain", "cause": cause, "model": model}
        told = {"status": "firing", "fingerprint": "c2a1f00d", "startsAt": now, "labels": labels} | changes
        key = (self.settings.state / "secrets" / "alert_key").read_text()
        answer = httpx.post(
            f"{self.settings.api_address}/alerts",
            json={"version": "4", "alerts": [told]},
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        )
        answer.raise_for_status()
        return dict(answer.json()["alerts"][0])

    def served(self, model: str = "education") -> str:
        """Version that answers now, or an empty text."""
        try:
            return str(self.get(f"/models/{model}")["model_version"] or "")
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
    # MLflow writes its address into the environment of whoever used it, as tests before these did.
    others = ("SIGAP_", "DATABASE_URL", "MLFLOW_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    env = inherited | {f"SIGAP_{name}_PORT": str(port) for name, port in ports.items()}
    # Stories change rows and then type what trains on them: nobody shall be quicker. `start` takes another value.
    env["SIGAP_RETRAIN_ON_CHANGE"] = "none"
    env |= {"SIGAP_VENV": sys.prefix, "SIGAP_WATCHING": "false"}
    settings = Settings(root=root, **{f"{name.lower()}_port": port for name, port in ports.items()})  # type: ignore[arg-type]
    running = System(root, env, settings, root.parent / "run.log")
    try:
        running.start()
        yield running
    finally:
        running.stop()
