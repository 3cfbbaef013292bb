"""Live scores on real services: written down, judged against the bundle's promise, and alarmed about when they last."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mlflow import MlflowClient
from psycopg.types.json import Jsonb

from sigap.bundle import TAG_BUNDLE_PATH, TAG_BUNDLE_RUN, TAG_MANIFEST_SHA256
from sigap.catalog import declaration
from sigap.cli.performance import live_score
from sigap.errors import ConfigurationError, RegistryError, ServiceError
from sigap.monitoring.live import scorable, score_all, score_live
from sigap.settings import Settings
from tests.backend.task_bundles import write_task_bundle
from tests.registry.conftest import free_port, mlflow_uri

__all__ = ["mlflow_uri"]

CAR = declaration("car_price")
PROMISED = {"metrics": {"mae": 1_000.0, "mae_sd": 100.0, "rmse": 1_300.0, "rmse_sd": 120.0}}


class Shop:
    """A car model in the registry, and the predictions and outcomes of its versions in PostgreSQL."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
        self._folder = folder

    def serve(self, **changes: Any) -> str:
        """Registers a version and lets the champion's alias stand on it."""
        folder = self._folder / f"bundle-{len(list(self._folder.iterdir()))}"
        sha256 = write_task_bundle(folder, CAR, **(PROMISED | changes))
        experiment = self.client.get_experiment_by_name("live")
        experiment_id = experiment.experiment_id if experiment else self.client.create_experiment("live")
        run = self.client.create_run(experiment_id).info.run_id
        self.client.log_artifacts(run, str(folder), "bundle")
        if not self.client.search_registered_models(f"name = '{CAR.name}'"):
            self.client.create_registered_model(CAR.name)
        tags = {TAG_BUNDLE_RUN: run, TAG_BUNDLE_PATH: "bundle", TAG_MANIFEST_SHA256: sha256}
        number = self.client.create_model_version(CAR.name, f"runs:/{run}/bundle", run, tags=tags).version
        self.client.set_registered_model_alias(CAR.name, "champion", number)
        return f"v{number}"

    def lived(self, version: str, errors: list[float], days_ago: float = 1.0) -> None:
        """Predictions of 10,000 and what they turned out to be off by."""
        observed = datetime.now(UTC) - timedelta(days=days_ago)
        with psycopg.connect(self.settings.dsn) as connection:
            for error in errors:
                answer = {"price": 10_000.0, "interval": {"low": 8_500.0, "high": 11_500.0, "confidence": 0.9}}
                connection.execute(
                    "WITH p AS (INSERT INTO predictions (at, model, model_version, request_id, fields, answer)"
                    " VALUES (%s, %s, %s, 'r', '{}', %s) RETURNING id)"
                    " INSERT INTO outcomes (prediction_id, model, value, observed_at) SELECT id, %s, %s, %s FROM p",
                    [observed, CAR.name, version, Jsonb(answer), CAR.name, Jsonb(10_000.0 + error), observed],
                )

    def do(self, statement: str) -> None:
        with psycopg.connect(self.settings.dsn) as connection:
            connection.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.dsn) as connection:
            return connection.execute(query).fetchall()

    def score(self) -> dict[str, dict[str, Any]]:
        return {row["metric"]: row for row in score_live(self.settings, CAR.name)}


@pytest.fixture
def shop(mlflow_uri: str, seeded_database: str, tmp_path: Path) -> Any:
    (tmp_path / "bundles").mkdir()
    made = Shop(
        Settings(root=tmp_path, state_dir=tmp_path / "state", DATABASE_URL=seeded_database,
                 MLFLOW_TRACKING_URI=mlflow_uri),
        tmp_path / "bundles",
    )  # fmt: skip
    yield made
    for each in made.client.search_registered_models(f"name = '{CAR.name}'"):
        made.client.delete_registered_model(each.name)


def errors(size: float, count: int = 40) -> list[float]:
    """Off by about so much, up and down."""
    return [size * (0.6 + 0.02 * number) * (-1) ** number for number in range(count)]


def test_a_version_that_keeps_its_promise_is_scored_and_not_alarmed_about(shop: Shop) -> None:
    version = shop.serve()
    empty = shop.score()["mae"]
    assert (empty["value"], empty["n"], empty["alarm"], empty["decisive"]) == (None, 0, False, True)
    assert "No outcome" in empty["reason"]

    shop.lived(version, errors(1_000))
    shop.lived(version, errors(90_000, 50), days_ago=45)
    found = shop.score()
    assert set(found) == {"mae", "rmse", "coverage"}
    mae = found["mae"]
    assert (mae["n"], mae["promised"], mae["promised_sd"]) == (40, 1_000.0, 100.0)
    assert mae["value"] == pytest.approx(990.0)
    assert mae["low"] < mae["value"] < mae["high"]
    assert (mae["worse"], mae["alarm"]) == (False, False)
    assert mae["reason"].startswith("As promised")
    assert found["coverage"]["value"] == 1.0
    assert found["coverage"]["promised"] == 0.91
    assert json.loads(json.dumps(list(found.values()))) == list(found.values())
    written = shop.rows("SELECT metric, model_version, n, alarm FROM live_scores ORDER BY id")
    assert written == [
        ("mae", version, 0, False),
        *((name, version, 40, False) for name in ("mae", "rmse", "coverage")),
    ]


def test_an_alarm_needs_two_findings_on_new_outcomes_and_ends_with_a_new_version(shop: Shop) -> None:
    first = shop.serve()
    shop.lived(first, errors(3_000))
    once = shop.score()["mae"]
    assert (once["worse"], once["alarm"]) == (True, False)
    # To ask again is no new finding.
    assert not any(shop.score()["mae"]["alarm"] for _ in range(3))
    shop.lived(first, errors(3_000, 3))
    twice = shop.score()
    assert all(row["alarm"] for row in twice.values()), "on every row of the computation"
    assert "Worse than promised beyond doubt" in twice["mae"]["reason"]
    assert twice["coverage"]["detail"]["below"]
    assert shop.score()["mae"]["alarm"], "as long as nothing else is known"

    # What is served next starts anew, and the earlier version is still told, before it.
    second = shop.serve()
    fresh = shop.score()
    assert [(row["model_version"], row["alarm"], row["n"]) for row in fresh.values()] == [(second, False, 0)]
    newest = shop.rows("SELECT model_version, metric, alarm FROM live_scores ORDER BY id DESC LIMIT 4")
    assert newest[0] == (second, "mae", False)
    assert {row[:1] + row[2:] for row in newest[1:]} == {(first, False)}

    # Good outcomes end an alarm without a new version too.
    shop.client.set_registered_model_alias(CAR.name, "champion", first.removeprefix("v"))
    assert shop.score()["mae"]["alarm"]
    for _ in range(2):
        shop.lived(first, errors(10, 400))
        found = shop.score()["mae"]
    assert (found["worse"], found["alarm"]) == (False, False)


def test_too_few_outcomes_alarm_about_nothing(shop: Shop) -> None:
    version = shop.serve()
    for _ in range(3):
        shop.lived(version, errors(50_000, 5))
        assert not shop.score()["mae"]["alarm"]
    assert "Too few outcomes to judge: 15 of 30" in shop.score()["mae"]["reason"]


def test_what_cannot_be_computed_counts_as_worse(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    version = shop.serve(metrics={"r2": 0.8})
    shop.lived(version, errors(10))
    promised_nothing = shop.score()["mae"]
    assert (promised_nothing["worse"], promised_nothing["alarm"]) == (True, False)
    assert "can't be computed, which counts as worse" in promised_nothing["reason"]
    assert "registered without any of mae, rmse" in promised_nothing["reason"]
    assert not shop.score()["mae"]["alarm"], "the same failure counts once an hour"
    # A registry that is away can't tell what is served; the version of last time is held responsible.
    away = shop.settings.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{free_port()}"})
    (row,) = score_live(away, CAR.name)
    assert (row["model_version"], row["worse"], row["alarm"]) == (version, True, True)
    assert "MLflow can't be reached" in row["reason"]
    assert "performance alarm" in caplog.text


def test_where_nothing_can_be_held_against_anybody_the_error_is_told(shop: Shop) -> None:
    assert score_live(shop.settings, CAR.name) == [], "nothing is served"
    away = shop.settings.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(RegistryError):
        score_live(away, CAR.name)
    with pytest.raises(ConfigurationError, match="groups rows"):
        score_live(shop.settings, "education")
    version = shop.serve()
    assert [row["model_version"] for row in score_all(shop.settings)] == [version]
    shop.do("DROP TABLE live_scores")
    with pytest.raises(ServiceError, match="Scoring car_price live"):
        score_live(shop.settings, CAR.name)
    with pytest.raises(ServiceError):
        score_all(shop.settings)
    assert sorted(scorable()) == ["bitcoin_price", "car_price", "credit_approval", "loan_approval"]


def test_a_clock_that_was_put_back_hides_nothing_that_came_later(shop: Shop) -> None:
    version = shop.serve()
    shop.lived(version, errors(3_000))
    assert shop.score()["mae"]["worse"]
    # What was computed before seems to come from the future; the order in which it was written counts.
    shop.do("UPDATE live_scores SET computed_at = computed_at + interval '3 days'")
    shop.lived(version, errors(3_000, 4))
    assert shop.score()["mae"]["alarm"]
    # Outcomes from the future are not counted until it is there.
    shop.lived(version, errors(1, 500), days_ago=-2)
    assert shop.score()["mae"]["n"] == 44


def test_the_command_prints_what_was_written(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    version = shop.serve()
    shop.lived(version, errors(3_000))
    assert live_score(shop.settings, CAR.name) == 0
    shop.lived(version, errors(3_000, 2))
    assert live_score(shop.settings, "all") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"car_price {version}, outcomes of" in said
    assert "1,000 ± 100" in said
    assert "Performance alarm" in said
    assert "loan_approval: nothing is served" in said
