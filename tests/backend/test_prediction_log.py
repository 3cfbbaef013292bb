"""The prediction log beside a real PostgreSQL: what is kept, what is not, and that it never holds up a prediction."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from backend.app import create_app
from backend.personal import Mask, kept_answer
from backend.prediction_log import DELETED_AT_ONCE, Logged, PredictionLog
from backend.requests import Validator
from backend.served import Served, load
from sigap.catalog import declaration, declarations
from sigap.errors import ConfigurationError
from sigap.settings import Settings
from tests.backend.bundles import BODY
from tests.backend.conftest import MODEL, Relay
from tests.backend.task_bundles import write_task_bundle

MASKS = {each.name: Mask(each, b"key", "hash") for each in declarations()}
ODD = "\t\n\r\\\"'{}[],:\x00\x01\x7f\u2028é→🙂N\\N\\."


def record(number: int = 0, **changes: Any) -> Logged:
    fields = {"provinsi_id": f"P{number % 90 + 10}", "rata_lama_sekolah": 9.5}
    base = Logged(MODEL, "v1", f"r{number}", "", time.time(), fields, {"cluster": 1, "distance_to_center": 0.5})
    return base._replace(**changes)


class Logs:
    """Prediction logs on one database, and their figures."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.registry = CollectorRegistry()

    @asynccontextmanager
    async def running(self, limit: int = 10_000, days: int = 90, url: str = "") -> AsyncIterator[PredictionLog]:
        self.registry = CollectorRegistry()
        log = PredictionLog(lambda: url or self.url, MASKS, limit, days, self.registry)
        task = asyncio.create_task(log.run())
        try:
            yield log
        finally:
            async with asyncio.timeout(300):
                await log.close(task)

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"sigap_api_prediction_log_{name}", labels) or 0.0

    def rows(self, query: str = "SELECT request_id FROM predictions ORDER BY id") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def logs(seeded_database: str) -> Logs:
    return Logs(seeded_database)


@pytest.fixture
def database_line(seeded_database: str) -> Iterator[tuple[Relay, str]]:
    """A line to the database that can be cut, and the URL through it."""
    place, name = seeded_database.rsplit("@", 1)[1].split("/")
    relay = Relay(int(place.rsplit(":", 1)[1]))
    relay.start()
    yield relay, f"{seeded_database.rsplit('@', 1)[0]}@127.0.0.1:{relay.port}/{name}"
    relay.cut()


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(300):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about") from None


def test_predictions_of_several_workers_are_all_kept(logs: Logs) -> None:
    async def run() -> None:
        async with logs.running() as one, logs.running() as other:
            for number in range(4000):
                (one if number % 2 else other).put(record(number))
            await until(lambda: not one and not other, "The writing")

    asyncio.run(run())
    assert sorted(logs.rows()) == sorted((f"r{number}",) for number in range(4000))


def test_whatever_stands_in_a_field_is_kept_as_it_is(logs: Logs) -> None:
    chance = random.Random(7)
    texts = ["".join(chance.choices(ODD, k=chance.randrange(30))) for _ in range(500)]

    async def run() -> None:
        async with logs.running() as log:
            for number, text in enumerate(texts):
                fields = {"provinsi_id": text, "rata_lama_sekolah": chance.uniform(-1e300, 1e300)}
                log.put(record(number, fields=fields, principal=text, answer={"cluster": None, text: text}))

    asyncio.run(run())
    rows = logs.rows("SELECT fields ->> 'provinsi_id', answer, principal FROM predictions ORDER BY id")
    for (kept, answer, principal), text in zip(rows, texts, strict=True):
        # PostgreSQL has no NUL.
        assert kept == text.replace("\0", "\ufffd")
        assert answer == {"cluster": None, text.replace("\0", "\ufffd"): kept}
        assert principal == text.replace("\0", "")


def test_a_row_that_is_refused_keeps_no_other_out(logs: Logs) -> None:
    with psycopg.connect(logs.url) as connection:
        connection.execute("ALTER TABLE predictions ADD CHECK (model_version <> 'v2')")

    async def run() -> None:
        async with logs.running() as log:
            for number in range(30):
                log.put(record(number, version="v2" if number == 7 else "v1", at=1e18 if number == 9 else 1e9))

    asyncio.run(run())
    assert [row[0] for row in logs.rows()] == [f"r{number}" for number in range(30) if number not in (7, 9)]
    assert logs.figure("written_total") == 28
    assert logs.figure("dropped_total", reason="refused") >= 2


def test_while_the_database_is_away_what_fits_waits_and_the_rest_is_counted(
    logs: Logs, database_line: tuple[Relay, str]
) -> None:
    relay, url = database_line

    async def run() -> None:
        async with logs.running(limit=100, url=url) as log:
            log.put(record(0))
            await until(lambda: not log, "The first writing")
            relay.cut()
            for number in range(1, 151):
                log.put(record(number))
                await asyncio.sleep(0.002)
            await until(lambda: log.fault is not None, "The loss")
            assert len(log) >= 100
            assert logs.figure("queue") == len(log)
            relay.start()
            await until(lambda: not log and log.fault is None, "The return")

    asyncio.run(run())
    kept = logs.rows()
    # At most one batch is out of the queue; nothing stands twice.
    assert len(kept) == len(set(kept)) >= 101
    assert len(kept) + logs.figure("dropped_total", reason="full") == 151
    assert logs.figure("failures_total") >= 1


def test_a_database_that_falls_silent_does_not_keep_the_api_from_ending(
    logs: Logs, database_line: tuple[Relay, str]
) -> None:
    relay, url = database_line

    async def run() -> None:
        async with logs.running(url=url) as log:
            log.put(record(0))
            await until(lambda: not log, "The first writing")
            relay.silent = True
            for number in range(1, 50):
                log.put(record(number))
            await asyncio.sleep(0.5)

    asyncio.run(run())
    assert logs.figure("dropped_total", reason="stopped") == 49
    assert logs.rows() == [("r0",)]


def test_what_waits_is_written_when_the_api_ends(logs: Logs) -> None:
    async def run() -> None:
        async with logs.running() as log:
            await asyncio.sleep(0)
            for number in range(5000):
                log.put(record(number))

    asyncio.run(run())
    assert len(logs.rows()) == 5000
    assert logs.figure("dropped_total", reason="stopped") == 0


def test_old_predictions_are_deleted_in_small_batches(logs: Logs) -> None:
    old = DELETED_AT_ONCE * 2 + 10
    with psycopg.connect(logs.url) as connection:
        connection.execute(
            "INSERT INTO predictions (at, model, model_version, request_id, fields, answer)"
            " SELECT now() - interval '8 days', 'education', 'v1', 'old', '{}', '{}' FROM generate_series(1, %s)",
            [old],
        )
        connection.execute(
            "INSERT INTO predictions (at, model, model_version, request_id, fields, answer)"
            " VALUES (now() - interval '6 days', 'education', 'v1', 'young', '{}', '{}')"
        )

    async def run() -> None:
        async with logs.running(days=7) as log:
            log.put(record(1))
            await until(lambda: len(logs.rows("SELECT 1 FROM predictions LIMIT 3")) == 2, "The deletion")

    asyncio.run(run())
    assert logs.rows() == [("young",), ("r1",)]


def test_without_a_database_nothing_is_kept_and_nothing_is_said() -> None:
    async def run() -> None:
        registry = CollectorRegistry()
        log = PredictionLog(None, MASKS, 10, 90, registry)
        task = asyncio.create_task(log.run())
        for number in range(100):
            log.put(record(number))
        await log.close(task)
        assert not log.enabled
        assert not log
        assert registry.get_sample_value("sigap_api_prediction_log_dropped_total", {"reason": "full"}) == 0

    asyncio.run(run())


@pytest.fixture
def loan(tmp_path: Path) -> Served:
    loans = declaration("loan_approval")
    sha256 = write_task_bundle(tmp_path / "bundle", loans)
    validator = Validator(loans)
    return load(tmp_path / "bundle", loans, validator, version="3", manifest_sha256=sha256, origin="registry")


def test_a_person_can_be_told_neither_by_fields_nor_by_answer(logs: Logs, loan: Served) -> None:
    personal = [feature.name for feature in loan.declaration.features if feature.personal]
    assert len(personal) > 5
    body = dict(loan.declaration.example)
    marked = {feature: 31_337.0 for feature, value in body.items() if isinstance(value, float) and feature in personal}
    values = loan.validated({**body, **marked})
    answer = loan.answer(values)

    async def run() -> None:
        async with logs.running() as log:
            log.put(record(1, model="loan_approval", fields=values, answer=answer))
            log.put(record(2, model="loan_approval", fields=values, answer=answer))

    asyncio.run(run())
    (first,), (second,) = logs.rows("SELECT fields FROM predictions ORDER BY id")
    assert first == second
    assert set(first) == set(values)
    for name, value in values.items():
        if name in personal and value is not None:
            assert first[name] != value
            assert len(first[name]) == 32
        else:
            assert first[name] == value
    (kept,) = logs.rows("SELECT answer::text FROM predictions LIMIT 1")
    assert "31337" not in kept[0]
    assert "31.337" not in kept[0]
    assert json.loads(kept[0])["probability"] == pytest.approx(answer["probability"])


def test_a_hash_is_of_one_key_and_one_field() -> None:
    customers = declaration("customer_segments")
    names = [feature.name for feature in customers.features if feature.personal][:2]
    fields = dict.fromkeys(names, "Yes")
    one, other = (Mask(customers, key, "hash").fields(fields) for key in (b"one", b"other"))
    assert len({*one.values(), *other.values()}) == 4
    assert Mask(customers, b"", "omit").fields({**fields, "Var_1": "Cat_1"}) == {"Var_1": "Cat_1"}
    assert Mask(customers, b"one", "hash").fields({names[0]: None}) == {names[0]: None}
    assert fields == dict.fromkeys(names, "Yes")


def test_of_every_answer_the_decision_and_its_number_are_kept() -> None:
    from backend.shadow import compared
    from backend.tasks import answer_example

    for each in declarations():
        kept = kept_answer(answer_example(each))
        assert set(compared(each)) - {""} <= set(kept)
        assert len(json.dumps(kept)) < 1500


def test_a_prediction_is_found_by_its_request_id(seeded_database: str, tmp_path: Path, served: Served) -> None:
    settings = Settings(state_dir=tmp_path, DATABASE_URL=seeded_database, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    application = create_app(settings)

    async def run() -> tuple[Any, Any, list[Any], Any]:
        import httpx

        service = application.state.service
        key = application_key(settings)
        transport = httpx.ASGITransport(application)
        async with service.lifespan(application), httpx.AsyncClient(transport=transport, base_url="http://api") as api:
            service.followers[MODEL].served = served
            answer = await api.post("/predict", json=BODY, headers={"x-request-id": "mine-1"})
            await until(lambda: not service.log, "The writing")
            token = (await api.post("/token", json={"api_key": key})).json()["access_token"]
            admin = {"authorization": f"Bearer {token}"}
            found = await api.get("/models/education/predictions/mine-1", headers=admin)
            missing = [
                await api.get(f"/models/{model}/predictions/{name}", headers=admin)
                for model, name in (("education", "other"), ("car_price", "mine-1"), ("none", "mine-1"))
            ]
            missing.append(await api.get("/models/education/predictions/a%00b", headers=admin))
            # Whoever may read is told its origin, and no more.
            origin = await api.get("/models/education/predictions/mine-1/origin")
            missing += [
                await api.get(f"/models/{model}/predictions/{name}/origin")
                for model, name in (("education", "other"), ("car_price", "mine-1"), ("none", "x"), (MODEL, "a%00b"))
            ]
            return answer, found, missing, origin

    answer, found, missing, origin = asyncio.run(run())
    known = {"model": "education", "request_id": "mine-1", "model_version": "v7", "at": origin.json()["at"]}
    assert origin.json() == {**known, "lineage": "/models/education/lineage?version=v7"}
    assert answer.status_code == found.status_code == 200, found.text
    assert {each.status_code for each in missing} == {404}
    (kept,) = found.json()["predictions"]
    assert kept["fields"] == BODY
    assert kept["answer"]["distance_to_center"] == answer.json()["distance_to_center"]
    assert (kept["model_version"], kept["shadow"], kept["principal"]) == ("v7", False, "")
    assert kept["lineage"] == "/models/education/lineage?version=v7"
    assert kept["latency_ms"] > 0


def application_key(settings: Settings) -> str:
    """A key with all scopes."""
    from sigap.keys import Keys

    return Keys(settings).create("test", ("predict", "admin"))


def test_production_keeps_no_predictions_under_a_key_that_was_made_up(seeded_database: str, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, DATABASE_URL=seeded_database, environment="production")
    with pytest.raises(ConfigurationError, match="secret"):
        create_app(settings)
