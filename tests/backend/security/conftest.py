from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app import create_app
from sigap.keys import Keys
from sigap.settings import Settings
from tests.backend.conftest import Client, Loop

REGISTRY = "http://127.0.0.1:9"


def settings(folder: Path, **given: Any) -> Settings:
    """Settings that ask for nothing outside the folder."""
    given.setdefault("DATABASE_URL", "postgresql://nobody:none@127.0.0.1:9/none")
    return Settings(state_dir=folder, MLFLOW_TRACKING_URI=REGISTRY, _env_file=None, **given)


@dataclass
class Api:
    """An application in this process, with a key for each need."""

    settings: Settings
    client: Client
    keys: dict[str, str]

    def token(self, key: str = "both", **body: Any) -> str:
        answer = self.client.post("/token", json={"api_key": self.keys[key], **body})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def bearer(self, key: str = "both") -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(key)}"}


def keys_of(settings: Settings) -> dict[str, str]:
    store = Keys(settings)
    return {
        "both": store.create("both", ["predict", "admin"]),
        "predict": store.create("predict", ["predict"]),
        "admin": store.create("admin", ["admin"]),
        "alerts": store.create("alerts", ["alerts"]),
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts an application with the given settings."""
    with Loop() as runner:

        def start(**given: Any) -> Api:
            found = settings(tmp_path, **given)
            keys = keys_of(found) if not (tmp_path / "keys.json").exists() else {}
            return Api(found, Client(create_app(found), runner), keys)

        yield start


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer of this status carries."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert told["request_id"] == answer.headers["x-request-id"]
    return told
