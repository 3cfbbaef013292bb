"""The words of `./run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigap.cli.output import clean_exit
from sigap.settings import Settings, get_settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a PostgreSQL table to a served, versioned champion, and back again.\n\n"
    "Without a word, `./run` installs what is missing, starts PostgreSQL, MLflow, Mage, the API and the dashboard, "
    "trains every model that has no champion yet, prints the addresses, and stays until Ctrl-C.\n\n"
    "All state lies in `.sigap/`. Every setting is an environment variable or a line in `.env`: see "
    "`./run settings`.",
    epilog="Examples: `./run` · `SIGAP_API_PORT=8080 ./run` · `./run pipeline education --version v_2025_Q1` · "
    "`./run data rollback education v1` · `./run test tests/services -x`",
)
data = typer.Typer(no_args_is_help=True, help="Versions of a model's data, kept by DVC and Git.")
model = typer.Typer(no_args_is_help=True, help="Versions of a model in the registry, and which one is served.")
app.add_typer(data, name="data", rich_help_panel="Going back")
app.add_typer(model, name="model", rich_help_panel="Going back")

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model in the catalogue: `education`.")]


def running_settings() -> Settings:
    """The settings, with the ports of what runs from this folder: words of another shell need not repeat them."""
    from sigap.services.supervisor import as_running

    return as_running(get_settings())


def version_number(text: str) -> int:
    """The number of a model version written as `v3` or `3`.

    Raises:
        typer.BadParameter: It is neither.
    """
    digits = str(text).removeprefix("v")
    if not digits.isdecimal():
        raise typer.BadParameter(f"{text!r} is no version of a model: expected one such as v3.")
    return int(digits)


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """Start everything, when no word is given."""
    if context.invoked_subcommand is None:
        up()


@app.command(rich_help_panel="Running")
def up() -> None:
    """Start everything and stay until Ctrl-C (the same as no word)."""
    from sigap.cli.up import up as bring_up

    raise typer.Exit(bring_up(get_settings()))


@app.command(rich_help_panel="Running")
def status() -> None:
    """Show what runs: each service, whether it answers, its memory and address. Exit code 1 unless all answer."""
    from sigap.cli.status import status as show

    raise typer.Exit(show(running_settings()))


@app.command(rich_help_panel="Running")
def stop() -> None:
    """Stop what `./run` started in another shell, and what a killed one left; nothing else."""
    from sigap.cli.status import stop as end

    raise typer.Exit(end(running_settings()))


@app.command(rich_help_panel="Running")
def logs(
    service: Annotated[
        str, typer.Argument(help="`postgres`, `mlflow`, `api`, `dashboard` or `mage`; all if left out.")
    ] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 30,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines until Ctrl-C.")] = False,
) -> None:
    """Show the services' logs (`.sigap/logs/`)."""
    from sigap.cli.inspect import show_logs

    show_logs(running_settings(), service, lines, follow=follow)


@app.command(rich_help_panel="Running")
def settings() -> None:
    """List every setting: its variable, its value now, and what it does. Secrets are not shown."""
    from sigap.cli.inspect import show_settings

    show_settings(get_settings())


@app.command(rich_help_panel="Running")
def credentials() -> None:
    """Show the generated sign-in of Mage's page and the password of the embedded PostgreSQL."""
    from sigap.cli.inspect import show_credentials

    show_credentials(running_settings())


@app.command(rich_help_panel="Training")
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


@app.command(rich_help_panel="Training")
def train(name: ModelName) -> None:
    """Train on the checked-out snapshot and write `reports/`, without any service: what `dvc repro` calls."""
    from sigap.catalog import declaration
    from sigap.cli.output import say
    from sigap.training.report import train_and_report

    declaration(name)

    def show(done: int, total: int, what: str) -> None:
        say(f"  {done}/{total}  {what}")

    say(f"Written: {train_and_report(name, get_settings(), show)}")


@data.command("versions")
def data_versions(name: ModelName) -> None:
    """List the data versions, newest first; the one that is checked out is marked."""
    from sigap.cli.versions import list_data

    list_data(running_settings(), name)


@data.command("rollback")
def data_rollback(
    name: ModelName,
    version: Annotated[str, typer.Argument(help="Name of the data version: `v1`. `./run data versions` lists them.")],
) -> None:
    """Bring an earlier data version back as the checked-out snapshot, with its checksum checked.

    `./run pipeline MODEL --data VERSION` then trains and serves from it.
    """
    from sigap.cli.versions import rollback_data

    rollback_data(running_settings(), name, version)


@model.command("versions")
def model_versions(name: ModelName) -> None:
    """List the registered versions, newest first, and where the aliases stand."""
    from sigap.cli.versions import list_models

    list_models(running_settings(), name)


@model.command("rollback")
def model_rollback(
    name: ModelName,
    to: Annotated[
        int | None,
        typer.Option("--to", parser=version_number, metavar="VERSION", help="By default the one served before."),
    ] = None,
) -> None:
    """Serve an earlier version again; the API follows within seconds."""
    from sigap.cli.versions import rollback_model

    rollback_model(running_settings(), name, to)


@model.command("promote")
def model_promote(
    name: ModelName,
    number: Annotated[
        int, typer.Argument(parser=version_number, metavar="VERSION", help="`v3`; `./run model versions` lists them.")
    ],
) -> None:
    """Serve a version by hand, past the gate."""
    from sigap.cli.versions import promote_model

    promote_model(running_settings(), name, number)


@app.command(
    rich_help_panel="Checking",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def test(context: typer.Context) -> None:
    """Run the tests; whatever follows goes to pytest (`./run test tests/services -x`).

    Needs Chromium for the browser tests: installed by apt where we are root, otherwise those tests are skipped.
    """
    from sigap.cli.testing import run_tests

    run_tests(get_settings(), context.args)


@app.command(
    rich_help_panel="Checking",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def bench(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Which; all are listed if left out.")] = ""
) -> None:
    """Measure what the README states; whatever follows the name goes to the benchmark."""
    from sigap.cli.testing import run_benchmark

    run_benchmark(running_settings(), name, context.args)


def main() -> None:
    """Entry point of `python -m sigap`."""
    with clean_exit(_crash_log):
        app(prog_name="./run")


def _crash_log() -> Path:
    return get_settings().state / "logs" / "cli.log"
