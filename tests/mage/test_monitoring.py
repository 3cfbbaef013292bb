"""The pipeline `monitoring` as it stands, on a real Mage: however many scores there are, its run comes to its end."""

from __future__ import annotations

import shutil

import psycopg
import pytest
from mlflow import MlflowClient

from sigap.monitoring.live import scorable
from sigap.services.mage import mage_service
from sigap.services.mage_client import run_pipeline
from sigap.services.service import Running, free_port
from sigap.settings import ROOT
from tests.registry.conftest import running_mlflow


@pytest.fixture
def settings(own_settings, seeded_database, tmp_path):
    # The rules of the checks stand in it.
    shutil.copy(ROOT / "params.yaml", own_settings.root)
    port, folder = free_port(), tmp_path / "mlflow"
    folder.mkdir()
    # Handed to the steps too, so all have to count as given.
    given = own_settings.model_dump(include={"root", "state_dir", "mage_port"})
    addresses = {"DATABASE_URL": seeded_database, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    settings = type(own_settings)(_env_file=None, log_format="json", **addresses, **given)
    running = Running(mage_service(settings), settings.state)
    try:
        with running_mlflow(folder, port):
            running.wait_ready()
            yield settings
    finally:
        running.stop()


def test_its_run_completes_with_no_score_and_with_several(settings):
    assert run_pipeline(settings, "monitoring", {})["checks"] == 0, "nothing is in use"
    client, models = MlflowClient(settings.tracking_uri, settings.tracking_uri), scorable()[:2]
    run = client.create_run("0").info.run_id
    for model in models:
        # In use, but without a bundle: what can't be scored is a score too, and counts as worse.
        client.create_registered_model(model)
        client.create_model_version(model, f"runs:/{run}/bundle", run)
        client.set_registered_model_alias(model, settings.served_alias, "1")
    assert run_pipeline(settings, "monitoring", {})["checks"] == 0
    with psycopg.connect(settings.dsn) as connection:
        assert {name for (name,) in connection.execute("SELECT DISTINCT model FROM live_scores")} == set(models)
