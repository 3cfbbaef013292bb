"""Drift simulated over the API: who may, what is asked for, and the command line's own refusals.

A shift of a real champion's table and the way back stand in tests/monitoring/test_simulated.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from backend.app import create_app
from sigap.simulations import record_of
from tests.backend.conftest import Client, Loop
from tests.backend.security.conftest import Api, keys_of, problem
from tests.conftest import Checkout

PATH = "/models/education/simulate-drift"


@pytest.fixture
def open_api(checkout: Checkout) -> Iterator[Callable[..., Api]]:
    settings = checkout.settings(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    with Loop() as runner:
        keys: dict[str, str] = {}

        def start(**changes: Any) -> Api:
            changed = settings.model_copy(update=changes)
            keys.update(keys or keys_of(changed))
            return Api(changed, Client(create_app(changed), runner), keys)

        yield start


def test_only_who_may_operate_simulates(open_api: Callable[..., Api]) -> None:
    api = open_api()
    body = {"into": "table"}
    for method in ("GET", "POST"):
        assert api.client.request(method, PATH, json=body).status_code == 401
        assert api.client.request(method, PATH, json=body, headers=api.bearer("predict")).status_code == 403
        unknown = api.client.request(method, "/models/boats/simulate-drift", json=body, headers=api.bearer("admin"))
        assert unknown.status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "into"),
        ({"into": "sea"}, "into"),
        ({"into": "live", "shift": 11}, "shift"),
        ({"into": "live", "shift": "1"}, "shift"),
        ({"into": "live", "rows": 0}, "rows"),
        ({"into": "live", "rows": 10_001}, "rows"),
        ({"into": "live", "rows": True}, "rows"),
        ({"into": "live", "feature": "--yes"}, "feature"),
        ({"into": "live", "undo": 1}, "undo"),
        ({"into": "live", "undo": True}, ""),
        ({"into": "live", "yes": True}, "yes"),
    ],
)
def test_what_is_no_such_shift_is_refused(open_api: Callable[..., Api], body: dict[str, Any], field: str) -> None:
    api = open_api()
    told = problem(api.client.post(PATH, json=body, headers=api.bearer("admin")), 422)
    assert [each["field"] for each in told["errors"]] == [field]


def test_there_is_nothing_to_take_back_at_first_and_production_is_left_alone(open_api: Callable[..., Api]) -> None:
    api = open_api()
    headers = api.bearer("admin")
    assert api.client.get(PATH, headers=headers).json() == {"model": "education", "shifted_since": None}
    undo = {"into": "table", "undo": True}
    told = problem(api.client.post(PATH, json=undo, headers=headers), 409)
    assert (told["type"], told["detail"][:22]) == ("urn:sigap:problem:simulation", "No simulated shift of ")

    record = record_of(api.settings, "education")
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert api.client.get(PATH, headers=headers).json()["shifted_since"].endswith("Z")
    production = open_api(environment="production", secret_key=SecretStr(secrets.token_urlsafe(32)))
    for body in (undo, {"into": "live"}, {"into": "table"}):
        told = problem(production.client.post(PATH, json=body, headers=production.bearer("admin")), 409)
        assert told["detail"].startswith("This is production")
    assert record.exists()
