"""A further model in the catalogue is served, typed and documented without a line of code in the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app import create_app
from backend.problems import RequestError
from backend.requests import Validator
from backend.tasks import answer_model
from sigap.catalog import Column, Declaration, Feature, Kind, Text, declaration
from sigap.catalog.names import ANSWER_FIELDS
from sigap.errors import ConfigurationError
from sigap.settings import Settings
from tests.backend.bundles import EDUCATION
from tests.backend.conftest import Client, Loop


def text(word: str) -> Text:
    return Text(id=word, en=word)


def feature(name: str, kind: Kind, **options: object) -> Feature:
    return Feature.model_validate(
        {"name": name, "kind": kind, "title": text(name), "meaning": text(name), "unit": text("u"), **options}
    )


OTHER: Declaration = EDUCATION.model_copy(
    update={
        "name": "car_price",
        "features": (
            feature("doors", Kind.INTEGER, minimum=1),
            feature("fuel", Kind.CATEGORY, categories=("gas", "diesel")),
            feature("weight", Kind.NUMBER, maximum=5000),
            feature("trim", Kind.TEXT),
        ),
        "columns": (
            *EDUCATION.columns,
            Column(name="age", kind=Kind.INTEGER, meaning=text("Age"), minimum=0, maximum=30),
        ),
        "request_columns": ("age",),
        "example": {"age": 3, "doors": 4, "fuel": "gas", "weight": 1200.5, "trim": "base"},
    }
)
USED = ("doors", "fuel")


def test_every_model_has_its_own_typed_route(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    with Loop() as runner:
        client = Client(create_app(settings, (EDUCATION, OTHER)), runner)
        document = client.get("/openapi.json").json()
        assert {"/predict", "/models/education/predict", "/models/car_price/predict"} <= set(document["paths"])
        fields = document["components"]["schemas"]["CarPriceRequest"]["properties"]
        assert fields["fuel"]["enum"] == ["gas", "diesel", None]
        assert (fields["doors"]["type"], fields["doors"]["minimum"]) == (["integer", "null"], 1)
        assert "maximum" not in fields["doors"]
        assert client.get("/models/car_price").json()["example"] == OTHER.example
        answer = client.post("/models/car_price/predict", json=OTHER.example)
        assert answer.status_code == 503
        assert "./run pipeline car_price" in answer.json()["detail"]
        assert [model["name"] for model in client.get("/models").json()["models"]] == ["education", "car_price"]


def test_every_kind_of_field_is_checked() -> None:
    check = Validator(OTHER)
    assert check(dict(OTHER.example), USED) == OTHER.example
    assert check(OTHER.example | {"weight": None, "trim": None, "age": None}, USED)["trim"] is None
    for name, value, expected in [
        ("doors", 2.5, "a whole number of at least 1 (u)"),
        ("doors", 0, "a whole number of at least 1 (u)"),
        ("doors", True, "a whole number of at least 1 (u)"),
        ("fuel", "coal", "one of: gas, diesel"),
        ("weight", 5001, "a number of at most 5000 (u)"),
        ("trim", 3, "a text (u)"),
        ("age", 31, "a whole number from 0 to 30"),
        ("fuel", None, "one of: gas, diesel"),
    ]:
        with pytest.raises(RequestError) as error:
            check(OTHER.example | {name: value}, USED)
        (problem,) = error.value.errors
        assert (problem.field, problem.expected) == (name, expected)


def test_true_sent_for_a_number_is_told_what_to_send() -> None:
    flagged = feature("sold", Kind.INTEGER, minimum=0, maximum=1, flag=True)
    check = Validator(OTHER.model_copy(update={"features": (*OTHER.features, flagged)}))
    with pytest.raises(RequestError) as error:
        check(OTHER.example | {"sold": True, "doors": False})
    told = {problem.field: (problem.expected, problem.remedy) for problem in error.value.errors}
    assert told["sold"] == ("0 or 1", "Send 1 for yes, 0 for no.")
    assert told["doors"][1] == "Send a JSON number, not true or false."


def test_a_declaration_that_can_not_be_typed_bars_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = OTHER.columns[-1].model_copy(update={"name": "spelt", "kind": Kind.TEXT, "pattern": "("})
    broken = OTHER.model_copy(
        update={"columns": (*OTHER.columns, odd), "request_columns": (*OTHER.request_columns, "spelt")}
    )
    settings = Settings(_env_file=None, state_dir=tmp_path)
    service = create_app(settings, (EDUCATION, broken)).state.service
    assert [*service.followers] == ["education"]
    assert "sigap/catalog/car_price.py" in caplog.text
    with pytest.raises(RequestError, match="'car_price' is declared in a way that can't be used") as refused:
        service.follower("car_price")
    assert refused.value.status == 503
    with pytest.raises(ConfigurationError, match=r"sigap/catalog/car_price.py"):
        create_app(settings.model_copy(update={"default_model": "car_price"}), (EDUCATION, broken))


def test_no_field_of_an_answer_can_be_taken_by_a_target() -> None:
    car = declaration("car_price")
    assert car.target
    assert set(answer_model(car).model_fields) - {car.target.name} == ANSWER_FIELDS


@given(value=st.integers() | st.floats() | st.text() | st.none() | st.lists(st.integers()))
def test_no_value_passes_for_a_category(value: object) -> None:
    with pytest.raises(RequestError):
        Validator(OTHER)(OTHER.example | {"fuel": value}, USED)


TARGET = {"name": "rent", "kind": "number", "title": text("Rent"), "meaning": text("Rent a month")}
SEVENTH: list[dict[str, Any]] = [
    {"kind": "regression"},
    {"kind": "classification", "positive": "1", "yes": "Yes", "no": "No", "flag": "prediction_code"},
    {"kind": "forecasting", "step": "1h"},
]


@pytest.mark.parametrize("task", SEVENTH, ids=[task["kind"] for task in SEVENTH])
def test_a_seventh_model_of_any_task_is_documented(tmp_path: Path, task: dict[str, Any]) -> None:
    declared = Declaration.model_validate(
        {
            **EDUCATION.model_dump(include={"title", "question", "data_source"}),
            "name": "seventh",
            "source": {"table": "t", "relation": "t AS t", "key": ["at"], "entity": "at", "time": "at"},
            "columns": [{"name": "at", "kind": "timestamp", "meaning": text("When")}],
            "features": [feature("size", Kind.NUMBER)],
            "target": TARGET,
            "task": task,
            "example": {} if task["kind"] == "forecasting" else {"size": 3.5},
            "paths": ["/rents"],
        }
    )
    settings = Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    with Loop() as runner:
        client = Client(create_app(settings, (EDUCATION, declared)), runner)
        document = client.get("/openapi.json").json()
        assert {"SeventhRequest", "SeventhAnswer"} <= set(document["components"]["schemas"])
        for path in ("/rents", "/models/seventh/predict"):
            post = document["paths"][path]["post"]
            example = post["responses"]["200"]["content"]["application/json"]["example"]
            answer_model(declared).model_validate(example)
            assert client.post(path, json=declared.example).status_code == 503
        assert client.get("/models/seventh").json()["target"]["name"] == "rent"
