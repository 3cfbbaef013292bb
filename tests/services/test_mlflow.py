"""The MLflow server as Sigap starts it."""

from __future__ import annotations

import os
import signal

import httpx
import psutil

from sigap.services.mlflow import mlflow_service
from sigap.services.service import recorded
from sigap.services.supervisor import Supervisor
from sigap.settings import Settings
from tests.services.conftest import Events


def test_one_process_serves_runs_and_artefacts_and_comes_back_with_them(settings: Settings, events: Events) -> None:
    with Supervisor(settings.state, events) as supervisor:
        supervisor.start([mlflow_service(settings)])
        supervisor.wait_ready()
        pid = int(str(recorded(settings.state)[0]["pid"]))
        assert psutil.Process(pid).children(recursive=True) == []
        with httpx.Client(base_url=settings.tracking_uri) as client:
            created = client.post("/api/2.0/mlflow/experiments/create", json={"name": "kept"}).raise_for_status()
            experiment = created.json()["experiment_id"]
            artefact = "/api/2.0/mlflow-artifacts/artifacts/kept/note.txt"
            client.put(artefact, content=b"note").raise_for_status()
            os.kill(pid, signal.SIGKILL)
            events.wait("ready", again=True, seconds=60)
            found = client.get("/api/2.0/mlflow/experiments/get", params={"experiment_id": experiment})
            assert found.json()["experiment"]["artifact_location"] == f"mlflow-artifacts:/{experiment}"
            assert client.get(artefact).content == b"note"
            assert client.get("/").status_code == 200
