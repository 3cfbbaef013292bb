"""Requests to a served model: the right ones are answered, all others are refused with a reason, none breaks it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backend.bundles import BODY, CENTERS, LEFT_OUT, TEXTS, USED, expected
from tests.backend.conftest import Client

PROBLEM = "application/problem+json"


def strict_json(response: httpx.Response) -> Any:
    """The answer's JSON, without the NaN and Infinity that Python would read."""
    return json.loads(response.content, parse_constant=lambda name: pytest.fail(f"{name} in {response.content!r}"))


def refused(response: httpx.Response, status: int = 422) -> dict[str, Any]:
    """The problem, after its form was checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem: dict[str, Any] = strict_json(response)
    assert set(problem) == {"type", "title", "status", "detail", "errors", "request_id"}
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def only_error(response: httpx.Response) -> dict[str, Any]:
    problem = refused(response)
    assert len(problem["errors"]) == 1, problem
    error: dict[str, Any] = problem["errors"][0]
    assert set(error) == {"field", "value", "expected", "remedy"}
    assert error["expected"]
    assert error["remedy"]
    return error


def with_value(field: str, text: str) -> str:
    """The issue's body with another JSON text for one field."""
    fields = {**{name: json.dumps(value) for name, value in BODY.items()}, field: text}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


def test_an_answer_says_all_that_the_contract_promises(client: Client) -> None:
    cluster, distance = expected(BODY)
    answer = client.post("/predict", json=BODY).json()
    assert list(answer)[:4] == ["cluster", "cluster_label", "distance_to_center", "model_version"]
    assert answer.pop("distance_to_center") == pytest.approx(distance, rel=1e-12)
    assert answer == {
        "cluster": cluster,
        "cluster_label": TEXTS[cluster],
        "model_version": "v7",
        "model": "education",
        "data_version": "v1",
        "features_used": list(USED),
        "features_left_out": list(LEFT_OUT),
        "gap_to_next_level": {"rata_lama_sekolah": 1.3, "harapan_lama_sekolah": 0.9, "rasio_guru_murid": -7.5},
        "out_of_training_range": ["rasio_guru_murid"],
    }
    assert client.post("/models/education/predict", json=BODY).json()["cluster"] == cluster


def test_the_best_level_has_no_gap(client: Client) -> None:
    best = BODY | dict(zip(USED, map(float, CENTERS[0]), strict=True))
    answer = client.post("/predict", json=best).json()
    assert (answer["cluster"], answer["gap_to_next_level"], answer["out_of_training_range"]) == (0, None, [])
    assert answer["distance_to_center"] == pytest.approx(0, abs=1e-9)


def test_whole_numbers_and_the_ends_of_a_range_are_right(client: Client) -> None:
    for field, value in [("rata_lama_sekolah", 0), ("rata_lama_sekolah", 20), ("rasio_guru_murid", 1)]:
        assert client.post("/predict", json=BODY | {field: value}).status_code == 200


@pytest.mark.parametrize("field", BODY)
def test_every_field_has_to_be_there(client: Client, field: str) -> None:
    body = {name: value for name, value in BODY.items() if name != field}
    error = only_error(client.post("/predict", json=body))
    assert (error["field"], error["value"]) == (field, None)
    null = "Add the field; it may be null, for the model does without it."
    assert error["remedy"] == (null if field in LEFT_OUT else "Add the field.")
    if field in LEFT_OUT:
        assert client.post("/predict", json=body | {field: None}).status_code == 200


def test_null_is_right_only_for_what_the_model_does_not_use(client: Client) -> None:
    assert client.post("/predict", json=BODY | dict.fromkeys(LEFT_OUT)).status_code == 200
    error = only_error(client.post("/predict", json=BODY | {USED[0]: None}))
    assert error["field"] == USED[0]
    assert error["expected"] == "a number from 0 to 20 (years)"
    assert only_error(client.post("/predict", json=BODY | {"provinsi_id": None}))["field"] == "provinsi_id"


def test_an_unknown_field_is_refused_with_the_near_name(client: Client) -> None:
    error = only_error(client.post("/predict", json=BODY | {"rasio_guru_muridd": 3}))
    assert error["field"] == "rasio_guru_muridd"
    assert error["remedy"] == "Did you mean rasio_guru_murid?"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("NaN", "nan"),
        ("Infinity", "inf"),
        ("-Infinity", "-inf"),
        ("1e999", "inf"),
        ('"98.5"', "98.5"),
        ("998", 998),
        ("-0.1", -0.1),
        ("100.0000001", 100.0000001),
        ("true", True),
        ("[1]", "[1]"),
        ('{"a": 1}', "{'a': 1}"),
        ("1" + "0" * 400, "1" + "0" * 79 + "…"),
    ],
)
@pytest.mark.parametrize("field", ["angka_melek_huruf", "rata_lama_sekolah"])
def test_a_value_that_is_no_number_in_range_is_quoted_back(
    client: Client, field: str, text: str, shown: object
) -> None:
    error = only_error(client.post("/predict", content=with_value(field, text)))
    assert error["field"] == field
    assert error["value"] == shown
    assert error["expected"].startswith("a number from 0 to ")


@pytest.mark.parametrize("value", ["", "p35", "P3", "P355", "P35781", "P35\n", "P٣٥", "\ud800", 35])
def test_a_province_code_has_to_look_like_one(client: Client, value: object) -> None:
    error = only_error(client.post("/predict", content=json.dumps(BODY | {"provinsi_id": value})))
    assert error["field"] in ("provinsi_id", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"not json",
        b'{"provinsi_id": ',
        b"{'provinsi_id': 'P35'}",
        b'{"a": 1} {"b": 2}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"1" * 5000 + b"}",
        b"[" * 60000,
        b'{"a":' * 10000,
        b"provinsi_id=P35&angka_melek_huruf=98.5",
    ],
)
def test_a_body_that_is_not_json_is_a_bad_request(client: Client, body: bytes) -> None:
    problem = refused(client.post("/predict", content=body), 400)
    assert problem["type"] == "urn:sigap:problem:not-json"
    assert problem["detail"].endswith("Send one JSON object in UTF-8.")


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"text"', b"NaN", b"[{}]"])
def test_json_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    assert only_error(client.post("/predict", content=body))["expected"] == "one JSON object in UTF-8"


def test_a_field_that_stands_twice_is_refused(client: Client) -> None:
    body = json.dumps(BODY)[:-1] + ', "rata_lama_sekolah": 9.3}'
    error = only_error(client.post("/predict", content=body))
    assert (error["field"], error["expected"]) == ("rata_lama_sekolah", "every field once")


def test_a_body_over_the_limit_is_too_large(client: Client) -> None:
    refused(client.post("/predict", content=json.dumps(BODY | {"x": "y" * 70_000})), 413)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * 10_000

    refused(client.post("/predict", content=chunks()), 413)
    padded = json.dumps(BODY).encode().ljust(65536)
    assert client.post("/predict", content=padded).status_code == 200


def test_many_faults_are_told_at_once_but_not_without_end(client: Client) -> None:
    problem = refused(client.post("/predict", json={f"x{number}": number for number in range(1000)}))
    assert len(problem["errors"]) == 20
    assert "more" in problem["detail"]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "\x00", "P35", "98.5", "NaN"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = st.sampled_from(list(BODY)) | st.text(max_size=10) | st.just("\udfff")
MUTATED = st.dictionaries(NAMES, VALUES, max_size=4).map(lambda changes: json.dumps(BODY | changes).encode())
BODIES = st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()) | MUTATED


@given(body=BODIES)
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_body_whatever_breaks_the_api(client: Client, body: bytes) -> None:
    response = client.post("/predict", content=body)
    if response.status_code != 200:
        assert response.status_code in (400, 422)
        refused(response, response.status_code)
        return
    answer = strict_json(response)
    distance = expected(json.loads(body))[1]
    assert answer["distance_to_center"] == pytest.approx(distance, rel=1e-9)


@given(values=st.fixed_dictionaries({name: st.floats(1, 20) for name in USED}))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_every_valid_row_gets_its_nearest_level(client: Client, values: dict[str, float]) -> None:
    body = BODY | values
    answer = client.post("/predict", json=body).json()
    assert answer["distance_to_center"] == pytest.approx(expected(body)[1], rel=1e-9)
    assert answer["cluster_label"] == TEXTS[answer["cluster"]]
