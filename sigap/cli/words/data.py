"""Words for tables, files and data versions."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sigap.cli.output import tell_program
from sigap.cli.running import running_settings
from sigap.cli.words.arguments import AsJson, AskedBy, ModelName, version_number

data = typer.Typer(no_args_is_help=True, help="Versions of a model's data, kept by DVC and Git.")


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
