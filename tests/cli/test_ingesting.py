"""What `./run ingest` shows while candles come: on a terminal in place, elsewhere in lines."""

from __future__ import annotations

import io
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from sigap.cli import ingest
from sigap.cli.ingest import Wish, _Show, _summary
from sigap.data.ingest import Progress

WISH = Wish("BTC-USD", "1d", None, mock=True, once=False)


def test_elsewhere_a_line_comes_when_the_state_changes(capsys: pytest.CaptureFixture[str]) -> None:
    with _Show(WISH) as show:
        for state in ("asking", "asking", "asking for 1 of 9", "asking for 2 of 9", "listening"):
            show(Progress(state=state, trades=3))
    lines = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["asking", "asking for 1 of 9".partition(" of ")[0] + " of 9", "asking for 2 of 9", "listening"]


def test_on_a_terminal_the_newest_figures_stand_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(ingest, "console", Console(file=file, force_terminal=True, width=200, highlight=False))
    with _Show(WISH) as show:
        show(Progress(state="connecting"))
        show(
            Progress(
                state="listening",
                price=Decimal("64000.10"),
                newest=datetime(2025, 1, 2, 3, 4, tzinfo=UTC),
                trades=5,
                repeated=1,
                garbage=Counter({"no price": 2, "too old": 1}),
            )
        )
    shown = file.getvalue()
    last = shown[shown.rindex("BTC-USD") :]
    assert "listening (mock)" in last
    assert "64000.10" in last
    assert "2025-01-02 03:04 UTC" in last
    assert "5 trades (1 repeated)" in last
    assert "3 left out as unusable" in last


def test_at_the_end_it_says_what_made_room() -> None:
    assert _summary(Progress(backfilled=4, requests=1)).endswith("4 asked for in 1 requests.")
    assert _summary(Progress(removed_mock=6)).endswith("6 mock candles made room for real ones.")
