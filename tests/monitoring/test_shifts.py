"""How inputs are shifted and sent, without a champion: values within their range, and an API that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import psycopg
import pytest

from sigap.bundle import Manifest
from sigap.catalog import Kind, declaration
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.education import EDUCATION
from sigap.cli import drift as words
from sigap.errors import ConfigurationError, ServiceError, TrainingError
from sigap.monitoring.outcomes import feed_from_table, joined
from sigap.monitoring.shifted_table import _keys
from sigap.monitoring.simulate import Moved, _posted, _row_bodies, _series_bodies, chosen_features, shifted
from sigap.monitoring.subjects import _returns, live_names, live_returns
from sigap.settings import Settings
from tests.training.supervised import cars

USED = ("horsepower", "curbweight", "CompanyName")


def using(*names: str) -> Manifest:
    """The manifest of a champion that uses these features."""
    return cast(Manifest, SimpleNamespace(features_used=names))


def test_a_shift_stays_within_the_declared_range_and_tells_what_was_cut() -> None:
    horsepower = CAR_PRICE.feature("horsepower").model_copy(update={"minimum": 50.0, "maximum": 200.0})
    values, clipped = shifted(horsepower, pd.Series([60.0, 190.0, np.nan]), 2.0, 10.2)
    assert values.dropna().tolist() == ([80.0, 200.0] if horsepower.kind is Kind.INTEGER else [80.4, 200.0])
    assert clipped == 0.5
    assert shifted(horsepower, pd.Series([np.nan]), 1.0, 1.0)[1] == 0.0
    free = horsepower.model_copy(update={"minimum": None, "maximum": None, "kind": Kind.NUMBER})
    assert shifted(free, pd.Series([60.0]), -10.0, 10.0)[0].tolist() == [-40.0]


def test_only_numbers_that_the_champion_uses_can_be_shifted() -> None:
    assert [each.name for each in chosen_features(CAR_PRICE, using(*USED), None)] == ["horsepower", "curbweight"]
    assert [each.name for each in chosen_features(CAR_PRICE, using(*USED, "log_price"), "curbweight")] == ["curbweight"]
    with pytest.raises(ConfigurationError, match="'CompanyName' is no number") as caught:
        chosen_features(CAR_PRICE, using(*USED), "CompanyName")
    assert caught.value.remedy == "Choose one of: horsepower, curbweight."
    with pytest.raises(ConfigurationError) as caught:
        chosen_features(CAR_PRICE, using("CompanyName"), None)
    assert caught.value.remedy == "Choose one of: none is there."


def test_bodies_are_rows_of_the_snapshot_as_a_client_would_send_them() -> None:
    table = cars(60)
    table.loc[:29, "horsepower"] = np.nan
    table["carlength"] = np.nan
    bodies, moved = _row_bodies(CAR_PRICE, using(*USED), table, "horsepower", 1.0, 25, np.random.default_rng(0))
    assert len(json.loads(json.dumps(bodies))) == 25
    assert all(type(each["horsepower"]) is int for each in bodies), "what the model has to know is never null"
    assert {each["carlength"] for each in bodies} == {None}
    assert {type(each["CompanyName"]) for each in bodies} == {str}
    assert [(each.feature, each.asked, each.tested) for each in moved] == [("horsepower", 1.0, True)]
    # Where every row lacks something, they are sent as they are, and nothing moves that has no spread.
    table["horsepower"] = np.nan
    bodies, moved = _row_bodies(CAR_PRICE, using(*USED), table, "horsepower", 1.0, 3, np.random.default_rng(0))
    assert [each["horsepower"] for each in bodies] == [None] * 3
    assert (moved[0].got, moved[0].clipped) == (0.0, 0.0)


def test_of_a_series_only_the_newest_step_is_moved() -> None:
    days = pd.date_range("2025-01-01", periods=200, tz="UTC")
    prices = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 200).cumsum())
    table = pd.DataFrame({BITCOIN_PRICE.source.time: days, "close": prices})
    bodies, moved = _series_bodies(BITCOIN_PRICE, table, 3.0, 4, np.random.default_rng(1))
    spread = np.diff(np.log(prices)).std()
    for body in bodies:
        closes = [each["close"] for each in body["candles"]]
        at = int(np.argmin(np.abs(prices - closes[0])))
        assert closes[:-1] == pytest.approx(list(prices[at : at + len(closes) - 1]))
        assert np.log(closes[-1] / prices[at + len(closes) - 1]) == pytest.approx(3 * spread)
    assert [each.feature for each in moved] == ["close_return"]
    assert live_names(BITCOIN_PRICE, using()) == ("close_return",)


def test_series_that_are_none_are_passed_over_and_a_price_of_zero_is_named() -> None:
    def candles(*closes: Any) -> dict[str, Any]:
        return {"candles": [{"close": close, BITCOIN_PRICE.source.time: str(at)} for at, close in enumerate(closes)]}

    odd = [{}, {"candles": None}, candles(), candles(1.0), candles(1.0, "2"), candles(0, 1.0), candles(1.0, None)]
    assert live_returns(BITCOIN_PRICE, odd).tolist() == []
    assert live_returns(BITCOIN_PRICE, [*odd, candles(1.0, 1.0)]).tolist() == [0.0]
    time = BITCOIN_PRICE.source.time
    broken = pd.DataFrame({time: pd.date_range("2025-01-01", periods=3, tz="UTC"), "close": [1.0, 0.0, 2.0]})
    with pytest.raises(TrainingError, match="close is not above zero in 1 rows"):
        _returns(BITCOIN_PRICE, broken)
    assert _returns(BITCOIN_PRICE, broken[:1]).empty
    assert _returns(BITCOIN_PRICE, broken[:0]).empty


@contextmanager
def answering(*answers: tuple[int, Any]) -> Iterator[tuple[Settings, list[str]]]:
    """An API that gives one answer after another; its settings, and what it was asked with which token."""
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(f"{self.path} {self.headers.get('authorization', '')}".strip())
            status, body = left.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Settings(_env_file=None, api_port=server.server_address[1]), asked
        server.shutdown()
        thread.join(60)


def test_the_first_refusal_is_told_and_the_others_counted() -> None:
    steps: list[tuple[int, int]] = []
    answers = [(200, {}), (422, {"detail": "too small"}), (500, b"<html>"), (200, {})]
    with answering(*answers) as (settings, asked):
        told = _posted(settings, "car_price", [{}] * 4, "", lambda *each: steps.append(each))
    assert told == (2, "422: too small")
    assert asked == ["/models/car_price/predict"] * 4
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for body, said in (({"title": "No."}, "422: No."), (b"no JSON", "422: status 422"), ({}, "422: ")):
        with answering((422, body)) as (settings, _):
            assert _posted(settings, "car_price", [{}], "", None) == (0, said)


def test_a_key_becomes_a_token_and_without_one_the_way_is_told() -> None:
    token = (200, {"access_token": "abc"})
    with answering(token, (200, {})) as (settings, asked):
        assert _posted(settings, "car_price", [{}], "mine", None) == (1, "")
        assert asked == ["/token", "/models/car_price/predict Bearer abc"]
    with answering(token, (200, {})) as (settings, asked):
        given = Settings(_env_file=None, api_port=settings.api_port, dashboard_key="the-dashboards")
        assert _posted(given, "car_price", [{}], "", None) == (1, "")
        assert asked[0] == "/token"
    for status in (401, 403):
        with (
            answering((status, {})) as (settings, _),
            pytest.raises(ServiceError, match="wants a token for predictions") as caught,
        ):
            _posted(settings, "car_price", [{}], "", None)
        assert "--key" in caught.value.remedy
    with (
        answering((401, {"detail": "unknown key"})) as (settings, _),
        pytest.raises(ServiceError, match="refused the key: unknown key") as caught,
    ):
        _posted(settings, "car_price", [{}], "hunter2", None)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ServiceError, match=r"can't be reached \(ConnectError\)"):
        _posted(Settings(_env_file=None, api_port=9), "car_price", [{}], "", None)


def test_what_has_no_target_or_no_time_has_no_outcomes_of_its_table(seeded_database: str) -> None:
    with psycopg.connect(seeded_database) as connection:
        assert feed_from_table(connection, CAR_PRICE, 30) == 0
        with pytest.raises(TypeError, match="education has no target"):
            joined(connection, EDUCATION, "v1", cast(Any, None), cast(Any, None))


def test_a_key_from_another_table_keeps_the_table_as_it_is() -> None:
    assert _keys(declaration("car_price")) == ["car_id"]
    key = CAR_PRICE.source.key[0]
    columns = [each.model_copy(update={"sql": "o.number"}) if each.name == key else each for each in CAR_PRICE.columns]
    with pytest.raises(ConfigurationError, match="is not a column of cars alone"):
        _keys(CAR_PRICE.model_copy(update={"columns": tuple(columns)}))


def test_what_was_shifted_is_told_beside_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    words._tell([Moved("a", 1.0, 0.5, 0.25), Moved("b", -1.0, -1.0, 0.0, tested=False)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["a", "+1.00", "sd", "+0.50", "sd", "25%"]
    assert lines[2][:6] == ["b", "-1.00", "sd", "-1.00", "sd", "0%"]
    assert "personal:" in lines[2]
