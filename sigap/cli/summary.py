"""A line a model: rows, version, score beside its baseline, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from rich.table import Table
from rich.text import Text

from sigap.catalog import declarations, unusable
from sigap.cli.output import console, say, table
from sigap.errors import ServiceError
from sigap.model_card import Headline
from sigap.settings import Settings

_WORDS = {
    "first": "champion: the first",
    "new_data": "champion: not worse, new data",
    "better": "champion: better",
    "not_comparable": "champion: the former one can't be applied",
    "approved": "champion: approved by a person",
    "by_hand": "champion: put there by hand",
    "rollback": "champion: brought back",
    "waiting": "waits for approval",
    "inadmissible": "no admissible candidate",
    "worse": "refused: worse than the champion",
    "not_better": "refused: not better",
    "unanswered": "refused: answers fewer stored inputs",
    "superseded": "refused: a later run promoted",
    "withdrawn": "refused: a person withdrew it",
    "equal": "unchanged",
}

# Wider than any table.
_UNBROKEN = 1_000


@dataclass(frozen=True)
class Line:
    """What is known of a model.

    Attributes:
        model: Its name.
        version: The served version, or the one that waits; empty if none.
        data_version: What it was trained on.
        rows: Rows of that snapshot.
        mock: Whether they, or some of them, are made up.
        score: Its score and its baseline's; None where nothing was scored.
        decision: In a few words.
        reason: In a sentence, where a model has no champion.
        served: Whether it has one.
        rule: What decided last, of a model without a champion; empty if nothing did.
    """

    model: str
    version: str = ""
    data_version: str = ""
    rows: int | None = None
    mock: bool = False
    score: Headline | None = None
    decision: str = "not trained yet"
    reason: str = ""
    served: bool = False
    rule: str = ""


def summary(settings: Settings, failures: Mapping[str, str] | None = None) -> list[Line]:
    """A line a declared model, out of the decisions in PostgreSQL and the registry's aliases.

    Args:
        settings: Where both are.
        failures: Why a pipeline that was just run ended without a decision, by model.
    """
    from sigap.registry import decisions

    try:
        decided = decisions.newest(settings)
    except ServiceError:
        decided = {}
    lines = []
    for declaration in declarations():
        served = served_version(settings, declaration.name)
        rows = decided.get(declaration.name, [])
        failed = (failures or {}).get(declaration.name, "")
        lines.append(_line(declaration.name, served, rows, failed))
    for model, fault in unusable().items():
        lines.append(Line(model, decision="left out: its file can't be used", reason=str(fault)))
    return lines


def served_version(settings: Settings, model: str) -> str:
    """The version that the served alias stands on, such as `v3`; empty if there is none or MLflow is away."""
    try:
        answer = httpx.get(
            f"{settings.tracking_uri}/api/2.0/mlflow/registered-models/alias",
            params={"name": model, "alias": settings.served_alias},
            timeout=10,
        )
    except httpx.HTTPError:
        return ""
    return f"v{answer.json()['model_version']['version']}" if answer.status_code == httpx.codes.OK else ""


def show_summary(lines: list[Line]) -> None:
    """Print the lines, and under them why a model has no champion."""
    show_lines(lines)
    reasons = [line for line in lines if line.reason]
    if reasons:
        say()
    for line in reasons:
        # Some reasons begin with the name themselves.
        say(f"{line.model}: {line.reason.removeprefix(f'{line.model}: ')}", style="yellow")


def show_lines(lines: list[Line]) -> None:
    """Print the lines as a table, or below one another where a table would be broken over lines."""
    shown = summary_table(lines)
    if console.measure(shown, options=console.options.update_width(_UNBROKEN)).maximum <= console.width:
        say(shown)
        return
    for line in lines:
        say(Text.assemble((line.model, "bold"), "  ", line.decision))
        told = [line.version, f"data {_data(line)}" if line.data_version else ""]
        told.append("" if line.rows is None else f"{line.rows:,} rows")
        if line.score:
            baseline = line.score.baseline_text
            told += [line.score.text, f"baseline {baseline}" if baseline != "-" else ""]
        if any(told):
            say(f"  {' · '.join(filter(None, told))}")


def summary_table(lines: list[Line]) -> Table:
    """The lines as a table."""
    shown = table("Model", "Rows", "Version", "Data", "Score", "Baseline", "Decision")
    for line in lines:
        shown.add_row(
            line.model,
            "-" if line.rows is None else f"{line.rows:,}",
            line.version or "-",
            _data(line),
            line.score.text if line.score else "-",
            line.score.baseline_text if line.score else "-",
            line.decision,
        )
    return shown


def _data(line: Line) -> str:
    return f"{line.data_version or '-'}{' (mock)' if line.mock else ''}"


def _line(model: str, served: str, rows: list[Any], failed: str) -> Line:
    if served:
        row = next((row for row in rows if row.model_version == served), None)
        if row is None:
            return Line(model, served, decision="served", reason=failed, served=True)
        last = rows[0]
        # A later challenger that did not make it belongs to the line: the champion has been challenged.
        later = "" if last is row else f"; {last.model_version or 'a later run'} {_WORDS.get(last.rule, last.rule)}"
        return replace(_told(row, served, _WORDS.get(row.rule, row.rule) + later, failed), served=True)
    if failed:
        return Line(model, decision="no champion: its pipeline failed", reason=failed)
    if not rows:
        return Line(model)
    row = rows[0]
    words = _WORDS.get(row.rule, row.rule)
    decision = words if row.rule == "waiting" else f"no champion: {words}"
    return replace(_told(row, row.model_version, decision, str(row.reason)), rule=row.rule)


def _told(row: Any, version: str, decision: str, reason: str) -> Line:
    score = row.record.get("score")
    return Line(
        model=row.model,
        version=version,
        data_version=row.data_version,
        rows=row.record.get("rows"),
        mock=row.record.get("origin") == "mock",
        score=Headline(**score) if score else None,
        decision=decision,
        reason=reason,
    )
