"""Mage's API where something else answers, or Mage answers oddly; runs through a real Mage are in tests/mage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigap.errors import PipelineError
from sigap.services.mage_api import MageApi, RefusedError
from sigap.settings import Settings
from tests.answers import answering


def api(address: str, folder: Path) -> MageApi:
    return MageApi(Settings(_env_file=None, state_dir=folder, mage_url=address, mage_password="x"))


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b'{"error": {"exception": "No such run", "message": "less"}}', "No such run"),
        (200, b'{"error": {"message": "not allowed"}}', "not allowed"),
        (200, b'{"error": {}}', "status 200"),
        (400, b'{"error": "in a word"}', "in a word"),
        (200, b"", "status 200"),
        (200, b"<html>a proxy</html>", "status 200"),
        (502, b'["bad gateway"]', "status 502"),
        (200, b'"well"', "status 200"),
        (200, b"null", "status 200"),
    ],
)
def test_whatever_answers_instead_of_mage_is_a_refusal(status: int, body: bytes, told: str, tmp_path: Path) -> None:
    with answering(lambda _: (status, body)) as address, api(address, tmp_path) as mage:
        with pytest.raises(RefusedError, match=told):
            mage.run(1)
        with pytest.raises(RefusedError, match=f"refused to start a run: {told}"):
            mage.start({"id": 1, "token": "t"}, {})
        with pytest.raises(PipelineError, match=f"refused the sign-in of .*: {told}") as caught:
            mage.sign_in()
        assert "delete" in caught.value.remedy


def test_a_pipeline_has_an_api_trigger_or_none_yet(tmp_path: Path) -> None:
    for kinds, found in ((["time"], None), (["time", "api"], {"schedule_type": "api"}), ([], None)):
        body = json.dumps({"pipeline_schedules": [{"schedule_type": kind} for kind in kinds]}).encode()
        with answering(lambda _, told=body: (200, told)) as address, api(address, tmp_path) as mage:
            assert mage.trigger("education") == found


LINES = (
    "no brace at all",
    'half {"level": ',
    '2025-01-01 {"level": "INFO", "message": "begins"}',
    '2025-01-01 {"level": "ERROR", "message": " it fell "}',
)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ((), ""),
        (LINES[:3], ""),
        (LINES, "it fell"),
        ((*LINES, '{"level": "INFO", "message": "AssertionError: two rows are one"}'), "two rows are one"),
        ((*LINES, '{"level": "INFO", "message": "AssertionError"}'), "an assertion without words"),
    ],
)
def test_why_a_block_failed_is_read_from_its_log(lines: tuple[str, ...], cause: str, tmp_path: Path) -> None:
    logs = [{"content": "\n".join(lines)}, {"content": None}, {}]
    body = json.dumps({"logs": [{"block_run_logs": logs}]}).encode()
    with answering(lambda _, told=body: (200, told)) as address, api(address, tmp_path) as mage:
        assert mage.logged_cause("education", 1) == cause
