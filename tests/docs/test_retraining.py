"""What docs/retraining.md tells somebody to type, word for word, against a real server."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from sigap.keys import alert_credentials
from sigap.retrains import Verdict
from sigap.settings import ROOT, Settings
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.mage import mage_standin
from tests.docs.test_examples import Reader, blocks, needs_curl, section

DOCUMENT = ROOT / "docs" / "retraining.md"


@needs_curl
def test_an_alert_by_hand(tmp_path: Path, seeded_database: str) -> None:
    import httpx

    settings = Settings(_env_file=None, state_dir=tmp_path / ".sigap", mage_port=free_port())
    alert_credentials(settings)
    reader = Reader(tmp_path, free_port())
    env = {
        "SIGAP_STATE_DIR": str(settings.state), "SIGAP_MAGE_PORT": str(settings.mage_port),
        "DATABASE_URL": seeded_database, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }  # fmt: skip
    server = [sys.executable, "-m", "backend", "--port", str(reader.port)]
    with mage_standin(settings) as mage, process(server, tmp_path / "api.log", **env):
        alive = f"http://127.0.0.1:{reader.port}/health/live"
        wait_for(lambda: httpx.get(alive, trust_env=False).is_success, "The API", 600)
        [block] = blocks(section(DOCUMENT, "Alerts"), "sh")
        (told,) = json.loads(reader.shell(block))["alerts"]
        assert (told["model"], told["decision"], told["run"], told["known"]) == ("education", "started", 1, False)
        assert json.loads(reader.shell(block))["alerts"][0]["known"]
    assert len(mage.runs) == 1


def test_every_decision_and_setting_is_told() -> None:
    text = DOCUMENT.read_text()
    told = set(re.findall(r"`(\w+)`", section(DOCUMENT, "Alerts")))
    assert set(Verdict.__args__) - {"failed"} <= told  # type: ignore[attr-defined]
    settings = Settings(_env_file=None)
    for name, value in re.findall(r"`SIGAP_([A-Z_]+)`(?: \((\d+))?", text):
        assert name.lower() in Settings.model_fields, name
        if value:
            assert float(value) == getattr(settings, name.lower()), name
