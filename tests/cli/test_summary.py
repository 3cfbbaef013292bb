"""The summary of the models: a table where it fits, lines below one another where it does not."""

from __future__ import annotations

import pytest
from rich.console import Console

from sigap.cli import output, summary
from sigap.cli.summary import Line, show_summary
from sigap.model_card import Headline

SCORE = Headline("accuracy", 0.845, 0.022, 0.845, "one column rule", ties=True)
LINES = [
    Line("loan_approval", "v12", "v_2025_Q1", 600, True, SCORE, "champion: not worse, new data", served=True),
    Line("credit_approval", decision="no champion: no admissible candidate", reason="Noise.", rule="inadmissible"),
]


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> list[str]:
    console = Console(width=width, highlight=False)
    monkeypatch.setattr(output, "console", console)
    monkeypatch.setattr(summary, "console", console)
    show_summary(LINES)
    return capsys.readouterr().out.splitlines()


def test_in_80_columns_no_line_is_broken_in_the_middle_of_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(monkeypatch, capsys, 80)
    assert lines[0] == "loan_approval  champion: not worse, new data"
    assert lines[1].startswith(
        "  v12 · data v_2025_Q1 (mock) · 600 rows · accuracy 0.845 ± 0.022 · baseline 0.845 (one"
    )
    assert lines[2:] == [
        "credit_approval  no champion: no admissible candidate",
        "",
        "credit_approval: Noise.",
    ]


def test_where_there_is_room_it_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    head, first, second, *_ = shown(monkeypatch, capsys, 200)
    assert head.split() == ["Model", "Rows", "Version", "Data", "Score", "Baseline", "Decision"]
    assert first.index("v_2025_Q1 (mock)") == head.index("Data")
    assert second.split()[:5] == ["credit_approval", "-", "-", "-", "-"]
