"""Every call of the five systems that Sigap takes up, word for word, answered by models trained for real."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from backend.app import create_app
from backend.served import Served
from sigap.bundle import MANIFEST
from sigap.catalog import Declaration
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.data import mock
from sigap.settings import Settings
from sigap.training.params import Params
from tests.backend.bundles import EDUCATION
from tests.backend.conftest import Client, Loop, MlflowServer
from tests.backend.test_real_tasks import BOOSTED, CODED, LINEAR, loans, named, supervised, trained_and_served
from tests.training.conftest import education, figures, params

__all__ = ["education", "figures", "params"]

API_KEY = "the-api-key-of-a-program-that-was-there-before"
SECRET_KEY = "a secret of more than thirty-two characters, for these tests alone"

LOAN = """{"Gender": "Male", "Married": "Yes", "Dependents": "0", "Education": "Graduate", "Self_Employed": "No",
"ApplicantIncome": 5400, "CoapplicantIncome": 2100, "LoanAmount": 165000, "Loan_Amount_Term": 360.0,
"Credit_History": 1.0, "Property_Area": "Urban"}"""
PROVINCE = """{"provinsi_id": "P35", "angka_melek_huruf": 98.5, "rata_lama_sekolah": 9.2, "harapan_lama_sekolah": 13.1,
"rasio_guru_murid": 20.5, "anggaran_pendidikan_persen": 15.0}"""
CAR = """{"wheelbase": 102.4, "carlength": 175.6, "carwidth": 65.2, "curbweight": 2372, "enginesize": 122,
"boreratio": 3.31, "horsepower": 92, "citympg": 27, "highwaympg": 32, "CompanyName": "Toyota", "fueltype": "gas",
"aspiration": "std", "doornumber": "four", "carbody": "sedan", "drivewheel": "fwd", "enginetype": "ohc",
"cylindernumber": "four", "fuelsystem": "2bbl"}"""
CARS_CSV = """wheelbase,carlength,carwidth,curbweight,enginesize,boreratio,horsepower,citympg,highwaympg,CompanyName,\
fueltype,aspiration,doornumber,carbody,drivewheel,enginetype,cylindernumber,fuelsystem
99.8,176.6,66.2,2545,109,3.19,102,24,30,honda,gas,std,four,sedan,fwd,ohc,four,mpfi
"""
CREDIT = """{"Age": 45, "Annual_Income": 85000, "Credit_Score": 650, "Loan_Amount": 25000, "Loan_Duration_Years": 10,
"Number_of_Open_Accounts": 5, "Had_Past_Default": 0}"""
AS_JSON = {"content-type": "application/json"}
LEVELS = ("Tinggi (High Readiness)", "Menengah (Middle Readiness)", "Rendah (Low Readiness)")


@dataclass
class System:
    """One of the systems, as its clients see it."""

    client: Client
    service: Any

    def post(self, path: str, body: str, **headers: str) -> dict[str, Any]:
        response = self.client.post(path, content=body, headers=AS_JSON | headers)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


@contextmanager
def system(state: Path, default: str, *served: Served, **settings: Any) -> Iterator[System]:
    where = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"} | settings
    application = create_app(Settings(state_dir=state, default_model=default, **where))
    service = application.state.service
    for each in served:
        service.followers[each.declaration.name].served = each
    with Loop() as runner:
        yield System(Client(application, runner), service)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


@pytest.fixture(scope="module")
def loan(folder: Path) -> Served:
    return trained_and_served(folder / "loan", LOAN_APPROVAL, loans(), LINEAR)[1]


@pytest.fixture(scope="module")
def credit(folder: Path) -> Served:
    return trained_and_served(folder / "credit", CREDIT_APPROVAL, named(CREDIT_APPROVAL, mock.credits()), LINEAR)[1]


@pytest.fixture(scope="module")
def cars(folder: Path) -> tuple[Path, Path]:
    """Bundles of two versions."""
    for name, recipe in (("first", BOOSTED), ("second", CODED)):
        trained_and_served(folder / name, CAR_PRICE, named(CAR_PRICE, mock.cars()), supervised(only=recipe))
    return folder / "first", folder / "second"


def test_a_loan_approval(loan: Served, tmp_path: Path) -> None:
    with system(tmp_path, "loan_approval", loan) as a:
        answer = a.post("/predict", LOAN)
        assert list(answer)[:2] == ["prediction", "is_approved"]
        assert answer["prediction"] in ("Loan Approved", "Loan Rejected")
        assert answer["is_approved"] is (answer["prediction"] == "Loan Approved")
        # In units: taken as thousands, 165000 would be far outside of every loan.
        assert answer["out_of_training_range"] == []


def test_c_education(education: Declaration, figures: pd.DataFrame, params: Params, tmp_path: Path) -> None:
    quick = {**params.model_dump(), "k_min": 3, "k_max": 3, "n_init": 4, "bootstraps": 10}
    lenient = education.model_copy(update={"task": education.task.model_copy(update={"stability_floor": 0.0})})
    _, served = trained_and_served(tmp_path / "bundle", lenient, figures, quick)
    with system(tmp_path, "education", served) as c:
        answer = c.post("/predict", PROVINCE)
        assert list(answer)[:4] == ["cluster", "cluster_label", "distance_to_center", "model_version"]
        assert answer["cluster_label"] == LEVELS[answer["cluster"]]
        assert answer["distance_to_center"] > 0
        assert answer["model_version"] == "v1"


class Cars:
    """System D behind its token."""

    def __init__(self, system: System) -> None:
        self.client, self.service = system.client, system.service
        answer = system.post("/token", json.dumps({"api_key": API_KEY}))
        self.headers = {"authorization": f"Bearer {answer['access_token']}"}

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        if body is not None:
            options["content"] = body
        response = self.client.post(path, headers=self.headers | options.pop("headers", {}), **options)
        assert response.status_code == 200, response.text
        return response


@pytest.fixture
def d(cars: tuple[Path, Path], mlflow_server: MlflowServer, tmp_path: Path) -> Iterator[Cars]:
    """Two versions in a real registry: the first in production, the second in staging."""
    first, second = (
        mlflow_server.register(each, hashlib.sha256((each / MANIFEST).read_bytes()).hexdigest(), "car_price")
        for each in cars
    )
    client = mlflow_server.client
    client.set_registered_model_alias("car_price", "production", first)
    client.set_registered_model_alias("car_price", "challenger", second)
    given = {"MLFLOW_TRACKING_URI": mlflow_server.uri, "SECRET_KEY": SECRET_KEY}
    # A bare API_KEY may predict; one that may also load and roll back says so.
    given["API_KEY"] = f"operator:predict+admin:{API_KEY}"
    with system(tmp_path, "car_price", protect="predict", served_alias="production", **given) as served:
        cars_api = Cars(served)
        cars_api.post("/model/load", json.dumps({"version": first}))
        yield cars_api
    client.delete_registered_model("car_price")


def test_d_tokens_and_pages(d: Cars) -> None:
    for path in ("/", "/token-dashboard", "/docs", "/redoc"):
        page = d.client.get(path, headers={"accept": "text/html"})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), path
    assert d.client.get("/validate-token", headers=d.headers).json()["valid"] is True
    for path in ("/predict", "/batch-predict", "/predict-batch", "/batch-predict-file"):
        refused = d.client.post(path, content=CAR, headers=AS_JSON)
        assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json"), path
    assert d.client.get("/health").json()["models"]["car_price"]["status"] == "ok"
    assert "sigap_api_requests_total" in d.client.get("/metrics").text


def test_d_one_car_and_many(d: Cars) -> None:
    one = d.post("/predict", CAR, headers=AS_JSON).json()
    assert one["price"] > 0
    assert one["segment"] in [bound["segment"] for bound in one["segment_bounds"]]
    for path in ("/batch-predict", "/predict-batch"):
        many = d.post(path, f"[{CAR}, {CAR}]", headers=AS_JSON).json()
        assert [each["price"] for each in many["predictions"]] == pytest.approx([one["price"]] * 2)


def workbook() -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for line in CARS_CSV.split():
        book.active.append([float(cell) if cell[0].isdigit() else cell for cell in line.split(",")])
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize(("name", "content"), [("cars.csv", CARS_CSV.encode()), ("cars.xlsx", workbook())])
def test_d_a_file_of_cars(d: Cars, name: str, content: bytes) -> None:
    row = pd.read_csv(io.StringIO(CARS_CSV)).to_dict("records")[0]
    price = d.post("/predict", json.dumps(row), headers=AS_JSON).json()["price"]
    answer = d.post(
        "/batch-predict-file", files={"file": (name, content)}, headers={"accept": "application/json"}
    ).json()
    assert (answer["rows"], answer["answered"], answer["refused"]) == (1, 1, 0)
    assert answer["predictions"][0]["price"] == pytest.approx(price)
    table = pd.read_csv(
        io.BytesIO(
            d.post("/batch-predict-file", files={"file": (name, content)}, headers={"accept": "text/csv"}).content
        )
    )
    assert table["price"].tolist() == pytest.approx([price])
    assert table["CompanyName"].tolist() == ["honda"]


def test_d_versions_by_hand(d: Cars, mlflow_server: MlflowServer) -> None:
    def metadata() -> dict[str, Any]:
        told: dict[str, Any] = d.client.get("/model/metadata").json()
        return told

    def production() -> str:
        return str(mlflow_server.client.get_model_version_by_alias("car_price", "production").version)

    first, second = metadata()["model_version"], "v2"
    assert (metadata()["name"], first, metadata()["alias"]) == ("car_price", "v1", "production")
    assert metadata()["metrics"]["rmse"] > 0
    assert metadata()["baseline"]["baseline"] > metadata()["baseline"]["model"]
    # A named version, the registry unchanged.
    assert d.post("/model/load", '{"version": "v2"}').json()["serving"] == second
    assert (production(), metadata()["held"]["model_version"]) == ("1", second)
    assert d.post("/model/load", '{"alias": "production"}').json()["serving"] == first
    # Staging to production, and back.
    assert d.post("/model/update").json()["serving"] == second
    assert (production(), metadata()["model_version"]) == ("2", second)
    assert d.post("/model/rollback").json()["serving"] == first
    assert (production(), metadata()["model_version"]) == ("1", first)


def test_e_credit_approval(credit: Served, tmp_path: Path) -> None:
    with system(tmp_path, "credit_approval", credit, served_alias="production") as e:
        health = e.client.get("/").json()
        assert list(health)[:4] == ["status", "model_loaded", "model_name", "model_alias"]
        assert health | {"status": "online", "model_loaded": True, "model_alias": "production"} == health
        assert health["model_name"] == "credit_approval"
        answer = e.post("/api/v2/predict", CREDIT)
        assert list(answer)[:2] == ["prediction", "prediction_code"]
        assert answer["prediction"] in ("Approved", "Rejected")
        assert answer["prediction_code"] == int(answer["prediction"] == "Approved")

        e.service.followers["credit_approval"].served = None
        assert e.client.get("/").json()["model_loaded"] is False
        refused = e.client.post("/api/v2/predict", content=CREDIT, headers=AS_JSON)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")


def test_the_bodies_are_those_of_the_declarations() -> None:
    # What the documentation shows to a new client is what the old ones send.
    for body, declaration in ((LOAN, LOAN_APPROVAL), (PROVINCE, EDUCATION), (CREDIT, CREDIT_APPROVAL)):
        assert set(json.loads(body)) == set(declaration.example), declaration.name
    assert set(json.loads(CAR)) == set(CAR_PRICE.feature_names)
