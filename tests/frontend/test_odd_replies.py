"""A model's answers and a file's, told piece by piece where something is missing; beside no server."""

from __future__ import annotations

from typing import Any

import pytest

from frontend import answered, scores
from frontend.catalogue import Forecast, Group, Verdict
from frontend.results import SHOWN, Reason
from frontend.views import (
    answers,
    ask,
    segments,
)
from frontend.views import outcome as outcome_view
from tests.frontend.pieces import EN, FEATURES, GROUPS, ID, answering, answers_csv, both, detail, fresh, job, told

__all__ = ["answering", "fresh", "told"]


def test_a_verdict_by_rule_says_so_and_a_reason_without_effect_has_no_bar() -> None:
    fields = {"model_version": "v1", "prediction": "Rejected", "is_approved": False, "probability": 0.4,
              "threshold": 0.5, "calibrated": False, "calibration": both("c"), "decided_by": "policy",
              "reasons": [{"kind": "policy", "text": both("Too young.")}]}  # fmt: skip
    text = answers.told(detail(task="classification"), Verdict.model_validate(fields), {}, EN)
    assert EN("answer.by_policy") in text
    assert "Too young." in text
    assert "sg-effect" not in text


def test_a_group_without_profile_is_only_named() -> None:
    found = Group(model_version="v1", cluster=1, distance_to_center=0.5)
    text = answers.told(detail(task="clustering", levels=GROUPS), found, {}, EN)
    assert "Dear" in text
    assert EN("answer.profile") not in text


def test_a_forecast_is_no_answer_to_a_form() -> None:
    fields = {"model_version": "v1", "value": 1.0, "naive_forecast": 0.0, "direction": "unchanged", "source": "rows",
              "interval": {"low": 0.5, "high": 1.5, "confidence": 0.9, "coverage": 0.9}, "note": both("n"),
              "as_of": "2026-11-20", "forecast_for": "2026-11-21"}  # fmt: skip
    found = Forecast.model_validate(fields)
    assert 'class="sg-big"' not in answers.told(detail(task="forecasting"), found, {}, EN)
    text = answers.forecast(detail(task="forecasting"), found, EN)
    assert "inf" not in text, "nothing is divided by a forecast of zero"


def test_values_of_a_request_are_told_as_people_say_them() -> None:
    model = detail()
    told = [answers.value(model, name, held, EN)
            for name, held in (("horsepower", None), ("fueltype", "gas"), ("colour", "red"), ("turbo", 1),
                               ("turbo", 0), ("horsepower", 92.0), ("doors", 4))]  # fmt: skip
    assert told == [EN("ask.unknown"), "petrol", "red", EN("pages.yes"), EN("pages.no"), "92 hp", "4"]


@pytest.mark.parametrize(
    ("low", "high", "said"), [(None, None, "hp"), (5, None, "5"), (None, 9, "9"), (5, 9, "5")], ids=str
)
def test_a_field_s_limits_may_be_open(low: float | None, high: float | None, said: str) -> None:
    feature = detail(features=({**FEATURES[0], "minimum": low, "maximum": high},)).features[0]
    text = ask.limits(feature, EN)
    assert said in text
    assert "None" not in text


def test_an_amount_that_is_not_known_is_a_dash() -> None:
    assert scores.amount(None, "USD", EN) == "–"


def test_a_file_s_answers_are_titled_and_read_in_the_reader_s_language() -> None:
    model = detail(levels=GROUPS, task="clustering")
    names = ("gap_horsepower", "gap_doors", "distance_to_center", "cluster_label", "cluster", "probability", "out_of")
    columns = answered.columns(model, names, ID)
    assert columns[0].title.endswith("(hp)")
    assert columns[0].read("-4.25") == "−4,25"
    assert columns[1].read("many") == "many", "a cell that is no number stays as it is"
    assert columns[1].read("") == "–"
    assert columns[2].read("0.5") == "0,50"
    assert [columns[3].read(cell) for cell in ("Dear", "Mahal (Dear)", "Other")] == ["Mahal", "Mahal", "Other"]
    assert columns[4].title == ""
    assert columns[5].read("?") == "?"


def test_a_segment_without_profile_is_told_by_its_centre_or_by_its_size_alone() -> None:
    model = detail(levels=GROUPS, task="clustering")
    assert "90 hp" in segments._card(model, 0, EN)
    bare = detail(levels=[{**each, "center": {}} for each in GROUPS], task="clustering")
    assert "<ul" not in segments._card(bare, 0, EN)


def test_a_reading_that_broke_off_is_told_and_what_was_answered_counts(tmp_path: Any) -> None:
    found = answers_csv(tmp_path, "90,red,1,v3,answered,", ",,,,failed,The file is damaged.", "9,red,1,v3,answered,")
    assert (found.answered, found.fault) == (1, "The file is damaged.")


def test_of_many_refused_rows_the_first_are_kept_and_all_are_counted(tmp_path: Any) -> None:
    rows = ['x,red,,v3,refused,"horsepower: found x, expected a number"'] * (SHOWN + 7)
    found = answers_csv(tmp_path, *rows)
    assert (found.refused, len(found.refused_rows), len(found.rows)) == (SHOWN + 7, SHOWN, SHOWN)
    assert found.reasons["horsepower"] == SHOWN + 7


def test_a_reason_is_told_with_what_the_declaration_expects(tmp_path: Any) -> None:
    model = detail()
    found = answers_csv(
        tmp_path,
        'x,red,,v3,refused,"horsepower: found x, expected a number"',
        ',red,,v3,refused,"horsepower: found nothing, expected a number; turbo: found 7, expected 0 or 1"',
        "1,,,v3,refused,It has too many cells.",
        '1,,,v3,refused,"doors: found 9, expected 2 to 5"',
    )
    text = outcome_view._why(found, model, EN)
    assert "“x”" in text
    assert "It has too many cells." in text
    assert outcome_view._why(answers_csv(tmp_path), model, EN) == ""
    told = [outcome_view.reason(cells[-1], model, EN) for _, cells in found.refused_rows]
    assert EN("batch.nothing") in told[1]
    assert EN("pages.flag") in told[1]
    assert told[2] == "It has too many cells."
    assert "2 to 5" in told[3], "what the declaration does not know is told as the API told it"
    assert outcome_view._cause(None, "", model, EN) == f"<b>{EN('batch.whole_row')}</b>"
    assert "40" in outcome_view._cause(Reason("horsepower", "x", "a number"), "horsepower", model, EN)


def test_a_stopped_file_is_told_as_stopped(tmp_path: Any, told: list[str]) -> None:
    outcome_view.show(job(tmp_path, state="stopped"), detail(), EN)
    assert EN("batch.stopped") in told[-1]


@pytest.mark.parametrize(("state", "key"), [("sending", "sent"), ("answering", "rows")])
@pytest.mark.parametrize("share", [None, 0.5])
def test_a_file_on_its_way_is_told_with_or_without_a_share(
    tmp_path: Any, told: list[str], monkeypatch: pytest.MonkeyPatch, state: str, key: str, share: float | None
) -> None:
    bars: list[Any] = []
    monkeypatch.setattr(outcome_view.st, "progress", lambda *given: bars.append(given))
    outcome_view._progress.__wrapped__(job(tmp_path, state=state, running=True, share=share), EN)
    assert bool(bars) is (share is not None)
    assert any('role="status"' in each for each in told) is (share is None)
    assert EN("batch.may_leave") in told[-1]


def test_leaving_a_file_stops_it_and_leaving_twice_does_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []
    session = {outcome_view.JOB: job(tmp_path, stop=lambda: stopped.append(True))}
    monkeypatch.setattr(outcome_view.st, "session_state", session)
    outcome_view._leave()
    outcome_view._leave()
    assert stopped == [True]


def test_a_table_of_answers_keeps_the_file_s_columns_apart(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(outcome_view.st, "dataframe", lambda rows, **_: shown.append(rows))
    monkeypatch.setattr(outcome_view.st, "segmented_control", lambda *_, **__: "refused")
    found = answers_csv(tmp_path, *["x,red,,v3,refused,It is odd."] * (SHOWN + 1))
    outcome_view._table(job(tmp_path), found, detail(), EN)
    assert EN("batch.first", shown="500", total="501") in told[-1]
    assert shown[0][0][EN("batch.reason")] == "It is odd."
    assert shown[0][0]["colour"] == "red"
    told.clear()
    outcome_view._table(job(tmp_path), answers_csv(tmp_path, "9,red,7,v3,answered,"), detail(), EN)
    assert told == []
    assert EN("batch.reason") not in shown[1][0]
