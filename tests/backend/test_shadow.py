"""The challenger in the shadow: compared and kept, never returned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from backend.prediction_log import Logged, PredictionLog
from backend.registry_client import NoChampionError
from backend.requests import Validator
from backend.served import Served, load
from backend.shadow import WAITING, Shadow, ShadowFollower, ShadowMetrics, compared
from sigap.catalog import declaration
from tests.backend.bundles import BODY, expected
from tests.backend.conftest import MODEL, Api, MlflowServer, wait_for
from tests.backend.task_bundles import FIVE, write_task_bundle


def test_the_shadow_answers_beside_the_champion_and_is_never_seen(
    mlflow_server: MlflowServer,
    versions: tuple[str, ...],
    centers: tuple[np.ndarray, ...],
    start_api: Callable[..., Api],
    seeded_database: str,
) -> None:
    mlflow_server.point(versions[0], "bright")
    api = start_api(
        mlflow_server.uri, "bright", DATABASE_URL=seeded_database, SIGAP_SHADOW_ALIAS="dark", SIGAP_FOLLOW_SECONDS="0.1"
    )
    alone = api.predict(BODY).content
    mlflow_server.point(versions[2], "dark")
    told = f'sigap_api_shadow_info{{model="{MODEL}",model_version="v{versions[2]}"}} 1.0'
    wait_for(lambda: told in api.get("/metrics").text, "The challenger")
    assert {api.predict(BODY).content for _ in range(20)} == {alone}
    result = "same" if expected(BODY, centers[0])[0] == expected(BODY, centers[2])[0] else "other"

    def mirrored() -> float:
        name = f'sigap_api_shadow_answers_total{{model="{MODEL}",result="{result}"}} '
        return next((float(each[len(name) :]) for each in api.get("/metrics").text.splitlines() if name in each), 0)

    wait_for(lambda: mirrored() == 20, "The comparison")
    apart = abs(expected(BODY, centers[0])[1] - expected(BODY, centers[2])[1])
    total = next(each for each in api.get("/metrics").text.splitlines() if "shadow_difference_sum" in each)
    assert float(total.rsplit(" ", 1)[1]) == pytest.approx(20 * apart)

    def kept() -> list[tuple[Any, ...]]:
        with psycopg.connect(seeded_database) as connection:
            return connection.execute(
                "SELECT shadow, model_version, count(*), count(DISTINCT request_id) FROM predictions"
                " GROUP BY 1, 2 ORDER BY 1"
            ).fetchall()

    both = [(False, f"v{versions[0]}", 21, 21), (True, f"v{versions[2]}", 20, 20)]
    wait_for(lambda: kept() == both, "The log")
    mlflow_server.client.delete_registered_model_alias(MODEL, "dark")
    wait_for(lambda: "sigap_api_shadow_info{" not in api.get("/metrics").text, "The challenger's end")
    assert api.predict(BODY).content == alone
    assert api.get("/health").json()["models"][MODEL]["status"] == "ok"


class Dark:
    """A shadow without a registry, and what it counts."""

    def __init__(self, name: str, served: Served | None, per_second: float = 1000) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ShadowMetrics(self.registry)
        follower = ShadowFollower.__new__(ShadowFollower)
        follower.declaration, follower.served = declaration(name), served
        log = PredictionLog(None, {}, 10, 90, self.registry)
        self.shadow = Shadow({name: follower}, log, per_second, self.metrics)
        self.name = name

    def answers(self, result: str) -> float:
        labels = {"model": self.name, "result": result}
        return self.registry.get_sample_value("sigap_api_shadow_answers_total", labels) or 0


def record(served: Served, fields: dict[str, Any], version: str = "v1") -> Logged:
    values = served.validated(fields)
    return Logged(served.manifest.model, version, "r", "", time.time(), values, served.answer(values))


@pytest.mark.parametrize("each", FIVE, ids=lambda each: each.name)
def test_every_task_is_compared(each: Any, tmp_path: Path) -> None:
    sha256 = write_task_bundle(tmp_path / "bundle", each)
    served = load(tmp_path / "bundle", each, Validator(each), version="2", manifest_sha256=sha256, origin="registry")
    dark = Dark(each.name, served)
    fields = {} if each.name == "bitcoin_price" else dict(each.example)
    asked = record(served, fields)
    dark.shadow.answer(served, asked)
    assert dark.answers("same") == 1
    number = compared(each).number
    other = {**asked.answer, number: asked.answer[number] + 3, compared(each).outcome: "another"}
    dark.shadow.answer(served, asked._replace(answer=other))
    assert dark.answers("other") == 1
    sums = dark.registry.get_sample_value("sigap_api_shadow_difference_sum", {"model": each.name})
    assert sums == pytest.approx(3)


def test_what_there_is_no_time_for_is_skipped_and_counted(served: Served) -> None:
    dark = Dark(MODEL, served)
    for _ in range(WAITING + 40):
        dark.shadow.put(record(served, BODY))
    assert dark.answers("skipped") == 40
    # The champion itself needs no shadow.
    dark.shadow.put(record(served, BODY, served.model_version))
    assert dark.answers("skipped") == 40


def test_a_challenger_that_fails_is_counted_and_the_next_one_is_answered(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    dark = Dark(MODEL, served)
    good = record(served, BODY)
    dark.shadow.answer(served, good._replace(fields={}))
    assert dark.answers("refused") == 1
    dark.shadow.answer(served, good._replace(fields=dict.fromkeys(BODY, "text")))
    assert dark.answers("failed") == 1
    dark.shadow.answer(served, good)
    assert dark.answers("same") == 1


def test_without_a_challenger_nothing_waits(served: Served) -> None:
    dark = Dark(MODEL, None)
    dark.shadow.put(record(served, BODY))

    async def run() -> None:
        task = asyncio.create_task(dark.shadow._answer())
        await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(run())
    assert dark.answers("same") == dark.answers("skipped") == 0


def test_a_forecast_from_the_newest_rows_is_compared_on_the_same_rows(tmp_path: Path) -> None:
    each = next(one for one in FIVE if one.name == "bitcoin_price")
    sha256 = write_task_bundle(tmp_path / "bundle", each)
    served = load(tmp_path / "bundle", each, Validator(each), version="2", manifest_sha256=sha256, origin="registry")
    dark = Dark(each.name, served)
    asked = record(served, {})
    rows = served.predictor.looked_at({"candles": None}, None)[0]
    begun = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    newest = tuple((begun - timedelta(days=len(rows) - at), value) for at, value in enumerate(rows, 1))
    dark.shadow.answer(served, asked._replace(newest=newest))
    assert dark.answers("same") == 1


def test_a_challenger_that_can_t_be_followed_is_told_once_and_takes_nothing_away(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[Exception | None] = [ValueError("odd"), ValueError("odd"), NoChampionError("none"), None]

    async def run() -> None:
        follower = ShadowFollower(declaration(MODEL), "dark", 1, None, None, ShadowMetrics(CollectorRegistry()))  # type: ignore[arg-type]
        follower.served = served

        async def follow() -> None:
            if fault := faults.pop(0):
                raise fault

        follower._follow = follow  # type: ignore[method-assign]
        await follower.step()
        assert (follower.served, follower.fault) == (served, "ValueError: odd")
        await follower.step()
        await follower.step()
        assert (follower.served, follower.fault) == (None, None), "that nobody has the alias is no fault"
        await follower.step()

    asyncio.run(run())
    assert [each.getMessage() for each in caplog.records] == [
        "education: the challenger can't be followed. ValueError: odd"
    ]
