"""Files into tables and data versions brought back, as an operator asks for them over the API; nothing is stood in."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from backend.app import create_app
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.data.versions import DataVersions
from sigap.settings import Settings
from tests.backend.conftest import Client, Loop
from tests.backend.security.conftest import Api, keys_of
from tests.conftest import Checkout
from tests.data.conftest import write_snapshot

IMPORT = "/models/credit_approval/import-file"
NAMES = [*CREDIT_APPROVAL.feature_names, "Approved"]


@pytest.fixture
def settings(checkout: Checkout, seeded_database: str) -> Settings:
    return checkout.settings(database=seeded_database, MLFLOW_TRACKING_URI="http://127.0.0.1:9")


@pytest.fixture
def open_api(settings: Settings) -> Iterator[Callable[..., Api]]:
    with Loop() as runner:
        keys: dict[str, str] = {}

        def start(**changes: Any) -> Api:
            changed = settings.model_copy(update=changes)
            keys.update(keys or keys_of(changed))
            return Api(changed, Client(create_app(changed), runner), keys)

        yield start


def credits(*flags: str) -> bytes:
    """A row for each way to write whether a debt was not paid once."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["Application_ID", *NAMES])
    for number, flag in enumerate(flags, 1):
        row = {**CREDIT_APPROVAL.example, "Age": 30 + number, "Had_Past_Default": flag, "Approved": "yes"}
        writer.writerow([number, *(row[name] for name in NAMES)])
    return out.getvalue().encode()


def send(api: Api, content: bytes, name: str = "kredit.csv", path: str = IMPORT, **query: str) -> httpx.Response:
    files = {"file": (name, content, "text/csv")}
    return api.client.post(path, files=files, params=query, headers=api.bearer("admin"))


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def test_a_file_is_told_of_first_then_imported_and_written_down(open_api: Callable[..., Api]) -> None:
    api = open_api()
    content = credits("Y", "no", "true", "maybe")
    first = send(api, content, dry_run="true")
    assert first.status_code == 200, first.text
    told = first.json()
    assert (told["rows"], told["inserted"], told["rejected"], told["dry_run"]) == (4, 3, 1, True)
    ((reason),) = told["reasons"]
    assert (reason["field"], reason["rows"]) == ("Had_Past_Default", 1)
    assert told["refused"][0]["found"] == "maybe"
    assert "yes or no" in told["refused"][0]["expected"]
    assert told["headings"]["Had_Past_Default"] == "Had_Past_Default"
    # Nothing was changed.
    again = send(api, content, "../../kredit.csv").json()
    assert (again["inserted"], again["rejected"], again["dry_run"]) == (3, 1, False)
    assert again["file"] == "kredit.csv"
    third = send(api, content).json()
    assert (third["inserted"], third["changed"], third["unchanged"]) == (0, 0, 3)
    ((file, asked_by),) = set(
        rows(api.settings, "SELECT file, details->>'asked_by' FROM data_origin WHERE origin = 'import'")
    )
    assert (file, asked_by) == ("kredit.csv", "api: admin")
    defaults = rows(api.settings, "SELECT had_past_default FROM credit_applications WHERE origin = 'import'")
    assert sorted(each for (each,) in defaults) == [0, 1, 1]
    assert not list((api.settings.state / "api" / "files").iterdir())


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"\x89PNG\r\n\x1a\n", "kredit.csv", "a picture"),
        (b"a,b\n1,2\n", "kredit.csv", "application_id"),
        (b"", "kredit.csv", "empty"),
    ],
)
def test_what_is_no_such_table_is_refused(open_api: Callable[..., Api], content: bytes, name: str, told: str) -> None:
    answer = send(open_api(), content, name, dry_run="true")
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("unusable-file")
    assert told in answer.json()["detail"]
    # Where it lay meanwhile is nobody's business.
    assert "/api/files" not in answer.json()["detail"]


def test_only_who_may_operate_imports_or_goes_back(open_api: Callable[..., Api]) -> None:
    api = open_api()
    files = {"file": ("kredit.csv", credits("Y"))}
    assert api.client.post(IMPORT, files=files).status_code == 401
    assert api.client.post(IMPORT, files=files, headers=api.bearer("predict")).status_code == 403
    assert api.client.get("/models/education/data/versions").status_code == 401
    body = {"version": "v1"}
    assert api.client.post("/models/education/data/rollback", json=body).status_code == 401
    assert send(api, b"x", path="/models/boats/import-file").status_code == 404


def test_what_takes_too_long_is_ended_and_changes_nothing(open_api: Callable[..., Api]) -> None:
    answer = send(open_api(data_act_seconds=0.05), credits("Y"))
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("data-act-slow")
    assert rows(open_api().settings, "SELECT 1 FROM data_origin WHERE origin = 'import'") == []


def test_data_goes_back_to_an_earlier_version_once(open_api: Callable[..., Api], checkout: Checkout) -> None:
    api = open_api()
    versions = DataVersions(api.settings)
    for content in (b"one", b"two"):
        write_snapshot(api.settings, content)
        versions.record("education")
    headers = api.bearer("admin")
    path = "/models/education/data"
    told = api.client.get(f"{path}/versions", headers=headers).json()
    assert told["current"] == "v2"
    assert [each["version"] for each in told["versions"]] == ["v2", "v1"]
    unknown = api.client.post(f"{path}/rollback", json={"version": "v9"}, headers=headers)
    assert (unknown.status_code, unknown.json()["type"]) == (409, "urn:sigap:problem:data-version")
    assert api.client.post(f"{path}/rollback", json={"version": "-1"}, headers=headers).status_code == 422

    async def both() -> list[int]:
        transport = httpx.ASGITransport(create_app(api.settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            asked = [client.post(f"{path}/rollback", json={"version": "v1"}, headers=headers) for _ in range(2)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    with ThreadPoolExecutor(1) as pool:
        assert sorted(pool.submit(asyncio.run, both()).result()) == [200, 409]
    assert versions.path("education").read_bytes() == b"one"
    assert "Asked for by api: admin." in checkout.git("log", "-1", "--format=%B")
    assert api.client.get(f"{path}/versions", headers=headers).json()["current"] == "v1"


@pytest.mark.parametrize("heading", ["%d", "%s", "{}", "\\"])
def test_a_heading_that_a_program_could_take_for_its_own_is_a_heading(
    open_api: Callable[..., Api], heading: str
) -> None:
    answer = send(open_api(), f"{heading}\r\n".encode(), number_rows="true", accept="true")
    assert answer.status_code == 422, answer.text
