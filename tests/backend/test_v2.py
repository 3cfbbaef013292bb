"""The Open Inference Protocol: by hand, and with the working group's published client."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData

from backend.served import Served
from sigap.catalog import declarations
from sigap.catalog.car_price import CAR_PRICE
from tests.backend.bundles import BODY, TEXTS, expected
from tests.backend.conftest import Client, free_port
from tests.backend.task_bundles import value
from tests.backend.test_tasks import application, candles, client, five

__all__ = ["application", "client", "five"]

CAR = dict(CAR_PRICE.example)
DATATYPES = {"integer": "INT64", "number": "FP64"}


def tensor(name: str, values: list[Any], datatype: str = "", **more: Any) -> dict[str, Any]:
    kind = "BYTES" if isinstance(values[0], str) else "FP64"
    return {"name": name, "datatype": datatype or kind, "shape": [len(values)], "data": values, **more}


def columns(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [tensor(name, [row[name] for row in rows]) for name in rows[0]]


def infer(client: Client, model: str, body: Any, path: str = "infer") -> dict[str, Any]:
    response = client.post(f"/v2/models/{model}/{path}", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def outputs(answer: dict[str, Any]) -> dict[str, list[Any]]:
    return {each["name"]: each["data"] for each in answer["outputs"]}


def refusal(client: Client, body: Any, model: str = "car_price", status: int = 422) -> dict[str, Any]:
    response = client.post(f"/v2/models/{model}/infer", json=body)
    problem: dict[str, Any] = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["error"] == problem["detail"]
    return problem


def test_the_server_says_who_and_how_it_is(client: Client) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("declaration", declarations(), ids=lambda each: each.name)
def test_every_models_example_is_answered_as_by_the_api_itself(client: Client, declaration: Any) -> None:
    name = declaration.name
    described = client.get(f"/v2/models/{name}").json()
    forecast = declaration.task.kind == "forecasting"
    rows = candles() if forecast else [declaration.example, declaration.example]
    own = client.post(f"/models/{name}/predict", json={"candles": rows} if forecast else rows[0]).json()
    inputs = columns(*rows)
    assert {each["name"] for each in inputs} <= {each["name"] for each in described["inputs"]}
    wanted = [{"name": each["name"]} for each in described["outputs"]]
    answer = infer(client, name, {"id": "mine", "inputs": inputs, "outputs": wanted})
    assert (answer["id"], answer["model_name"], [answer["model_version"]]) == ("mine", name, described["versions"])
    for at, whole in enumerate(outputs(answer)["answer"]):
        assert json.loads(whole) == own
        for each in described["outputs"][:-1]:
            part = own["interval"][each["name"][9:]] if each["name"].startswith("interval_") else own[each["name"]]
            assert outputs(answer)[each["name"]][at] == part


def test_only_the_served_version_answers(client: Client) -> None:
    body = {"inputs": columns(CAR)}
    for version in ("3", "v3"):
        assert infer(client, "car_price", body, f"versions/{version}/infer")["model_version"] == "3"
        assert client.get(f"/v2/models/car_price/versions/{version}/ready").json()["ready"] is True
    for path in ("/v2/models/car_price/versions/2", "/v2/models/nothing", "/v2/models/nothing/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, answer.json()["detail"])
    assert client.get("/v2/nothing").json()["error"]


def test_a_model_without_a_champion_is_not_ready(client: Client, application: FastAPI) -> None:
    for follower in application.state.service.followers.values():
        follower.served = None
    for path in ("/v2/health/ready", "/v2/models/car_price/ready", "/v2/models/car_price"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    refusal(client, {"inputs": columns(CAR)}, status=503)


def test_what_is_unknown_may_be_null_or_nan_or_left_out(client: Client) -> None:
    full = columns(CAR, CAR)
    without = [each for each in full if each["name"] != "horsepower"]
    nulls = [*without, tensor("horsepower", [None, None], "INT64")]
    assert outputs(infer(client, "car_price", {"inputs": nulls})) == outputs(
        infer(client, "car_price", {"inputs": without})
    )
    nan = json.dumps({"inputs": [*without, tensor("horsepower", [float("nan")] * 2)]})
    response = client.post("/v2/models/car_price/infer", content=nan)
    assert outputs(response.json()) == outputs(infer(client, "car_price", {"inputs": nulls}))


@pytest.mark.parametrize("shape", [[2, 1], [2]])
def test_columns_may_be_flat_or_nested(client: Client, shape: list[int]) -> None:
    inputs = [{**each, "shape": shape, "data": [[value] for value in each["data"]]} for each in columns(CAR, CAR)]
    price = outputs(infer(client, "car_price", {"inputs": inputs}))["price"]
    assert price == pytest.approx([value(CAR_PRICE, CAR)] * 2)


def test_many_rows_are_answered_at_once(client: Client) -> None:
    rows = [{**CAR, "horsepower": 60 + at} for at in range(100)]
    prices = outputs(infer(client, "car_price", {"inputs": columns(*rows)}))["price"]
    assert prices == pytest.approx([value(CAR_PRICE, row) for row in rows])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": "all"}, "inputs"),
        ({"inputs": [1]}, "inputs.0"),
        ({"inputs": [tensor("horsepowr", [1.0])]}, "inputs"),
        ({"inputs": [tensor("horsepower", [1.0]), tensor("horsepower", [1.0])]}, "inputs.1.name"),
        ({"inputs": [tensor("horsepower", [92.0], "FP65")]}, "horsepower.datatype"),
        ({"inputs": [tensor("horsepower", [92.0], "BYTES")]}, "horsepower.datatype"),
        ({"inputs": [tensor("fueltype", ["gas"], "FP64")]}, "fueltype.datatype"),
        ({"inputs": [{**tensor("horsepower", [92.0]), "shape": [2]}]}, "horsepower.data"),
        ({"inputs": [{**tensor("horsepower", [92.0]), "shape": [1, 2]}]}, "horsepower.shape"),
        ({"inputs": [{**tensor("horsepower", [92.0]), "shape": 1}]}, "horsepower.shape"),
        ({"inputs": [tensor("horsepower", [92.0]), tensor("citympg", [30.0, 31.0])]}, "inputs"),
        ({"inputs": [{**tensor("horsepower", [92.0]), "data": None}]}, "horsepower.data"),
        ({"inputs": [tensor("horsepower", [92.0], parameters={"binary_data_size": 8})]}, "horsepower.parameters"),
        ({"inputs": columns(CAR, {**CAR, "horsepower": 9e9})}, "horsepower[1]"),
        ({"inputs": columns(CAR, {**CAR, "fueltype": "steam"})}, "fueltype[1]"),
        ({"inputs": columns(CAR), "outputs": [{"name": "prize"}]}, "outputs"),
        ({"inputs": columns(CAR), "outputs": ["price"]}, "outputs.0"),
        ({"inputs": columns(CAR), "id": 7}, "id"),
        ({"inputs": columns(CAR), "parameters": 7}, "parameters"),
    ],
)
def test_what_is_wrong_is_named(client: Client, change: dict[str, Any], said: str) -> None:
    (error,) = refusal(client, change)["errors"]
    assert error["field"].startswith(said)


def binary(*rows: dict[str, Any]) -> tuple[bytes, int]:
    described, blobs = [], []
    for name in rows[0]:
        values = [row[name] for row in rows]
        if isinstance(values[0], str):
            blob = b"".join(struct.pack("<I", len(text)) + text.encode() for text in values)
        else:
            blob = np.array(values, "<f4").tobytes()
        kind = "BYTES" if isinstance(values[0], str) else "FP32"
        parameters = {"binary_data_size": len(blob)}
        described.append({"name": name, "datatype": kind, "shape": [len(values), 1], "parameters": parameters})
        blobs.append(blob)
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    return b"".join([head, *blobs]), len(head)


def test_binary_tensors_go_in_and_come_out(client: Client) -> None:
    body, length = binary(BODY, BODY)
    response = client.post(
        "/v2/models/education/infer", content=body, headers={"inference-header-content-length": str(length)}
    )
    assert response.status_code == 200, response.text
    size = int(response.headers["inference-header-content-length"])
    head, rest = json.loads(response.content[:size]), response.content[size:]
    found = {}
    for each in head["outputs"]:
        part, rest = rest[: each["parameters"]["binary_data_size"]], rest[each["parameters"]["binary_data_size"] :]
        found[each["name"]] = part
    assert rest == b""
    cluster, distance = expected(BODY)
    assert np.frombuffer(found["cluster"], "<i8").tolist() == [cluster] * 2
    assert np.frombuffer(found["distance_to_center"], "<f8") == pytest.approx([distance] * 2, rel=1e-5)
    assert found["cluster_label"][4:].startswith(TEXTS[cluster].encode())


@pytest.mark.parametrize("length", ["-1", "x", "999999", "5"])
def test_a_header_length_that_does_not_fit_is_refused(client: Client, length: str) -> None:
    body, _ = binary(BODY)
    headers = {"inference-header-content-length": length}
    response = client.post("/v2/models/education/infer", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"


def test_binary_parts_that_do_not_fit_are_refused(client: Client) -> None:
    body, length = binary(BODY)
    headers = {"inference-header-content-length": str(length)}
    for altered in (body[:-1], body + b"1", body[:length]):
        response = client.post("/v2/models/education/infer", content=altered, headers=headers)
        assert response.status_code == 422, response.text


@pytest.fixture
def address(application: FastAPI, five: dict[str, Served], served: Served) -> Iterator[str]:
    """A real server in a thread, serving all six."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    for name, each in (five | {"education": served}).items():
        application.state.service.followers[name].served = each
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_a_published_client_gets_its_answers(address: str) -> None:
    client = httpx.Client(trust_env=False)
    asking = OpenInferenceClient(base_url=f"http://{address}", httpx_client=client)
    assert asking.check_server_liveness() is None
    assert asking.check_server_readiness() is None
    assert asking.read_server_metadata().name == "sigap"
    assert asking.check_model_readiness("car_price") is None
    described = asking.read_model_metadata("car_price")
    assert [each.name for each in described.inputs] == list(CAR_PRICE.feature_names)
    inputs = [
        RequestInput(name=name, datatype=kind, shape=[2, 1], data=TensorData(__root__=[CAR[name]] * 2))
        for name, kind in [(each.name, each.datatype) for each in described.inputs]
    ]
    answer = asking.model_infer("car_price", request=InferenceRequest(id="7", inputs=inputs))
    told = {output.name: output.data.__root__ for output in answer.outputs}
    assert answer.id == "7"
    assert told["price"] == pytest.approx([value(CAR_PRICE, CAR)] * 2)
    assert told["segment"] == ["Low"] * 2
    with pytest.raises(ApiError) as refused:
        asking.model_version_infer("car_price", "9", request=InferenceRequest(inputs=inputs))
    assert refused.value.status_code == 404
    assert "is not served" in refused.value.body["error"]
    client.close()
