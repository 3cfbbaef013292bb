"""Update, rollback and load over the API: a real registry, a real PostgreSQL, two workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from mlflow.exceptions import MlflowException

from sigap.bundle import MODEL as MODEL_FILE
from sigap.bundle import TAG_DECISION
from tests.backend.bundles import BODY, CENTERS, write_bundle
from tests.backend.conftest import MODEL, Api, MlflowServer, wait_for

StartApi = Callable[..., Api]
KEY = "an-admin-key-for-these-tests-only-0123456789"
WORKERS = 2
# Long enough that only a notification can bring a moved alias to a worker in time.
NEVER = "60"


class Admin:
    """Calls an API with a token that may do everything."""

    def __init__(self, api: Api) -> None:
        self.api = api
        answer = httpx.post(f"{api.url}/token", json={"api_key": KEY}, trust_env=False)
        assert answer.status_code == 200, answer.text
        self._headers, self.asker = {"authorization": f"Bearer {answer.json()['access_token']}"}, "api: tester"

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return httpx.post(f"{self.api.url}{path}", json=body, headers=self._headers, trust_env=False, timeout=120)

    def everybody_serves(self, version: str) -> bool:
        # A connection each, so that the workers take turns; one that lags behind is found among so many.
        answers = {self.api.predict(BODY).json()["model_version"] for _ in range(10 * WORKERS)}
        return answers == {f"v{version}"}


@pytest.fixture
def aliases(mlflow_server: MlflowServer, versions: tuple[str, ...]) -> Iterator[str]:
    """An alias of the test's own on the first version; `previous` and `challenger` are gone afterwards."""
    yield "admin"
    for alias in ("admin", "previous", "challenger"):
        with suppress(MlflowException):
            mlflow_server.client.delete_registered_model_alias(MODEL, alias)


def start(start_api: StartApi, server: MlflowServer, **env: str) -> Admin:
    return Admin(
        start_api(
            server.uri, "admin", WEB_CONCURRENCY=str(WORKERS), SIGAP_API_KEYS=f"tester:predict+admin:{KEY}", **env
        )
    )


def listening(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'sigap-api' AND query IN ('LISTEN sigap_models', 'SELECT 1')"
        ).fetchone()
    return int(row[0]) if row else 0


def test_update_and_rollback_reach_every_worker_by_notification_and_are_written_down(
    mlflow_server: MlflowServer, versions: tuple[str, ...], aliases: str, start_api: StartApi, seeded_database: str
) -> None:
    mlflow_server.point(versions[0], aliases)
    mlflow_server.point(versions[1], "challenger")
    admin = start(start_api, mlflow_server, SIGAP_FOLLOW_SECONDS=NEVER, DATABASE_URL=seeded_database)
    wait_for(lambda: listening(seeded_database) == WORKERS, "The workers' listening")

    updated = admin.post("/models/education/update").json()
    assert (updated["action"], updated["model_version"], updated["serving"]) == (
        "update",
        f"v{versions[1]}",
        f"v{versions[1]}",
    )
    assert (updated["instead_of"], updated["alias_version"], updated["held"]) == (
        f"v{versions[0]}",
        f"v{versions[1]}",
        False,
    )
    wait_for(lambda: admin.everybody_serves(versions[1]), "The challenger")

    back = admin.post("/model/rollback").json()
    assert (back["serving"], back["changed"], back["asked_by"]) == (f"v{versions[0]}", True, admin.asker)
    wait_for(lambda: admin.everybody_serves(versions[0]), "The version before")

    refused = admin.post("/model/update")
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:sigap:problem:no-challenger"
    decided = admin.api.get("/models/education/decisions").json()["decisions"]
    assert [(each["rule"], each["model_version"], each["asked_by"]) for each in decided[:2]] in (
        [("rollback", f"v{versions[0]}", admin.asker), ("by_hand", f"v{versions[1]}", admin.asker)],
        # Within one second their order is open.
        [("by_hand", f"v{versions[1]}", admin.asker), ("rollback", f"v{versions[0]}", admin.asker)],
    )
    with psycopg.connect(seeded_database) as connection:
        rows = connection.execute(
            "SELECT rule, champion_before, champion_after, asked_by FROM decisions ORDER BY id"
        ).fetchall()
    assert rows == [
        ("by_hand", f"v{versions[0]}", f"v{versions[1]}", admin.asker),
        ("rollback", f"v{versions[1]}", f"v{versions[0]}", admin.asker),
    ]
    assert mlflow_server.client.get_model_version(MODEL, versions[0]).tags["chosen_by"] == admin.asker
    dependencies = admin.api.get("/health").json()["dependencies"]
    assert dependencies["postgresql"]["status"] == "up"
    assert dependencies["postgresql"]["latency_ms"] > 0


def test_an_update_to_a_version_that_waits_is_its_approval(
    mlflow_server: MlflowServer, versions: tuple[str, ...], aliases: str, start_api: StartApi, seeded_database: str
) -> None:
    mlflow_server.point(versions[0], aliases)
    mlflow_server.point(versions[1], "challenger")
    waiting = {"rule": "waiting", "reason": "It is better.", "run_id": "r", "promote": False, "mode": "manual"}
    record = json.dumps(waiting | {"champion_before": f"v{versions[0]}"})
    mlflow_server.client.set_model_version_tag(MODEL, versions[1], TAG_DECISION, record)
    admin = start(start_api, mlflow_server, DATABASE_URL=seeded_database)
    try:
        assert admin.post("/models/education/update").json()["serving"] == f"v{versions[1]}"
        decided = json.loads(mlflow_server.client.get_model_version(MODEL, versions[1]).tags[TAG_DECISION])
        assert (decided["rule"], decided["promote"], decided["asked_by"]) == ("approved", True, admin.asker)
        with psycopg.connect(seeded_database) as connection:
            rows = connection.execute(
                "SELECT rule, champion_after, asked_by FROM decisions WHERE run_id = 'r'"
            ).fetchall()
        assert rows == [("approved", f"v{versions[1]}", admin.asker)]
    finally:
        mlflow_server.client.delete_model_version_tag(MODEL, versions[1], TAG_DECISION)


def test_a_named_version_is_served_by_every_worker_until_the_alias_moves(
    mlflow_server: MlflowServer, versions: tuple[str, ...], aliases: str, start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], aliases)
    mlflow_server.point(versions[1], "challenger")
    admin = start(start_api, mlflow_server)
    loaded = admin.post("/model/load", {"version": f"v{versions[2]}"}).json()
    assert (loaded["serving"], loaded["alias_version"], loaded["held"]) == (f"v{versions[2]}", f"v{versions[0]}", True)
    wait_for(lambda: admin.everybody_serves(versions[2]), "The named version")
    assert mlflow_server.client.get_model_version_by_alias(MODEL, aliases).version == versions[0]
    metadata = admin.api.get("/model/metadata").json()
    assert metadata["held"]["model_version"] == f"v{versions[2]}"
    assert metadata["held"]["instead_of"] == f"v{versions[0]}"
    assert admin.api.get("/health").json()["models"][MODEL]["held"] == f"v{versions[2]}"

    assert admin.post("/model/load", {"alias": "challenger"}).json()["serving"] == f"v{versions[1]}"
    wait_for(lambda: admin.everybody_serves(versions[1]), "The challenger")
    ended = admin.post("/models/education/load", {"alias": aliases}).json()
    assert (ended["serving"], ended["held"]) == (f"v{versions[0]}", False)
    wait_for(lambda: admin.everybody_serves(versions[0]), "The champion")

    admin.post("/model/load", {"version": versions[2]})
    wait_for(lambda: admin.everybody_serves(versions[2]), "The named version")
    mlflow_server.point(versions[1], aliases)
    wait_for(lambda: admin.everybody_serves(versions[1]), "The moved alias")
    mlflow_server.point(versions[0], aliases)
    wait_for(lambda: admin.everybody_serves(versions[0]), "The alias moved back, which holds nothing any more")
    assert admin.api.get("/model/metadata").json()["held"] is None
    assert aliases in admin.api.get("/model/metadata").json()["aliases"]


def test_what_can_not_be_served_is_refused_before_any_alias_moves(
    mlflow_server: MlflowServer, versions: tuple[str, ...], aliases: str, start_api: StartApi, tmp_path: Path
) -> None:
    sha256 = write_bundle(tmp_path / "bundle", CENTERS + 0.2)
    altered = mlflow_server.register(tmp_path / "bundle", sha256, MODEL)
    file = mlflow_server.artifact(altered, MODEL_FILE)
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    mlflow_server.point(versions[0], aliases)
    mlflow_server.point(altered, "challenger")
    admin = start(start_api, mlflow_server)
    for path, body in (
        ("/model/update", None),
        ("/model/load", {"version": altered}),
        ("/model/rollback", {"version": altered}),
    ):
        answer = admin.post(path, body)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:sigap:problem:not-servable")
        assert answer.headers["content-type"] == "application/problem+json"
    assert admin.post("/model/rollback").json()["type"] == "urn:sigap:problem:nothing-before"
    assert admin.post("/model/load", {"version": "v999"}).status_code == 404
    assert admin.post("/models/nothing/load", {"version": "v1"}).status_code == 404
    assert admin.post("/model/load", {"alias": "nobody"}).json()["type"] == "urn:sigap:problem:unknown-alias"
    for body in (
        {},
        {"version": "v1", "alias": "champion"},
        {"version": 1},
        {"version": "latest"},
        {"other": "v1"},
        [],
    ):
        answer = admin.post("/model/load", body)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), body
    assert admin.everybody_serves(versions[0])
    assert mlflow_server.client.get_model_version_by_alias(MODEL, aliases).version == versions[0]


def test_without_the_registry_nothing_moves_and_the_answer_says_so(
    mlflow_server: MlflowServer, versions: tuple[str, ...], aliases: str, relay: Any, start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], aliases)
    api = start_api(relay.uri, aliases, SIGAP_API_KEYS=f"tester:predict+admin:{KEY}")
    admin = Admin(api)
    relay.cut()
    for path, body in (("/model/update", None), ("/model/rollback", None), ("/model/load", {"version": "v1"})):
        answer = admin.post(path, body)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:sigap:problem:registry")
        assert answer.headers["retry-after"]
    assert api.predict(BODY).json()["model_version"] == f"v{versions[0]}"
