"""The dashboard as its readers see it, in headless Chromium; the `page` fixture refuses any outside request."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from frontend.words import Words
from tests.frontend.conftest import StandIn
from tests.frontend.standin import RISEN, answers

pytestmark = pytest.mark.browser

MARKS = ".st-key-map_frame .scatterlayer .points path.point"
TILES = ".st-key-tiles_frame .barlayer .point path"
LAND = ".st-key-map_frame .scatterlayer path.js-fill"


def _open(page: Page, dashboard: str, path: str = "education?lang=id") -> None:
    page.goto(f"{dashboard}/{path}")
    expect(page.locator(".sg-panel").first).to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_the_map_draws_38_provinces_and_the_coast_without_internet(
    page: Page, dashboard: str, theme: str, width: int
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 844})
    # The bare address leads on to the page, with what the link asked for.
    _open(page, dashboard, "?lang=id&province=P35")
    # One mark a province, and the ring around the chosen one.
    expect(page.locator(MARKS)).to_have_count(38 + 1)
    fills = page.locator(MARKS).evaluate_all("marks => marks.map(mark => getComputedStyle(mark).fill)")
    sizes = sorted(fills.count(color) for color in set(fills) if color != "none")
    assert [size for size in sizes if size > 1] == sorted(level["size"] for level in answers()["model"]["levels"])
    # Neighbours and Indonesia, the latter with all its islands and as wide as the map.
    land = page.locator(LAND)
    expect(land).to_have_count(2)
    assert land.nth(1).get_attribute("d").count("M") > 100  # type: ignore[union-attr]
    box, frame = land.nth(1).bounding_box(), page.locator(".st-key-map_frame").bounding_box()
    assert box is not None
    assert frame is not None
    assert box["width"] > 0.9 * frame["width"]
    # Nothing runs out of the page; on a phone the map is swiped within its frame.
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width


def test_a_click_on_the_map_shows_that_province(page: Page, dashboard: str) -> None:
    _open(page, dashboard)
    expect(page.locator(MARKS)).to_have_count(39)
    papua = max(page.locator(MARKS).all(), key=lambda mark: mark.bounding_box()["x"])  # type: ignore[index]
    papua.click(force=True)
    expect(page.locator(".sg-panel h3").first).to_have_text("Papua")
    expect(page).to_have_url(re.compile("province=P94"))


def test_tiles_count_38_too_and_can_be_clicked(page: Page, dashboard: str) -> None:
    _open(page, dashboard)
    page.get_by_text("Kotak", exact=True).click()
    expect(page.locator(TILES)).to_have_count(38)
    expect(page).to_have_url(re.compile("view=tiles"))
    # Aceh lies furthest to the north-west.
    aceh = min(page.locator(TILES).all(), key=lambda tile: sum(tile.bounding_box()[at] for at in "xy"))  # type: ignore[index]
    aceh.click(force=True)
    expect(page.locator(".sg-panel h3").first).to_have_text("Aceh")
    expect(page).to_have_url(re.compile("province=P11"))


def test_on_a_phone_a_click_brings_the_provinces_details_into_view(page: Page, dashboard: str) -> None:
    page.set_viewport_size({"width": 390, "height": 700})
    _open(page, dashboard, "education?lang=en&province=P35")
    expect(page.locator(MARKS)).to_have_count(39)
    frame = page.locator(".st-key-map_frame").bounding_box()
    # The swiped map shows the chosen province.
    ring = page.locator(MARKS).last.bounding_box()
    assert frame
    assert ring
    assert frame["x"] < ring["x"] < frame["x"] + frame["width"] - ring["width"]
    heading = page.locator(".sg-panel h3").first
    expect(heading).not_to_be_in_viewport()
    near = [mark for mark in page.locator(MARKS).all() if 60 < mark.bounding_box()["x"] < 300]  # type: ignore[index]
    near[0].click(force=True)
    expect(heading).not_to_have_text("Jawa Timur")
    expect(heading).to_be_in_viewport()


def test_the_governor_sees_his_province_turned_green_and_why(page: Page, dashboard: str, standin: StandIn) -> None:
    with standin.serving("story"):
        _open(page, dashboard, f"education?lang=en&province={RISEN}&tab=moved")
        news = page.locator(".edu-news")
        expect(news).to_contain_text("Up: ● Middle Readiness → ▲ High Readiness")
        expect(news.locator("li.on")).to_contain_text("Mean years of schooling: 8.2 → 9.43 years")
        expect(page.locator(".st-key-flows .sankey-link").first).to_be_visible()
        page.get_by_role("button", name="Papua Tengah", exact=True).click()
        expect(page.locator(".sg-panel h3").first).to_have_text("Papua Tengah")
        expect(page).to_have_url(re.compile("province=P96"))


def test_language_stays_while_pages_change(page: Page, dashboard: str) -> None:
    _open(page, dashboard)
    page.get_by_text("English", exact=True).click()
    expect(page.get_by_role("heading", name="What holds it back")).to_be_visible()
    expect(page).to_have_url(re.compile("lang=en"))
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text("What needs attention")).to_be_visible()
    page.get_by_role("link", name="Open Education readiness").click()
    expect(page.get_by_role("heading", name="What holds it back")).to_be_visible()


def test_every_click_on_a_tab_opens_it_and_stands_in_the_address(page: Page, dashboard: str) -> None:
    _open(page, dashboard, "education?lang=id&province=P35")
    words = Words("id")
    for name in ("beside", "moved", "try", "figures", "about", "compare", "moved"):
        tab = page.get_by_role("tab", name=words(f"edu.tab.{name}"), exact=True)
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        page.wait_for_url(f"**{'tab=' + name if name != 'compare' else 'province=P35'}")
        page.wait_for_timeout(500)
        expect(tab).to_have_attribute("aria-selected", "true")


def test_a_slider_moved_by_keys_asks_the_model(page: Page, dashboard: str) -> None:
    _open(page, dashboard, "education?lang=id&province=P35&tab=try")
    result = page.locator("section[role=status]").last
    expect(result).to_contain_text("Menengah")
    page.get_by_role("slider").first.focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    expect(result.locator(".sg-chip")).to_contain_text("Tinggi")
    expect(result).to_contain_text("perubahan ini saja sudah cukup")


def test_an_open_page_survives_an_api_that_goes_and_comes_back(page: Page, dashboard: str, standin: StandIn) -> None:
    _open(page, dashboard)
    standin.stop()
    try:
        expect(page.get_by_text("Data belum bisa dimuat")).to_be_visible()
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
    finally:
        standin.start()
    expect(page.locator(".sg-panel").first).to_be_visible()


def test_an_open_page_shows_a_new_champion_by_itself(page: Page, dashboard: str, standin: StandIn) -> None:
    with standin.serving("empty"):
        page.goto(f"{dashboard}/education?lang=id")
        expect(page.get_by_text("Belum ada model untuk dipakai")).to_be_visible()
    expect(page.locator(".sg-panel").first).to_be_visible()
    with standin.serving("2"):
        expect(page.locator(".sg-group")).to_have_count(2)
