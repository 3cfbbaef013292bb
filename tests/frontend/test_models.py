"""The pages of models of any task, without a browser, and the stand-in beside the API's real types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from backend.history import Decisions, Lineage
from backend.schemas import (
    Clusters,
    ModelDetail,
    Models,
    SegmentClusters,
    SegmentsDetail,
    SupervisedDetail,
)
from backend.tasks import answer_model
from frontend import catalogue, scores
from frontend.catalogue import Detail, Estimate, Forecast, Group, Verdict
from frontend.views.ask import check
from frontend.words import LANGUAGES, Words
from sigap.catalog import Declaration
from tests.frontend.conftest import StandIn, clear_caches, shown
from tests.frontend.five import FIVE, REFUSED, WHY, WHY_ID

NAMES = tuple(each.name for each in FIVE)
DETAILS: dict[str, type[BaseModel]] = {
    "education": ModelDetail,
    "customer_segments": SegmentsDetail,
    **dict.fromkeys(("car_price", "loan_approval", "credit_approval", "bitcoin_price"), SupervisedDetail),
}


@pytest.fixture
def everything(standin: StandIn) -> Iterator[StandIn]:
    """The stand-in with a champion for every model."""
    standin.app.state.five.refuse()
    yield standin
    standin.app.state.five.refuse(REFUSED)


def _open(app: AppTest, name: str, language: str = "en") -> AppTest:
    """Runs the page at the address `/name`, which has no file that `AppTest.switch_page` could be given."""
    app._page_hash = calc_hash(name)
    app.query_params["lang"] = language
    return app.run()


def _exactly(kind: type[BaseModel], answer: Any) -> None:
    """Says whether an answer is of the real type and has neither more nor fewer fields."""
    read = kind.model_validate(answer)
    assert json.loads(read.model_dump_json(by_alias=True)) == answer


def _get(standin: StandIn, path: str) -> Any:
    response = httpx.get(f"{standin.address}{path}", trust_env=False, timeout=120)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_stand_in_has_the_shapes_of_the_api(everything: StandIn) -> None:
    listed = _get(everything, "/models")
    assert TypeAdapter(Models).validate_python(listed).model_dump(mode="json") == listed
    for name in NAMES:
        _exactly(DETAILS[name], _get(everything, f"/models/{name}"))
        _exactly(Decisions, _get(everything, f"/models/{name}/decisions"))
        _exactly(Lineage, _get(everything, f"/models/{name}/lineage"))
    SegmentClusters.model_validate(_get(everything, "/models/customer_segments/clusters"))


def test_the_stand_in_tells_of_education_as_the_api_does(standin: StandIn) -> None:
    known = _get(standin, "/models/education")
    missing = {name for name, field in ModelDetail.model_fields.items() if field.is_required()} - set(known)
    # What the pages don't read may be missing from the hand-made answer; nothing may be there that the API has not.
    assert set(known) <= set(ModelDetail.model_fields)
    assert not missing & {"levels", "sweep", "features", "example", "data", "metrics", "features_left_out", "question"}
    assert set(_get(standin, "/models/education/clusters")) <= set(Clusters.model_fields)


@pytest.mark.parametrize("declared", FIVE, ids=NAMES)
def test_the_stand_in_answers_as_the_api_does(everything: StandIn, declared: Declaration) -> None:
    response = httpx.post(
        f"{everything.address}/models/{declared.name}/predict", json=declared.example, trust_env=False, timeout=30
    )
    assert response.status_code == 200
    answer_model(declared).model_validate(response.json())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_for_every_model(app: AppTest, everything: StandIn, name: str, language: str) -> None:
    _open(app, name, language)
    assert not app.exception
    declared = next(each for each in FIVE if each.name == name)
    page = shown(app)
    assert declared.question.in_language(language) in page
    # What was imported is no longer called made up, whatever was declared for a start.
    imported = name == "customer_segments"
    assert ("Mock data" in page or "Data tiruan" in page) is not imported
    assert ("Imported data" in page or "Data impor" in page) is imported


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_overview_has_a_card_for_every_model(app: AppTest, standin: StandIn, language: str) -> None:
    _open(app, "overview", language)
    assert not app.exception
    page = shown(app)
    for declared in FIVE:
        assert declared.question.in_language(language) in page
    # A champion beside its baseline, and the refusal in the run's own words.
    assert Words(language).number(1454, 0) in page
    assert Words(language).number(8119, 0) in page
    assert (WHY_ID if language == "id" else WHY) in page
    # What is refused comes first of all that needs attention.
    titles = [declared.title.in_language(language) for declared in FIVE if declared.name == REFUSED]
    first = page.split('class="sg-notes"')[1].split("</li>")[0]
    assert titles[0] in first


def test_without_a_champion_the_reason_is_told_in_indonesian_too(app: AppTest, standin: StandIn) -> None:
    _open(app, REFUSED, "id")
    assert WHY_ID in shown(app)


def test_without_a_champion_the_reason_is_plain(app: AppTest, standin: StandIn) -> None:
    _open(app, REFUSED)
    assert not app.exception
    page = shown(app)
    assert "put no model into use: none was good enough" in page
    assert WHY in page
    assert f"./run pipeline {REFUSED}" in page


def _press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    return app.run()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("car_price", ["US dollars", "With 90 % confidence between", "the median, 11,200 US dollars", "Low", "12,500"]),
        ("loan_approval", ["Loan approved", "Probability of approval", "What spoke for and against", "80.9 %"]),
        ("customer_segments", ["Segment 1", "What sets it apart", "Spending: Average <b>62 %</b>"]),
    ],
)
def test_the_example_is_answered(app: AppTest, everything: StandIn, name: str, said: list[str]) -> None:
    _open(app, name)
    _press(app, "Try the example")
    assert not app.exception
    page = shown(app)
    assert 'role="alert"' not in page
    for text in said:
        assert text in page


def test_no_is_said_with_its_reasons(app: AppTest, everything: StandIn) -> None:
    _open(app, "loan_approval", "id")
    _press(app, "Coba contoh")
    # Of yes and no one is chosen, in words; no number is typed.
    assert app.selectbox(key="ask_loan_approval_field_Credit_History").options == ["Ya", "Tidak"]
    assert "Laki-laki" in app.selectbox(key="ask_loan_approval_field_Gender").options
    app.selectbox(key="ask_loan_approval_field_Credit_History").set_value("0")
    _press(app, "Tanya model")
    page = shown(app)
    assert "Pinjaman ditolak" in page
    assert "Riwayat kredit (Tidak, biasanya Ya) memberatkan" in page
    assert "⚠" in page  # no credit history is outside of what the stand-in has seen


def test_an_answer_has_its_id_and_the_way_to_its_rows(app: AppTest, everything: StandIn) -> None:
    _open(app, "car_price")
    _press(app, "Try the example")
    (shown_id,) = [each.value for each in app.code if len(each.value) == 24]
    assert f"request={shown_id}" in app.get("page_link")[0].proto.query_string


def test_a_forecast_stands_beside_the_naive_one(app: AppTest, standin: StandIn) -> None:
    _open(app, "bitcoin_price")
    page = shown(app)
    assert "Naive forecast" in page
    assert "None of 4 models is shown to be better than the naive forecast." in page
    assert "20 November 2026" in page


def test_the_form_says_what_is_wrong(app: AppTest, everything: StandIn) -> None:
    _open(app, "car_price")
    _press(app, "Ask the model")
    assert "Nothing is filled in yet." in shown(app)
    app.text_input(key="ask_car_price_field_horsepower").set_value("5")
    app.text_input(key="ask_car_price_field_curbweight").set_value("2,372.5")
    app.text_input(key="ask_car_price_field_wheelbase").set_value("wide")
    _press(app, "Ask the model")
    page = shown(app)
    assert "Must be within 20–800 horsepower." in page
    assert "Must be a whole number." in page
    assert "This is not a number." in page
    assert 'role="status"' not in page


def test_what_is_not_known_may_stay_empty(app: AppTest, everything: StandIn) -> None:
    _open(app, "loan_approval")
    app.text_input(key="ask_loan_approval_field_ApplicantIncome").set_value("5,400")
    _press(app, "Ask the model")
    page = shown(app)
    assert "Probability of approval" in page
    assert "Not known, so a typical value stands in: Gender" in page


def test_figures_stay_the_same_in_another_language(app: AppTest, everything: StandIn) -> None:
    _open(app, "loan_approval")
    app.text_input(key="ask_loan_approval_field_LoanAmount").set_value("165,000")
    _press(app, "Ask the model")
    app.segmented_control(key="lang").set_value("id").run()
    assert app.text_input(key="ask_loan_approval_field_LoanAmount").value == "165.000"


def test_a_number_is_checked_as_declared(everything: StandIn) -> None:
    clear_caches()
    field = Detail.model_validate(_get(everything, "/models/car_price")).feature("horsepower")
    assert field is not None
    assert check(field, "92", Words("en")) == (92, "")
    assert check(field, "", Words("en")) == (None, "")
    assert check(field, "9,2", Words("id"))[1] != ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [("car_price", Estimate), ("loan_approval", Verdict), ("bitcoin_price", Forecast), ("customer_segments", Group)],
)
def test_answers_are_read_by_task(everything: StandIn, app: AppTest, name: str, kind: type) -> None:
    model = Detail.model_validate(_get(everything, f"/models/{name}"))
    declared = next(each for each in FIVE if each.name == name)
    assert isinstance(catalogue.ask(model, declared.example), kind)


def test_scores_are_told_in_their_units(everything: StandIn) -> None:
    car, loan = (Detail.model_validate(_get(everything, f"/models/{n}")) for n in ("car_price", "loan_approval"))
    assert scores.score("rmse", 1454.2, car, Words("id"), 72.4) == "1.454 ± 72 dolar AS"
    assert scores.score("accuracy", 0.8114, loan, Words("en"), 0.028) == "81.1 ± 2.8 %"
    assert scores.difference("accuracy", -0.0001, loan, Words("en")) == "0.0 points"
    assert "not shown to be better" in scores.finding(loan, Words("en"))
    assert "plain guess" in scores.finding(car, Words("en"))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "nobody"])
def test_an_unknown_metric_or_rule_is_shown_as_it_is(name: str) -> None:
    assert scores.name(name, Words("id")) == name.replace("_", " ")


def test_shares_are_rounded_as_shares() -> None:
    # 0.8225 is told as 0.823 by the command line and the card.
    assert scores.share(0.8225, Words("en")) == "82.3 %"
    assert scores.share(0.5, Words("id"), 0) == "50 %"


def test_what_the_api_says_is_written_in_the_page_s_words(everything: StandIn) -> None:
    assert scores.outcomes("di atas 0,5 → “Loan Approved”, selain itu “x”", Words("id")) == (
        "di atas 0,5 → “Pinjaman disetujui”, selain itu “x”"
    )
    model = Detail.model_validate(_get(everything, "/models/bitcoin_price"))
    tried = model.candidates[0].model_copy(update={"name": "ridge-2"})
    told = scores.note(
        "Yang terdekat, ridge-2: keunggulan -0,11% [-0,33%; +0,10%]", model.model_copy(update={"candidates": (tried,)}),
        Words("id"),
    )  # fmt: skip
    assert told == "Yang terdekat, Regresi ridge 2: keunggulan −0,11 % [−0,33 %; +0,10 %]"
    assert scores.candidate("naive", Words("id")) == "Ramalan naif"


def test_a_footnote_tells_of_the_columns_there_are(app: AppTest, everything: StandIn) -> None:
    words = Words("en")
    for name in ("bitcoin_price", "loan_approval"):
        model = Detail.model_validate(_get(everything, f"/models/{name}"))
        _open(app, name)
        assert (words("metrics.note_nested") in shown(app)) == scores.tests_choice(model)


def test_why_the_most_accurate_candidate_is_not_in_use(everything: StandIn) -> None:
    told = _get(everything, "/models/loan_approval")
    beside = told["baseline"] | {"metric": "accuracy"}
    metrics = {"accuracy": 0.862, "brier": 0.103}, {"accuracy": 0.858, "brier": 0.099}
    names = ("random_forest-median_imputer-2", "logistic_regression")
    tried = [{"name": n, "metrics": m, "admissible": True, "reason": None} for n, m in zip(names, metrics, strict=True)]
    model = Detail.model_validate({**told, "baseline": beside, "candidates": tried, "winner": "logistic_regression"})
    said = scores.chosen_by(model, Words("en"))
    assert "Random forest · gaps filled by the median 2 is right a little more often (86.2 %, against 85.8 %)" in said
    assert "Logistic regression, Brier score 0.099 against 0.103" in said
    best = Detail.model_validate({**told, "baseline": beside, "candidates": tried, "winner": names[0]})
    assert scores.chosen_by(best, Words("en")).startswith("Chosen by: Right decisions; ")
