"""Files into tables: the published ones as they are, every format, and what is refused or set aside."""

from __future__ import annotations

import csv
import threading
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pandas as pd
import psycopg
import pytest

from sigap.catalog import Declaration
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.data import files
from sigap.data.importing import Imported, import_file
from sigap.data.loans import run_elt
from sigap.data.mapping import importable
from sigap.data.snapshot import take_snapshot
from sigap.data.understanding import Options
from sigap.errors import ContractError, FileError, ServiceError
from sigap.settings import Settings
from tests.data.conftest import in_another_process
from tests.data.xls import write_xls
from tests.shared import shared

Execute = Callable[..., list[tuple[Any, ...]]]
pytestmark = pytest.mark.usefixtures("catalogue")


def counts(done: Imported) -> tuple[int, int, int, int]:
    return done.inserted, done.changed, done.unchanged, done.rejected


def reasons(done: Imported) -> list[tuple[str, ...]]:
    assert done.rejects_path is not None
    with done.rejects_path.open(encoding="utf-8") as file:
        return [(row["row"], row["field"], row["found"]) for row in csv.DictReader(file)]


def car(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "car_id": number, "wheelbase": 99.8, "carlength": 176.6, "carwidth": 66.2, "curbweight": 2545,
        "enginesize": 109, "boreratio": 3.19, "horsepower": 102, "citympg": 24, "highwaympg": 30,
        "CompanyName": "honda", "fueltype": "gas", "aspiration": "std", "doornumber": "four", "carbody": "sedan",
        "drivewheel": "fwd", "enginetype": "ohc", "cylindernumber": "four", "fuelsystem": "mpfi",
        "price": 13950.5 + number, **changes,
    }  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False, **options)
    return path


def write_xlsx(path: Path, rows: list[list[Any]]) -> Path:
    """A workbook by hand: nothing here writes one."""
    lines = []
    for row in rows:
        cells = [
            f"<c><v>{cell}</v></c>" if isinstance(cell, int | float)
            else f'<c t="inlineStr"><is><t>{escape(str(cell))}</t></is></c>'
            for cell in row
        ]  # fmt: skip
        lines.append(f"<row>{''.join(cells)}</row>")
    space = "http://schemas.openxmlformats.org"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{space}/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
        'ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/'
        'vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{space}/package/2006/relationships"><Relationship Id="r1" '
        f'Type="{space}/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{space}/spreadsheetml/2006/main" xmlns:r="{space}/officeDocument/2006/'
        'relationships"><sheets><sheet name="Mobil" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{space}/package/2006/relationships"><Relationship '
        f'Id="r1" Type="{space}/officeDocument/2006/relationships/worksheet" Target="s.xml"/></Relationships>',
        "xl/s.xml": f'<worksheet xmlns="{space}/spreadsheetml/2006/main"><sheetData>{"".join(lines)}</sheetData>'
        "</worksheet>",
    }
    with zipfile.ZipFile(path, "w") as book:
        for name, content in files.items():
            book.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{content}')
    return path


def test_the_published_cars_take_the_mock_rows_place(
    settings: Settings, catalogue: dict[str, Declaration], execute: Execute
) -> None:
    path = shared("car", "CarPrice_Assignment.csv")
    trial = import_file(settings, "cars", path, Options(dry_run=True))
    assert (counts(trial), trial.mock_removed, trial.dry_run) == ((205, 0, 0, 0), 300, True)
    assert execute("SELECT DISTINCT origin FROM cars") == [("mock",)]

    done = import_file(settings, "car_price", path)
    assert counts(done) == (205, 0, 0, 0)
    assert done.headings["CompanyName"] == "CarName"
    assert done.notes == (
        "CompanyName is respelt in 7 rows: maxda → mazda, porcshce → porsche, toyouta → toyota, "
        "vokswagen → volkswagen, vw → volkswagen",
    )
    assert execute("SELECT count(DISTINCT company_name), sum(price)::int FROM cars") == [(22, 2721726)]
    # The same file again changes nothing, not even when a row was touched.
    before = execute("SELECT max(updated_at) FROM cars")
    again = import_file(settings, "cars", path)
    assert (counts(again), again.mock_removed) == ((0, 0, 205, 0), 0)
    assert execute("SELECT max(updated_at) FROM cars") == before
    taken = take_snapshot(catalogue["car_price"], settings)
    assert (taken.rows, taken.rejected, taken.origin) == (205, 0, "import")
    assert execute("SELECT origin, file, rows FROM data_origin WHERE table_name = 'cars' ORDER BY id") == [
        ("mock", "", 300),
        ("import", "CarPrice_Assignment.csv", 205),
        ("import", "CarPrice_Assignment.csv", 0),
    ]


def test_rows_that_say_they_are_mock_are_told_of(settings: Settings, tmp_path: Path, execute: Execute) -> None:
    frame = pd.DataFrame(execute("SELECT * FROM cars ORDER BY car_id"))
    frame.columns = [name for (name,) in execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'cars' ORDER BY ordinal_position"
    )]  # fmt: skip
    path = tmp_path / "export.csv"
    frame.to_csv(path, index=False)
    trial = import_file(settings, "cars", path, Options(dry_run=True))
    assert (trial.rows, trial.mock_said) == (300, 300)
    frame.drop(columns="origin").to_csv(path, index=False)
    assert import_file(settings, "cars", path, Options(dry_run=True)).mock_said == 0


def test_the_published_customers_keep_their_missing_cells(settings: Settings, execute: Execute) -> None:
    done = import_file(settings, "customers", shared("customers", "automobile_customers.csv"))
    assert (counts(done), done.unused) == ((8068, 0, 0, 0), ("Segmentation",))
    assert execute(
        "SELECT sum(num_nulls(gender, ever_married, age, graduated, profession, work_experience, spending_score,"
        " family_size, var_1)) FROM customers"
    ) == [(1582,)]


def test_the_published_loans_become_units_by_sql(settings: Settings, execute: Execute) -> None:
    path = shared("loan", "loan_prediction_train.csv")
    done = import_file(settings, "loan_applications", path)
    assert (counts(done), done.mock_removed) == ((614, 0, 0, 0), 600)
    assert "LoanAmount is multiplied by 1000" in done.notes[0]
    assert execute("SELECT loan_amount, dependents FROM loan_applications WHERE loan_id = 'LP001014'") == [
        (158000.0, "3+")
    ]
    assert execute(
        "SELECT sum(num_nulls(gender, married, dependents, education, self_employed, applicant_income,"
        " coapplicant_income, loan_amount, loan_amount_term, credit_history, property_area, loan_status))"
        " FROM loan_applications"
    ) == [(149,)]
    assert counts(import_file(settings, "loan_applications", path)) == (0, 0, 614, 0)
    assert execute("SELECT count(*) FROM loan_staging WHERE batch <> 'mock'") == [(614,)]


def loan(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "Loan_ID": f"L{number}", "Gender": "male", "Married": "Yes", "Dependents": "1", "Education": "Graduate",
        "Self_Employed": "No", "ApplicantIncome": 5000, "CoapplicantIncome": 0, "LoanAmount": 150000,
        "Loan_Amount_Term": 360, "Credit_History": 1, "Property_Area": "SEMIURBAN", "Loan_Status": "Y", **changes,
    }  # fmt: skip


def test_bad_loans_are_kept_aside_and_doubled_ones_counted(
    settings: Settings, execute: Execute, tmp_path: Path
) -> None:
    rows = [
        loan(1), loan(1),
        loan(2), loan(2, LoanAmount=170000),
        loan(3, Gender="robot", ApplicantIncome="lots"),
        loan(4, Loan_ID=None),
        loan(5, Credit_History=7),
        loan(6, LoanAmount="1e999"),
        loan(7, Married=" ", Property_Area="semi-urban"),
    ]  # fmt: skip
    done = import_file(settings, "loan_approval", write(tmp_path / "loans.csv", rows))
    assert (counts(done), done.doubles) == ((2, 0, 0, 6), 1)
    assert done.notes == ("Property_Area is respelt in 1 rows: semi-urban → Semiurban",)
    assert sorted(reasons(done)) == [
        ("4", "loan_id", "L2"),
        ("5", "loan_id", "L2"),
        ("6", "ApplicantIncome", "lots"),
        ("6", "Gender", "robot"),
        ("7", "loan_id", "NULL"),
        ("8", "Credit_History", "7"),
        ("9", "LoanAmount", "1e999"),
    ]
    assert execute(
        "SELECT gender, married, property_area, loan_amount FROM loan_applications WHERE loan_id = 'L7'"
    ) == [("Male", None, "Semiurban", 150000.0)]
    # A value that stands is not wiped by an empty cell, and what is corrected is corrected.
    rows = [loan(1, Gender=None, LoanAmount=160000)]
    assert counts(import_file(settings, "loan_approval", write(tmp_path / "loans.csv", rows))) == (0, 1, 0, 0)
    assert execute("SELECT gender, loan_amount FROM loan_applications WHERE loan_id = 'L1'") == [("Male", 160000.0)]


def test_credit_applications_of_a_hand_made_file(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    path = tmp_path / "kredit.csv"
    path.write_text(
        "Application_ID;Age;Annual Income;credit-score;Loan_Amount;Loan_Duration_Years;Number_of_Open_Accounts;"
        "Had_Past_Default;Loan_Status\n"
        "1;34;52.000,50;690;12.000;5;3;no;Approved\n"
        "2;7;9000;610;4000;3;1;0;0\n"
        "3;51;n/a;720;1.500,00;1;0;YES;not approved\n"
        "3;51;n/a;720;1.500,00;1;0;YES;not approved\n"
    )
    words = {word.name for word in importable(CREDIT_APPROVAL)}
    assert {"Age", "Annual_Income", "Had_Past_Default"} <= words
    done = import_file(settings, "credit_applications", path)
    assert (counts(done), done.doubles, done.mock_removed > 0) == ((2, 0, 0, 1), 1, True)
    assert [(row, field) for row, field, _ in reasons(done)] == [("3", "Age")]
    assert execute(
        "SELECT age, annual_income, loan_amount, had_past_default, origin FROM credit_applications ORDER BY age"
    ) == [(34, 52000.5, 12000.0, 0, "import"), (51, None, 1500.0, 1, "import")]


def test_what_others_stage_is_loaded_batch_by_batch(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    insert = (
        "INSERT INTO loan_staging (batch, loan_id, applicant_income, loan_amount, loan_status) SELECT %s, %s || n,"
        " '5000', %s, 'y' FROM generate_series(1, 9) AS n"
    )
    execute(insert, "thousands", "T", "150")
    execute(insert, "units", "U", "150000.0")
    assert [(loaded.batch, loaded.inserted, loaded.scale) for loaded in run_elt(settings)] == [
        ("thousands", 9, 1000.0),
        ("units", 9, 1.0),
    ]
    assert execute("SELECT DISTINCT loan_amount, loan_status FROM loan_applications") == [(150000.0, "Y")]
    assert run_elt(settings) == []
    odd = write(tmp_path / "odd.csv", [loan(n, LoanAmount=5000) for n in range(9)])
    with pytest.raises(ContractError, match=r"neither amounts in units nor in thousands.*--unit LoanAmount=1000"):
        import_file(settings, "loan_approval", odd)
    assert counts(import_file(settings, "loan_approval", odd, Options(units={"LoanAmount": "1"})))[0] == 9
    # 26,000 monthly incomes: thousands were multiplied once too often, and no row of it may go in.
    swollen = write(tmp_path / "swollen.csv", [loan(n, LoanAmount=130_000_000) for n in range(9)])
    with pytest.raises(ContractError, match=r"--unit LoanAmount=0\.001"):
        import_file(settings, "loan_approval", swollen)


def test_the_published_candles_stay_exact(settings: Settings, execute: Execute) -> None:
    path = shared("crypto", "btcusdt_daily_2018_2025.csv")
    assert counts(import_file(settings, "candles", path)) == (2683, 0, 0, 0)
    assert execute("SELECT open, volume, origin, step FROM candles WHERE opened_at = '2018-01-01'") == [
        (Decimal("13715.65"), Decimal("8609.915844"), "import", "1d")
    ]
    assert counts(import_file(settings, "candles", path)) == (0, 0, 2683, 0)


def test_candles_out_of_order_doubled_broken_and_missing(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    days = [*range(1, 6), *range(13, 16)]
    rows = [
        {"time": 1704067200 + 86400 * (day - 1), "low": 1, "high": 4, "open": 2, "close": 3, "volume": 5}
        for day in days
    ]
    extra = [rows[0], rows[1] | {"close": 3.5}, rows[2] | {"high": 2.5}, rows[3] | {"time": 1704067200 + 86400 * 8 + 5}]
    file = write(tmp_path / "candles.csv", [*reversed(rows), *extra])
    done = import_file(settings, "candles", file)
    assert (counts(done), done.doubles) == ((7, 0, 0, 4), 1)
    assert sorted(field for _, field, _ in reasons(done)) == ["high", "opened_at", "opened_at", "opened_at"]
    assert execute("SELECT count(*) FROM candles WHERE opened_at = '2024-01-02'") == [(0,)]
    assert "8 candles are missing in 2 gaps, the longest from 2024-01-06 00:00 to 2024-01-13 00:00" in done.notes[0]


def test_dirty_figures_of_others_are_normalised_or_set_aside(settings: Settings, execute: Execute) -> None:
    dirty = shared("education", "dirty", "nurkhamidah_indonesia.csv")
    with pytest.raises(FileError, match=r"no column for tahun.*--set tahun=VALUE"):
        import_file(settings, "education_data", dirty)
    done = import_file(settings, "education_data", dirty, Options(values={"tahun": "2018"}))
    assert (done.kind, counts(done)) == ("CSV with semicolons, utf-8-sig", (30, 0, 0, 4))
    assert {found for _, field, found in reasons(done) if field == "rasio_guru_murid"} == {
        "34.591", "48.522", "47.083", "2.341"
    }  # fmt: skip
    assert execute("SELECT provinsi FROM education_data WHERE provinsi_id = 'P34' AND tahun = 2018") == [
        ("DI Yogyakarta",)
    ]

    book = shared("education", "dirty", "viersss_Data_Pend_2019-2024.xlsx")
    done = import_file(settings, "education_data", book)
    assert (done.inserted, done.rejected) == (0, 22)
    assert {found for _, _, found in reasons(done)} == {"0"}
    # The shifted rows of 2019 went with their zeros: Papua Barat Daya has no figure of Papua's.
    assert execute("SELECT count(*) FROM education_data WHERE provinsi_id = 'P92' AND tahun = 2019") == [(0,)]
    assert execute("SELECT count(*) FROM education_data WHERE rata_lama_sekolah = 0") == [(0,)]

    with pytest.raises(FileError, match="nothing gives a district's code"):
        import_file(settings, "education_data", shared("education", "kabkota_rls_hls_2019_2024.csv"))
    districts = shared("education", "eastjava_kabkota_2014.csv")
    assert counts(import_file(settings, "education_data", districts, Options(values={"tahun": "2014"})))[0] == 38
    assert execute("SELECT provinsi FROM education_data WHERE provinsi_id = 'P3578'") == [("Kota Surabaya",)]


def test_every_format_and_encoding_gives_the_same_rows(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    rows = [car(1), car(2, CompanyName="BMW"), car(3, horsepower=None)]
    frame = pd.DataFrame(rows)
    commas = frame.map(lambda cell: str(cell).replace(".", ",") if isinstance(cell, float) else cell)
    files = [
        write(tmp_path / "plain.csv", rows),
        write(tmp_path / "mark.txt", rows, encoding="utf-8-sig", sep="\t"),
        write(tmp_path / "wide.csv", rows, encoding="utf-16", sep="|"),
        tmp_path / "semicolons.csv",
        tmp_path / "rows.parquet",
        write_xlsx(
            tmp_path / "book.xlsx",
            [["Daftar harga"], list(frame.columns), *frame.astype(object).where(frame.notna(), "").values.tolist()],
        ),
        write_xls(
            tmp_path / "old.xls",
            [["Daftar harga"], list(frame.columns), *frame.astype(object).where(frame.notna(), "").values.tolist()],
        ),
    ]
    commas.to_csv(files[3], index=False, sep=";", encoding="cp1252", na_rep="N/A")
    frame.to_parquet(files[4])
    contents = []
    for path in files:
        execute("TRUNCATE cars")
        done = import_file(settings, "cars", path)
        assert counts(done) == (3, 0, 0, 0), done
        contents.append(execute("SELECT car_id, wheelbase, horsepower, company_name, price FROM cars ORDER BY car_id"))
    assert contents[0] == [
        (1, 99.8, 102, "honda", 13951.5),
        (2, 99.8, 102, "bmw", 13952.5),
        (3, 99.8, None, "honda", 13953.5),
    ]
    assert all(content == contents[0] for content in contents)


def test_rows_that_cannot_be_stored_are_given_back_with_their_place(
    settings: Settings, execute: Execute, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "cars.csv",
        [
            car(1), car(2, CompanyName="Trabant"), car(3, price="cheap"), car(4, horsepower=102.5), car(5, car_id="x"),
            car(6), car(6, price=1000), car(8), car(8),
        ],
    )  # fmt: skip
    with path.open("a") as file:
        file.write("9,1,2,3\n")
    done = import_file(settings, "cars", path)
    assert (done.rows, counts(done), done.doubles) == (10, (2, 0, 0, 7), 1)
    assert reasons(done) == [
        ("3", "CompanyName", "Trabant"),
        ("4", "price", "cheap"),
        ("5", "horsepower", "102.5"),
        ("6", "car_id", "x"),
        ("7", "car_id", "6"),
        ("8", "car_id", "6"),
        ("11", "", "9,1,2,3"),
    ]
    assert execute("SELECT car_id FROM cars ORDER BY 1") == [(1,), (8,)]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f.rename(columns={"horsepower": "horse_powr"}), {}, r"'horse_powr' for horsepower.*--map"),
        (lambda f: f.drop(columns="car_id"), {}, r"no column for car_id.*--map car_id=HEADING.*--number-rows"),
        (lambda f: f.assign(curbweight=f.curbweight / 1000), {}, r"curbweight look.*--unit curbweight=1000"),
        (lambda f: f.assign(price=f.price * 1000), {}, r"price look.*another unit.*--unit price=0\.001"),
        (lambda f: f.assign(CompanyName="Trabant"), {}, r"Not one row of cars\.csv can.*row 2: CompanyName is"),
        (lambda f: f[["car_id"]].assign(x=1), {}, r"has none of the columns of cars"),
        (lambda f: f.iloc[:0], {}, "has headings but no rows"),
        (lambda f: f, {"mapping": {"prize": "price"}}, r"cars has no column 'prize' to map.*It has: car_id"),
        (lambda f: f, {"mapping": {"price": "prize"}}, r"The file has no heading 'prize'"),
        (lambda f: f, {"values": {"colour": "red"}}, r"cars has no column 'colour'"),
        (lambda f: f, {"units": {"price": "many"}}, r"--unit price=many is no factor"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_changes_nothing(
    settings: Settings, execute: Execute, tmp_path: Path, change: Any, options: Any, message: str
) -> None:
    frame = change(pd.DataFrame([car(number) for number in range(1, 31)]))
    frame.to_csv(tmp_path / "cars.csv", index=False)
    with pytest.raises((FileError, ContractError), match=message):
        import_file(settings, "cars", tmp_path / "cars.csv", Options(**options))
    assert execute("SELECT origin, count(*) FROM cars GROUP BY 1") == [("mock", 300)]


def test_what_the_owner_says_counts(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    frame = pd.DataFrame([car(number) for number in range(1, 31)]).drop(columns="car_id")
    frame = frame.rename(columns={"horsepower": "horse_powr"}).assign(curbweight=2.545)
    frame.to_csv(tmp_path / "cars.csv", index=False)
    options = Options(accept_near=True, number_rows=True, units={"curbweight": "1000"}, values={"fueltype": "Diesel"})
    done = import_file(settings, "cars", tmp_path / "cars.csv", options)
    assert (counts(done), done.headings["horsepower"]) == ((30, 0, 0, 0), "horse_powr")
    assert execute("SELECT DISTINCT horsepower, curbweight, fueltype FROM cars") == [(102, 2545, "diesel")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02" * 50, "neither a text, a workbook nor Parquet"),
        (b"PAR1 broken", "Parquet file"),
        (b"PK\x03\x04 broken", "workbook .* can't be read"),
        (b"car_id,price,price\n1,2,3\n", "heading 'price' twice"),
    ],
)
def test_a_file_that_is_no_table_is_named(settings: Settings, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "cars.xlsx"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        import_file(settings, "cars", path)


def test_a_wrong_table_or_a_missing_file_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no table 'boats'.*education_data, cars"):
        import_file(settings, "boats", tmp_path / "x.csv")
    with pytest.raises(FileError, match=r"x\.csv can't be read: No such file"):
        import_file(settings, "cars", tmp_path / "x.csv")


def test_a_fault_in_the_middle_leaves_all_as_it_was(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    execute("ALTER TABLE cars ADD CONSTRAINT fault CHECK (car_id <> 30 OR origin = 'mock')")
    path = write(tmp_path / "cars.csv", [car(number) for number in range(1, 60)])
    with pytest.raises(ServiceError, match="Importing into cars"):
        import_file(settings, "cars", path)
    assert execute("SELECT origin FROM cars GROUP BY 1") == [("mock",)]
    assert execute("SELECT count(*) FROM data_origin WHERE origin = 'import'") == [(0,)]


def test_a_table_without_a_key_is_told_so(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    execute("ALTER TABLE cars DROP CONSTRAINT cars_pkey")
    path = write(tmp_path / "cars.csv", [car(1)])
    with pytest.raises(ContractError, match=r"no unique key on car_id.*ADD PRIMARY KEY \(car_id\)"):
        import_file(settings, "cars", path)


def test_two_imports_at_once_store_each_row_once(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    path = write(tmp_path / "cars.csv", [car(number) for number in range(1, 500)])
    results: list[Imported] = []
    threads = [threading.Thread(target=lambda: results.append(import_file(settings, "cars", path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts(done) for done in results) == [(0, 0, 499, 0), (499, 0, 0, 0)]
    assert execute("SELECT count(*) FROM cars") == [(499,)]


def test_somebody_who_reads_meanwhile_sees_the_old_rows(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    path = write(tmp_path / "cars.csv", [car(1)])
    seen: list[int] = []

    def look(what: str, _: str) -> None:
        if what.startswith("storing"):
            with psycopg.connect(settings.dsn) as other:
                row = other.execute("SELECT count(*) FROM cars").fetchone()
                assert row is not None
                seen.append(row[0])

    import_file(settings, "cars", path, progress=look)
    assert seen == [300]


def test_whoever_comes_second_waits_and_is_told(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "cars.csv", [car(1)])
    told: list[tuple[str, str]] = []
    with psycopg.connect(settings.dsn) as other:
        other.execute("UPDATE cars SET price = price")

        def tell(what: str, detail: str) -> None:
            told.append((what, detail))
            if what == "waiting":
                other.commit()

        assert counts(import_file(settings, "cars", path, progress=tell)) == (1, 0, 0, 0)
    assert ("waiting", "for another that writes into cars") in told
    assert ("checking", "1 of 1 rows") in told


@pytest.mark.parametrize("step", ["checking", "storing"])
def test_a_killed_import_changed_nothing(settings: Settings, execute: Execute, tmp_path: Path, step: str) -> None:
    path = write(tmp_path / "cars.csv", [car(number) for number in range(1, 3000)] + [car(5000, price="cheap")])
    script = f"""
from sigap.data import files
from sigap.data.importing import import_file
files._BLOCK = 40_000

def tell(what, detail):
    if what == {step!r} and not detail.startswith("0"):
        os.kill(os.getpid(), signal.SIGKILL)

import_file(settings, "cars", Path({str(path)!r}), progress=tell)
"""
    process = in_another_process(settings, script)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == -9, output
    assert execute("SELECT origin, count(*) FROM cars GROUP BY 1") == [("mock", 300)]
    assert execute("SELECT count(*) FROM data_origin WHERE origin = 'import'") == [(0,)]
    assert not (settings.state / "rejects" / "import").exists()
    done = import_file(settings, "cars", path)
    assert (counts(done), done.mock_removed) == ((2999, 0, 0, 1), 300)


def test_where_a_file_is_cut_into_parts_makes_no_difference(
    settings: Settings, execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [car(number) for number in range(1, 200)]
    # Equal rows, unequal ones of one key, rows that can't be read and cells over two lines, far from one another.
    rows[10] |= {"price": "cheap"}
    rows[150] |= {"CompanyName": "honda\ncivic"}
    rows += [car(3), car(4, price=9999), car(300, horsepower="102,5")]
    frame = pd.DataFrame(rows).assign(price=lambda f: f.price.astype(str))
    path = tmp_path / "cars.csv"
    frame.to_csv(path, index=False, sep=";")
    lines = path.read_text().splitlines(keepends=True)
    for at in (190, 100, 20, 7):
        lines.insert(at, "7;too;few\n")
    path.write_text("".join(lines))
    found = []
    for block in (1000, 5000, 4 * 2**20):
        monkeypatch.setattr(files, "_BLOCK", block)
        execute("TRUNCATE cars")
        done = import_file(settings, "cars", path)
        stored = execute("SELECT car_id, company_name, horsepower, price FROM cars ORDER BY car_id")
        assert done.rejects_path is not None
        found.append((counts(done), done.doubles, stored, done.notes, done.rejects_path.read_text()))
    assert (found[0][0], found[0][1]) == ((197, 0, 0, 8), 1)
    assert found[0] == found[1] == found[2]
    broken = [row for row, field, _ in reasons(done) if not field]
    # Rows are counted, not lines: one has a cell over two.
    assert broken == ["8", "22", "103", "193"]


def test_a_file_that_somebody_writes_meanwhile_is_refused(settings: Settings, execute: Execute, tmp_path: Path) -> None:
    path = write(tmp_path / "cars.csv", [car(1), car(2)])

    def append(what: str, _: str) -> None:
        if what == "comparing":
            with path.open("a") as file:
                file.write("3,1,2\n")

    with pytest.raises(FileError, match="was changed while it was read"):
        import_file(settings, "cars", path, progress=append)
    assert execute("SELECT DISTINCT origin FROM cars") == [("mock",)]


def test_a_long_file_needs_the_memory_of_a_short_one(settings: Settings, tmp_path: Path) -> None:
    script = """
from sigap.data.importing import import_file
done = import_file(settings, "customers", Path(PATH), options)
print(done.inserted, done.rejected, peak())
"""
    options = "from sigap.data.understanding import Options\noptions = Options(number_rows=True)"
    source = pd.read_csv(shared("customers", "automobile_customers.csv")).drop(columns="ID")
    peaks = []
    for times in (3, 12):
        # A tenth of the rows is refused: reasons need no memory either.
        many = pd.concat([source] * times, ignore_index=True)
        many.loc[::10, "Age"] = 999
        path = tmp_path / f"{times}.csv"
        many.to_csv(path, index=False)
        output, _ = in_another_process(settings, options + script.replace("PATH", repr(str(path)))).communicate()
        _, rejected, peak = map(int, output.split())
        assert rejected == -(-len(many) // 10)
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 60, peaks
