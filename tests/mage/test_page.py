"""Mage's page as a person sees it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from sigap.services.mage import OWNER
from sigap.services.mage_client import run_pipeline

pytestmark = [pytest.mark.usefixtures("mage"), pytest.mark.browser]


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(90_000)  # a busy machine is no fault of the page
    yield page
    page.close()


def test_the_owner_signs_in_and_sees_the_run_block_by_block_without_the_internet(mage_settings, page):
    events = []
    run_pipeline(mage_settings, "fan", {"items": 2}, events.append)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))

    page.goto(f"{mage_settings.mage_address}/pipelines")
    page.wait_for_url("**/sign-in**")
    page.locator("input").first.fill(OWNER)
    page.locator("input[type=password]").fill(mage_settings.secret("mage_password"))
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)

    page.goto(f"{mage_settings.mage_address}/pipelines")
    expect(page.get_by_text("education", exact=True).first).to_be_visible(timeout=600_000)
    page.goto(events[0]["address"])
    for block in ("start", "plan", "fit:k_2", "fit:k_3", "finish"):
        row = page.get_by_role("row").filter(has=page.get_by_text(block, exact=True))
        expect(row).to_contain_text("completed", timeout=600_000)

    host = mage_settings.mage_address.removeprefix("http://")
    outside = [url for url in asked if not url.startswith(("data:", "blob:")) and host not in url]
    assert outside == []
    assert errors == []
