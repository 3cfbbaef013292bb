"""The summary of the models: a table where it fits, lines below one another where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from rich.console import Console

from sigap import decisions
from sigap.cli import output, summary
from sigap.cli.summary import Line, show_summary
from sigap.decisions import Record
from sigap.model_card import Headline
from sigap.settings import Settings
from sigap.training.gate import Rule
from tests.answers import answering

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


def served(version: str) -> Callable[[str], tuple[int, bytes]]:
    def answer(path: str) -> tuple[int, bytes]:
        there = version and "name=education&" in path
        return (200, b'{"model_version": {"version": "%s"}}' % version.encode()) if there else (404, b"{}")

    return answer


def decision(rule: str, version: str, run: str, **changes: object) -> Record:
    values: dict[str, object] = {
        "model": "education", "run_id": run, "model_version": version, "champion_before": None,
        "champion_after": None, "promoted": False, "rule": rule, "reason": f"It is {rule}.",
    }  # fmt: skip
    return Record(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("alias", "kept", "failed", "version", "told"),
    [
        ("", [], "", "", "not trained yet"),
        ("", [], "Mage is away.", "", "no champion: its pipeline failed"),
        ("", [decision("inadmissible", "", "a")], "", "", "no champion: no admissible candidate"),
        ("", [decision("waiting", "v1", "a")], "", "v1", "waits for approval"),
        ("", [decision("of later days", "v1", "a")], "", "v1", "no champion: of later days"),
        ("4", [], "", "v4", "served"),
        ("4", [decision("first", "v1", "a")], "", "v4", "served"),
        ("1", [decision("first", "v1", "a", promoted=True)], "", "v1", "champion: the first"),
        (
            "1",
            [decision("first", "v1", "a", promoted=True), decision("worse", "v2", "b")],
            "",
            "v1",
            "champion: the first; v2 refused: worse than the champion",
        ),
        (
            "1",
            [decision("first", "v1", "a", promoted=True), decision("inadmissible", "", "b")],
            "Mage is away.",
            "v1",
            "champion: the first; a later run no admissible candidate",
        ),
    ],
)
def test_a_line_says_what_is_served_and_what_became_of_later_runs(
    alias: str, kept: list[Record], failed: str, version: str, told: str, seeded_database: str
) -> None:
    with answering(served(alias)) as uri:
        settings = Settings(_env_file=None, DATABASE_URL=seeded_database, MLFLOW_TRACKING_URI=uri)
        for each in kept:
            assert decisions.write(settings, each)
        lines = {line.model: line for line in summary.summary(settings, {"education": failed} if failed else None)}
    line = lines.pop("education")
    assert (line.version, line.decision, line.served) == (version, told, bool(alias))
    if failed:
        assert line.reason == failed
    assert {other.decision for other in lines.values()} == {"not trained yet"}


def test_without_a_score_or_a_database_a_line_still_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    away = "postgresql://nobody:nothing@127.0.0.1:9/none"
    with answering(served("2")) as uri:
        lines = summary.summary(Settings(_env_file=None, DATABASE_URL=away, MLFLOW_TRACKING_URI=uri))
    assert {line.decision for line in lines} == {"served", "not trained yet"}
    bare = [Line("education", "v2", served=True, decision="served", score=Headline("accuracy", None))]
    console = Console(width=30, highlight=False)
    monkeypatch.setattr(output, "console", console)
    monkeypatch.setattr(summary, "console", console)
    summary.show_summary(bare)
    narrow = capsys.readouterr().out.splitlines()
    assert narrow[0] == "education  served"
    assert narrow[1].startswith("  v2")
    assert "baseline" not in narrow[1]


def test_every_rule_of_the_gate_has_words() -> None:
    assert {*get_args(Rule)} <= {*summary._WORDS}


def test_a_reason_that_names_its_model_names_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary([Line("boats", reason="boats: none of 3 candidates is admissible."), Line("ships", reason="Too few.")])
    said = capsys.readouterr().out
    assert "\nboats: none of 3" in said
    assert "ships: Too few." in said
