"""The token page in a real browser: it works, fits a phone, and talks to nobody but the API."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, expect

from backend.app import create_app
from backend.security.dashboard import PAGE, POLICY
from tests.backend.conftest import free_port, wait_for
from tests.backend.security.conftest import keys_of, settings

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of an API in a thread, and a key."""
    found = settings(tmp_path_factory.mktemp("api"), protect="all")
    keys = keys_of(found)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(found), port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    wait_for(lambda: server.started, "The API")
    yield f"http://127.0.0.1:{port}", keys["both"]
    server.should_exit = True
    thread.join(600)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_token_from_first_to_last(
    api: tuple[str, str], browser: Browser, width: int, scheme: str, request: pytest.FixtureRequest
) -> None:
    address, key = api
    allowed = ["clipboard-read", "clipboard-write"]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, permissions=allowed)  # type: ignore[arg-type]
    with contextlib.closing(context):
        page = context.new_page()
        asked: set[str | None] = set()
        faults: list[str] = []
        page.on("request", lambda each: asked.add(urlsplit(each.url).netloc))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto(f"{address}/token-dashboard")
        status = page.locator("#status")

        page.get_by_label("API key").fill(key)
        page.get_by_label("predict").check()
        page.get_by_role("button", name="Get a token").click()
        expect(status).to_have_text("Here is your token.")
        expect(page.locator("#scopes .tag")).to_have_text(["predict"])
        expect(page.locator("#left")).to_have_text(re.compile(r"(59|60) min \d+ s"))
        expect(page.get_by_label("API key")).to_have_value("")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.screenshot(path=request.config.cache.mkdir("screenshots") / f"tokens-{width}.png", full_page=True)

        page.get_by_role("button", name="Copy the call").click()
        expect(status).to_have_text("The call is copied.")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert '"provinsi_id"' in copied
        assert re.search(r'-H "Authorization: Bearer [\w.-]{100,}"', copied)
        # What is shown is not the token: somebody may look on.
        assert not re.search(r"Bearer [\w.-]{100,}", page.locator("#curl").inner_text())

        page.get_by_role("button", name="Validate").click()
        expect(status).to_have_text("The token is valid.")
        page.get_by_role("button", name="Revoke").click()
        expect(status).to_have_text("The token is revoked.")
        expect(page.locator("#yours")).to_be_hidden()
        assert faults == []
        assert asked == {urlsplit(address).netloc}

        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Get a token").click()
        expect(status).to_contain_text("There is no such API key.")


def test_the_page_allows_itself_only_its_own_script() -> None:
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")
    assert not re.search(r'(src|href)="(https?:)?//', PAGE)
    assert " style=" not in PAGE
    assert not re.search(r" on\w+=", PAGE)
