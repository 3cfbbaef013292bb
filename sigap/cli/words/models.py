"""Words for registered models: which is served, why, and where it comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from sigap.cli.running import running_settings
from sigap.cli.words.arguments import ModelName, version_number

model = typer.Typer(no_args_is_help=True, help="Versions of a model in the registry, and which one is served.")


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
