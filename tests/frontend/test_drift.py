"""Drift as the dashboard tells it: at a glance on the cards, feature by feature on the monitoring page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from frontend.drift import Check, Feature
from frontend.views.drift import badge, sentence
from frontend.words import Words
from tests.frontend.conftest import StandIn, opened, shown
from tests.frontend.drifting import DRIFTING, check

WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"


@pytest.fixture
def drifting(standin: StandIn) -> Iterator[None]:
    before, standin.app.state.drift.checks = standin.app.state.drift.checks, DRIFTING
    yield
    standin.app.state.drift.checks = before


@pytest.mark.usefixtures("drifting")
@pytest.mark.parametrize("language", ["en", "id"])
def test_the_monitoring_page_tells_what_drifts_and_why(app: AppTest, language: str) -> None:
    words = Words(language)
    page = shown(opened(app, "monitoring", lang=language))
    assert words("drift.title") in page
    for state in ("drifting", "too_few", "steady", "failed", "unchecked"):
        assert badge(state, words) in page
    car = "Car price" if language == "en" else "Harga mobil"
    assert words("drift.finding_drifting", title=car, where=words("drift.in_live")) in page
    app.selectbox(key="drift_model").select("car_price").run()
    page = shown(app)
    assert words("drift.new", names="tricycle") in page
    assert "→" in page, "what is missing more often than it was"
    assert page.count("sg-drift-bars") > 5


@pytest.mark.usefixtures("drifting")
def test_a_failed_check_says_why_and_what_it_means(app: AppTest) -> None:
    opened(app, "monitoring")
    app.selectbox(key="drift_model").select("loan_approval").run()
    page = shown(app)
    assert Words("en")("drift.said_failed") in page
    assert "the snapshot is &lt;gone&gt;" in page


def test_checks_that_do_not_come_are_told(app: AppTest, standin: StandIn) -> None:
    words, desk = Words("en"), standin.app.state.drift
    desk.overdue = frozenset({"car_price", "loan_approval"})
    try:
        page = shown(opened(app, "monitoring"))
    finally:
        desk.overdue = frozenset()
    head = page.partition("</section>")[0]
    assert words("watch.look") in head
    assert words("watch.good") not in head
    last = words.ago(check(29)[1].isoformat())
    assert words("drift.finding_overdue", title="Car price", ago=last) in head
    assert words("drift.finding_never", title="Loan approval") in head


@pytest.mark.usefixtures("drifting")
def test_the_cards_of_the_overview_say_how_a_model_stands(app: AppTest) -> None:
    page, words = shown(opened(app, "overview")), Words("en")
    assert words("drift.drifting") in page
    assert words("drift.unchecked") in page


def test_what_was_found_is_said_in_the_readers_language() -> None:
    check = Check(
        id=1, checked_at="2026-11-20T06:00:00Z", model_version="v3", rows=1200, reference_rows=300, status="computed",
        share=0.4, drifted=True, alarm=False, reason="",
        details={"rules": {"share": 0.3, "drifted_windows": 2, "windows": 3}},
    )  # fmt: skip
    said = sentence(check, Words("en"))
    assert "in 1,200 rows" in said
    assert "2 of the last 3" in said
    few = check.model_copy(update={"status": "too_few", "details": {}})
    assert "1.200 baris" in sentence(few, Words("id"))
    assert few.state == "too_few"
    assert Feature(feature="x", title={"id": "x", "en": "x"}, unit={"id": "", "en": ""}, test="ks", effect=0,
                   effect_name="ks_distance", drifted=False).bins == {}  # fmt: skip


@pytest.mark.browser
@pytest.mark.usefixtures("drifting")
@pytest.mark.parametrize(("theme", "width", "language"), [("light", 1440, "en"), ("dark", 390, "id")])
def test_the_section_fits_every_screen(page: Page, dashboard: str, theme: str, width: int, language: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{dashboard}/monitoring?lang={language}")
    expect(page.get_by_role("heading", name=Words(language)("drift.title"))).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    assert page.evaluate(WIDTH) <= width
