"""Running a model's pipeline through Mage, with its blocks shown as they go."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sigap.cli.output import Steps, say
from sigap.cli.session import StopRequested, stop_on_signal, supervised
from sigap.data.versions import DataVersions
from sigap.decisions import person
from sigap.errors import ServiceError
from sigap.services.service import check_ports, recorded
from sigap.services.stack import TRAINING, services
from sigap.services.supervisor import supervisor_record
from sigap.settings import Settings

# Mage runs the block that is fanned out once more, in no time, beside the runs of its items.
_FANNED_OUT = "fit_candidate"
_ENDED = {"completed": ("done", True), "failed": ("failed", False), "cancelled": ("cancelled", False)}


def run_model(
    settings: Settings, model: str, variables: dict[str, Any] | None = None, steps: Steps | None = None
) -> dict[str, Any]:
    """Run the pipeline in the Mage that is running.

    Args:
        settings: Where Mage is.
        model: Name of a declaration.
        variables: `version` for the new snapshot's name, or `data_version` to train on an old one.
        steps: Where blocks are shown beside those of other pipelines; by default a list of their own.

    Returns:
        What the pipeline's last block decided.

    Raises:
        PipelineError: A block failed or the run stuck.
    """
    from sigap.registry.owner import this_process
    from sigap.services.mage_client import run_pipeline

    wanted = {**(variables or {}), "owner": this_process()}
    if steps is None:
        with Steps(f"Pipeline {model}, in Mage") as own:
            return run_pipeline(settings, model, wanted, _shown_in(own, ""))
    return run_pipeline(settings, model, wanted, _shown_in(steps, f"{model}: "))


def _shown_in(steps: Steps, prefix: str) -> Callable[[dict[str, Any]], None]:
    def show(event: dict[str, Any]) -> None:
        if event["event"] == "retry":
            say(f"  {prefix}Mage lost the run and it is started once more: {event['reason']}", style="yellow")
        elif event["event"] == "block" and event["block"] != _FANNED_OUT:
            name = prefix + str(event["block"]).replace(":", " ")
            if event["status"] == "running":
                steps.begin(name, "running")
            elif event["status"] in _ENDED:
                state, ok = _ENDED[event["status"]]
                steps.finish(name, state, ok=ok)

    return show


def describe(result: dict[str, Any]) -> str:
    """A pipeline's decision in one line."""
    model, version, data = (str(result.get(name) or "") for name in ("model", "model_version", "data_version"))
    reason = result.get("reason") or ""
    if not version:
        return f"{model} got no new version from data {data}. {reason}".strip()
    verb = "is the champion now" if result.get("promoted") else "was not promoted"
    return f"{model} {version} on data {data} {verb}. {reason}".strip()


def set_aside(root: Path, rows: int, path: str) -> str:
    """How many rows broke the contract, the first of them, and where to read about the others.

    Args:
        root: The checkout.
        rows: Their number.
        path: The file of rejects, relative to the checkout.
    """
    counted = "1 row breaks" if rows == 1 else f"{rows} rows break"
    try:
        with (root / path).open(newline="", encoding="utf-8") as file:
            *key, field, found, expected = list(csv.reader(file))[1]
    except (OSError, IndexError, ValueError):
        return f"{counted} the contract and was not trained on." if rows == 1 else f"{counted} the contract."
    return (
        f"{counted} the contract and stood aside. The first: {', '.join(key)}: {field} is {found}, "
        f"expected {expected}. All: {path}."
    )


def show_result(settings: Settings, result: dict[str, Any], variables: dict[str, Any]) -> None:
    """Say what a pipeline decided, and why a data version that was asked for was not made."""
    say(describe(result))
    if result.get("rejected"):
        say(set_aside(settings.root, result["rejected"], result.get("rejects_path", "")), style="yellow")
    asked, data_version = variables.get("version"), result.get("data_version")
    if asked and data_version and asked != data_version:
        say(f"The data is the same as in {data_version}, so no data version {asked} was made.")


def prepare_tables(settings: Settings) -> dict[str, int]:
    """Bring the schema up to date and load the seed figures where they are missing.

    Returns:
        Rows that were loaded, by table.

    Raises:
        ServiceError: PostgreSQL can't be reached.
    """
    from sigap.data.postgres import migrate
    from sigap.data.seed import seed

    migrate(settings)
    return seed(settings)


def run_word(settings: Settings, model: str, variables: dict[str, Any]) -> int:
    """`./run pipeline`: uses the services that run, else starts what it needs and stops it afterwards.

    Returns:
        Exit code.

    Raises:
        VersionError: The data version can't be named so.
        ServiceError: A service can't be started, or is just starting.
    """
    # Before anything is started: Mage would find it out too, many seconds later.
    DataVersions(settings).check_name(model, variables.get("version"))
    asked = {**variables, "asked_by": person()}
    if settings.mage_url is not None:
        show_result(settings, run_model(settings, model, asked), variables)
        return 0
    if supervisor_record(settings.state) is not None:
        names = [str(record["name"]) for record in recorded(settings.state)]
        if "mage" not in names:
            raise ServiceError(
                "Sigap is just starting or stopping; Mage does not run.", remedy="Try again in some seconds."
            )
        show_result(settings, run_model(settings, model, asked), variables)
        return 0
    try:
        with stop_on_signal(), supervised(settings) as (supervisor, reporter):
            wanted = services(settings, TRAINING)
            check_ports(wanted)
            with Steps("Starting what the pipeline needs") as steps:
                reporter.steps = steps
                supervisor.start(wanted)
                supervisor.wait_ready(*(["postgres"] if settings.embedded_postgres else []))
                prepare_tables(settings)
                supervisor.wait_ready()
                reporter.steps = None
            show_result(settings, run_model(settings, model, asked), variables)
    except StopRequested:
        return 130
    return 0
