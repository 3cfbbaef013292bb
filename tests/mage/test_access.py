"""Who may do what at Mage's page and API."""

from __future__ import annotations

import asyncio
import json

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from backend.mage import Mage
from sigap.errors import PipelineError
from sigap.services.mage import OWNER
from sigap.services.mage_api import MageApi
from sigap.services.mage_client import run_pipeline
from sigap.services.service import relatives

pytestmark = pytest.mark.usefixtures("mage")


def sign_in(settings, email, password):
    with MageApi(settings) as api:
        return api._http.post("sessions", json={"session": {"email": email, "password": password}}).json()


@pytest.mark.parametrize(("email", "password"), [(OWNER, "wrong"), (OWNER, ""), ("admin@admin.com", "admin")])
def test_a_wrong_password_is_refused(mage_settings, email, password):
    assert "error" in sign_in(mage_settings, email, password)


def test_a_password_that_mage_does_not_know_is_explained(mage_settings, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "mage_password").write_text("of another time")
    with pytest.raises(PipelineError, match="refused the sign-in") as caught:
        run_pipeline(mage_settings.model_copy(update={"state_dir": tmp_path}), "fan", {})
    assert "of another time" not in str(caught.value)


def test_who_is_signed_in_signs_in_again(mage_settings):
    # As the watcher does after Mage was started anew, and the API after some hours: with a session that still holds.
    with MageApi(mage_settings) as api:
        for _ in range(2):
            api.sign_in()
            assert api.going_on() == []

    async def asked() -> None:
        mage = Mage(mage_settings)
        for _ in range(2):
            assert await mage.runs("fan") is not None
            mage._signed_in = 0.0
        await mage.close()

    asyncio.run(asked())


def test_nothing_is_read_without_a_session(mage_settings):
    with MageApi(mage_settings) as api:
        for path in ("pipelines", "pipeline_schedules", "users", "secrets", "files"):
            assert "error" in api._http.get(path).json(), path


def test_only_this_machine_reaches_it(mage):
    family = relatives(mage.process.pid)
    pids = {mage.process.pid, *(child.pid for child in family)}
    listening = [c for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid in pids]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_the_terminal_runs_nothing_even_for_the_owner(mage_settings, tmp_path):
    token = sign_in(mage_settings, OWNER, mage_settings.secret("mage_password"))["session"]["token"]
    touched = tmp_path / "touched"

    address = f"{mage_settings.mage_address.replace('http', 'ws')}/websocket/terminal?term_name=probe"
    command = ["stdin", f"touch {touched}\r"]
    with connect(address, proxy=None) as socket:
        socket.send(json.dumps({"api_key": "x", "token": token, "command": command}))
        while "Unauthorized" not in socket.recv(timeout=10):
            pass
    assert not touched.exists()


def test_the_page_may_not_change_a_block(mage_settings):
    with MageApi(mage_settings) as api:
        api.sign_in()
        change = {"block": {"content": "raise SystemExit"}}
        answer = api._http.put("pipelines/fan/blocks/start", json=change)
        assert "error" in answer.json()
        assert "raise SystemExit" not in (mage_settings.root / "mage_project/data_loaders/start.py").read_text()


def test_the_status_is_open_and_says_that_a_sign_in_is_needed(mage_settings):
    status = httpx.get(f"{mage_settings.mage_address}/api/status", trust_env=False).json()["statuses"][0]
    assert status["require_user_authentication"] is True
    assert status["disable_pipeline_edit_access"] is True
    assert status["scheduler_status"] == "running"
