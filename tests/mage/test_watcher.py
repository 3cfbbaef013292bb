"""Runs that nobody follows, on a real Mage and a real PostgreSQL."""

from __future__ import annotations

import signal
import time
from contextlib import closing

import httpx
import psutil
import psycopg
import pytest

from backend.app import create_app
from sigap.catalog import declaration
from sigap.data import content
from sigap.data.content import Content
from sigap.keys import alert_credentials
from sigap.retrains import Ask, request
from sigap.services.mage_client import run_pipeline
from sigap.watcher.__main__ import Watcher
from sigap.watcher.mage import Mage, MageAwayError
from sigap.watcher.runs import RunKeeper
from tests.backend.conftest import Client, Loop
from tests.backend.test_alerts import alert, message
from tests.mage.test_client import worker_pool

pytestmark = pytest.mark.usefixtures("mage")

SECONDS = 150


@pytest.fixture
def settings(mage_settings, seeded_database):
    url = type(mage_settings)(DATABASE_URL=seeded_database).database_url
    return mage_settings.model_copy(update={"database_url": url})


@pytest.fixture
def connection(settings):
    with psycopg.connect(settings.dsn, autocommit=True) as opened:
        yield opened


@pytest.fixture
def asked(settings):
    with closing(Mage(settings)) as opened:
        yield opened


def ask(fingerprint="a", model="one", cause="drift"):
    return Ask(model, cause, fingerprint, "The inputs have shifted.", "alert:SigapDrift")


def keeper(settings, asked, **changes):
    return RunKeeper(settings.model_copy(update=changes), asked, frozenset({"one"}))


def looked_after(kept, connection, until="ended_at IS NOT NULL"):
    """The rows once all are as wanted."""
    limit = time.monotonic() + SECONDS
    while True:
        kept.look(connection)
        rows = connection.execute(
            "SELECT decision, outcome, attempts, cause, asked_by, pipeline_run FROM retrains ORDER BY id"
        ).fetchall()
        waiting = connection.execute(f"SELECT count(*) FROM retrains WHERE NOT ({until})").fetchone()[0]
        if rows and not waiting:
            return rows
        assert time.monotonic() < limit, rows
        time.sleep(0.2)


def test_an_alerts_run_is_started_once_and_its_end_is_written_down(settings, asked, connection):
    first = request(settings, ask(), asked)
    assert (first.decision, first.known) == ("started", False)
    assert request(settings, ask(), asked).known
    assert request(settings, ask("b"), asked).decision == "refused_running"
    assert looked_after(keeper(settings, asked), connection, "ended_at IS NOT NULL OR decision <> 'started'") == [
        ("started", "kept", 1, "drift", "alert:SigapDrift", first.run),
        ("refused_running", None, 0, "drift", "alert:SigapDrift", None),
    ]
    assert asked.run(first.run)["variables"]["asked_by"] == "alert:SigapDrift"
    assert [run["id"] for run in asked.runs("one")].count(first.run) == 1


def test_from_a_posted_alert_to_what_came_of_it(settings, asked, connection):
    kept = RunKeeper(settings, asked, frozenset({"car_price"}))
    headers = {"authorization": f"Bearer {alert_credentials(settings).read_text()}"}
    sent = message(*[alert("car_price", f"{at:016x}") for at in range(10)])
    with Loop() as runner:
        client = Client(create_app(settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})), runner)
        first = client.post("/alerts", json=sent, headers=headers).json()["alerts"]
        assert [each["decision"] for each in first] == ["started", *["refused_running"] * 9]
        looked_after(kept, connection, "ended_at IS NOT NULL OR decision <> 'started'")
        # Alertmanager repeats them; the cooldown holds for those that were refused, and the one that ran is known.
        again = client.post("/alerts", json=sent, headers=headers).json()["alerts"]
        assert [each["decision"] for each in again] == ["started", *["refused_cooldown"] * 9]
        assert (again[0]["known"], again[0]["run"]) == (True, first[0]["run"])
        told = client.get("/models/car_price/retrains").json()["retrains"][-1]
    assert (told["cause"], told["asked_by"], told["pipeline_run"]) == ("drift", "alert:SigapDrift", first[0]["run"])
    assert (told["outcome"], told["model_version"]) == ("promoted", "v2")
    assert told["asked_at"] <= told["started_at"] <= told["ended_at"]
    assert len(asked.runs("car_price")) == 1


def test_a_changed_row_has_its_model_trained_once_and_by_itself(settings, asked, connection):
    cars = declaration("car_price")
    (moment,) = connection.execute("SELECT now()").fetchone()
    counters = content.counters(connection, cars)
    content.note(connection, cars.name, Content(content.digest(connection, cars), counters, moment))
    earlier = len(asked.runs(cars.name))
    with closing(Watcher(settings.model_copy(update={"retrain_on_change": cars.name}))) as watcher:
        watcher.look()
        with psycopg.connect(settings.dsn) as session:
            session.execute("UPDATE cars SET price = price + 1 WHERE car_id = (SELECT min(car_id) FROM cars)")
        begun, rows = time.monotonic(), []
        while not rows or rows[0][1] is None:
            assert time.monotonic() - begun < SECONDS
            time.sleep(0.5)
            watcher.look()
            rows = connection.execute("SELECT cause, outcome, asked_by FROM retrains").fetchall()
        assert rows == [("change", "promoted", "change")]
        # These small steps note nothing of what they read, and still nobody asks twice.
        for _ in range(3):
            watcher.look()
    assert len(asked.runs(cars.name)) == earlier + 1
    assert connection.execute("SELECT count(*) FROM retrains").fetchone() == (1,)


def test_a_run_that_somebody_started_is_written_down_too_with_its_failure(settings, asked, connection):
    number = asked.start("one", {"raises": "cars", "asked_by": "api: sari"})
    (row,) = looked_after(keeper(settings, asked), connection)
    assert row == ("started", "failed", 1, "person", "api: sari", number)


def test_a_run_that_sticks_is_ended_and_tried_once_more(settings, asked, connection):
    run_pipeline(settings, "one", {})
    pool = worker_pool(settings)
    pool.send_signal(signal.SIGSTOP)
    try:
        first = request(settings, ask(), asked)
        impatient = keeper(settings, asked, stuck_seconds=1)
        looked_after(impatient, connection, f"pipeline_run <> {first.run}")
    finally:
        pool.send_signal(signal.SIGCONT)
    (row,) = looked_after(keeper(settings, asked), connection)
    assert row[:4] == ("started", "kept", 2, "drift")
    assert asked.run(first.run)["status"] == "cancelled"
    again = asked.run(row[5])
    assert (again["variables"]["retry_of"], again["variables"]["asked_by"]) == (first.run, "alert:SigapDrift")


def test_what_sticks_twice_is_given_up(settings, asked, connection):
    run_pipeline(settings, "one", {})
    pool = worker_pool(settings)
    pool.send_signal(signal.SIGSTOP)
    try:
        request(settings, ask(), asked)
        (row,) = looked_after(keeper(settings, asked, stuck_seconds=1), connection)
    finally:
        pool.send_signal(signal.SIGCONT)
    assert row[:3] == ("started", "stuck", 2)


def test_a_run_that_its_starter_follows_is_left_to_it(settings, asked, connection):
    from sigap.registry.owner import this_process

    number = asked.start("one", {"seconds": 3, "owner": this_process()})
    impatient = keeper(settings, asked, stuck_seconds=0, step_timeout_seconds=0)
    limit = time.monotonic() + SECONDS
    while asked.run(number)["status"] in ("initial", "running"):
        impatient.look(connection)
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert asked.run(number)["status"] == "completed"
    # `./run` tells of its first trainings itself.
    assert connection.execute("SELECT count(*) FROM retrains").fetchone() == (0,)


def test_a_start_that_was_cut_off_is_made_up_for_once(settings, asked, connection):
    connection.execute(
        "INSERT INTO retrains (model, cause, fingerprint, detail, asked_by, decision, attempts, started_at)"
        " VALUES ('one', 'drift', 'a', '', 'alert:SigapDrift', 'started', 1, now() - interval '2 minutes')"
    )
    (row,) = looked_after(keeper(settings, asked), connection)
    assert row[:3] == ("started", "kept", 2)


def test_mages_scheduler_comes_back_and_runs_nothing_twice(settings, asked, connection):
    first = request(settings, ask(), asked)
    earlier = {run["id"] for run in asked.runs("one")} - {first.run}
    status = httpx.get(f"{settings.mage_address}/api/status", trust_env=False).json()["statuses"][0]
    scheduler = psutil.Process(status["scheduler_process_id"])
    for process in (*scheduler.children(recursive=True), scheduler):
        process.kill()
    (row,) = looked_after(keeper(settings, asked, stuck_seconds=45), connection)
    assert row[1] == "kept"
    since = [run["status"] for run in asked.runs("one") if run["id"] not in earlier]
    assert since.count("completed") == 1
    assert set(since) <= {"completed", "cancelled"}


def test_mage_away_is_an_error_that_says_so(own_settings):
    with closing(Mage(own_settings)) as asked:
        with pytest.raises(MageAwayError, match="never started"):
            asked.runs("one")
        own_settings.secret("mage_password")
        with pytest.raises(MageAwayError, match="can't be reached"):
            asked.runs("one")
