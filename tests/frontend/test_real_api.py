"""An operator's journey on the real API with a real registry: nothing is stood in but the reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from streamlit.testing.v1 import AppTest

from sigap.bundle import TAG_DECISION
from sigap.keys import Keys
from sigap.settings import Settings
from tests.backend.conftest import (  # noqa: F401 - fixtures
    MODEL,
    Api,
    MlflowServer,
    centers,
    mlflow_server,
    start_api,
    versions,
    wait_for,
)
from tests.frontend.conftest import ROOT, SECONDS, clear_caches, opened, shown

ALIAS = "champion"


@pytest.fixture
def waiting(mlflow_server: MlflowServer, versions: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: F811
    """The first version is served, the second waits for a person."""
    mlflow_server.point(versions[0], ALIAS)
    mlflow_server.point(versions[1], "challenger")
    record = {"rule": "waiting", "reason": "It is better.", "run_id": "p", "promote": False, "mode": "manual"}
    record |= {"champion_before": f"v{versions[0]}"}
    mlflow_server.client.set_model_version_tag(MODEL, versions[1], TAG_DECISION, json.dumps(record))
    yield versions
    mlflow_server.client.delete_model_version_tag(MODEL, versions[1], TAG_DECISION)
    for alias in (ALIAS, "previous", "challenger"):
        with suppress(MlflowException):
            mlflow_server.client.delete_registered_model_alias(MODEL, alias)


def test_a_waiting_model_is_approved_and_taken_back_in_the_operator_s_name(
    mlflow_server: MlflowServer,  # noqa: F811
    waiting: tuple[str, ...],
    start_api: Callable[..., Api],  # noqa: F811
    seeded_database: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    first, second = (f"v{number}" for number in waiting[:2])
    state = tmp_path / "state"
    key = Keys(Settings(state_dir=state)).create("sari", ("admin",))
    api = start_api(mlflow_server.uri, ALIAS, state=state, DATABASE_URL=seeded_database)
    wait_for(lambda: api.serves(waiting[0]), "The champion", SECONDS)
    monkeypatch.setenv("SIGAP_API_URL", api.url)
    monkeypatch.setenv("SIGAP_STATE_DIR", str(tmp_path / "dashboard"))
    clear_caches()
    page = opened(AppTest.from_file(str(ROOT / "frontend" / "app.py"), default_timeout=SECONDS), "operations")
    page.text_input(key="operator_key").set_value(key)
    next(button for button in page.button if button.label == "Sign in").click()
    page.run()
    assert "Signed in as sari" in shown(page)
    page.button(key="operator_approve").click().run()
    assert f"version {second} will answer instead of" in shown(page)
    page.button(key="operator_confirm").click().run()
    assert not page.exception
    assert f"version {second} is in use now" in shown(page)
    assert api.serves(waiting[1])
    # And back again, in the same name.
    page.button(key="operator_rollback").click().run()
    page.button(key="operator_confirm").click().run()
    assert f"version {first} is in use again, instead of {second}" in shown(page)
    assert api.serves(waiting[0])
    assert mlflow_server.client.get_model_version(MODEL, waiting[0]).tags["chosen_by"] == "api: sari"
    clear_caches()
