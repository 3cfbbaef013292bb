"""Words for who may come in: API keys, and logins for BI tools."""

from __future__ import annotations

from typing import Annotated

import typer

from sigap.cli.running import running_settings
from sigap.settings import get_settings

key = typer.Typer(no_args_is_help=True, help="API keys: who may ask the API for a token, and for what.")
analyst = typer.Typer(no_args_is_help=True, help="Logins for BI tools, which read the views of `analytics` only.")


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
