"""`./run key …`: who may ask the API for a token."""

from __future__ import annotations

from sigap.cli.output import errors, say, table
from sigap.keys import SETTING, Keys
from sigap.settings import Settings


def create_key(settings: Settings, name: str, scopes: list[str]) -> None:
    """Make a key and print it, alone on standard output, so that a script can take it from there."""
    key = Keys(settings).create(name, scopes)
    errors.print(f"The key of {name}, for {' and '.join(sorted(set(scopes)))}. It is not shown again:", soft_wrap=True)
    say(key)


def list_keys(settings: Settings) -> None:
    """The keys without the keys."""
    found = Keys(settings).all
    lines = table("Name", "Scopes", "Created")
    for key in found:
        lines.add_row(key.name, ", ".join(key.scopes), "by SIGAP_API_KEYS" if key.created == SETTING else key.created)
    say(lines if found else "There is no API key yet; `./run key create NAME` makes one.")


def revoke_key(settings: Settings, name: str) -> None:
    """Forget a key."""
    Keys(settings).revoke(name)
    say(f"The key of {name} is revoked, and its tokens with it.")
