"""Production starts with its own secrets or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.app import create_app
from sigap.errors import ConfigurationError
from sigap.keys import Keys
from sigap.production import require_secrets
from sigap.settings import ROOT, Settings

SECRET = "sJ4k-9fQz2LmX8vB7nWc1RtY6uPa3HdE"
KEY = "ops:predict:Zk3v9QpLx7RtW2mNc8BdYs5H"


def production(folder: Path, **given: Any) -> Settings:
    given = {"SECRET_KEY": SECRET, "SIGAP_API_KEYS": KEY, **given}
    given = {name: value for name, value in given.items() if value is not None}
    return Settings(state_dir=folder, environment="production", _env_file=None, **given)


@pytest.mark.parametrize(
    ("given", "variable", "why"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY", "is not set"),
        ({"SECRET_KEY": ""}, "SECRET_KEY", "is not set"),
        ({"SECRET_KEY": "changeme"}, "SECRET_KEY", "well-known default"),
        ({"SECRET_KEY": "your-secret-key-of-more-than-32-characters"}, "SECRET_KEY", "well-known default"),
        ({"SECRET_KEY": "short-and-random-4711"}, "SECRET_KEY", "21 characters: expected at least 32"),
        ({"SECRET_KEY": "ab" * 20}, "SECRET_KEY", "2 different characters"),
        ({"SIGAP_API_KEYS": None}, "SIGAP_API_KEYS", "no API key"),
        ({"SIGAP_API_KEYS": "ops:predict:changeme"}, "SIGAP_API_KEYS", "well-known default"),
        ({"SIGAP_API_KEYS": "ops:predict:abc123"}, "SIGAP_API_KEYS", "6 characters: expected at least 24"),
        ({"alert_key": "changeme"}, "SIGAP_ALERT_KEY", "well-known default"),
        ({"SIGAP_API_KEYS": None, "alert_key": "Zk3v9QpLx7RtW2mNc8BdYs5H"}, "SIGAP_API_KEYS", "no API key"),
        ({"DATABASE_URL": "postgresql://sigap:postgres@db/sigap"}, "DATABASE_URL", "well-known default"),
        ({"DATABASE_URL": "postgresql://hans:hans@db/sigap"}, "DATABASE_URL", "well-known default"),
        ({"DATABASE_URL": "postgresql://sigap:demonstration-only@db/sigap"}, "DATABASE_URL", "well-known default"),
        ({"SECRET_KEY": "demonstration-" + SECRET}, "SECRET_KEY", "well-known default"),
        ({"mage_password": "changeme"}, "SIGAP_MAGE_PASSWORD", "well-known default"),
        ({"mage_jwt": "short"}, "SIGAP_MAGE_JWT", "5 characters: expected at least 24"),
    ],
)
def test_a_missing_or_default_secret_refuses_the_start(
    tmp_path: Path, given: dict[str, Any], variable: str, why: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_app(production(tmp_path, **given))
    assert variable in str(caught.value)
    assert why in str(caught.value)
    assert caught.value.remedy
    for value in given.values():
        assert not value or value not in str(caught.value)


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    given = {"SECRET_KEY": None, "SIGAP_API_KEYS": None, "DATABASE_URL": "postgresql://sigap:sigap@db/sigap"}
    with pytest.raises(ConfigurationError) as caught:
        require_secrets(production(tmp_path, **given, mage_password="short", mage_jwt="shorter"))
    for name in ("SECRET_KEY", "no API key", "DATABASE_URL", "SIGAP_MAGE_PASSWORD", "SIGAP_MAGE_JWT"):
        assert name in caught.value.message
    assert caught.value.remedy.count("token_urlsafe") == 1


def test_secrets_of_its_own_let_it_start(tmp_path: Path) -> None:
    require_secrets(production(tmp_path))
    require_secrets(production(tmp_path, DATABASE_URL="postgresql://sigap:x9!kQ2@db/sigap"))
    require_secrets(production(tmp_path, DATABASE_URL="postgresql://sigap@db/sigap"))
    require_secrets(Settings(state_dir=tmp_path, _env_file=None))


def test_a_key_made_by_hand_will_do(tmp_path: Path) -> None:
    found = production(tmp_path, SIGAP_API_KEYS=None)
    Keys(found).create("ops", ["predict"])
    require_secrets(found)


def test_development_makes_up_a_secret_once_and_production_none(tmp_path: Path) -> None:
    development = Settings(state_dir=tmp_path, _env_file=None)
    key = development.key_for("tokens")
    assert key == Settings(state_dir=tmp_path, _env_file=None).key_for("tokens")
    assert key != development.key_for("something else")
    assert len(key) == 32
    # What development left behind is no secret that somebody gave.
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        require_secrets(production(tmp_path, SECRET_KEY=None))


@pytest.mark.parametrize("command", [["-m", "backend", "--workers", "2"], ["-m", "sigap"]])
def test_the_start_is_refused_without_a_traceback(tmp_path: Path, command: list[str]) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SIGAP_", "SECRET_", "DATABASE_"))}
    env |= {"SIGAP_ENVIRONMENT": "production", "SIGAP_STATE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: ")
    assert "SECRET_KEY, which signs the tokens, is not set" in ended.stderr
    assert "Traceback" not in ended.stderr
