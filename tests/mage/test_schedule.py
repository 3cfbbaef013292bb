"""The monthly trigger on a real Mage: no run that nobody is owed, and the one that is, once."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest

from sigap.catalog import declarations
from sigap.watcher.mage import Mage

pytestmark = pytest.mark.usefixtures("mage")

TICKS = 3
# By other tests of this session.
USED = ("education", "car_price")


def in_mages_database(settings, statement, *values):
    (path,) = (settings.state / "mage").glob("**/*.db")
    with closing(sqlite3.connect(path, timeout=30)) as database, database:
        return database.execute(statement, values).fetchall()


def until(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit
        time.sleep(0.3)
    return found


def test_a_month_is_owed_only_if_it_began_here_and_nothing_ran_in_it(mage_settings):
    with closing(Mage(mage_settings)) as mage:
        story(mage_settings, mage)


def story(mage_settings, mage):
    def states(of="schedule"):
        runs = [run for run in mage.runs("month") if (run["variables"] or {}).get("asked_by") == of]
        return [run["status"] for run in runs]

    until(
        lambda: in_mages_database(mage_settings, "SELECT 1 FROM pipeline_schedule WHERE pipeline_uuid = 'month'"
                                  " AND name = 'monthly' AND status = 'ACTIVE'")
    )  # fmt: skip
    # A machine that has never seen it before: the month began without it.
    time.sleep(TICKS)
    assert all(mage.runs(model.name) == [] for model in declarations() if model.name not in USED)
    assert states() == []

    # Here since last year, and a run from the month before still goes on: it is waited for.
    number = mage.start("month", {"seconds": 5, "asked_by": "sari"})
    in_mages_database(mage_settings, "UPDATE pipeline_run SET created_at = '2025-12-31 23:00:00' WHERE id = ?", number)
    in_mages_database(
        mage_settings, "UPDATE pipeline_schedule SET created_at = '2025-12-01 00:00:00' WHERE pipeline_uuid = 'month'"
    )
    until(lambda: mage.run(number)["status"] == "running" or states("sari") == ["completed"])
    assert states() == [] or states("sari") == ["completed"]
    until(lambda: states() == ["completed"])

    # Once a month. And where somebody has had it trained since the month began, nothing more is owed.
    time.sleep(TICKS)
    assert states() == ["completed"]
    in_mages_database(mage_settings, "DELETE FROM block_run WHERE pipeline_run_id IN (SELECT id FROM pipeline_run"
                      " WHERE pipeline_uuid = 'month')")  # fmt: skip
    in_mages_database(mage_settings, "DELETE FROM pipeline_run WHERE pipeline_uuid = 'month' AND id <> ?", number)
    in_mages_database(mage_settings, "UPDATE pipeline_run SET created_at = CURRENT_TIMESTAMP WHERE id = ?", number)
    time.sleep(TICKS)
    assert states() == []
