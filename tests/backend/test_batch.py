"""Many rows in one request: each answered as it would be alone, each refused as it would be alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.columns import check_rows
from backend.problems import FieldProblem, RequestError
from backend.served import Served
from sigap.catalog import Declaration
from tests.backend.bundles import BODY, EDUCATION
from tests.backend.conftest import Client
from tests.backend.files.conftest import CAR, application_of_six, bundles, make_app, six
from tests.backend.task_bundles import FIVE

__all__ = ["application_of_six", "bundles", "make_app", "six"]

ROWS = [each for each in (EDUCATION, *FIVE) if each.task.kind != "forecasting"]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200_000),
    st.integers(10**15, 10**400),
    st.floats(),
    st.sampled_from(["", " ", "92", "P35", "ID-JI", "Male", " yes ", "TOYOTA", "std\n", "P٣٥", "=1+1", "\ud800"]),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


def example(declaration: Declaration) -> dict[str, Any]:
    return dict(BODY) if declaration is EDUCATION else dict(declaration.example)


def nearly_right(declaration: Declaration) -> st.SearchStrategy[Any]:
    """Rows of which a field or two is odd, missing, or too many."""
    fields = {}
    for name, value in example(declaration).items():
        likely = [st.just(value)] * 8
        if declaration.task.kind and name in declaration.feature_names:
            feature = declaration.feature(name)
            if feature.categories:
                likely.append(st.sampled_from(feature.categories).map(str.swapcase))
            elif feature.minimum is not None and feature.maximum is not None:
                likely.append(st.floats(feature.minimum, feature.maximum))
                likely.append(st.integers(int(feature.minimum), int(feature.maximum)))
        fields[name] = st.one_of(*likely, ODD)
    row = st.fixed_dictionaries(fields)
    without = st.builds(
        lambda full, name: {k: v for k, v in full.items() if k != name}, row, st.sampled_from([*fields])
    )
    more = row.map(lambda full: {**full, "other": 1})
    return st.one_of(row, row, row, without, more, ODD)


@pytest.mark.parametrize("declaration", ROWS, ids=lambda each: each.name)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_each_row_is_judged_and_answered_as_if_it_came_alone(
    declaration: Declaration, data: st.DataObject, bundles: dict[str, Any]
) -> None:
    served = bundles[declaration.name]
    rows = data.draw(st.lists(nearly_right(declaration), min_size=1, max_size=6))
    checked = check_rows(declaration, rows, served.validator, served.predictor.needed)
    parts = served.predictor.parts(checked.columns) if len(checked.accepted) else []
    together = dict(zip(checked.accepted.tolist(), parts, strict=True))
    for position, row in enumerate(rows):
        if not isinstance(row, dict):
            assert position in checked.refused
            continue
        alone, errors = _alone(served, row)
        assert checked.refused.get(position, ()) == errors
        if alone is not None:
            answer = {**together[position], **served.predictor.constant}
            assert answer.keys() == alone.keys()
            assert _rounded(answer) == pytest.approx(_rounded(alone), rel=1e-9, abs=1e-12)
            assert {name: answer[name] for name in answer if not isinstance(answer[name], float | dict)} == {
                name: alone[name] for name in alone if not isinstance(alone[name], float | dict)
            }


def _alone(served: Served, row: dict[str, Any]) -> tuple[dict[str, Any] | None, tuple[FieldProblem, ...]]:
    try:
        return served.predict(row), ()
    except RequestError as error:
        return None, error.errors


def _rounded(answer: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in answer.items() if isinstance(value, float)}


@pytest.mark.parametrize("declaration", ROWS, ids=lambda each: each.name)
def test_answers_are_those_of_the_rows_alone(declaration: Declaration, bundles: dict[str, Any]) -> None:
    served = bundles[declaration.name]
    values = served.validator(example(declaration), served.predictor.needed)
    assert served.predictor.answers([values, values]) == [served.predictor.answer(values)] * 2


def test_a_bad_row_does_not_fail_the_others(six: Client) -> None:
    rows = [CAR, {**CAR, "horsepower": 9999}, 5, CAR, {**CAR, "CompanyName": "TOYOTA"}]
    answer = six.post("/models/car_price/predict-batch", json=rows).json()
    assert (answer["rows"], answer["answered"], answer["refused"]) == (5, 3, 2)
    assert answer["model_version"] == "v7"
    assert [each["row"] for each in answer["predictions"]] == [1, 2, 3, 4, 5]
    assert [each["status"] for each in answer["predictions"]] == [
        "answered", "refused", "refused", "answered", "answered",
    ]  # fmt: skip
    assert answer["predictions"][1]["errors"][0]["field"] == "horsepower"
    assert answer["predictions"][0]["price"] == answer["predictions"][4]["price"]


def test_what_all_rows_share_stands_once_unless_asked(six: Client) -> None:
    alone = six.post("/models/car_price/predict", json=CAR).json()
    short = six.post("/models/car_price/predict-batch", json=[CAR]).json()
    assert "baseline" in short
    assert "baseline" not in short["predictions"][0]
    full = six.post("/models/car_price/predict-batch?full=true", json=[CAR]).json()["predictions"][0]
    assert {name: value for name, value in full.items() if name not in ("row", "status")} == alone
    assert six.post("/models/car_price/predict-batch?full=maybe", json=[CAR]).status_code == 422


@pytest.mark.parametrize("path", ["/predict-batch", "/batch-predict", "/models/car_price/predict-batch"])
def test_the_default_model_answers_under_the_names_of_the_source_systems(six: Client, path: str) -> None:
    assert six.post(path, json=[CAR, CAR]).json()["answered"] == 2


@pytest.mark.parametrize("declaration", [EDUCATION, *FIVE], ids=lambda each: each.name)
def test_every_model_answers_batches(six: Client, declaration: Declaration) -> None:
    row = example(declaration)
    if declaration.task.kind == "forecasting":
        closes = [{"opened_at": f"2025-01-{day:02}T00:00:00Z", "close": 100.0 + day} for day in range(1, 32)]
        row = {"candles": closes}
    answer = six.post(f"/models/{declaration.name}/predict-batch", json=[row, {"nothing": 1}]).json()
    assert [each["status"] for each in answer["predictions"]] == ["answered", "refused"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "not-json"),
        (b"[", 400, "not-json"),
        (b"[\xff]", 400, "not-json"),
        (b"[" * 100_000, 400, "not-json"),
        (b"{}", 422, "invalid-request"),
        (b"5", 422, "invalid-request"),
        (b"[]", 422, "invalid-request"),
        (b"[" + b",".join([b"1"] * 10_001) + b"]", 413, "too-many-rows"),
    ],
)
def test_faults_of_the_whole_array_are_problems(six: Client, body: bytes, status: int, kind: str) -> None:
    answer = six.post("/predict-batch", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:sigap:problem:{kind}"


def test_a_field_that_stands_twice_is_refused_in_its_row_only(six: Client) -> None:
    car = json.dumps(CAR)
    twice = f'{car[:-1]}, "horsepower": 93}}'
    escaped = twice.replace('"horsepower": 93', '"horse\\u0070ower": 93')
    answer = six.post("/predict-batch", content=f"[{car},{twice},{escaped},{car}]".encode()).json()
    assert [each["status"] for each in answer["predictions"]] == ["answered", "refused", "refused", "answered"]
    assert answer["predictions"][1]["errors"][0]["field"] == "horsepower"


def test_numbers_that_json_does_not_have_are_refused_in_their_row_only(six: Client) -> None:
    rows = ",".join(json.dumps(CAR).replace("102.4", odd) for odd in ("NaN", "1e999", "102.4"))
    answer = six.post("/predict-batch", content=f"[{rows}]".encode()).json()
    assert [each["status"] for each in answer["predictions"]] == ["refused", "refused", "answered"]


def test_thousands_of_rows_are_all_answered_and_counted(six: Client) -> None:
    before = counted(six)
    answer = six.post("/predict-batch", json=[{**CAR, "curbweight": 1000 + at} for at in range(3000)]).json()
    prices = [each["price"] for each in answer["predictions"]]
    assert prices == sorted(prices)
    assert len(set(prices)) == 3000
    assert counted(six) - before == 3000


def counted(six: Client) -> float:
    """Predictions of the cars' model so far."""
    lines = [line for line in six.get("/metrics").text.splitlines() if line.startswith("sigap_api_predictions_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if 'model="car_price"' in line)


def test_the_documentation_tells_the_type_of_every_model_s_batch(six: Client) -> None:
    document = six.get("/openapi.json").json()
    for declaration in (EDUCATION, *FIVE):
        operation = document["paths"][f"/models/{declaration.name}/predict-batch"]["post"]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["type"] == "array"
        reference = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        fields = document["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
        assert {"model", "model_version", "rows", "answered", "refused", "predictions"} <= set(fields)
