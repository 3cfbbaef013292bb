"""Models of any task as their readers see them, in headless Chromium; the `page` fixture refuses outside requests."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.frontend.conftest import StandIn
from tests.frontend.five import FIVE, REFUSED, WHY, WHY_ID

pytestmark = pytest.mark.browser

WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"


@pytest.mark.parametrize(("theme", "width", "language"), [("light", 1440, "id"), ("dark", 390, "en")])
def test_from_the_overview_to_an_answer(page: Page, dashboard: str, theme: str, width: int, language: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{dashboard}/overview?lang={language}")
    # A card for each model, the refused one with its reason.
    expect(page.locator("[class*=st-key-card_]")).to_have_count(len(FIVE) + 1)
    expect(page.locator(f".st-key-card_{REFUSED}")).to_contain_text(WHY_ID if language == "id" else WHY)
    assert page.evaluate(WIDTH) <= width
    title = {"id": "Buka Harga mobil", "en": "Open Car price"}[language]
    page.get_by_role("link", name=title).click()
    page.get_by_role("button", name={"id": "Coba contoh", "en": "Try the example"}[language]).click()
    expect(page.locator(".sg-answer .sg-scale")).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    assert page.evaluate(WIDTH) <= width


def test_a_new_champion_takes_the_refusals_place_by_itself(page: Page, dashboard: str, standin: StandIn) -> None:
    page.goto(f"{dashboard}/{REFUSED}?lang=en")
    expect(page.get_by_text(WHY).first).to_be_visible()
    five = standin.app.state.five
    five.refuse()
    try:
        expect(page.get_by_role("button", name="Try the example")).to_be_visible()
    finally:
        five.refuse(REFUSED)


def test_a_page_opened_while_the_api_is_down_fills_itself(page: Page, dashboard: str, standin: StandIn) -> None:
    standin.stop()
    try:
        page.goto(f"{dashboard}/car_price?lang=en")
        expect(page.get_by_text("The figures can't be loaded yet")).to_be_visible()
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
    finally:
        standin.start()
    expect(page.get_by_role("heading", name="What is a fair price for this car?")).to_be_visible()
