"""Bodies that are too long or too slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from backend.security.body import DRAINED_BYTES
from tests.backend.security.conftest import Api, problem

FILE = "/models/education/predict-file"
BATCH = "/models/education/predict-batch"
FORM = {"content-type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'


@pytest.mark.parametrize("path", ["/predict", FILE, BATCH])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_while_it_streams(start: Any, path: str, chunked: bool) -> None:
    api: Api = start(max_body_bytes=4096, max_file_bytes=65536)
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        if path == FILE:
            yield PART
        while True:
            taken += 8192
            yield b"x" * 8192

    if chunked:
        headers = FORM if path == FILE else {}
        answer = api.client.post(path, content=chunks(), headers=headers)
        # It has no end, and is not read to its end.
        assert taken <= DRAINED_BYTES + 2 * 8192
    else:
        answer = api.client.post(path, content=b"x" * 70_000)
    told = problem(answer, 413)
    assert told["type"] == "urn:sigap:problem:body-too-large"
    assert ("4096" if path == "/predict" else "65536") in told["detail"]
    assert answer.headers["connection"] == "close"


def test_who_waits_for_leave_to_send_is_refused_before(start: Any) -> None:
    api: Api = start(max_body_bytes=4096)

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    headers = {"expect": "100-continue", "content-length": "100000"}
    problem(api.client.post("/predict", content=never(), headers=headers), 413)


@pytest.mark.parametrize("path", ["/predict", FILE, BATCH, "/token"])
def test_a_body_that_stands_still_is_not_waited_for(start: Any, path: str) -> None:
    api: Api = start(body_seconds=0.1)

    async def chunks() -> AsyncIterator[bytes]:
        yield PART if path == FILE else b"["
        await asyncio.sleep(60)

    headers = FORM if path == FILE else {}
    told = problem(api.client.post(path, content=chunks(), headers=headers), 408)
    assert told["type"] == "urn:sigap:problem:slow-body"


def test_a_client_that_goes_away_is_no_fault_of_ours(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    api: Api = start()
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        app = api.client._client._transport.app  # type: ignore[attr-defined]
        headers = [(b"content-length", b"100")]
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "query_string": b""}
        await app({**scope, "client": ("10.0.0.1", 1), "root_path": ""}, receive, send)

    api.client._runner.run(run())
    assert sent[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_an_outer_cancellation_is_none_of_the_bodys(start: Any) -> None:
    api: Api = start(body_seconds=30)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await api.client._client.post("/predict", content=chunks())

    api.client._runner.run(run())


def test_pages_of_named_origins_may_call(start: Any) -> None:
    api: Api = start(cors_origins="https://app.example.org, https://b.example.org", protect="predict")
    asked = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "authorization,content-type"
    preflight = api.client.request("OPTIONS", "/predict", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example.org"
    # A refusal can be read by the page as well.
    refused = api.client.post("/predict", json={}, headers={"origin": "https://b.example.org"})
    problem(refused, 401)
    assert refused.headers["access-control-allow-origin"] == "https://b.example.org"
    assert "access-control-allow-credentials" not in refused.headers
    foreign = api.client.request("OPTIONS", "/predict", headers={**asked, "origin": "https://evil.example.org"})
    assert foreign.status_code == 400
    assert "access-control-allow-origin" not in foreign.headers


def test_without_the_setting_no_foreign_page_may(start: Any) -> None:
    answer: httpx.Response = start().client.get("/models", headers={"origin": "https://app.example.org"})
    assert "access-control-allow-origin" not in answer.headers
