"""The watcher as a whole where what it needs is away or answers oddly: it goes on, and tells each fault once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from sigap.retrains import Ask
from sigap.services.mage_api import RefusedError
from sigap.settings import Settings, get_settings
from sigap.watcher.__main__ import Watcher, main
from sigap.watcher.mage import Mage, MageAwayError
from tests.conftest import Checkout


class StandIn(BaseHTTPRequestHandler):
    """Mage's API of which nothing runs; its sessions end when `server.sessions` is told to forget them."""

    server: Any

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        answer: dict[str, Any]
        if self.path.startswith("/api/sessions"):
            if json.loads(body)["session"]["password"] != "right":
                answer = {"error": {"message": "wrong password"}}
            else:
                self.server.sessions.add(token := f"t{len(self.server.asked)}")
                answer = {"session": {"token": token}}
        elif not any(token in self.headers.get("cookie", "") for token in self.server.sessions):
            answer = {"error": {"message": "not signed in"}}
        else:
            answer = {"pipeline_runs": []}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        server.asked, server.sessions = [], set()  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(60)


@pytest.fixture
def mage() -> Iterator[Any]:
    with running() as server:
        yield server


def address(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def said(caplog: pytest.LogCaptureFixture, watcher: Watcher, looks: int = 2) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "sigap.watcher"):
        for _ in range(looks):
            watcher.look()
    return [record.getMessage() for record in caplog.records]


def test_each_fault_is_told_once_and_its_end_too(
    checkout: Checkout, seeded_database: str, mage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    given = checkout.settings(_env_file=None)
    never = Watcher(given)
    assert said(caplog, never) == ["No database was started yet. It is tried again."]
    assert not (given.state / "secrets").exists(), "no password was made up"
    away = checkout.settings(_env_file=None, database="postgresql://me:hunter2@127.0.0.1:9/x")
    assert said(caplog, Watcher(away)) == [
        "PostgreSQL does not answer as expected (OperationalError). It is tried again."
    ]
    alone = checkout.settings(_env_file=None, database=seeded_database)
    watcher = Watcher(alone)
    assert said(caplog, watcher) == ["Mage was never started here. It is tried again."]
    watcher.close()

    there = checkout.settings(_env_file=None, database=seeded_database, mage_url=address(mage), mage_password="wrong")
    watcher = Watcher(there)
    (told,) = said(caplog, watcher)
    assert "refused the sign-in" in told
    watcher._mage = watcher._runs.mage = watcher._champions._mage = Mage(
        there.model_copy(update={"mage_password": checkout.settings(mage_password="right").mage_password})
    )
    assert said(caplog, watcher) == ["All is seen again."]
    # The server ends every session, as when it is started anew.
    with psycopg.connect(seeded_database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sigap-watcher'"
        )
    told, again = said(caplog, watcher)
    assert told.startswith("PostgreSQL does not answer as expected")
    assert again == "All is seen again."
    watcher.close()


def test_what_nobody_foresaw_is_told_once_with_its_place(
    checkout: Checkout,
    seeded_database: str,
    mage: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = checkout.settings(
        _env_file=None, database=seeded_database, mage_url=address(mage), mage_password="right"
    )
    watcher = Watcher(settings)
    faults = iter([ValueError("one"), ValueError("one"), KeyError("two")])

    def look(*_: object) -> list[Ask]:
        raise next(faults)

    monkeypatch.setattr(watcher._sensor, "look", look)
    assert said(caplog, watcher, 3) == ["Something unforeseen happened; it is tried again."] * 2
    monkeypatch.undo()
    assert said(caplog, watcher) == ["All is seen again."]
    watcher.close()


def test_a_session_that_ended_is_opened_again_and_a_refusal_stays_one(tmp_path: Path, mage: Any) -> None:
    client = Mage(Settings(_env_file=None, state_dir=tmp_path, mage_url=address(mage), mage_password="right"))
    assert client.going_on() == []
    mage.sessions.clear()
    assert client.going_on() == []
    assert mage.asked == [
        "POST /api/sessions", "GET /api/pipeline_runs", "GET /api/pipeline_runs",
        "POST /api/sessions", "GET /api/pipeline_runs",
    ]  # fmt: skip
    client.close()
    fresh = Mage(Settings(_env_file=None, state_dir=tmp_path, mage_url=address(mage), mage_password="right"))
    mage.asked.clear()
    real, mage.sessions = mage.sessions, Forgetful()
    with pytest.raises(RefusedError, match="not signed in"):
        fresh.going_on()
    assert len(mage.asked) == 2, "one who just signed in does not sign in again"
    mage.sessions = real
    assert fresh.going_on() == []
    fresh.close()


class Forgetful(set[str]):
    """Sessions that end at once."""

    def add(self, _: str) -> None:
        pass


def test_mage_that_went_away_is_signed_in_to_anew(tmp_path: Path) -> None:
    with running() as server:
        client = Mage(Settings(_env_file=None, state_dir=tmp_path, mage_url=address(server), mage_password="right"))
        assert client.going_on() == []
    with pytest.raises(MageAwayError, match="can't be reached"):
        client.going_on()
    client.close()


def test_a_watcher_with_wrong_settings_ends_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGAP_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SIGAP_SENSOR_SECONDS", "soon")
    get_settings.cache_clear()
    with pytest.raises(SystemExit, match="SIGAP_SENSOR_SECONDS"):
        main()
