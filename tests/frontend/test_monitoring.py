"""Whether all is well: the verdict, and the page that shows it."""

from __future__ import annotations

from html import escape
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from frontend.catalogue import Decision
from frontend.palette import LIGHT
from frontend.retrains import Retrain, history
from frontend.traffic import (
    Dependency,
    Errors,
    FailedPipeline,
    Health,
    Latency,
    ModelHealth,
    Period,
    ShadowFigures,
    Traffic,
    latency_figure,
)
from frontend.verdicts import BAD, NOTE, WARN, findings
from frontend.views.monitoring import milliseconds, shadow, wells
from frontend.words import Words
from sigap.catalog.car_price import CAR_PRICE
from tests.frontend.conftest import StandIn

WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"
FINE = Health(
    status="ok",
    dependencies={"registry": Dependency(status="up", latency_ms=4.0), "postgresql": Dependency(status="up")},
    models={"car_price": ModelHealth(status="ok", model_version="v3")},
)
TITLES = {"car_price": "Car price"}


def traffic(**told: Any) -> Traffic:
    period = Period(since="2026-11-20T06:00:00Z", until="2026-11-20T06:05:00Z", seconds=300)
    return Traffic(period=period, requests={"predict": 1000, "read": 0}, **told)


def judge(health: Health = FINE, seen: Traffic | None = None, *decided: Decision) -> list[tuple[int, str]]:
    found = findings(health, seen or traffic(), {"car_price": decided}, TITLES, Words("en"))
    return [(each.weight, each.text) for each in found]


def test_when_all_is_well_there_is_nothing_to_find() -> None:
    assert judge(FINE, None, Decision(outcome="promoted")) == []


@pytest.mark.parametrize(("name", "said"), [("registry", "registry"), ("postgresql", "database")])
def test_a_service_that_is_away_is_told(name: str, said: str) -> None:
    away = FINE.model_copy(update={"dependencies": {name: Dependency(status="down")}})
    ((weight, text),) = judge(away)
    assert weight == WARN
    assert said in text


@pytest.mark.parametrize(
    ("errors", "weight"),
    [
        ({"fault": 1}, WARN),
        ({"fault": 11}, BAD),
        ({"unavailable": 2}, WARN),
        ({"limit": 5}, NOTE),
        ({"input": 900}, None),
    ],
)
def test_only_the_services_own_faults_are_trouble(errors: dict[str, int], weight: int | None) -> None:
    seen = traffic(errors=tuple(Errors(kind=kind, count=count) for kind, count in errors.items()))
    assert [each for each, _ in judge(FINE, seen)] == ([] if weight is None else [weight])


def test_without_the_registry_nobody_knows_what_is_newest() -> None:
    behind = FINE.model_copy(update={"models": {"car_price": ModelHealth(status="degraded", model_version="v3")}})
    ((weight, text),) = judge(behind)
    assert (weight, text) == (WARN, "Car price: v3 is in use, but not the newest version that should be.")
    away = behind.model_copy(update={"dependencies": {"registry": Dependency(status="down")}})
    ((weight, text),) = judge(away)
    assert "registry" in text, "the one cause, not each of its effects"


def test_slow_answers_and_lost_ones_are_told() -> None:
    slow = traffic(latency={"predict": Latency(count=9, p95_ms=1500.0)}, dropped=4)
    assert len(judge(FINE, slow)) == 2


def test_that_nothing_was_good_enough_is_no_trouble_but_a_failure_is() -> None:
    away = {"car_price": ModelHealth(status="unavailable")}
    none = FINE.model_copy(update={"models": {**away, "education": ModelHealth(status="ok", model_version="v1")}})
    assert [each for each, _ in judge(none, None, Decision(outcome="refused"))] == [NOTE]
    assert [each for each, _ in judge(none)] == [NOTE]
    # But where nothing at all can be answered, or a first training goes on, all is not well.
    assert [each for each, _ in judge(FINE.model_copy(update={"models": away}))] == [WARN, NOTE]
    assert [each for each, _ in judge(none, None, Decision(outcome="running"))] == [WARN]
    failed = judge(none, None, Decision(outcome="running"), Decision(outcome="failed"))
    assert [each for each, _ in failed] == [BAD, WARN], "and the worst stands first"


def test_a_pipeline_that_failed_is_told_once() -> None:
    failed = [FailedPipeline(pipeline=name, failed_at="2026-11-20T06:00:00Z") for name in ("car_price", "monitoring")]
    first, second = judge(FINE, traffic(failed_pipelines=tuple(failed)), Decision(outcome="promoted"))
    assert (first[0], second[0]) == (WARN, WARN)
    assert "Car price: the newest run of the pipeline “car_price” failed" in first[1]
    assert "“monitoring” failed" in second[1]
    # The training's own record tells it already.
    told = judge(FINE, traffic(failed_pipelines=tuple(failed[:1])), Decision(outcome="failed"))
    assert [text for _, text in told] == [Words("en")("concern.failed", title="Car price")]


def test_a_time_beyond_what_is_measured_is_not_made_up() -> None:
    longest = Latency(count=1, p99_ms=2500.0, longest_told_ms=2500.0)
    assert milliseconds(2500.0, longest, Words("id")) == "> 2,5 dtk"
    assert milliseconds(12.34, longest, Words("en")) == "12.3 ms"
    assert milliseconds(None, longest, Words("en")) == "–"


def test_no_request_is_no_division_by_nothing() -> None:
    period = Period(since="2026-11-20T06:00:00Z", until="2026-11-20T06:00:00Z", seconds=0)
    assert "0.0 a second" in wells(FINE, Traffic(period=period), Words("en"))


def test_without_a_prediction_no_scale_of_its_time_is_made_up() -> None:
    figure = latency_figure(traffic(), LIGHT, Words("en"))
    assert (figure.layout.xaxis.type, figure.layout.yaxis.showticklabels) == ("date", False)


def test_a_challenger_in_the_shadow_is_shown_with_how_often_it_agrees() -> None:
    figures = ShadowFigures(model="car_price", model_version="v4", same=8, other=2, failed=1)
    text = shadow({}, traffic(shadow=(figures,)), Words("id"))
    assert "<td>10</td><td>80,0 %</td><td>1</td>" in text
    untouched = figures.model_copy(update={"same": 0, "other": 0})
    assert "<td>–</td>" in shadow({}, traffic(shadow=(untouched,)), Words("id")), "nothing compared is no agreement"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"cause": "drift", "decision": "refused_running"}, ("have shifted", "one went on already")),
        ({"cause": "change", "decision": "started"}, ("rows have changed", "goes on")),
        ({"cause": "person", "asked_by": "api: sari", "decision": "started", "ended_at": "2026-11-20T06:05:00Z",
          "outcome": "promoted", "model_version": "v4"}, ("by sari", "v4: in use now")),
        ({"cause": "<b>", "decision": "unheard_of"}, ("&lt;b&gt;", "unheard_of")),
    ],
)  # fmt: skip
def test_each_training_that_was_asked_for_tells_why_and_what_came_of_it(
    told: dict[str, Any], said: tuple[str, ...]
) -> None:
    text = history((Retrain(model="car_price", asked_at="2026-11-20T06:00:00Z", **told),), TITLES, Words("en"))
    assert all(each in text for each in ("Car price", *said))


def test_where_trainings_can_not_be_asked_for_nobody_is_told_that_there_are_none() -> None:
    assert escape(Words("en")("more.not_now")) in history(None, TITLES, Words("en"))
    assert escape(Words("en")("asked.none")) in history((), TITLES, Words("en"))


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "width", "language"), [("light", 1440, "en"), ("dark", 390, "id")])
def test_the_page_says_at_once_how_it_is(
    page: Page, dashboard: str, standin: StandIn, theme: str, width: int, language: str
) -> None:
    words = Words(language)
    traffic = standin.app.state.five.service.traffic
    # What earlier tests had refused and unanswered shall not be of this period, nor a first prediction's slowness.
    httpx.post(f"{standin.address}/models/car_price/predict", json=CAR_PRICE.example)
    traffic._samples.clear()
    traffic.look()
    for _ in range(5):
        httpx.post(f"{standin.address}/models/car_price/predict", json=CAR_PRICE.example)
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{dashboard}/monitoring?lang={language}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(words("watch.good"))
    expect(page.locator(".sg-well").first).to_be_visible()
    expect(page.locator(".st-key-watch_requests .scatterlayer path.js-line").first).to_be_attached()
    expect(page.get_by_text(words("watch.watched"))).to_be_visible()
    assert page.evaluate(WIDTH) <= width
    registry = standin.app.state.five.registry
    registry.away = True
    try:
        # By itself, within its pulse.
        expect(page.get_by_text(words("watch.down_registry"))).to_be_visible()
        expect(page.get_by_role("heading", level=1)).to_contain_text(words("watch.look"))
    finally:
        registry.away = False
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
