"""A shift that is injected on purpose: through the real API into the log, and into the table and back; and the API that
tells of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from backend.app import create_app
from sigap.catalog import declaration
from sigap.cli import drift as words
from sigap.errors import ConfigurationError, RegistryError
from sigap.monitoring.shifted_table import undo_shift, write_shift
from sigap.monitoring.simulate import send
from sigap.settings import Settings
from sigap.simulations import record_of
from tests.backend.conftest import Client, Loop
from tests.backend.security.conftest import Api, keys_of
from tests.monitoring.conftest import Watch
from tests.registry.conftest import free_port

WAIT_SECONDS = 60


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """The real API, with the education model alone, until it answers."""
    app = create_app(settings, (declaration("education"),))
    config = uvicorn.Config(app, "127.0.0.1", settings.api_port, log_level="error", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with httpx.Client(base_url=settings.api_address, timeout=120, trust_env=False) as client:
        try:
            until(lambda: client.get("/health/ready").is_success, "The API's champion")
            yield client
        finally:
            server.should_exit = True
            thread.join(600)


def until(condition, what: str) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < limit:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come.")


@pytest.mark.usefixtures("without_evidently")
def test_a_shift_of_live_inputs_is_sent_logged_seen_and_told(watch: Watch, capsys: pytest.CaptureFixture[str]):
    watch.train("education")
    watch.settings = watch.settings.model_copy(update={"api_port": free_port(), "default_model": "education"})
    with serving(watch.settings) as client:
        state = client.get("/drift").json()["models"][0]
        assert (state["state"], state["overdue"]) == ("unchecked", False), "it is served for some seconds only"
        untold = client.get("/models/education/drift").json()
        assert (untold["live"]["state"], untold["live"]["check"], untold["live"]["features"]) == ("unchecked", None, [])

        seen: list[tuple[int, int]] = []
        sent = send("education", watch.settings, by=1.5, rows=60, seed=1, progress=lambda *each: seen.append(each))
        assert (sent.requests, sent.answered, sent.refusal) == (60, 60, "")
        assert seen[-1] == (60, 60)
        assert all(each.asked == 1.5 and 0 < each.got <= 1.5001 and each.tested for each in sent.moved)
        assert any(each.clipped > 0 for each in sent.moved) or all(each.got > 1.4 for each in sent.moved)
        until(lambda: watch.ask("SELECT count(*) FROM predictions")[0][0] == 60, "The log")
        check = watch.check("education", "live")
        assert (check.rows, check.drifted) == (60, True), check.reason

        told = client.get("/models/education/drift").json()["live"]
        assert (told["state"], told["check"]["id"], told["window"]) == ("moved", check.id, check.id)
        assert told["features"][0]["drifted"]
        assert told["features"][0]["title"]["id"]
        assert sum(told["features"][0]["bins"]["now"]) == 60
        assert told["check"]["details"]["rules"]["share"] == 0.3
        assert client.get("/drift").json()["models"][0]["state"] == "moved"
        page = client.get(told["check"]["report"])
        assert page.text == "<p>Drift</p>"
        assert page.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
        for number in ("0", "999999", "x", "../1", "9" * 40):
            assert client.get(f"/models/education/drift/report/{number}").status_code == 404
        assert client.get("/models/boats/drift").status_code == 404

        words.show_checks(watch.settings, "education", 3)
        assert words.check_now(watch.settings, "education", "live") == 0, "nothing new, and no alarm stands"
        shown = capsys.readouterr().out
        assert "too few" in shown
        assert "drifted" in shown

        options = {"feature": None, "by": 1.0, "undo": False, "key": "", "yes": False}
        told = words.simulate_told(watch.settings, "education", "live", rows=3, asked_by="a test", **options)
        assert (told["into"], told["rows"], told["answered"], told["refusal"]) == ("live", 3, 3, "")
        assert told["moved"][0]["asked"] == 1.0

        production = watch.settings.model_copy(update={"environment": "production"})
        with pytest.raises(ConfigurationError, match="This is production"):
            words.simulate(production, "education", "live", feature=None, by=1, rows=1, undo=False, key="", yes=False)
        with pytest.raises(ConfigurationError, match="no number that the champion"):
            send("education", watch.settings, feature="height", rows=1)


def over_the_api(watch: Watch, whole: str) -> None:
    """The same for an operator who asks the API: in the operator's name, and only once."""
    before = watch.ask(whole)
    with Loop() as runner:
        api = Api(watch.settings, Client(create_app(watch.settings), runner), keys_of(watch.settings))
        path, headers = "/models/education/simulate-drift", api.bearer("admin")
        body = {"into": "table", "shift": -1.0, "rows": 5, "feature": None, "undo": False}
        told = api.client.post(path, json=body, headers=headers).json()
        assert (told["into"], told["table"], told["rows"], told["undone"]) == ("table", "education_data", 5, False)
        assert {each["asked"] for each in told["moved"]} == {-1.0}
        assert watch.ask(whole) != before
        assert json.loads(record_of(watch.settings, "education").read_text())["asked_by"] == "api: admin"
        assert api.client.get(path, headers=headers).json()["shifted_since"] is not None
        assert api.client.post(path, json=body, headers=headers).status_code == 409
        back = api.client.post(path, json={**body, "undo": True}, headers=headers).json()
        assert (back["rows"], back["left"], back["undone"], back["moved"]) == (5, 0, True, [])
        assert api.client.get(path, headers=headers).json()["shifted_since"] is None
    assert watch.ask(whole) == before


def test_a_shift_of_the_table_is_one_transaction_and_can_be_taken_back(watch: Watch):
    with pytest.raises(RegistryError, match="has no champion"):
        write_shift("education", watch.settings)
    watch.train("education")
    whole = "SELECT to_jsonb(t) - 'updated_at' FROM education_data AS t ORDER BY provinsi_id, tahun"
    before = watch.ask(whole)
    done = write_shift("education", watch.settings, by=-1.0, rows=500)
    assert done.table == "education_data"
    newest = watch.ask("SELECT count(*) FROM education_data WHERE tahun = (SELECT max(tahun) FROM education_data)")
    assert done.rows == newest[0][0], "of a yearly table the newest year is shifted"
    assert watch.ask(whole) != before
    assert all(-1.0001 <= each.got <= 0 and 0 <= each.clipped <= 1 for each in done.moved), "no figure, no shift"
    with pytest.raises(ConfigurationError, match="holds a simulated shift already"):
        write_shift("education", watch.settings)

    back = undo_shift("education", watch.settings)
    assert (back.rows, back.left) == (done.rows, 0)
    assert watch.ask(whole) == before, "to the last digit"
    with pytest.raises(ConfigurationError, match="No simulated shift"):
        undo_shift("education", watch.settings)
    assert not record_of(watch.settings, "education").exists()
    over_the_api(watch, whole)

    write_shift("education", watch.settings, rows=5)
    column = done.moved[0].feature
    watch.ask(f"UPDATE education_data SET {column} = NULL")
    assert undo_shift("education", watch.settings).left == 5, "what somebody changed since stays as it is"
    assert watch.ask(f"SELECT count({column}) FROM education_data")[0][0] == 0
    with pytest.raises(ConfigurationError, match="a series of prices"):
        write_shift("bitcoin_price", watch.settings)
