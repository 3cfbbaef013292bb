"""Checks on a real champion: what is compared, what alarms, and what a fault leads to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient

from sigap.catalog import declaration
from sigap.errors import ServiceError, UnknownModelError
from sigap.monitoring import checks, report
from sigap.monitoring.checks import check, check_all, summary
from sigap.monitoring.records import records
from tests.monitoring.conftest import Watch

NUMBERS = [each.name for each in declaration("car_price").features if not each.categories]


def shifted(fields, by=1.5):
    return [
        {name: value * by if name in NUMBERS and value is not None else value for name, value in each.items()}
        for each in fields
    ]


def test_the_way_of_live_inputs_from_too_few_over_drift_and_alarm_back_to_steady(watch: Watch):
    assert check("car_price", "live", settings=watch.settings) is None, "there is no champion yet"
    version = watch.train("car_price")

    empty = watch.check("car_price", "live")
    assert (empty.status, empty.drifted, empty.alarm, empty.rows) == ("too_few", False, False, 0)
    assert empty.model_version == version
    watch.log("car_price", watch.cars(20))
    watch.log("car_price", shifted(watch.cars(300)), shadow=True)
    watch.log("education", [{"gini": 0.4}] * 100)
    assert watch.check("car_price", "live").status == "too_few", "neither the shadow's nor another model's inputs count"

    watch.log("car_price", watch.cars(100, seed=1))
    steady = watch.check("car_price", "live")
    assert (steady.status, steady.rows, steady.drifted, steady.alarm) == ("computed", 120, False, False)
    assert steady.reference_rows == 300
    assert steady.report, "of a steady window there is a report a day"

    watch.log("car_price", shifted(watch.cars(120, seed=2)))
    first = watch.check("car_price", "live")
    assert (first.rows, first.drifted, first.alarm) == (120, True, False), "a window is used once, and one is no alarm"
    assert "takes 2 of the last 3" in first.reason
    found = watch.features(first)
    assert found["horsepower"][3] is True
    assert found["horsepower"][4]["moved_sd"] > 0.5
    assert sum(found["horsepower"][4]["now"]) == 120
    assert found["fueltype"][3] is False

    watch.log("car_price", shifted(watch.cars(120, seed=3)))
    second = watch.check("car_price", "live")
    assert (second.drifted, second.alarm) == (True, True)
    quiet = watch.check("car_price", "live")
    assert (quiet.status, quiet.drifted, quiet.alarm) == ("too_few", False, True), "silence does not end an alarm"

    for seed in (4, 5):
        watch.log("car_price", watch.cars(120, seed=seed))
        last = watch.check("car_price", "live")
    assert (last.drifted, last.alarm) == (False, False)
    assert last.report is None, "one of today is there"

    client = MlflowClient(watch.settings.tracking_uri)
    names = {entry.path.rsplit("/", 1)[1] for entry in client.list_artifacts(second.run_id, second.report)}
    assert names == {"report.html", "report.json"}
    assert summary([second])["alarms"] == "car_price (live)"


def test_the_newest_table_of_provinces_and_what_becomes_of_its_features(watch: Watch):
    watch.train("education")
    same = watch.check("education", "table")
    assert (same.status, same.drifted, same.alarm) == ("computed", False, False)
    assert {row[1] for row in watch.features(same).values()} == {0.0}, "nothing changed, so nothing differs"
    again = watch.check("education", "table")
    assert watch.features(again) == watch.features(same)
    assert again.report == same.report

    names = list(watch.features(same))
    constant, empty = names[0], names[1]
    watch.ask(f"UPDATE education_data SET {constant} = 50, {empty} = NULL")
    changed = watch.check("education", "table")
    found = watch.features(changed)
    assert found[constant][3] is True
    assert found[empty][3] is True
    assert found[empty][0].startswith("missing_")
    assert found[empty][1] == pytest.approx(1.0)
    assert changed.drifted
    assert watch.check("education", "table").alarm, "a table that stays so is seen to drift again"

    watch.ask(
        "UPDATE education_data SET " + ", ".join(f"{name} = NULL" for name in declaration("education").feature_names)
    )
    failed = watch.check("education", "table")
    assert (failed.status, failed.drifted, failed.alarm, failed.share) == ("failed", True, True, None)
    assert "not one figure" in failed.reason or "None of the" in failed.reason


def test_new_rows_of_a_table_are_looked_at_alone_once_they_are_enough(watch: Watch):
    watch.train("car_price")
    columns = [row[0] for row in watch.ask(
        "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'cars' AND column_name <> 'car_id'"
        " AND is_generated = 'NEVER' AND is_identity = 'NO'")]  # fmt: skip
    listed = ", ".join(columns)
    moved = ", ".join(f"{name} * 1.4" if name in ("horsepower", "enginesize", "citympg", "highwaympg", "curbweight",
                      "carlength", "carwidth", "wheelbase", "boreratio") else name for name in columns)  # fmt: skip
    watch.ask(f"INSERT INTO cars (car_id, {listed}) SELECT car_id + 10000, {moved} FROM cars ORDER BY car_id LIMIT 40")
    found = watch.check("car_price", "table")
    assert (found.rows, found.details["scope"], found.drifted) == (40, "new_rows", True)


def test_faults_are_alarms_and_never_steady(watch: Watch, monkeypatch: pytest.MonkeyPatch):
    watch.train("car_price")
    watch.log("car_price", watch.cars(60))

    def broken(*_):
        raise report.ReportError("Evidently can't compute it: it was told to fail.")

    monkeypatch.setattr(checks, "keep_report", broken)
    told = watch.check("car_price", "live")
    assert (told.status, told.drifted, told.alarm, told.report) == ("computed", False, True, None)
    assert "told to fail" in told.reason
    assert watch.features(told), "the decision is kept"
    monkeypatch.undo()

    for folder in ("dvc-remote", "cache"):
        assert not (watch.settings.root / folder / "nothing").exists()
    remote = watch.settings.state / "dvc-remote"
    kept = remote.rename(remote.with_name("elsewhere"))
    cache = watch.settings.root / ".dvc" / "cache"
    for path in cache.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    watch.log("car_price", watch.cars(60, seed=1))
    lost = watch.check("car_price", "live")
    assert (lost.status, lost.drifted, lost.alarm) == ("failed", True, True)
    assert "neither in DVC's cache nor" in lost.reason

    # Once the remote is back, the snapshot is fetched, and the window that failed is looked at after all.
    kept.rename(remote)
    back = watch.check("car_price", "live")
    assert (back.status, back.rows, back.drifted) == ("computed", 60, False)

    # Without MLflow nobody knows the champion: that is told of the last one, and never as steady.
    gone = watch.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9", "registry_wait_seconds": 0.0})
    away = check("car_price", "live", settings=gone)
    assert away is not None
    assert (away.status, away.model_version, away.alarm) == ("failed", back.model_version, True)


def test_ten_checks_at_once_use_each_input_once_and_no_clock_has_a_say(watch: Watch):
    watch.train("car_price")
    watch.log("car_price", shifted(watch.cars(60)))
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda _: check("car_price", "live", settings=watch.settings), range(10)))
    done = [each for each in made if each is not None and each.status == "computed"]
    assert [each.rows for each in done] == [60]
    assert not any(each.alarm for each in made if each), "ten checks of one window are one window"

    # A clock that was two days ahead and came back: the order of the windows is still theirs.
    watch.ask("UPDATE drift_checks SET checked_at = now() + interval '2 days'")
    watch.log("car_price", shifted(watch.cars(60, seed=1)))
    second = watch.check("car_price", "live")
    assert second.alarm
    with records(watch.settings) as kept:
        assert kept.newest("car_price", "live")[0].id == second.id
    assert second.checked_at < done[0].checked_at or done[0].checked_at is not None


def test_all_models_are_checked_and_those_without_a_champion_passed_over(watch: Watch):
    watch.train("education")
    told = []
    done = check_all(settings=watch.settings, tell=lambda *each: told.append(each))
    assert {(each.model, each.subject) for each in done} == {("education", "live"), ("education", "table")}
    assert len(told) == 12
    with pytest.raises(UnknownModelError):
        check_all(["boats"], settings=watch.settings)
    gone = watch.settings.model_copy(update={"database_url": None, "postgres_port": 9})
    with pytest.raises(ServiceError):
        check("education", "live", settings=gone)
