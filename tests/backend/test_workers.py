"""Two workers behind one port: their metrics are one."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.backend.bundles import BODY
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.test_memory import keep

PREDICTIONS = 30


def predictions(text: str) -> float:
    return sum(float(value) for value in re.findall(r"(?m)^sigap_api_predictions_total\{.*\} (\S+)$", text))


def residents(text: str) -> set[str]:
    """The workers that tell of their memory."""
    return set(re.findall(r'(?m)^process_resident_memory_bytes\{worker="([^"]*)"\}', text))


@pytest.mark.skipif(sys.platform == "win32", reason="a worker is killed by signal")
def test_counters_are_of_all_workers_and_never_fall(tmp_path: Path) -> None:
    keep(tmp_path, "education")
    port = free_port()
    command = [sys.executable, "-m", "backend", "--port", str(port), "--workers", "2"]
    env = {"SIGAP_STATE_DIR": str(tmp_path), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    api = f"http://127.0.0.1:{port}"
    with process(command, tmp_path / "api.log", **env):
        # Every call over a connection of its own, so that either worker may answer it.
        wait_for(lambda: httpx.get(f"{api}/health").json()["workers"] == 2, "Two workers", 600)
        for _ in range(PREDICTIONS):
            assert httpx.post(f"{api}/predict", json=BODY).status_code == 200
        wait_for(lambda: predictions(httpx.get(f"{api}/metrics").text) == PREDICTIONS, "The whole count")
        told: set[int] = set()

        def both_told() -> bool:
            told.add(httpx.get(f"{api}/health").json()["worker"])
            assert predictions(httpx.get(f"{api}/metrics").text) == PREDICTIONS
            return len(told) == 2

        wait_for(both_told, "An answer of each worker", 600)
        assert residents(httpx.get(f"{api}/metrics").text) == {"0", "1"}, "a bounded label, whatever their pids are"
        flying = r"(?m)^sigap_api_requests_in_progress (\S+)$"
        wait_for(lambda: re.findall(flying, httpx.get(f"{api}/metrics").text) == ["0.0"], "One figure for both")
        text = httpx.get(f"{api}/metrics").text
        assert text.count("\nsigap_api_model_info{") == 1, "what is served is told once"
        assert re.findall(r'(?m)^sigap_dependency_up\{dependency="mlflow"\} (\S+)$', text) == ["0.0"]
        assert re.findall(r'(?m)^sigap_api_errors_total\{kind="fault"\} (\S+)$', text) == ["0.0"]
        killed = told.pop()
        os.kill(killed, signal.SIGKILL)

        def replaced() -> bool:
            assert predictions(httpx.get(f"{api}/metrics").text) == PREDICTIONS
            state = httpx.get(f"{api}/health").json()
            return bool(state["workers"] == 2 and state["worker"] not in (killed, *told))

        wait_for(replaced, "Another worker", 600)
        wait_for(lambda: residents(httpx.get(f"{api}/metrics").text) == {"0", "1"}, "The same two places")
        observed = r"(?m)^sigap_observed_timestamp_seconds (\S+)$"
        before = float(re.findall(observed, httpx.get(f"{api}/metrics").text)[0])
        wait_for(
            lambda: any(float(at) > before for at in re.findall(observed, httpx.get(f"{api}/metrics").text)),
            "A look by whoever is left",
            60,
        )
        assert predictions(httpx.get(f"{api}/metrics").text) == PREDICTIONS
