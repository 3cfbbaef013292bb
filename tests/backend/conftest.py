from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from mlflow.tracking import MlflowClient

from backend.app import create_app
from backend.requests import Validator
from backend.served import Served, load
from sigap.bundle import (
    TAG_BUNDLE_PATH,
    TAG_BUNDLE_RUN,
    TAG_DATA_MD5,
    TAG_DATA_VERSION,
    TAG_FINGERPRINT,
    TAG_MANIFEST_SHA256,
)
from sigap.settings import Settings
from tests.backend.bundles import CENTERS, EDUCATION, write_bundle

ROOT = Path(__file__).resolve().parents[2]
MODEL = "education"
START_SECONDS = 600


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 600) -> None:
    """Returns when `condition` holds; a generous limit that only a fault reaches."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come about in {seconds} s")


@contextlib.contextmanager
def process(command: list[str], log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, ended with the block."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait(10)


@dataclass
class MlflowServer:
    """A real MLflow server."""

    folder: Path
    port: int

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    @contextlib.contextmanager
    def running(self) -> Iterator[MlflowServer]:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), "--serve-artifacts"]
        env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with process(command, self.folder / "mlflow.log", **env):
            wait_for(lambda: httpx.get(f"{self.uri}/health").status_code == 200, "MLflow", START_SECONDS)
            yield self

    def register(self, bundle: Path, manifest_sha256: str, name: str, data_version: str = "v1", **tags: str) -> str:
        """Registers the bundle as the registry does and returns the version."""
        client = self.client
        experiment = client.get_experiment_by_name("tests")
        experiment_id = experiment.experiment_id if experiment else client.create_experiment("tests")
        run_id = client.create_run(experiment_id).info.run_id
        client.log_artifacts(run_id, str(bundle), "bundle")
        client.set_terminated(run_id)
        with contextlib.suppress(Exception):
            client.create_registered_model(name)
        all_tags = {
            TAG_BUNDLE_RUN: run_id,
            TAG_BUNDLE_PATH: "bundle",
            TAG_MANIFEST_SHA256: manifest_sha256,
            TAG_DATA_VERSION: data_version,
            TAG_DATA_MD5: "0" * 32,
            TAG_FINGERPRINT: "f",
        }
        version = client.create_model_version(name, f"runs:/{run_id}/bundle", run_id, tags={**all_tags, **tags})
        return str(version.version)

    def point(self, version: str, alias: str) -> None:
        self.client.set_registered_model_alias(MODEL, alias, version)

    def artifact(self, version: str, name: str) -> Path:
        """Where the server keeps a bundle's file."""
        run_id = self.client.get_model_version(MODEL, version).tags[TAG_BUNDLE_RUN]
        return next(self.folder.glob(f"artifacts/*/{run_id}/artifacts/bundle/{name}"))


class Relay:
    """Stands between the API and a server, and can be cut or made to fall silent."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self.silent = False
        # Seconds that every piece of data is held back.
        self.delay = 0.0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """From now on connections are refused, and those open are gone."""
        if self._listener is not None:
            # Without the shutdown, the thread inside accept() would keep the socket listening.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(self.delay)
                if not self.silent:
                    sink.sendall(data)
            if not self.silent:
                sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay(mlflow_server: MlflowServer) -> Iterator[Relay]:
    """The MLflow server behind a line that can be cut."""
    between = Relay(mlflow_server.port)
    between.start()
    yield between
    between.cut()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("mlflow"), free_port()).running() as server:
        yield server


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A bundle loaded as the follower loads it."""
    folder = tmp_path_factory.mktemp("served") / "bundle"
    sha256 = write_bundle(folder)
    return load(folder, EDUCATION, Validator(EDUCATION), version="7", manifest_sha256=sha256, origin="registry")


@pytest.fixture
def application(tmp_path: Path) -> FastAPI:
    """The application with nothing served and no follower running."""
    settings = Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI="http://user:hidden@127.0.0.1:9")
    return create_app(settings)


class Loop(asyncio.Runner):
    """A loop in which applications are asked that nobody started, so that it lets their connections go at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.applications: list[FastAPI] = []

    def close(self) -> None:
        while self.applications:
            self.run(self.applications.pop().state.service.close())
        super().close()


class Client:
    """Calls an application in this process."""

    def __init__(self, application: FastAPI, runner: Loop) -> None:
        runner.applications.append(application)
        transport = httpx.ASGITransport(application)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://api", trust_env=False)
        self._runner = runner

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client(application: FastAPI, served: Served) -> Iterator[Client]:
    """The application in this process, serving `served`."""
    service = application.state.service
    service.followers[MODEL].served = served
    service.metrics.loaded(MODEL, served)
    with Loop() as runner:
        yield Client(application, runner)


@pytest.fixture(scope="session")
def centers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return CENTERS, CENTERS + 0.25, CENTERS + np.array([-2.5, -1.0, 2.0])


@pytest.fixture(scope="session")
def versions(
    mlflow_server: MlflowServer, centers: tuple[np.ndarray, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ...]:
    """Three registered versions that answer differently."""
    folder = tmp_path_factory.mktemp("bundles")
    registered = []
    for number, center in enumerate(centers, 1):
        sha256 = write_bundle(folder / str(number), center, data_version=f"d{number}")
        registered.append(mlflow_server.register(folder / str(number), sha256, MODEL, f"d{number}"))
    return tuple(registered)


@dataclass
class Api:
    """An API in a process of its own."""

    url: str
    pid: int
    state: Path
    alias: str

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", trust_env=False, **options)  # type: ignore[arg-type]

    def predict(self, body: object) -> httpx.Response:
        return httpx.post(f"{self.url}/predict", json=body, trust_env=False)

    def serves(self, version: str) -> bool:
        answer = self.get("/health/ready").json()["models"][MODEL]
        return bool(answer["model_version"] == f"v{version}")


@pytest.fixture
def start_api(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Starts an API of `education` alone that follows `alias` in the registry at `uri`."""
    with contextlib.ExitStack() as stack:

        def start(uri: str, alias: str, state: Path | None = None, **env: str) -> Api:
            port = free_port()
            state = state or tmp_path / "state"
            command = [sys.executable, "-m", "uvicorn", "tests.backend.alone:app", "--host", "127.0.0.1"]
            command += ["--port", str(port)]
            settings = {
                "MLFLOW_TRACKING_URI": uri,
                "SIGAP_SERVED_ALIAS": alias,
                "SIGAP_STATE_DIR": str(state),
                "SIGAP_FOLLOW_SECONDS": "0.2",
            }
            log = tmp_path / f"api-{port}.log"
            started = stack.enter_context(process([*command, "--no-access-log"], log, **{**settings, **env}))
            api = Api(f"http://127.0.0.1:{port}", started.pid, state, alias)
            wait_for(lambda: api.get("/health/live").status_code == 200, f"The API ({log.read_text()})", START_SECONDS)
            return api

        yield start
