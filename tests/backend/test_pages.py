"""Swagger UI and ReDoc in a real browser: they show the API, and ask nobody but the API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.backend.bundles import BODY, TEXTS, expected
from tests.backend.conftest import Api, MlflowServer

pytestmark = pytest.mark.browser


@pytest.fixture
def asked() -> list[str]:
    """The hosts that a page asked or tried to."""
    return []


@pytest.fixture
def faults() -> list[str]:
    """What the page's console complained about."""
    return []


@pytest.fixture
def page(browser: Browser, asked: list[str], faults: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.on("request", lambda request: asked.append(urlsplit(request.url).hostname or "data"))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()


def test_the_pages_show_the_api_and_ask_nobody_else(
    mlflow_server: MlflowServer,
    versions: tuple[str, ...],
    start_api: Callable[..., Api],
    page: Page,
    asked: list[str],
    faults: list[str],
    request: pytest.FixtureRequest,
) -> None:
    mlflow_server.point(versions[0], "pages")
    api = start_api(mlflow_server.uri, "pages")
    shots = request.config.cache.mkdir("screenshots")

    page.goto(f"{api.url}/docs")
    page.locator("#operations-predict-predict .opblock-summary-control").click()
    offered = page.locator("#operations-predict-predict textarea").first
    expect(offered).to_have_value(re.compile('"provinsi_id": "P35"'))
    assert json.loads(offered.input_value()) == BODY
    page.locator("#operations-predict-predict .execute").click()
    answer = page.locator("#operations-predict-predict .live-responses-table .response")
    expect(answer).to_contain_text(TEXTS[expected(BODY)[0]])
    page.screenshot(path=str(shots / "docs.png"), full_page=True)

    page.goto(f"{api.url}/redoc")
    expect(page.get_by_role("heading", name="Education readiness (the default model)")).to_be_visible()
    page.screenshot(path=str(shots / "redoc.png"))

    page.goto(f"{api.url}/")
    page.get_by_label("provinsi_id").fill("P36")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#headline")).to_have_text(TEXTS[expected(BODY)[0]])
    expect(page.locator("#bars .bar").first).to_be_visible()
    page.screenshot(path=str(shots / "root.png"), full_page=True)
    page.get_by_label("Mean years of schooling").fill("many")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#status")).to_contain_text("rata_lama_sekolah: expected a number")
    page.get_by_role("button", name="The example again").click()
    expect(page.get_by_label("Mean years of schooling")).to_have_value("9.2")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width

    assert set(asked) <= {"127.0.0.1", "data"}
    # The browser itself reports the refused value's 422.
    assert [fault for fault in faults if "422" not in fault] == []
