"""The words for containers, and settings that say where the other containers are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backend.mage import Mage as ApiMage
from backend.mage import MageAwayError
from sigap.cli.deployment import first_training, prepare
from sigap.cli.pipeline import run_word
from sigap.errors import ConfigurationError, PipelineError, ServiceError
from sigap.keys import Keys
from sigap.services.mlflow_launch import _database
from sigap.settings import ROOT, Settings

SECRET = "sJ4k-9fQz2LmX8vB7nWc1RtY6uPa3HdE"


def settings(folder: Path, **given: Any) -> Settings:
    return Settings(_env_file=None, state_dir=folder, **given)


def secrets(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def test_prepare_makes_secrets_tables_and_seed_once(tmp_path: Path, seeded_database: str) -> None:
    given = settings(tmp_path, DATABASE_URL=seeded_database)
    prepare(given)
    made = secrets(tmp_path)
    assert set(made) == {"secret_key", "mage_password", "mage_jwt", "alert_key"}
    assert all(len(value) >= 32 for value in made.values())
    with psycopg.connect(seeded_database) as connection:
        rows = connection.execute("SELECT count(*) FROM education_data").fetchone()
        connection.execute("DELETE FROM customers")
    prepare(given)
    assert secrets(tmp_path) == made
    with psycopg.connect(seeded_database) as connection:
        assert connection.execute("SELECT count(*) FROM education_data").fetchone() == rows
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (0,), "somebody's deletion stays"
    # Whoever sends alerts has the file's key.
    holder = Keys(given).identify(made["alert_key"])
    assert holder is not None
    assert holder.scopes == ("alerts",)


def test_a_given_alert_key_is_where_alertmanager_looks_for_it(tmp_path: Path, seeded_database: str) -> None:
    prepare(settings(tmp_path, DATABASE_URL=seeded_database))
    for key in ("Zk3v9QpLx7RtW2mNc8BdYs5H", "another-kL9wQ2xVb7NmRt4Ys"):
        prepare(settings(tmp_path, DATABASE_URL=seeded_database, alert_key=key))
        assert secrets(tmp_path)["alert_key"] == key


def test_prepare_refuses_production_with_the_demonstrations_secrets(tmp_path: Path) -> None:
    given = {"SECRET_KEY": SECRET, "SIGAP_API_KEYS": f"ops:predict:{SECRET}"}
    url = "postgresql://sigap:demonstration-only@127.0.0.1:1/sigap"
    with pytest.raises(ConfigurationError, match="DATABASE_URL is a well-known default"):
        prepare(settings(tmp_path, environment="production", DATABASE_URL=url, **given))
    with pytest.raises(ConfigurationError, match=r"'mage_password' is not set.*SIGAP_MAGE_PASSWORD"):
        prepare(settings(tmp_path, environment="production", **given))
    assert not (tmp_path / "secrets").exists()


def test_given_secrets_are_used_and_not_written_down(tmp_path: Path) -> None:
    given = settings(tmp_path, mage_password="own-password", mage_jwt="own-jwt")
    assert given.secret("mage_password") == "own-password"
    assert given.secret("mage_jwt") == "own-jwt"
    assert given.has_secret("mage_password")
    assert not given.has_secret("secret_key")
    assert not (tmp_path / "secrets").exists()
    assert "own-" not in repr(given)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "SECRET_KEY",
        "SIGAP_ALERT_KEY",
        "SIGAP_MAGE_URL",
        "SIGAP_PROTECT",
        "SIGAP_API_KEYS",
        "SIGAP_PROMOTION",
    ):
        monkeypatch.setenv(name, "")
    found = settings(tmp_path)
    assert (found.secret_key, found.alert_key, found.mage_url, found.protect, found.api_keys) == (None,) * 5
    assert found.promotion is None


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_mage_elsewhere_is_asked_and_nothing_is_started_here(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{closed_port()}"
    given = settings(tmp_path, mage_url=f"{address}/", mage_password="x", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert given.mage_address == address
    with pytest.raises(PipelineError, match=f"Mage at {address} can't be reached"):
        run_word(given, "education", {})
    assert not (tmp_path / "run").exists()


@contextlib.contextmanager
def answering() -> Iterator[str]:
    """A server that is healthy and knows nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.endswith(("/health", "/status")) else 404)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "no"}}')

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


def elsewhere(folder: Path, mage: str, mlflow: str) -> Settings:
    return settings(
        folder, mage_url=mage, mage_password="x", train_at_start="education", MLFLOW_TRACKING_URI=mlflow,
        DATABASE_URL="postgresql://me:pw@127.0.0.1:1/x",
    )  # fmt: skip


def test_a_first_training_that_fails_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering() as server:
        assert first_training(elsewhere(tmp_path, server, server), 1) == 1
    assert "no champion: its pipeline failed" in capsys.readouterr().out


def test_a_first_training_waits_for_whom_it_needs(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{closed_port()}"
    with answering() as there:
        with pytest.raises(ServiceError, match="MLflow does not answer"):
            first_training(elsewhere(tmp_path, there, away), 0)
        with pytest.raises(ServiceError, match="Mage does not answer"):
            first_training(elsewhere(tmp_path, away, there), 0)


def test_the_api_knows_mage_by_its_settings_alone(tmp_path: Path) -> None:
    async def ask() -> None:
        mage = ApiMage(settings(tmp_path, mage_url=f"http://127.0.0.1:{closed_port()}", mage_password="x"))
        try:
            await mage.runs("education")
        finally:
            await mage.close()

    # Not that it was never started here, as without the setting.
    with pytest.raises(MageAwayError, match="can't be reached"):
        asyncio.run(ask())
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgresql://a:b@h:5432/m", "postgresql+psycopg://a:b@h:5432/m"),
        ("postgres://a:b@h/m", "postgresql+psycopg://a:b@h/m"),
        ("sqlite:////x/y.db", "sqlite:////x/y.db"),
        ("/x/y.db", "sqlite:////x/y.db"),
    ],
)
def test_mlflow_takes_postgresql_as_everything_else_does(given: str, meant: str) -> None:
    assert _database(given) == meant


def test_mage_in_production_needs_secrets_of_its_own(tmp_path: Path) -> None:
    env = {
        "PATH": os.environ["PATH"], "SIGAP_STATE_DIR": str(tmp_path), "SIGAP_ENVIRONMENT": "production",
        "SECRET_KEY": SECRET, "SIGAP_API_KEYS": f"ops:predict:{SECRET}",
    }  # fmt: skip
    command = [sys.executable, "-m", "sigap.services.mage"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: The secret 'mage_password' is not set")
    assert SECRET not in ended.stderr
