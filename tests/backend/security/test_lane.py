"""The short way lets nobody in whom the guard turns away; against a server of its own, since only it offers one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from sigap.keys import Keys
from sigap.settings import Settings
from tests.backend.bundles import BODY
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.test_memory import keep

RATE = 25


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lane")
    keep(folder, "education")
    return folder


@pytest.fixture(scope="module")
def keys(state: Path) -> dict[str, str]:
    store = Keys(Settings(state_dir=state))
    return {name: store.create(name, [name.partition("-")[0]]) for name in ("predict", "predict-busy", "admin")}


@pytest.fixture(scope="module")
def api(state: Path, keys: dict[str, str]) -> Iterator[httpx.Client]:
    assert keys
    port = free_port()
    env = {
        "SIGAP_STATE_DIR": str(state),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "SIGAP_PROTECT": "predict",
        "SIGAP_RATE_PER_KEY": str(RATE),
    }
    url = f"http://127.0.0.1:{port}"
    with process([sys.executable, "-m", "backend", "--port", str(port)], state / "api.log", **env):
        wait_for(lambda: httpx.get(f"{url}/health/ready").status_code == 200, "The API", 600)
        with httpx.Client(base_url=url, trust_env=False) as client:
            yield client


def token(api: httpx.Client, key: str) -> str:
    return str(api.post("/token", json={"api_key": key}).json()["access_token"])


def ask(api: httpx.Client, *headers: tuple[str, str]) -> httpx.Response:
    return api.post("/predict", json=BODY, headers=list(headers))


def bearer(value: str) -> tuple[str, str]:
    return "authorization", f"Bearer {value}"


def test_who_may_and_who_may_not(api: httpx.Client, keys: dict[str, str]) -> None:
    good, wrong = token(api, keys["predict"]), token(api, keys["admin"])
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode(claims, "k" * 32, "HS256")
    unsigned = jwt.encode(claims, None, "none")
    assert ask(api, bearer(good)).status_code == 200
    assert ask(api, bearer(good), ("x-forwarded-for", "10.0.0.1")).status_code == 200
    assert ask(api).status_code == 401
    assert ask(api, bearer(wrong)).status_code == 403
    assert ask(api, bearer(good), bearer(good)).status_code == 401
    for odd in (forged, unsigned, good[:-2], "x", "x" * 5000):
        assert ask(api, bearer(odd)).status_code == 401
    assert ask(api, ("authorization", f"Basic {good}")).status_code == 401
    assert api.post("/token/revoke", headers=[bearer(good)]).is_success
    refused = ask(api, bearer(good))
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"


def test_too_often_is_too_often(api: httpx.Client, keys: dict[str, str]) -> None:
    busy = bearer(token(api, keys["predict-busy"]))
    answers = [ask(api, busy) for _ in range(4 * RATE)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert answers[0].status_code == 200
    assert next(answer for answer in answers if answer.status_code == 429).headers["retry-after"] == "1"
    text = api.get("/metrics").text
    assert 'sigap_api_refused_total{reason="limit-rate"}' in text
