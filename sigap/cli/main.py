"""`./run` itself: which words there are, under which heading of `./run --help`, in which order."""

from __future__ import annotations

import contextlib
from pathlib import Path

import typer

from sigap.cli.output import clean_exit
from sigap.cli.words import access, backup, dask, data, development, drift, models, services, training
from sigap.errors import SigapError
from sigap.logs import set_up
from sigap.settings import get_settings

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

_OTHERS = {"ignore_unknown_options": True, "allow_extra_args": True}


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """Start everything, when no word is given."""
    if context.invoked_subcommand is None:
        services.up()


app.command(rich_help_panel="Running")(services.up)
app.command(rich_help_panel="Running")(services.prepare)
app.command("first-training", rich_help_panel="Training")(training.first_training)
app.command(rich_help_panel="Running")(services.status)
app.command(rich_help_panel="Running")(services.stop)
app.command(rich_help_panel="Running")(services.logs)
app.command(rich_help_panel="Running")(services.settings)
app.command(rich_help_panel="Running")(services.credentials)
app.command(rich_help_panel="Training")(training.pipeline)
app.command(rich_help_panel="Training")(training.train)
app.command(rich_help_panel="Data")(data.score)
app.command(rich_help_panel="Data")(data.ingest)
app.command("import", rich_help_panel="Data")(data.import_)
app.command("live-score", rich_help_panel="Checking")(drift.live_score)
app.command("simulate-drift", rich_help_panel="Checking")(drift.simulate_drift)
app.command("new-model", rich_help_panel="Training")(training.new_model)
app.command(rich_help_panel="Going back")(models.lineage)
app.command(rich_help_panel="Going back")(backup.backup)
app.command(rich_help_panel="Going back")(backup.restore)
# What follows these two is for pytest, or for the benchmark. An `h` among pytest's short options asks for no help.
app.command(rich_help_panel="Checking", context_settings={**_OTHERS, "help_option_names": ["--help"]})(development.test)
app.command(rich_help_panel="Checking", context_settings={**_OTHERS, "allow_interspersed_args": False})(
    development.bench
)
app.command(rich_help_panel="Checking")(development.docs)

app.add_typer(data.data, name="data", rich_help_panel="Going back")
app.add_typer(models.model, name="model", rich_help_panel="Going back")
app.add_typer(access.key, name="key", rich_help_panel="Running")
app.add_typer(drift.drift, name="drift", rich_help_panel="Checking")
app.add_typer(dask.dask, name="dask", rich_help_panel="Running")
app.add_typer(access.analyst, name="analyst", rich_help_panel="Running")


def main() -> None:
    """Entry point of `python -m sigap`."""
    with clean_exit(_crash_log):
        _log_to_stderr()
        app(prog_name="./run")


def _log_to_stderr() -> None:
    # A setting that can't be used is told by the word that needs it; `--help` needs none.
    with contextlib.suppress(SigapError):
        set_up(get_settings().log_format, level="WARNING")


def _crash_log() -> Path:
    return get_settings().state / "logs" / "cli.log"
