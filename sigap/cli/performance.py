"""`./run live-score` and `./run model replay`: how served versions fare, and what a challenger would change."""

from __future__ import annotations

from typing import Any

from sigap.cli.output import say, show_error, table
from sigap.errors import SigapError
from sigap.settings import Settings

ALL = "all"


def live_score(settings: Settings, name: str) -> int:
    """Score one model, or all that have a target, by what became of their predictions.

    Returns:
        Exit code: 1 when a score could not be computed or written down.
    """
    from sigap.monitoring.live import scorable, score_live

    code = 0
    for model in scorable() if name == ALL else (name,):
        try:
            rows = score_live(settings, model)
        except SigapError as error:
            if name != ALL:
                raise
            show_error(error)
            code = 1
            continue
        _show(model, rows)
        code = max(code, int(any(row["detail"].get("failed") for row in rows)))
    return code


def _show(model: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        say(f"{model}: nothing is served, so nothing is scored.")
        return
    decisive = next(row for row in rows if row["decisive"])
    since, until = (str(decisive[name])[:10] for name in ("window_from", "window_to"))
    say(f"{model} {decisive['model_version']}, outcomes of {since} to {until}: {decisive['reason']}")
    if decisive["n"]:
        lines = table("Metric", "Live", "Interval (95 %)", "Outcomes", "Promised")
        for row in rows:
            ends = f"{_number(row['low'])} to {_number(row['high'])}" if row["low"] is not None else "-"
            spread = f" ± {_number(row['promised_sd'])}" if row["promised_sd"] else ""
            promised = f"{_number(row['promised'])}{spread}" if row["promised"] is not None else "-"
            mark = " *" if row["decisive"] else ""
            lines.add_row(f"{row['metric']}{mark}", _number(row["value"]), ends, str(row["n"]), promised)
        say(lines)
    if decisive["alarm"]:
        say("  Performance alarm: worse in two of the last three computations.", style="bold yellow")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def replay(settings: Settings, name: str, number: int) -> None:
    """What a version would have answered to the stored inputs of late, beside the served one."""
    from sigap.catalog import declaration
    from sigap.cli.versions import open_registry
    from sigap.errors import RegistryError
    from sigap.training import replay as replays

    registry = open_registry(settings, name)
    champion = registry.champion(name)
    if champion is None:
        raise RegistryError(f"No version of {name} is served that v{number} could be compared with.")
    challenger = registry.version(name, number)
    found = replays.replay(settings, declaration(name), registry.bundle(challenger), registry.bundle(champion))
    say(f"{name}: {challenger.name} beside {champion.name}, which is served. {found.text.en}")
    if not found.rows:
        return
    lines = table("", "Answered", "No answer", *(label for label in found.labels))
    for version, side in ((challenger.name, found.challenger), (champion.name, found.champion)):
        shares = [f"{side.labels.get(label, 0):,}" for label in found.labels]
        lines.add_row(version, f"{side.answered:,}", f"{side.unanswered:,}", *shares)
    say(lines)
