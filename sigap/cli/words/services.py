"""Words for the services as a whole: start, look, stop."""

from __future__ import annotations

from typing import Annotated

import typer

from sigap.cli.running import running_settings
from sigap.settings import get_settings


def up() -> None:
    """Start everything and stay until Ctrl-C (the same as no word)."""
    from sigap.cli.up import up as bring_up

    raise typer.Exit(bring_up(get_settings()))


def prepare() -> None:
    """Bring the tables up to date, load the seed figures, make the secrets that are missing; then end.

    `./run` does so itself. It is for where something else starts the services, such as Docker.
    """
    from sigap.cli.deployment import prepare as make_ready

    make_ready(get_settings())


def status() -> None:
    """Show what runs: each service, whether it answers, its memory and address. Exit code 1 unless all answer."""
    from sigap.cli.status import status as show

    raise typer.Exit(show(running_settings()))


def stop() -> None:
    """Stop what `./run` started in another shell, and what a killed one left; nothing else."""
    from sigap.cli.status import stop as end

    raise typer.Exit(end(running_settings()))


def logs(
    service: Annotated[
        str,
        typer.Argument(
            help="`run` (`./run` itself), `postgres`, `mlflow`, `api`, `dashboard`, `mage`, `watcher`, `prometheus` "
            "or another whose file `NAME.log` is there; all if left out."
        ),
    ] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 30,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines until Ctrl-C.")] = False,
) -> None:
    """Show the services' logs (`.sigap/logs/`)."""
    from sigap.cli.inspect import show_logs

    show_logs(running_settings(), service, lines, follow=follow)


def settings() -> None:
    """List every setting: its variable, its value now, and what it does. Secrets are not shown."""
    from sigap.cli.inspect import show_settings

    show_settings(get_settings())


def credentials() -> None:
    """Show the generated sign-in of Mage's page and the password of the embedded PostgreSQL."""
    from sigap.cli.inspect import show_credentials

    show_credentials(running_settings())
