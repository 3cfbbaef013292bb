"""What became of predictions, sent to the real application beside a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app import create_app
from backend.outcome_items import reader
from backend.requests import Validator
from backend.served import load
from sigap.catalog import declaration, declarations
from sigap.catalog.declaration import Clustering
from sigap.settings import Settings
from tests.backend.task_bundles import write_task_bundle
from tests.backend.test_prediction_log import application_key, until

CAR = declaration("car_price")
LOAN = declaration("loan_approval")


@dataclass
class Desk:
    """The application over HTTP, and its database."""

    api: httpx.AsyncClient
    service: Any
    url: str

    async def predict(self, model: str, request_id: str, path: str = "predict", body: Any = None) -> httpx.Response:
        body = declaration(model).example if body is None else body
        answer = await self.api.post(f"/models/{model}/{path}", json=body, headers={"x-request-id": request_id})
        assert answer.status_code == 200, answer.text
        await until(lambda: not self.service.log, "The writing")
        return answer

    async def tell(self, model: str, *outcomes: Any, **options: Any) -> dict[str, Any]:
        answer = await self.api.post(f"/models/{model}/outcomes", json={"outcomes": list(outcomes)}, **options)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def do(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)

    def rows(self, query: str = "SELECT value FROM outcomes ORDER BY id") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()


Visit = Callable[[Desk], Awaitable[None]]


@pytest.fixture
def visit(seeded_database: str, tmp_path: Path) -> Callable[[Visit], None]:
    """Runs what is done at the desk of an API that serves a car and a loan model."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Desk]:
        settings = Settings(state_dir=tmp_path, DATABASE_URL=seeded_database, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
        application = create_app(settings)
        service = application.state.service
        transport = httpx.ASGITransport(application)
        async with service.lifespan(application), httpx.AsyncClient(transport=transport, base_url="http://api") as api:
            for each in (CAR, LOAN):
                folder = tmp_path / each.name
                sha256 = write_task_bundle(folder, each)
                served = load(folder, each, Validator(each), version="3", manifest_sha256=sha256, origin="registry")
                service.followers[each.name].served = served
            yield Desk(api, service, seeded_database)

    def run(what: Visit) -> None:
        async def whole() -> None:
            async with opened() as desk:
                await what(desk)

        asyncio.run(whole())

    return run


def test_the_same_outcome_twice_is_the_same_and_another_is_a_conflict(visit: Callable[[Visit], None]) -> None:
    async def work(desk: Desk) -> None:
        await desk.predict("car_price", "c-1")
        first = await desk.tell("car_price", {"request_id": "c-1", "outcome": 9500})
        [told] = first["outcomes"]
        assert (told["status"], told["outcome"], told["model_version"]) == ("recorded", 9500, "v3")
        assert await desk.tell("car_price", {"request_id": "c-1", "outcome": 9500.0}) == first
        assert desk.rows() == [(9500.0,)]

        [told] = (await desk.tell("car_price", {"request_id": "c-1", "outcome": 8000}))["outcomes"]
        assert (told["status"], told["outcome"]) == ("conflict", 9500)
        assert "correct: true" in told["errors"][0]["remedy"]
        correction = {"request_id": "c-1", "outcome": 8000, "correct": True, "observed_at": "2026-01-31T09:30:00+07:00"}
        corrected = await desk.tell("car_price", correction)
        assert corrected["outcomes"][0]["status"] == "recorded"
        assert await desk.tell("car_price", correction) == corrected
        moment = datetime(2026, 1, 31, 2, 30, tzinfo=UTC)
        assert desk.rows("SELECT value, corrected, observed_at FROM outcomes") == [(8000.0, 1, moment)]

    visit(work)


def test_one_that_is_wrong_keeps_no_other_out_and_each_is_told(visit: Callable[[Visit], None]) -> None:
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wrong: list[tuple[Any, str]] = [
        ({"request_id": "c-1", "outcome": 5}, "outcome"),
        ({"request_id": "c-1", "outcome": 10**400}, "outcome"),
        ({"request_id": "c-1", "outcome": True}, "outcome"),
        ({"request_id": "c-1", "outcome": "9500"}, "outcome"),
        ({"request_id": "c-1", "outcome": None}, "outcome"),
        ({"request_id": "c-1"}, "outcome"),
        ({"outcome": 9500}, "request_id"),
        ({"request_id": "c-1", "outcome": 9500, "row": -1}, "row"),
        ({"request_id": "c-1", "outcome": 9500, "observed_at": late}, "observed_at"),
        ({"request_id": "c-1", "outcome": 9500, "observed_at": 1234}, "observed_at"),
        ({"request_id": "c-1", "outcome": 9500, "observed_at": "yesterday"}, "observed_at"),
        ({"request_id": "a\0b", "outcome": 9500}, "request_id"),
        ({"request_id": "c-1", "outcome": 9500, "correct": "yes"}, "correct"),
        ({"request_id": "c-1", "outcome": 9500, "price": 1}, "price"),
        (["c-1", 9500], ""),
        ("c-1", ""),
    ]

    async def work(desk: Desk) -> None:
        await desk.predict("car_price", "c-1")
        # What Python writes as NaN is no JSON, and is told like any other fault.
        body = '{"outcomes": [{"request_id": "c-1", "outcome": NaN}]}'
        nan = await desk.api.post("/models/car_price/outcomes", content=body)
        assert nan.json()["outcomes"][0]["errors"][0]["value"] == "nan"
        good = {"request_id": "c-1", "outcome": 9500}
        unknown = {"request_id": "c-2", "outcome": 9500}
        told = await desk.tell("car_price", *(item for item, _ in wrong), good, unknown)
        assert [each["status"] for each in told["outcomes"]] == ["refused"] * len(wrong) + ["recorded", "unknown"]
        assert (told["refused"], told["recorded"], told["unknown"]) == (len(wrong), 1, 1)
        for each, (_, field) in zip(told["outcomes"], wrong, strict=False):
            [problem] = each["errors"]
            assert problem["field"] == field
            assert problem["expected"]
            assert problem["remedy"]
        assert "a number from 100 to 1,000,000 (US dollars)" in told["outcomes"][0]["errors"][0]["expected"]
        assert desk.rows() == [(9500.0,)]

    visit(work)


def test_a_list_that_is_none_is_refused_as_a_whole(visit: Callable[[Visit], None]) -> None:
    async def work(desk: Desk) -> None:
        for body in ("{}", '{"outcomes": []}', '{"outcomes": 5}', '{"outcomes": [{}], "x": 1}', "[]"):
            answer = await desk.api.post("/models/car_price/outcomes", content=body)
            assert answer.status_code == 422, body
        assert (await desk.api.post("/models/car_price/outcomes", content="{")).status_code == 400
        many = {"outcomes": [{"request_id": "c", "outcome": 1}] * 10_001}
        assert (await desk.api.post("/models/car_price/outcomes", json=many)).status_code == 413
        groups = await desk.api.post("/models/education/outcomes", json={"outcomes": []})
        assert groups.json()["type"] == "urn:sigap:problem:no-outcomes"
        assert (await desk.api.post("/models/none/outcomes", json={})).status_code == 404

    visit(work)


def test_yes_and_no_in_the_sources_spellings(visit: Callable[[Visit], None]) -> None:
    said = {"Y": True, " n ": False, "loan approved": True, "Loan Rejected": False, True: True, False: False}

    async def work(desk: Desk) -> None:
        for number in range(len(said)):
            await desk.predict("loan_approval", f"l-{number}")
        told = await desk.tell(
            "loan_approval", *({"request_id": f"l-{n}", "outcome": each} for n, each in enumerate(said))
        )
        assert [each["outcome"] for each in told["outcomes"]] == list(said.values())
        assert [value for (value,) in desk.rows()] == list(said.values())
        [refused] = (await desk.tell("loan_approval", {"request_id": "l-0", "outcome": 1}))["outcomes"]
        assert "true, false, or one of: Y, N" in refused["errors"][0]["expected"]

    visit(work)


def test_rows_of_a_batch_are_told_apart_and_an_id_that_was_used_twice_is_not(visit: Callable[[Visit], None]) -> None:
    async def work(desk: Desk) -> None:
        rows = [CAR.example, {**CAR.example, "enginesize": -5}, {**CAR.example, "enginesize": 200}]
        answered = await desk.predict("car_price", "b-1", "predict-batch?keep=true", rows)
        assert [each["status"] for each in answered.json()["predictions"]] == ["answered", "refused", "answered"]
        kept = desk.rows('SELECT "row", fields, answer FROM predictions ORDER BY id')
        assert [row for row, _, _ in kept] == [1, 3]
        single = await desk.predict("car_price", "c-1")
        assert kept[0][2]["price"] == pytest.approx(single.json()["price"])
        assert kept[1][1] == {**rows[2], "CompanyName": "toyota"}

        told = await desk.tell(
            "car_price",
            {"request_id": "b-1", "row": 3, "outcome": 9000},
            {"request_id": "b-1", "row": 1.0, "outcome": 8000},
            {"request_id": "b-1", "row": 2, "outcome": 8000},
            {"request_id": "b-1", "outcome": 8000},
        )
        assert [each["status"] for each in told["outcomes"]] == ["recorded", "recorded", "unknown", "ambiguous"]

        await desk.predict("car_price", "c-1")
        [twice] = (await desk.tell("car_price", {"request_id": "c-1", "outcome": 8000}))["outcomes"]
        assert twice["status"] == "ambiguous"
        # What the log holds twice after a broken connection is one prediction.
        await desk.predict("car_price", "c-2")
        desk.do(
            "INSERT INTO predictions (at, model, model_version, request_id, fields, answer) SELECT at, model,"
            " model_version, request_id, fields, answer FROM predictions WHERE request_id = 'c-2'"
        )
        [once] = (await desk.tell("car_price", {"request_id": "c-2", "outcome": 8000}))["outcomes"]
        assert once["status"] == "recorded"
        # The open inference protocol keeps rows too; one alone needs no number.
        plain = await desk.predict("car_price", "b-2", "predict-batch", rows)
        assert plain.status_code == 200
        [unkept] = (await desk.tell("car_price", {"request_id": "b-2", "row": 1, "outcome": 8000}))["outcomes"]
        assert unkept["status"] == "unknown"
        wide = await desk.api.post("/models/car_price/predict-batch?keep=true", json=[CAR.example] * 1001)
        assert wide.status_code == 413
        assert (await desk.api.post("/models/car_price/predict-batch?keep=x", json=rows)).status_code == 422

    visit(work)


def test_of_many_at_once_none_counts_twice_in_any_order(visit: Callable[[Visit], None]) -> None:
    async def work(desk: Desk) -> None:
        body = [CAR.example] * 300
        await desk.predict("car_price", "b-1", "predict-batch?keep=true", body)
        outcomes = [{"request_id": "b-1", "row": row, "outcome": 1000 + row} for row in range(1, 301)]
        lists = [random.Random(seed).sample(outcomes, len(outcomes)) for seed in range(4)]
        told = await asyncio.gather(*(desk.tell("car_price", *each) for each in lists))
        assert {each["recorded"] for each in told} == {300}
        values = desk.rows('SELECT o.value, p."row" FROM outcomes o JOIN predictions p ON p.id = o.prediction_id')
        assert sorted(values) == [(1000 + row, row) for row in range(1, 301)]
        # Of two that differ in one list, the first stands.
        await desk.predict("car_price", "c-1")
        told = [
            each["status"]
            for each in (await desk.tell("car_price", *({"request_id": "c-1", "outcome": n} for n in (500, 600, 500))))[
                "outcomes"
            ]
        ]
        assert told == ["recorded", "conflict", "recorded"]

    visit(work)


def test_without_the_database_or_its_tables_it_is_said(visit: Callable[[Visit], None], tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.do("DROP TABLE outcomes, live_scores CASCADE")
        for answer in (
            await desk.api.post("/models/car_price/outcomes", json={"outcomes": [{"request_id": "c", "outcome": 900}]}),
            await desk.api.get("/models/car_price/performance"),
        ):
            assert answer.status_code == 503
            assert "lacks the tables" in answer.json()["detail"]

    visit(work)
    application = create_app(Settings(state_dir=tmp_path / "other", MLFLOW_TRACKING_URI="http://127.0.0.1:9"))

    async def without() -> None:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as api:
            body = {"outcomes": [{"request_id": "c", "outcome": 900}]}
            for answer in (
                await api.post("/models/car_price/outcomes", json=body),
                await api.get("/models/car_price/performance"),
            ):
                assert answer.status_code == 503
                assert "Set DATABASE_URL" in answer.json()["detail"]
            groups = (await api.get("/models/education/performance")).json()
            assert (groups["measurable"], groups["versions"]) == (False, [])

    asyncio.run(without())


def test_outcomes_need_the_scope_of_predictions(seeded_database: str, tmp_path: Path) -> None:
    settings = Settings(
        state_dir=tmp_path, DATABASE_URL=seeded_database, MLFLOW_TRACKING_URI="http://127.0.0.1:9", protect="predict"
    )
    application = create_app(settings)

    async def run() -> None:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as api:
            body = {"outcomes": [{"request_id": "c-1", "outcome": 900}]}
            for model in ("car_price", "education"):
                assert (await api.post(f"/models/{model}/outcomes", json=body)).status_code == 401
            key = application_key(settings)
            token = (await api.post("/token", json={"api_key": key, "scopes": ["predict"]})).json()["access_token"]
            headers = {"authorization": f"Bearer {token}"}
            told = (await api.post("/models/car_price/outcomes", json=body, headers=headers)).json()
            assert told["unknown"] == 1

    asyncio.run(run())


@given(value=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_whatever_is_sent_is_read_or_refused(value: Any) -> None:
    for each in declarations():
        if isinstance(each.task, Clustering):
            continue
        read, expected = reader(each)
        assert expected
        try:
            found = read(value)
        except ValueError:
            continue
        if each.task.kind == "classification":
            assert isinstance(found, bool)
        else:
            assert each.target is not None
            assert each.target.minimum <= found <= each.target.maximum
