"""Every route but the prediction: what it tells, and how it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from backend.app import create_app
from backend.served import Served
from backend.tasks.clustering import Answer
from sigap.catalog import declarations
from sigap.errors import ConfigurationError, UnknownModelError
from sigap.settings import Settings, get_settings
from tests.backend.bundles import BODY, EDUCATION, LEFT_OUT, USED
from tests.backend.conftest import MODEL, Client


def without_champion(application: FastAPI, client: Client) -> Client:
    application.state.service.followers[MODEL].served = None
    return client


def test_the_list_of_models_says_what_is_served(client: Client) -> None:
    model, *others = client.get("/models").json()["models"]
    assert [each["name"] for each in (model, *others)] == [each.name for each in declarations()]
    assert model["name"] == MODEL
    assert [each["served"] for each in (model, *others)] == [True] + [False] * len(others)
    assert model["title"] == {"id": EDUCATION.title.id, "en": EDUCATION.title.en}
    assert (model["model_version"], model["data_version"], model["levels"]) == ("v7", "v1", 3)


def test_a_models_detail_carries_its_declaration_and_its_champion(client: Client) -> None:
    detail = client.get("/models/education").json()
    assert [feature["name"] for feature in detail["features"]] == list(EDUCATION.feature_names)
    for told, declared in zip(detail["features"], EDUCATION.features, strict=True):
        assert told["unit"] == {"id": declared.unit.id, "en": declared.unit.en}
        assert (told["minimum"], told["maximum"]) == (declared.minimum, declared.maximum)
        assert told["used"] == (declared.name in USED)
        assert (told["training_range"] is not None) == told["used"]
    assert detail["features_used"] == list(USED)
    assert [left["name"] for left in detail["features_left_out"]] == list(LEFT_OUT)
    assert detail["example"] == BODY
    assert [column["name"] for column in detail["request_columns"]] == ["provinsi_id"]
    assert len(detail["levels"]) == 3
    assert detail["sweep"][0]["k"] == 3
    assert detail["metrics"] == {"silhouette": 0.37}


def test_without_a_champion_the_declaration_is_still_told(application: FastAPI, client: Client) -> None:
    detail = without_champion(application, client).get("/models/education").json()
    assert detail["served"] is False
    assert detail["levels"] is None
    assert len(detail["features"]) == 5
    for path in ("/models/education/clusters", "/predict"):
        method = "POST" if path == "/predict" else "GET"
        problem = client.request(method, path)
        assert problem.status_code == 503
        assert "./run pipeline education" in problem.json()["detail"]
        assert problem.headers["retry-after"] == "5"
    assert client.get("/", headers={"accept": "text/html"}).text.count("not trained yet") == len(declarations())


def test_clusters_are_told_once_and_then_remembered(client: Client) -> None:
    first = client.get("/models/education/clusters")
    clusters = first.json()
    assert (clusters["model_version"], clusters["period"], len(clusters["levels"])) == ("v7", 2024, 3)
    assert clusters["movement"]["moves"][0]["from"] == 1
    assert clusters["members"][0]["place"]["lat"] == -7.25
    again = client.get("/models/education/clusters", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/models/nothing", "/models/nothing/clusters", "/models/nothing/predict"])
def test_an_unknown_model_is_told_with_the_known_ones(client: Client, path: str) -> None:
    response = client.request("POST" if path.endswith("predict") else "GET", path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    known = ", ".join(each.name for each in declarations())
    assert response.json()["detail"] == f"There is no model 'nothing'. Choose one of: {known}."


def test_unknown_paths_and_wrong_methods_are_problems_too(client: Client) -> None:
    for method, path, status in [("GET", "/nothing", 404), ("GET", "/predict", 405), ("DELETE", "/models", 405)]:
        response = client.request(method, path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["x-request-id"]
    assert client.get("/predict").headers["allow"] == "POST"


def test_a_clients_request_id_is_kept_if_it_is_harmless(client: Client) -> None:
    assert client.get("/", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for harmful in ("a b", "x" * 65, "<script>", ""):
        given = client.get("/", headers={"x-request-id": harmful}).headers["x-request-id"]
        assert given != harmful
        assert len(given) == 24


def test_every_answer_carries_the_security_headers(client: Client) -> None:
    for path in ("/", "/models", "/nothing", "/docs", "/redoc", "/metrics", "/health"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]


def test_an_unforeseen_error_shows_no_inside(
    application: FastAPI, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("backend.app.summary", lambda *_: 1 / 0)
    response = client.get("/models")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "ZeroDivision" not in response.text
    assert response.json()["request_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "x-content-type-options" in response.headers
    assert value(client, "sigap_api_requests_total", route="/models", status="500") == 1


def value(client: Client, name: str, **labels: str) -> float:
    """One sample of the metrics."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


def test_metrics_count_requests_by_route_and_predictions_by_version(client: Client) -> None:
    client.post("/predict", json=BODY)
    client.post("/predict", json={})
    for number in range(5):
        client.get(f"/made/up/{number}")
    assert value(client, "sigap_api_requests_total", route="/predict", status="200", method="POST") == 1
    assert value(client, "sigap_api_requests_total", route="/predict", status="422") == 1
    assert value(client, "sigap_api_requests_total", route="unmatched", status="404") == 5
    assert value(client, "sigap_api_request_seconds_count", route="/predict") == 2
    assert value(client, "sigap_api_predictions_total", model=MODEL, model_version="v7", cluster="1") == 1
    assert value(client, "sigap_api_model_info", model=MODEL, model_version="v7", data_version="v1") == 1
    assert "/made/up" not in client.get("/metrics").text
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=")


def test_health_shows_the_registry_without_its_password(client: Client) -> None:
    health = client.get("/health").json()
    assert health["dependencies"]["registry"]["address"] == "http://127.0.0.1:9"
    assert health["dependencies"]["registry"]["status"] == "unknown"
    assert health["models"][MODEL]["bundle_age_seconds"] > 0
    assert "hidden" not in json.dumps(health)


def test_the_root_answers_programs_and_people(client: Client) -> None:
    told = client.get("/").json()
    assert (told["status"], told["model_loaded"], told["model_name"]) == ("online", True, MODEL)
    page = client.get("/", headers={"accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")
    assert "Education readiness" in page.text


def test_the_page_says_which_data_are_mock(client: Client, application: FastAPI, served: Served) -> None:
    html = {"accept": "text/html"}
    assert "(mock)</td>" not in client.get("/", headers=html).text
    data = served.manifest.data.model_copy(update={"origin": "mock"})
    mock = replace(served, manifest=served.manifest.model_copy(update={"data": data}))
    application.state.service.followers[MODEL].served = mock
    assert f"{data.version} (mock)</td>" in client.get("/", headers=html).text


def test_the_openapi_document_types_each_models_request(client: Client) -> None:
    document = client.get("/openapi.json").json()
    for path in ("/predict", "/models/education/predict"):
        post = document["paths"][path]["post"]
        content = post["requestBody"]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/EducationRequest"}
        assert content["example"] == BODY
        assert set(post["responses"]) == {"200", "400", "408", "413", "422", "429", "503"}
    request: dict[str, Any] = document["components"]["schemas"]["EducationRequest"]
    assert request["additionalProperties"] is False
    assert set(request["required"]) == set(BODY)
    literacy = request["properties"]["angka_melek_huruf"]
    assert literacy["title"] == "Literacy rate (%)"
    assert (literacy["type"], literacy["minimum"], literacy["maximum"]) == (["number", "null"], 0, 100)
    assert "angka_melek_huruf" in json.dumps(post["responses"]["422"])
    Answer.model_validate(post["responses"]["200"]["content"]["application/json"]["example"])
    assert request["properties"]["provinsi_id"]["pattern"] == "^(?:P[0-9]{2}([0-9]{2})?)$"
    references = json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    assert {name.split('"')[0] for name in references} <= set(document["components"]["schemas"])


def test_a_default_model_that_is_not_in_the_catalogue_stops_the_start() -> None:
    with pytest.raises(UnknownModelError, match="'nothing'"):
        create_app(Settings(default_model="nothing"))


def test_a_wrong_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_MAX_BODY_BYTES", "many")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="SIGAP_MAX_BODY_BYTES"):
        create_app()


@pytest.mark.parametrize("path", ["/predict/", "/models/", "/health/"])
def test_a_slash_too_many_leads_nowhere(client: Client, path: str) -> None:
    answer = client.get(path) if path != "/predict/" else client.post(path, json=BODY)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:sigap:problem:not-found"
    assert "location" not in answer.headers
