"""A file on its way to the API and back, and what is told of its rows."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from streamlit.testing.v1 import AppTest

from frontend import answered, batch, catalogue, results
from frontend.batch import Job, RefusedFileError
from frontend.views.outcome import reason, without_empty
from frontend.words import Words
from sigap.catalog.loan_approval import LOAN_APPROVAL
from tests.frontend.conftest import StandIn, clear_caches, opened, shown

MODEL = "loan_approval"
LOAN = dict(LOAN_APPROVAL.example)


def table(rows: int, delimiter: str = ",", **names: str) -> bytes:
    """Loans; of every ten, the fourth has an amount that can't be."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["No", *(names.get(name, name) for name in LOAN)])
    for number in range(rows):
        writer.writerow([number, *{**LOAN, **({"LoanAmount": "x"} if number % 10 == 3 else {})}.values()])
    return text.getvalue().encode()


@pytest.fixture
def here(standin: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The dashboard's own functions, before the stand-in."""
    monkeypatch.setenv("SIGAP_API_URL", standin.address)
    monkeypatch.setenv("SIGAP_STATE_DIR", str(tmp_path))
    clear_caches()
    yield tmp_path
    clear_caches()


def begin(content: bytes, columns: dict[str, str] | None = None, name: str = "loans.csv") -> Job:
    found = batch.preview(MODEL, name, io.BytesIO(content))
    return Job(MODEL, name, io.BytesIO(content), found, columns or {})


def ended(job: Job) -> Job:
    wait_until(lambda: not job.running)
    return job


def wait_until(condition: Callable[[], Any]) -> None:
    limit = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_each_row_is_answered_or_refused_with_its_reason(here: Path) -> None:
    job = ended(begin(table(2000)))
    assert (job.state, job.version) == ("done", "v3")
    found = job.result
    assert found is not None
    assert (found.answered, found.refused, found.total) == (1800, 200, 2000)
    assert found.reasons == {"LoanAmount": 200}
    assert len(found.rows) == results.SHOWN
    assert [number for number, _ in found.refused_rows[:3]] == [4, 14, 24]
    told = reason(found.refused_rows[0][1][-1], catalogue.detail(MODEL), Words("id"))
    assert "Jumlah pinjaman: tertulis “x”, seharusnya" in told
    assert "expected" not in told


def test_answers_are_read_in_the_reader_s_words_and_numbers(here: Path) -> None:
    car, people = catalogue.detail("car_price"), catalogue.detail("customer_segments")
    names = ["price", "interval_low", "segment", "filled_in"]
    price, low, segment, filled = answered.columns(car, names, Words("id"))
    assert [each.title for each in (price, low, segment)] == ["Harga (dolar AS)", "Paling sedikit", "Kelas"]
    assert price.read("13295.123456789012") == "13.295"
    assert low.read("-0.0000001") == "0,0"
    assert segment.read(car.segments[0].label.en) == car.segments[0].label.id
    assert filled.read("horsepower citympg") == "Tenaga, Konsumsi di kota"
    (hidden,) = answered.columns(people, ["cluster"], Words("en"))
    assert hidden.title == ""


def test_a_rule_that_decided_keeps_its_columns() -> None:
    names = ["prediction", "decided_by", "policy"]
    told = [answered.Told(name, str) for name in names]
    assert [each.title for each in without_empty(told, [["yes", "model", ""]], names)] == ["prediction", "", ""]
    ruled = [["yes", "model", ""], ["no", "policy", "past default"]]
    assert [each.title for each in without_empty(told, ruled, names)] == names


def test_headings_of_another_name_are_suggested_and_named(here: Path) -> None:
    content = table(5, ";", LoanAmount="loan amount", ApplicantIncome="Pendapatan")
    found = batch.preview(MODEL, "loans.csv", io.BytesIO(content))
    known = {column.field: (column.heading, column.near) for column in found.columns}
    assert known["LoanAmount"] == (None, "loan amount")
    assert known["ApplicantIncome"] == (None, None)
    job = ended(begin(content, {"LoanAmount": "loan amount", "ApplicantIncome": "Pendapatan"}))
    assert job.result is not None
    assert (job.result.answered, job.result.refused) == (4, 1)


def test_the_workbook_holds_what_the_csv_holds_and_no_formula(here: Path) -> None:
    content = table(30).replace(b"\n0,", b"\n=1+1,", 1)
    job = ended(begin(content))
    sheet = openpyxl.load_workbook(job.workbook()).active
    rows = list(sheet.iter_rows(values_only=True))
    assert len(rows) == 31
    assert rows[1][0] == "'=1+1"
    assert rows[2][0] == 1
    assert rows[4][-2] == "refused"


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "a.csv", "empty"),
        (b"\x89PNG\r\n", "a.csv", "picture"),
        (table(2), "a.xlsx", "content is CSV"),
        (b"a\0b", "a.csv", "no text"),
        (b"x" * (17 * 2**20), "a.csv", "more than"),
    ],
)
def test_a_file_that_can_t_be_used_is_refused_before_it_is_answered(
    here: Path, content: bytes, name: str, said: str
) -> None:
    with pytest.raises(RefusedFileError) as caught:
        batch.preview(MODEL, name, io.BytesIO(content))
    assert said in caught.value.trouble.detail


def test_windows_letters_and_excel_s_own_dialect_are_read(here: Path) -> None:
    content = b"sep=;\r\n" + table(3, ";", Gender="N\u00e9").decode().encode("cp1252")
    found = batch.preview(MODEL, "a.csv", io.BytesIO(content))
    assert found.headings[1] == "N\u00e9"
    assert found.delimiter == ";"


def test_a_workbook_with_formulas_is_read_by_their_results(here: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(list(LOAN))
    book.active.append([f"={value}*1" if name == "LoanAmount" else value for name, value in LOAN.items()])
    content = io.BytesIO()
    book.save(content)
    job = ended(begin(content.getvalue(), name="a.xlsx"))
    # Nobody computed it: without a result, the cell is as empty as it looks.
    assert job.result is not None
    assert job.result.total == 1
    assert job.share is None


def test_a_model_that_went_away_is_told(here: Path, standin: StandIn) -> None:
    content = table(3)
    found = batch.preview(MODEL, "a.csv", io.BytesIO(content))
    standin.app.state.five.refuse(MODEL)
    try:
        job = ended(Job(MODEL, "a.csv", io.BytesIO(content), found, {}))
    finally:
        standin.app.state.five.refuse("credit_approval")
    assert job.state == "failed"
    assert job.trouble is not None
    assert job.trouble.kind == "no-champion"


def test_an_api_that_goes_down_in_the_middle_leaves_nothing_behind(here: Path, standin: StandIn) -> None:
    job = begin(table(150_000))
    wait_until(lambda: job.state != "sending" or not job.running)
    standin.stop()
    try:
        ended(job)
    finally:
        standin.start()
    assert (job.state, job.trouble and job.trouble.kind) == ("failed", "down")
    assert not job.answers.exists()


def test_a_job_that_is_stopped_ends_and_takes_its_files_along(here: Path) -> None:
    job = begin(table(100_000))
    job.stop()
    assert ended(job).state == "stopped"
    del job
    wait_until(lambda: not list((here / "dashboard").iterdir()))


def test_the_page_says_its_limits_and_follows_the_address(app: AppTest) -> None:
    page = opened(app, "batch", model=MODEL)
    assert "CSV, XLSX, XLS, Parquet, up to 16 MB and 1,000,000 rows." in shown(page)
    assert page.selectbox(key="batch_model").value == MODEL
    page.selectbox(key="batch_model").set_value("car_price").run()
    assert "car_price" in page.query_params["model"]


def test_a_model_without_champion_answers_no_file(app: AppTest) -> None:
    page = opened(app, "batch", model="credit_approval")
    assert "No model is in use for this question yet" in shown(page)
    assert not page.file_uploader


@pytest.mark.parametrize("asked", ["bitcoin_price", "boats", "<script>"])
def test_an_address_with_nonsense_opens_the_page(app: AppTest, asked: str) -> None:
    page = opened(app, "batch", model=asked)
    assert page.selectbox(key="batch_model").value == "education"


def test_a_file_is_mapped_answered_and_left_on_the_page(app: AppTest) -> None:
    page = opened(app, "batch", model=MODEL)
    content = table(20, LoanAmount="loan amount", ApplicantIncome="Pendapatan")
    page.file_uploader[0].upload("loans.csv", content, "text/csv").run()
    assert not page.exception
    assert "No column yet for: Applicant&#x27;s income (ApplicantIncome)." in shown(page)
    assert "loan amount → LoanAmount" in shown(page)
    assert page.button(key="batch_start").disabled
    box = next(each for each in page.selectbox if "ApplicantIncome" in each.label)
    box.set_value("loan amount").run()
    assert "A column can stand for one field only: loan amount." in shown(page)
    next(each for each in page.selectbox if "ApplicantIncome" in each.label).set_value("Pendapatan").run()
    page.button(key="batch_start").click().run()
    job = page.session_state[batch.JOB]
    ended(job)
    # A second click finds it there.
    page.run()
    assert page.session_state[batch.JOB] is job
    assert "18 of 20 rows were answered; refused: 2." in shown(page)
    assert "Every answer is by model version v3." in shown(page)
    # Why, and not only where.
    assert "there stands, for instance, “x”" in shown(page)
    assert "<b>2 rows</b>" in shown(page)
    shown_rows = page.dataframe[0].value
    assert list(shown_rows)[:6] == ["Row", "Status", "No", "Decision", "Probability of yes", "Why refused"]
    assert shown_rows["No"][3] == "3", "what tells a row apart stands beside it"
    assert not {"Rule", "Decided by"} & {*shown_rows}, "no rule decided anything"
    assert "loan amount" not in list(shown_rows)[:9]
    assert "Loan amount: “x” stands there, expected is" in shown_rows["Why refused"][3]
    assert shown_rows["Decision"][0] == "Loan approved"
    assert shown_rows["Probability of yes"][0].endswith(" %")
    assert len(shown_rows["Probability of yes"][0]) < 8
    page.button(key="batch_again").click().run()
    assert batch.JOB not in page.session_state


def test_a_file_that_is_too_large_is_told_in_the_reader_s_words(app: AppTest) -> None:
    page = opened(app, "batch", model=MODEL, lang="id")
    page.file_uploader[0].upload("a.csv", b"x" * (50 * 2**20), "text/csv").run()
    assert "Berkas ini 50,0 MB; paling banyak 16 MB bisa dijawab sekaligus." in shown(page)
