"""`./run backup` and `./run restore`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import datetime

import typer

from sigap.backup.create import back_up
from sigap.backup.manifest import Manifest
from sigap.backup.parts import PARTS, SECRETS_LOST, Watcher
from sigap.backup.restore import occupied, restore, verify
from sigap.backup.shelf import find, listed
from sigap.catalog import declarations
from sigap.cli.output import Steps, say, table
from sigap.cli.session import StopRequested, stop_on_signal, supervised
from sigap.errors import BackupError
from sigap.services.service import recorded
from sigap.services.stack import services
from sigap.services.supervisor import supervisor_record
from sigap.settings import Settings

_BAR = 24


class _Shown(Watcher):
    """Shows each step with a bar.

    Args:
        steps: Where.
    """

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps
        self._noted = 0.0

    def begin(self, step: str, total: int = 0) -> None:
        super().begin(step, total)
        self._steps.begin(step, "")

    def moved(self, size: int) -> None:
        super().moved(size)
        if time.monotonic() - self._noted > 0.1:
            self._noted = time.monotonic()
            self._steps.note(self.step, _bar(self.done, self.total))

    def finish(self, detail: str = "") -> None:
        self._steps.finish(self.step, "done", detail or _mib(self.done))


def _bar(done: int, total: int) -> str:
    if not total:
        return _mib(done)
    full = min(_BAR, _BAR * done // total)
    return f"{'━' * full}{'─' * (_BAR - full)} {_mib(done)} of {_mib(max(done, total))}"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def run_backup(settings: Settings, target: str, *, with_secrets: bool, keep: int) -> None:
    """Make a backup; uses the PostgreSQL that runs, else starts it for this word."""
    begin = time.monotonic()
    try:
        with stop_on_signal(), _database(settings), Steps(f"Backup into {target}") as steps:
            made, deleted = back_up(settings, target, with_secrets=with_secrets, keep=keep, watcher=_Shown(steps))
    except StopRequested:
        say("Stopped; no backup was made.")
        raise typer.Exit(130) from None
    manifest = made.manifest
    assert manifest is not None  # noqa: S101 - it was written just now
    show_parts(manifest)
    say(f"\n{made.url}: whole, {_mib(manifest.size)}, in {time.monotonic() - begin:.1f} s.", style="bold green")
    if deleted:
        say(f"Deleted, since {keep} are kept: {', '.join(deleted)}.")
    if not with_secrets:
        say(SECRETS_LOST, style="dim")
    say(f"./run restore {made.url}")


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[None]:
    """PostgreSQL for as long as the block, where there is one to be backed up."""
    running = supervisor_record(settings.state) is not None and any(
        record["name"] == "postgres" for record in recorded(settings.state)
    )
    if running or not settings.embedded_postgres or not settings.has_database:
        yield
        return
    with supervised(settings) as (supervisor, reporter), Steps("Starting what holds the tables") as steps:
        reporter.steps = steps
        supervisor.start(services(settings, ("postgres",)))
        supervisor.wait_ready()
        reporter.steps = None
        yield


def show_parts(manifest: Manifest) -> None:
    """What is in a backup and what is not, and why."""
    lines = table("Part", "In it", "What it is")
    for part, what in PARTS.items():
        lines.add_row(part, "yes" if part in manifest.parts else "no", manifest.left_out.get(part, what))
    say(lines)


def list_backups(settings: Settings, target: str) -> None:
    """The backups in a folder or a place, newest first."""
    found = listed(settings, target)
    if not found:
        say(f"There is no backup in {target} yet; `./run backup` makes one.")
        return
    lines = table("Backup", "Made", "Size", "Rows", "Secrets", "Served")
    for one in found:
        if one.manifest is None:
            lines.add_row(one.name, "-", "-", "-", "-", one.fault)
            continue
        served = ", ".join(f"{model} {version}" for model, version in one.manifest.served.items())
        made = datetime.fromisoformat(one.manifest.created_at).astimezone()
        secrets = "yes" if "secrets" in one.manifest.parts else "no"
        size, rows = _mib(one.manifest.size), f"{one.manifest.rows:,}"
        lines.add_row(one.name, f"{made:%Y-%m-%d %H:%M}", size, rows, secrets, served or "-")
    say(lines)
    say(f"\nIn {target}. `./run restore {found[0].url}` restores one; its files are checked then.", style="dim")


def run_restore(
    settings: Settings, wanted: str, *, replace: bool, yes: bool, skip: tuple[str, ...], check: bool
) -> None:
    """Restore a backup, or check it only.

    Raises:
        BackupError: See `sigap.backup.restore.restore`; also where nobody can be asked.
    """
    begin = time.monotonic()
    one = find(settings, wanted)
    assert one.manifest is not None  # noqa: S101 - `find` gives those only
    if check:
        with Steps(f"Checking {one.url}") as steps:
            verify(settings, one, _Shown(steps))
        show_parts(one.manifest)
        say("\nWhole; nothing was changed.", style="bold green")
        return
    if replace and not yes:
        _confirm(settings, one.manifest, skip)
    try:
        with stop_on_signal(), Steps(f"Restoring {one.url}") as steps:
            done = restore(settings, one, replace=replace, skip=skip, watcher=_Shown(steps))
    except StopRequested:
        say(f"Stopped. `./run restore {wanted}` with the same words goes on, or begins again.")
        raise typer.Exit(130) from None
    for note in done.notes:
        say(note, style="yellow")
    declared = {one.name for one in declarations()}
    found = [f"{model} {version}" for model, version in done.manifest.served.items() if model in declared]
    served = ", ".join(found) or "none"
    say(f"Restored {', '.join(done.parts)} in {time.monotonic() - begin:.1f} s.", style="bold green")
    say(f"Served will be: {served}. `./run` starts it.")


def _confirm(settings: Settings, manifest: Manifest, skip: tuple[str, ...]) -> None:
    found = occupied(settings, manifest, skip)
    if not found:
        return
    say(f"The backup of {manifest.created_at} will take the place of:", style="bold")
    for line in found:
        say(f"  {line}")
    if not sys.stdin.isatty():
        raise BackupError("Nobody can be asked whether that is wanted.", remedy="`--yes` says so.")
    if not typer.confirm("Replace it?"):
        raise typer.Exit(1)
