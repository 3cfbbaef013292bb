"""Runs, their candidates and their data's profile, out of a real registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backend.app import create_app
from backend.experiments import pages
from backend.registry_client import RegistryClient
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.settings import Settings
from tests.backend.conftest import Client, MlflowServer
from tests.backend.task_bundles import write_task_bundle
from tests.backend.test_provenance import looked

CAR = "car_price"
SCORED = {"rmse": 1454.0, "rmse_sd": 72.0, "baseline_rmse": 8119.0}


class Tried:
    """A registry in which cars have a run that registered a version and a later one that refused all candidates."""

    def __init__(self, server: MlflowServer, folder: Path) -> None:
        self.client = server.client
        found = self.client.get_experiment_by_name(CAR)
        self.experiment = found.experiment_id if found else self.client.create_experiment(CAR)
        tags = {"winner": "random_forest", "rule": "first", "reason": "none yet", "reason_id": "belum ada"}
        self.first = self.run(
            "car_price v1", {"pipeline_run": "c1", "promoted": "True", **tags}, SCORED, {"folds": "5"}
        )
        self.candidates = [
            self.run(
                name, {"mlflow.parentRunId": self.first, "candidate": name, "duration_seconds": "2.5"}, metrics, params
            )
            for name, metrics, params in (
                ("random_forest", SCORED, {"estimator": "random_forest", "options.n_estimators": "150"}),
                ("ridge", {**SCORED, "rmse": 2404.0, "r2": float("nan")}, {"estimator": "ridge"}),
            )
        ]
        profile = folder / "data_profile"
        profile.mkdir(parents=True)
        self.profile = {"model": CAR, "version": "v1", "rows": 205, "rejected": 3, "origin": "mock", "duplicates": 1}
        column = {
            "name": "price",
            "kind": "number",
            "role": "target",
            "missing": 0,
            "missing_share": 0.0,
            "distinct": 9,
        }
        (profile / "data_profile.json").write_text(json.dumps({**self.profile, "columns": [column], "changes": None}))
        self.client.log_artifacts(self.first, str(profile), "data_profile")
        self.register(server, folder / "bundle")
        refused = {
            "rule": "inadmissible",
            "reason": "all worse",
            "promoted": "False",
            "model_version": "",
            "winner": "",
        }
        self.second = self.run("car_price v1", {"pipeline_run": "c2", **refused}, {}, {})
        self.run("ridge", {"mlflow.parentRunId": self.second, "candidate": "ridge"}, SCORED, {"estimator": "ridge"})
        other = self.client.create_experiment("somebody_elses")
        run = self.client.create_run(other, tags={"pipeline_run": "x"})
        self.foreign = str(run.info.run_id)

    def run(self, name: str, tags: dict[str, str], metrics: dict[str, float], params: dict[str, str]) -> str:
        known = {
            "data_version": "v1",
            "data_md5": "a" * 32,
            "mlflow.source.git.commit": "c" * 40,
            "lock_sha256": "e" * 64,
        }
        run = self.client.create_run(self.experiment, tags={**known, **tags}, run_name=name)
        for key, value in metrics.items():
            self.client.log_metric(run.info.run_id, key, value)
        for key, text in params.items():
            self.client.log_param(run.info.run_id, key, text)
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def register(self, server: MlflowServer, bundle: Path) -> None:
        sha256 = write_task_bundle(bundle, CAR_PRICE, run_id=self.first)
        self.client.log_artifacts(self.first, str(bundle), "bundle")
        record: dict[str, Any] = {"promote": True, "rule": "first", "run_id": self.first, "minimum_effect": 50.0}
        tags = {"bundle_run_id": self.first, "bundle_path": "bundle", "manifest_sha256": sha256}
        self.client.create_registered_model(CAR)
        made = self.client.create_model_version(
            CAR, f"runs:/{self.first}/bundle", self.first, tags={**tags, "decision": json.dumps(record)}
        )
        self.client.set_tag(self.first, "model_version", f"v{made.version}")


@pytest.fixture(scope="module")
def tried(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return Tried(mlflow_server, tmp_path_factory.mktemp("tried"))


@pytest.fixture
def application(mlflow_server: MlflowServer, tmp_path: Path) -> FastAPI:
    settings = Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI=mlflow_server.uri, default_model=CAR)
    return create_app(settings, (CAR_PRICE, LOAN_APPROVAL))


@pytest.fixture
def client(application: FastAPI) -> Iterator[Client]:
    with looked(application) as found:
        yield found


def test_runs_are_told_newest_first_with_their_scores(
    tried: Tried, client: Client, mlflow_server: MlflowServer
) -> None:
    found = client.get(f"/models/{CAR}/runs").json()
    assert (found["metric"], found["less_is_better"], found["pages"]["mage"]) == ("rmse", True, None)
    refused, first = found["runs"]
    assert (refused["run_id"], refused["outcome"], refused["reason"]) == (tried.second, "refused", "all worse")
    assert (refused["winner"], refused["model_version"], refused["score"]) == (None, None, None)
    assert (first["run_id"], first["outcome"], first["reason_id"]) == (tried.first, "promoted", "belum ada")
    assert (first["score"], first["spread"], first["baseline"]) == (1454.0, 72.0, 8119.0)
    assert (first["data_version"], first["git_commit"], first["lock_sha256"]) == ("v1", "c" * 40, "e" * 64)
    assert first["page"] == f"{mlflow_server.uri}/#/experiments/{tried.experiment}/runs/{tried.first}"
    assert len(client.get(f"/models/{CAR}/runs", params={"limit": 1}).json()["runs"]) == 1


def test_a_run_tells_its_candidates_and_its_record(tried: Tried, client: Client) -> None:
    found = client.get(f"/models/{CAR}/runs/{tried.first}").json()
    assert (found["model_version"], found["params"]) == ("v1", {"folds": "5"})
    assert found["record"]["minimum_effect"] == 50.0
    forest, ridge = found["candidates"]
    assert (forest["name"], forest["run_id"], forest["seconds"]) == ("random_forest", tried.candidates[0], 2.5)
    assert (forest["chosen"], ridge["chosen"]) == (True, False)
    assert forest["params"] == {"estimator": "random_forest", "options.n_estimators": "150"}
    assert "r2" not in ridge["metrics"], "what is no number is left out"
    refused = client.get(f"/models/{CAR}/runs/{tried.second}").json()
    assert [(each["name"], each["admissible"]) for each in refused["candidates"]] == [("ridge", False)]
    assert (refused["record"], refused["winner"]) == (None, None)


def test_the_profile_is_the_one_that_the_run_stored(tried: Tried, client: Client) -> None:
    found = client.get(f"/models/{CAR}/runs/{tried.first}/profile").json()
    assert {name: found[name] for name in tried.profile} == tried.profile
    assert found["columns"][0]["name"] == "price"
    missing = client.get(f"/models/{CAR}/runs/{tried.second}/profile")
    assert missing.status_code == 404
    assert missing.json()["type"] == "urn:sigap:problem:unknown-profile"


def test_only_a_run_of_this_pipeline_is_one(tried: Tried, client: Client) -> None:
    odd = ["0" * 32, tried.candidates[0], tried.foreign, "x" * 300, "a'%20OR%201=1", "%00", "%F0%9F%90%8D", "-"]
    for each in odd:
        for path in (f"/models/{CAR}/runs/{each}", f"/models/{CAR}/runs/{each}/profile"):
            answer = client.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
    assert client.get(f"/models/loan_approval/runs/{tried.first}").status_code == 404
    assert client.get("/models/nothing/runs").status_code == 404
    for limit in ("0", "201", "x"):
        assert client.get(f"/models/{CAR}/runs", params={"limit": limit}).status_code == 422


def test_without_the_registry_runs_are_503(
    tried: Tried, application: FastAPI, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application.state.service.registry._client, "base_url", "http://127.0.0.1:9/")
    for path in ("runs", f"runs/{tried.first}", f"runs/{tried.first}/profile"):
        gone = client.get(f"/models/{CAR}/{path}")
        assert (gone.status_code, gone.headers["retry-after"]) == (503, "5")


def test_only_addresses_that_a_reader_reaches_are_told(tmp_path: Path) -> None:
    here = RegistryClient("http://somebody:secret@127.0.0.1:5000")
    alone = Settings(state_dir=tmp_path)
    assert pages(alone, here, CAR).mlflow == "http://127.0.0.1:5000", "without the password"
    assert pages(alone, here, CAR).mage is None, "none was started here"
    (tmp_path / "mage").mkdir()
    assert pages(alone, here, CAR).mage == "http://127.0.0.1:6789/pipelines/car_price/runs"
    assert pages(alone, RegistryClient("http://mlflow:5000"), CAR).mlflow is None
    assert pages(Settings(state_dir=tmp_path, host="0.0.0.0"), here, CAR).mlflow is None
    told = Settings(state_dir=tmp_path, mlflow_page="https://ml.example/", mage_page="https://mage.example")
    assert pages(told, here, CAR).mlflow == "https://ml.example"
    assert pages(told, here, CAR).mage == "https://mage.example/pipelines/car_price/runs"
