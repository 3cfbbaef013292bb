"""What stands in the database and the services, as metrics."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from backend.mage import Mage
from backend.observed import Observed, observed
from backend.observed.runs import PAGE, Runs
from sigap.catalog import declarations
from sigap.services.service import free_port
from sigap.settings import Settings
from tests.backend.mage import mage_standin

Told = Callable[..., float | None]
# The tables of other parts, as their migrations make them; those that exist already stay.
TABLES = """
    CREATE TABLE IF NOT EXISTS drift_checks (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, model text NOT NULL, checked_at timestamptz NOT NULL,
        model_version text NOT NULL, subject text NOT NULL, rows int NOT NULL, reference_rows int NOT NULL,
        status text NOT NULL, share double precision, drifted boolean NOT NULL, alarm boolean NOT NULL,
        reason text NOT NULL DEFAULT '', report text, run_id text);
    CREATE TABLE IF NOT EXISTS drift_features (
        check_id bigint REFERENCES drift_checks ON DELETE CASCADE, feature text, test text NOT NULL,
        statistic double precision, p double precision, p_adjusted double precision, effect double precision,
        effect_name text NOT NULL DEFAULT '', drifted boolean NOT NULL, PRIMARY KEY (check_id, feature));
    CREATE TABLE IF NOT EXISTS live_scores (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, model text NOT NULL, model_version text NOT NULL,
        computed_at timestamptz NOT NULL, window_from timestamptz, window_to timestamptz, metric text NOT NULL,
        value double precision, low double precision, high double precision, n int NOT NULL, alarm boolean NOT NULL,
        reason text NOT NULL DEFAULT '');
    CREATE TABLE IF NOT EXISTS retrains (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, model text NOT NULL, asked_at timestamptz NOT NULL,
        cause text NOT NULL, fingerprint text UNIQUE, detail text NOT NULL DEFAULT '', decision text NOT NULL,
        pipeline_run bigint, ended_at timestamptz, outcome text);
"""
ROWS = """
    INSERT INTO drift_checks
        (model, checked_at, model_version, subject, rows, reference_rows, status, share, drifted, alarm, reason)
    VALUES ('car_price', '2026-11-03 00:00Z', 'v1', 'live', 200, 900, 'computed', 0.1, false, false, ''),
           ('car_price', '2026-11-02 00:00Z', 'v1', 'live', 250, 900, 'computed', 0.5, true, true, ''),
           ('car_price', '2026-11-02 00:00Z', 'v1', 'table', 0, 900, 'failed', NULL, true, false, ''),
           ('unheard_of', '2026-11-02 00:00Z', 'v1', 'live', 250, 900, 'computed', 0.5, true, true, '');
    INSERT INTO drift_features (check_id, feature, test, statistic, effect, effect_name, drifted)
    SELECT id, 'horsepower', 'ks', 0.3, share, 'ks', drifted FROM drift_checks WHERE subject = 'live';
    INSERT INTO live_scores
        (model, model_version, computed_at, window_from, window_to, metric, value, low, high, n, alarm)
    SELECT 'car_price', 'v1', at, at - interval '7 days', at, metric, value, low, high, n, alarm FROM (VALUES
        ('2026-11-01 00:00Z'::timestamptz, 'mae', 100, 90, 110, 40, false),
        ('2026-11-01 00:00Z', 'r2', 0.5, 0.4, 0.6, 40, false),
        ('2026-11-02 00:00Z', 'mae', 300, NULL, NULL, 50, true)
    ) AS given (at, metric, value, low, high, n, alarm);
    INSERT INTO retrains (model, asked_at, cause, fingerprint, decision)
    VALUES ('car_price', '2026-11-02 00:00Z', 'drift', 'a', 'started'),
           ('car_price', '2026-11-02 00:01Z', 'drift', 'b', 'refused_running');
    INSERT INTO decisions (model, run_id, model_version, promoted, rule, reason, record)
    VALUES ('car_price', 'a', 'v1', true, 'first', '{}', '{}'), ('car_price', 'b', 'v2', false, 'worse', '{}', '{}'),
           ('car_price', 'c', 'v1', true, 'rollback', '{}', '{}');
"""


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as started:
        yield started


def looked(runner: asyncio.Runner, settings: Settings) -> tuple[Told, str]:
    """One look at everything; gives a function for one sample of it, and all of it as text."""
    registry = CollectorRegistry()
    mage = Mage(settings)

    async def look() -> None:
        watch: Observed = observed(settings, declarations(), mage, lambda: True, registry)
        await watch.look()
        await watch.close()
        await mage.close()

    runner.run(look())

    def told(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    return told, generate_latest(registry).decode()


def settings(folder: Path, url: str | None = None, **changes: Any) -> Settings:
    given = {"DATABASE_URL": url} if url else {}
    return Settings(state_dir=folder, MLFLOW_TRACKING_URI="http://127.0.0.1:9", **given, **changes)


def test_the_newest_rows_of_each_table(seeded_database: str, tmp_path: Path, runner: asyncio.Runner) -> None:
    with psycopg.connect(seeded_database) as connection:
        connection.execute(TABLES)
        connection.execute(ROWS)
    told, text = looked(runner, settings(tmp_path, seeded_database))
    assert told("sigap_dependency_up", dependency="postgresql") == 1
    assert told("sigap_drift_share", model="car_price", subject="live") == 0.5
    assert told("sigap_drift_share", model="car_price", subject="table") is None, "a failed check has no share"
    assert told("sigap_drift_alarm", model="car_price", subject="live") == 1
    assert told("sigap_drift_alarm", model="car_price", subject="table") == 0
    assert told("sigap_drift_rows", model="car_price", subject="live") == 250
    assert told("sigap_drift_feature", model="car_price", subject="live", feature="horsepower") == 0.5
    assert told("sigap_drift_last_check_timestamp_seconds", model="car_price", subject="live") == 1793577600
    assert told("sigap_drift_checks_total", model="car_price", subject="live", status="computed") == 2
    assert told("sigap_live_score", model="car_price", metric="mae") == 300
    assert told("sigap_live_score_bound", model="car_price", metric="mae", bound="low") is None
    assert told("sigap_live_score", model="car_price", metric="r2") is None, "not of the last computation"
    assert told("sigap_performance_alarm", model="car_price") == 1
    assert told("sigap_retrains_total", model="car_price", cause="drift", decision="started") == 1
    assert told("sigap_retrains_total", model="education", cause="drift", decision="started") == 0
    assert told("sigap_gate_decisions_total", model="car_price", outcome="promoted") == 1
    assert told("sigap_gate_decisions_total", model="car_price", outcome="by_hand") == 1
    assert (told("sigap_database_bytes") or 0) > 1e6
    assert "unheard_of" not in text, "only models of the catalogue become labels"


def test_a_database_without_these_tables_is_no_error(postgres: str, tmp_path: Path, runner: asyncio.Runner) -> None:
    told, text = looked(runner, settings(tmp_path, postgres))
    assert told("sigap_dependency_up", dependency="postgresql") == 1
    assert "sigap_drift_share{" not in text
    assert "sigap_retrains_total{" not in text


def test_services_that_do_not_answer_are_told_as_such(tmp_path: Path, runner: asyncio.Runner) -> None:
    away = settings(tmp_path, "postgresql://sigap:hidden-word@127.0.0.1:9/sigap", mage_port=9)
    away.secret("mage_password")
    told, text = looked(runner, away)
    assert [told("sigap_dependency_up", dependency=name) for name in ("postgresql", "mlflow", "mage")] == [0, 0, 0]
    assert told("sigap_dependency_seconds", dependency="mlflow") is None
    assert told("sigap_observed_timestamp_seconds") is not None
    assert "hidden-word" not in text


def test_what_was_never_started_here_is_not_told(tmp_path: Path, runner: asyncio.Runner) -> None:
    _, text = looked(runner, settings(tmp_path))
    assert "mage" not in text
    assert "postgresql" not in text
    assert not list(tmp_path.iterdir()), "looking makes up no secret"


def test_runs_of_pipelines_are_counted_once(tmp_path: Path, runner: asyncio.Runner) -> None:
    here = settings(tmp_path, mage_port=free_port())
    with mage_standin(here) as mage:
        for number in range(PAGE + 3):
            run = mage.start("education", {}, age=60)
            run |= {"status": "failed" if number % 7 == 0 else "completed", "completed_at": run["created_at"]}
        stuck = mage.start("car_price", {}, age=4000)
        told, _ = looked(runner, here)
        assert told("sigap_dependency_up", dependency="mage") == 1
        assert told("sigap_pipeline_runs_total", pipeline="education", status="failed") == 4
        assert told("sigap_pipeline_runs_total", pipeline="education", status="completed") == PAGE - 1
        assert told("sigap_pipeline_failed_timestamp_seconds", pipeline="education") is None, "the newest completed"
        assert told("sigap_pipeline_runs_total", pipeline="bitcoin_price", status="failed") == 0
        assert told("sigap_pipeline_run_seconds_count", pipeline="education") == PAGE - 1
        assert told("sigap_pipeline_running", pipeline="car_price") == 1
        assert told("sigap_pipeline_moved_timestamp_seconds", pipeline="car_price") is not None
        assert stuck["status"] == "running"


def test_a_run_that_ends_after_many_others_is_still_counted() -> None:
    class Listing:
        """Runs, the newest last."""

        def __init__(self) -> None:
            self.runs: list[dict[str, Any]] = []
            self.pages = 0

        def add(self, status: str) -> dict[str, Any]:
            run = {"id": len(self.runs) + 1, "pipeline_uuid": "education", "status": status,
                   "created_at": "2026-11-01 00:00:00", "completed_at": "2026-11-01 00:00:09"}  # fmt: skip
            self.runs.append(run)
            return run

        async def recent(self, limit: int, offset: int = 0) -> list[dict[str, Any]]:
            self.pages += 1
            return self.runs[::-1][offset : offset + limit]

    def text() -> str:
        registry = CollectorRegistry()
        registry.register(type("Known", (), {"collect": lambda _: runs.metrics()})())  # type: ignore[arg-type]
        return generate_latest(registry).decode()

    listing, runs = Listing(), Runs([])
    slow = listing.add("running")
    for _ in range(3 * PAGE):
        listing.add("completed")
    asyncio.run(runs.update(listing))
    assert re.search(r'completed"} 75.0', text())
    slow["status"] = "failed"
    asyncio.run(runs.update(listing))
    assert re.search(r'failed"} 1.0', text())
    assert "sigap_pipeline_moved_timestamp_seconds{" not in text()
    listing.pages = 0
    asyncio.run(runs.update(listing))
    assert listing.pages == 1, "once all are known, a page is enough"
