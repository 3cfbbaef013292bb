"""Runs that Mage tells oddly of, as it does after it was killed; how it does so by itself, tests/mage shows."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pytest

from sigap.errors import PipelineError
from sigap.registry.owner import this_process
from sigap.retrains import Ask, request, starting
from sigap.services.mage_api import Json, RefusedError
from sigap.settings import Settings
from sigap.watcher.mage import Mage
from sigap.watcher.runs import RunKeeper
from tests.conftest import Checkout


class OddMage:
    """Calls each run done at once, and has only these steps of it."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.started: list[Json] = []

    def going_on(self) -> list[Json]:
        return []

    def runs(self, _: str) -> list[Json]:
        return []

    def run(self, number: int) -> Json:
        variables = self.started[number - 1]
        return {"id": number, "status": "completed", "pipeline_uuid": "education", "variables": variables,
                "block_runs": [{"block_uuid": each, "status": "completed"} for each in self.steps]}  # fmt: skip

    def last_block(self, _: str) -> str:
        return "promote_champion"

    def start(self, _: str, variables: dict[str, Any]) -> int:
        self.started.append(variables)
        return len(self.started)


@pytest.fixture
def settings(checkout: Checkout, seeded_database: str) -> Settings:
    return checkout.settings(database=seeded_database)


@pytest.mark.parametrize("steps", [[], ["snapshot_table", "clean"]], ids=["no step", "the first steps"])
def test_a_run_that_was_cut_off_is_repeated_once_and_then_told(settings: Settings, steps: list[str]) -> None:
    mage = OddMage(steps)
    keeper = RunKeeper(settings, cast(Mage, mage), frozenset({"education"}))
    request(settings, Ask("education", "change", "f", "Rows changed.", "change"), cast(Any, mage))
    with psycopg.connect(settings.dsn, autocommit=True) as connection:
        for _ in range(3):
            keeper.look(connection)
        rows = connection.execute("SELECT pipeline_run, outcome, ended_at IS NULL FROM retrains").fetchall()
    assert len(mage.started) == 2, "once more, and no third time"
    assert mage.started[1]["retry_of"] == 1
    assert mage.started[1]["asked_by"] == "change"
    assert rows == [(2, "stuck", False)]


class ToldMage(OddMage):
    """Says of run 1 what a test wants it to; a fault stands for a refusal."""

    def __init__(self, told: Json | Exception, result: Json | Exception | None = None) -> None:
        super().__init__([])
        self.told = told
        self.returned = result if result is not None else {}
        self.goes_on: list[Json] = []
        self.others: list[Json] = []
        self.cancelled: list[int] = []

    def going_on(self) -> list[Json]:
        return self.goes_on

    def runs(self, _: str) -> list[Json]:
        return self.others

    def run(self, number: int) -> Json:
        if isinstance(self.told, Exception):
            raise self.told
        steps = [{"id": 1, "block_uuid": "promote_champion", "status": "completed"}]
        return {"id": number, "pipeline_uuid": "education", "block_runs": steps, "variables": None, **self.told}

    def result(self, _: Json) -> Json:
        if isinstance(self.returned, Exception):
            raise self.returned
        return self.returned

    def last_block(self, pipeline: str) -> str:
        if pipeline == "gone":
            raise RefusedError("There is no such pipeline.")
        return super().last_block(pipeline)

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)


def looked(settings: Settings, mage: ToldMage, times: int = 1) -> list[tuple[Any, ...]]:
    """What stands about the one request after so many looks."""
    keeper = RunKeeper(settings, cast(Mage, mage), frozenset({"education"}))
    request(settings, Ask("education", "change", "f", "Rows changed.", "change"), cast(Any, mage))
    with psycopg.connect(settings.dsn, autocommit=True) as connection:
        for _ in range(times):
            keeper.look(connection)
        return connection.execute("SELECT outcome, model_version, ended_at IS NOT NULL FROM retrains").fetchall()


DONE = {"status": "completed"}


@pytest.mark.parametrize(
    ("told", "result", "outcome", "version"),
    [
        ({"status": "failed"}, None, "failed", None),
        ({"status": "cancelled"}, None, "cancelled", None),
        (DONE, {"promoted": True, "model_version": "v3"}, "promoted", "v3"),
        (DONE, {"promoted": False, "model_version": "v3", "rule": "worse"}, "kept", "v3"),
        (DONE, {"rule": "waiting", "model_version": "v3"}, "waiting", "v3"),
        (DONE, {"promoted": False, "model_version": ""}, "kept", None),
        (DONE, LookupError("no such block"), "kept", None),
        (DONE, PipelineError("Mage is away."), "kept", None),
        ({**DONE, "pipeline_uuid": "gone"}, {"promoted": True, "model_version": "v1"}, "promoted", "v1"),
    ],
)
def test_what_came_of_a_run_is_written_down(
    settings: Settings, told: Json, result: Json | Exception | None, outcome: str, version: str | None
) -> None:
    assert looked(settings, ToldMage(told, result)) == [(outcome, version, True)]


@pytest.mark.parametrize(("looks", "row"), [(4, (None, None, False)), (5, ("lost", None, True))])
def test_a_run_that_mage_does_not_know_is_lost_after_some_looks(
    settings: Settings, looks: int, row: tuple[Any, ...]
) -> None:
    assert looked(settings, ToldMage(RefusedError("No such run.")), looks) == [row]


def test_a_run_that_has_not_ended_yet_keeps_its_row_open(settings: Settings) -> None:
    assert looked(settings, ToldMage({"status": "running"}), 9) == [(None, None, False)]


def test_a_process_that_dies_again_and_again_ends_its_run_and_nobody_repeats_what_another_does(
    settings: Settings,
) -> None:
    mage = ToldMage({"status": "cancelled"})
    keeper = RunKeeper(settings, cast(Mage, mage), frozenset({"education"}))
    request(settings, Ask("education", "change", "f", "Rows changed.", "change"), cast(Any, mage))
    mine = {"id": 1, "pipeline_uuid": "education", "status": "running", "variables": {"retrain": "x"}}
    followed = {**mine, "id": 2, "variables": {"owner": this_process(), "asked_by": "person: me"}}
    with psycopg.connect(settings.dsn, autocommit=True) as connection:
        for state in ("running", "queued") * 3:
            steps = [{"id": 7, "block_uuid": "clean", "status": state}]
            mage.goes_on = [{**mine, "block_runs": steps}, {**followed, "block_runs": steps}]
            keeper.look(connection)
        assert mage.cancelled == [1], "what somebody follows is his"
        wanted = "SELECT pipeline_run, outcome, ended_at IS NOT NULL FROM retrains ORDER BY id"
        assert connection.execute(wanted).fetchall() == [(1, "stuck", False), (2, None, False)]
        # While somebody is starting a run of the model, it waits; when that one goes on, it has nothing to do.
        mage.goes_on = [{**followed, "block_runs": []}]
        with starting(settings, "education"):
            keeper.look(connection)
        assert connection.execute(wanted).fetchone() == (1, "stuck", False)
        mage.others = [{"id": 2, "status": "running"}]
        keeper.look(connection)
        assert connection.execute(wanted).fetchone() == (1, "stuck", True)
    assert len(mage.started) == 1


def test_a_first_training_has_no_row_and_what_somebody_or_the_schedule_starts_has_one(settings: Settings) -> None:
    mage = ToldMage({"status": "running"})
    keeper = RunKeeper(settings, cast(Mage, mage), frozenset({"education"}))
    given: list[Any] = [{"owner": this_process()}, {"asked_by": "schedule"}, None, "no object", {}]
    mage.goes_on = [
        {"id": at, "pipeline_uuid": "education", "status": "running", "variables": variables, "block_runs": []}
        for at, variables in enumerate(given, 1)
    ]
    mage.goes_on.append({**mage.goes_on[-1], "id": 9, "pipeline_uuid": "monitoring"})
    with psycopg.connect(settings.dsn, autocommit=True) as connection:
        for _ in range(2):
            assert keeper.look(connection) == {"education", "monitoring"}
        rows = connection.execute("SELECT pipeline_run, cause, asked_by FROM retrains ORDER BY pipeline_run").fetchall()
    assert rows == [(2, "schedule", "schedule"), *((at, "person", "mage") for at in (3, 4, 5))]
