from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from backend.app import create_app
from backend.requests import Validator
from backend.served import load
from sigap.catalog.car_price import CAR_PRICE
from sigap.settings import Settings
from tests.backend.bundles import EDUCATION, write_bundle
from tests.backend.conftest import Client, Loop
from tests.backend.task_bundles import FIVE, write_task_bundle

CAR = dict(CAR_PRICE.example)

Send = Callable[..., httpx.Response]


def csv_of(rows: Sequence[Mapping[str, Any]], delimiter: str = ",", header: Sequence[str] = ()) -> bytes:
    """The rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(header or list(rows[0]))
    writer.writerows(row.values() for row in rows)
    return text.getvalue().encode()


def rows_of(answer: httpx.Response, delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a CSV answer."""
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""), delimiter=delimiter))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A served version of every model."""
    folder = tmp_path_factory.mktemp("six")
    found = {}
    for declaration in (EDUCATION, *FIVE):
        path = folder / declaration.name
        sha256 = write_task_bundle(path, declaration) if declaration in FIVE else write_bundle(path)
        check = Validator(declaration)
        found[declaration.name] = load(path, declaration, check, version="7", manifest_sha256=sha256, origin="disk")
    return found


@pytest.fixture(scope="session")
def make_app(tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Any]) -> Callable[..., FastAPI]:
    """Makes an application that serves all six models, with these settings."""

    def make(**settings: Any) -> FastAPI:
        plain = {
            "state_dir": tmp_path_factory.mktemp("state"),
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
            "default_model": "car_price",
        }
        application = create_app(Settings(**{**plain, **settings}))
        for name, served in bundles.items():
            application.state.service.followers[name].served = served
        return application

    return make


@pytest.fixture(scope="session")
def application_of_six(make_app: Callable[..., FastAPI]) -> FastAPI:
    """The application with its usual settings."""
    return make_app()


@pytest.fixture
def six(application_of_six: FastAPI) -> Iterator[Client]:
    """A client of the application with its usual settings."""
    with Loop() as runner:
        yield Client(application_of_six, runner)


@pytest.fixture
def send(six: Client) -> Send:
    """Sends a file to the default model, which is the cars'."""

    def sent(content: bytes, name: str = "cars.csv", path: str = "/predict-file", **options: Any) -> httpx.Response:
        return six.post(path, files={"file": (name, content)}, **options)

    return sent
