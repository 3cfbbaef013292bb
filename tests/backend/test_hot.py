"""The hot path is quicker and otherwise no different: same status, same headers, same JSON as the slow one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.app import create_app
from backend.hot import Hot, HotRoutes, Reader
from backend.personal import kept_answer
from backend.requests import Validator, documented_example
from backend.served import load
from sigap.catalog import Declaration, Feature, Kind
from sigap.settings import Settings
from tests.backend.bundles import EDUCATION, write_bundle
from tests.backend.task_bundles import FIVE, write_task_bundle

ROWS = tuple(each for each in (EDUCATION, *FIVE) if each.task.kind != "forecasting")
PATHS = {each.name: f"/models/{each.name}/predict" for each in ROWS}


class Whole:
    """Hands a body on in one piece, as a server does with a short one; httpx's transport cuts it in two."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        messages = iter([{"type": "http.request", "body": body}])

        async def again() -> Any:
            return next(messages, None) or await receive()

        await self._app(scope, again, send)


def client_of(application: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api", trust_env=False)


class Both:
    """One application, asked with its hot path and without it."""

    def __init__(self, application: FastAPI, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.service = application.state.service
        self.hot = client_of(Whole(application))
        with mock.patch("backend.app.HotRoutes", lambda app, hot: app):
            slow = create_app(
                self.service.settings, tuple(each.declaration for each in self.service.followers.values())
            )
        for name, follower in slow.state.service.followers.items():
            follower.served = self.service.followers[name].served
        self.slow = client_of(Whole(slow))
        self.slow_service = slow.state.service

    def ask(self, client: httpx.AsyncClient, path: str, body: bytes) -> httpx.Response:
        return self._runner.run(client.post(path, content=body, headers={"x-request-id": "same"}))

    def same(self, path: str, body: bytes) -> httpx.Response:
        """The answer, after both paths gave the same one."""
        hot, slow = self.ask(self.hot, path, body), self.ask(self.slow, path, body)
        assert hot.status_code == slow.status_code, (body, hot.text, slow.text)
        lengths = {"content-length": None}
        assert {**hot.headers, **lengths} == {**slow.headers, **lengths}
        assert int(hot.headers["content-length"]) == len(hot.content)
        assert _exact(hot.content) == _exact(slow.content), body
        return hot


def _exact(content: bytes) -> Any:
    """The JSON with its order, -0 and every digit."""
    return json.loads(content, parse_float=lambda text: repr(float(text)), object_pairs_hook=list)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("hot")
    application = create_app(Settings(state_dir=folder / "state", MLFLOW_TRACKING_URI="http://127.0.0.1:9"), ROWS)
    for model in ROWS:
        path = folder / model.name
        sha256 = write_bundle(path) if model is EDUCATION else write_task_bundle(path, model, unseen="Lawyer")
        application.state.service.followers[model.name].served = load(
            path, model, Validator(model), version="3", manifest_sha256=sha256, origin="registry"
        )
    with asyncio.Runner() as runner:
        yield Both(application, runner)


def _values(feature: Feature) -> st.SearchStrategy[str]:
    """JSON texts of a feature's values: ordinary ones, odd ones and wrong ones."""
    low, high = feature.minimum or 0.0, feature.maximum if feature.maximum is not None else 1e6
    if feature.categories:
        right = st.sampled_from(feature.categories).flatmap(
            lambda name: st.sampled_from([name, name, name, name.upper(), name.lower(), f" {name} ", name[:-1]])
        )
        return right.map(json.dumps)
    numbers = st.integers(int(low), int(high)).flatmap(
        lambda whole: st.sampled_from([f"{whole}", f"{whole}.0", f"{whole}e0", f"{whole / 10}e1", f"{whole}.50"])
    )
    return st.one_of(numbers, numbers, st.floats(low, high).map(repr), st.floats().map(json.dumps))


ODD = st.sampled_from(
    ["null", "null", "1e2", "-0", "-0.0", "0e999", "1e999", "-1e999", "NaN", "Infinity", "01", "+1", ".5", "1.", "true",
     '"1"', '""', '"\\u0041"', '"\u00e9"', "[]", "{}", "[1]", '{"a":1}', "9" * 30, "9" * 400, "1" * 5000,
     "1.0000000000000001", "5e-324", "2e-400", "9007199254740993", '"Male\\n"', '"P31\\n"', '"P31\x7f"', "nul", ""]
)  # fmt: skip
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t\r\n", "\x0c", "\u00a0"])


@st.composite
def bodies(draw: st.DrawFn, model: Declaration) -> bytes:
    """Bodies of requests: most are nearly right."""
    example = documented_example(model)
    odd = draw(st.sets(st.sampled_from(sorted(example)), max_size=2))
    entries = []
    for name in draw(st.permutations(sorted(example))) if draw(st.booleans()) else example:
        if name in odd:
            text = draw(ODD)
        elif name in model.request_columns:
            text = draw(st.sampled_from(['"P31"', '"P3101"', '"P3"', "null", '"p31"']))
        else:
            text = draw(_values(model.feature(name)))
        entries.append((name, text))
    change = draw(st.sampled_from(["none"] * 6 + ["twice", "twice", "without", "unknown", "escaped", "cased"]))
    name, text = draw(st.sampled_from(entries))
    if change == "twice":
        entries.append((name, draw(st.sampled_from([text, "null", '"x"', "1"]))))
    elif change == "without":
        entries.remove((name, text))
    elif change == "unknown":
        entries.append((draw(st.sampled_from(["x", "", name + " ", name.swapcase(), "é"])), "1"))
    space = draw(SPACE)
    fields = [f'"{key}"{space}:{space}{value}' for key, value in entries]
    if change == "escaped":
        fields[0] = fields[0].replace(entries[0][0][0], f"\\u{ord(entries[0][0][0]):04x}", 1)
    end = draw(st.sampled_from([""] * 8 + [",", "}", "x", "\x00", "//"]))
    return (f"{space}{{{','.join(fields)}}}{space}" + end).encode()


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.name)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_whatever_is_sent_both_paths_answer_the_same(both: Both, model: Declaration, data: st.DataObject) -> None:
    both.same(PATHS[model.name], data.draw(bodies(model)))


@given(body=st.one_of(st.binary(max_size=200), st.text(max_size=80).map(str.encode)))
@settings(max_examples=100, deadline=None)
def test_bytes_of_any_kind_get_the_same_answer(both: Both, body: bytes) -> None:
    both.same(PATHS["education"], body)


class Rest:
    """Stands behind the hot path and counts what is handed on, with its body."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def statuses(both: Both, model: Declaration, *contents: Any) -> list[int]:
    """What the hot path alone answers: 200, or 418 for what it hands on unchanged."""
    rest, kept = Rest(), []
    path = PATHS[model.name]
    routes = HotRoutes(rest, Hot({path: both.service.followers[model.name]}, both.service.metrics, kept.append))
    with asyncio.Runner() as runner:
        client = client_of(Whole(routes) if all(isinstance(content, bytes) for content in contents) else routes)
        answers = [runner.run(client.post(path, content=content)) for content in contents]
    found = [answer.status_code for answer in answers]
    assert len(kept) == found.count(200)
    if all(isinstance(content, bytes) for content in contents):
        assert rest.bodies == [content for content, status in zip(contents, found, strict=True) if status == 418]
    return found


def _json(values: dict[str, Any], **options: Any) -> bytes:
    return json.dumps(values, **options).encode()


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.name)
def test_ordinary_requests_take_it(both: Both, model: Declaration) -> None:
    example = documented_example(model)
    numbers = [feature.name for feature in model.features if feature.kind is Kind.NUMBER]
    nullable = [feature.name for feature in model.features if feature.name not in model.request_columns]
    needed = both.service.followers[model.name].served.predictor.needed
    bodies = [
        _json(example),
        _json(dict(model.example)),
        _json({name: value.upper() if isinstance(value, str) else value for name, value in example.items()}),
        _json(example, indent=2),
        _json(example, separators=(",", ":")),
        _json(dict(reversed(example.items()))),
        _json(example | {name: float(example[name]) for name in numbers}),
        *(_json(example | {name: None}) for name in nullable if name not in needed),
    ]
    assert statuses(both, model, *bodies) == [200] * len(bodies)


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.name)
def test_unusual_requests_are_handed_on_unchanged(both: Both, model: Declaration) -> None:
    example = documented_example(model)
    name, value = next(iter(example.items()))
    bodies = [
        b"",
        b"{}",
        b"[]",
        _json(example)[:-1],
        _json(example)[:-1] + b',"x":1}',
        _json(example)[:-1] + f",{json.dumps(name)}:{json.dumps(value)}}}".encode(),
        _json(example | {model.features[0].name: "\u00e9"}, ensure_ascii=False),
        _json(example).replace(b'"', b'"\\u0041', 1),
    ]
    assert statuses(both, model, *bodies) == [418] * len(bodies)


def test_a_body_in_pieces_or_without_a_model_is_handed_on(both: Both) -> None:
    example = _json(documented_example(EDUCATION))

    async def pieces() -> Any:
        yield example[:40]
        yield example[40:]

    assert statuses(both, EDUCATION, pieces()) == [418]
    follower = both.service.followers["education"]
    served, follower.served = follower.served, None
    try:
        assert statuses(both, EDUCATION, example) == [418]
    finally:
        follower.served = served


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.name)
def test_both_paths_count_and_keep_the_same(both: Both, model: Declaration, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, list[Any]] = {"hot": [], "slow": []}
    body = _json(documented_example(model))
    followers = {PATHS[model.name]: both.service.followers[model.name]}
    routes = HotRoutes(Rest(), Hot(followers, both.service.metrics, kept["hot"].append))
    with asyncio.Runner() as runner:
        runner.run(client_of(Whole(routes)).post(PATHS[model.name], content=body))
    monkeypatch.setattr(both.slow_service.log, "put", kept["slow"].append)
    both.ask(both.slow, PATHS[model.name], body)
    (hot,), (slow,) = kept["hot"], kept["slow"]
    same = {"at": 0.0, "latency": 0.0, "request_id": "", "text": b""}
    hot_kept, slow_kept = (each._replace(**same, answer=kept_answer(each.answer)) for each in (hot, slow))
    assert hot_kept == slow_kept
    assert {name: type(value) for name, value in hot.fields.items()} == {
        name: type(value) for name, value in slow.fields.items()
    }


def _counts(both: Both, hot: bool) -> list[str]:
    text = (both.service if hot else both.slow_service).metrics.text().decode()
    names = ("sigap_api_predictions_total", "sigap_api_requests_total", "sigap_api_request_seconds_count")
    return [line for line in text.splitlines() if line.startswith(names)]


def test_metrics_call_it_as_they_call_the_slow_one(both: Both) -> None:
    body = _json(documented_example(EDUCATION))
    before = _counts(both, hot=True)
    assert both.ask(both.hot, "/predict", body).status_code == 200
    both.ask(both.slow, "/predict", body)
    for hot in (True, False):
        assert [line for line in _counts(both, hot) if 'route="/predict",status="200"' in line], hot
    assert _counts(both, hot=True) != before


@pytest.mark.parametrize("name", ["1e2", "92.0", "-0", "9" * 30])
def test_a_number_reads_as_the_validator_reads_it(name: str) -> None:
    body = _json(documented_example(EDUCATION) | {"angka_melek_huruf": 0}).replace(b": 0", b": " + name.encode())
    read = Reader(EDUCATION)(body)
    assert read is None or repr(read["angka_melek_huruf"]) == repr(float(json.loads(name)))
