"""The five further models, served from bundles made by hand: what each answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from backend.app import create_app
from backend.newest import NewestRows, Series
from backend.requests import Validator, documented_example
from backend.served import Served, load
from backend.tasks import answer_model
from sigap.catalog import Declaration, Text
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.declaration import Policy
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.errors import BundleError
from sigap.settings import Settings
from tests.backend.bundles import EDUCATION
from tests.backend.conftest import Client, Loop
from tests.backend.task_bundles import (
    BOUNDS,
    CLOSES,
    FIVE,
    LAGS,
    TEXT,
    encoded,
    probability,
    value,
    weights,
    write_task_bundle,
)
from tests.backend.test_requests import only_error, strict_json

CAR, LOAN, CREDIT = dict(CAR_PRICE.example), dict(LOAN_APPROVAL.example), dict(CREDIT_APPROVAL.example)
START = datetime(2025, 1, 1, tzinfo=UTC)


def loaded(folder: Path, declaration: Declaration, **changes: Any) -> Served:
    """A bundle of the declaration's, loaded as the follower loads it."""
    sha256 = write_task_bundle(folder / declaration.name, declaration, **changes)
    path = folder / declaration.name
    return load(path, declaration, Validator(declaration), version="3", manifest_sha256=sha256, origin="registry")


@pytest.fixture(scope="session")
def five(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Served]:
    folder = tmp_path_factory.mktemp("five")
    return {declaration.name: loaded(folder, declaration) for declaration in FIVE}


@pytest.fixture
def application(tmp_path: Path) -> FastAPI:
    """The application with all six models declared."""
    return create_app(Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9"), (EDUCATION, *FIVE))


@pytest.fixture
def client(application: FastAPI, five: dict[str, Served], served: Served) -> Iterator[Client]:
    """The application in this process, serving all six."""
    for name, each in (five | {"education": served}).items():
        application.state.service.followers[name].served = each
    with Loop() as runner:
        yield Client(application, runner)


def candles(closes: tuple[float, ...] = CLOSES, step: timedelta = timedelta(days=1)) -> list[dict[str, Any]]:
    return [{"opened_at": (START + at * step).isoformat(), "close": close} for at, close in enumerate(closes)]


def ask(client: Client, model: str, body: object) -> dict[str, Any]:
    response = client.post(f"/models/{model}/predict", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = strict_json(response)
    return answer


def test_a_car_gets_its_price_with_interval_and_segment(client: Client) -> None:
    answer = ask(client, "car_price", CAR)
    price = value(CAR_PRICE, CAR)
    assert answer["price"] == pytest.approx(price, rel=1e-12)
    assert answer["interval"]["low"] == pytest.approx(price * math.exp(-0.2))
    assert answer["interval"]["high"] == pytest.approx(price * math.exp(0.1))
    assert (answer["interval"]["confidence"], answer["interval"]["coverage"]) == (0.9, 0.91)
    assert (answer["segment"], answer["segment_label"]) == ("Low", {"id": "Rendah", "en": "Low"})
    bounds = [(each["segment"], each["minimum"], each["maximum"]) for each in answer["segment_bounds"]]
    assert bounds == [("Low", None, BOUNDS[0]), ("Mid", *BOUNDS), ("High", BOUNDS[1], None)]
    beside = answer["baseline"]
    assert (beside["metric"], beside["model"], beside["spread"], beside["baseline"]) == ("rmse", 0.9, 0.02, 0.809)
    assert (answer["model"], answer["model_version"], answer["data_version"]) == ("car_price", "v3", "v1")
    assert answer["filled_in"] == answer["unseen_categories"] == answer["out_of_training_range"] == []


@given(size=st.floats(30, 600), weight=st.integers(1000, 8000))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_the_segment_never_contradicts_the_price(client: Client, size: float, weight: int) -> None:
    answer = ask(client, "car_price", CAR | {"enginesize": int(size), "curbweight": weight})
    (bounds,) = [each for each in answer["segment_bounds"] if each["segment"] == answer["segment"]]
    assert bounds["minimum"] is None or answer["price"] >= bounds["minimum"]
    assert bounds["maximum"] is None or answer["price"] < bounds["maximum"]
    assert answer["interval"]["low"] <= answer["price"] <= answer["interval"]["high"]


@pytest.mark.parametrize("brand", ["Toyota", "toyota", "TOYOTA", " Toyota "])
def test_a_brand_is_the_same_in_any_case(client: Client, brand: str) -> None:
    assert ask(client, "car_price", CAR | {"CompanyName": brand})["price"] == pytest.approx(value(CAR_PRICE, CAR))


def test_an_undeclared_category_is_refused_with_the_declared_ones(client: Client) -> None:
    error = only_error(client.post("/models/car_price/predict", json=CAR | {"CompanyName": "toyouta"}))
    assert error["field"] == "CompanyName"
    assert "toyota" in error["expected"]
    assert only_error(client.post("/models/loan_approval/predict", json=LOAN | {"Dependents": 0}))["value"] == 0


def test_what_training_never_saw_is_answered_and_said(tmp_path: Path) -> None:
    served = loaded(tmp_path, CAR_PRICE, unseen="jaguar")
    answer = served.predict(CAR | {"CompanyName": "Jaguar"})
    assert answer["unseen_categories"] == ["CompanyName"]
    row = encoded(CAR_PRICE, CAR | {"CompanyName": None}, "jaguar")
    assert answer["price"] == pytest.approx(float(row @ weights(CAR_PRICE, "jaguar")) + 5.0)


def test_a_missing_value_is_filled_in_where_the_model_can_and_asked_for_where_not(
    client: Client, tmp_path: Path
) -> None:
    answer = ask(client, "car_price", CAR | {"horsepower": None, "fueltype": None})
    assert answer["filled_in"] == ["horsepower", "fueltype"]
    assert answer["price"] == pytest.approx(value(CAR_PRICE, CAR | {"horsepower": 7.0, "fueltype": None}))
    columns = [
        {"feature": each.name, "kind": "one_hot" if each.categories else "number", "categories": each.categories}
        for each in CAR_PRICE.features
    ]
    strict = loaded(tmp_path, CAR_PRICE, inputs=columns)
    assert strict.predictor.needed[:2] == ("wheelbase", "carlength")


def test_whole_numbers_may_carry_a_point(client: Client) -> None:
    assert ask(client, "car_price", CAR | {"horsepower": 92.0}) == ask(client, "car_price", CAR)
    error = only_error(client.post("/models/car_price/predict", json=CAR | {"horsepower": 92.5}))
    assert error["expected"] == "a whole number from 20 to 800 (horsepower)"


def test_a_loan_is_decided_with_reasons_and_the_rule_beside(client: Client) -> None:
    answer = ask(client, "loan_approval", LOAN)
    assert list(answer)[:3] == ["prediction", "is_approved", "probability"]
    assert (answer["prediction"], answer["is_approved"]) == ("Loan Approved", True)
    assert answer["probability"] == pytest.approx(probability(LOAN_APPROVAL, LOAN))
    assert (answer["decided_by"], answer["calibrated"], answer["calibration"]) == ("model", True, TEXT)
    assert [reason["kind"] for reason in answer["reasons"]] == ["typical"], "the example is the typical application"
    assert answer["baseline"]["baseline"] == 0.809

    poor = LOAN | {"ApplicantIncome": 0, "Credit_History": 0}
    answer = ask(client, "loan_approval", poor)
    assert (answer["prediction"], answer["is_approved"]) == ("Loan Rejected", False)
    by_feature = {reason["feature"]: reason for reason in answer["reasons"]}
    assert set(by_feature) == {"ApplicantIncome", "Credit_History"}
    for name, reason in by_feature.items():
        otherwise = probability(LOAN_APPROVAL, poor | {name: LOAN[name]})
        assert reason["effect"] == pytest.approx(answer["probability"] - otherwise)
        assert (reason["value"], reason["typical"]) == (0, LOAN[name])
        assert "speaks against it" in reason["text"]["en"]
        assert "memberatkan" in reason["text"]["id"]
    strengths = [abs(reason["effect"]) for reason in answer["reasons"]]
    assert strengths == sorted(strengths, reverse=True)


def test_a_policy_has_the_last_word_and_says_so(tmp_path: Path) -> None:
    rule = Policy(name="history", feature="Credit_History", below=0.5, reason=Text(id="belum lunas", en="unpaid"))
    task = LOAN_APPROVAL.task.model_copy(update={"policies": (rule,)})
    served = loaded(tmp_path, LOAN_APPROVAL.model_copy(update={"task": task}))
    rich = LOAN | {"Credit_History": 0, "ApplicantIncome": 10**7}
    answer = served.predict(rich)
    assert answer["probability"] > 0.5
    assert (answer["is_approved"], answer["prediction"], answer["decided_by"]) == (False, "Loan Rejected", "policy")
    assert answer["reasons"][0]["text"] == {"id": "belum lunas", "en": "unpaid"}
    for known in (1, None):
        answer = served.predict(rich | {"Credit_History": known})
        assert answer["decided_by"] == "model"
        assert answer["is_approved"] is True


def test_a_credit_is_answered_with_its_code_on_both_paths(client: Client) -> None:
    answer = ask(client, "credit_approval", CREDIT)
    assert list(answer)[:3] == ["prediction", "prediction_code", "probability"]
    assert (answer["prediction"], answer["prediction_code"]) == ("Approved", 1)
    assert "is_approved" not in answer
    assert client.post("/api/v2/predict", json=CREDIT).json() == answer
    worse = ask(client, "credit_approval", CREDIT | {"Annual_Income": 0, "Age": 17, "Credit_Score": 300})
    assert (worse["prediction"], worse["prediction_code"]) == ("Not approved", 0)
    assert type(worse["prediction_code"]) is int


def test_a_customer_gets_a_segment_with_its_profile(client: Client) -> None:
    customer = dict(CUSTOMER_SEGMENTS.example)
    answer = ask(client, "customer_segments", customer)
    assert (answer["segment"], answer["cluster"], answer["size"], answer["share"]) == ("Segment 1", 0, 300, 0.6)
    assert answer["segment_label"] == {"id": "Segmen 1", "en": "Segment 1"}
    assert answer["distance_to_center"] == 0
    assert answer["profile"] == {"Age": 31.0, "Gender": "Male"}
    first, second = answer["distinguishing"]
    assert first["text"]["en"] == "Gender “Male”: 80%, of all 50%"
    assert second["text"]["id"].startswith("Umur: rata-rata 31 tahun")
    other = ask(client, "customer_segments", customer | {"Age": 41, "Work_Experience": None})
    assert other["filled_in"] == ["Work_Experience"]
    clusters = client.get("/models/customer_segments/clusters").json()
    assert (clusters["assessed_count"], clusters["period"], clusters["members"]) == (500, None, [])


@pytest.mark.parametrize("body", [b"", b" ", b"{}", b'{"candles": null}'])
def test_a_forecast_needs_nothing(client: Client, body: bytes) -> None:
    response = client.post("/models/bitcoin_price/predict", content=body)
    answer = response.json()
    assert response.status_code == 200
    assert answer["next_close"] == pytest.approx(CLOSES[-1] * 1.01**0.5)
    assert answer["naive_forecast"] == CLOSES[-1]
    assert answer["interval"]["low"] < answer["next_close"] < answer["interval"]["high"]
    assert (answer["direction"], answer["source"]) == ("up", "snapshot"), "there is no database here"
    assert (answer["as_of"], answer["forecast_for"]) == ("2025-01-31T00:00:00+00:00", "2025-02-01T00:00:00+00:00")
    assert (answer["note"], answer["baseline"]["metric"]) == (TEXT, "rmse")


@pytest.mark.parametrize(
    ("first", "lacking", "source"),
    [
        (datetime(2025, 2, 1, tzinfo=UTC), None, "table"),
        (datetime(2025, 2, 1, tzinfo=UTC), 5, "snapshot"),
        (datetime(2024, 2, 1, tzinfo=UTC), None, "snapshot"),
    ],
)
def test_a_forecast_starts_from_the_newest_rows_of_the_table(
    five: dict[str, Served], seeded_database: str, first: datetime, lacking: int | None, source: str
) -> None:
    with psycopg.connect(seeded_database) as connection:
        for day in range(2 * LAGS):
            if day != 2 * LAGS - (lacking or 0):
                row = ("BTC-USD", "1d", first + timedelta(days=day), 100 + day)
                connection.execute(
                    "INSERT INTO candles (product, step, opened_at, open, high, low, close, volume)"
                    " VALUES (%s, %s, %s, 1, 1, 1, %s, 1)",
                    row,
                )

    async def ask_table() -> dict[str, Any]:
        table = NewestRows(BITCOIN_PRICE, lambda: seeded_database)
        try:
            served = five["bitcoin_price"]
            await table.rows(3)
            return served.predict({}, await table.rows(LAGS + 1))
        finally:
            await table.close()

    answer = asyncio.run(ask_table())
    assert answer["source"] == source
    if source == "table":
        assert answer["naive_forecast"] == 99 + 2 * LAGS
        assert answer["as_of"] == (first + timedelta(days=2 * LAGS - 1)).isoformat()
        assert answer["next_close"] == pytest.approx(answer["naive_forecast"] * (1 + 1 / (98 + 2 * LAGS)) ** 0.5)


def test_a_database_that_is_away_is_not_asked_again_at_once(five: dict[str, Served]) -> None:
    asked = []

    def dsn() -> str:
        asked.append(1)
        return "postgresql://sigap:secret@127.0.0.1:9/sigap"

    async def ask_twice() -> list[Series | None]:
        table = NewestRows(BITCOIN_PRICE, dsn)
        return [await table.rows(15), await table.rows(15)]

    assert asyncio.run(ask_twice()) == [None, None]
    assert len(asked) == 1


def test_a_forecast_can_be_asked_of_other_candles(client: Client) -> None:
    falling = tuple(reversed(CLOSES))
    answer = ask(client, "bitcoin_price", {"candles": candles((50.0, *falling))})
    assert answer["next_close"] == pytest.approx(falling[-1] / 1.01**0.5)
    assert (answer["direction"], answer["source"], answer["naive_forecast"]) == ("down", "request", falling[-1])
    assert answer["forecast_for"] == (START + timedelta(days=LAGS + 2)).isoformat()
    flat = ask(client, "bitcoin_price", {"candles": candles((100.0,) * (LAGS + 1))})
    assert (flat["direction"], flat["next_close"]) == ("unchanged", 100.0)
    full = [each | {"open": 1.0, "high": 2.0, "low": 0.5, "volume": 0} for each in candles()]
    assert ask(client, "bitcoin_price", {"candles": full})["direction"] == "up"


def without(position: int) -> list[dict[str, Any]]:
    return [each for at, each in enumerate(candles((*CLOSES, 1.0))) if at != position]


@pytest.mark.parametrize(
    ("sent", "field", "expected"),
    [
        (candles()[:-1], "candles", f"at least {LAGS + 1} candles"),
        (candles()[::-1], "candles.1.opened_at", "one step (1d) after the one before"),
        (without(4), "candles.4.opened_at", "2025-01-05T00:00:00+00:00, one step (1d)"),
        (candles(step=timedelta(hours=1)), "candles.1.opened_at", "one step (1d)"),
        ([candles()[0] | {"opened_at": "soon"}, *candles()[1:]], "candles.0.opened_at", "ISO 8601"),
        ([candles()[0] | {"close": -1.0}, *candles()[1:]], "candles.0.close", "0.00000001 to 100,000,000"),
        ([candles()[0] | {"close": "7"}, *candles()[1:]], "candles.0.close", "a number from 0.00000001"),
        ([{"opened_at": START.isoformat()}, *candles()[1:]], "candles.0.close", "a number from"),
        ([*candles()[:-1], candles()[-1] | {"cloze": 1}], f"candles.{LAGS}.cloze", "one of: opened_at, close"),
        ("none", "candles", "a list of candles, each with opened_at and close"),
        ([*candles()[:-1], 3], f"candles.{LAGS}", "a candle"),
    ],
)
def test_candles_that_are_no_series_are_refused(client: Client, sent: object, field: str, expected: str) -> None:
    error = only_error(client.post("/models/bitcoin_price/predict", json={"candles": sent}))
    assert error["field"] == field
    assert expected in error["expected"]


@pytest.mark.parametrize("model", [CAR_PRICE, LOAN_APPROVAL, CREDIT_APPROVAL, CUSTOMER_SEGMENTS, BITCOIN_PRICE])
def test_request_and_answer_are_as_documented(client: Client, model: Declaration) -> None:
    document = client.get("/openapi.json").json()
    post = document["paths"][f"/models/{model.name}/predict"]["post"]
    request = post["requestBody"]["content"]["application/json"]
    answer = post["responses"]["200"]["content"]["application/json"]
    told = ask(client, model.name, model.example)
    for schema, instance in [
        (request["schema"], documented_example(model)),
        (request["schema"], request["example"]),
        (answer["schema"], answer["example"]),
        (answer["schema"], told),
    ]:
        Draft202012Validator({**schema, "components": document["components"]}).validate(instance)
    known = TypeAdapter(answer_model(model))
    known.validate_python(told)
    assert set(told) == set(answer_model(model).model_fields), "nothing is answered that is not documented"
    name = schema_name(answer["schema"])
    assert name.endswith("Answer")
    assert post["summary"] == model.title.en


def schema_name(schema: dict[str, str]) -> str:
    return schema["$ref"].rsplit("/", 1)[1]


def test_the_documents_types_are_concrete(client: Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    car = schemas["CarPriceRequest"]["properties"]
    assert "toyota" in car["CompanyName"]["enum"]
    assert (car["horsepower"]["type"], car["horsepower"]["minimum"]) == (["integer", "null"], 20)
    assert schemas["CarPriceAnswer"]["properties"]["segment"]["enum"] == ["Low", "Mid", "High"]
    assert schemas["CarPriceAnswer"]["properties"]["price"]["description"].startswith("Selling price, in US dollars")
    assert schemas["LoanApprovalAnswer"]["properties"]["prediction"]["enum"] == ["Loan Approved", "Loan Rejected"]
    assert schemas["LoanApprovalAnswer"]["properties"]["is_approved"]["type"] == "boolean"
    assert schemas["CreditApprovalAnswer"]["properties"]["prediction_code"]["enum"] == [0, 1]
    assert schemas["BitcoinPriceAnswer"]["properties"]["direction"]["enum"] == ["up", "down", "unchanged"]
    assert car["fueltype"]["description"].endswith("what is typical of its training rows in its place.")


def test_the_models_are_listed_with_score_and_baseline(client: Client) -> None:
    listed = {each["name"]: each for each in client.get("/models").json()["models"]}
    assert list(listed) == ["education", *(each.name for each in FIVE)]
    loan = listed["loan_approval"]
    assert (loan["metric"], loan["score"], loan["spread"], loan["baseline"]) == ("accuracy", 0.9, 0.02, 0.809)
    assert (loan["verdict"], loan["levels"], loan["served"]) == ("better", None, True)
    assert "metric" not in listed["education"]
    detail = client.get("/models/car_price").json()
    assert detail["target"]["name"] == "price"
    assert detail["interval"]["coverage"] == 0.91
    assert [each["label"]["en"] for each in detail["segments"]] == ["Low", "Mid", "High"]
    assert detail["candidates"][0]["name"] == "linear"
    assert client.get("/models/customer_segments").json()["profiles"][0]["typical"]["Age"] == 31.0
    refused = client.get("/models/car_price/clusters")
    assert (refused.status_code, refused.json()["type"]) == (404, "urn:sigap:problem:no-clusters")


def test_predictions_are_counted_by_what_was_answered(client: Client) -> None:
    ask(client, "loan_approval", LOAN)
    ask(client, "car_price", CAR)
    metrics = client.get("/metrics").text
    assert 'model="loan_approval",model_version="v3",outcome="Loan Approved"} 1.0' in metrics
    assert 'outcome="Low"} 1.0' in metrics


@pytest.mark.parametrize(
    ("model", "changes", "reason"),
    [
        (CAR_PRICE, {"segments": []}, "segments are not those of the declaration: none"),
        (CAR_PRICE, {"example": {"request": CAR, "answer": {"value": 1.0}}}, "with value .*; its manifest says 1"),
        (CAR_PRICE, {"example": {"request": CAR, "answer": {}}}, "example has no answer"),
        (CAR_PRICE, {"inputs": []}, "does not say how CompanyName, .* become numbers"),
        (CAR_PRICE, {"inputs": [{"feature": "wheelbase", "kind": "number"}]}, "inputs are not those of its features"),
        (CAR_PRICE, {"training_range": {}}, "training range lacks boreratio"),
        (LOAN_APPROVAL, {"reference": {}}, "names no typical value of ApplicantIncome"),
        (LOAN_APPROVAL, {"example": {"request": LOAN, "answer": {"value": 1.0}}}, "expects value, which is not"),
        (CUSTOMER_SEGMENTS, {"profiles": []}, "does not say what each of its segments looks like"),
        (BITCOIN_PRICE, {"closes": CLOSES[:3]}, "newest values can't be used"),
        (BITCOIN_PRICE, {"last_time": "yesterday"}, "newest values can't be used"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(
    tmp_path: Path, model: Declaration, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BundleError, match=reason):
        loaded(tmp_path, model, **changes)


def test_a_bundle_of_another_task_is_refused(tmp_path: Path) -> None:
    write_task_bundle(tmp_path / "loan", LOAN_APPROVAL, model="car_price")
    with pytest.raises(BundleError, match="is of a classification, not of a regression"):
        load(tmp_path / "loan", CAR_PRICE, Validator(CAR_PRICE), version="1", manifest_sha256="", origin="registry")


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(data=st.data())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_value_whatever_breaks_a_model(client: Client, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(FIVE))
    body = dict(model.example)
    if model is BITCOIN_PRICE:
        keys = st.sampled_from(["opened_at", "close", "open", "x"])
        mangled = st.lists(st.dictionaries(keys, ANYTHING, max_size=3), max_size=3)
        body = {"candles": data.draw(ANYTHING | mangled | mangled.map(lambda some: candles() + some))}
    else:
        body |= data.draw(st.dictionaries(st.sampled_from(list(body)), ANYTHING, max_size=3))
    response = client.post(f"/models/{model.name}/predict", content=json.dumps(body).encode())
    assert response.status_code in (200, 422), response.text
    strict_json(response)


def test_an_interval_may_be_on_the_scale_of_the_target(tmp_path: Path, five: dict[str, Served]) -> None:
    manifest = five["car_price"].manifest
    linear = manifest.interval.model_copy(update={"scale": "linear", "low": -100.0, "high": 50.0})
    served = replace(five["car_price"], manifest=manifest.model_copy(update={"interval": linear}))
    assert served.manifest.interval.around(1000.0) == (900.0, 1050.0)
