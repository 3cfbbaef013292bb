"""Bundles whose files lie in an object store: the MLflow server fetches them, the API has no key to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import sigap.registry  # noqa: F401 - has MLflow's client fail soon
from sigap.errors import ServiceError
from sigap.services.mlflow import mlflow_service
from sigap.services.service import free_port
from sigap.services.stack import check_own_servers
from sigap.services.supervisor import Supervisor
from sigap.settings import Settings
from tests.backend.bundles import BODY, CENTERS, write_bundle
from tests.backend.conftest import MODEL, Api, MlflowServer, wait_for
from tests.stores import BUCKET, SECRET, ObjectStore


def test_bundles_come_out_of_the_store_and_serving_outlives_it(
    object_store: ObjectStore, start_api: Callable[..., Api], tmp_path: Path
) -> None:
    settings = Settings(
        root=tmp_path,
        state_dir=tmp_path / "mlflow-state",
        mlflow_port=free_port(),
        artifacts_url=f"s3://{BUCKET}/artifacts",
        **object_store.settings(),
    )
    check_own_servers(settings)
    with Supervisor(settings.state) as supervisor:
        supervisor.start([mlflow_service(settings)])
        supervisor.wait_ready()
        server = MlflowServer(tmp_path, settings.mlflow_port)
        versions = []
        for number, center in enumerate((CENTERS, CENTERS + 0.25), 1):
            sha256 = write_bundle(tmp_path / str(number), center)
            versions.append(server.register(tmp_path / str(number), sha256, MODEL))
        found = object_store.objects("artifacts")
        for name in (path.name for path in (tmp_path / "1").iterdir()):
            kept = [path.read_bytes() for where, path in found.items() if where.endswith(f"/bundle/{name}")]
            assert (tmp_path / "1" / name).read_bytes() in kept
        assert not (settings.state / "mlflow" / "artifacts").exists()

        server.point(versions[0], "stored")
        api = start_api(settings.tracking_uri, "stored")
        first = api.predict(BODY)
        assert first.json()["model_version"] == f"v{versions[0]}"

        object_store.stop()
        server.point(versions[1], "stored")
        wait_for(lambda: "sigap_api_follow_faults_total{" in api.get("/metrics").text, "A look at the new version")
        assert api.predict(BODY).content == first.content
        assert api.get("/health/ready").status_code == 200
        began = time.monotonic()
        with pytest.raises(Exception, match="500"):
            server.register(tmp_path / "1", "0" * 64, MODEL)
        assert time.monotonic() - began < 60, "nobody waits for minutes"

        object_store.start()
        wait_for(lambda: api.serves(versions[1]), "The new version, once the store is back", 60)
        assert api.predict(BODY).json()["model_version"] == f"v{versions[1]}"
        assert SECRET not in (settings.state / "logs" / "mlflow.log").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"artifacts_url": "s3://nowhere/artifacts"}, "SIGAP_ARTIFACTS_URL.*no bucket 'nowhere'|no bucket 'nowhere'"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ({"dvc_remote_url": "s3://nowhere"}, "SIGAP_DVC_REMOTE_URL"),
    ],
)
def test_a_start_says_what_is_wrong_with_the_store(
    object_store: ObjectStore, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    given = {"artifacts_url": f"s3://{BUCKET}/artifacts"} | object_store.settings() | changes
    with pytest.raises(ServiceError, match=said):
        check_own_servers(Settings(root=tmp_path, state_dir=tmp_path, **given))
