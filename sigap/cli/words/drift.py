"""Words that ask whether champions still fit what they meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from sigap.cli.output import tell_program
from sigap.cli.running import running_settings
from sigap.cli.words.arguments import AsJson, AskedBy, ModelName

drift = typer.Typer(no_args_is_help=True, help="Whether champions still meet what they were trained on.")


def live_score(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model with a target, or `all`.")],
) -> None:
    """Score served models by what became of their predictions, beside what they promised; raises the alarm.

    Exit code 1 when a score could not be computed, which counts as worse.
    """
    from sigap.cli.performance import live_score as score

    raise typer.Exit(score(running_settings(), name))


@drift.command("check")
def drift_check(
    name: Annotated[str, typer.Argument(metavar="MODEL|all", help="Name of a model, or `all` that have a champion.")],
    subject: Annotated[
        str, typer.Option("--subject", help="`live` (inputs since the last window) or `table`; both if left out.")
    ] = "",
) -> None:
    """Check now, as the pipeline `monitoring` does every ten minutes, and keep what was found.

    Exit code 2 when an alarm stands. Each check is a window of its own: two drifted ones make an alarm
    (`drift` in `params.yaml`).
    """
    from sigap.cli.drift import check_now

    raise typer.Exit(check_now(running_settings(), name, subject))


@drift.command("show")
def drift_show(
    name: ModelName,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the newest checks.")] = 5,
) -> None:
    """Show the last checks of a model, and the last window feature by feature. Works without MLflow."""
    from sigap.cli.drift import show_checks

    show_checks(running_settings(), name, lines)


def simulate_drift(
    name: ModelName,
    feature: Annotated[
        str | None, typer.Option("--feature", help="The number to shift; all that the champion uses if left out.")
    ] = None,
    shift: Annotated[float, typer.Option("--shift", help="By so many standard deviations; may be negative.")] = 1.0,
    rows: Annotated[int, typer.Option("--rows", min=1, max=100_000, help="Requests to send, or rows to change.")] = 200,
    into: Annotated[str, typer.Option("--into", help="`live` inputs, or the `table`.")] = "live",
    undo: Annotated[bool, typer.Option("--undo", help="Take a shift of the table back.")] = False,
    key: Annotated[
        str, typer.Option("--key", help="API key, where predictions need a token; else SIGAP_DASHBOARD_KEY.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="In production too.")] = False,
    asked_by: AskedBy = "",
    as_json: AsJson = False,
) -> None:
    """Inject a stated shift, to see the alarm come: into live inputs, or into the table.

    `live` sends real requests, drawn from the champion's training snapshot and shifted, to the running API.
    `table` changes rows of the model's table in one transaction; `--undo` brings them back.

    Examples: `./run simulate-drift car_price` · `./run simulate-drift car_price --feature horsepower --shift 2` ·
    `./run simulate-drift education --into table`, then `--undo`
    """
    from sigap.cli.drift import simulate, simulate_told

    if into not in ("live", "table"):
        raise typer.BadParameter(f"{into!r} is neither live nor table.", param_hint="--into")

    def act(how: Callable[..., Any]) -> Any:
        which = {"feature": feature, "by": shift, "rows": rows, "undo": undo}
        return how(running_settings(), name, into, **which, key=key, yes=yes, asked_by=asked_by)

    if as_json:
        tell_program(lambda: act(simulate_told))
    else:
        act(simulate)
