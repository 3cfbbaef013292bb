"""Starting and watching pipelines, against a stand-in that speaks as Mage does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app import create_app
from sigap.settings import Settings
from tests.backend.conftest import Client, Loop, free_port
from tests.backend.mage import BLOCKS, FakeMage, mage_standin
from tests.backend.security.conftest import Api, keys_of

RUNS = "/models/education/pipeline/runs"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path, mage_port=free_port(), MLFLOW_TRACKING_URI="http://127.0.0.1:9")


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with Loop() as runner:
        yield Api(settings, Client(create_app(settings), runner), keys_of(settings))


@pytest.fixture
def mage(settings: Settings) -> Iterator[FakeMage]:
    with mage_standin(settings) as fake:
        yield fake


def start(api: Api, **options: Any) -> Any:
    return api.client.post("/models/education/pipeline", headers=api.bearer("admin"), **options)


def test_a_run_is_started_and_its_blocks_are_followed(api: Api, mage: FakeMage) -> None:
    started = start(api)
    assert started.status_code == 200
    assert (started.json()["status"], started.json()["asked_by"]) == ("running", "api: admin")
    assert mage.runs[0]["variables"] == {"asked_by": "api: admin"}
    mage.step(1)
    told = api.client.get(f"{RUNS}/1").json()
    assert [each["block"] for each in told["blocks"]] == list(BLOCKS)
    assert [each["status"] for each in told["blocks"][:3]] == ["completed", "running", "initial"]
    assert told["blocks"][0]["ended_at"]
    assert (told["blocks_done"], told["blocks_total"]) == (1, 5)
    mage.step(1, fail="There is no table.")
    told = api.client.get(f"{RUNS}/1").json()
    assert told["status"] == "failed"
    assert told["blocks"][1]["error"] == "There is no table."
    (listed,) = api.client.get(RUNS).json()["runs"]
    assert (listed["run"], listed["status"]) == (1, "failed")
    assert mage.sessions == 1


def test_while_one_runs_another_is_refused_by_its_number(api: Api, mage: FakeMage) -> None:
    start(api)
    refused = start(api)
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["value"] == 1
    assert len(mage.runs) == 1
    for _ in BLOCKS:
        mage.step(1)
    assert start(api).json()["run"] == 2


def test_many_starts_at_once_start_one(settings: Settings, mage: FakeMage) -> None:
    from httpx import ASGITransport, AsyncClient

    keys = keys_of(settings)

    async def ask() -> list[int]:
        async with AsyncClient(transport=ASGITransport(application), base_url="http://api") as client:
            token = (await client.post("/token", json={"api_key": keys["admin"]})).json()["access_token"]
            headers = {"authorization": f"Bearer {token}"}
            sent = [client.post("/models/education/pipeline", headers=headers) for _ in range(6)]
            return [answer.status_code for answer in await asyncio.gather(*sent)]

    application = create_app(settings)
    with Loop() as runner:
        runner.applications.append(application)
        statuses = runner.run(ask())
    assert sorted(statuses) == [200, 409, 409, 409, 409, 409]
    assert len(mage.runs) == 1


def test_a_run_that_mage_has_lost_bars_nobody(api: Api, mage: FakeMage) -> None:
    mage.start("education", {}, age=4000)
    assert start(api).json()["run"] == 2
    assert mage.runs[0]["status"] == "cancelled"


def test_a_session_that_ended_is_opened_anew(api: Api, mage: FakeMage) -> None:
    api.client.get(RUNS)
    mage.expired = True
    assert api.client.get(RUNS).status_code == 200
    assert mage.sessions == 2


@pytest.mark.parametrize("run", ["0", "2", "x", "99999999999", "1%20"])
def test_a_run_that_there_is_not(api: Api, mage: FakeMage, run: str) -> None:
    mage.start("car_price", {})
    mage.start("car_price", {})
    assert api.client.get(f"{RUNS}/{run}").status_code == 404


def test_an_unknown_model_has_no_pipeline(api: Api, mage: FakeMage) -> None:
    assert api.client.get("/models/boats/pipeline/runs").status_code == 404
    answer = api.client.post("/models/boats/pipeline", headers=api.bearer("admin"))
    assert answer.status_code == 404
    assert mage.runs == []


def test_a_body_that_asks_for_more_is_refused(api: Api, mage: FakeMage) -> None:
    assert start(api, json={"version": "v1"}).status_code == 422
    assert start(api, json={"data_version": "v 1; x"}).status_code == 422
    assert mage.runs == []


def test_a_run_on_an_earlier_data_version(api: Api, mage: FakeMage) -> None:
    assert start(api, json={"data_version": "v1"}).status_code == 200
    assert mage.runs[0]["variables"] == {"asked_by": "api: admin", "data_version": "v1"}


def test_without_mage_the_answer_says_so_and_makes_up_no_password(api: Api, settings: Settings) -> None:
    answer = start(api)
    assert answer.status_code == 503
    assert "never started" in answer.json()["detail"]
    assert not (settings.state / "secrets" / "mage_password").exists()
    settings.secret("mage_password")
    assert "can't be reached" in start(api).json()["detail"]
    assert api.client.get(RUNS).headers["retry-after"] == "5"


def test_a_mage_that_answers_late_is_not_called_away(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.secret("mage_password")
    monkeypatch.setattr("backend.mage.TIMEOUT", httpx.Timeout(0.3))
    # Connections are taken, and nobody reads them.
    with socket.create_server((settings.host, settings.mage_port)):
        answer = api.client.get(RUNS)
    assert answer.status_code == 503
    assert "did not answer in time; it may be busy" in answer.json()["detail"]


@pytest.mark.parametrize("fault", ["broken", "password"])
def test_a_mage_that_makes_no_sense_is_away(api: Api, mage: FakeMage, fault: str) -> None:
    if fault == "broken":
        mage.broken = True
    else:
        mage.password = "another"
    answer = api.client.get(RUNS)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
