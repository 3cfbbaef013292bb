"""What each feature contributes: shares that add up, and that are known beforehand for models of plain arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from backend.served import Served
from backend.shapley import contributions
from sigap.catalog import Declaration, declarations
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.loan_approval import LOAN_APPROVAL
from tests.backend.bundles import BODY, CENTERS, MEAN, SCALE, USED, expected
from tests.backend.conftest import Client
from tests.backend.task_bundles import CLOSES, LAGS, encoded, probability, value, weights
from tests.backend.test_tasks import application, candles, client, five

__all__ = ["application", "client", "five"]

CAR, LOAN = dict(CAR_PRICE.example), dict(LOAN_APPROVAL.example)


def explained(client: Client, model: str, body: Any) -> dict[str, Any]:
    response = client.post(f"/models/{model}/explain", json=body)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    parts = [each["contribution"] for each in told["contributions"]]
    assert sum(parts) == pytest.approx(told["value"] - told["baseline"], abs=1e-9 * max(1.0, abs(told["value"])))
    assert [abs(part) for part in parts] == sorted((abs(part) for part in parts), reverse=True)
    assert sum(each["share"] for each in told["contributions"]) == pytest.approx(1.0 if any(parts) else 0.0)
    return told


def parts(told: dict[str, Any]) -> dict[str, float]:
    return {each["feature"]: each["contribution"] for each in told["contributions"]}


@pytest.mark.parametrize("declaration", declarations(), ids=lambda each: each.name)
def test_every_models_explanation_adds_up_to_its_answer(client: Client, declaration: Declaration) -> None:
    body = {"candles": candles()} if declaration.task.kind == "forecasting" else dict(declaration.example)
    told, answer = (
        explained(client, declaration.name, body),
        client.post(f"/models/{declaration.name}/predict", json=body).json(),
    )
    assert (told["model"], told["model_version"]) == (declaration.name, answer["model_version"])
    if declaration.task.kind == "clustering":
        if answer["cluster"] == 0:
            assert told["value"] == pytest.approx(answer["distance_to_center"] ** 2)
    else:
        names = [name for name in ("price", "probability", "next_close") if name in answer]
        assert told["value"] == pytest.approx(answer[names[0]])
    assert told["evaluations"] >= 1


def test_of_a_sum_each_feature_contributes_its_term(
    client: Client, five: dict[str, Served], application: FastAPI
) -> None:
    served = five["car_price"]
    reference = {**CAR, "horsepower": 60, "fueltype": "diesel", "enginesize": 100}
    manifest = served.manifest.model_copy(update={"reference": reference})
    application.state.service.followers["car_price"].served = replace(served, manifest=manifest)
    told = explained(client, "car_price", CAR)
    assert told["method"] == "exact_shapley"
    found = parts(told)
    for name in found:
        alone = {**CAR, name: reference[name]}
        assert found[name] == pytest.approx(value(CAR_PRICE, CAR) - value(CAR_PRICE, alone), abs=1e-6), name
    assert told["baseline"] == pytest.approx(value(CAR_PRICE, reference))
    assert {each["feature"]: each["reference"] for each in told["contributions"]} == {
        name: reference[name] for name in found
    }


def test_many_differing_features_are_sampled_and_still_add_up(client: Client) -> None:
    told = explained(client, "car_price", CAR)
    assert told["method"] == "sampled_shapley"
    # Of a sum, any order gives the same steps.
    assert all(each["standard_error"] == pytest.approx(0.0, abs=1e-6) for each in told["contributions"])
    assert told["contributions"] == explained(client, "car_price", CAR)["contributions"]


def test_a_probability_is_shared_out(client: Client) -> None:
    changed = {**LOAN, "ApplicantIncome": LOAN["ApplicantIncome"] * 2, "Credit_History": 0.0}
    told = explained(client, "loan_approval", changed)
    assert told["value"] == pytest.approx(probability(LOAN_APPROVAL, changed))
    assert told["baseline"] == pytest.approx(probability(LOAN_APPROVAL, LOAN))
    assert told["unit"]["en"] == "probability"
    assert told["evaluations"] == 2**2
    nonzero = {name for name, part in parts(told).items() if part}
    assert nonzero <= {"ApplicantIncome", "Credit_History"}


def test_a_provinces_distance_to_the_next_level_is_shared_out(client: Client) -> None:
    cluster, _ = expected(BODY)
    towards = max(cluster - 1, 0)
    told = explained(client, "education", BODY)
    row = (np.array([BODY[name] for name in USED], float) - MEAN) / SCALE
    squares = (row - (CENTERS[towards] - MEAN) / SCALE) ** 2
    assert parts(told) == pytest.approx(dict(zip(USED, squares, strict=True)), abs=1e-9)
    # The centre is no distance from itself, whatever the arithmetic leaves.
    assert told["baseline"] == 0.0


def test_a_customers_distance_to_its_segment_is_shared_out(client: Client, five: dict[str, Served]) -> None:
    declaration = five["customer_segments"].declaration
    name = next(feature.name for feature in declaration.features if feature.categories)
    other = {
        **declaration.example,
        name: next(c for c in declaration.feature(name).categories if c != declaration.example[name]),
    }
    told = explained(client, "customer_segments", other)
    # The first centre is the example itself: only the changed category lies apart, in two columns by 1 each.
    apart = float(((encoded(declaration, other) - encoded(declaration, declaration.example)) ** 2).sum())
    assert told["value"] == pytest.approx(apart)
    assert parts(told)[name] == pytest.approx(apart)
    assert sum(abs(part) for part in parts(told).values()) == pytest.approx(apart)


def test_a_forecast_is_shared_out_over_the_steps_it_looks_at(client: Client) -> None:
    told = explained(client, "bitcoin_price", {"candles": candles()})
    assert len(told["contributions"]) == LAGS
    assert told["baseline"] == pytest.approx(CLOSES[-1])
    first = told["contributions"][0]
    assert (first["feature"], first["reference"]) == ("close t-0", 0.0)
    assert first["contribution"] == pytest.approx(CLOSES[-1] * (math.exp(0.5 * math.log(1.01)) - 1))
    assert explained(client, "bitcoin_price", {})["value"] == pytest.approx(told["value"])


def test_what_can_not_be_explained_is_a_problem(client: Client, application: FastAPI) -> None:
    assert client.post("/models/nothing/explain", json={}).json()["type"] == "urn:sigap:problem:unknown-model"
    assert client.post("/models/car_price/explain", json={**CAR, "horsepower": "x"}).status_code == 422
    application.state.service.followers["car_price"].served = None
    assert client.post("/models/car_price/explain", json=CAR).status_code == 503


@pytest.mark.parametrize("features", [0, 1, 4, 11, 12, 15])
def test_shapley_values_of_a_game_that_is_no_sum(features: int) -> None:
    random = np.random.default_rng(features)
    slopes, pairs = random.normal(size=features), random.normal(size=(features, features))
    pairs = np.triu(pairs, 1)

    def game(present: np.ndarray) -> np.ndarray:
        there = present.astype(float)
        return 3.0 + there @ slopes + np.einsum("ni,ij,nj->n", there, pairs, there)

    found = contributions(game, features)
    # A pair's effect is halved between its two features.
    exact = slopes + (pairs.sum(axis=0) + pairs.sum(axis=1)) / 2
    assert found.values.sum() == pytest.approx(found.value - found.baseline, abs=1e-10)
    assert (found.errors is None) == (features <= 11)
    # With pairs of opposite orders, effects of two features are halved exactly, drawn or not.
    assert found.values == pytest.approx(exact, abs=1e-9)


def test_weights_reach_the_columns_that_they_belong_to() -> None:
    assert len(weights(CAR_PRICE)) == len(encoded(CAR_PRICE, CAR))
