"""`./run analyst …`: logins for BI tools."""

from __future__ import annotations

from sigap.cli.output import errors, say, table
from sigap.data.analysts import SCHEMA, analysts, drop_analyst
from sigap.data.analysts import create_analyst as create
from sigap.data.postgres import address
from sigap.settings import Settings


def create_analyst(settings: Settings, name: str, seconds: int) -> None:
    """Make a login and print its password, alone on standard output, so that a script can take it from there."""
    password = create(settings, name, seconds)
    errors.print(
        f"The login {name} reads the schema {SCHEMA} at {address(settings)}. Its password is not shown again:",
        soft_wrap=True,
    )
    say(password)


def list_analysts(settings: Settings) -> None:
    """The logins and their limits."""
    found = analysts(settings)
    lines = table("Name", "Limits")
    for each in found:
        lines.add_row(each.name, ", ".join(each.limits))
    say(lines if found else "There is no analyst yet; `./run analyst create NAME` makes one.")


def drop(settings: Settings, name: str) -> None:
    """Drop a login."""
    drop_analyst(settings, name)
    say(f"The login {name} is gone, and its sessions with it.")
