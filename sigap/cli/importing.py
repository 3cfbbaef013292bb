"""`./run import`: a file into a model's table."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from sigap.cli.ingest import database
from sigap.cli.output import Steps, say, table
from sigap.cli.pipeline import prepare_tables
from sigap.cli.session import StopRequested, stop_on_signal
from sigap.data.importing import Imported, find_table, import_file
from sigap.data.understanding import Options
from sigap.settings import Settings

_REASONS_SHOWN = 5
# Of the rows that were set aside, as many are told to a program; the file has all of them.
_ROWS_TOLD = 1000


def run_import(settings: Settings, name: str, path: Path, options: Options) -> None:
    """Import and say what was done; uses the PostgreSQL that runs, else starts it for this word."""
    find_table(name)
    try:
        with stop_on_signal(), database(settings):
            prepare_tables(settings)
            done = _with_steps(settings, name, path, options)
    except StopRequested:
        say("Stopped; nothing was changed.")
        raise typer.Exit(130) from None
    show(done)


def import_told(settings: Settings, name: str, path: Path, options: Options, asked_by: str) -> dict[str, Any]:
    """Import, and tell a program what was done.

    Returns:
        The counts of `Imported`, its columns and notes, `reasons` with how many rows each had set aside, and `refused`
        with the first of those rows.
    """
    find_table(name)
    with stop_on_signal(), database(settings):
        prepare_tables(settings)
        done = import_file(settings, name, path, options, asked_by=asked_by)
    counts = {
        each: getattr(done, each)
        for each in (
            "rows",
            "inserted",
            "changed",
            "unchanged",
            "doubles",
            "rejected",
            "mock_removed",
            "mock_said",
            "dry_run",
        )
    }
    told = {each: getattr(done, each) for each in ("table", "model", "file", "kind", "missing", "unused", "notes")}
    return {**told, **counts, "headings": dict(done.headings), **_refused(done.rejects_path)}


def _refused(rejects: Path | None) -> dict[str, Any]:
    if rejects is None:
        return {"reasons": [], "refused": []}
    with rejects.open(encoding="utf-8", newline="") as file:
        counts = Counter((line["field"], line["expected"]) for line in csv.DictReader(file))
    with rejects.open(encoding="utf-8", newline="") as file:
        rows = [
            {"row": int(line["row"]), **{each: line[each] for each in ("key", "field", "found", "expected")}}
            for line in islice(csv.DictReader(file), _ROWS_TOLD)
        ]
    reasons = [{"field": field, "expected": expected, "rows": rows} for (field, expected), rows in counts.most_common()]
    return {"reasons": reasons[:_ROWS_TOLD], "refused": rows}


def pairs(given: list[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` words as a mapping.

    Raises:
        typer.BadParameter: A word has no `=`.
    """
    for word in given:
        if "=" not in word or word.startswith("="):
            raise typer.BadParameter(f"{option} takes NAME=VALUE, found {word!r}.")
    return {name: value for name, _, value in (word.partition("=") for word in given)}


def show(done: Imported) -> None:
    """What an import did, for people."""
    say()
    say(f"{done.file} ({done.kind}) → {done.table}", style="bold")
    lines = table("Column", "Heading in the file")
    for name, heading in done.headings.items():
        lines.add_row(name, heading)
    say(lines)
    if done.missing:
        names = ", ".join(done.missing)
        say(f"Not in the file: {names}. Rows that stand keep their values; new rows have none.", style="yellow")
    if done.unused:
        say(f"Not needed: {', '.join(done.unused)}", style="dim")
    for note in done.notes:
        say(f"Note: {note}.")
    counts = f"{done.rows:,} rows: {done.inserted:,} new, {done.changed:,} changed, {done.unchanged:,} unchanged"
    if done.doubles:
        counts += f", {done.doubles:,} repeated in the file"
    say(f"{counts}, {done.rejected:,} set aside.", style="bold")
    if done.mock_said:
        say(
            f"{done.mock_said:,} rows say that they are mock (column origin). Brought in, they count as imported rows "
            "of yours and are called mock nowhere any more.",
            style="yellow",
        )
    if done.mock_removed:
        say(f"{done.mock_removed:,} mock rows give way.")
    if done.rejects_path:
        for reason in _reasons(done.rejects_path):
            say(f"  {reason}", style="yellow")
        say(f"Each of them, with its reason: {done.rejects_path}", style="yellow")
    if done.dry_run:
        say("This was a dry run; nothing was changed.", style="yellow")
    elif done.inserted or done.changed:
        say(f"`./run pipeline {done.model}` trains on it. Sigap, where it runs, begins by itself within a minute.")


def _reasons(rejects: Path) -> list[str]:
    """Why rows were set aside, the commonest reasons first."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    with rejects.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            reason = line["field"] or "row", line["expected"]
            counts[reason] += 1
            examples.setdefault(reason, f"found {line['found']} in row {line['row']}")
    lines = [
        f"{count:,} × {reason[0]}: expected {reason[1]}; {examples[reason]}"
        for reason, count in counts.most_common(_REASONS_SHOWN)
    ]
    return lines if len(counts) <= _REASONS_SHOWN else [*lines, f"and {len(counts) - _REASONS_SHOWN:,} other reasons"]


def _with_steps(settings: Settings, name: str, path: Path, options: Options) -> Imported:
    running: list[str] = []
    with Steps(f"Import {path.name}") as steps:

        def tell(what: str, detail: str) -> None:
            if running and running[-1] != what:
                steps.finish(running[-1])
            if not running or running[-1] != what:
                running.append(what)
                steps.begin(what, "running")
            steps.note(what, detail)

        try:
            done = import_file(settings, name, path, options, progress=tell)
        except BaseException:
            if running:
                steps.finish(running[-1], "failed", ok=False)
            raise
        steps.finish(running[-1])
    return done
