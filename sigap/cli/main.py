"""The words of `./run`."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sigap.cli.output import clean_exit, tell_program
from sigap.errors import SigapError
from sigap.logs import set_up
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
key = typer.Typer(no_args_is_help=True, help="API keys: who may ask the API for a token, and for what.")
app.add_typer(data, name="data", rich_help_panel="Going back")
app.add_typer(model, name="model", rich_help_panel="Going back")
app.add_typer(key, name="key", rich_help_panel="Running")
drift = typer.Typer(no_args_is_help=True, help="Whether champions still meet what they were trained on.")
app.add_typer(drift, name="drift", rich_help_panel="Checking")
dask = typer.Typer(no_args_is_help=True, help="A Dask cluster to try out: sweeps and scoring on many processes.")
app.add_typer(dask, name="dask", rich_help_panel="Running")

analyst = typer.Typer(no_args_is_help=True, help="Logins for BI tools, which read the views of `analytics` only.")
app.add_typer(analyst, name="analyst", rich_help_panel="Running")

AsJson = Annotated[bool, typer.Option("--json", help="Tell a program: the last line is JSON, an error too.")]
AskedBy = Annotated[str, typer.Option("--asked-by", help="Who wants it, as it is written down; by default you.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model, such as `education`.")]


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
def prepare() -> None:
    """Bring the tables up to date, load the seed figures, make the secrets that are missing; then end.

    `./run` does so itself. It is for where something else starts the services, such as Docker.
    """
    from sigap.cli.deployment import prepare as make_ready

    make_ready(get_settings())


@app.command("first-training", rich_help_panel="Training")
def first_training() -> None:
    """Run the pipelines of the models that have no champion yet, in the Mage that runs; then end.

    `./run` does so itself. It is for where something else starts the services, such as Docker. Exit code 1 when a
    pipeline ended without a decision.
    """
    from sigap.cli.deployment import first_training as train_first

    raise typer.Exit(train_first(running_settings()))


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


@app.command(rich_help_panel="Data")
def score(
    name: ModelName,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Folder of parquet partitions, `*.parquet`.")],
    folder: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for as many; new, or of the same run.")],
    number: Annotated[
        int | None,
        typer.Option("--version", parser=version_number, metavar="VERSION", help="`v3`; by default the one served."),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=256, help="That share the work where no Dask cluster is set.")
    ] = max(1, os.cpu_count() or 1),
) -> None:
    """Score a data set of many parquet files with the served model: one output partition an input partition.

    Each row stays in its place and gets the answer, or the status `refused` and the reason. A partition is written
    whole or not at all; the same command again goes on where a killed one was. `_sigap/manifest.json` in the output
    says which model answered, and counts rows and reasons. With `SIGAP_DASK_ADDRESS` the partitions go to the workers
    of that cluster, which need both folders under the same paths.

    Exit code 1 when a partition could not be scored.
    """
    from sigap.cli.scale import score as begin

    begin(running_settings(), name, source, folder, number, processes)


@dask.command("scheduler")
def dask_scheduler(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8786,
) -> None:
    """Run Dask's scheduler until Ctrl-C; it prints the address for `SIGAP_DASK_ADDRESS`.

    Whoever reaches its port can run code as you: keep it on this machine, or use TLS (docs/scale-out.md).
    """
    from sigap.cli.scale import scheduler

    scheduler(get_settings(), host, port)


@dask.command("worker")
def dask_worker(
    address: Annotated[
        str,
        typer.Argument(metavar="[ADDRESS]", help="Of the scheduler; by default SIGAP_DASK_ADDRESS, or this machine."),
    ] = "",
    count: Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes, of one thread each.")] = max(
        1, os.cpu_count() or 1
    ),
    host: Annotated[str, typer.Option("--host", help="This machine's address, as the others reach it.")] = "127.0.0.1",
    memory: Annotated[
        str, typer.Option("--memory-limit", help="Of each process, `4GB`; one that needs more is started anew.")
    ] = "auto",
) -> None:
    """Run Dask workers until Ctrl-C, with this checkout and this environment.

    All workers need the same code and lock as the process that asks; others are refused.
    """
    from sigap.cli.scale import SCHEDULER_PORT, worker

    settings = get_settings()
    worker(settings, address or settings.dask_address or f"tcp://127.0.0.1:{SCHEDULER_PORT}", host, count, memory)


@app.command(rich_help_panel="Data")
def ingest(
    product: Annotated[str, typer.Option("--product", help="As the exchange names it.")] = "BTC-USD",
    step: Annotated[
        str, typer.Option("--step", help="`1m`, `1h` or `1d`; the model `bitcoin_price` uses `1d`.")
    ] = "1d",
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            formats=["%Y-%m-%d"],
            help="Ask for candles from this day on; by default whatever is missing since the oldest one stored.",
        ),
    ] = None,
    mock: Annotated[
        bool, typer.Option("--mock", help="Ask a mock exchange on this machine: needs no internet, and is made up.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Fill what is missing and end, without the live feed.")] = False,
) -> None:
    """Take candles from the exchange: what is missing over REST, then live from its feed until Ctrl-C.

    Real candles take the place of mock ones; mock ones never stand beside real ones.
    """
    from sigap.cli.ingest import Wish
    from sigap.cli.ingest import ingest as take

    if step not in ("1m", "1h", "1d"):
        raise typer.BadParameter(f"{step!r} is none of 1m, 1h, 1d.", param_hint="--step")
    since = since.replace(tzinfo=UTC) if since else None
    raise typer.Exit(take(running_settings(), Wish(product, step, since, mock, once)))


@app.command("import", rich_help_panel="Data")
def import_(
    table: Annotated[str, typer.Argument(help="The table, such as `cars`, or its model.")],
    file: Annotated[Path, typer.Argument(help="CSV of any usual delimiter and encoding, XLSX, XLS or Parquet.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", metavar="NAME=HEADING", help="Which heading is this column.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One value of this column for all rows.")
    ] = None,
    units: Annotated[
        list[str] | None, typer.Option("--unit", metavar="NAME=FACTOR", help="Multiply this column's numbers.")
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option("--trust", metavar="NAME", help="Take this column's numbers although they look wrong."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take headings that look like a column's name for it.")
    ] = False,
    number_rows: Annotated[
        bool, typer.Option("--number-rows", help="Number the rows where the file has no key.")
    ] = False,
    sheet: Annotated[str, typer.Option("--sheet", help="Which sheet of a workbook; by default the first.")] = "",
    asked_by: AskedBy = "",
    as_json: AsJson = False,
) -> None:
    """Import a file into a model's table: checked row by row, in one transaction, as often as you like.

    Rows go in by their key; the same file again changes nothing. A column that the file lacks stays as it is, and an
    empty cell never wipes a value. Mock rows give way to the first real ones. Rows that can't be true are set aside,
    each with its reason, in `.sigap/rejects/import/`.

    Examples: `./run import cars CarPrice_Assignment.csv --dry-run` · `./run import education_data figures.csv
    --set tahun=2025`
    """
    from sigap.cli.importing import import_told, pairs, run_import
    from sigap.data.understanding import Options

    options = Options(
        mapping=pairs(mapping or [], "--map"),
        values=pairs(values or [], "--set"),
        units=pairs(units or [], "--unit"),
        trusted=tuple(trust or ()),
        accept_near=accept,
        number_rows=number_rows,
        sheet=sheet,
        dry_run=dry_run,
    )
    if as_json:
        tell_program(lambda: import_told(running_settings(), table, file, options, asked_by))
    else:
        run_import(running_settings(), table, file, options)


@data.command("versions")
def data_versions(name: ModelName, as_json: AsJson = False) -> None:
    """List the data versions, newest first; the one that is checked out is marked."""
    from sigap.cli.versions import data_told, list_data

    if as_json:
        tell_program(lambda: data_told(running_settings(), name))
    else:
        list_data(running_settings(), name)


@data.command("rollback")
def data_rollback(
    name: ModelName,
    version: Annotated[str, typer.Argument(help="Name of the data version: `v1`. `./run data versions` lists them.")],
    asked_by: AskedBy = "",
    as_json: AsJson = False,
) -> None:
    """Bring an earlier data version back as the checked-out snapshot, with its checksum checked.

    `./run pipeline MODEL --data VERSION` then trains and serves from it.
    """
    from sigap.cli.versions import rollback_data, rollback_told

    if as_json:
        tell_program(lambda: rollback_told(running_settings(), name, version, asked_by))
    else:
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
        typer.Argument(parser=version_number, metavar="[VERSION]", help="By default the one served before."),
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


@model.command("approve")
def model_approve(
    name: ModelName,
    number: Annotated[
        int, typer.Argument(parser=version_number, metavar="VERSION", help="The version that waits: `v3`.")
    ],
) -> None:
    """Serve a version that passed the gate and waits for a person (`SIGAP_PROMOTION=manual`, or as declared)."""
    from sigap.cli.versions import approve_model

    approve_model(running_settings(), name, number)


@model.command("decisions")
def model_decisions(
    name: ModelName, lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the newest.")] = 20
) -> None:
    """List what the gate and persons decided, with numbers and reasons, newest first."""
    from sigap.cli.versions import list_decisions

    list_decisions(running_settings(), name, lines)


@model.command("card")
def model_card(
    name: ModelName,
    number: Annotated[
        int | None, typer.Argument(parser=version_number, metavar="[VERSION]", help="By default the one served.")
    ] = None,
) -> None:
    """Print the model card: purpose, data, score beside its baseline, limits, left-out features."""
    from sigap.cli.versions import show_card

    show_card(running_settings(), name, number)


@model.command("replay")
def model_replay(
    name: ModelName,
    number: Annotated[
        int, typer.Argument(parser=version_number, metavar="VERSION", help="`v3`; `./run model versions` lists them.")
    ],
) -> None:
    """Show what a version would have answered to the stored inputs of the last days, beside the served one."""
    from sigap.cli.performance import replay

    replay(running_settings(), name, number)


@app.command("live-score", rich_help_panel="Checking")
def live_score(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model with a target, or `all`.")],
) -> None:
    """Score served models by what became of their predictions, beside what they promised; raises the alarm.

    Exit code 1 when a score could not be computed, which counts as worse.
    """
    from sigap.cli.performance import live_score as score

    raise typer.Exit(score(running_settings(), name))


@key.command("create")
def key_create(
    name: Annotated[str, typer.Argument(help="Whose it is: `dashboard`. Stands in logs and with every prediction.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="`predict` (the default), `admin`, which may change what is served, `alerts`; or more."
        ),
    ] = None,
) -> None:
    """Make an API key and print it, once: only its hash is kept. A running API knows it within a second."""
    from sigap.cli.keys import create_key

    create_key(get_settings(), name, scope or ["predict"])


@key.command("list")
def key_list() -> None:
    """List the API keys: names, scopes, and since when; never the keys."""
    from sigap.cli.keys import list_keys

    list_keys(get_settings())


@key.command("revoke")
def key_revoke(name: Annotated[str, typer.Argument(help="Name of the key.")]) -> None:
    """Revoke an API key; its tokens end with it, within a second."""
    from sigap.cli.keys import revoke_key

    revoke_key(get_settings(), name)


@analyst.command("create")
def analyst_create(
    name: Annotated[str, typer.Argument(help="Of the login: `superset`.")],
    seconds: Annotated[
        int, typer.Option("--statement-timeout", min=1, max=3600, help="Longest that one query may take, in seconds.")
    ] = 60,
) -> None:
    """Make a PostgreSQL login that reads the views of `analytics` and nothing else; prints its password, once."""
    from sigap.cli.analysts import create_analyst

    create_analyst(running_settings(), name, seconds)


@analyst.command("list")
def analyst_list() -> None:
    """List these logins and their limits; never passwords."""
    from sigap.cli.analysts import list_analysts

    list_analysts(running_settings())


@analyst.command("drop")
def analyst_drop(name: Annotated[str, typer.Argument(help="Name of the login.")]) -> None:
    """Drop such a login and end its sessions."""
    from sigap.cli.analysts import drop

    drop(running_settings(), name)


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


@app.command("simulate-drift", rich_help_panel="Checking")
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
    if as_json:
        tell_program(
            lambda: simulate_told(
                running_settings(),
                name,
                into,
                feature=feature,
                by=shift,
                rows=rows,
                undo=undo,
                key=key,
                yes=yes,
                asked_by=asked_by,
            )
        )
    else:
        simulate(
            running_settings(),
            name,
            into,
            feature=feature,
            by=shift,
            rows=rows,
            undo=undo,
            key=key,
            yes=yes,
            asked_by=asked_by,
        )


@app.command("new-model", rich_help_panel="Training")
def new_model(
    name: Annotated[str, typer.Argument(help="Of the new model: `boats`.")],
    table: Annotated[str, typer.Option("--table", help="Table to learn from; by default the one of that name.")] = "",
    target: Annotated[
        str,
        typer.Option("--target", help="Column to answer: a number, or one of two values. Without, rows are grouped."),
    ] = "",
) -> None:
    """Write the two files of a new model: its declaration, filled in from the table, and its pipeline."""
    from sigap.cli.new_model import show_new_model

    show_new_model(running_settings(), name, table, target)


@app.command(rich_help_panel="Going back")
def lineage(
    name: ModelName,
    number: Annotated[
        int | None,
        typer.Argument(parser=version_number, metavar="[VERSION]", help="Of the model; by default the one served."),
    ] = None,
    data_version: Annotated[
        str, typer.Option("--data", help="Instead: every run and model version that saw this data version.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show where a model version comes from, down to the query, or what came of a data version.

    An answer of the API names its `model_version`: from there this goes on.
    """
    from sigap.cli.lineage import show_lineage

    show_lineage(running_settings(), name, number, data_version, as_json=as_json)


@app.command(rich_help_panel="Going back")
def backup(
    target: Annotated[
        str, typer.Argument(metavar="[FOLDER|s3://…]", help="Where to; by default SIGAP_BACKUP_URL, `backups/` here.")
    ] = "",
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Take in the state folder's secrets; keep such a backup locked away.")
    ] = False,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Then delete all but the newest so many there; 0 deletes none.")
    ] = 0,
    show: Annotated[bool, typer.Option("--list", help="List the backups that are there, and make none.")] = False,
) -> None:
    """Back up everything that Git does not hold, while the system runs; `./run restore` brings it back.

    In it: PostgreSQL (tables, prediction log, decisions), MLflow (runs, versions, artefacts), Mage (runs, schedules),
    the data versions' content, tags and pointers, API keys' hashes, rejected rows. Databases, aliases and tags are of
    one moment; what they refer to is copied after it. Artefacts and data that are in an object store stay there.

    A backup is a folder `sigap-TIME` with a manifest. It gets its name when all of it was written and read again, so
    one that was broken off never looks whole.

    Examples: `./run backup` · `./run backup /mnt/disk --keep 7` · `./run backup s3://bucket/sigap --with-secrets` ·
    `./run backup --list`
    """
    from sigap.cli.backup import list_backups, run_backup

    settings = running_settings()
    where = _place(target) or settings.backups
    if show:
        list_backups(settings, where)
    else:
        run_backup(settings, where, with_secrets=with_secrets, keep=keep)


@app.command(rich_help_panel="Going back")
def restore(
    backup: Annotated[
        str, typer.Argument(help="A name of `./run backup --list`, a backup's folder, s3://bucket/…/NAME, or `latest`.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Where this system is not empty: replace what is there. Asks once.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="PART",
            help="Leave as it is: `postgres`, `mlflow`, `artifacts`, `mage`, `data`, `git`, `state` or `secrets`.",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check every file of the backup, and change nothing.")] = False,
) -> None:
    """Bring a system to what a backup holds: same champions, same answers, same data versions.

    Sigap has to be stopped. Every file's hash, the formats and the room on the disk are checked before anything is
    touched. All is prepared beside its place and exchanged at the end; what was there is deleted when all is well.
    Killed in the middle, the same words once more finish it.

    Data versions' tags that are newer than the backup stay, and so does their content.

    Examples: `./run restore latest` · `./run restore sigap-20250131T020000Z --replace` ·
    `./run restore s3://bucket/sigap/sigap-20250131T020000Z` · `./run restore latest --check`
    """
    from sigap.cli.backup import run_restore

    wanted = backup if "/" not in backup else _place(backup)
    run_restore(running_settings(), wanted, replace=replace, yes=yes, skip=tuple(skip or ()), check=check)


def _place(text: str) -> str:
    """A folder as an absolute path; a URL as it is."""
    return text if not text or "://" in text else str(Path(text).absolute())


@app.command(
    rich_help_panel="Checking",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def test(context: typer.Context) -> None:
    """Run the tests; whatever follows goes to pytest (`./run test tests/services -x`).

    With `--coverage` it also counts which lines and branches ran, and fails where less than 85 % of either did.

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


@app.command(rich_help_panel="Checking")
def docs(
    build: Annotated[
        bool, typer.Option("--build", help="Write the pages into `.sigap/site` instead; a dead link is a failure.")
    ] = False,
) -> None:
    """Show the documentation on 127.0.0.1 until Ctrl-C, with the reference made from this tree's code."""
    from sigap.cli.docs import build_docs, serve_docs

    (build_docs if build else serve_docs)(get_settings())


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
