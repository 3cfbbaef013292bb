"""What holds for every page at both widths: it draws, nothing runs out of it, nothing outside is asked, and axe-core
finds no serious fault in it. One load a page serves all of that."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.frontend.conftest import StandIn, watched
from tests.frontend.desk import Desk
from tests.frontend.five import FIVE

pytestmark = pytest.mark.browser

TOOLS = ("overview", "education", "batch", "experiments", "monitoring", "operations")
PAGES = (*TOOLS, *(each.name for each in FIVE))
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"
# Two frames on: what follows the width has followed it.
SETTLED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
# Faults in Streamlit's own elements, which no page can mend: the rule, and what its elements' HTML holds.
STREAMLIT: dict[str, tuple[str, ...]] = {}


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's script; empty where it is not installed, and then nobody looks with it."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or not found.submodule_search_locations:
        return ""
    return (Path(next(iter(found.submodule_search_locations))) / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def everywhere(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """One page of the browser for the whole module, and what its console complains of."""
    complaints: list[str] = []
    with watched(browser) as page:
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda r: complaints.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        yield page, complaints


def faults(page: Page, axe: str) -> list[str]:
    """What axe-core calls serious or critical."""
    if not axe:
        return []
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(axe)
    rules = json.dumps(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"])
    found: list[dict[str, Any]] = page.evaluate(f"axe.run(document, {{runOnly: {rules}}}).then(r => r.violations)")
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
        if not any(part in node["html"] for part in STREAMLIT.get(each["id"], ()))
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_in_both_widths(
    everywhere: tuple[Page, list[str]], dashboard: str, axe: str, name: str
) -> None:
    page, complaints = everywhere
    complaints.clear()
    language = "id" if PAGES.index(name) % 2 else "en"
    page.emulate_media(color_scheme="dark" if PAGES.index(name) % 3 else "light")
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.goto(f"{dashboard}/{name}?lang={language}")
    expect(page.locator(".sg-hero h1").first).to_be_visible()
    expect(page.locator(READY)).to_have_count(1)
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        page.evaluate(SETTLED)
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        assert page.evaluate(WIDTH) <= width
        assert faults(page, axe) == []
    assert complaints == []


def test_who_looks_with_axe(axe: str) -> None:
    if not axe:
        pytest.skip("needs axe-playwright-python, whose axe.min.js the pages are looked at with")
    assert "axe v4" in axe[:200]


def test_a_signed_in_operator_s_page_is_whole(
    everywhere: tuple[Page, list[str]], dashboard: str, axe: str, standin: StandIn
) -> None:
    page, _ = everywhere
    desk: Desk = standin.app.state.desk
    desk.__init__()  # type: ignore[misc]
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.goto(f"{dashboard}/operations?lang=en&model=car_price")
    page.get_by_label("API key", exact=True).fill("operator-key")
    page.keyboard.press("Enter")
    expect(page.locator(".st-key-operator_return")).to_be_visible()
    assert faults(page, axe) == []
    page.locator("input[type=file]").set_input_files(
        {"name": "mobil.csv", "mimeType": "text/csv", "buffer": b"Price,hp\n1,x\n9000,90\n"}
    )
    expect(page.get_by_text("What mobil.csv would do")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 1000})
    page.locator(".st-key-operator_import button").dblclick()
    expect(page.get_by_role("dialog")).to_contain_text("1 are added")
    page.get_by_role("button", name="Yes, do it").dblclick()
    expect(page.get_by_role("heading", name="1 rows added, 0 changed")).to_be_visible()
    assert faults(page, axe) == []
    assert page.evaluate(WIDTH) <= 390
    assert [(who, act) for who, act, _ in desk.acts] == [("sari", "import")]
    desk.__init__()  # type: ignore[misc]
