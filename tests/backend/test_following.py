"""The API beside a real MLflow server: it follows the alias, refuses what was altered, and outlives the registry."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from sigap.bundle import MANIFEST, MEMBERS, TAG_BUNDLE_RUN
from sigap.bundle import MODEL as MODEL_FILE
from sigap.settings import Settings
from tests.backend.bundles import BODY, CENTERS, TEXTS, expected, write_bundle
from tests.backend.conftest import MODEL, Api, MlflowServer, Relay, free_port, process, wait_for

StartApi = Callable[..., Api]
Centers = tuple[np.ndarray, ...]

FORBIDDEN = ("sklearn", "pandas", "mlflow", "mage_ai", "scipy", "matplotlib", "dvc", "sigap.training", "sigap.registry")
SERVER = """
import sys, threading, time, httpx, uvicorn
server = uvicorn.Server(uvicorn.Config("backend.app:app", port=int(sys.argv[1]), log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.05)
answer = httpx.post(f"http://127.0.0.1:{sys.argv[1]}/predict", content=sys.argv[2])
server.should_exit = True
thread.join()
print(answer.status_code, *sys.modules, file=open(sys.argv[3], "w"))
"""


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
    for path in ("/predict", "/models/education/predict"):
        response = httpx.post(f"{api.url}{path}", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 200
        answer = response.json()
        assert list(answer)[:4] == ["cluster", "cluster_label", "distance_to_center", "model_version"]
        assert answer["cluster"] == cluster
        assert answer["cluster_label"] == TEXTS[cluster]
        assert answer["distance_to_center"] == pytest.approx(distance, rel=1e-9)
        assert answer["model_version"] == f"v{versions[0]}"


def test_a_moved_alias_is_followed_and_followed_back(
    mlflow_server: MlflowServer, versions: tuple[str, ...], centers: Centers, start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], "moved")
    api = start_api(mlflow_server.uri, "moved")
    first = api.predict(BODY)
    for number in (1, 2, 0):
        mlflow_server.point(versions[number], "moved")
        wait_for(lambda number=number: api.serves(versions[number]), "The new champion")
        answer = api.predict(BODY).json()
        assert answer["distance_to_center"] == pytest.approx(expected(BODY, centers[number])[1], rel=1e-9)
        assert answer["data_version"] == f"d{number + 1}"
        detail = api.get("/models/education").json()
        assert (detail["model_version"], detail["data"]["version"]) == (f"v{versions[number]}", f"d{number + 1}")
    assert api.predict(BODY).content == first.content
    assert "sigap_api_model_loads_total{" in api.get("/metrics").text


def test_by_default_the_registry_is_asked_often_enough_for_two_seconds() -> None:
    assert Settings().follow_seconds <= 1


def test_an_alias_that_comes_later_is_found(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi
) -> None:
    api = start_api(mlflow_server.uri, "later")
    answer = api.predict(BODY)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "No version of education has the alias 'later'" in answer.json()["detail"]
    assert "./run pipeline education" in answer.json()["detail"]
    assert api.get("/health/ready").status_code == 503
    assert api.get("/health").json()["status"] == "unavailable"
    assert api.get("/health").json()["dependencies"]["registry"]["status"] == "up"
    mlflow_server.point(versions[0], "later")
    wait_for(lambda: api.serves(versions[0]), "The first champion")
    assert api.get("/health/ready").status_code == 200
    assert api.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("name", [MANIFEST, MODEL_FILE, MEMBERS])
def test_an_altered_bundle_is_refused_and_the_old_one_stays(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi, tmp_path: Path, name: str
) -> None:
    alias = f"altered-{name.split('.')[0]}"
    sha256 = write_bundle(tmp_path / "bundle", CENTERS + 0.1)
    version = mlflow_server.register(tmp_path / "bundle", sha256, MODEL)
    altered = mlflow_server.artifact(version, name)
    content = bytearray(altered.read_bytes())
    content[len(content) // 2] ^= 1
    altered.write_bytes(content)

    mlflow_server.point(versions[0], alias)
    api = start_api(mlflow_server.uri, alias)
    before = api.predict(BODY).content
    mlflow_server.point(version, alias)
    wait_for(lambda: api.get("/health").json()["models"][MODEL]["fault"] is not None, "The refusal")
    health = api.get("/health").json()
    assert health["status"] == "degraded"
    assert "registered" in health["models"][MODEL]["fault"]
    assert 'sigap_api_follow_faults_total{kind="bundle",model="education"}' in api.get("/metrics").text
    assert api.predict(BODY).content == before
    assert api.get("/health/ready").status_code == 200
    # The way on is a version that is in order.
    mlflow_server.point(versions[1], alias)
    wait_for(lambda: api.serves(versions[1]), "The next champion")
    assert api.get("/health").json()["status"] == "ok"


def test_a_version_without_a_bundle_is_refused_with_a_remedy(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi, tmp_path: Path
) -> None:
    sha256 = write_bundle(tmp_path / "bundle")
    bare = mlflow_server.register(tmp_path / "bundle", sha256, MODEL)
    mlflow_server.client.delete_model_version_tag(MODEL, bare, TAG_BUNDLE_RUN)
    mlflow_server.point(versions[0], "bare")
    api = start_api(mlflow_server.uri, "bare")
    mlflow_server.point(bare, "bare")
    wait_for(lambda: api.get("/health/ready").json()["models"][MODEL]["reason"] is not None, "The refusal")
    reason = api.get("/health/ready").json()["models"][MODEL]["reason"]
    assert f"Version {bare} of education was registered without a serving bundle" in reason
    assert "./run pipeline education" in reason
    assert api.predict(BODY).json()["model_version"] == f"v{versions[0]}"


def test_a_bundle_that_fails_its_own_example_is_refused(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi, tmp_path: Path
) -> None:
    example = {"request": BODY, "cluster": 0, "distance_to_center": 0.1}
    sha256 = write_bundle(tmp_path / "bundle", example=example)
    version = mlflow_server.register(tmp_path / "bundle", sha256, MODEL)
    mlflow_server.point(versions[0], "example")
    api = start_api(mlflow_server.uri, "example")
    mlflow_server.point(version, "example")
    wait_for(lambda: api.get("/health/ready").json()["models"][MODEL]["reason"] is not None, "The refusal")
    assert "its own example" in api.get("/health/ready").json()["models"][MODEL]["reason"]
    assert api.predict(BODY).json()["model_version"] == f"v{versions[0]}"


def test_the_registry_may_go_and_come_back(
    versions: tuple[str, ...], mlflow_server: MlflowServer, relay: Relay, start_api: StartApi, tmp_path: Path
) -> None:
    mlflow_server.point(versions[0], "gone")
    running = start_api(relay.uri, "gone", tmp_path / "state")
    answer = running.predict(BODY).content
    relay.cut()
    wait_for(lambda: running.get("/health").json()["dependencies"]["registry"]["status"] == "down", "The loss")
    assert running.predict(BODY).content == answer
    assert running.get("/health/ready").status_code == 200
    assert running.get("/health").json()["status"] == "degraded"

    started_without = start_api(relay.uri, "gone", tmp_path / "state")
    assert started_without.predict(BODY).content == answer
    ready = started_without.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["models"][MODEL]["loaded_from"] == "disk"
    assert "can't be reached" in ready.json()["models"][MODEL]["reason"]

    nothing = start_api(relay.uri, "gone", tmp_path / "empty")
    refusal = nothing.predict(BODY)
    assert refusal.status_code == 503
    assert "can't be reached" in refusal.json()["detail"]
    assert "./run pipeline education" in refusal.json()["detail"]
    assert nothing.get("/health/live").status_code == 200
    assert nothing.get("/health/ready").status_code == 503

    mlflow_server.point(versions[1], "gone")
    relay.start()
    for api in (running, started_without, nothing):
        wait_for(lambda api=api: api.serves(versions[1]), "The return")
        assert api.get("/health").json()["status"] == "ok"


def test_a_registry_that_falls_silent_holds_up_no_request(
    versions: tuple[str, ...], mlflow_server: MlflowServer, relay: Relay, start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], "silent")
    api = start_api(relay.uri, "silent")
    relay.silent = True
    wait_for(lambda: api.get("/health").json()["dependencies"]["registry"]["status"] == "down", "The loss")
    assert "ReadTimeout" in api.get("/health").json()["dependencies"]["registry"]["fault"]
    assert api.predict(BODY).json()["model_version"] == f"v{versions[0]}"
    started_meanwhile = start_api(relay.uri, "silent")
    assert started_meanwhile.predict(BODY).json()["model_version"] == f"v{versions[0]}"


def test_an_alias_that_is_taken_away_leaves_the_last_champion_in_service(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], "taken")
    api = start_api(mlflow_server.uri, "taken")
    answer = api.predict(BODY).content
    mlflow_server.client.delete_registered_model_alias(MODEL, "taken")
    wait_for(lambda: api.get("/health").json()["status"] == "degraded", "The loss")
    for each in (api, start_api(mlflow_server.uri, "taken")):
        assert each.predict(BODY).content == answer
        assert "has the alias 'taken'" in each.get("/health/ready").json()["models"][MODEL]["reason"]


def test_a_body_far_over_the_limit_is_answered_by_the_real_server_too(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], "huge")
    api = start_api(mlflow_server.uri, "huge")
    for size in (100_000, 10_000_000):
        response = httpx.post(f"{api.url}/predict", content=b"[" * size)
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
    assert api.predict(BODY).status_code == 200


def test_a_kept_bundle_that_was_altered_is_fetched_anew(
    mlflow_server: MlflowServer, versions: tuple[str, ...], start_api: StartApi, tmp_path: Path
) -> None:
    mlflow_server.point(versions[0], "kept")
    state = tmp_path / "state"
    before = start_api(mlflow_server.uri, "kept", state).predict(BODY).content
    for kept in state.glob(f"api/{MODEL}/v*/{MODEL_FILE}"):
        kept.write_bytes(b"altered")
    assert start_api(mlflow_server.uri, "kept", state).predict(BODY).content == before
    # Without a registry to fetch it from, an altered bundle is not served.
    for kept in state.glob(f"api/{MODEL}/v*/{MODEL_FILE}"):
        kept.write_bytes(b"altered")
    assert start_api("http://127.0.0.1:1", "kept", state).predict(BODY).status_code == 503


def test_the_process_holds_no_training_library(
    mlflow_server: MlflowServer, versions: tuple[str, ...], tmp_path: Path
) -> None:
    mlflow_server.point(versions[0], "slim")
    script, out = tmp_path / "serve.py", tmp_path / "modules"
    script.write_text(SERVER)
    env = {"MLFLOW_TRACKING_URI": mlflow_server.uri, "SIGAP_SERVED_ALIAS": "slim", "PYTHONPATH": "."}
    env["SIGAP_STATE_DIR"] = str(tmp_path / "state")
    command = [sys.executable, str(script), str(free_port()), json.dumps(BODY), str(out)]
    with process(command, tmp_path / "log", **env) as started:
        assert started.wait(600) == 0, (tmp_path / "log").read_text()
    status, *modules = out.read_text().split()
    assert status == "200"
    assert "onnxruntime" in modules
    assert [name for name in modules if name.startswith(FORBIDDEN)] == []


def test_fifty_new_champions_under_load_fail_no_request_and_mix_no_answer(
    mlflow_server: MlflowServer, versions: tuple[str, ...], centers: Centers, start_api: StartApi
) -> None:
    mlflow_server.point(versions[0], "load")
    api = start_api(mlflow_server.uri, "load", SIGAP_FOLLOW_SECONDS="0.02")
    right = {
        f"v{version}": (f"d{number + 1}", *expected(BODY, centers[number])) for number, version in enumerate(versions)
    }
    answers: list[tuple[int, bytes]] = []
    swapped: list[str] = []

    async def ask(client: httpx.AsyncClient, done: asyncio.Event) -> None:
        while not done.is_set():
            response = await client.post(f"{api.url}/predict", json=BODY)
            answers.append((response.status_code, response.content))
            await asyncio.sleep(0.002)

    def swap() -> None:
        for number in range(50):
            version = versions[(number + 1) % 3]
            mlflow_server.point(version, "load")
            wait_for(lambda version=version: api.serves(version), "The swap")
            swapped.append(version)

    async def run() -> None:
        done = asyncio.Event()
        async with httpx.AsyncClient(trust_env=False) as client:
            askers = [asyncio.create_task(ask(client, done)) for _ in range(4)]
            try:
                await asyncio.to_thread(swap)
            finally:
                done.set()
            await asyncio.gather(*askers)

    asyncio.run(run())
    assert len(swapped) == 50
    assert {status for status, _ in answers} == {200}
    seen = set()
    for _, content in answers:
        answer = json.loads(content)
        data_version, cluster, distance = right[answer["model_version"]]
        assert (answer["data_version"], answer["cluster"]) == (data_version, cluster)
        assert answer["distance_to_center"] == pytest.approx(distance, rel=1e-9)
        seen.add(answer["model_version"])
    assert seen == set(right)
    print(f"{len(answers)} answers over 50 swaps")


def test_bundles_on_disk_do_not_pile_up(mlflow_server: MlflowServer, start_api: StartApi, tmp_path: Path) -> None:
    api = None
    for number in range(7):
        shutil.rmtree(tmp_path / "bundle", ignore_errors=True)
        sha256 = write_bundle(tmp_path / "bundle", CENTERS - number / 10)
        version = mlflow_server.register(tmp_path / "bundle", sha256, MODEL)
        mlflow_server.point(version, "pile")
        api = api or start_api(mlflow_server.uri, "pile")
        wait_for(lambda version=version, api=api: api.serves(version), "The champion")
    assert api is not None
    kept = api.state / "api" / MODEL
    wait_for(lambda: len(list(kept.glob("v*"))) == 5, "The pruning")
    assert not list(kept.glob(".draft*"))
