"""How often and how many at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from backend.security.access import Access
from backend.security.guard import Guard, Security
from backend.security.limits import Buckets, address
from tests.backend.security.conftest import Api, problem, settings


def test_a_bucket_gives_its_size_at_once_and_then_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("backend.security.limits.time.monotonic", lambda: now[0])
    buckets = Buckets(10, 5)
    assert [buckets.take("a") for _ in range(5)] == [0] * 5
    assert buckets.take("a") == pytest.approx(0.1, rel=1e-3)
    assert buckets.wait("a") == pytest.approx(0.1, rel=1e-3)
    assert buckets.take("b") == 0
    given = 0
    for _ in range(1000):  # ten seconds
        now[0] += 0.01
        given += buckets.take("a") == 0
    assert 99 <= given <= 100
    now[0] += 3600
    assert [buckets.take("a") == 0 for _ in range(6)] == [True] * 5 + [False]


def test_buckets_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.security.limits._REMEMBERED", 100)
    buckets = Buckets(0.001, 1)
    for number in range(1000):
        buckets.take(str(number))
    assert len(buckets._full_at) <= 100


def test_an_ipv6_network_is_one_caller() -> None:
    assert address(("2001:db8:1:2::1", 1)) == address(("2001:db8:1:2:ffff::9", 2)) != address(("2001:db8:1:3::1", 1))
    assert address(("10.0.0.1", 1)) != address(("10.0.0.2", 1))
    assert address(("fe80::1%eth0", 1)).startswith("@fe80")
    assert address(None)
    assert address(("not:an:address", 1))


def test_too_often_of_one_key_is_429_and_others_go_on(start: Any) -> None:
    api: Api = start(rate_per_key=3)
    mine, yours = api.bearer("predict"), api.bearer("admin")
    answers = [api.client.get("/models", headers=mine) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert problem(refused, 429)["type"] == "urn:sigap:problem:limit-rate"
    assert refused.headers["retry-after"] == "1"
    assert api.client.get("/models", headers=yours).status_code == 200
    # Liveness is never refused, and metrics count what was.
    for _ in range(10):
        assert api.client.get("/health/live", headers=mine).status_code == 200
    assert 'sigap_api_refused_total{reason="limit-rate"}' in api.client.get("/metrics", headers=yours).text


def test_too_often_in_all_is_503(start: Any) -> None:
    api: Api = start(rate_in_all=2)
    answers = [api.client.get("/models") for _ in range(5)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    for answer in refused:
        problem(answer, 503)
        assert answer.headers["retry-after"]


class Held:
    """A guard before an application that answers when told to."""

    def __init__(self, folder: Any, **given: Any) -> None:
        found = settings(folder, **given)
        app = FastAPI()
        for path in ("/predict", "/predict-file"):
            app.add_api_route(path, lambda: None, methods=["POST"], tags=["predict"])
        app.add_api_route("/health/live", lambda: None)
        self.released = asyncio.Event()
        self.guard = Guard(self.answer, Security(found, Access(app, "admin"), CollectorRegistry()))

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        await self.released.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, path: str, client: str = "10.0.0.1", body: Any = None, length: int = 1) -> tuple[int, Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"x", "more_body": False}

        headers = [(b"content-length", str(length).encode())]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": (client, 1)}
        if path == "/health/live":
            scope["method"] = "GET"
        await self.guard(scope, body or receive, send)
        return sent[0]["status"], dict(sent[0]["headers"])


def test_too_many_at_once_of_one_caller_and_in_all(tmp_path: Any) -> None:
    async def run() -> None:
        held = Held(tmp_path, concurrent_per_key=3, concurrent_in_all=5)
        first = [asyncio.create_task(held.ask("/predict")) for _ in range(3)]
        await asyncio.sleep(0)
        status, headers = await held.ask("/predict")
        assert (status, headers[b"retry-after"]) == (429, b"1")
        second = [asyncio.create_task(held.ask("/predict", "10.0.0.2")) for _ in range(2)]
        await asyncio.sleep(0)
        status, headers = await held.ask("/predict", "10.0.0.3")
        assert (status, headers[b"retry-after"]) == (503, b"1")
        held.released.set()
        assert {(await task)[0] for task in first + second} == {204}
        # All places are free again.
        assert {(await held.ask("/predict"))[0] for _ in range(20)} == {204}

    asyncio.run(run())


def test_uploads_have_places_of_their_own(tmp_path: Any) -> None:
    async def run() -> None:
        held = Held(tmp_path, concurrent_uploads=4)
        uploads = [asyncio.create_task(held.ask("/predict-file", f"10.0.0.{n // 2}")) for n in range(4)]
        await asyncio.sleep(0)
        assert (await held.ask("/predict-file", "10.0.0.0"))[0] == 429
        assert (await held.ask("/predict-file", "10.0.0.9"))[0] == 503
        prediction = asyncio.create_task(held.ask("/predict"))
        held.released.set()
        assert (await prediction)[0] == 204
        assert {(await task)[0] for task in uploads} == {204}

    asyncio.run(run())


def test_who_drips_a_body_takes_no_place(tmp_path: Any) -> None:
    async def run() -> None:
        held = Held(tmp_path, concurrent_per_key=2, concurrent_in_all=2, body_seconds=0.2)
        held.released.set()

        async def dripping() -> Any:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        slow = [asyncio.create_task(held.ask("/predict", body=dripping, length=60000)) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert (await held.ask("/predict"))[0] == 204
        assert {(await task)[0] for task in slow} == {408}

    asyncio.run(run())


def test_places_are_given_back_when_the_application_fails_or_is_cancelled(tmp_path: Any) -> None:
    async def run() -> None:
        held = Held(tmp_path, concurrent_per_key=1)
        task = asyncio.create_task(held.ask("/predict"))
        await asyncio.sleep(0)
        assert (await held.ask("/predict"))[0] == 429
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        held.released.set()
        assert (await held.ask("/predict"))[0] == 204

    asyncio.run(run())
