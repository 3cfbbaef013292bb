"""The API as `./run` starts it, with all its duties on: a real registry, a real PostgreSQL, keys and tokens."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from mlflow.tracking import MlflowClient

from benchmarks.serving.models import FOREST
from benchmarks.serving.servers import Question, Server
from sigap.bundle import (
    MANIFEST,
    TAG_BUNDLE_PATH,
    TAG_BUNDLE_RUN,
    TAG_DATA_MD5,
    TAG_DATA_VERSION,
    TAG_FINGERPRINT,
    TAG_MANIFEST_SHA256,
    digest,
    read_manifest,
)
from sigap.catalog import declaration
from sigap.data.postgres import migrate
from sigap.keys import Keys
from sigap.locks import CHANNEL
from sigap.services.api import api_service
from sigap.services.mlflow import mlflow_service
from sigap.services.postgres import EmbeddedPostgres
from sigap.services.service import Running, environment, free_port
from sigap.settings import ROOT, Settings

CHAMPION = "champion"
FOREST_ALIAS = "forest"


@dataclass
class World:
    """What the API depends on, running."""

    settings: Settings
    client: MlflowClient

    def server(self, name: str, folder: Path, alias: str, models: tuple[str, ...], note: str) -> Server:
        """The API, following `alias`, with its bundles on its disk as after a first start."""
        port = free_port()
        settings = Settings(
            root=ROOT,
            state_dir=folder / alias,
            api_port=port,
            served_alias=alias,
            protect="predict",
            DATABASE_URL=self.settings.dsn,
            MLFLOW_TRACKING_URI=self.settings.tracking_uri,
        )
        key = Keys(settings).create("bench", ["predict"])
        service = api_service(settings)
        questions = {
            model: Question(f"/models/{model}/predict", json.dumps(declaration(model).example)) for model in models
        }
        server = Server(name, list(service.command), questions, dict(environment(settings)), note, port)
        _fill(server, key, folder)
        return server

    def swap(self, server: Server, times: int, seconds: float) -> int:
        """Moves education's champion to and fro between its two versions, and returns how often it was followed.

        At most `times`, evenly over `seconds`; the next move waits until the one before is served.
        """
        url = f"{self.settings.tracking_uri}/api/2.0/mlflow/registered-models/alias"
        begin = time.monotonic()
        followed = 0
        with psycopg.connect(self.settings.dsn, autocommit=True) as database, httpx.Client(trust_env=False) as http:
            while followed < times and time.monotonic() < begin + seconds:
                version = "1" if followed % 2 else "2"
                http.post(url, json={"name": "education", "alias": CHAMPION, "version": version}).raise_for_status()
                database.execute("SELECT pg_notify(%s, %s)", [CHANNEL, "education"])
                while _serves(http, server) != f"v{version}" and time.monotonic() < begin + seconds:
                    time.sleep(0.02)
                followed += 1
                time.sleep(max(0.0, begin + seconds * followed / times - time.monotonic()))
        return followed


def _serves(http: httpx.Client, server: Server) -> str:
    url = f"http://127.0.0.1:{server.port}/health/ready"
    return str(http.get(url).json()["models"]["education"]["model_version"])


def _fill(server: Server, key: str, folder: Path) -> None:
    """Has the API fetch its bundles once, and gets a token that the coming start accepts too."""
    bare = Server(f"{server.name} first", server.command, {}, server.env, port=server.port)
    bare.start(folder)
    try:
        base = f"http://127.0.0.1:{server.port}"
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{base}/health/ready", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        answer = httpx.post(f"{base}/token", json={"api_key": key}, trust_env=False)
        token = answer.raise_for_status().json()["access_token"]
        for question in server.questions.values():
            question.headers["authorization"] = f"Bearer {token}"
            while server.ask(next(iter(server.questions))).status_code != 200 and time.monotonic() < limit:
                time.sleep(0.1)
    finally:
        bare.stop()


@contextlib.contextmanager
def world(bundles: Mapping[str, Path]) -> Iterator[World]:
    """PostgreSQL and MLflow on free ports, every model registered; education and car_price twice."""
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, PostgreSQL runs under an ordinary account
        settings = Settings(
            root=ROOT, state_dir=folder / "state", postgres_port=free_port(), mlflow_port=free_port(), git_commit=False
        )
        with EmbeddedPostgres(settings):
            migrate(settings)
            registry = Running(mlflow_service(settings), settings.state)
            try:
                registry.wait_ready()
                client = MlflowClient(settings.tracking_uri)
                for model, bundle in bundles.items():
                    if model != FOREST:
                        _register(client, bundle, CHAMPION, *([] if model == "car_price" else [FOREST_ALIAS]))
                _register(client, bundles["education"])
                _register(client, bundles[FOREST], FOREST_ALIAS)
                yield World(settings, client)
            finally:
                registry.stop()


def _register(client: MlflowClient, bundle: Path, *aliases: str) -> None:
    manifest = read_manifest(bundle)
    experiment = client.get_experiment_by_name("bench")
    experiment_id = experiment.experiment_id if experiment else client.create_experiment("bench")
    run_id = client.create_run(experiment_id).info.run_id
    client.log_artifacts(run_id, str(bundle), "bundle")
    tags = {
        TAG_BUNDLE_RUN: run_id,
        TAG_BUNDLE_PATH: "bundle",
        TAG_MANIFEST_SHA256: digest(bundle / MANIFEST).sha256,
        TAG_DATA_VERSION: manifest.data.version,
        TAG_DATA_MD5: manifest.data.md5,
        TAG_FINGERPRINT: manifest.fingerprint,
    }
    with contextlib.suppress(Exception):  # the second version's model is there already
        client.create_registered_model(manifest.model)
    version = client.create_model_version(
        manifest.model, f"runs:/{run_id}/bundle", run_id, tags=tags, await_creation_for=0
    )
    for alias in aliases:
        client.set_registered_model_alias(manifest.model, alias, version.version)
