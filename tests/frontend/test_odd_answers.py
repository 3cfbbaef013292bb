"""What the pages make of answers that are empty, odd or gone: asked piece by piece, beside no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from frontend import acts, answered, api, catalogue, drift, operator, parts, retrains, runs, scores, sweeps, verdicts
from frontend.api import ApiDownError, ChangedError, Clusters, Model
from frontend.batch import Job
from frontend.catalogue import Decision, Detail, Estimate, Forecast, Group, Verdict
from frontend.charts import forecast as forecast_chart
from frontend.palette import LIGHT
from frontend.performance import performances
from frontend.results import SHOWN, Reason, read
from frontend.runs import Judged, Run, Runs, Trial, Tried
from frontend.views import (
    about,
    answers,
    ask,
    batch,
    compare,
    confirmation,
    experiments,
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
    segments,
    simulation,
    versions,
)
from frontend.views import drift as drift_view
from frontend.views import outcome as outcome_view
from frontend.words import Words
from tests.frontend.conftest import clear_caches

EN, ID = Words("en"), Words("id")
PLAIN = {"id": "Harga mobil", "en": "Car price"}
Answer = Callable[[httpx.Request], httpx.Response]


def both(text: str) -> dict[str, str]:
    return {"id": text, "en": text}


FEATURES = (
    {"name": "horsepower", "title": both("Power"), "unit": both("hp"), "meaning": both("m"), "minimum": 40,
     "maximum": 300, "kind": "integer"},
    {"name": "fueltype", "title": both("Fuel"), "unit": both(""), "meaning": both("m"), "minimum": None,
     "maximum": None, "kind": "category", "categories": ("gas", "diesel"),
     "category_labels": (both("petrol"), both("diesel oil"))},
    {"name": "turbo", "title": both("Turbo"), "unit": both(""), "meaning": both("m"), "minimum": 0, "maximum": 1,
     "flag": True},
)  # fmt: skip


def detail(**changes: Any) -> Detail:
    fields = {"name": "car_price", "title": PLAIN, "question": PLAIN, "task": "regression", "data_source": PLAIN,
              "features": FEATURES, "model_version": "v3", "served": True}  # fmt: skip
    return Detail.model_validate(fields | changes)


LABELS = ({"id": "Murah", "en": "Cheap"}, {"id": "Mahal", "en": "Dear"})
GROUPS = tuple({"cluster": at, "label": label, "size": 10 * at, "center": {"horsepower": 90.0 + at}}
               for at, label in enumerate(LABELS))  # fmt: skip


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    clear_caches()
    yield
    clear_caches()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is put on the page."""
    found: list[str] = []
    monkeypatch.setattr(parts, "html", found.append)
    return found


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """Has the API answer with what a function makes of a request."""
    made: list[httpx.Client] = []

    def answer(how: Answer) -> None:
        made.append(httpx.Client(base_url="http://api.test", transport=httpx.MockTransport(how)))
        monkeypatch.setattr(api, "_client", lambda _address: made[-1])

    yield answer
    for client in made:
        client.close()


def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def fixed(status: int, **options: Any) -> Answer:
    return lambda _request: httpx.Response(status, **options)


Answering = Callable[[Answer], None]


@pytest.mark.parametrize(
    ("how", "said"),
    [(away, "can't be reached"), (fixed(500), "answers /x with 500"), (fixed(404), "answers /x with 404")],
)
def test_a_question_that_has_no_answer_says_which(answering: Answering, how: Answer, said: str) -> None:
    answering(how)
    with pytest.raises(ApiDownError, match=said):
        api.read("/x")


def test_levels_of_another_champion_than_the_page_s_are_not_shown(answering: Answering) -> None:
    answering(fixed(200, json={"model_version": "v4", "members": []}))
    with pytest.raises(ChangedError, match="was v3 a moment ago and is v4 now"):
        api.clusters("education", "v3")


def test_without_a_champion_nothing_is_answered(answering: Answering) -> None:
    answering(fixed(503, json={"detail": "none"}))
    with pytest.raises(ApiDownError, match="no champion"):
        api.asked("education", {})
    with pytest.raises(ApiDownError, match="a batch for 'education' v3 with 503"):
        api.levels("education", "v3", ())


def test_a_token_is_asked_for_once_it_is_needed_and_kept() -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, request.headers.get("authorization", "")))
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "t"})
        return httpx.Response(200 if "authorization" in request.headers else 401)

    with httpx.Client(
        base_url="http://api.test", transport=httpx.MockTransport(answer), auth=api._Bearer("http://api.test/", "key")
    ) as client:
        assert [client.get("/models").status_code for _ in range(2)] == [200, 200]
    assert seen == [("/models", ""), ("/token", ""), ("/models", "Bearer t"), ("/models", "Bearer t")]


@pytest.mark.parametrize("how", [away, fixed(503), fixed(200, text="<html>"), fixed(200, json={"decisions": 7})])
def test_what_the_registry_can_t_tell_is_unknown_and_no_fault(answering: Answering, how: Answer) -> None:
    answering(how)
    assert catalogue.decisions(("car_price",)) == {"car_price": None}
    assert catalogue.lineage("car_price", "v3") is None
    assert retrains.retrains() is None
    assert drift.drift("car_price") is None


def test_what_can_t_be_told_of_performance_is_unknown(answering: Answering) -> None:
    for how in (fixed(503), fixed(200, text="no")):
        clear_caches()
        answering(how)
        assert performances(("car_price",)) == {"car_price": None}


def test_a_report_that_can_t_be_fetched_says_so_in_the_file(answering: Answering) -> None:
    answering(fixed(200, content=b"<html>"))
    assert drift.report("/x")() == b"<html>"
    for how in (away, fixed(503)):
        answering(how)
        assert b"can't be fetched just now" in drift.report("/x")()


def test_runs_of_an_api_that_is_away_or_makes_no_sense(answering: Answering) -> None:
    answering(fixed(503))
    assert runs.judged("car_price") is None
    assert runs.run("car_price", "a/b") is None
    answering(away)
    for ask_for in (lambda: runs.runs("x"), lambda: runs.origins(("x",), "id")):
        with pytest.raises(ApiDownError, match="can't be reached"):
            ask_for()
    answering(fixed(200, text="<html>"))
    with pytest.raises(ApiDownError, match="can't be read"):
        runs.runs("y")


def test_what_an_operator_is_answered_without_words_is_the_api_s_fault() -> None:
    with pytest.raises(ApiDownError, match="answers with 502"):
        operator._answered(httpx.Response(502, text="<html>"))


@pytest.mark.parametrize(
    ("text", "indonesian", "english"),
    [
        ("1.234,5", 1234.5, 1234.5),
        ("1,234.5", 1234.5, 1234.5),
        ("85.000", 85000.0, 85.0),
        ("1,234,567", 1234567.0, 1234567.0),
        ("1.234.567", 1234567.0, 1234567.0),
        ("0,250", 0.25, 0.25),
        ("12.34,5", None, None),
        ("1.2.3", None, None),
        ("1,2,3", None, None),
    ],
)
def test_either_language_s_separators_are_understood(
    text: str, indonesian: float | None, english: float | None
) -> None:
    for words, value in ((ID, indonesian), (EN, english)):
        if value is None:
            with pytest.raises(ValueError, match=r".+"):
                words.parse(text)
        else:
            assert words.parse(text) == value


def test_a_moment_just_gone_and_a_period_that_is_no_date() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 11, 20, 6, 12, tzinfo=UTC)
    assert EN.ago("2026-11-20T06:11:30", now) == EN("ago.now")
    assert [EN.ago(""), EN.period(None), EN.period("Q3"), EN.period(2024)] == ["", "–", "Q3", "2024"]


# Runs, candidates and decisions


def run(**changes: Any) -> Run:
    fields = {"run_id": "r", "name": "n", "outcome": "refused", "started_at": "2026-11-20T06:12:00Z"}
    return Run.model_validate(fields | changes)


def tried(*trials: Trial, **changes: Any) -> Tried:
    fields = {**run().model_dump(), "model": "car_price", "task": "regression", "metric": "rmse",
              "less_is_better": True, "candidates": trials}  # fmt: skip
    return Tried.model_validate(fields | changes)


def decided(at: int = 0, **changes: Any) -> Judged:
    fields = {"outcome": "promoted", "model_version": f"v{at}", "decided_at": "2026-11-20T06:12:00Z"}
    return Judged.model_validate(fields | changes)


@pytest.mark.parametrize(("found", "key"), [(None, "more.not_now"), ((), "decided.none")])
def test_no_decisions_are_told_apart_from_unknown_ones(
    monkeypatch: pytest.MonkeyPatch, told: list[str], found: Any, key: str
) -> None:
    monkeypatch.setattr(runs, "judged", lambda _model: found)
    monkeypatch.setattr(catalogue, "decisions", lambda names: dict.fromkeys(names, found))
    for show in (lambda: judged.show(detail(), EN), lambda: about._decisions(detail(), EN)):
        told.clear()
        show()
        assert told == [f"<p>{EN(key).replace(chr(39), '&#x27;')}</p>"]


def test_the_newest_decisions_stand_first_and_the_others_wait(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    pressed: list[str] = []
    monkeypatch.setattr(judged.st, "button", lambda label, **_: pressed.append(label))
    monkeypatch.setattr(runs, "judged", lambda _model: tuple(decided(at) for at in range(judged.SHOWN + 3)))
    judged.show(detail(), EN)
    assert told[-1].count("<li>") == judged.SHOWN
    assert pressed == [EN("runs.judged_more", count=3)]


def test_a_decision_is_told_with_what_it_was_taken_on() -> None:
    same = {"rows": 9, "challenger": 1.0, "champion": 1.0, "difference": 0, "low": 0, "high": 0, "metric": "rmse"}
    text = judged._told(decided(record={"comparison": same, "champion_before": "v1"}), detail(), EN)
    assert "came out the same" in text
    score = {"metric": "rmse", "score": 1454.0, "spread": 72.0, "baseline": 8119.0}
    assert "1,454" in judged._told(decided(record={"score": score}), detail(), EN)
    alone = judged._told(decided(record={"score": {**score, "baseline": None}}), detail(), EN)
    assert "8,119" not in alone
    bare = judged._told(decided(record={"score": {"metric": "rmse"}}, decided_at=None), detail(), EN)
    assert "RMSE" not in bare


def test_a_run_that_made_no_version_has_no_card_and_one_without_end_no_length(told: list[str]) -> None:
    experiments._told("card", run(), _runs(), detail(), EN)
    assert told == [f"<p>{EN('runs.no_version')}</p>"]
    facts = experiments._facts(run(score=None), _runs(), detail(), EN)
    assert EN("runs.took") not in facts
    assert EN("metrics.baseline") not in facts


def _runs() -> Runs:
    return Runs(model="car_price", task="regression", metric="rmse", less_is_better=True, runs=(run(),))


def test_a_card_that_can_t_be_had_is_told(
    monkeypatch: pytest.MonkeyPatch, told: list[str], answering: Answering
) -> None:
    answering(away)
    experiments._told("card", run(model_version="v3"), _runs(), detail(), EN)
    assert "now" in told[-1]
    monkeypatch.setattr(runs, "judged", lambda _model: ())
    experiments._told("decisions", run(), _runs(), detail(), EN)
    assert EN("decided.none") in told[-1]


def test_a_sweep_that_can_t_be_told_or_has_no_candidates(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr(runs, "run", lambda *_: None)
    monkeypatch.setattr(runs, "profile", lambda *_: None)
    monkeypatch.setattr(runs, "lineage", lambda *_: None)
    for tab, key in (("sweep", "more.not_now"), ("compare", "more.not_now"), ("data", "runs.no_profile")):
        experiments._told(tab, run(), _runs(), detail(), EN)
        assert EN(key).replace("'", "&#x27;") in told[-1], tab
    experiments._sweep(tried(), detail(), EN)
    assert told[-1] == f"<p>{EN('runs.no_candidates')}</p>"


def test_a_single_candidate_has_no_lines_through_it(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(experiments, "_chart", lambda _figure, key, _alt: drawn.append(key))
    one = Trial(run_id="a", name="ridge", metrics={"rmse": 2.0})
    experiments._sweep(tried(one), detail(), EN)
    assert drawn == ["runs_ranked"]
    # Candidates that differ in one thing alone have nothing to be drawn against.
    drawn.clear()
    experiments._axes.__wrapped__(tried(one, one.model_copy(update={"metrics": {"rmse": 3.0}})), EN)
    assert drawn == []


def test_axes_that_are_taken_away_leave_a_hint(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(experiments, "_chart", lambda _figure, key, _alt: drawn.append(key))
    trials = [
        Trial(run_id=name, name=name, metrics={"rmse": 2.0 + at}, params={"estimator": name, "scale": f"s{at}"})
        for at, name in enumerate(("ridge", "forest"))
    ]
    monkeypatch.setattr(experiments.st, "multiselect", lambda _label, options, **_: options[:1])
    experiments._axes.__wrapped__(tried(*trials), EN)
    assert told[-1] == f"<p>{EN('runs.two_axes')}</p>"
    monkeypatch.setattr(experiments.st, "multiselect", lambda _label, options, **_: options)
    experiments._axes.__wrapped__(tried(*trials), EN)
    assert drawn == ["runs_parallel"], "names are no numbers: there are no squares"


def test_a_run_alone_can_t_be_compared_and_groups_without_differences_have_no_head(told: list[str]) -> None:
    compare.show(tried(), _runs(), detail(), EN)
    assert told == [f"<p>{EN('runs.only_one')}</p>"]
    assert 'class="group"' not in compare._table([("Origin", [])], tried(), tried(), EN, only=True)


def test_chance_is_drawn_where_it_was_measured() -> None:
    trials = [
        Trial(run_id=str(k), name=f"k{k}", params={"n_clusters": str(k)},
              metrics={"silhouette": k / 10, "silhouette_shuffled": 0.1, "inertia": 9.0})
        for k in (2, 3)
    ]  # fmt: skip
    figure = sweeps.over_k(tried(*trials, metric="silhouette"), "silhouette", LIGHT, EN)
    assert [list(each.y) for each in figure.data] == [[0.1, 0.1], [0.2, 0.3]]
    assert len(sweeps.over_k(tried(*trials), "inertia", LIGHT, EN).data) == 1
    assert list(sweeps.over_k(tried(), "inertia", LIGHT, EN).data[0].y) == []


def test_a_candidate_is_told_without_what_it_lacks_and_in_short_lines() -> None:
    reason = both("It was set aside because its spread over the folds is greater than what it gains.")
    one = Trial.model_validate({"run_id": "a", "name": "ridge", "metrics": {"mae": 2.0}, "reason": reason,
                                "admissible": False})  # fmt: skip
    other = Trial(run_id="b", name="forest", metrics={"rmse": 1.0, "mae": 3.0})
    text = sweeps.hover(one, tried(one, other), EN)
    assert "RMSE" not in text
    assert all(len(line) <= 60 for line in text.split("<br>"))
    assert len(sweeps.ranked(tried(one, other), "", LIGHT, EN).layout.shapes) == 0, "no baseline, no line"


# Answers of models


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


# A file's answers


def answers_csv(tmp_path: Any, *rows: str) -> Any:
    path = tmp_path / "answers.csv"
    path.write_text("\n".join(("horsepower,colour,price,model_version,status,problem", *rows)) + "\n")
    return read(path, ",")


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


def job(tmp_path: Any, **changes: Any) -> Any:
    preview = SimpleNamespace(size=2**20, headings=("horsepower", "colour"), kind="CSV", delimiter=",")
    fields = {"name": "cars.csv", "model": "car_price", "version": "v3", "state": "done", "running": False, "sent": 0,
              "rows": 3, "share": 0.5, "preview": preview, "taken": {"horsepower"}, "result": None, "trouble": None,
              "stop": lambda: None}  # fmt: skip
    return SimpleNamespace(**(fields | changes))


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


# The overview, drift, profiles and what is to be done


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


# Provinces


def clusters(**changes: Any) -> Clusters:
    return Clusters.model_validate({"model_version": "v3", "members": ()} | changes)


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
