"""What the pages make of answers that are empty, odd or gone, and of runs with little to show; beside no server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from frontend import api, catalogue, drift, operator, retrains, runs, sweeps
from frontend.api import ApiDownError, ChangedError
from frontend.palette import LIGHT
from frontend.performance import performances
from frontend.runs import Trial
from frontend.views import (
    about,
    compare,
    experiments,
    judged,
)
from tests.frontend.conftest import clear_caches
from tests.frontend.pieces import (
    EN,
    ID,
    Answer,
    Answering,
    _runs,
    answering,
    away,
    both,
    decided,
    detail,
    fixed,
    fresh,
    run,
    told,
    tried,
)

__all__ = ["answering", "fresh", "told"]


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
