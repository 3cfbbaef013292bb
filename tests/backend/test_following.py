"""The API beside a real MLflow server: it follows the alias, refuses what was altered, and outlives the registry."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.backend.bundles import TEXTS, expected
from tests.backend.conftest import Api, MlflowServer

StartApi = Callable[..., Api]


def test_the_issues_request_gets_the_issues_answer(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], "exact")
    api = start_api(mlflow_server.uri, "exact")
    body = (
        '{"provinsi_id": "P35", "angka_melek_huruf": 98.5, "rata_lama_sekolah": 9.2, "harapan_lama_sekolah": 13.1, '
        '"rasio_guru_murid": 20.5, "anggaran_pendidikan_persen": 15.0}'
    )
    cluster, distance = expected(json.loads(body))
    import httpx

    for path in ("/predict", "/models/education/predict"):
        response = httpx.post(f"{api.url}{path}", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 200
        answer = response.json()
        assert list(answer)[:4] == ["cluster", "cluster_label", "distance_to_center", "model_version"]
        assert answer["cluster"] == cluster
        assert answer["cluster_label"] == TEXTS[cluster]
        assert answer["distance_to_center"] == pytest.approx(distance, rel=1e-9)
        assert answer["model_version"] == f"v{versions[0]}"
