"""Pictures for the README and the documentation, taken from the running system.

`./run bench screenshots` opens the dashboard and Mage's page (start them with `./run` first) in headless Chromium and
writes `docs/images/dashboard.png`, `docs/images/mage.png` and a picture of each page for docs/dashboard.md; `--all`
takes every page of the dashboard instead, in both themes, languages and widths.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from sigap.services.mage import OWNER
from sigap.settings import ROOT, Settings, get_settings

WAIT_MS = 60_000
# Of its own accord a browser asks its maker for updates; pictures are taken without the internet.
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDTHS = {"desktop": 1440, "phone": 390}


@dataclass(frozen=True)
class Shot:
    """One picture: where, how wide and high in pixels (as the page without a height), and in which theme."""

    name: str
    path: str
    width: int = 1440
    height: int | None = None
    theme: str = "light"


README = Shot("dashboard", "education?lang=en&province=P96", height=1380)


# Every page, each tab of the education page too.
PAGES = {
    "overview": "overview?",
    "education": "education?province=P32",
    **{
        f"education-{tab}": f"education?province=P32&tab={tab}"
        for tab in ("beside", "moved", "try", "figures", "about")
    },
    **{
        model: f"{model}?"
        for model in ("car_price", "customer_segments", "loan_approval", "credit_approval", "bitcoin_price")
    },
    "batch": "batch?model=credit_approval",
    "experiments": "experiments?model=car_price",
    "monitoring": "monitoring?",
    "operations": "operations?",
}


def documented() -> list[Shot]:
    """A picture of each page for the documentation."""
    return [
        Shot(name, f"{path}&lang=en", 1280, 1000)
        for name, path in PAGES.items()
        if "-" not in name and name != "education"
    ]


def every_page() -> list[Shot]:
    """Every page, on a desktop and a phone, light and dark, in both languages."""
    return [
        Shot(f"{name}-{device}-{theme}-{language}", f"{path}&lang={language}", width, None, theme)
        for theme, language in (("light", "id"), ("dark", "en"))
        for device, width in WIDTHS.items()
        for name, path in PAGES.items()
    ]


def take(browser: Browser, address: str, shot: Shot, folder: Path) -> Path:
    """Takes one picture, as high as the page when no height is given.

    Raises:
        SystemExit: The page does not show a champion within a minute.
    """
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height or 1000},
        color_scheme="dark" if shot.theme == "dark" else "light",
        device_scale_factor=2 if shot.name == README.name else 1,
    )
    page = context.new_page()
    try:
        page.goto(f"{address}/{shot.path}", timeout=WAIT_MS)
        page.locator("h1").first.wait_for(timeout=WAIT_MS)
    except Exception as error:
        raise SystemExit(f"{address}/{shot.path} shows nothing. Start the system with ./run first.") from error
    _settle(page)
    if shot.height is None:
        full = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": shot.width, "height": int(full) + 10})
        _settle(page)
    if page.locator("[data-testid=stException]").count() or page.get_by_text("encountered an error").count():
        raise SystemExit(f"{address}/{shot.path} shows an error: see logs/dashboard.log in the state folder.")
    path = folder / f"{shot.name}.png"
    page.screenshot(path=path)
    context.close()
    return path


def take_mage(browser: Browser, settings: Settings, folder: Path) -> Path:
    """Takes the picture of the newest run of the pipeline `education`, block by block, in Mage's page."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark").new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{settings.mage_address}/sign-in")
    page.locator("input").first.fill(OWNER)
    page.locator("input[type=password]").fill(settings.secret("mage_password"))
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.goto(f"{settings.mage_address}/pipelines/education/runs")
    page.get_by_role("row").filter(has_text="completed").first.wait_for()
    newest = page.locator("a[href*='/pipelines/education/runs/']").first.get_attribute("href")
    page.goto(f"{settings.mage_address}{newest}")
    page.get_by_text("promote_champion").first.wait_for()
    page.wait_for_timeout(3000)
    path = folder / "mage.png"
    page.screenshot(path=path)
    return path


def _settle(page: Page) -> None:
    """Waits until charts are drawn: nothing in the page tells when the last one is."""
    if page.locator(".st-key-map_frame").count():
        page.locator(".st-key-map_frame .scatterlayer .points path").first.wait_for(timeout=WAIT_MS)
    page.locator("[data-testid=stStatusWidget]").wait_for(state="hidden", timeout=WAIT_MS)
    page.wait_for_timeout(1500)


def main() -> None:
    """Takes the pictures and says where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every page, theme, language and width")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images", help="where the pictures go")
    chosen = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No Chromium was found on the PATH. Install it (Debian: apt-get install chromium).")
    settings = get_settings()
    address = f"http://{settings.host}:{settings.dashboard_port}"
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for shot in every_page() if chosen.all else [README, *documented()]:
            print(take(browser, address, shot, chosen.folder))
        if not chosen.all:
            print(take_mage(browser, settings, chosen.folder))
        browser.close()


if __name__ == "__main__":
    main()
