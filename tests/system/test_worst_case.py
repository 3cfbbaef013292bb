"""The worst case: everything but the repository and a backup is lost, and comes back."""

from __future__ import annotations

import shutil
from typing import Any

import httpx
import psycopg
import pytest

from sigap.catalog import declarations
from sigap.mage_access import CLIENT_ID, OWNER
from tests.system.conftest import System, wait_for

# The last of the stories, by its name: it takes the system down.
pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]


def rows(system: System, table: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(system.settings.dsn) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()  # type: ignore[call-overload]


def answers(system: System, models: dict[str, str]) -> dict[str, Any]:
    """What each served model answers to its example; the time of a forecast's candles is part of it."""
    found = {}
    for model in models:
        answer = system.predict(system.get(f"/models/{model}")["example"], model)
        assert answer.status_code == 200, answer.text
        found[model] = answer.content
    return found


def test_a_lost_system_comes_back_from_its_backup(system: System) -> None:
    before = {each.name: system.served(each.name) for each in declarations()}
    served = {model: version for model, version in before.items() if version}
    answered = answers(system, served)
    decided = rows(system, "decisions")
    wait_for(lambda: rows(system, "predictions"), 10, "predictions in the log")
    tags = system.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
    snapshot = (system.root / "data/raw/education_snapshot.parquet").read_bytes()

    lying_about = system.git("status", "--porcelain")  # what earlier stories left
    said = system.run("backup").stdout
    assert "whole" in said
    assert system.git("status", "--porcelain") == lying_about, "backups lie where Git does not see them"
    assert "education" in system.run("backup", "--list").stdout
    logged = rows(system, "predictions")
    refused = system.run("restore", "latest", "--replace", "--yes", check=False)
    assert refused.returncode == 1
    assert "./run stop" in refused.stderr

    system.stop()
    shutil.rmtree(system.settings.state)
    shutil.rmtree(system.root / ".dvc/cache")
    for tag in system.git("tag").split():
        system.git("tag", "--delete", tag)
    (system.root / "data/raw/education_snapshot.parquet").unlink()

    system.run("restore", "latest")
    assert system.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags") == tags
    assert (system.root / "data/raw/education_snapshot.parquet").read_bytes() == snapshot
    system.start(SIGAP_TRAIN_AT_START="none")
    wait_for(lambda: {model: system.served(model) for model in served} == served, 30, "the champions")
    assert answers(system, served) == answered
    assert rows(system, "decisions") == decided
    assert rows(system, "predictions")[: len(logged)] == logged
    version = system.git("tag", "--list", "education/*").split()[0].partition("/")[2]
    assert "is data version" in system.run("data", "rollback", "education", version).stdout
    password = (system.settings.state / "secrets" / "mage_password").read_text().strip()
    session = {"session": {"email": OWNER, "password": password}, "api_key": CLIENT_ID}
    told = httpx.post(f"{system.settings.mage_address}/api/sessions", json=session, timeout=30).json()
    assert "error" not in told, "Mage knows the password that was made up"
