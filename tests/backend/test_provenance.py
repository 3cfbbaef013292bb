"""Lineage, model card and decisions out of a real registry, and the reason where nothing is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backend.app import create_app
from backend.history import Decision, refusal
from sigap.bundle import TAG_DECISION
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.settings import Settings
from tests.backend.bundles import EDUCATION
from tests.backend.conftest import Client, Loop, MlflowServer
from tests.backend.task_bundles import write_task_bundle

LOAN = "loan_approval"
NOISE = "credit_approval: none of 4 candidates may become champion (all: no better than the majority)."


class Registered:
    """A registry in which loans have two versions and a failed run, and credits were refused."""

    def __init__(self, server: MlflowServer, folder: Path) -> None:
        self.client = server.client
        self.runs = [
            self.run(LOAN, "p1", "v1", model_version="v1", promoted="True", rule="first", reason="no champion")
        ]
        self.runs.append(self.run(LOAN, "p2", "v2", model_version="v2", promoted="False", rule="worse", reason="worse"))
        self.runs.append(self.run(LOAN, "p3", "v2", status="FAILED", error="PostgreSQL can't be reached."))
        self.run(LOAN, "", "v2", rule="a candidate's own run")
        for number, run_id in enumerate(self.runs[:2], 1):
            bundle = folder / str(number)
            data = {"data": {**_data(f"v{number}"), "rows": 500 + number}, "run_id": run_id}
            sha256 = write_task_bundle(bundle, LOAN_APPROVAL, **data)
            record = {"promote": number == 1, "rule": "first" if number == 1 else "worse", "run_id": run_id}
            record |= {"reason": f"reason {number}", "mode": "auto", "asked_by": "pipeline", "comparison": None}
            self.register(server, bundle, sha256, run_id, f"v{number}", record)
        self.client.set_registered_model_alias(LOAN, "champion", "1")
        self.client.set_registered_model_alias(LOAN, "challenger", "2")
        named = {"model_version": "", "champion": "None", "promoted": "False", "rule": "inadmissible"}
        self.run("credit_approval", "p4", "v1", reason=NOISE, **named)

    def run(self, model: str, pipeline_run: str, data_version: str, status: str = "FINISHED", **tags: str) -> str:
        """A run as the workflow writes it."""
        found = self.client.get_experiment_by_name(model)
        experiment = found.experiment_id if found else self.client.create_experiment(model)
        known = {"data_version": data_version, "data_md5": data_version * 16, "mlflow.source.git.commit": "c" * 40}
        if pipeline_run:
            known["pipeline_run"] = pipeline_run
        run = self.client.create_run(experiment, tags=known | tags)
        self.client.set_terminated(run.info.run_id, status)
        return str(run.info.run_id)

    def register(
        self, server: MlflowServer, bundle: Path, sha256: str, run_id: str, data_version: str, record: dict[str, Any]
    ) -> None:
        self.client.log_artifacts(run_id, str(bundle), "bundle")
        tags = {"bundle_run_id": run_id, "bundle_path": "bundle", "manifest_sha256": sha256}
        tags |= {"data_version": data_version, "data_md5": data_version * 16, TAG_DECISION: json.dumps(record)}
        if data_version == "v1":
            self.client.create_registered_model(LOAN)
        self.client.create_model_version(LOAN, f"runs:/{run_id}/bundle", run_id, tags=tags)


def _data(version: str) -> dict[str, Any]:
    known = {"version": version, "md5": version * 16, "rows_rejected": 3, "period": None}
    return known | {"git_commit": "c" * 40, "query": "SELECT 7"}


@pytest.fixture(scope="module")
def registered(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Registered:
    return Registered(mlflow_server, tmp_path_factory.mktemp("registered"))


@pytest.fixture
def application(registered: Registered, mlflow_server: MlflowServer, tmp_path: Path) -> FastAPI:
    settings = Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI=mlflow_server.uri, served_alias="champion")
    return create_app(settings, (EDUCATION, LOAN_APPROVAL, CREDIT_APPROVAL))


@contextmanager
def looked(application: FastAPI) -> Iterator[Client]:
    """The application, after each of its followers has looked at the registry once."""
    with Loop() as runner:
        for follower in application.state.service.followers.values():
            runner.run(follower.step())
        yield Client(application, runner)


@pytest.fixture
def client(application: FastAPI) -> Iterator[Client]:
    """A client of the application."""
    with looked(application) as found:
        yield found


def test_a_prediction_leads_back_to_its_query(registered: Registered, client: Client) -> None:
    answer = client.post(f"/models/{LOAN}/predict", json=LOAN_APPROVAL.example).json()
    found = client.get(f"/models/{LOAN}/lineage").json()
    assert found["version"]["model_version"] == answer["model_version"] == "v1"
    assert found["version"]["aliases"] == ["champion"]
    assert (found["run"]["run_id"], found["run"]["status"]) == (registered.runs[0], "FINISHED")
    assert found["run"]["seconds"] >= 0
    data = found["data"]
    assert (data["version"], data["dvc_md5"], data["git_tag"]) == ("v1", "v1" * 16, f"{LOAN}/v1")
    assert (data["git_commit"], data["query"], data["rows"], data["rows_rejected"]) == ("c" * 40, "SELECT 7", 501, 3)
    assert data["pointer"] == "data/raw/loan_approval_snapshot.parquet.dvc"
    assert found["code"]["git_commit"] == "d" * 40
    assert found["registry_reached"] is True
    other = client.get(f"/models/{LOAN}/lineage", params={"version": "v2"}).json()
    assert (other["version"]["aliases"], other["data"]["rows"]) == (["challenger"], 502)


def test_a_data_version_leads_on_to_all_that_saw_it(registered: Registered, client: Client) -> None:
    found = client.get(f"/models/{LOAN}/lineage/data/v2").json()
    assert (found["dvc_md5"], found["git_tag"]) == ("v2" * 16, f"{LOAN}/v2")
    assert [(each["model_version"], each["aliases"]) for each in found["model_versions"]] == [("v2", ["challenger"])]
    assert [run["run_id"] for run in found["runs"]] == registered.runs[:0:-1], "one that registered nothing too"
    unknown = client.get(f"/models/{LOAN}/lineage/data/v9")
    assert unknown.status_code == 404
    assert "./run data versions" in unknown.json()["detail"]


@pytest.mark.parametrize("tag", ["no JSON", "[]", '{"run_id": "RUN", "rule": 7, "reason": ["a"], "mode": {}}'])
def test_a_decision_that_was_edited_by_hand_is_no_fault(registered: Registered, client: Client, tag: str) -> None:
    kept = registered.client.get_model_version(LOAN, "2").tags[TAG_DECISION]
    registered.client.set_model_version_tag(LOAN, "2", TAG_DECISION, tag.replace("RUN", registered.runs[1]))
    try:
        found = client.get(f"/models/{LOAN}/decisions")
        # What the run itself says of it is told.
        assert (found.status_code, found.json()["decisions"][-2]["reason"]) == (200, "worse")
        versions = client.get(f"/models/{LOAN}/versions").json()["versions"]
        assert [each["reason"] for each in versions] == [None, "reason 1"]
    finally:
        registered.client.set_model_version_tag(LOAN, "2", TAG_DECISION, kept)


def test_decisions_are_told_with_their_numbers_newest_first(registered: Registered, client: Client) -> None:
    found = client.get(f"/models/{LOAN}/decisions").json()["decisions"]
    assert [each["run_id"] for each in found] == registered.runs[::-1]
    failed, refused, promoted = found
    assert (failed["outcome"], failed["reason"], failed["record"]) == ("failed", "PostgreSQL can't be reached.", None)
    assert (refused["outcome"], refused["rule"], refused["model_version"]) == ("refused", "worse", "v2")
    assert (promoted["outcome"], promoted["reason"]) == ("promoted", "reason 1")
    assert (promoted["mode"], promoted["asked_by"], promoted["data_version"]) == ("auto", "pipeline", "v1")
    assert promoted["record"]["comparison"] is None


def test_the_model_card_is_markdown(client: Client) -> None:
    card = client.get(f"/models/{LOAN}/card")
    assert card.headers["content-type"] == "text/markdown; charset=utf-8"
    assert card.text.startswith("# Loan approval")
    assert "SELECT 7" in card.text
    assert "502 " in client.get(f"/models/{LOAN}/card", params={"version": "2"}).text


def test_an_honest_refusal_is_the_reason_for_503_and_no_fault(application: FastAPI, client: Client) -> None:
    for path in ("/api/v2/predict", "/models/credit_approval/predict"):
        problem = client.post(path, json=CREDIT_APPROVAL.example)
        assert problem.status_code == 503
        detail = problem.json()["detail"]
        assert f"The last run on the data v1 promoted nothing: {NOISE}" in detail
        assert "./run pipeline credit_approval" in detail
    for path in ("lineage", "card"):
        assert client.get(f"/models/credit_approval/{path}").status_code == 503
    (decision,) = client.get("/models/credit_approval/decisions").json()["decisions"]
    assert (decision["outcome"], decision["model_version"], decision["champion"]) == ("refused", None, None)
    assert NOISE in client.get("/models/credit_approval").json()["reason"]
    listed = {each["name"]: each for each in client.get("/models").json()["models"]}
    assert NOISE in listed["credit_approval"]["reason"]
    assert NOISE in client.get("/", headers={"accept": "text/html"}).text
    assert client.get("/health/ready").json()["models"]["credit_approval"]["ready"] is False
    health = client.get("/health").json()
    assert health["models"]["credit_approval"]["status"] == "unavailable"
    assert health["status"] == "degraded", "education was never trained"
    application.state.service.followers.pop("education")
    assert client.get("/health").json()["status"] == "ok"


def test_a_model_that_never_ran_says_how_to_train_it(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    # A model that no other test of this session registers.
    name = CUSTOMER_SEGMENTS.name
    settings = Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI=mlflow_server.uri, default_model=name)
    with looked(create_app(settings, (CUSTOMER_SEGMENTS,))) as client:
        problem = client.post("/predict", json=CUSTOMER_SEGMENTS.example)
        assert problem.status_code == 503
        assert problem.json()["detail"].endswith("does it; it is served within seconds.")
        assert client.get(f"/models/{name}/decisions").json()["decisions"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/models/nothing/lineage",
        "/models/nothing/decisions",
        f"/models/{LOAN}/lineage?version=v9",
        f"/models/{LOAN}/lineage?version=latest",
        f"/models/{LOAN}/card?version=9",
        f"/models/{LOAN}/card?version=1%27%20OR",
    ],
)
def test_what_is_not_there_is_a_404(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_without_the_registry_what_is_served_still_tells_its_origin(
    application: FastAPI, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = application.state.service.registry
    monkeypatch.setattr(registry._client, "base_url", "http://127.0.0.1:9/")
    found = client.get(f"/models/{LOAN}/lineage").json()
    assert (found["data"]["query"], found["registry_reached"]) == ("SELECT 7", False)
    assert client.get(f"/models/{LOAN}/card").status_code == 200
    gone = client.get(f"/models/{LOAN}/decisions")
    assert gone.status_code == 503
    assert "can't be reached" in gone.json()["detail"]


def test_a_run_that_goes_on_is_no_reason() -> None:
    def decision(outcome: str, reason: str | None) -> Decision:
        known = dict.fromkeys(("decided_at", "model_version", "champion", "rule", "mode", "asked_by", "record"))
        tags = {"run_id": "r", "data_version": "v1", "data_md5": "", "git_commit": ""}
        return Decision.model_validate({**known, **tags, "outcome": outcome, "reason": reason})

    assert refusal([]) is None
    assert refusal([decision("running", None)]) is None
    failed = refusal([decision("running", None), decision("failed", "gone")])
    assert failed == ("The last run on the data v1 failed: gone", False)
    assert refusal([decision("promoted", None), decision("refused", "old")]) is None
