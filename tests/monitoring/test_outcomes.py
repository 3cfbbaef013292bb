"""Predictions and outcomes joined in a real PostgreSQL: each once, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from sigap.catalog import declaration
from sigap.monitoring.outcomes import feed_from_table, joined, versions

CAR, COIN, LOAN = declaration("car_price"), declaration("bitcoin_price"), declaration("loan_approval")
SINCE, UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def connection(seeded_database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(seeded_database, autocommit=True) as opened:
        yield opened


def predict(connection: psycopg.Connection[Any], model: str, answer: dict[str, Any], **columns: Any) -> int:
    values = {"model": model, "model_version": "v1", "request_id": "r", "at": datetime.now(UTC), **columns}
    names = ", ".join([*values, "fields", "answer"])
    places = ", ".join(["%s"] * (len(values) + 2))
    row = connection.execute(
        f"INSERT INTO predictions ({names}) VALUES ({places}) RETURNING id",
        [*values.values(), Jsonb({}), Jsonb(answer)],
    ).fetchone()
    assert row is not None
    return int(row[0])


def tell(connection: psycopg.Connection[Any], prediction: int, model: str, value: Any) -> None:
    connection.execute(
        "INSERT INTO outcomes (prediction_id, model, value, observed_at) VALUES (%s, %s, %s, now())",
        [prediction, model, Jsonb(value)],
    )


def forecast(as_of: datetime, naive: float, **changes: Any) -> dict[str, Any]:
    answer = {
        "next_close": naive * 1.01,
        "interval": {"low": naive * 0.9, "high": naive * 1.1, "confidence": 0.9},
        "naive_forecast": naive,
        "as_of": as_of.isoformat(),
        "forecast_for": (as_of + DAY).isoformat(),
        "source": "table",
    }
    return {**answer, **changes}


cars = st.lists(
    st.tuples(
        st.floats(100, 1e6),  # what was answered
        st.one_of(st.none(), st.floats(100, 1e6)),  # what became of it
        st.sampled_from(["v1", "v2"]),
        st.booleans(),  # in the shadow
    ),
    max_size=30,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=cars, seed=st.integers(0, 2**32))
def test_each_outcome_counts_once_and_in_any_order(
    connection: psycopg.Connection[Any], rows: list[tuple[float, float | None, str, bool]], seed: int
) -> None:
    known = []
    for order in (list(range(len(rows))), random.Random(seed).sample(range(len(rows)), len(rows))):
        connection.execute("TRUNCATE predictions, outcomes")
        at = datetime.now(UTC)
        ids = [
            predict(
                connection, CAR.name, {"price": price, "interval": {"low": 1, "high": 2e6}},
                model_version=version, shadow=shadow, request_id=str(number), at=at,
            )
            for number, (price, _, version, shadow) in enumerate(rows)
        ]  # fmt: skip
        for number in order:
            outcome = rows[number][1]
            if outcome is not None:
                tell(connection, ids[number], CAR.name, outcome)
        found = {}
        for name in ("v1", "v2"):
            pairs = joined(connection, CAR, name, SINCE, UNTIL).pairs
            found[name] = sorted(zip(pairs.predicted.tolist(), pairs.actual.tolist(), strict=True))
        known.append(found)
        counts = versions(connection, CAR.name, SINCE, UNTIL)
        assert counts == {name: len(each) for name, each in found.items() if each}
    expected = {
        name: sorted((price, outcome) for price, outcome, v, shadow in rows if v == name and outcome and not shadow)
        for name in ("v1", "v2")
    }
    assert known == [expected, expected]


def test_yes_and_no_are_one_and_zero(connection: psycopg.Connection[Any]) -> None:
    for probability, outcome in ((0.8, True), (0.3, False), (0.4, True)):
        tell(connection, predict(connection, LOAN.name, {"probability": probability}), LOAN.name, outcome)
    pairs = joined(connection, LOAN, "v1", SINCE, UNTIL).pairs
    assert sorted(zip(pairs.predicted, pairs.actual, strict=True)) == [(0.3, 0.0), (0.4, 1.0), (0.8, 1.0)]


def test_evidence_changes_with_what_is_known_and_with_nothing_else(connection: psycopg.Connection[Any]) -> None:
    def evidence() -> str:
        return joined(connection, CAR, "v1", SINCE, UNTIL).evidence

    first = predict(connection, CAR.name, {"price": 9000})
    tell(connection, first, CAR.name, 9100)
    before = evidence()
    predict(connection, CAR.name, {"price": 9000})
    assert evidence() == before
    connection.execute("UPDATE outcomes SET value = '9200', corrected = corrected + 1")
    corrected = evidence()
    assert corrected != before
    tell(connection, predict(connection, CAR.name, {"price": 9000}), CAR.name, 9100)
    assert evidence() not in (before, corrected)
    connection.execute("DELETE FROM predictions WHERE id = %s", [first])
    assert len(joined(connection, CAR, "v1", SINCE, UNTIL).pairs) == 1


def test_the_table_tells_what_came_of_a_forecast_once_for_a_version_and_step(
    connection: psycopg.Connection[Any],
) -> None:
    rows = connection.execute(
        "SELECT opened_at, close::float FROM candles WHERE product = 'BTC-USD' AND step = '1d' ORDER BY opened_at"
        " DESC LIMIT 3"
    ).fetchall()
    (newest, last), (middle, close), (oldest, start) = rows
    of = {"oldest": forecast(oldest, start), "middle": forecast(middle, close), "newest": forecast(newest, last)}
    wanted = {
        "first": of["oldest"],
        "again": of["oldest"],
        "shadow": of["oldest"],
        "middle": of["middle"],
        "not yet": of["newest"],
        "own candles": {**of["oldest"], "source": "request"},
        "another series": forecast(oldest, start * 1.5),
    }
    ids = {
        name: predict(connection, COIN.name, answer, shadow=name == "shadow", request_id=name)
        for name, answer in wanted.items()
        if name != "another series"
    }
    ids["another series"] = predict(connection, COIN.name, wanted["another series"], model_version="v9")

    assert feed_from_table(connection, COIN, 30) == 2
    assert feed_from_table(connection, COIN, 30) == 0
    told = dict(connection.execute("SELECT prediction_id, value FROM outcomes").fetchall())
    assert told == {ids["first"]: close, ids["middle"]: last}
    pairs = joined(connection, COIN, "v1", SINCE, UNTIL).pairs
    assert len(pairs) == 2
    assert set(pairs.naive) == {start, close}

    # Asked for with an outcome of the client's own, the same step is still one forecast.
    tell(connection, ids["again"], COIN.name, close)
    assert len(joined(connection, COIN, "v1", SINCE, UNTIL).pairs) == 2

    # A candle that was corrected corrects the outcome; a table that got another series takes it back.
    connection.execute("UPDATE candles SET close = close + 1 WHERE opened_at = %s AND step = '1d'", [newest])
    assert feed_from_table(connection, COIN, 30) == 1
    connection.execute("UPDATE candles SET close = close * 2 WHERE step = '1d'")
    assert feed_from_table(connection, COIN, 30) == 2
    assert connection.execute("SELECT source FROM outcomes").fetchall() == [("client",)]
    assert feed_from_table(connection, CAR, 30) == 0


def test_a_client_has_the_last_word_over_the_table(connection: psycopg.Connection[Any]) -> None:
    rows = connection.execute(
        "SELECT opened_at, close::float FROM candles WHERE product = 'BTC-USD' AND step = '1d' ORDER BY opened_at"
        " DESC LIMIT 2"
    ).fetchall()
    prediction = predict(connection, COIN.name, forecast(rows[1][0], rows[1][1]))
    tell(connection, prediction, COIN.name, 123.0)
    assert feed_from_table(connection, COIN, 30) == 0
    assert connection.execute("SELECT value, source FROM outcomes").fetchall() == [(123.0, "client")]
