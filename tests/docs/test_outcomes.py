"""What docs/outcomes.md tells a client to type, word for word, against a real server with a real database."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.settings import ROOT, Settings
from tests.docs.test_examples import blocks, needs_curl, section, serving

OUTCOMES = ROOT / "docs" / "outcomes.md"


@needs_curl
def test_an_outcome_is_told_as_the_document_says(tmp_path: Path, seeded_database: str) -> None:
    ask, tell = blocks(section(OUTCOMES, "Telling an outcome"), "sh")
    with contextlib.contextmanager(serving)(tmp_path, [CREDIT_APPROVAL.name], DATABASE_URL=seeded_database) as reader:
        assert json.loads(reader.shell(ask))["model"] == "credit_approval"
        # A prediction is written within a second, on a machine that is not busy.
        until = time.monotonic() + 600
        while True:
            told = json.loads(reader.shell(tell))
            statuses = [each["status"] for each in told["outcomes"]]
            if statuses[0] == "recorded" or time.monotonic() > until:
                break
            time.sleep(0.2)
        assert statuses == ["recorded", "unknown"], told
        assert told["outcomes"][0]["outcome"] is True


def test_the_document_names_the_settings_as_they_are() -> None:
    text = OUTCOMES.read_text()
    fields = Settings.model_fields
    for name in ("live_window_days", "replay_days", "prediction_log_days"):
        assert f"`SIGAP_{name.upper()}` ({fields[name].default})" in text
