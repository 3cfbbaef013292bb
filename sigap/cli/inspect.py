"""`./run settings`, `./run credentials` and `./run logs`."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from pydantic import SecretStr

from sigap.cli.output import say, table
from sigap.errors import ServiceError
from sigap.settings import Settings


def show_settings(settings: Settings) -> None:
    """Every setting with its variable, value and meaning; those that were given are marked."""
    lines = table("Variable", "Value", "Meaning")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        given = "" if name not in settings.model_fields_set else " (given)"
        shown = "-" if value is None else "hidden" if isinstance(value, SecretStr) else str(value)
        lines.add_row(Settings.variable(name), shown + given, field.description or "")
    say(lines)


def show_credentials(settings: Settings) -> None:
    """The generated sign-ins; asked for explicitly, so they are printed."""
    from sigap.services.mage import OWNER

    lines = table("", "Account", "Password")
    lines.add_row("Mage", OWNER, settings.secret("mage_password"))
    if settings.embedded_postgres:
        lines.add_row("PostgreSQL", "sigap", settings.secret("postgres_password"))
    say(lines)


def show_logs(settings: Settings, service: str, lines: int, *, follow: bool) -> None:
    """The last lines of one or all logs, and new ones until Ctrl-C with `follow`.

    Raises:
        ServiceError: There is no such log.
    """
    folder = settings.state / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if service and service not in known:
        raise ServiceError(
            f"There is no log of {service!r} in {folder}.",
            remedy=f"There are {', '.join(known)}." if known else "Nothing has been started yet.",
        )
    paths = [folder / f"{name}.log" for name in ([service] if service else known)]
    for path in paths:
        if len(paths) > 1:
            say(f"{path.stem}", style="bold")
        with path.open(errors="replace") as file:
            for line in deque(file, lines):
                say(line.rstrip("\n"))
    if follow:
        _follow(paths)


def _follow(paths: list[Path]) -> None:
    positions = {path: path.stat().st_size for path in paths}
    while True:
        for path, position in positions.items():
            with path.open(errors="replace") as file:
                file.seek(position)
                for line in file:
                    say(f"{path.stem + ': ' if len(paths) > 1 else ''}{line.rstrip(chr(10))}")
                positions[path] = file.tell()
        time.sleep(0.3)
