"""`./run drift …` and `./run simulate-drift`: checks made and shown, and shifts injected."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sigap.catalog import declaration, declarations
from sigap.cli.output import Steps, console, say, table
from sigap.cli.session import stop_on_signal
from sigap.errors import ConfigurationError
from sigap.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigap.monitoring.records import Check, Records, Subject
    from sigap.monitoring.simulate import Moved

ALARM = 2
"""Exit code of a check that finds an alarm; 1 is an error."""


def check_now(settings: Settings, name: str, subject: str) -> int:
    """Check the champion of a model, or of all.

    Returns:
        Exit code: 2 where an alarm stands.

    Raises:
        SigapError: There is no such model or subject, or PostgreSQL can't be reached.
    """
    names = [each.name for each in declarations()] if name == "all" else [declaration(name).name]
    from sigap.monitoring.checks import check
    from sigap.monitoring.records import SUBJECTS

    subjects: list[Subject] = [each for each in SUBJECTS if subject in ("", each)]
    if not subjects:
        raise ConfigurationError(f"There is no subject {subject!r} of drift.", remedy="It is `live` or `table`.")
    done: list[Check] = []
    with Steps("Checking for drift") as steps:
        for model in names:
            for each in subjects:
                step = f"{model} {each}"
                steps.begin(step, "comparing")
                made = check(model, each, settings=settings)
                if made is None:
                    steps.finish(step, "nothing", "no champion, or another check of it is under way")
                else:
                    done.append(made)
                    steps.finish(step, _state(made), made.reason, ok=not made.alarm)
    return ALARM if any(each.alarm for each in done) else 0


def show_checks(settings: Settings, name: str, lines: int) -> None:
    """The newest checks of a model, and its last window by feature."""
    declaration(name)
    from sigap.monitoring.records import SUBJECTS, records

    with records(settings) as kept:
        for subject in SUBJECTS:
            found = kept.newest(name, subject, lines)
            say(f"{name}, {'live inputs' if subject == 'live' else 'newest table'}", style="bold")
            if not found:
                say(f"Not checked yet; `./run drift check {name} --subject {subject}` does it now.\n")
                continue
            _show(kept, name, subject, found)


def _show(kept: Records, name: str, subject: Subject, found: Sequence[Check]) -> None:
    shown = table("When", "Version", "State", "Rows", "Drifted", "Why")
    for each in found:
        when = each.checked_at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if each.checked_at else "-"
        share = "-" if each.share is None else f"{each.share:.0%}"
        shown.add_row(when, each.model_version, _state(each), str(each.rows), share, each.reason)
    say(shown)
    window = next(iter(kept.newest(name, subject, computed=True)), None)
    if window is not None and (rows := kept.features(window)):
        by_feature = table("Feature", "Test", "Effect", "", "Adjusted p", "Drifted")
        for feature, test, effect, effect_name, p, drifted in rows:
            told = "-" if p is None else f"{p:.2g}"
            by_feature.add_row(feature, test, f"{effect:.3f}", effect_name, told, "yes" if drifted else "")
        say(by_feature)
    if window is not None and window.report:
        say(f"Report: {window.report} among the artefacts of run {window.run_id}.")
    say()


def _state(check: Check) -> str:
    if check.status == "failed":
        return "failed"
    if check.alarm:
        return "alarm"
    if check.status == "too_few":
        return "too few"
    return "drifted" if check.drifted else "steady"


def simulate(
    settings: Settings,
    name: str,
    into: str,
    *,
    feature: str | None,
    by: float,
    rows: int,
    undo: bool,
    key: str,
    yes: bool,
    asked_by: str = "",
) -> None:
    """Inject a shift, or take it back, and say what was done.

    Raises:
        ConfigurationError: This is production, and nobody said yes.
        SigapError: Whatever stands in the way.
    """
    declaration(name)
    _allowed(settings, yes=yes)
    if undo:
        from sigap.monitoring.shifted_table import undo_shift

        back = undo_shift(name, settings)
        say(f"{back.rows} rows of {back.table} are what they were.")
        if back.left:
            say(f"{back.left} were changed by somebody since, and left as they are.", style="yellow")
    elif into == "table":
        _into_table(settings, name, feature, by, rows, asked_by)
    else:
        _into_live(settings, name, feature, by, rows, key)


def simulate_told(
    settings: Settings,
    name: str,
    into: str,
    *,
    feature: str | None,
    by: float,
    rows: int,
    undo: bool,
    key: str,
    yes: bool,
    asked_by: str,
) -> dict[str, Any]:
    """Do what `simulate` does, and tell a program; raises as it does.

    Returns:
        `rows` is how many of the table are shifted or brought back, or how many requests were sent; `left` how many
        rows were not brought back, as somebody changed them since.
    """
    declaration(name)
    _allowed(settings, yes=yes)
    told = {"model": name, "into": "table" if undo else into, "undone": undo, "table": None, "answered": None}
    nothing = {"left": 0, "refusal": "", "moved": []}
    with stop_on_signal():
        if undo:
            from sigap.monitoring.shifted_table import undo_shift

            back = undo_shift(name, settings)
            return {**told, **nothing, "table": back.table, "rows": back.rows, "left": back.left}
        if into == "table":
            from sigap.monitoring.shifted_table import write_shift

            written = write_shift(name, settings, feature=feature, by=by, rows=rows, asked_by=asked_by)
            moved = [asdict(each) for each in written.moved]
            return {**told, **nothing, "table": written.table, "rows": written.rows, "moved": moved}
        from sigap.monitoring.simulate import send

        sent = send(name, settings, feature=feature, by=by, rows=rows, key=key)
    counts = {"rows": sent.requests, "answered": sent.answered, "refusal": sent.refusal}
    return {**told, **nothing, **counts, "moved": [asdict(each) for each in sent.moved]}


def _allowed(settings: Settings, *, yes: bool) -> None:
    if settings.environment == "production" and not yes:
        raise ConfigurationError(
            "This is production: a simulated shift would be answered, logged and acted upon like a real one.",
            remedy="Say --yes if that is what you want.",
        )


def _into_table(settings: Settings, name: str, feature: str | None, by: float, rows: int, asked_by: str) -> None:
    from sigap.monitoring.shifted_table import write_shift

    done = write_shift(name, settings, feature=feature, by=by, rows=rows, asked_by=asked_by)
    say(f"{done.rows} rows of {done.table} are shifted, in one transaction.")
    _tell(done.moved)
    say(f"Check it: ./run drift check {name} --subject table")
    say(f"Take it back: ./run simulate-drift {name} --undo")


def _into_live(settings: Settings, name: str, feature: str | None, by: float, rows: int, key: str) -> None:
    from sigap.monitoring.simulate import send

    columns = (TextColumn("Sending"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=rows)
        done = send(
            name,
            settings,
            feature=feature,
            by=by,
            rows=rows,
            key=key,
            progress=lambda sent, total: progress.update(task, completed=sent, total=total),
        )
    say(f"{done.requests} requests were sent to {settings.api_address}, {done.answered} of them were answered.")
    if done.refusal:
        say(f"The first refusal: {done.refusal}", style="yellow")
    _tell(done.moved)
    say(f"They are in the prediction log within a second. Check them: ./run drift check {name} --subject live")


def _tell(moved: Sequence[Moved]) -> None:
    shown = table("Feature", "Asked", "Got", "Clipped", "")
    for each in moved:
        note = "" if each.tested else "personal: hashed in the log, so not tested"
        shown.add_row(each.feature, f"{each.asked:+.2f} sd", f"{each.got:+.2f} sd", f"{each.clipped:.0%}", note)
    say(shown)
    say("Got is what is left of the shift once values are within their declared ranges.")
