"""A real MLflow server for the session, and models small enough to register by the dozen."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
from mlflow import MlflowClient
from sklearn.cluster import KMeans
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sigap import workflow
from sigap.bundle import MANIFEST, MEMBERS, MODEL, digest
from sigap.catalog import declarations
from sigap.registry.models import ModelVersion, Registry
from sigap.registry.tracking import Data, Runs
from sigap.settings import Settings
from sigap.training import figures
from tests.conftest import Checkout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real MLflow server, as `./run` starts it."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow"), free_port()) as uri:
        yield uri


@contextmanager
def running_mlflow(folder: Path, port: int) -> Iterator[str]:
    """A real MLflow server with its store in `folder`; killed at the end, and started again on the same store."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | quiet, cwd=folder, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(uri, server, folder / "log")
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until_up(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{uri}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail(f"MLflow did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def settings(mlflow_uri: str, tmp_path: Path) -> Settings:
    """Settings of a checkout in a temporary folder, with the real MLflow server and without PostgreSQL."""
    return make_settings(tmp_path, mlflow_uri)


def make_settings(root: Path, uri: str, **others: str) -> Settings:
    nowhere = f"postgresql://nobody:nothing@127.0.0.1:{free_port()}/none"
    return Settings(root=root, state_dir=root / "state", MLFLOW_TRACKING_URI=uri, DATABASE_URL=nowhere, **others)


@dataclass
class Workshop:
    """Registers small models under a name of the test's own."""

    settings: Settings
    folder: Path
    model: str = field(default_factory=lambda: f"m{uuid.uuid4().hex[:12]}")

    @property
    def registry(self) -> Registry:
        return Registry(self.settings)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.settings.tracking_uri, self.settings.tracking_uri)

    def run(self, md5: str) -> str:
        return Runs(self.settings, self.model).parent(uuid.uuid4().hex, Data("v1", md5, "data/raw/x.parquet", 30), {})

    def bundle(self, fingerprint: str, md5: str) -> Path:
        folder = self.folder / f"bundle-{uuid.uuid4().hex}"
        folder.mkdir()
        (folder / MODEL).write_bytes(fingerprint.encode())
        (folder / MEMBERS).write_text("{}")
        files = {name: digest(folder / name).model_dump() for name in (MODEL, MEMBERS)}
        manifest = {
            "model": self.model,
            "task": "clustering",
            "trained_at": "2024-01-01T00:00:00Z",
            "data": {
                "version": "v1", "md5": md5, "rows": 30, "rows_rejected": 0, "period": 2024, "git_commit": "",
                "query": "SELECT 1",
            },
            "code": {"git_commit": "", "lock_sha256": ""},
            "features_used": ["a", "b"],
            "features_left_out": [],
            "training_range": {},
            "levels": [],
            "metrics": {},
            "sweep": [],
            "fingerprint": fingerprint,
            "example": {"request": {}, "cluster": 0, "distance_to_center": 0.5},
            "files": files,
        }  # fmt: skip
        (folder / MANIFEST).write_text(json.dumps(manifest))
        return folder

    def register(self, fingerprint: str, md5: str = "0" * 32) -> ModelVersion:
        estimator, rows = tiny_model()
        bundle = self.bundle(fingerprint, md5)
        return self.registry.register(bundle, estimator, rows, self.run(md5))[0]


def tiny_model() -> tuple[Pipeline, pd.DataFrame]:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    return make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)).fit(rows), rows


@pytest.fixture
def workshop(settings: Settings, tmp_path: Path) -> Workshop:
    return Workshop(settings, tmp_path)


@pytest.fixture
def in_process() -> Iterator[Callable[..., Process]]:
    """Starts a function of a test module in a real process of its own, which may be killed."""
    started: list[Process] = []

    def start(function: Callable[..., None], *arguments: Any) -> Process:
        process = _processes.Process(target=function, args=arguments)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.join(600)
        assert process.exitcode is not None


# Forked from a small server that has imported what they need: a fresh interpreter would spend seconds on that.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["sigap.workflow", "tests.registry.conftest"])
Process = ForkServerProcess


def kill_me(*_: Any, **__: Any) -> None:
    """Ends this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


PARAMS = "education:\n  k_min: 2\n  k_max: 4\n  n_init: 5\n  bootstraps: 20\n"


@dataclass
class Line:
    """A checkout with a table in PostgreSQL and a registry of its own."""

    settings: Settings
    client: MlflowClient
    model: str = "education"

    @property
    def registry(self) -> Registry:
        return Registry(self.settings)

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.settings.dsn) as connection:
            connection.execute(statement)

    def run(self, **wanted: Any) -> dict[str, Any]:
        return workflow.run(self.model, settings=self.settings, **wanted)

    def aliases(self) -> dict[str, int]:
        return {alias: int(number) for alias, number in self.client.get_registered_model(self.model).aliases.items()}

    def runs(self) -> list[Any]:
        experiment = self.client.get_experiment_by_name(self.model)
        return list(self.client.search_runs([experiment.experiment_id]))


@pytest.fixture
def line(checkout: Checkout, seeded_database: str, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    # One figure a run; all of them are drawn in the tests of training.
    monkeypatch.setattr(figures, "FIGURES", {"elbow": figures.elbow})
    (checkout.root / "params.yaml").write_text(PARAMS)
    settings = checkout.settings(database=seeded_database, MLFLOW_TRACKING_URI=mlflow_uri)
    client = MlflowClient(mlflow_uri, mlflow_uri)
    yield Line(settings, client)
    # The next test's models carry the same names.
    names = [declared.name for declared in declarations()]
    for each in client.search_registered_models():
        if each.name in names:
            client.delete_registered_model(each.name)
    for name in names:
        if experiment := client.get_experiment_by_name(name):
            client.rename_experiment(experiment.experiment_id, f"{name} of {checkout.root}")
