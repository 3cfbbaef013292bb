"""Checks on a real champion: what is compared, what alarms, and what a fault leads to."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient

from sigap.catalog import declaration
from sigap.cli.drift import ALARM, check_now, show_checks
from sigap.errors import ConfigurationError, ServiceError, UnknownModelError
from sigap.monitoring import checks, report
from sigap.monitoring import records as records_module
from sigap.monitoring.checks import check, check_all, check_named, summary
from sigap.monitoring.records import records
from tests.monitoring.conftest import Watch


@pytest.mark.usefixtures("without_evidently")
def test_the_way_of_live_inputs_from_too_few_over_drift_and_alarm_back_to_steady(
    watch: Watch, capsys: pytest.CaptureFixture[str]
):
    assert check("car_price", "live", settings=watch.settings) is None, "there is no champion yet"
    version = watch.train("car_price")

    empty = watch.check("car_price", "live")
    assert (empty.status, empty.drifted, empty.alarm, empty.rows) == ("too_few", False, False, 0)
    assert empty.model_version == version
    watch.log("car_price", watch.inputs("car_price", 20))
    watch.log("car_price", watch.inputs("car_price", 300, by=1.5), shadow=True)
    watch.log("education", [{"gini": 0.4}] * 100)
    assert watch.check("car_price", "live").status == "too_few", "neither the shadow's nor another model's inputs count"

    watch.log("car_price", watch.inputs("car_price", 100, seed=1))
    steady = watch.check("car_price", "live")
    assert (steady.status, steady.rows, steady.drifted, steady.alarm) == ("computed", 120, False, False)
    assert steady.reference_rows == 300
    assert steady.report, "of a steady window there is a report a day"

    watch.log("car_price", watch.inputs("car_price", 120, seed=2, by=1.5))
    first = watch.check("car_price", "live")
    assert (first.rows, first.drifted, first.alarm) == (120, True, False), "a window is used once, and one is no alarm"
    assert "takes 2 of the last 3" in first.reason
    found = watch.features(first)
    assert found["horsepower"][3] is True
    assert found["horsepower"][4]["moved_sd"] > 0.5
    assert sum(found["horsepower"][4]["now"]) == 120
    assert found["fueltype"][3] is False

    watch.log("car_price", watch.inputs("car_price", 120, seed=3, by=1.5))
    second = watch.check("car_price", "live")
    assert (second.drifted, second.alarm) == (True, True)
    quiet = watch.check("car_price", "live")
    assert (quiet.status, quiet.drifted, quiet.alarm) == ("too_few", False, True), "silence does not end an alarm"

    for seed in (4, 5):
        watch.log("car_price", watch.inputs("car_price", 120, seed=seed))
        last = watch.check("car_price", "live")
    assert (last.drifted, last.alarm) == (False, False)
    assert last.report is None, "one of today is there"
    assert summary([second, last])["alarms"] == "car_price (live)"

    # The table: rows that training did not see are looked at alone, once they are enough.
    columns = [row[0] for row in watch.ask(
        "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'cars' AND column_name <> 'car_id'"
        " AND is_generated = 'NEVER' AND is_identity = 'NO'")]  # fmt: skip
    numbers = {"horsepower", "enginesize", "citympg", "highwaympg", "curbweight", "carlength", "carwidth", "wheelbase"}
    moved = ", ".join(f"{name} * 1.25" if name in numbers else name for name in columns)
    watch.ask(
        f"INSERT INTO cars (car_id, {', '.join(columns)}) SELECT car_id + 10000, {moved} FROM cars"
        " ORDER BY car_id LIMIT 60"
    )
    table = watch.check("car_price", "table")
    assert (table.details["scope"], table.drifted) == ("new_rows", True)
    assert 40 <= table.rows <= 60

    # The words: the newest checks with their reasons and features, and the code of a check that finds an alarm.
    show_checks(watch.settings, "car_price", 10)
    told = " ".join(capsys.readouterr().out.split())
    for part in ("car_price, live inputs", "car_price, newest table", first.reason[:40], "horsepower", "Report: drift"):
        assert part in told, part
    assert check_now(watch.settings, "car_price", "table") == ALARM
    assert "alarm" in capsys.readouterr().out
    show_checks(watch.settings, "education", 10)
    assert "./run drift check education --subject live" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="no subject 'tables'"):
        check_now(watch.settings, "car_price", "tables")


def test_the_newest_table_of_provinces_and_what_becomes_of_its_features(watch: Watch, request: pytest.FixtureRequest):
    watch.train("education")
    same = watch.check("education", "table")
    assert (same.status, same.drifted, same.alarm) == ("computed", False, False), same.reason
    assert {row[1] for row in watch.features(same).values()} == {0.0}, "nothing changed, so nothing differs"
    client = MlflowClient(watch.settings.tracking_uri, watch.settings.tracking_uri)
    names = {entry.path.rsplit("/", 1)[1] for entry in client.list_artifacts(same.run_id, same.report)}
    assert names == {"report.html", "report.json"}
    request.getfixturevalue("without_evidently")
    before = watch.features(same)
    again = watch.check("education", "table")
    assert watch.features(again) == before
    assert again.report == same.report

    constant, empty = list(before)[:2]
    declared = declaration("education").feature(constant)
    watch.ask(f"UPDATE education_data SET {constant} = {(declared.minimum + declared.maximum) / 2}, {empty} = NULL")
    changed = watch.check("education", "table")
    found = watch.features(changed)
    assert found[constant][3] is True
    assert found[empty][3] is True
    assert found[empty][0].startswith("missing_")
    assert found[empty][1] > 0.9
    assert changed.drifted
    assert watch.check("education", "table").alarm, "a table that stays so is seen to drift again"

    nothing = ", ".join(f"{name} = NULL" for name in declaration("education").feature_names)
    watch.ask(f"UPDATE education_data SET {nothing}")
    failed = watch.check("education", "table")
    assert (failed.status, failed.drifted, failed.alarm, failed.share) == ("failed", True, True, None)
    assert failed.reason.startswith("The check failed, which counts as drift: ")


@pytest.mark.usefixtures("without_evidently")
def test_faults_are_alarms_and_never_steady(watch: Watch, monkeypatch: pytest.MonkeyPatch):
    watch.train("education")
    watch.log("education", watch.inputs("education", 60))

    def broken(*_):
        raise report.ReportError("Evidently can't compute it: it was told to fail.")

    with monkeypatch.context() as patch:
        patch.setattr(checks, "keep_report", broken)
        told = watch.check("education", "live")
    assert (told.status, told.alarm, told.report) == ("computed", True, None)
    assert "told to fail" in told.reason
    assert watch.features(told), "the decision is kept"
    watch.log("education", watch.inputs("education", 60))
    assert watch.check("education", "live").report, "the next window makes up for it"

    remote = watch.settings.state / "dvc-remote"
    kept = remote.rename(remote.with_name("elsewhere"))
    for path in (watch.settings.root / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    watch.log("education", watch.inputs("education", 60, seed=1))
    lost = watch.check("education", "live")
    assert (lost.status, lost.drifted, lost.alarm) == ("failed", True, True)
    assert "neither in DVC's cache nor" in lost.reason

    # Once the remote is back, the snapshot is fetched, and the window that failed is looked at after all.
    shutil.rmtree(remote, ignore_errors=True)
    kept.rename(remote)
    back = watch.check("education", "live")
    assert (back.status, back.rows) == ("computed", 60), back.reason

    # Without MLflow nobody knows the champion: that is told of the last one, and never as steady.
    gone = watch.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9", "registry_wait_seconds": 0.0})
    away = check("education", "live", settings=gone)
    assert away is not None
    assert (away.status, away.model_version, away.alarm) == ("failed", back.model_version, True)


@pytest.mark.usefixtures("without_evidently")
def test_ten_checks_at_once_use_each_input_once_and_no_clock_has_a_say(watch: Watch, monkeypatch: pytest.MonkeyPatch):
    watch.train("education")
    told = []
    done = check_all(settings=watch.settings, tell=lambda *each: told.append(each))
    assert {(each.model, each.subject) for each in done} == {("education", "live"), ("education", "table")}
    assert len(told) == 12, "models without a champion are passed over"

    watch.log("education", watch.inputs("education", 60, by=1.6))
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda _: check("education", "live", settings=watch.settings), range(10)))
    done = [each for each in made if each is not None and each.status == "computed"]
    assert [(each.rows, each.drifted) for each in done] == [(60, True)]
    assert not any(each.alarm for each in made if each), "ten checks of one window are one window"

    # A clock that was two days ahead and came back: the order of the windows is still theirs.
    watch.ask("UPDATE drift_checks SET checked_at = now() + interval '2 days'")
    watch.log("education", watch.inputs("education", 60, seed=1, by=1.6))
    second = watch.check("education", "live")
    assert second.alarm
    monkeypatch.setattr(records_module, "KEPT", 2)
    silent = watch.check("education", "live")
    with records(watch.settings) as kept:
        assert [each.id for each in kept.newest("education", "live", 9)] == [silent.id, second.id], "old ones go"
        assert kept.used_until("education") == second.last_prediction == silent.last_prediction

    with pytest.raises(UnknownModelError):
        check_all(["boats"], settings=watch.settings)
    with pytest.raises(Exception, match="no subject 'both'"):
        check_named("education", "both")
    gone = watch.settings.model_copy(update={"database_url": None, "postgres_port": 9})
    with pytest.raises(ServiceError):
        check("education", "live", settings=gone)
