"""The credit officer's file and the operator's acts, in a real browser."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.frontend.conftest import StandIn
from tests.frontend.desk import Desk
from tests.frontend.test_batch import table

pytestmark = pytest.mark.browser

WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"


@pytest.fixture
def desk(standin: StandIn) -> Iterator[Desk]:
    found: Desk = standin.app.state.desk
    found.__init__()  # type: ignore[misc]
    yield found
    found.__init__()  # type: ignore[misc]


def drop(page: Page, name: str, content: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_a_file_from_the_drop_to_the_download(page: Page, dashboard: str, theme: str, width: int) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{dashboard}/batch?lang=id&model=loan_approval")
    expect(page.get_by_text("paling besar 16 MB dan 1.000.000 baris")).to_be_visible()
    drop(page, "foto.csv", b"\x89PNG\r\n")
    expect(page.get_by_text("Berkas ini belum bisa dipakai")).to_be_visible()
    drop(page, "pengajuan.csv", table(3000, LoanAmount="Loan Amount (Rp)"))
    expect(page.get_by_text("Diusulkan karena namanya mirip")).to_be_visible()
    assert page.evaluate(WIDTH) <= width
    page.get_by_role("button", name="Jawab berkas ini").dblclick()
    expect(page.get_by_role("heading", name="2.700 dari 3.000 baris dijawab; ditolak: 300.")).to_be_visible()
    assert page.evaluate(WIDTH) <= width
    with page.expect_download() as download:
        page.get_by_role("button", name="Unduh sebagai CSV").click()
    assert download.value.suggested_filename == "pengajuan-loan_approval-v3.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["status"] for row in rows].count("refused") == 300
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    # Another page and back: the result is still there.
    if width == 1440:
        page.get_by_role("link", name="Ringkasan").click()
        expect(page.get_by_text("Yang perlu diperhatikan")).to_be_visible()
        page.get_by_role("link", name="Jawab berkas").click()
        expect(page.get_by_role("heading", name="2.700 dari 3.000 baris dijawab")).to_be_visible()


def sign_in(page: Page, dashboard: str, key: str, who: str) -> None:
    page.goto(f"{dashboard}/operations?lang=en&model=car_price")
    field = page.get_by_label("API key", exact=True)
    field.fill(key)
    field.press("Enter")
    expect(page.get_by_text(f"Signed in as {who}")).to_be_visible()


def test_the_operator_s_double_clicks_do_nothing_twice(
    page: Page, browser: Browser, dashboard: str, desk: Desk
) -> None:
    desk.slow = 0.4
    sign_in(page, dashboard, "operator-key", "sari")
    assert "token" not in page.url
    other = browser.new_page(viewport={"width": 390, "height": 900})
    sign_in(other, dashboard, "second-key", "budi")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("dialog")).to_contain_text("version v4 will answer instead of v3")
    page.get_by_role("button", name="Yes, do it").dblclick()
    expect(page.get_by_role("heading", name="version v4 is in use now")).to_be_visible()
    other.get_by_role("button", name="Start the pipeline").dblclick()
    other.get_by_role("button", name="Yes, do it").dblclick()
    expect(other.get_by_text("run 1 of the pipeline has started")).to_be_visible()
    expect(other.get_by_text("Look at the features")).to_be_visible()
    desk.end()
    expect(other.get_by_role("heading", name="Run 1: done")).to_be_visible()
    assert other.evaluate(WIDTH) <= 390
    assert [(name, act) for name, act, _ in desk.acts] == [("sari", "update"), ("budi", "pipeline")]
    # With the keyboard alone, and given up once.
    page.get_by_role("button", name="Roll back").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("version v3 will answer instead of v4")
    # The keys are the dialog's as soon as it has the focus.
    inside = "document.querySelector('[role=dialog]')?.contains(document.activeElement)"
    page.wait_for_function(inside)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    desk.tokens.clear()
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.get_by_text("The sign-in has ended.")).to_be_visible()
    assert len(desk.acts) == 2
    other.close()


def test_the_alarm_is_tried_once_and_taken_back_on_a_phone(page: Page, dashboard: str, desk: Desk) -> None:
    desk.slow = 0.4
    page.set_viewport_size({"width": 390, "height": 900})
    sign_in(page, dashboard, "operator-key", "sari")
    page.get_by_text("The table", exact=True).click()
    expect(page.get_by_text("Rows at most", exact=True)).to_be_visible()
    page.get_by_role("button", name="Shift …").click()
    expect(page.get_by_role("dialog")).to_contain_text("of the table are shifted by +1.0 standard deviations")
    page.get_by_role("button", name="Yes, do it").dblclick()
    expect(page.get_by_role("heading", name="200 rows of the table are shifted.")).to_be_visible()
    expect(page.get_by_role("button", name="Shift …")).to_be_disabled()
    page.get_by_role("button", name="Take the shift back").click()
    expect(page.get_by_role("dialog")).to_contain_text("get the values back that they had before")
    page.get_by_role("button", name="Yes, do it").dblclick()
    expect(page.get_by_role("heading", name="rows of the table are what they were.")).to_be_visible()
    expect(page.get_by_role("button", name="Take the shift back")).to_have_count(0)
    assert [body["undo"] for _, _, body in desk.acts] == [False, True]
    assert page.evaluate(WIDTH) <= 390
