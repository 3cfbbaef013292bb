"""What `./run live-score` and `./run drift show` say of what was found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sigap.cli.drift import _state
from sigap.cli.performance import _show, live_score
from sigap.errors import SigapError
from sigap.monitoring.live import scorable
from sigap.monitoring.records import Check
from sigap.settings import Settings


def row(**changes: Any) -> dict[str, Any]:
    values = {
        "metric": "mae", "model_version": "v3", "window_from": datetime(2025, 1, 1, tzinfo=UTC),
        "window_to": datetime(2025, 1, 31, tzinfo=UTC), "reason": "As promised.", "n": 40, "value": 1234.5,
        "low": 1000.0, "high": 1500.25, "promised": 1200.0, "promised_sd": 60.0, "decisive": True, "alarm": False,
    }  # fmt: skip
    return values | changes


def shown(capsys: pytest.CaptureFixture[str], *rows: dict[str, Any]) -> list[str]:
    _show("car_price", list(rows))
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_each_score_stands_beside_what_was_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ["car_price: nothing is served, so nothing is scored."]
    bare = row(metric="coverage", decisive=False, value=0.91, low=None, high=None, promised=None, promised_sd=None)
    lines = shown(capsys, bare, row(alarm=True))
    assert lines[0] == "car_price v3, outcomes of 2025-01-01 to 2025-01-31: As promised."
    assert lines[2] == "coverage 0.91 - 40 -"
    assert lines[3] == "mae * 1,234 1,000 to 1,500 40 1,200 ± 60"
    assert lines[4].startswith("Performance alarm")
    assert shown(capsys, row(n=0, reason="No outcomes.")) == [
        "car_price v3, outcomes of 2025-01-01 to 2025-01-31: No outcomes."
    ]
    sure = shown(capsys, row(promised_sd=None, value=None))
    assert sure[2] == "mae * - 1,000 to 1,500 40 1,200"


def test_of_all_models_one_that_can_not_be_scored_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    away = Settings(
        _env_file=None, DATABASE_URL="postgresql://me:hunter2@127.0.0.1:9/x", MLFLOW_TRACKING_URI="http://127.0.0.1:9"
    )
    assert live_score(away, "all") == 1
    told = capsys.readouterr()
    assert told.err.count("Error: ") == len(scorable())
    assert "hunter2" not in told.err
    with pytest.raises(SigapError, match=r"PostgreSQL at 127\.0\.0\.1"):
        live_score(away, "car_price")


@pytest.mark.parametrize(
    ("status", "alarm", "drifted", "state"),
    [
        ("failed", True, True, "failed"),
        ("computed", True, True, "alarm"),
        ("too_few", False, False, "too few"),
        ("computed", False, True, "drifted"),
        ("computed", False, False, "steady"),
    ],
)
def test_a_check_is_told_in_a_word(status: Any, alarm: bool, drifted: bool, state: str) -> None:
    blank = dict.fromkeys(Check.__dataclass_fields__)
    assert _state(Check(**{**blank, "status": status, "alarm": alarm, "drifted": drifted})) == state
