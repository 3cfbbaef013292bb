"""Words that back the system up and bring it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigap.cli.running import running_settings


def backup(
    target: Annotated[
        str, typer.Argument(metavar="[FOLDER|s3://…]", help="Where to; by default SIGAP_BACKUP_URL, `backups/` here.")
    ] = "",
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Take in the state folder's secrets; keep such a backup locked away.")
    ] = False,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Then delete all but the newest so many there; 0 deletes none.")
    ] = 0,
    show: Annotated[bool, typer.Option("--list", help="List the backups that are there, and make none.")] = False,
) -> None:
    """Back up everything that Git does not hold, while the system runs; `./run restore` brings it back.

    In it: PostgreSQL (tables, prediction log, decisions), MLflow (runs, versions, artefacts), Mage (runs, schedules),
    the data versions' content, tags and pointers, API keys' hashes, rejected rows. Databases, aliases and tags are of
    one moment; what they refer to is copied after it. Artefacts and data that are in an object store stay there.

    A backup is a folder `sigap-TIME` with a manifest. It gets its name when all of it was written and read again, so
    one that was broken off never looks whole.

    Examples: `./run backup` · `./run backup /mnt/disk --keep 7` · `./run backup s3://bucket/sigap --with-secrets` ·
    `./run backup --list`
    """
    from sigap.cli.backup import list_backups, run_backup

    settings = running_settings()
    where = _place(target) or settings.backups
    if show:
        list_backups(settings, where)
    else:
        run_backup(settings, where, with_secrets=with_secrets, keep=keep)


def restore(
    backup: Annotated[
        str, typer.Argument(help="A name of `./run backup --list`, a backup's folder, s3://bucket/…/NAME, or `latest`.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Where this system is not empty: replace what is there. Asks once.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="PART",
            help="Leave as it is: `postgres`, `mlflow`, `artifacts`, `mage`, `data`, `git`, `state` or `secrets`.",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check every file of the backup, and change nothing.")] = False,
) -> None:
    """Bring a system to what a backup holds: same champions, same answers, same data versions.

    Sigap has to be stopped. Every file's hash, the formats and the room on the disk are checked before anything is
    touched. All is prepared beside its place and exchanged at the end; what was there is deleted when all is well.
    Killed in the middle, the same words once more finish it.

    Data versions' tags that are newer than the backup stay, and so does their content.

    Examples: `./run restore latest` · `./run restore sigap-20250131T020000Z --replace` ·
    `./run restore s3://bucket/sigap/sigap-20250131T020000Z` · `./run restore latest --check`
    """
    from sigap.cli.backup import run_restore

    wanted = backup if "/" not in backup else _place(backup)
    run_restore(running_settings(), wanted, replace=replace, yes=yes, skip=tuple(skip or ()), check=check)


def _place(text: str) -> str:
    """A folder as an absolute path; a URL as it is."""
    return text if not text or "://" in text else str(Path(text).absolute())
