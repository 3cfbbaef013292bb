"""Right after a promotion the new champion is checked: the old one's alarm ends, and its own alarms come as ever."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from mage_project.custom.check_drift import check_drift
from mage_project.custom.score_outcomes import score_outcomes
from sigap.catalog import declaration
from sigap.data import content
from sigap.logs import JsonFormatter
from sigap.monitoring import checks, live
from sigap.monitoring.checks import check
from sigap.watcher.champions import ChampionSensor
from sigap.watcher.mage import Mage, MageAwayError
from tests.backend.mage import FakeMage, mage_standin
from tests.monitoring.conftest import Watch
from tests.registry.conftest import free_port

MODEL = "education"


@pytest.fixture
def connection(watch: Watch) -> Iterator[content.Connection]:
    with psycopg.connect(watch.settings.dsn, autocommit=True) as opened:
        yield opened


def alarms(watch: Watch) -> list[tuple[str, bool]]:
    """As the API's metrics read them: the newest check of each subject."""
    columns = "DISTINCT ON (subject) model_version, alarm"
    return watch.ask(f"SELECT {columns} FROM drift_checks WHERE model = %s ORDER BY subject, id DESC", MODEL)


def shift(watch: Watch, share: float) -> None:
    """Moves every figure of the table towards its greatest declared value."""
    moved = [
        f"{each.name} = {each.name} + ({each.maximum} - {each.name}) * {share}" for each in declaration(MODEL).features
    ]
    watch.ask(f"UPDATE education_data SET {', '.join(moved)}")


def lines(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> list[dict[str, Any]]:
    """What is logged meanwhile, as JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("sigap")
    with monkeypatch.context() as patched:
        patched.setattr(logger, "handlers", [handler])
        patched.setattr(logger, "level", logging.INFO)
        logger.manager._clear_cache()  # type: ignore[attr-defined]
        call()
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    return [json.loads(line) for line in written.getvalue().splitlines()]


def as_the_pipeline(fake: FakeMage) -> dict[str, Any]:
    """What the blocks of the run that was asked for last do."""
    variables = fake.runs[-1]["variables"]
    assert score_outcomes(**variables) == {"scores": []}, "groups have no outcome"
    found: dict[str, Any] = check_drift(**variables)
    return found


@pytest.mark.usefixtures("without_evidently")
def test_a_new_champion_is_checked_at_once_and_the_old_ones_alarm_ends(
    watch: Watch,
    connection: content.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = watch.settings.model_copy(update={"mage_port": free_port()})
    for module in (checks, live):
        monkeypatch.setattr(module, "get_settings", lambda: settings)
    mage = Mage(settings)
    sensor = ChampionSensor(mage, ["car_price", MODEL])
    said = lines(monkeypatch, lambda: watch.train(MODEL))
    steps = [each["message"].split()[2] for each in said if each["logger"] == "sigap.pipeline"]
    assert list(dict.fromkeys(steps)) == ["snapshot", "clean", "plan", "fit", "register", "decide"]
    assert {each["model"] for each in said} == {MODEL}
    (run,) = {each["run_id"] for each in said if "run_id" in each}
    first = watch.line.registry.version(MODEL, 1)
    assert run == first.run_id, "the one that the API names when it serves v1"
    last = said[-1]
    assert (last["run_id"], last["model_version"], last["data_version"]) == (run, "v1", "v1")
    assert sensor.look(connection, ()) is None, "of what was never checked nothing is outdated"

    for subject in ("live", "table"):
        check(MODEL, subject, settings=settings)
    shift(watch, 0.5)
    for _ in range(2):
        drifted = watch.check(MODEL, "table")
    assert drifted.alarm, drifted.reason
    assert sensor.look(connection, ()) is None, "it is served still"

    # The same bundle once more: training another one would take its time, and change nothing here.
    watch.line.client.create_model_version(MODEL, f"runs:/{run}/bundle", run, tags=dict(first.tags))
    watch.line.registry.promote(MODEL, 2, 1, asked_by="person: tester")
    assert ("v1", True) in alarms(watch)
    with pytest.raises(MageAwayError):
        sensor.look(connection, ())
    with mage_standin(settings) as fake:
        assert sensor.look(connection, {"monitoring"}) is None, "what the schedule is at is not asked for"
        assert sensor.look(connection, {MODEL}) == MODEL
        assert sensor.look(connection, ()) is None, "asked for once"
        (asked,) = fake.runs
        assert (asked["pipeline_uuid"], asked["variables"]) == ("monitoring", {"model": MODEL, "only_new": True})
        assert as_the_pipeline(fake)["checks"] == 2
        assert alarms(watch) == [("v2", False), ("v2", False)]
        assert as_the_pipeline(fake)["checks"] == 0, "a repeated run is no second window"
        assert sensor.look(connection, ()) is None
        assert ChampionSensor(mage, [MODEL]).look(connection, ()) is None, "nor after a restart"

        again = watch.check(MODEL, "table")
        assert (again.model_version, again.alarm) == ("v2", True), "the new champion's own drift alarms as ever"

        watch.line.registry.rollback(MODEL, asked_by="person: tester")
        assert sensor.look(connection, ()) == MODEL
        assert as_the_pipeline(fake)["checks"] == 2
        assert {version for version, _ in alarms(watch)} == {"v1"}
        assert len(fake.runs) == 2
    mage.close()
