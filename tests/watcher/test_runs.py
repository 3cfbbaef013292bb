"""Runs that Mage tells oddly of, as it does after it was killed; how it does so by itself, tests/mage shows."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pytest

from sigap.retrains import Ask, request
from sigap.services.mage_api import Json
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
