"""The overview, what drifts and what is to be done, told where little is known; beside no server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from frontend import acts, catalogue, drift, operator, runs, verdicts
from frontend.api import Clusters, Model
from frontend.batch import Job
from frontend.catalogue import Decision, Estimate, Forecast
from frontend.charts import forecast as forecast_chart
from frontend.palette import LIGHT
from frontend.views import (
    about,
    answers,
    batch,
    confirmation,
    intake,
    judged,
    movement,
    operations,
    origin,
    overview,
    performance,
    pipeline,
    profile,
    request,
    run_choice,
    simulation,
    versions,
)
from frontend.views import drift as drift_view
from frontend.words import Words
from tests.frontend.pieces import EN, GROUPS, both, clusters, decided, detail, fresh, run, told, tried

__all__ = ["fresh", "told"]


def test_the_last_decision_is_unknown_or_none_or_told() -> None:
    assert EN("overview.decision_unknown").replace("'", "&#x27;") in overview._last(None, EN)
    assert EN("decided.none") in overview._last((), EN)
    failed = Decision(outcome="failed", reason="No table.")
    assert "No table." in overview._last((failed,), EN)


@pytest.mark.parametrize(
    ("decisions", "served", "weight", "key"),
    [
        ((Decision(outcome="running"),), False, 1, "pages.training"),
        ((), False, 0, "concern.untrained"),
        (None, False, 2, "concern.none"),
        ((Decision(outcome="failed"),), True, 2, "concern.failed"),
        ((Decision(outcome="refused", rule="waiting"),), True, 2, "concern.waiting"),
    ],
)
def test_what_needs_attention_is_weighed(decisions: Any, served: bool, weight: int, key: str) -> None:
    assert overview.concerns(detail(served=served), decisions, EN) == [(weight, EN(key, title="Car price"))]


def test_an_uncalibrated_model_on_rows_that_were_set_aside_is_a_concern() -> None:
    data = {"version": "v1", "rows": 9, "rows_rejected": 2, "period": "soon"}
    found = overview.concerns(detail(calibrated=False, task="forecasting", data=data), (), EN)
    assert [weight for weight, _ in found] == [1, 0], "a period that is no date is not stale"
    old = overview.concerns(detail(task="forecasting", data={**data, "period": "2020-01-01"}), (), EN)
    assert EN("concern.stale", title="Car price", period="1 January 2020") in [text for _, text in old]


def test_readers_of_levels_are_told_what_was_left_out() -> None:
    data = {"version": "v1", "rows": 9, "rows_rejected": 1, "period": 2024}
    left = ({"name": "doors", "published_share": 1.0, "reason": both("it never varies")},)
    model = Model.model_validate(detail().model_dump() | {"data": data, "features_left_out": left})
    clusters = Clusters.model_validate(
        {"model_version": "v3", "members": (),
         "not_assessed": [{"entity": "P1", "name": "Aceh", "reason": both("r")}],
         "breaks": [{"entity": "P2", "period": 2022, "note": both("n")}]}
    )  # fmt: skip
    notes = overview.attention(model, clusters, EN)
    assert len(notes) == 4
    assert "Aceh" in notes[0]
    assert "P2 (2022)" in notes[2], "a member that is gone is told by its code"
    assert "It never varies." in notes[3]


def test_a_window_that_was_never_checked_and_a_model_without_report(told: list[str]) -> None:
    one = SimpleNamespace(check=None, computed=None, history=())
    assert EN("drift.unchecked_text") in drift_view.verdict(one, EN)  # type: ignore[arg-type]
    drift_view._report(one, "car_price", EN)  # type: ignore[arg-type]
    assert told == [f'<p class="sg-small">{EN("drift.no_report")}</p>']


@pytest.mark.parametrize(
    ("status", "computed", "said"), [("failed", None, "No table."), ("too_few", "2026-11-20T06:12:00Z", "days ago")]
)
def test_a_check_that_failed_or_had_too_few_rows_is_told_why(
    monkeypatch: pytest.MonkeyPatch, status: str, computed: str | None, said: str
) -> None:
    monkeypatch.setattr(drift_view, "sentence", lambda *_: "s")
    monkeypatch.setattr(Words, "ago", lambda *_: "9 days ago")
    known = SimpleNamespace(checked_at=computed) if computed else None
    one = SimpleNamespace(check=SimpleNamespace(status=status, reason="No table."), computed=known, state="failed")
    assert said in drift_view.verdict(one, EN)  # type: ignore[arg-type]


@pytest.mark.parametrize("known", [None, {}])
def test_without_any_check_the_section_is_short(monkeypatch: pytest.MonkeyPatch, told: list[str], known: Any) -> None:
    monkeypatch.setattr(drift, "states", lambda: known)
    drift_view.section({"car_price": detail()}, EN)
    assert EN("more.not_now" if known is None else "drift.none_checked").replace("'", "&#x27;") in told[-1]


def test_titles_of_columns_are_those_of_the_declaration() -> None:
    target = {"name": "price", "title": both("Price"), "unit": both("USD")}
    model = detail(target=target)
    assert [profile.title(name, model, EN) for name in ("price", "turbo", "colour")] == ["Price", "Turbo", "colour"]
    day = profile.Column(name="price", kind="date", role="target", missing=0, missing_share=0, distinct=3,
                         minimum="2026-01-01", maximum="2026-11-20")  # fmt: skip
    assert "1 January 2026" in profile._row(day, model, None, EN)


def test_the_features_that_a_run_used_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    served = detail(features_used=("turbo",))
    assert profile.used(served, run(model_version="v3")) == {"turbo"}
    monkeypatch.setattr(runs, "run", lambda *_: tried(params={"features_used": "turbo, horsepower"}))
    assert profile.used(served, run(model_version="v2")) == {"turbo", "horsepower"}
    monkeypatch.setattr(runs, "run", lambda *_: None)
    assert profile.used(served, run()) is None


def test_a_file_looked_at_is_told_with_all_that_is_odd(told: list[str]) -> None:
    found = SimpleNamespace(
        file="cars.csv", rows=9, inserted=0, changed=0, unchanged=9, rejected=0, doubles=2, mock_removed=250,
        mock_said=3, missing=("horsepower",), unused=("colour",), moves=False, notes=("Sheet 1 was read",),
        headings={"turbo": "Turbo?"},
    )  # fmt: skip
    intake._told(found, detail(), EN)  # type: ignore[arg-type]
    for text in (EN("supply.doubles"), EN("supply.nothing_new"), "Sheet 1 was read.", "colour", "Power", "250"):
        assert text in told[-1]
    quiet = {"doubles": 0, "mock_removed": 0, "mock_said": 0, "missing": (), "unused": (), "moves": True, "notes": ()}
    intake._told(SimpleNamespace(**(vars(found) | quiet)), detail(), EN)  # type: ignore[arg-type]
    assert EN("supply.nothing_new") not in told[-1]
    assert "colour" not in told[-1]


def test_rows_set_aside_are_a_file_that_no_spreadsheet_runs() -> None:
    assert intake._as_csv([{"row": 2, "found": "=1+1"}]).splitlines() == ["row,found", "2,'=1+1"]
    assert intake._as_csv([]).strip() == ""


def test_what_is_confirmed_twice_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session: dict[str, Any] = {}
    monkeypatch.setattr(acts.st, "session_state", session)
    acts.confirm()
    acts.go()
    assert session == {acts.INTENT: None}
    session[acts.INTENT] = acts.Act("approve", "car_price")
    monkeypatch.setattr(operator, "current", lambda: None)
    acts.confirm()
    assert session[acts.OUTCOME].state == "ended", "nobody is signed in any more"
    session[operator.SESSION] = None
    operations._sign_out(None)  # type: ignore[arg-type]
    assert session[acts.OUTCOME] is not None, "signed out already: nothing is asked of the API"


def test_a_challenger_that_is_another_by_now_is_not_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    standing = [SimpleNamespace(model_version="v3", aliases=["champion"]),
                SimpleNamespace(model_version="v5", aliases=["challenger"])]  # fmt: skip
    monkeypatch.setattr(acts, "versions", lambda *_: standing)
    sent: list[Any] = []
    monkeypatch.setattr(operator, "ask", lambda *given: sent.append(given) or {})
    who = SimpleNamespace(name="sari")
    found = acts.carry_out(acts.Act("approve", "car_price", before="v3", after="v4"), who)  # type: ignore[arg-type]
    assert (found.state, sent) == ("changed", [])


def test_without_models_there_is_nothing_to_operate(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(catalogue, "entries", lambda: ())
    assert operations._choose(EN) is None
    assert EN("state.empty.text").replace("'", "&#x27;") in told[-1]


def test_of_a_single_version_there_is_nothing_to_go_back_to(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(acts, "versions", lambda *_: ())
    monkeypatch.setattr(versions, "_challenger", lambda *_: None)
    versions.show(None, "car_price", EN)  # type: ignore[arg-type]
    assert EN("ops.no_champion") in told[1]
    assert EN("ops.no_other") in told[2]


def test_a_series_can_only_be_shifted_live(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(catalogue, "detail", lambda _name: detail(task="forecasting"))
    assert simulation._into("bitcoin_price", EN) == "live"
    assert "series of prices" in told[0]
    assert simulation.lines(acts.Act("approve", "car_price"), "Car price", EN) == []


def test_without_a_model_before_nobody_moved(told: list[str]) -> None:
    assert movement.since_before(clusters()) == ()
    assert movement.comparisons(clusters(), EN) == {}
    model = Model.model_validate(detail().model_dump() | {"levels": GROUPS})
    movement._scale(model, clusters(), EN)
    assert told == []


def test_levels_that_meant_something_else_are_told(told: list[str]) -> None:
    against = {"model_version": "v2", "data_version": "v1", "period": 2023, "levels": 3}
    moves = [{"entity": "P1", "name": "Aceh", "kind": "break", "from": 1, "to": 1}]
    found = clusters(movement={"against": against, "moves": moves})
    model = Model.model_validate(detail().model_dump() | {"levels": GROUPS})
    movement._scale(model, found, EN)
    assert told == [f'<p role="note">{EN("moved.scale", before=3, now=2)}</p>']
    aceh = SimpleNamespace(entity="P1")
    assert movement.told(model, found, aceh, EN) == "", "a break that changed no level is no news"  # type: ignore[arg-type]
    assert list(movement.comparisons(found, EN)) == ["model"]


def test_a_forecast_without_unit_has_a_chart_without_one() -> None:
    found = Forecast.model_validate(
        {"model_version": "v1", "value": 1.0, "naive_forecast": 1.1, "direction": "down", "source": "rows",
         "interval": {"low": 0.5, "high": 1.5, "confidence": 0.9, "coverage": 0.9}, "note": both("n"),
         "as_of": "2026-11-20T00:00:00Z", "forecast_for": "2026-11-21T00:00:00Z"}
    )  # fmt: skip
    figure = forecast_chart.forecast_figure(detail(task="forecasting"), found, LIGHT, EN)
    assert figure.layout.yaxis.title.text is None


def test_findings_of_models_that_were_never_trained_or_failed() -> None:
    failed = Decision(outcome="failed")
    waiting = Decision(outcome="refused", rule="waiting")
    found = list(verdicts._trainings({"a": None, "b": (failed,), "c": (waiting,)}, {"b": "B", "c": "C"}, EN))
    assert [each.text for each in found] == [EN("concern.failed", title="B"), EN("concern.waiting", title="C")]


def test_a_price_without_classes_has_no_chip() -> None:
    fields = {
        "model_version": "v1",
        "value": 7.5,
        "interval": {"low": 5, "high": 9, "confidence": 0.9, "coverage": 0.9},
    }
    text = answers.told(detail(), Estimate.model_validate(fields), {}, EN)
    assert "7.50" in text
    assert "sg-chip" not in text


@pytest.mark.parametrize("text", ["", "# Card"])
def test_a_lineage_that_can_t_be_told_is_no_chain(monkeypatch: pytest.MonkeyPatch, told: list[str], text: str) -> None:
    monkeypatch.setattr(catalogue, "lineage", lambda *_: None)
    about._lineage(detail(), EN)
    monkeypatch.setattr(runs, "lineage", lambda *_: None)
    origin._chain("car_price", "v3", None, EN)
    assert told == [f"<p>{EN('more.not_now').replace(chr(39), '&#x27;')}</p>"] * 2


def test_a_run_without_version_leads_to_no_answers(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(origin.st, "session_state", {"runs_request": " "})
    monkeypatch.setattr(origin.st, "text_input", lambda *_, **__: "")
    origin.show(detail(), run(), EN)
    assert told[-1] == f"<p>{EN('runs.no_version')}</p>"


def test_lengths_are_told_in_seconds_then_minutes() -> None:
    assert [run_choice.duration(each, EN) for each in (41, 600)] == ["41 seconds", "10 minutes"]


def test_an_answer_without_id_has_nothing_to_copy(told: list[str]) -> None:
    request.show("car_price", "", EN)
    assert told == []
    request.show("car_price", "some-id", EN)
    assert EN("pages.request") in told[0], "and no link where there is no such page"


def test_decisions_that_are_all_asked_for_are_all_shown(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(judged.st, "session_state", {"runs_judged_all": True})
    monkeypatch.setattr(runs, "judged", lambda _model: tuple(decided(at) for at in range(judged.SHOWN + 3)))
    judged.show(detail(), EN)
    assert told[-1].count("<li>") == judged.SHOWN + 3


def test_what_will_be_done_is_said_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "detail", lambda _name: detail())
    first = confirmation._lines(acts.Act("approve", "car_price", after="v1"), EN)
    assert first[0] == EN("ops.first_what", title="Car price", after="v1")
    session: dict[str, Any] = {}
    monkeypatch.setattr(confirmation.st, "session_state", session)
    wanted = acts.Act("import", "car_price", after="cars.csv")
    assert confirmation._lines(wanted, EN) == [], "the file is gone"
    found = SimpleNamespace(rows=9, inserted=1, changed=0, unchanged=8, rejected=0, mock_removed=0, mock_said=0)
    monkeypatch.setattr(
        confirmation, "counts", lambda *_: dict.fromkeys(("rows", "inserted", "changed", "unchanged"), "1")
    )
    session[confirmation.supply.INTAKE] = SimpleNamespace(found=found)
    plain = len(confirmation._lines(wanted, EN))
    found.rejected = found.mock_removed = found.mock_said = 3
    assert len(confirmation._lines(wanted, EN)) == plain + 3


def test_a_request_in_one_language_alone_is_told_in_it() -> None:
    assert run(reason="No gain.").told("id") == ("No gain.", "en")
    assert run(reason="No gain.", reason_id="Tidak lebih baik.").told("id") == ("Tidak lebih baik.", "id")


def test_of_no_former_runs_nothing_is_listed_and_a_step_that_waits_has_no_length() -> None:
    assert pipeline._former((), EN) == ""
    assert pipeline._seconds(SimpleNamespace(started_at=None, status="running")) is None  # type: ignore[arg-type]


def test_a_measure_without_spread_has_no_range() -> None:
    found = SimpleNamespace(metric="rmse", value=1454.0, low=None, high=None)
    assert performance._error(None, detail(), EN) == "–"
    assert "(" not in performance._error(found, detail(), EN)  # type: ignore[arg-type]


def test_without_a_last_check_nothing_is_said_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "drift", lambda _model: None)
    done = SimpleNamespace(into="table")
    assert simulation.again(done, detail(), EN) == EN("sim.again")  # type: ignore[arg-type]


def test_a_model_whose_state_is_behind_the_registry_is_a_finding() -> None:
    states = {
        "a": SimpleNamespace(model_version=None, held=None, status="no_model"),
        "b": SimpleNamespace(model_version=None, held=None, status="no_model"),
        "c": SimpleNamespace(model_version="v3", held="v3", status="ok"),
    }
    decided = {"a": (Decision(outcome="refused"),), "b": (Decision(outcome="running"),)}
    health = SimpleNamespace(models=states)
    found = list(verdicts._models(health, decided, {}, EN))  # type: ignore[arg-type]
    told = [EN("watch.refused", title="a"), EN("pages.training", title="b"), EN("watch.held", title="c", version="v3")]
    assert [each.text for each in found] == told


def test_a_batch_that_has_no_model_of_rows_says_so(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(catalogue, "entries", lambda: ())
    batch.show(EN)
    assert EN("state.empty.text").replace("'", "&#x27;") in told[-1]


def test_a_file_that_is_on_its_way_is_not_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    session: dict[str, Any] = {batch.JOB: "on its way"}
    monkeypatch.setattr(batch.st, "session_state", session)
    batch._start(detail(), None, None, {})  # type: ignore[arg-type]
    assert session == {batch.JOB: "on its way"}


def test_a_file_of_unknown_length_has_no_share() -> None:
    known = SimpleNamespace(sent=5, rows=1, lines=2, preview=SimpleNamespace(size=10, kind="CSV"))
    assert Job.share.fget(known) == pytest.approx(0.5)  # type: ignore[attr-defined]
    known.preview.kind = "XLSX"
    assert Job.share.fget(known) is None  # type: ignore[attr-defined]


def test_a_file_that_is_too_large_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(intake.batch, "limits", lambda: SimpleNamespace(max_file_bytes=2**20))
    monkeypatch.setattr(intake.st, "session_state", {})
    monkeypatch.setattr(intake.st, "file_uploader", lambda *_, **__: SimpleNamespace(size=2**21))
    assert intake._take("car_price", EN) is None
    assert EN("batch.too_large", size="2.0", most="1") in told[-1]
