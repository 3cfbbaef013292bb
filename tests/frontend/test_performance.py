"""How right the answers were, on the page of monitoring."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from backend.performance import Bin, Metric, Performance, VersionPerformance
from frontend import performance
from frontend.views.performance import section, state
from frontend.words import Words
from tests.frontend.conftest import StandIn, opened, shown

WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"
SINCE, UNTIL = datetime(2026, 10, 21, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
BINS = [(0.12, 0.1), (0.35, 0.42), (0.62, 0.58), (0.88, 0.93)]


def metric(name: str, value: float | None, n: int = 120, **told: Any) -> Metric:
    ends = {"low": value * 0.8, "high": value * 1.2} if value is not None else {"low": None, "high": None}
    base = {"promised": None, "promised_sd": None, "decisive": False, "worse": False, "judged": True, "reason": ""}
    return Metric(**{"metric": name, "value": value, "n": n, **ends, **base, **told})


def lived(model: str, metrics: list[Metric], *, alarm: bool = False, **told: Any) -> Performance:
    version = VersionPerformance(
        model_version="v3",
        computed_at=UNTIL,
        window_from=SINCE,
        window_to=UNTIL,
        alarm=alarm,
        metrics=metrics,
        **{"reliability": [], "confidence": None, **told},
    )
    return Performance(
        model=model,
        measurable=True,
        model_version="v3",
        alarm=alarm,
        outcomes=metrics[0].n,
        newest=UNTIL,
        window_days=30,
        versions=[version],
        history=[],
    )


def told() -> dict[str, Performance]:
    """One model that keeps its promise, one that does not, and one about which too little is known."""
    bins = [Bin(n=30, probability=p, share=s, low=max(s - 0.1, 0), high=min(s + 0.1, 1)) for p, s in BINS]
    price = metric("mae", 2_900.0, promised=1_454.0, promised_sd=72.0, decisive=True, worse=True)
    return {
        "car_price": lived("car_price", [price, metric("coverage", 0.74)], alarm=True, confidence=0.9),
        "loan_approval": lived(
            "loan_approval",
            [
                metric("brier", 0.14, promised=0.139, promised_sd=0.01, decisive=True),
                metric("calibration_error", 0.034),
            ],
            reliability=bins,
        ),
        "bitcoin_price": lived(
            "bitcoin_price",
            [metric("rmse_percent", 2.4, 9, promised=2.6, promised_sd=0.8, decisive=True, judged=False)],
        ),
    }


def read(each: Performance) -> performance.Performance:
    return performance.Performance.model_validate(each.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("told", "alarm", "expected"),
    [
        ({"worse": True}, True, "alarm"),
        ({"worse": True}, False, "worse"),
        ({"worse": False}, True, "alarm"),
        ({"judged": False}, False, "few"),
        ({"judged": True}, False, "fine"),
    ],
)
def test_the_state_is_that_of_the_version_in_use(told: dict[str, Any], alarm: bool, expected: str) -> None:
    each = lived("car_price", [metric("mae", 900.0, decisive=True, **told)], alarm=alarm)
    assert state(read(each)) == expected
    assert state(read(each.model_copy(update={"model_version": "v4", "alarm": False}))) == "none"


def test_what_could_not_be_computed_is_told_apart_from_what_is_not_known() -> None:
    failed = lived("car_price", [metric("mae", None, 0, decisive=True, worse=True)])
    none = lived("car_price", [metric("mae", None, 0, decisive=True)])
    assert (state(read(failed)), state(read(none))) == ("failed", "none")


def test_without_outcomes_it_is_said_calmly_how_to_send_them(app: AppTest) -> None:
    page = shown(opened(app, "monitoring"))
    assert Words("en")("live.none_text") in page.replace("&#x27;", "'")
    # Whoever looks at a page types no commands: where to read on is said instead.
    assert "docs/outcomes.md" in page
    assert "curl" not in page


def test_a_score_of_no_outcomes_is_nothing_to_show() -> None:
    words = Words("en")
    none = read(lived("car_price", [metric("mae", None, 0, decisive=True)]))
    assert words("live.none_text") in section({"car_price": none}, {}, words)
    assert words("more.not_now") in html.unescape(section({"car_price": None}, {}, words))


def test_live_errors_stand_beside_what_was_promised(app: AppTest, standin: StandIn) -> None:
    standin.app.state.performance = told()
    try:
        page = shown(opened(app, "monitoring"))
    finally:
        standin.app.state.performance = {}
    assert "Mean error: 2,900 US dollars (2,320 to 3,480)" in page
    assert "1,454 ± 72 US dollars" in page
    assert "74.0 % of the outcomes, 90 % meant" in page
    assert Words("en")("live.alarm") in page
    assert Words("en")("live.finding", title="Car price") in page
    assert Words("en")("live.few") in page


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "width", "language"), [("light", 1440, "en"), ("dark", 390, "id")])
def test_the_diagram_and_the_table_fit_any_screen(
    page: Page, dashboard: str, standin: StandIn, theme: str, width: int, language: str
) -> None:
    words = Words(language)
    standin.app.state.performance = told()
    try:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{dashboard}/monitoring?lang={language}")
        expect(page.get_by_text(words("live.title"))).to_be_visible()
        expect(page.locator(".st-key-live_loan_approval .scatterlayer path.point").first).to_be_attached()
        expect(page.get_by_text(words("live.alarm"))).to_be_visible()
        assert page.evaluate(WIDTH) <= width
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
    finally:
        standin.app.state.performance = {}
