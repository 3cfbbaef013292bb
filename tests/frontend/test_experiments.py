"""Runs, comparisons, origins and decisions as the page shows them, against the stand-in API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from frontend import askers, axes, runs, sweeps
from frontend.catalogue import Detail
from frontend.palette import LIGHT
from frontend.runs import Column, Comparison, Profile, Trial, Tried
from frontend.views import judged, profile
from frontend.words import Words
from sigap.promotion import Move, in_indonesian
from tests.frontend.conftest import StandIn, clear_caches, shown
from tests.frontend.trials import earlier

CAR = "car_price"
WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"
PLAIN = {"id": "Harga mobil", "en": "Car price"}
MODEL = Detail.model_validate(
    {"name": CAR, "title": PLAIN, "question": PLAIN, "task": "regression", "data_source": PLAIN, "features": ()}
)


def tried(metric: str = "rmse", **trials: dict[str, float]) -> Tried:
    candidates = [
        Trial(run_id=name, name=name, metrics=metrics, params={"estimator": name}, chosen=name == "forest")
        for name, metrics in trials.items()
    ]
    return Tried(
        run_id="r", name="r", outcome="promoted", started_at="2026-11-20T06:12:00Z", model=CAR, task="regression",
        metric=metric, less_is_better=True, baseline=8.0, candidates=tuple(candidates),
    )  # fmt: skip


def drawn(app: AppTest, monkeypatch: pytest.MonkeyPatch, **asked: str) -> str:
    """The page's HTML with what the link asked for; the app's own address is not that of a page."""
    monkeypatch.setattr("frontend.views.education.show", _experiments)
    app.query_params.update({"lang": "en", **asked})
    app.run()
    assert not app.exception
    return shown(app)


def _experiments(words: Words) -> None:
    from frontend.views import experiments

    experiments.show(words)


def test_a_link_opens_its_model_and_run(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(app, monkeypatch, model=CAR, run=earlier(CAR))
    assert "1,527 ± 72 US dollars" in text
    assert "It is worse." in text
    assert earlier(CAR) in app.query_params["run"]
    assert app.selectbox(key="runs_model").value == CAR


@pytest.mark.parametrize("asked", ["nothing", "<script>alert(1)</script>"])
def test_a_link_with_nonsense_opens_the_page(app: AppTest, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    text = drawn(app, monkeypatch, model=asked, run=asked, tab=asked, request=asked)
    assert "<script>" not in text
    assert "could have been chosen" in text


def test_another_model_brings_its_own_runs(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(app, monkeypatch, model=CAR, run=earlier(CAR))
    app.selectbox(key="runs_model").set_value("customer_segments").run()
    assert not app.exception
    assert "run-customer_segments" in app.query_params["run"]
    assert "How tight the groups are" in shown(app)


def test_two_runs_are_compared_by_what_differs(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(app, monkeypatch, model=CAR, tab="compare")
    assert earlier(CAR) in app.query_params["with"]
    assert re.search(r"<td>1,454 ± 72 US dollars</td><td>1,527 ± 72 US dollars</td><td>−73 US dollars</td>", text)
    assert "4444444444" in text
    assert "bbbbbbbbbb" in text
    assert "random seed" not in text, "both have the same"
    app.toggle(key="runs_differ").set_value(False).run()
    assert "random seed" in shown(app)
    app.selectbox(key="runs_model").set_value("credit_approval").run()
    assert "only one run yet" in shown(app)


def test_the_chain_leads_to_commit_and_rows(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(app, monkeypatch, model=CAR, tab="origin")
    for part in ("Car price v3", "run-car_price", "48e668f", "car_price/v1", "600"):
        assert part in text, part
    assert "SELECT" in app.code[0].value
    app.text_input(key="runs_request").set_value("nobodys").run()
    assert not app.exception
    assert "Kept answers can&#x27;t be looked up right now" in shown(app), "the stand-in keeps no predictions"


@pytest.mark.parametrize(
    ("status", "said"), [(404, "No answer is kept"), (403, "does not let this page"), (503, "moment")]
)
def test_an_answer_that_cannot_be_followed_is_told_why(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    monkeypatch.setattr(runs.api, "fetcher", _refusing(runs.api.fetcher, status))
    assert said in drawn(app, monkeypatch, model=CAR, tab="origin", request="some-id")


def _refusing(fetcher: Callable[[], Any], status: int) -> Callable[[], Any]:
    """The API, which answers questions about single predictions with `status`."""

    def made() -> Any:
        fetch = fetcher()
        return lambda path: httpx.Response(status, json={}) if "/predictions/" in path else fetch(path)

    return made


def test_an_answer_is_followed_to_the_model_that_gave_it(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"request_id": "some-id", "at": "2026-11-20T06:12:00Z", "model_version": "v3"}
    answered = {"/models/loan_approval/predictions/some-id/origin": httpx.Response(200, json=origin)}
    fetcher = runs.api.fetcher

    def made() -> Any:
        fetch = fetcher()
        return lambda path: answered.get(path) or (httpx.Response(404, json={}) if "/pred" in path else fetch(path))

    monkeypatch.setattr(runs.api, "fetcher", made)
    text = drawn(app, monkeypatch, model=CAR, tab="origin", request="some-id")
    assert "<b>some-id</b><small>20 November 2026 06:12 UTC</small>" in text
    assert "Loan approval v3" in text, "whichever model gave it"


def test_the_data_is_told_with_what_changed(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(app, monkeypatch, model=CAR, tab="data")
    assert "Against v0 (200 rows): 5 rows new, 0 gone, 2 changed." in text
    assert "shifted much" in text
    assert "median 95" in text
    assert "gas, diesel" in text


def test_a_refusal_has_its_sweep_too(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(app, monkeypatch, model="credit_approval")
    assert "How the candidates scored" in text
    assert "None of 4 candidates" in text


def test_without_the_registry_the_page_is_calm(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "runs", lambda _model: None)
    assert "The runs can&#x27;t be looked up right now" in drawn(app, monkeypatch, model=CAR)


def test_a_gain_is_told_with_its_interval_and_what_was_needed() -> None:
    found = Comparison(rows=205, challenger=1984, champion=2105, difference=121, low=-186, high=429, metric="rmse")
    text = judged.compared(found, 21.0, "v1", MODEL, Words("en"))
    assert "between −186 and +429" in text
    assert "at least 21.00 is needed" in text
    assert 'class="zero" style="left:50.0%"' in text


def test_what_came_out_the_same_is_no_measured_gain() -> None:
    found = Comparison(rows=300, challenger=1440.2, champion=1440.2, difference=0, low=0, high=0, metric="rmse")
    text = judged.compared(found, 14.4, "v1", MODEL, Words("en"))
    assert "Both were computed anew on these rows and came out the same." in text
    assert "confidence" not in text
    assert "sg-gap" not in text
    tiny = found.model_copy(update={"difference": -0.0001, "low": -0.0002, "metric": "accuracy"})
    shown_as = judged.compared(tiny, 0.01, "v1", MODEL, Words("en"))
    assert "−0.0" not in shown_as


@pytest.mark.parametrize(
    ("asked_by", "indonesian", "english"),
    [
        ("pipeline", "", ""),
        (None, "", ""),
        ("person: root", "oleh root, di baris perintah", "by root, on the command line"),
        ("api: operator6", "oleh operator6", "by operator6"),
        ("change", "karena baris data berubah", "because rows changed"),
        ("schedule", "menurut jadwal", "by the schedule"),
        ("alert:SigapDrift", "karena alarm SigapDrift", "because of the alert SigapDrift"),
        ("mage", "di halaman Mage", "on Mage's page"),
        ("<new>", "oleh <new>", "by <new>"),
    ],
)
def test_who_asked_is_told_in_the_reader_s_words(asked_by: str | None, indonesian: str, english: str) -> None:
    assert [askers.told(asked_by, Words(each)) for each in ("id", "en")] == [indonesian, english]


def test_a_way_back_is_told_in_both_languages() -> None:
    move = Move("k", "rollback", "2026-11-22T02:17:00+00:00", "api: sari", "v1", "Served again instead of v1.")
    assert in_indonesian(move) == "Dipakai lagi sebagai ganti v1."
    assert "seleksi" in in_indonesian(move._replace(rule="by_hand"))


def test_years_are_no_amounts_and_what_was_learnt_is_what_the_model_used() -> None:
    year = Column(name="tahun", kind="integer", role="key", missing=0, missing_share=0, distinct=6,
                  minimum=2019, maximum=2024, quantiles={"0.5": 2021.5})  # fmt: skip
    used = Column(name="rasio_guru_murid", kind="number", role="feature", missing=0, missing_share=0, distinct=6)
    left = used.model_copy(update={"name": "angka_melek_huruf"})
    words = Words("en")
    told = profile.columns(
        Profile(version="v1", rows=6, columns=(year, used, left)), MODEL, frozenset({used.name}), words
    )
    assert "2019–2024" in told
    assert "2,0" not in told
    assert [profile.role(each, frozenset({used.name}), words) for each in (used, left)] == [
        "used for learning", "not used by this version"
    ]  # fmt: skip
    assert profile.role(used, None, words) == "declared for learning"


def test_axes_are_what_differs() -> None:
    run = tried(ridge={"rmse": 3.0, "mae": 1.0, "rmse_sd": 0.1}, forest={"rmse": 2.0, "mae": 1.0, "rmse_sd": 0.2})
    found = axes.axes(run, Words("en"))
    assert [axis.key for axis in found] == ["metric:rmse", "param:estimator"], "neither spreads nor what is the same"
    assert found[1].ticks == ((0.0, "forest"), (1.0, "ridge"))
    assert axes.squares(found, found, 3) == [found[0]], "names are no numbers"


def test_the_best_stands_on_top_whichever_way_the_score_points() -> None:
    run = tried(ridge={"rmse": 3.0}, forest={"rmse": 2.0}, lost={})
    figure = sweeps.ranked(run, "", LIGHT, Words("en"))
    assert list(figure.data[0].x) == [3.0, 2.0]
    up = run.model_copy(update={"less_is_better": False})
    assert list(sweeps.ranked(up, "", LIGHT, Words("en")).data[0].x) == [2.0, 3.0]


def test_a_first_version_has_nothing_before_it() -> None:
    text = profile._changes(Profile(version="v1", rows=3), MODEL, Words("en"))
    assert "first version" in text


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "width", "language"), [("light", 1440, "id"), ("dark", 390, "en")])
def test_the_journey_through_a_run(page: Page, dashboard: str, theme: str, width: int, language: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{dashboard}/experiments?lang={language}&model={CAR}")
    expect(page.locator(".st-key-runs_ranked .points path.point")).to_have_count(3)
    expect(page.locator(".st-key-runs_parallel .scatterlayer .trace")).to_have_count(3)
    assert page.evaluate(WIDTH) <= width
    words = Words(language)
    page.get_by_role("radio", name=words("runs.tab_compare")).click()
    expect(page.locator("table.sg-compared tr.apart").first).to_be_visible()
    expect(page).to_have_url(re.compile("tab=compare"))
    page.get_by_role("radio", name=words("runs.tab_origin")).click()
    expect(page.locator("ol.sg-way li")).to_have_count(6)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    assert page.evaluate(WIDTH) <= width


@pytest.mark.browser
def test_a_clusterings_elbow_marks_the_chosen_number(page: Page, dashboard: str, standin: StandIn) -> None:
    clear_caches()
    page.goto(f"{dashboard}/experiments?lang=en&model=education")
    for chart in ("elbow", "silhouette"):
        expect(page.locator(f".st-key-runs_{chart} .points path.point")).to_have_count(5)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
