"""The dashboard before an API that wants a token."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from frontend import api
from tests.backend.bundles import BODY
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.test_memory import keep
from tests.frontend.conftest import clear_caches

KEY = "k7Qx2mVw9RtB4nYp6LsD8hJc"


def test_predictions_carry_a_token_and_renew_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, "education")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "backend", "--port", str(port)]
    env = {
        "SIGAP_STATE_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "SIGAP_PROTECT": "predict",
        "SIGAP_API_KEYS": f"dashboard:predict:{KEY}",
        "SIGAP_TOKEN_MINUTES": "0.03",
    }
    monkeypatch.setenv("SIGAP_API_URL", url)
    clear_caches()
    with process(command, tmp_path / "api.log", **env):
        wait_for(lambda: httpx.get(f"{url}/health/ready").status_code == 200, "The API", 600)
        with pytest.raises(api.RejectedError):
            api.asked("education", BODY)
        monkeypatch.setenv("SIGAP_DASHBOARD_KEY", KEY)
        clear_caches()
        assert api.predict("education", BODY).model_version == "v1"
        header = api._client(url).auth._token  # type: ignore[union-attr]
        bearer = {"authorization": f"Bearer {header}"}
        wait_for(lambda: httpx.get(f"{url}/validate-token", headers=bearer).status_code == 401, "The token's end")
        assert api.predict("education", BODY).model_version == "v1"
        monkeypatch.setenv("SIGAP_DASHBOARD_KEY", "not-the-key")
        clear_caches()
        with pytest.raises(api.RejectedError):
            api.predict("education", BODY)
    clear_caches()
