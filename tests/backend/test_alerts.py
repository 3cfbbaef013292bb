"""Alerts of Alertmanager and Grafana: what they start, and what they can't, with a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from httpx import ASGITransport, AsyncClient

from backend.app import create_app
from sigap.keys import alert_credentials
from sigap.settings import Settings
from tests.backend.conftest import Client, Loop, free_port
from tests.backend.mage import BLOCKS, FakeMage, mage_standin
from tests.backend.security.conftest import problem

SINCE = "2026-11-21T10:00:00.123456789Z"


def alert(model: str = "education", fingerprint: str = "a1b2c3d4e5f60718", **changes: Any) -> dict[str, Any]:
    """An alert as Alertmanager 0.25 sends it."""
    labels = {"alertname": "SigapDrift", "action": "retrain", "cause": "drift", "model": model, "severity": "warning"}
    return {
        "status": "firing",
        "labels": labels | changes.pop("labels", {}),
        "annotations": {"summary": f"The inputs of {model} have shifted."},
        "startsAt": SINCE,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=sigap_drift_alarm+%3D%3D+1",
        "fingerprint": fingerprint,
    } | changes


def message(*alerts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "receiver": "sigap",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"action": "retrain"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
        "version": "4",
        "groupKey": '{}:{action="retrain"}',
        "truncatedAlerts": 0,
    } | changes


@pytest.fixture
def settings(tmp_path: Path, seeded_database: str) -> Settings:
    return Settings(
        _env_file=None, state_dir=tmp_path, mage_port=free_port(), DATABASE_URL=seeded_database,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )  # fmt: skip


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Loop() as runner:
        yield Client(create_app(settings), runner)


@pytest.fixture
def mage(settings: Settings) -> Iterator[FakeMage]:
    with mage_standin(settings) as fake:
        yield fake


def key(settings: Settings) -> dict[str, str]:
    return {"authorization": f"Bearer {alert_credentials(settings).read_text()}"}


@pytest.fixture
def send(client: Client, settings: Settings) -> Any:
    headers = key(settings)
    return lambda *alerts, **changes: client.post("/alerts", json=message(*alerts, **changes), headers=headers)


def decisions(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["decision"] for each in answer.json()["alerts"]]


def rows(settings: Settings, columns: str = "model, decision") -> list[Any]:
    with psycopg.connect(settings.dsn) as connection:
        return connection.execute(f"SELECT {columns} FROM retrains ORDER BY id").fetchall()  # type: ignore[arg-type]


def execute(settings: Settings, statement: str) -> None:
    with psycopg.connect(settings.dsn) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


def end(mage: FakeMage, run: int = 1) -> None:
    for _ in BLOCKS:
        mage.step(run)


def test_an_alert_starts_one_run_however_often_it_is_sent(settings: Settings, mage: FakeMage, send: Any) -> None:
    first = send(alert()).json()["alerts"]
    assert first == [
        {"fingerprint": "a1b2c3d4e5f60718", "model": "education", "decision": "started", "run": 1, "known": False}
    ]
    assert mage.runs[0]["variables"]["asked_by"] == "alert:SigapDrift"
    end(mage)
    # Repeated while it fires, also by a sender that writes the time in another way.
    again = send(alert(startsAt="2026-11-21T17:00:00.123456+07:00")).json()["alerts"]
    assert (again[0]["decision"], again[0]["run"], again[0]["known"]) == ("started", 1, True)
    assert len(mage.runs) == 1
    found = rows(settings, "model, cause, decision, pipeline_run, asked_by, detail, ended_at")
    assert found == [
        ("education", "drift", "started", 1, "alert:SigapDrift", "The inputs of education have shifted.", None)
    ]


def test_ten_alerts_at_once_start_one_run_a_model(settings: Settings, mage: FakeMage, send: Any) -> None:
    ten = [alert("education" if at < 6 else "car_price", f"{at:016x}") for at in range(10)]
    assert decisions(send(*ten)) == ["started", *["refused_running"] * 5, "started", *["refused_running"] * 3]
    assert [run["pipeline_uuid"] for run in mage.runs] == ["education", "car_price"]
    assert len(rows(settings)) == 10


def test_ten_senders_at_once_start_one_run(settings: Settings, mage: FakeMage) -> None:
    headers = key(settings)

    async def flood() -> list[str]:
        async with AsyncClient(transport=ASGITransport(application), base_url="http://api") as sender:
            sent = [
                sender.post("/alerts", json=message(alert(fingerprint=f"{at % 5:016x}")), headers=headers)
                for at in range(10)
            ]
            return [answer.json()["alerts"][0]["decision"] for answer in await asyncio.gather(*sent)]

    application = create_app(settings)
    with Loop() as runner:
        runner.applications.append(application)
        told = runner.run(flood())
    # One fingerprint was sent twice: both are told of the one run.
    assert sorted(set(told)) == ["refused_running", "started"]
    assert told.count("started") <= 2
    assert len(mage.runs) == 1
    assert len(rows(settings)) == 5


def test_beside_a_run_that_goes_on_none_is_started_and_afterwards_one(
    settings: Settings, mage: FakeMage, send: Any
) -> None:
    mage.start("education", {})
    assert decisions(send(alert())) == ["refused_running"]
    end(mage)
    # Alertmanager repeats what still fires.
    assert decisions(send(alert())) == ["started"]
    assert rows(settings, "decision, attempts") == [("started", 1)]


def test_the_cooldown_holds_for_a_model_and_a_clock_set_back_does_not_prolong_it(
    settings: Settings, mage: FakeMage, send: Any
) -> None:
    assert decisions(send(alert())) == ["started"]
    end(mage)
    later = alert(fingerprint="ffff000011112222")
    assert decisions(send(later)) == ["refused_cooldown"]
    assert decisions(send(alert("car_price"))) == ["started"]
    execute(settings, "UPDATE retrains SET started_at = now() - interval '61 minutes' WHERE model = 'education'")
    assert decisions(send(later)) == ["started"]
    end(mage, 3)
    execute(settings, "UPDATE retrains SET started_at = now() + interval '2 days' WHERE model = 'education'")
    assert decisions(send(alert(fingerprint="0000000000000003"))) == ["started"]


def test_the_hourly_cap_holds_over_all_models(settings: Settings, mage: FakeMage) -> None:
    capped = settings.model_copy(update={"retrains_per_hour": 2})
    names = ("education", "car_price", "customer_segments")
    with Loop() as runner:
        client = Client(create_app(capped), runner)
        answer = client.post("/alerts", json=message(*map(alert, names)), headers=key(settings))
    assert decisions(answer) == ["started", "started", "refused_cap"]


def test_a_run_that_failed_is_started_again_by_a_repeated_alert_after_the_cooldown(
    settings: Settings, mage: FakeMage, send: Any
) -> None:
    send(alert())
    mage.step(1, fail="MLflow is away.")
    execute(settings, "UPDATE retrains SET ended_at = now(), outcome = 'failed'")
    assert decisions(send(alert())) == ["refused_cooldown"]
    assert rows(settings, "decision, pipeline_run, outcome") == [("started", 1, "failed")]
    execute(settings, "UPDATE retrains SET started_at = now() - interval '2 hours'")
    assert decisions(send(alert())) == ["started"]
    assert rows(settings, "attempts, pipeline_run, outcome") == [(2, 2, None)]
    assert mage.runs[1]["variables"]["retrain"] != mage.runs[0]["variables"]["retrain"]


def test_while_mage_is_away_the_sender_has_to_try_again_and_that_starts_it_once(settings: Settings, send: Any) -> None:
    told = problem(send(alert(), alert("car_price", "0000000000000002")), 503)
    assert "2 of 2 alerts" in told["detail"]
    assert rows(settings) == [("education", "failed"), ("car_price", "failed")]
    with mage_standin(settings) as mage:
        assert decisions(send(alert(), alert("car_price", "0000000000000002"))) == ["started", "started"]
        assert decisions(send(alert(), alert("car_price", "0000000000000002"))) == ["started", "started"]
        assert len(mage.runs) == 2
    assert rows(settings) == [("education", "started"), ("car_price", "started")]


def test_a_start_that_mage_made_and_nobody_heard_of_is_found_again(
    settings: Settings, mage: FakeMage, send: Any
) -> None:
    send(alert())
    execute(settings, "UPDATE retrains SET decision = 'failed', pipeline_run = NULL, started_at = NULL")
    answer = send(alert()).json()["alerts"][0]
    assert (answer["decision"], answer["run"], answer["known"]) == ("started", 1, True)
    assert len(mage.runs) == 1


def test_without_postgres_nothing_starts_and_the_sender_tries_again(settings: Settings, mage: FakeMage) -> None:
    away = settings.model_copy(
        update={"database_url": type(settings.database_url)("postgresql://nobody:x@127.0.0.1:9/no")}  # type: ignore[misc]
    )
    with Loop() as runner:
        answer = Client(create_app(away), runner).post("/alerts", json=message(alert()), headers=key(settings))
    assert "127.0.0.1:9" not in problem(answer, 503)["detail"]
    assert mage.runs == []


def test_what_asks_for_no_training_is_answered_and_starts_none(settings: Settings, mage: FakeMage, send: Any) -> None:
    answer = send(
        alert(labels={"action": "page"}),
        alert("boats"),
        alert(labels={"cause": "weather"}),
        alert(status="resolved"),
        alert(labels={"model": "x" * 200}),
    )
    assert decisions(answer) == ["ignored", "unknown_model", "unknown_cause", "resolved", "unknown_model"]
    assert rows(settings) == []
    assert mage.runs == []


def test_a_resolved_alert_is_noted_only(settings: Settings, mage: FakeMage, send: Any) -> None:
    send(alert())
    (told,) = send(alert(status="resolved", endsAt="2026-11-21T10:05:00Z"), status="resolved").json()["alerts"]
    assert (told["decision"], told["known"]) == ("resolved", True)
    assert rows(settings, "decision, resolved_at IS NOT NULL") == [("started", True)]
    assert len(mage.runs) == 1


def test_grafana_sends_the_same_fields_and_some_of_its_own(settings: Settings, mage: FakeMage, send: Any) -> None:
    own = {"values": {"A": 1}, "valueString": "[ A=1 ]", "dashboardURL": "", "panelURL": "", "silenceURL": "http://g"}
    answer = send(
        alert(labels={"cause": "performance"}, **own), version="1", orgId=1, title="[FIRING:1]", state="alerting",
        message="…",
    )  # fmt: skip
    assert decisions(answer) == ["started"]
    assert rows(settings, "cause") == [("performance",)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (json.dumps(message(alert(), version="3")), 422),
        (json.dumps(message(alert(status="on fire"))), 422),
        (json.dumps(message(alert(startsAt="yesterday"))), 422),
        (json.dumps(message(alert(fingerprint="'; DROP TABLE retrains"))), 422),
        (json.dumps(message(alert(labels={"model": 5}))), 422),
        (json.dumps(message({"status": "firing"})), 422),
        (json.dumps(message(alerts="none")), 422),
        (json.dumps(message(*[alert()] * 101)), 422),
        (json.dumps(message(alert(annotations={"summary": "x" * 70_000}))), 413),
    ],
    ids=lambda value: value[:40] if isinstance(value, (bytes, str)) else value,
)
def test_what_is_no_such_message_is_refused_whole(
    client: Client, settings: Settings, mage: FakeMage, body: Any, status: int
) -> None:
    problem(client.post("/alerts", content=body, headers=key(settings)), status)
    assert rows(settings) == []
    assert mage.runs == []


def test_a_null_byte_in_a_text_is_no_fault_of_the_database(settings: Settings, mage: FakeMage, send: Any) -> None:
    assert decisions(send(alert(annotations={"summary": "a\0b"}, labels={"alertname": "x\0y"}))) == ["started"]


def test_only_the_key_or_a_token_with_the_scope_is_let_in(client: Client, settings: Settings) -> None:
    assert client.post("/alerts", json=message()).status_code == 401
    wrong = {"authorization": "Bearer sigap_wrong"}
    for _ in range(settings.token_failures):
        assert client.post("/alerts", json=message(), headers=wrong).status_code == 401
    # Who guesses is made to wait, before the key is looked at.
    assert client.post("/alerts", json=message(), headers=wrong).status_code == 429


def test_the_key_gets_a_token_too_but_for_nothing_else(client: Client, settings: Settings) -> None:
    secret = alert_credentials(settings).read_text()
    token = client.post("/token", json={"api_key": secret}).json()
    assert token["scopes"] == ["alerts"]
    headers = {"authorization": f"Bearer {token['access_token']}"}
    assert client.post("/alerts", json=message(), headers=headers).json() == {"alerts": []}
    assert client.post("/model/rollback", headers=headers).status_code == 403
    # Elsewhere the key itself is no credential.
    assert client.post("/model/rollback", headers={"authorization": f"Bearer {secret}"}).status_code == 401


def test_where_reading_needs_a_token_prometheus_sends_the_key_too(settings: Settings) -> None:
    closed = settings.model_copy(update={"protect": "all"})
    with Loop() as runner:
        client = Client(create_app(closed), runner)
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=key(settings)).status_code == 200
        assert client.get("/metrics", headers={"authorization": "Bearer sigap_wrong"}).status_code == 401
        assert client.get("/models", headers=key(settings)).status_code == 401


def test_the_history_is_told_to_whoever_may_read(client: Client, settings: Settings, mage: FakeMage, send: Any) -> None:
    send(alert(), alert("car_price", "0000000000000002"))
    execute(settings, "UPDATE retrains SET ended_at = now(), outcome = 'promoted', model_version = 'v3' WHERE id = 1")
    every = client.get("/retrains").json()["retrains"]
    assert [each["model"] for each in every] == ["car_price", "education"]
    (one,) = client.get("/models/education/retrains").json()["retrains"]
    assert (one["cause"], one["decision"], one["outcome"], one["model_version"]) == (
        "drift", "started", "promoted", "v3",
    )  # fmt: skip
    assert client.get("/models/boats/retrains").status_code == 404
    assert client.get("/retrains?limit=0").status_code == 422
    execute(settings, "DROP TABLE retrains")
    problem(client.get("/retrains"), 503)
