"""Challenger and champion on stored inputs: bundles made by hand, and a log in a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from sigap.catalog import Declaration, declaration
from sigap.data.stored_inputs import MOST, StoredInputs, stored_inputs
from sigap.settings import Settings
from sigap.training.replay import replay, replayed
from tests.backend.task_bundles import CLOSES, LAGS, inputs, value, write_task_bundle

CAR, LOAN, COIN = declaration("car_price"), declaration("loan_approval"), declaration("bitcoin_price")
SEGMENTS = declaration("customer_segments")


def bundles(folder: Path, model: Declaration, unseen: str = "", **changes: Any) -> tuple[Path, Path]:
    """Folders of a challenger, which may differ, and of a champion."""
    challenger, champion = folder / "challenger", folder / "champion"
    write_task_bundle(challenger, model, unseen=unseen, **changes)
    write_task_bundle(champion, model)
    return challenger, champion


def needing(model: Declaration, name: str) -> list[dict[str, Any]]:
    """The columns of a model that has nothing to stand for this number when it is missing."""
    return [{**each, "impute": None} if each["feature"] == name else each for each in inputs(model)]


def cars(count: int) -> list[dict[str, Any]]:
    """Requests about cars, every second one a toyota."""
    brands = ("toyota", "bmw")
    return [{**CAR.example, "CompanyName": brands[at % 2], "curbweight": 2_000 + 100 * at} for at in range(count)]


@pytest.mark.parametrize("model", [CAR, LOAN, SEGMENTS, COIN])
def test_the_same_bundle_changes_nothing(tmp_path: Path, model: Declaration) -> None:
    asked = StoredInputs(rows=[model.example] * 3) if model is not COIN else StoredInputs(series=[CLOSES] * 3)
    found = replayed(model, *bundles(tmp_path, model), asked)
    assert (found.rows, found.compared, found.changed, found.largest) == (3, 3, 0, 0.0)
    assert found.challenger == found.champion
    assert sum(found.challenger.labels.values()) == 3
    assert not found.fails_more


def test_what_changes_is_counted_and_measured(tmp_path: Path) -> None:
    asked = cars(20)
    found = replayed(CAR, *bundles(tmp_path, CAR, "toyota"), StoredInputs(rows=asked, passed_over=4))
    apart = [abs(value(CAR, row, "toyota") - value(CAR, row)) for row in asked]
    assert found.median == pytest.approx(sorted(apart)[9] / 2 + sorted(apart)[10] / 2)
    assert found.largest == pytest.approx(max(apart))
    assert (found.passed_over, found.compared) == (4, 20)
    assert found.as_dict()["text"]["en"].startswith("Of 20 stored inputs")
    assert found.as_dict()["text"]["id"].startswith("Dari 20 masukan tersimpan")
    assert found.metrics["replay_rows"] == 20


def test_a_challenger_that_answers_less_is_told(tmp_path: Path) -> None:
    rows = cars(10)
    rows[3]["horsepower"] = rows[7]["horsepower"] = None
    found = replayed(CAR, *bundles(tmp_path, CAR, inputs=needing(CAR, "horsepower")), StoredInputs(rows=rows))
    assert (found.challenger.unanswered, found.champion.unanswered, found.compared) == (2, 0, 8)
    assert found.fails_more
    short = [CLOSES, CLOSES[-LAGS:]]
    (tmp_path / "coin").mkdir()
    found = replayed(COIN, *bundles(tmp_path / "coin", COIN), StoredInputs(series=short))
    assert (found.challenger.unanswered, found.champion.unanswered, found.fails_more) == (1, 1, False)


def test_a_challenger_that_breaks_answers_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A manifest that promises columns which its model does not take.
    found = replayed(CAR, *bundles(tmp_path, CAR, inputs=inputs(CAR)[:-1]), StoredInputs(rows=cars(4)))
    assert (found.challenger.answered, found.champion.answered, found.compared) == (0, 4, 0)
    assert found.fails_more
    assert found.median is None
    assert "can't answer stored inputs" in caplog.text


@pytest.fixture
def settings(seeded_database: str, tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", DATABASE_URL=seeded_database)


def keep(settings: Settings, model: str, rows: list[dict[str, Any]], **columns: Any) -> None:
    values = {"at": datetime.now(UTC), "model": model, "model_version": "v1", "request_id": "r", "shadow": False}
    values |= {"answer": Jsonb({}), **columns}
    names, places = ", ".join([*values, "fields"]), ", ".join(["%s"] * (len(values) + 1))
    with psycopg.connect(settings.dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO predictions ({names}) VALUES ({places})", [[*values.values(), Jsonb(row)] for row in rows]
        )


def test_stored_inputs_are_those_of_the_champion_of_late(settings: Settings, tmp_path: Path) -> None:
    keep(settings, CAR.name, cars(12))
    keep(settings, CAR.name, cars(5), shadow=True)
    keep(settings, CAR.name, cars(5), at=datetime(2020, 1, 1, tzinfo=UTC))
    keep(settings, CAR.name, [{"wheelbase": 100}])
    found = stored_inputs(settings, CAR, CAR.feature_names)
    assert sorted(row["curbweight"] for row in found.rows) == [2_000 + 100 * at for at in range(12)]
    assert (found.passed_over, found.reason) == (1, "")
    assert stored_inputs(settings, CAR, CAR.feature_names).rows == found.rows
    assert replay(settings, CAR, *bundles(tmp_path, CAR)).compared == 12


def test_there_are_never_more_than_can_be_answered_quickly(settings: Settings) -> None:
    with psycopg.connect(settings.dsn) as connection:
        connection.execute(
            "INSERT INTO predictions (at, model, model_version, request_id, fields, answer) SELECT now(), %s, 'v1',"
            " 'r', %s, '{}' FROM generate_series(1, %s)",
            [CAR.name, Jsonb(CAR.example), MOST + 500],
        )
    assert len(stored_inputs(settings, CAR, CAR.feature_names).rows) == MOST


def test_what_is_kept_as_a_hash_is_not_asked_about(settings: Settings, tmp_path: Path) -> None:
    hashed = {**LOAN.example, "Gender": "3f" * 16}
    omitted = {name: each for name, each in LOAN.example.items() if name != "Gender"}
    keep(settings, LOAN.name, [hashed, omitted])
    found = replay(settings, LOAN, *bundles(tmp_path, LOAN))
    assert (found.rows, found.passed_over) == (0, 2)
    assert "No stored inputs that can be answered again: all 2" in found.text.en
    assert not found.fails_more
    # Where no personal field is used, or it was null, the rest can be.
    nothing_personal = [each.name for each in LOAN.features if not each.personal]
    assert len(stored_inputs(settings, LOAN, nothing_personal).rows) == 2
    personal = {each.name: None for each in LOAN.features if each.personal}
    keep(settings, LOAN.name, [{**LOAN.example, **personal}])
    assert len(stored_inputs(settings, LOAN, LOAN.feature_names).rows) == 1


def test_forecasts_start_again_from_what_they_started_from(settings: Settings, tmp_path: Path) -> None:
    with psycopg.connect(settings.dsn) as connection:
        times = connection.execute(
            "SELECT opened_at, close::float FROM candles WHERE product = 'BTC-USD' AND step = '1d'"
            " ORDER BY opened_at DESC LIMIT 30"
        ).fetchall()[::-1]
    for begun, _ in (times[-1], times[-1], times[-5]):
        keep(settings, COIN.name, [{"candles": None}], answer=Jsonb({"as_of": begun.isoformat()}))
    keep(settings, COIN.name, [{"candles": [{"close": close} for close in CLOSES]}])
    keep(settings, COIN.name, [{"candles": None}], answer=Jsonb({"as_of": "1999-01-01T00:00:00+00:00"}))
    found = stored_inputs(settings, COIN, (), LAGS + 1)
    closes = [close for _, close in times]
    assert sorted(found.series) == sorted([list(CLOSES), closes[-LAGS - 1 :], closes[-LAGS - 5 : -4]])
    assert found.passed_over == 1
    assert replay(settings, COIN, *bundles(tmp_path, COIN)).compared == 3


def test_without_a_log_there_are_none_and_it_is_said(settings: Settings, tmp_path: Path) -> None:
    pair = bundles(tmp_path, CAR)
    empty = replay(settings, CAR, *pair)
    assert (empty.rows, empty.fails_more, empty.share) == (0, False, 0.0)
    assert empty.text.en == "No stored inputs of the last 30 days."
    with psycopg.connect(settings.dsn) as connection:
        connection.execute("DROP TABLE predictions CASCADE")
    away = settings.model_copy(update={"database_url": None})
    for each in (settings, away):
        assert replay(each, CAR, *pair).text.en == "No stored inputs: the prediction log can't be read."
    off = settings.model_copy(update={"replay_days": 0})
    assert "switched off" in replay(off, CAR, *pair).text.en
