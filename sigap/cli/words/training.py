"""Words that train models, and the one that begins a new one."""

from __future__ import annotations

from typing import Annotated

import typer

from sigap.cli.running import running_settings
from sigap.cli.words.arguments import ModelName
from sigap.settings import get_settings


def first_training() -> None:
    """Run the pipelines of the models that have no champion yet, in the Mage that runs; then end.

    `./run` does so itself. It is for where something else starts the services, such as Docker. Exit code 1 when a
    pipeline ended without a decision.
    """
    from sigap.cli.deployment import first_training as train_first

    raise typer.Exit(train_first(running_settings()))


def pipeline(
    name: ModelName,
    version: Annotated[
        str | None, typer.Option("--version", help="Name for the new data version, such as `v_2025_Q1`.")
    ] = None,
    data_version: Annotated[
        str | None, typer.Option("--data", help="Train on this earlier data version instead of reading PostgreSQL.")
    ] = None,
) -> None:
    """Run a model's pipeline in Mage: snapshot, sweep, register, gate, promotion.

    Uses the services that run; without any, starts those it needs and stops them afterwards.
    """
    from sigap.catalog import declaration
    from sigap.cli.pipeline import run_word

    declaration(name)
    if version and data_version:
        raise typer.BadParameter("--version names new data and --data takes old: give one of them.")
    variables = {"version": version, "data_version": data_version}
    raise typer.Exit(run_word(running_settings(), name, {key: value for key, value in variables.items() if value}))


def train(name: ModelName) -> None:
    """Train on the checked-out snapshot and write `reports/`, without any service: what `dvc repro` calls."""
    from sigap.catalog import declaration
    from sigap.cli.output import say
    from sigap.training.report import train_and_report

    declaration(name)

    def show(done: int, total: int, what: str) -> None:
        say(f"  {done}/{total}  {what}")

    say(f"Written: {train_and_report(name, get_settings(), show)}")


def new_model(
    name: Annotated[str, typer.Argument(help="Of the new model: `boats`.")],
    table: Annotated[str, typer.Option("--table", help="Table to learn from; by default the one of that name.")] = "",
    target: Annotated[
        str,
        typer.Option("--target", help="Column to answer: a number, or one of two values. Without, rows are grouped."),
    ] = "",
) -> None:
    """Write the three files of a new model: its declaration, filled in from the table, pipeline and triggers."""
    from sigap.cli.new_model import show_new_model

    show_new_model(running_settings(), name, table, target)
